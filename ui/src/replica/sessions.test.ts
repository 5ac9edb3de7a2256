import { describe, expect, it } from 'vitest';

import type { SessionSummary } from '../ipc/contract';
import { edits, headsOf, type Listed } from '../ipc/scripted/heads';
import { fold, type Heads } from './sessions';

function session(id: string, at = '', title = id): SessionSummary {
  return { id, title, createdAt: null, lastActivityAt: at, preview: null, state: 'idle', unread: 0, pendingApprovals: 0, draft: null };
}

function row(index: number, id: string, title = id) {
  return { index, session: session(id, '', title) };
}

const COUNTS = { sessions: 9, found: 9, unread: 0, approvals: 0 };

function ids(heads: Heads, server = 'a'): string[] {
  return heads.get(server)?.rows.map(({ title }) => title) ?? [];
}

const FIRST: Heads = fold(new Map(), {
  reset: true,
  servers: [
    { server: 'a', ...COUNTS, removed: [], rows: [row(0, 'a/1'), row(1, 'a/2'), row(2, 'a/3')] },
    { server: 'b', ...COUNTS, removed: [], rows: [row(0, 'b/1')] },
  ],
});

describe('the heads of the list', () => {
  it('take rows in at their places, also several at once', () => {
    const next = fold(FIRST, { reset: false, servers: [{ server: 'a', ...COUNTS, removed: [], rows: [row(0, 'a/0'), row(2, 'a/1½')] }] });
    expect(ids(next)).toEqual(['a/0', 'a/1', 'a/1½', 'a/2', 'a/3']);
    expect(next.get('b'), 'another server keeps what it has').toBe(FIRST.get('b'));
  });

  it('move a row that changed to its new place, and let rows go', () => {
    const next = fold(FIRST, { reset: false, servers: [{ server: 'a', ...COUNTS, removed: ['a/1'], rows: [row(0, 'a/3', 'renamed')] }] });
    expect(ids(next)).toEqual(['renamed', 'a/2']);
  });

  it('are the same when a change comes twice', () => {
    const change = { reset: false, servers: [{ server: 'a', ...COUNTS, removed: ['a/2'], rows: [row(1, 'a/4')] }] };
    expect(fold(fold(FIRST, change), change)).toEqual(fold(FIRST, change));
  });

  it('begin anew, and forget a server without sessions', () => {
    const one = fold(FIRST, { reset: true, servers: [{ server: 'b', ...COUNTS, removed: [], rows: [row(0, 'b/2')] }] });
    expect([...one.keys()]).toEqual(['b']);
    const none = fold(one, { reset: false, servers: [{ server: 'b', ...COUNTS, sessions: 0, found: 0, removed: ['b/2'], rows: [] }] });
    expect(none.size).toBe(0);
  });

  it('are those of the host after any edits', () => {
    const random = generator(11);
    const all = new Map<string, SessionSummary>();
    let published = new Map<string, Listed>();
    let heads: Heads = new Map();
    for (let step = 0; step < 600; step += 1) {
      const id = `${['a', 'b', 'c'][random(3)] ?? ''}/${String(random(12))}`;
      if (random(4) === 0) all.delete(id);
      else all.set(id, session(id, String(random(30)).padStart(2, '0'), `title ${String(random(3))}`));
      const now = headsOf(all.values(), { title: '', rows: { a: 1 + random(8), b: 5 } });
      heads = fold(heads, { reset: false, servers: edits(published, now) });
      published = now;
      expect(heads).toEqual(new Map([...now].map(([server, { counts, rows }]) => [server, { ...counts, rows }])));
    }
  });
});

/** Numbers below a bound, the same in each run. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
