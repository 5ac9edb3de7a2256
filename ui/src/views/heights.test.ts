import { describe, expect, it } from 'vitest';

import { Heights } from './heights';

const rows = Array.from({ length: 1_000 }, (_, at) => ({ id: String(at) }));

describe('row heights', () => {
  it('choose only the rows that meet the view', () => {
    const heights = new Heights();
    for (const { id } of rows) heights.measure(id, 100);
    expect(heights.span(rows, 50_000, 50_800)).toEqual({ start: 500, end: 508, before: 50_000, after: 49_200 });
    expect(heights.span(rows, -500, 300)).toEqual({ start: 0, end: 3, before: 0, after: 99_700 });
  });

  it('choose at least one row past either end, and none of none', () => {
    const heights = new Heights();
    for (const { id } of rows) heights.measure(id, 100);
    expect(heights.span(rows, 200_000, 200_800)).toEqual({ start: 999, end: 1_000, before: 99_900, after: 0 });
    expect(heights.span([], 0, 800)).toEqual({ start: 0, end: 0, before: 0, after: 0 });
  });

  it('estimate unseen rows by the mean of the seen', () => {
    const heights = new Heights();
    heights.measure('0', 40);
    heights.measure('1', 80);
    expect(heights.of('2')).toBe(60);
    expect(heights.offset(rows, 3)).toBe(180);
  });

  it('never take zero for a height', () => {
    const heights = new Heights();
    heights.measure('0', 40);
    expect(heights.measure('0', 0)).toBe(false);
    expect(heights.of('0')).toBe(40);
  });

  it('keep old heights as estimates when the width changes', () => {
    const heights = new Heights();
    heights.setWidth(700);
    heights.measure('0', 40);
    heights.setWidth(500);
    expect(heights.isMeasured('0')).toBe(false);
    expect(heights.of('0')).toBe(40);
  });

  it('forget rows that are gone', () => {
    const heights = new Heights();
    for (const { id } of rows) heights.measure(id, 100);
    heights.keep(rows.slice(0, 10));
    expect(heights.isMeasured('500')).toBe(false);
    expect(heights.isMeasured('5')).toBe(true);
    expect(heights.estimate).toBe(100);
  });
});
