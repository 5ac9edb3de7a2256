// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';

import { normal, streamed as streamedIn, whole } from './grown.fixture';
import { MarkdownStream } from './stream';

const LIST = Array.from({ length: 22 }, (_, at) => `${String(at + 1)}. item *${String(at)}* with \`code\``).join('\n');
const TABLE = ['| a | b |', '| --- | ---: |', ...Array.from({ length: 20 }, (_, at) => `| row ${String(at)} | **${String(at)}** |`)].join('\n');

const TEXTS: Record<string, string> = {
  paragraphs: 'First *one*\ngoes on.\n\nSecond **one** with a [link](https://example.org/a) and `code`.\n',
  headings: '# One\n\ntext\n\nSetext\n======\n\n## Two\ntext\n\n---\n\nend',
  fence: 'Before\n\n```rust\nfn main() {\n    let x = 1;\n\n}\n```\n\nAfter\n',
  'fence with backticks in it': '````md\n```\ninner\n```\n````\nafter',
  'indented fence': '  ```js\n  let a;\n    let b;\n  ```\nx',
  tildes: '~~~\n```\n~~~\n\nx',
  'open fence': 'a\n\n```py\nprint("``")\n``',
  'two fences': '```a\n1\n```\n```b\n2\n```\n',
  list: `Steps:\n\n${LIST}\n\nDone.`,
  'nested list': '- a\n  - b\n    - c\n- d\n\n  more of d\n- e\n\ntext\n\n- f\n',
  'loose list': '1. a\n\n2. b\n\n3. c\n\nend',
  'fence in a list': '- a\n\n  ```js\n  x\n  ```\n- b\n',
  tasks: '- [x] done\n- [ ] not **yet**\n',
  table: `${TABLE}\n\nafter the table`,
  quote: '> a\n> b\n\n> c\n\nd',
  html: 'a <b>bold</b> <img src=x onerror=alert(1)>\n\n<script>alert(1)</script>\n\nend',
  references: 'See [the docs][d] and [more][m].\n\nText.\n\n[d]: https://example.org/d\n[m]: https://example.org/m\n',
  entities: 'a &amp; b &lt;c&gt; &#8212; &nbsp;x\n',
  'hard break': 'one  \ntwo\\\nthree',
  math: 'Inline \\(a+b\\) and $$x^2\\,dx$$ and $x_1\\,y$ but $5 and *that* $6.\n\n\\[\na\n+ b \\\\\n= c\n\\]\n\nend',
};

const streamed = (text: string, size: number): HTMLElement => streamedIn(text, [size]);

