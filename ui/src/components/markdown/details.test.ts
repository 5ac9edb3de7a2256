// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';

import { lexBlocks } from './lexer';
import { renderBlocks } from './render';

function drawn(text: string): HTMLElement {
  const root = document.createElement('div');
  root.append(...renderBlocks(lexBlocks(text).tokens));
  return root;
}

describe('what is opened to be read', () => {
  it('has a head and Markdown inside, and others inside', () => {
    const root = drawn('<details>\n<summary>The `log`</summary>\n\n- one\n\n<details open><summary>More</summary>\n\n**deep**\n\n</details>\n</details>\n\nAfter');
    const [outer, inner] = Array.from(root.querySelectorAll('details'));
    expect(outer?.querySelector('summary code')?.textContent).toBe('log');
    expect(outer?.querySelector('li')?.textContent).toBe('one');
    expect([outer?.hasAttribute('open'), inner?.hasAttribute('open')]).toEqual([false, true]);
    expect(inner?.querySelector('strong')?.textContent).toBe('deep');
    expect(root.lastElementChild?.textContent).toBe('After');
  });

  it.each([
    '<details onclick="x()">\na\n</details>',
    '<details style="color:red">a</details>',
    '<details>\nnever closed',
    '<details>a</details> and words behind it',
    `<details>${'<details>'.repeat(30)}${'</details>'.repeat(31)}`,
  ])('is text where it is not plain, not closed or too deep: %j', (text) => {
    const root = drawn(text);
    expect(root.querySelector('[onclick], [style]')).toBeNull();
    expect(root.querySelectorAll('details').length).toBeLessThanOrEqual(9);
    expect(root.textContent).toContain('<details');
  });

  it('costs no more than its length, however many are not closed', () => {
    const from = performance.now();
    drawn(`${'<details>\n\n'.repeat(600)}</details>`);
    expect(performance.now() - from).toBeLessThan(2_000);
  });
});
