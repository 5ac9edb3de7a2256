import { describe, expect, it } from 'vitest';

import { fieldsOf, revealHidden, summaryOf } from './payload';

describe('a call’s arguments', () => {
  it('are shown whole, strings as they are and the rest as JSON', () => {
    expect(fieldsOf({ path: 'a\nb', deep: { x: [1] }, flag: false }, '')).toEqual([
      { name: 'path', text: 'a\nb' },
      { name: 'deep', text: '{\n  "x": [\n    1\n  ]\n}' },
      { name: 'flag', text: 'false' },
    ]);
  });

  it('are shown as they came while they are no JSON', () => {
    expect(fieldsOf(null, '{"path": "no')).toEqual([{ name: null, text: '{"path": "no' }]);
    expect(fieldsOf(null, '')).toEqual([]);
    expect(fieldsOf(null, '{"a":1}')).toEqual([{ name: 'a', text: '1' }]);
  });

  it('are told on one line by what says most', () => {
    expect(summaryOf({ recursive: true, path: '/tmp/x' }, '')).toBe('/tmp/x');
    expect(summaryOf({ n: 3 }, '')).toBe('3');
    expect(summaryOf({}, '{}')).toBe('');
    expect(summaryOf(null, 'a'.repeat(100), 10)).toBe('aaaaaaaaa…');
  });
});

describe('hidden letters', () => {
  it('are named where consent is asked', () => {
    expect(revealHidden('rm \u202efdp.exe')).toEqual([
      { text: 'rm ', hidden: false },
      { text: 'U+202E', hidden: true },
      { text: 'fdp.exe', hidden: false },
    ]);
    expect(revealHidden('line\n\ttab')).toEqual([{ text: 'line\n\ttab', hidden: false }]);
  });

  /** Every one of these letters is seen for what it is. */
  const named = (text: string): string[] => revealHidden(text).filter((piece) => piece.hidden).map((piece) => piece.text);

  it('are of all kinds', () => {
    const kinds: Record<string, string[]> = {
      tags: ['\u{e0001}', '\u{e0020}', '\u{e0063}', '\u{e007f}'],
      fillers: ['\u115f', '\u1160', '\u3164', '\uffa0', '\u2800', '\u034f', '\u17b4', '\u17b5', '\u{1d159}', '\u{1d173}'],
      controls: ['\0', '\b', '\v', '\f', '\r', '\u001b', '\u007f', '\u0085', '\u009b'],
      directions: ['\u061c', '\u200e', '\u200f', '\u202a', '\u202b', '\u202c', '\u202d', '\u202e', '\u2066', '\u2067', '\u2068', '\u2069'],
      'variation selectors': ['\ufe00', '\ufe0e', '\ufe0f', '\u{e0100}', '\u{e01ef}', '\u180b', '\u180d', '\u180f'],
      'letters without width': ['\u00ad', '\u180e', '\u200b', '\u200c', '\u200d', '\u2060', '\u2061', '\u2064', '\u206a', '\ufeff', '\ufff9', '\ufffb'],
      'ends of lines that are none': ['\u2028', '\u2029'],
      'places that Unicode keeps for such': ['\u2065', '\ufff0', '\u{e0fff}'],
    };
    for (const [kind, letters] of Object.entries(kinds)) {
      for (const letter of letters) {
        const name = `U+${(letter.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
        expect(named(`a${letter}b`), kind).toEqual([name]);
        expect(named(letter), kind).toEqual([name]);
      }
    }
    expect(named('ls /tmp\u{e0020}\u{e0026}\u{e0026}\u{e0020}\u{e0063}\u{e0075}\u{e0072}\u{e006c}\u{e0020}\u{e0078}')).toHaveLength(10);
  });

  it('are not those that scripts and pictures need', () => {
    const needed = {
      Persian: 'می\u200cخواهم',
      Hindi: 'क्\u200dष क्\u200cष',
      Bengali: 'র\u200d্যাব',
      Sinhala: 'ශ්\u200dරී',
      'Malayalam, at the end of a word': 'അവന്\u200d അവര്\u200d.',
      families: '👨\u200d👩\u200d👧\u200d👦',
      'shades and sexes': '👩🏽\u200d💻 🤷🏻\u200d♂\ufe0f 🏳\ufe0f\u200d🌈 ❤\ufe0f\u200d🔥',
      'signs as pictures, and as text': '☀\ufe0f ©\ufe0f ☎\ufe0e',
      keys: '1\ufe0f\u20e3 #\ufe0f\u20e3',
      flags: '\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f} 🇩🇪',
      'signs of numbers': '\u0600١٢ \u06dd١',
      'plain text': 'tab\tline\n日本語 ｆｕｌｌ　width – “quotes” e\u0301 ไทย עברית',
    };
    for (const [kind, text] of Object.entries(needed)) expect(named(text), kind).toEqual([]);
  });

  it('are those that nothing needs where they stand', () => {
    const odd: [string, number][] = [
      ['a\u200db', 1],
      ['می\u200c\u200cخواهم', 2],
      ['👨\u200d', 1],
      ['👨\u200dx', 1],
      ['می\u200c', 1],
      ['a\ufe0f', 1],
      ['1\ufe0f2', 1],
      ['☀\ufe0f\ufe0f', 1],
      ['字\u{e0100}', 1],
      ['\u{1f3f4}\u{e0063}\u{e0075}\u{e0072}\u{e006c}\u{e007f}', 5],
      ['\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}', 6],
    ];
    for (const [text, count] of odd) expect(named(text), JSON.stringify(text)).toHaveLength(count);
  });

  it('take nothing from the text, whatever they stand between', () => {
    const text = Array.from({ length: 3_000 }, (_, at) => String.fromCodePoint((at * 7_919) % 0xd800)).join('');
    const shown = revealHidden(text).map((piece) => (piece.hidden ? String.fromCodePoint(Number.parseInt(piece.text.slice(2), 16)) : piece.text));
    expect(shown.join('')).toBe(text);
  });

  it('do not turn a summary around', () => {
    expect(summaryOf({ command: 'rm \u202efdp.exe' }, '')).toBe('rm \ufffdfdp.exe');
    expect(summaryOf({ command: 'ls\u{e0020}\u{e0078}\n  -l\u2028x' }, '')).toBe('ls\ufffd\ufffd -l\ufffdx');
  });
});
