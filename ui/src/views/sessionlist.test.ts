import { describe, expect, it } from 'vitest';

import type { ServerSummary, SessionSummary } from '../ipc/contract';
import type { Heads } from '../replica/sessions';
import { drawn, ending, groupsByServer, groupsOf, held, topOf } from './sessionlist';

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

const SERVERS = ['local', 'team', 'lab'].map((id): ServerSummary => ({
  id,
  name: id,
  url: null,
  me: null,
  forgotten: false,
  connection: { state: id === 'lab' ? 'refused' : 'live', code: null, message: null, retryAt: null, syncedAt: null },
}));

/** Heads that say how many sessions there are, whatever rows are here. */
function counted(counts: Record<string, number>): Heads {
  return new Map(Object.entries(counts).map(([server, sessions]) => [server, { sessions, found: sessions, unread: 0, approvals: 0, rows: [] }]));
}

const SIZES = { row: 50, heading: 30, head: 45, troubledHead: 60 };
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
    const groups = held(before, now, NOW);
    expect(ids(groups)).toEqual(['a', 'b', 'c', 'new']);
    expect(groups.map(({ name }) => name)).toEqual([...before.map(({ name }) => name), 'New']);
    expect(ids(held([], now, NOW))).toHaveLength(4);
  });

  it('has a section for each server, and in each the most recent first', () => {
    const groups = groupsByServer([session('local/a', 2 * HOUR), session('team/b', 0), session('local/c', HOUR), session('gone/d', 0)], SERVERS, new Map(), new Set());
    expect(groups.map(({ name }) => name)).toEqual(['local', 'team', 'lab']);
    expect(ids(groups)).toEqual(['local/c', 'local/a', 'team/b']);
    const folded = groupsByServer([session('local/a', HOUR)], SERVERS, counted({ local: 10_000 }), new Set(['local']));
    expect(folded.map(({ sessions, home }) => [sessions.length, home?.count])).toEqual([[0, 10_000], [0, 0], [0, 0]]);
  });

  it('draws the very rows that are in view below the heads of servers', () => {
    const many = MANY.map((one, at) => ({ ...one, id: `${SERVERS[at % 3]?.id ?? ''}/${one.id}` }));
    const groups = groupsByServer(many, SERVERS, new Map(), new Set(['local']));
    const top = topOf(groups, 'lab/5000', SIZES) ?? 0;
    // Two plain heads, the sessions of one server, and a head that says what is wrong.
    expect(top).toBe(45 + 45 + 3_333 * 50 + 60 + 1_666 * 50);
    const stretches = drawn(groups, top, top + 800, SIZES);
    const shown = groups.flatMap(({ sessions }, at) => sessions.slice(stretches[at]?.from, stretches[at]?.to)).map(({ id }) => id);
    expect(shown).toContain('lab/5000');
    expect(shown.length).toBeLessThan(40);
  });

  it('goes on with the older rows of a server while the order is held', () => {
    const before = groupsByServer([session('local/a', HOUR), session('team/b', 2 * HOUR)], SERVERS, new Map(), new Set());
    const now = [session('local/a', HOUR), session('local/z', 90 * HOUR), session('local/y', 80 * HOUR), session('team/b', 2 * HOUR), session('team/new', HOUR)];
    expect(held(before, now, NOW).map(({ name, sessions }) => [name, ...sessions.map(({ id }) => id)])).toEqual([
      ['local', 'local/a', 'local/y', 'local/z'],
      ['team', 'team/b'],
      ['lab'],
      ['New', 'team/new'],
    ]);
    const byTime = held(groupsOf([session('local/a', HOUR)], NOW), [session('local/a', HOUR), session('local/b', 2 * HOUR), session('local/z', 900 * HOUR)], NOW);
    expect(ids(byTime)).toEqual(['local/a', 'local/b', 'local/z']);
    expect(byTime.map(({ sessions }) => sessions.length)).toEqual([2, 1]);
  });

  it('asks for more of the server whose last rows are drawn, and of no other', () => {
    const many = MANY.slice(0, 180).map((one, at) => ({ ...one, id: `${SERVERS[at % 3]?.id ?? ''}/${one.id}` }));
    const groups = groupsByServer(many, SERVERS, new Map(), new Set());
    const at = (top: number): string[] => ending(groups, drawn(groups, top, top + 800, SIZES));
    expect(at(0)).toEqual([]);
    expect(at(45 + 60 * 50 - 900)).toEqual(['local']);
    expect(at(45 + 60 * 50 + 45 + 20 * 50)).toEqual([]);
    const byTime = groupsOf(many.filter(({ id }) => id.startsWith('team/')), NOW);
    expect(ending(byTime, drawn(byTime, 0, 800, SIZES))).toEqual([]);
    expect(ending(byTime, drawn(byTime, 2_900, 3_700, SIZES))).toEqual(['team']);
  });

  it('keeps what is folded folded while the order is held', () => {
    const before = groupsByServer([session('local/a', HOUR), session('team/b', 0)], SERVERS, new Map(), new Set(['local']));
    const groups = held(before, [session('local/a', 0), session('local/new', 0), session('team/new', -HOUR), session('team/b', 0)], NOW);
    expect(ids(groups)).toEqual(['team/b', 'team/new']);
    expect(groups.map(({ name }) => name)).toEqual(['local', 'team', 'lab', 'New']);
  });
});
