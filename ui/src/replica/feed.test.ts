import { describe, expect, it } from 'vitest';

import type { FeedBatch } from '../ipc/contract';
import { FeedCursor } from './feed';

function batch(epoch: number, from: number, to: number, reset = false): FeedBatch {
  return { epoch, from, to, reset, changes: [] };
}

describe('the cursor', () => {
  it('moves on with each batch that follows', () => {
    const cursor = new FeedCursor(7, 10);
    expect(cursor.take(batch(7, 10, 14))).toBe('apply');
    expect(cursor.take(batch(7, 14, 15))).toBe('apply');
    expect(cursor.after).toBe(15);
  });

  it('ignores a wait that ended with nothing, and a repetition', () => {
    const cursor = new FeedCursor(7, 10);
    expect(cursor.take(batch(7, 10, 10))).toBe('ignore');
    expect(cursor.take(batch(7, 8, 10))).toBe('ignore');
    expect(cursor.after).toBe(10);
  });

  it('asks for a reset after a gap, and never applies changes twice', () => {
    for (const from of [12, 9]) {
      const cursor = new FeedCursor(7, 10);
      expect(cursor.take(batch(7, from, 14))).toBe('gap');
      expect(cursor.epoch).not.toBe(7);
    }
  });

  it('asks for a reset when the epoch changed without one', () => {
    const cursor = new FeedCursor(7, 10);
    expect(cursor.take(batch(8, 10, 14))).toBe('gap');
    expect(cursor.epoch).not.toBe(8);
  });

  it('starts over at a reset, whatever it had', () => {
    const cursor = new FeedCursor(7, 10);
    cursor.lose();
    expect(cursor.take(batch(9, 0, 3, true))).toBe('restart');
    expect([cursor.epoch, cursor.after]).toEqual([9, 3]);
  });

  it('loses itself to an epoch that is not the host’s, also when that is 0', () => {
    const cursor = new FeedCursor(0, 4);
    cursor.lose();
    expect(cursor.epoch).toBe(1);
  });
});
