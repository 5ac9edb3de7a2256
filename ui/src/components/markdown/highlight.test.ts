// @vitest-environment happy-dom
import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { linesOf } from './highlight';
import { highlight, type Mark } from './highlighter';
import { codeBlock } from './render';

/** The plain groups of a code block, and the coloured ones that take their place. */
function groupsOf(text: string, marks: Mark[]): { plain: string[]; coloured: string[] } {
  const block = codeBlock('rust');
  block.append(text);
  const plain = Array.from(block.root.querySelectorAll('.md-lines'), (group) => group.textContent);
  return { plain, coloured: Array.from(linesOf(marks), (lines) => lines.textContent) };
}

test('colours change no letter and no line of a code, however its marks are nested and wherever it breaks', () => {
  const mark = fc.oneof<fc.Arbitrary<Mark>[]>(
    fc.stringMatching(/^[a-z\n]{1,40}$/),
    fc.constant<Mark>({ begins: 'hljs-string' }),
    fc.constant<Mark>({ ends: true }),
  );
  fc.assert(
    fc.property(fc.array(mark, { maxLength: 60 }), (marks) => {
      const { plain, coloured } = groupsOf(marks.filter((one) => typeof one === 'string').join(''), marks);
      expect(coloured.filter((text) => text !== '')).toEqual(plain);
    }),
  );
});

test('a long file is coloured by what is in it, a string over many lines too', () => {
  const code = `let text = "${'line\n'.repeat(100)}";\n// the end\n`;
  const marks = highlight(code, 'rust') ?? [];
  const lines = Array.from(linesOf(marks));
  expect(lines.map((one) => one.textContent).join('')).toBe(code);
  for (const group of lines.slice(0, -1)) expect(group.querySelector('.hljs-string')?.textContent).toContain('line');
  expect(lines.at(-1)?.querySelector('.hljs-comment')?.textContent).toBe('// the end');
});

test('a language that is not known has no colours', () => {
  expect(highlight('a b c', 'no-such-language')).toBeNull();
});
