import type { HeadChange, SessionSummary } from '../contract';

/** Rows of each server that a window gets when it does not say. */
const ROWS = 40;

/** A scripted host's list of sessions, of which the window has the heads. */
export interface Listed {
  counts: { sessions: number; found: number; unread: number; approvals: number };
  rows: SessionSummary[];
}

/** The heads of a list: of each server as many of its sessions as are wanted and have the title, the most recently active first. */
export function headsOf(sessions: Iterable<SessionSummary>, { title, rows: wanted }: { title: string; rows: Partial<Record<string, number>> }): Map<string, Listed> {
  const words = title.toLowerCase().split(/\s+/).filter((word) => word !== '');
  const heads = new Map<string, Listed>();
  const sorted = [...sessions].sort((a, b) => compare(recency(b), recency(a)) || compare(a.id, b.id));
  for (const session of sorted) {
    const server = session.id.slice(0, Math.max(0, session.id.indexOf('/')));
    const head = heads.get(server) ?? { counts: { sessions: 0, found: 0, unread: 0, approvals: 0 }, rows: [] };
    heads.set(server, head);
    head.counts.sessions += 1;
    head.counts.unread += session.unread;
    head.counts.approvals += session.pendingApprovals;
    if (!words.every((word) => session.title.toLowerCase().includes(word))) continue;
    head.counts.found += 1;
    if (head.rows.length < (wanted[server] ?? ROWS)) head.rows.push(session);
  }
  return heads;
}

/** The edits that make `after` of `before`. */
export function edits(before: ReadonlyMap<string, Listed>, after: ReadonlyMap<string, Listed>): HeadChange[] {
  const none: Listed = { counts: { sessions: 0, found: 0, unread: 0, approvals: 0 }, rows: [] };
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((server) => {
    const old = before.get(server) ?? none;
    const { counts, rows: now } = after.get(server) ?? none;
    const there = new Set(now.map(({ id }) => id));
    const known = new Map(old.rows.map((session) => [session.id, session]));
    const removed = [...known.keys()].filter((id) => !there.has(id));
    const isSame = (session: SessionSummary): boolean => JSON.stringify(known.get(session.id)) === JSON.stringify(session);
    // What stays must be in the order that it was in.
    const kept = old.rows.filter(({ id }) => there.has(id)).map(({ id }) => id);
    const stays = now.filter(isSame).map(({ id }) => id);
    const inOrder = stays.every((id, at) => at === 0 || kept.indexOf(stays[at - 1] ?? '') < kept.indexOf(id));
    const rows = now.flatMap((session, index) => (inOrder && isSame(session) ? [] : [{ index, session }]));
    if (removed.length === 0 && rows.length === 0 && JSON.stringify(counts) === JSON.stringify(old.counts)) return [];
    return [{ server, ...counts, removed, rows }];
  });
}

function recency(session: SessionSummary): string {
  return session.lastActivityAt ?? session.createdAt ?? '';
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