// The page of these tests is slow with long lists.
describe('a streamed text', { timeout: 30_000 }, () => {
  for (const [name, text] of Object.entries(TEXTS)) {
    it(`ends as it would be drawn at once: ${name}`, () => {
      const once = normal(whole(text));
      for (const size of [1, 2, 5, 17, 1_000]) {
        expect(normal(streamed(text, size)), `in pieces of ${String(size)}`).toBe(once);
      }
    });
  }

  it('shows all its words before it is closed', () => {
    for (const text of [TEXTS['list'], TEXTS['table'], TEXTS['fence'], TEXTS['quote']]) {
      if (text === undefined) throw new Error('the text exists');
      const root = document.createElement('div');
      const stream = new MarkdownStream(root);
      for (const letter of text) stream.append(letter);
      const words = (node: HTMLElement): string => node.textContent.replace(/\s+/g, '');
      expect(words(root)).toBe(words(whole(text)));
    }
  });

  it('counts on in a list that goes over several elements', () => {
    const numbers = Array.from({ length: 450 }, (_, at) => at + 3);
    const words = 'with so many words that the whole is not drawn anew';
    const root = streamed(`Steps:\n\n${numbers.map((n) => `${String(n)}. item ${String(n)} ${words}`).join('\n')}\n\nDone.`, 97);
    const lists = Array.from(root.querySelectorAll('ol'));
    expect(lists.length).toBeGreaterThan(2);
    const counted = lists.flatMap((list) => Array.from(list.children, (item, at) => `${String(list.start + at)}: ${item.textContent}`));
    expect(counted).toEqual(numbers.map((n) => `${String(n)}: item ${String(n)} ${words}`));
    expect(root.lastElementChild?.textContent).toBe('Done.');
  });

  it('keeps the nodes of finished blocks, and of text that only grew', () => {
    const root = document.createElement('div');
    const stream = new MarkdownStream(root);
    stream.append('First.\n\nSecond **bold** and');
    const [first, second] = [root.querySelector('p'), root.querySelectorAll('p')[1]?.lastChild];
    stream.append(' more\n\n- item');
    expect(root.querySelector('p')).toBe(first);
    expect(second?.textContent).toBe(' and more');
    expect(root.contains(second ?? null)).toBe(true);
  });

  it('goes on after it was closed', () => {
    const root = document.createElement('div');
    const stream = new MarkdownStream(root);
    stream.append('One.');
    stream.close();
    stream.append(' Two.');
    stream.close();
    expect(root.textContent).toBe('One. Two.');
  });

  it('draws a long fence line by line without lexing it again', () => {
    const root = document.createElement('div');
    const stream = new MarkdownStream(root);
    stream.append('```\n');
    for (let at = 0; at < 500; at += 1) stream.append(`line ${String(at)}\n`);
    expect(root.querySelector('code')?.textContent.split('\n')).toHaveLength(501);
  });
});

describe('what a text may not do', () => {
  it('makes no element from HTML', () => {
    const root = streamed(TEXTS['html'] ?? '', 3);
    expect(root.querySelector('script, img, b')).toBeNull();
    expect(root.textContent).toContain('<script>alert(1)</script>');
    expect(root.textContent).toContain('onerror=alert(1)');
  });

  it('links to nothing but web and mail addresses', () => {
    const bad = ['javascript:alert(1)', 'JaVaScRiPt:alert(1)', ' javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', '/relative', 'tauri://localhost', 'ipc://x', 'java\tscript:alert(1)'];
    for (const href of bad) {
      const root = streamed(`[x](<${href}>)`, 100);
      expect(root.querySelector('a'), href).toBeNull();
      expect(root.textContent).toContain('x');
    }
    expect(streamed('[x](https://example.org)', 100).querySelector('a')?.getAttribute('href')).toBe('https://example.org/');
    expect(streamed('[x](mailto:a@example.org)', 100).querySelector('a')).not.toBeNull();
  });

  it('loads no image', () => {
    const root = streamed('![a cat](https://example.org/cat.png)', 4);
    expect(root.querySelector('img')).toBeNull();
    expect(root.querySelector('a')?.textContent).toBe('Image: a cat');
  });

  it('says where a link goes whose text claims another place', () => {
    const root = streamed('[https://bank.example](https://evil.example/x)', 100);
    expect(root.textContent).toBe('https://bank.example (evil.example)');
  });
});

describe('formulas', () => {
  it('have their source in the text', () => {
    for (const formula of ['\\(a+b\\)', '\\[x^2\\,dx\\]', '$$\\int_0^1 x^2\\,dx$$', '$x_1\\,y_2$', '\\(a*b*c\\)']) {
      expect(streamed(`See ${formula} here.`, 4).textContent, formula).toBe(`See ${formula} here.`);
      expect(streamed(formula, 3).textContent, formula).toBe(formula);
    }
    const long = '\\[\na\n+ b\n= c\n\\]';
    for (const size of [1, 3, 100]) expect(streamed(`So:\n${long}\nand on.`, size).textContent).toBe(`So:\n${long}\nand on.`);
  });

  it('are not seen in prices', () => {
    const root = streamed('It costs $5 and *not* $6, or $7.', 100);
    expect(root.querySelector('.md-math')).toBeNull();
    expect(root.textContent).toBe('It costs $5 and not $6, or $7.');
  });
});
