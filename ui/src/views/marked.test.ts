import { describe, expect, it } from 'vitest';

import { marked } from './marked';

describe('a snippet in pieces', () => {
  it('keeps every letter, marked or not', () => {
    const pieces = marked('one two one', [
      { start: 0, end: 3 },
      { start: 8, end: 11 },
    ]);
    expect(pieces).toEqual([
      { text: 'one', hit: true },
      { text: ' two ', hit: false },
      { text: 'one', hit: true },
    ]);
  });

  it('is one piece without matches, and none without text', () => {
    expect(marked('<b>', [])).toEqual([{ text: '<b>', hit: false }]);
    expect(marked('', [])).toEqual([]);
  });
});
