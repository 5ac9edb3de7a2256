// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from 'vitest';

import { formulasIn } from './formulas';
import { MarkdownStream } from './stream';
import { typeset } from './typeset';

// As `index.html` has it: KaTeX sets nothing in a page without a doctype.
vi.hoisted(() => Object.defineProperty(document, 'compatMode', { value: 'CSS1Compat' }));

/** `text` on a page, with its formulas set once what sets them is there. */
async function page(text: string): Promise<{ root: HTMLElement; stream: MarkdownStream }> {
  const root = document.createElement('div');
  document.body.append(root);
  const stream = new MarkdownStream(root, { finished: formulasIn });
  stream.append(text);
  stream.close();
  await vi.waitFor(() => expect(root.querySelectorAll('.md-math:not([data-set])')).toHaveLength(0), { timeout: 5_000 });
  return { root, stream };
}

afterEach(() => {
  document.body.replaceChildren();
});

describe('a formula', () => {
  it('is set in type once its block is whole, and keeps its source beside', async () => {
    const { root } = await page('So $x^2$ and\n\n\\[\n\\frac{a}{b}\n\\]\n');
    const [inline, display] = Array.from(root.querySelectorAll<HTMLElement>('.md-math'));
    expect(inline?.querySelector('.katex')).not.toBeNull();
    expect(inline?.querySelector('.md-source')?.textContent).toBe('$x^2$');
    expect(display?.querySelector('.katex-display')).not.toBeNull();
    expect(display?.querySelector('.md-source')?.textContent).toBe('\\[\n\\frac{a}{b}\n\\]');
  });

  it('is not set again, nor drawn anew, when the text goes on or is closed', async () => {
    const root = document.createElement('div');
    document.body.append(root);
    const stream = new MarkdownStream(root, { finished: formulasIn });
    for (const piece of ['First $x^2$.', '\n\nSec', 'ond $y']) stream.append(piece);
    await vi.waitFor(() => expect(root.querySelector('.katex')).not.toBeNull());
    const [type, paragraph] = [root.querySelector('.katex'), root.querySelector('p')];
    stream.append('_1$ end.');
    stream.close();
    expect(root.querySelector('.katex')).toBe(type);
    expect(root.querySelector('p')).toBe(paragraph);
    await vi.waitFor(() => expect(root.querySelectorAll('.katex')).toHaveLength(2));
  });

  it('is set before the next frame once one was', async () => {
    await page('$a^2$');
    // A turn of the event loop of its own.
    await new Promise((resolve) => setTimeout(resolve, 0));
    const root = document.createElement('div');
    document.body.append(root);
    const stream = new MarkdownStream(root, { finished: formulasIn });
    stream.append('Now $b^2$.\n\nAnd');
    expect(root.querySelector('.katex')).not.toBeNull();
  });

  it('that is none stays as it was written', async () => {
    const long = `\\[x${'+x'.repeat(1_200)}=0\\]`;
    const deep = `\\[${'{'.repeat(900)}x^2${'}'.repeat(900)}\\]`;
    const { root } = await page(`$\\frac{a$ and $\\nosuch{x}$ and $x^2$\n\n${long}\n\n${deep}`);
    const failed = Array.from(root.querySelectorAll<HTMLElement>('.md-math[data-set="failed"]'));
    expect(failed.map(({ textContent }) => textContent)).toEqual(expect.arrayContaining(['$\\frac{a$', '$\\nosuch{x}$', long]));
    expect(root.textContent).toContain(deep);
    expect(root.querySelector('p .katex')).not.toBeNull();
  });

  it('does nothing but be set: no links, no images, no attributes, no endless commands', () => {
    for (const tex of ['\\href{javascript:alert(1)}{x}', '\\url{https://example.org}', '\\includegraphics{https://example.org/x.png}', '\\htmlClass{x}{y}', '\\htmlStyle{color:red}{y}', '\\htmlData{a=b}{y}']) {
      const into = document.createElement('span');
      try {
        typeset(tex, into, false);
      } catch {
        // Refused.
      }
      expect(into.querySelector('a, img, [data-a], .x'), tex).toBeNull();
    }
    const into = document.createElement('span');
    expect(() => typeset('\\def\\a{\\a\\a}\\a', into, false)).toThrow();
    typeset('\\rule{9999em}{9999em}', into, false);
    for (const rule of Array.from(into.querySelectorAll<HTMLElement>('[style]'))) expect(rule.getAttribute('style')).not.toMatch(/\d{3,}(\.\d+)?em/);
  });
});
