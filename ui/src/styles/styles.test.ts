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

describe('a window that is read from right to left', () => {
  it('is the mirror of the other: no style names the left or the right', () => {
    const styles = (file: string): string => (file.endsWith('.css') ? readFileSync(file, 'utf8') : (/<style>[^]*<\/style>/.exec(readFileSync(file, 'utf8'))?.[0] ?? ''));
    const files = ['components', 'views', 'styles'].flatMap((folder) => readdirSync(join(SRC, folder)).map((file) => join(SRC, folder, file)));
    const physical = /^\s*(?:(?:margin|padding|border)-(?:left|right)|left|right|border-(?:top|bottom)-(?:left|right)-radius):|text-align: (?:left|right)|float: (?:left|right)|^\s*(?:inset|margin|padding): \S+ (\S+) \S+ (?!\1;)\S+;/gm;
    for (const file of files.filter((name) => /\.(?:svelte|css)$/.test(name))) {
      // What an agent's table says of its cells is theirs.
      expect(styles(file).replace(/\[data-align='right'\] \{[^}]*\}/, '').match(physical) ?? [], file).toEqual([]);
    }
  });
});
