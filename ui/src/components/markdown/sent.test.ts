// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';

import { normal, streamed, whole } from './grown.fixture';

/** Facts of a text that models, agents and pages really send. */
interface Sent {
  text: string;
  /** Words that the reader sees, in order, without what is between blocks. */
  reads?: string;
  has?: string[];
  lacks?: string[];
  /** Number of elements, by name. */
  count?: Record<string, number>;
  /** Addresses of its links. */
  links?: string[];
}

const SENT: Record<string, Record<string, Sent>> = {
  'emphasis in scripts without spaces': {
    'a mark inside, a letter outside': {
      text: '**重要提示（草案）：**请先备份。\n\n結果は**「成功」**です。\n\n**“공개 문서”**는 점검한다. **취소(Cancel)**를 누르세요.',
      count: { strong: 4 },
      lacks: ['**'],
    },
    'quotes, commas and stops': { text: '他说**“你好”**。**注意：**请看，**粗体。**后面', count: { strong: 3 }, lacks: ['**'] },
    'one asterisk, three, and two tildes': { text: '*注：*后，***三（星）***后，~~「旧」~~新', count: { em: 2, strong: 1, del: 1 }, lacks: ['*', '~'] },
    'between latin letters and code': { text: '**中文**English**中文**和`code`**（x）**`y`', count: { strong: 3 }, lacks: ['**'] },
    'Thai': { text: 'ภาษา**“ไทย”**ครับ', count: { strong: 1 } },
    'an ideograph of two units': { text: '𠮷**“x”**𠮷', count: { strong: 1 } },
    'a link inside': { text: '请看**[文档](https://example.org/d)**后', count: { strong: 1 }, links: ['https://example.org/d'] },
    'is as it was in spaced scripts': { text: 'a**"b"**c and *a (b)*c and snake_case_name and 2 * 3 * 4', count: { strong: 0, em: 0 } },
  },
  'addresses in sentences': {
    'full-width marks end them': {
      text: '见 https://example.org/docs（说明）了解更多，或 https://example.org/a。',
      links: ['https://example.org/docs', 'https://example.org/a'],
      has: ['（说明）了解更多'],
    },
    'no space on either side': { text: '见https://example.org/a、https://example.org/b！和「https://example.org/c」', links: ['a', 'b', 'c'].map((at) => `https://example.org/${at}`) },
    'curved quotes, dashes and dots': { text: '“https://example.org/x”是 https://example.org/y…… https://example.org/z——好', links: ['x', 'y', 'z'].map((at) => `https://example.org/${at}`) },
    'a host that a word follows': { text: '访问https://example.com查看', links: ['https://example.com/'], has: ['查看'] },
    'letters of any script stay in a path': { text: 'https://zh.wikipedia.org/wiki/中文', links: ['https://zh.wikipedia.org/wiki/%E4%B8%AD%E6%96%87'] },
    'dashes and apostrophes stay in a path': { text: 'https://en.wikipedia.org/wiki/Cauchy–Schwarz_inequality ok', links: ['https://en.wikipedia.org/wiki/Cauchy%E2%80%93Schwarz_inequality'] },
    'www and mail': { text: '见www.example.org，邮件a@example.org。', links: ['http://www.example.org/', 'mailto:a@example.org'], reads: '见www.example.org，邮件a@example.org。' },
    'parentheses': { text: '(https://example.org/a) https://en.wikipedia.org/wiki/Foo_(bar)', links: ['https://example.org/a', 'https://en.wikipedia.org/wiki/Foo_(bar)'] },
    'what is written out goes where it says': { text: '[说明](https://example.org/（x）)', links: ['https://example.org/%EF%BC%88x%EF%BC%89'] },
    'a raw tag does not end them for ever': { text: 'a <a href="x"> b\n\nhttps://example.org/a', links: ['https://example.org/a'] },
    'one without words is seen': { text: '[](https://example.org/a)', reads: 'https://example.org/a' },
    'entities': { text: '[a](https://example.org/?a=1&amp;b=2)', links: ['https://example.org/?a=1&b=2'] },
  },
  'tildes': {
    'only two strike': { text: '大约3~5天，价格100~200元。\n\nThis is ~~gone~~.', count: { del: 1 }, has: ['3~5天', '100~200元'] },
    'one and three do not': { text: 'H~2~O ~a~ ~~~b~~~ ~/x ~/y', count: { del: 0 }, reads: 'H~2~O ~a~ ~~~b~~~ ~/x ~/y' },
  },
  'formulas': {
    'all delimiters': {
      text: 'Inline \\(a_1 + b_1\\) and\n\n\\[\nE = mc^2\n\\]\n\nwith $x*y*z$; it costs $5 to $10.',
      count: { em: 0, '.md-math': 3 },
      has: ['\\(a_1 + b_1\\)', '\\[', '$5 to $10'],
    },
    'no emphasis goes into one': { text: '*see $a*b$ end* and *see \\(a*b\\) end*', count: { em: 2, '.md-math': 2 } },
    'letters and ideographs beside': { text: '其中$x$是变量，$y=f(x)$。The $n$th of $k$-means', count: { '.md-math': 4 } },
    'in tables, lists and quotes': { text: '| a |\n|--|\n| $x_1$ |\n\n- $$\n  y\n  $$\n\n> \\[ z \\]\n', count: { '.md-math': 3, '.md-formula': 2 } },
    'surroundings': { text: '\\begin{align}\na &= b \\\\\nc &= d_1\n\\end{align}\n\n\\begin{itemize}\n', count: { '.md-math': 1 }, has: ['\\\\\n', '\\begin{itemize}'] },
    'a mark behind one on a line of its own': { text: 'So\n\\[\na\n= b\n\\].\nand', count: { '.md-formula': 1, h3: 0, h4: 0 } },
    'escaped dollars': { text: '\\$5 and $\\$5$', count: { '.md-math': 1 }, reads: '$5 and $\\$5$' },
    'none in code': { text: '`$x$`, `\\(y\\)`\n\n```\n$$z$$\n```\n', count: { '.md-math': 0 } },
    'money': {
      text: [
        'It costs $5 and $10, $20/month or $1,000 (about 900$).',
        'I have $5 and you have 6$. US$5, A$7, R$ 5,00 e R$ 10,00. **$5** and **$10**.',
        '价格$5，或者6$。 from $10–$20; $3M ARR, $4M; "$5" "$6"; ~$3.50 each, ~$7; cheap $ or $$ or $$$',
      ].join('\n'),
      count: { '.md-math': 0, strong: 2 },
    },
    'shells': { text: '$HOME/$USER and $PATH, ${var} and ${other}', count: { '.md-math': 0 }, reads: '$HOME/$USER and $PATH, ${var} and ${other}' },
    'escaped brackets': { text: 'see \\[1\\] and \\(note here\\), \\[link text\\](x)', count: { '.md-math': 0 }, reads: 'see [1] and (note here), [link text](x)' },
  },
  'footnotes': {
    'defined below': {
      text: 'Water boils at 100 °C[^1] and ice melts at 0 °C[^2].\n\n[^1]: Sea-level\n[^2]: At the same pressure.\n',
      has: ['Sea-level', 'At the same pressure.'],
      lacks: ['[^'],
      count: { '.md-dead-link': 0, sup: 2, '.md-note': 2 },
    },
    'defined above, twice, or never': { text: '[^a]: First\n\nIt[^A] and[^9].\n\n[^a]: Second', has: ['First', 'Second', 'and[^9]'], count: { sup: 1, a: 0 } },
    'of several blocks': { text: 'x[^n]\n\n[^n]: One\n    goes on.\n\n    - two\n\n        three\n\nEnd', count: { '.md-note li': 1, sup: 1 }, has: ['End'] },
    'in tables, lists, other notes': { text: '- a[^1]\n\n| b[^1] |\n|--|\n| c |\n\n[^1]: d[^2]\n[^2]: e', count: { sup: 3, '.md-note': 2 } },
    'no character class': { text: 'the regex [^a-z]+ and [^\\]]', count: { sup: 0 }, has: ['[^a-z]+'] },
  },
  'line breaks': {
    'br': { text: 'a<br>b<br/>c<BR />d</br>e', count: { br: 4 }, lacks: ['<'] },
    'br in a table, a heading, an item': { text: '| x<br>y |\n|--|\n| <br/>z |\n\n# h<br>k\n\n- a<br class="x">b\n\n<br>\n', count: { br: 5 }, lacks: ['<br'] },
    'br in code is code': { text: '`<br>`\n\n```\n<br>\n```\n', count: { br: 0 } },
    'two spaces and a backslash': { text: 'a  \nb\\\nc\nd', count: { br: 2 } },
    'a carriage return alone': { text: 'Loading 10 %\rLoading 90 %\r\rDone.\n', lacks: ['%Loading', '%Done'], count: { p: 2 } },
    'carriage returns in code and lists': { text: '- a\r- b\r\r```\rx\ry\r```\r\nz\r', count: { li: 2, '.md-code': 1, p: 1 }, has: ['x\ny'] },
  },
  'entities': {
    'by name and by number': { text: 'caf&eacute; &ldquo;so&rdquo; &rsquo; &#8211; &hellip; &frac12; &euro;5', reads: 'café “so” ’ – … ½ €5' },
    'all of them': { text: '&CounterClockwiseContourIntegral;&Aring;&#x1F600;&nbsp;&zwj;', reads: '∳Å😀\u00a0\u200d' },
    'what is none': { text: '&nosuch; &copy &amp;lt; `&copy;` \\&copy; &#0;', reads: '&nosuch; &copy &lt; &copy; &copy; \ufffd' },
    'in headings and tables': { text: '# &Agrave;\n\n| &mdash; |\n|--|\n| &rarr; |', has: ['À', '—', '→'] },
  },
  'remarks and plain tags': {
    'a note': { text: '> [!NOTE]\n> Useful **things**.\n>\n> - one\n', count: { 'blockquote[data-alert="note"]': 1, strong: 1, li: 1 }, reads: 'Note\nUseful things.\none' },
    'a warning of any case, and nothing in it': { text: '> [!Warning]\n', count: { '[data-alert="warning"]': 1 }, lacks: ['[!'] },
    'no remark': { text: '> [!NOTE] in a line\n\n> [!OTHER]\n> x\n', count: { '[data-alert]': 0, blockquote: 2 }, has: ['[!NOTE] in a line', '[!OTHER]'] },
    'keys, and letters above and below': { text: 'Press <kbd>Ctrl</kbd>+<kbd>**K**</kbd>: H<sub>2</sub>O, x<SUP>2</SUP>', count: { kbd: 2, 'kbd strong': 1, sub: 1, sup: 1 }, lacks: ['<'] },
    'tags that are open, crossed or more than plain': {
      text: '<kbd>a, <sub><sup>b</sub></sup>, <kbd onclick=x>c, <b>d</b>',
      count: { 'kbd, sup, b': 0, sub: 1 },
      has: ['<kbd>a', '<sup>b', '</sup>', 'onclick=x', '<b>d</b>'],
    },
  },
  'tables and lists': {
    'ideographs in cells': { text: '| 姓名 | 说明 |\n| :--- | ---: |\n| **张三：**是 | `a` |', count: { 'td strong': 1, td: 2 } },
    'cells that are missing or too many': { text: '|a|b|\n|-|-|\n|1|\n|1|2|3|\n', count: { td: 4 } },
    'tasks': { text: '- [ ] a\n- [x] 完成（是）\n  1. [X] c\n', count: { '.md-check': 3 }, lacks: ['[x]', '[ ]'] },
    'code in items': { text: '1. a\n\n   ```py\n   x\n   ```\n2. b\n   ~~~\n   y\n   ~~~\n', count: { '.md-code': 2, ol: 1, 'ol > li': 2 } },
    'quotes in quotes, lists in them': { text: '> a\n> > b\n> > - c\n> >   - d\n>\n> e\n', count: { blockquote: 2, li: 2 } },
  },
};

