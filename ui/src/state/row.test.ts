import { describe, expect, it } from 'vitest';

import { item } from '../ipc/scripted/content';
import { Row } from './row.svelte';

describe('what is folded in a row', () => {
  it('is known by kind and key, so that a run of steps folds no other card', () => {
    const row = new Row(item('assistant', [], 0));
    expect(row.fold('steps', 0)).toBeNull();
    row.setFold('steps', 0, true);
    expect(row.fold('steps', 0)).toBe(true);
    expect(row.fold('part', 0)).toBeNull();
    expect(row.fold('part', 10_000)).toBeNull();
    row.setFold('part', 3, false);
    expect(row.fold('part', 3)).toBe(false);
  });
});
