// @vitest-environment happy-dom
import { describe, expect, it, vi } from 'vitest';

import * as lexer from './lexer';
import { MarkdownStream } from './stream';

vi.mock('./lexer', { spy: true });

describe('a text that cannot be read as Markdown', () => {
  it('is shown as it is, all of it once, wherever it fails', async () => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const { lexBlocks } = await vi.importActual<typeof lexer>('./lexer');
    const pieces = ['# One\n\n', 'two *three*\n\n', '- four\n', 'five\r', '\n\nsix\r'];
    let failed = 0;
    for (let failing = 1; failing < 12; failing += 1) {
      let calls = 0;
      vi.mocked(lexer.lexBlocks).mockImplementation((source, links) => {
        calls += 1;
        if (calls === failing) throw new RangeError('too deep');
        return lexBlocks(source, links);
      });
      const root = document.createElement('div');
      const stream = new MarkdownStream(root);
      for (const piece of pieces) stream.append(piece);
      stream.close();
      const shown = root.textContent;
      if (calls < failing) expect(shown.replace(/\s+/g, '')).toBe('Onetwothreefourfivesix');
      else expect(shown).toBe('# One\n\ntwo *three*\n\n- four\nfive\n\nsix\n');
      failed += calls < failing ? 0 : 1;
    }
    expect(failed).toBeGreaterThan(3);
    said.mockRestore();
  });
});