describe('what people’s models, agents and pages send', () => {
  for (const [kind, cases] of Object.entries(SENT)) {
    describe(kind, () => {
      for (const [name, sent] of Object.entries(cases)) {
        it(`reads as it was meant: ${name}`, { timeout: 30_000 }, () => {
          const root = whole(sent.text);
          for (const size of [1, 3, 7]) expect(normal(streamed(sent.text, [size])), `in pieces of ${String(size)}`).toBe(normal(root));
          const { textContent } = root;
          if (sent.reads !== undefined) expect(textContent).toBe(sent.reads);
          for (const text of sent.has ?? []) expect(textContent).toContain(text);
          for (const text of sent.lacks ?? []) expect(textContent).not.toContain(text);
          for (const [selector, count] of Object.entries(sent.count ?? {})) expect(root.querySelectorAll(selector), selector).toHaveLength(count);
          if (sent.links !== undefined) expect(Array.from(root.querySelectorAll('a'), (link) => link.getAttribute('href'))).toEqual(sent.links);
        });
      }
    });
  }

  it('has a direction of its own in every block', () => {
    const root = whole('مرحبا، كيف حالك؟\n\nשלום\n\n- سؤال: (API) ما هو؟\n\n> مرحبا\n\n[^1]: הערה\n\n<div>\n\n$$\nx\n$$\n\n| א |\n|--|\n| ב |\n');
    for (const block of Array.from(root.querySelectorAll('p, li, td, th, h3'))) expect(block.closest('[dir="auto"], [dir="rtl"]'), block.outerHTML).not.toBeNull();
    expect(root.querySelector('blockquote')?.dir).toBe('rtl');
    expect(root.querySelector<HTMLElement>('.md-note')?.dir).toBe('rtl');
  });
});

