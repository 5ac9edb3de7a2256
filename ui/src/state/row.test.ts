import { describe, expect, it, vi } from 'vitest';

import type { Part } from '../ipc/contract';
import { item } from '../ipc/scripted/content';
import { PartCell, Row } from './row.svelte';

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

describe('growing arguments of a call', () => {
  it('cost their own letters: nothing is made anew from all of them', () => {
    const part: Part = { type: 'tool-call', id: 'c', name: 'write', arguments: '{"path":"a","text":"', input: null, state: 'streaming', output: null, error: null, approval: null };
    const cell = new PartCell(part, false);
    const drawn: string[] = [];
    cell.attach({
      reset: (text) => drawn.push(text),
      append: (text) => drawn.push(text),
      close: () => undefined,
    });
    const value = cell.value;
    for (let at = 0; at < 1_000; at += 1) {
      part.arguments += 'x'.repeat(100);
      cell.grew(part, 'x'.repeat(100));
    }
    expect(cell.value).toBe(value);
    expect(cell.head).toHaveLength(200);
    expect(drawn.join('')).toBe(part.arguments);
    expect(Math.max(...drawn.slice(1).map(({ length }) => length))).toBe(100);
  });
});

describe('where a growing text is drawn', () => {
  it('a place that fails gets no more, and the others get everything once', () => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const cell = new PartCell({ type: 'text', text: 'a' }, false);
    const drawn: string[] = [];
    const failing = vi.fn(() => {
      throw new RangeError('too deep');
    });
    const ends = vi.fn();
    cell.attach({ reset: () => undefined, append: failing, close: failing });
    cell.attach({ reset: (text) => drawn.push(text), append: (text) => drawn.push(text), close: ends });
    cell.attach({ reset: failing, append: failing, close: failing });
    cell.grew({ type: 'text', text: 'ab' }, 'b');
    cell.grew({ type: 'text', text: 'abc' }, 'c');
    cell.setClosed(true);
    expect(drawn.join('')).toBe('abc');
    expect(failing).toHaveBeenCalledTimes(2);
    expect(ends).toHaveBeenCalledTimes(1);
    said.mockRestore();
  });
});
