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

  it('do not turn a summary around', () => {
    expect(summaryOf({ command: 'rm \u202efdp.exe' }, '')).toBe('rm \ufffdfdp.exe');
  });
});
