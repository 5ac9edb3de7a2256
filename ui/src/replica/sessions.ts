import type { HeadChange, SessionSummary } from '../ipc/contract';

/** The part of one server's list that this page has: its counts, and the first rows, the most recently active first. */
export interface Head {
  /** Number of the server's sessions. */
  sessions: number;
  /** Number of those that the query matches, whether or not their rows are here. */
  found: number;
  /** Number of messages by others that this person has not seen. */
  unread: number;
  /** Number of approvals that wait. */
  approvals: number;
  rows: readonly SessionSummary[];
}

/** The heads by server. */
export type Heads = ReadonlyMap<string, Head>;

/**
 * The heads after a change of the feed. A server whose list did not change keeps its head; so the same changes again
 * give the same.
 */
export function fold(heads: Heads, { reset, servers }: { reset: boolean; servers: readonly HeadChange[] }): Heads {
  const next = new Map(reset ? [] : heads);
  for (const { server, sessions, found, unread, approvals, removed, rows: come } of servers) {
    if (sessions === 0) {
      next.delete(server);
      continue;
    }
    const gone = new Set([...removed, ...come.map(({ session }) => session.id)]);
    const rows = (next.get(server)?.rows ?? []).filter(({ id }) => !gone.has(id));
    // Each at its place in what the head is then, the first first.
    for (const { index, session } of come) rows.splice(index, 0, session);
    next.set(server, { sessions, found, unread, approvals, rows });
  }
  return next;
}
