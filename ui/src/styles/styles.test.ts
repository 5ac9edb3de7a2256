import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

const SRC = fileURLToPath(new URL('..', import.meta.url));

describe('words that are only heard', () => {
  it('stand in a box of their own, so that the page does not grow by them', () => {
    // They are positioned: without a positioned parent they stand relative to the page, which then scrolls.
    const files = ['components', 'views'].flatMap((folder) => readdirSync(join(SRC, folder)).map((file) => join(SRC, folder, file)));
    const hiding = files.filter((file) => file.endsWith('.svelte') && readFileSync(file, 'utf8').includes('visually-hidden'));
    expect(hiding.length).toBeGreaterThan(3);
    for (const file of hiding) expect(readFileSync(file, 'utf8'), file).toContain('position: relative');
  });

  it('cannot make the page itself scroll', () => {
    const base = readFileSync(join(SRC, 'styles/base.css'), 'utf8');
    for (const rule of ['#app', 'html', 'body']) {
      expect(new RegExp(`^${rule} \\{[^}]*overflow: clip;`, 'm').test(base), rule).toBe(true);
    }
  });
});
