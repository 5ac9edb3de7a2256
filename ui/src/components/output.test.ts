import { describe, expect, it } from 'vitest';

import { ansiPieces } from './ansi';
import { commandOf, isPicture, outputOf } from './output';
import { plainWords } from './payload';

const PIXEL = 'iVBORw0KGgo=';

describe('what a tool gave back', () => {
  it.each([
    [{ command: 'ls' }, { stdout: 'a', exit_code: 2 }, { kind: 'command', text: 'a', exit: 2 }],
    [{ command: 'ls' }, { stdout: 'a', stderr: 'b', exitCode: 0 }, { kind: 'command', text: 'a\nb', exit: 0 }],
    [{ command: 'ls' }, '{"output":"a","exit_code":1}', { kind: 'command', text: 'a', exit: 1 }],
    [{ cmd: ['ls', '-l'] }, 'plain', { kind: 'command', text: 'plain', exit: null }],
    [{}, ['a', 'b'], { kind: 'list', items: ['a', 'b'] }],
    [{}, { content: [{ type: 'text', text: 'a' }] }, { kind: 'text', text: 'a' }],
    [{}, { content: [{ type: 'image', data: PIXEL, mimeType: 'image/png' }, { type: 'text', text: 'a' }] }, { kind: 'images', images: [`data:image/png;base64,${PIXEL}`], text: 'a' }],
    [{}, 'hello', { kind: 'text', text: 'hello' }],
    [{}, [1, 2], { kind: 'text', text: '[\n  1,\n  2\n]' }],
  ])('of %j: %j', (input, output, read) => {
    expect(outputOf(input, output)).toEqual(read);
  });

  it('of a command says everything, also what has no name here', () => {
    const read = outputOf({ command: 'ls' }, { stdout: 'a', exit_code: 1, killed_by: 'somebody' });
    expect(read).toMatchObject({ kind: 'command', exit: 1 });
    expect(read.kind === 'command' && read.text).toContain('somebody');
  });

  it.each(['data:image/svg+xml;base64,AAAA', 'data:text/html;base64,AAAA', 'https://example.org/a.png', 'data:image/png,x', 'javascript:alert(1)', 'data:image/png;base64,AA"onerror'])('is no picture that may be drawn: %s', (url) => {
    expect(isPicture(url)).toBe(false);
  });

  it('is a command where an argument is one', () => {
    expect(commandOf({ command: 'ls' })).toBe('ls');
    expect(commandOf({ path: 'ls' })).toBeNull();
    expect(commandOf(null)).toBeNull();
  });
});

describe('a terminal’s output', () => {
  const ESC = '\u001b';
  it('has its colours, and none of its signs', () => {
    expect(ansiPieces(`a ${ESC}[1;31mred${ESC}[0m b`)).toEqual([
      { text: 'a ', classes: '' },
      { text: 'red', classes: 'ansi-red ansi-bold' },
      { text: ' b', classes: '' },
    ]);
    expect(ansiPieces(`${ESC}[38;5;2mgreen ${ESC}[38;2;1;2;3mother`).map(({ classes }) => classes)).toEqual(['ansi-green', '']);
  });

  it('leaves out what moves the cursor, titles and links, and keeps the last state of a line', () => {
    const said = (text: string): string => ansiPieces(text).map((piece) => piece.text).join('');
    expect(said(`${ESC}[2K${ESC}[1A${ESC}]0;title\u0007a${ESC}]8;;https://x${ESC}\\b${ESC}(B`)).not.toContain(ESC);
    expect(said('10 %\r50 %\r100 %\ndone\r\nend')).toBe('100 %\ndone\nend');
  });
});

describe('one line of a text in Markdown', () => {
  it.each([
    ['The **deleted** one', 'The deleted one'],
    ['```js\nlet a\n```', 'let a'],
    ['# Title\n\n- [x] one\n- two', 'Title one two'],
    ['[a link](https://x) and `code`', 'a link and code'],
    ['| a | b |\n| --- | --- |\n| 1 | 2 |', 'a b 1 2'],
    ['snake_case_name * 2', 'snake_case_name * 2'],
    ['2 * 3 * 4', '2 * 3 * 4'],
  ])('%j is %j', (markdown, words) => {
    expect(plainWords(markdown)).toBe(words);
  });
});
