import { parseTime, period } from '../components/format';
import type { SessionSummary } from '../ipc/contract';

/** Sessions under one heading. */
export interface Group {
  name: string;
  sessions: SessionSummary[];
}

/** The rows of a group that are in the page: from `from` up to `to`. */
export interface Stretch {
  from: number;
  to: number;
}

/** Lengths of the list's parts, px. */
export interface Measure {
  row: number;
  heading: number;
}

/** Rows that are drawn above and below what is in view. */
const MARGIN = 8;

/** When something last happened in a session, ms; 0 where nobody says. */
export function activity(session: SessionSummary): number {
  return parseTime(session.lastActivityAt) ?? parseTime(session.createdAt) ?? 0;
}

/** The sessions, the most recent first, under the headings of their time. */
export function groupsOf(sessions: readonly SessionSummary[], now: number): Group[] {
  const groups: Group[] = [];
  const dated = sessions.map((session) => ({ session, at: activity(session) })).sort((a, b) => b.at - a.at);
  for (const { session, at } of dated) {
    const name = period(at, now);
    const last = groups.at(-1);
    if (last?.name === name) last.sessions.push(session);
    else groups.push({ name, sessions: [session] });
  }
  return groups;
}

/** The heading of sessions that came while the order was held. */
const ARRIVED = 'New';

/**
 * The order that was there before, with the sessions as they are now: nothing moves under the pointer. Sessions that
 * came meanwhile stand at the end.
 */
export function held(before: readonly Group[], sessions: readonly SessionSummary[]): Group[] {
  const now = new Map(sessions.map((session) => [session.id, session]));
  const groups = before.map(({ name, sessions: old }) => ({
    name,
    sessions: old.flatMap(({ id }) => {
      const session = now.get(id);
      return session === undefined ? [] : [session];
    }),
  }));
  const known = new Set(before.flatMap((group) => group.sessions.map(({ id }) => id)));
  groups.push({ name: ARRIVED, sessions: sessions.filter(({ id }) => !known.has(id)) });
  return groups.filter((group) => group.sessions.length > 0);
}

/** Of each group, the rows that meet the view from `top` to `bottom`, px from the first heading. */
export function drawn(groups: readonly Group[], top: number, bottom: number, { row, heading }: Measure): Stretch[] {
  let y = 0;
  return groups.map(({ sessions }) => {
    y += heading;
    const clamp = (at: number): number => Math.max(0, Math.min(sessions.length, at));
    const from = clamp(Math.floor((top - y) / row) - MARGIN);
    const to = clamp(Math.ceil((bottom - y) / row) + MARGIN);
    y += sessions.length * row;
    return { from, to };
  });
}

/** Where a session's row begins, px from the first heading; null where it is not listed. */
export function topOf(groups: readonly Group[], id: string, { row, heading }: Measure): number | null {
  let y = 0;
  for (const { sessions } of groups) {
    y += heading;
    const at = sessions.findIndex((session) => session.id === id);
    if (at !== -1) return y + at * row;
    y += sessions.length * row;
  }
  return null;
}
