import { describe, expect, it } from 'vitest';

import type { SessionSummary } from '../ipc/contract';
import { drawn, groupsOf, held, topOf } from './sessionlist';

const NOW = Date.parse('2026-11-20T12:00:00Z');
const HOUR = 3_600_000;

function session(id: string, ago: number): SessionSummary {
  return {
    id,
    title: id,
    createdAt: null,
    lastActivityAt: new Date(NOW - ago).toISOString(),
    preview: null,
    state: 'idle',
    unread: 0,
    pendingApprovals: 0,
    draft: null,
  };
}

const SIZES = { row: 50, heading: 30 };
const MANY = Array.from({ length: 10_000 }, (_, at) => session(String(at), at * HOUR));

function ids(groups: ReturnType<typeof groupsOf>): string[] {
  return groups.flatMap(({ sessions }) => sessions.map(({ id }) => id));
}

describe('the list of sessions', () => {
  it('draws what is on screen of ten thousand sessions', () => {
    const groups = groupsOf(MANY, NOW);
    for (const top of [0, 1_000, 250_000, 499_000]) {
      const rows = drawn(groups, top, top + 800, SIZES).reduce((sum, { from, to }) => sum + to - from, 0);
      expect(rows).toBeGreaterThanOrEqual(16);
      expect(rows).toBeLessThan(60);
    }
  });

  it('draws the very rows that are in view', () => {
    const groups = groupsOf(MANY, NOW);
    const top = topOf(groups, '5000', SIZES) ?? 0;
    const stretches = drawn(groups, top, top + 800, SIZES);
    const shown = groups.flatMap(({ sessions }, at) => sessions.slice(stretches[at]?.from, stretches[at]?.to)).map(({ id }) => id);
    for (let at = 5_000; at < 5_016; at += 1) expect(shown).toContain(String(at));
  });

  it('moves nothing under the pointer', () => {
    const before = groupsOf([session('a', HOUR), session('b', 2 * HOUR), session('c', 50 * HOUR)], NOW);
    const now = [session('new', 0), session('c', 0), session('a', HOUR), session('b', 2 * HOUR)];
    const groups = held(before, now);
    expect(ids(groups)).toEqual(['a', 'b', 'c', 'new']);
    expect(groups.map(({ name }) => name)).toEqual([...before.map(({ name }) => name), 'New']);
    expect(ids(held([], now))).toHaveLength(4);
  });
});