describe('a text that is nested very deep', () => {
  const DEEP: Record<string, string> = {
    quotes: `${'>'.repeat(5_000)} bottom`,
    'quotes on a lazy line': `${'> '.repeat(3_000)}bottom\nlazy`,
    lists: `${'- '.repeat(3_000)}bottom`,
    'lists in quotes': `${'> - '.repeat(1_000)}bottom`,
    emphasis: `${'*'.repeat(2_000)}bottom${'*'.repeat(2_000)}`,
    'emphasis in strong': `${'**a *b '.repeat(200)}bottom${'* c** d'.repeat(200)}`,
    brackets: `${'['.repeat(2_000)}bottom${']'.repeat(2_000)}`,
    'links in links': `${'[a'.repeat(500)}bottom${'](b)'.repeat(500)}`,
    notes: `${'[^1]: '.repeat(500)}bottom`,
    tags: `${'<kbd>'.repeat(400)}bottom${'</kbd>'.repeat(400)}`,
  };
  for (const [name, text] of Object.entries(DEEP)) {
    it(`is shown whole: ${name}`, { timeout: 30_000 }, () => {
      for (const root of [whole(text), streamed(text, [500])]) {
        expect(root.textContent.split('bottom')).toHaveLength(2);
        expect(normal(root)).toBe(normal(whole(text)));
      }
    });
  }
});
