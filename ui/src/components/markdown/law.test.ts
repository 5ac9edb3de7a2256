// @vitest-environment happy-dom
import fc from 'fast-check';
import { tests } from 'commonmark-spec';
import { describe, expect, it } from 'vitest';

import { normal, streamed, whole } from './grown.fixture';

/** Syntax that GFM adds to CommonMark, and that is added here: tables, tasks, strikes, addresses, footnotes, formulas. */
const ADDED = [
  '| foo | bar |\n| --- | --- |\n| baz | bim |\n',
  '| abc | defghi |\n:-: | -----------:\nbar | baz\n',
  '| f\\|oo  |\n| ------ |\n| b `\\|` az |\n| b **\\|** im |\n',
  '| abc | def |\n| --- | --- |\n| bar | baz |\n> bar\n',
  '| abc | def |\n| --- | --- |\n| bar | baz |\nbar\n\nbar\n',
  '| abc | def |\n| --- |\n| bar |\n',
  '| abc | def |\n| --- | --- |\n| bar |\n| bar | baz | boo |\n',
  '| abc | def |\n| --- | --- |\n',
  '- [ ] foo\n- [x] bar\n',
  '- [x] foo\n  - [ ] bar\n  - [x] baz\n- [ ] bim\n',
  '~~Hi~~ Hello, ~there~ world!\n',
  'This ~~has a\n\nnew paragraph~~.\n',
  'This will ~~~not~~~ strike.\n',
  'www.commonmark.org\n',
  'Visit www.commonmark.org/help for more information.\n',
  'www.google.com/search?q=(business))+ok (www.google.com/search?q=Markup+(business))\n',
  'www.google.com/search?q=commonmark&hl=en\n\nwww.google.com/search?q=commonmark&hl;\n',
  'www.commonmark.org/he<lp\n',
  '(Visit https://encrypted.google.com/search?q=Markup+(business))\n',
  'foo@bar.baz, hello+xyz@mail.example\na.b-c_d@a.b. a.b-c_d@a.b-\n',
  'A[^1] and[^b] and[^c].\n\n[^1]: One\ngoes on.\n[^b]: Two\n\n    more of two\n\n        code\n\nEnd.\n',
  '[^1]: First,\n\nthen[^1].\n',
  'Inline \\(a_1\\), $x*y*z$ and\n\n\\[\nE = mc^2\n- 1\n\\]\n\nat $5 to $10.\n',
  '$$\n\\begin{align}\na &= b \\\\\n= c\n\\end{align}\n$$\n',
  '**「強調」**は、https://example.org/a（説明）。3~5天。\n',
  '<details>\n<summary>More **of** it</summary>\n\n- one\n- two\n\n```\ncode\n```\n\n</details>\n\nEnd.\n',
  '<details open>\n\nInside\n\n<details><summary>b</summary>deep</details>\n\nstill\n\n</details>\n',
  '<details>\nnever closed\n\n> quote\n',
  '- a\n\n  <details>\n  <summary>x</summary>\n\n  in a list\n\n  </details>\n- b\n',
  'a<br>b\n\n<br>\n\n| a<br>b |\n| --- |\n| c<br/> |\n',
];
const EXAMPLES = [...tests.map(({ markdown }) => markdown.replaceAll('→', '\t')), ...ADDED];

/** Pieces that Markdown is made of, and that are added to it. */
const FRAGMENTS = [
  'a', 'b ', '中', '（', '。', 'א', '**', '*', '_', '~~', '~', '$', '$$', '\\(', '\\)', '\\[', '\\]', 'x_1', '= ', '5', '[^1]', '[^1]: ', '[', '](u)', ']: /u', '[a]', '\n', '\n',
  '\n\n', '\r', '\r\n', ' ', '  ', '    ', '\t', '- ', '1. ', '> ', '# ', '|', '\n|-|-|\n', '```', '~~~', '<br>', '<div>', '<details>', '</details>', '<summary>', '</summary>', '&amp;', 'https://example.org/a', '`', '\\', '\\begin{align}',
  '\\end{align}', '---', '===',
];

const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });
const examples = fc.array(fc.tuple(fc.constantFrom(...EXAMPLES), fc.constantFrom('', '\n', '\n\n', ' ', '\r\n\r\n')), { minLength: 1, maxLength: 5 });
const fragments = fc.array(fc.constantFrom(...FRAGMENTS), { minLength: 2, maxLength: 30 });

/** The text as it grows, without being lexed once more when it is closed, which would put anything right. */
const grown = (text: string, sizes: readonly number[]): string => normal(streamed(text, sizes, { exact: 0 }));

describe('a text that grows, in whatever pieces,', { timeout: 60_000 }, () => {
  it('ends as the whole of it: every example of CommonMark and GFM', () => {
    expect(EXAMPLES.length).toBeGreaterThan(650);
    for (const text of EXAMPLES) expect(grown(text, [1, 7, 3]), JSON.stringify(text)).toBe(normal(whole(text)));
  });

  it('ends as the whole of it: any examples one after the other, cut anywhere', () => {
    fc.assert(
      fc.property(examples, cuts, (parts, sizes) => {
        const text = parts.flat().join('');
        expect(grown(text, sizes)).toBe(normal(whole(text)));
      }),
      { numRuns: 150, seed: 11 },
    );
  });

  it('ends as the whole of it: any marks in any order, cut anywhere', () => {
    fc.assert(
      fc.property(fragments, cuts, (parts, sizes) => {
        const text = parts.join('');
        expect(grown(text, sizes)).toBe(normal(whole(text)));
      }),
      { numRuns: 200, seed: 7 },
    );
  });
});
