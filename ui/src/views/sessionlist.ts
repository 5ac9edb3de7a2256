import { parseTime, period } from '../components/format';
import type { ServerSummary, SessionSummary } from '../ipc/contract';
import type { Heads } from '../replica/sessions';
import { homeIdOf } from '../state/servers.svelte';
import { stateOf } from './serverstate';

/** Sessions under one heading. */
export interface Group {
  name: string;
  sessions: SessionSummary[];
  /** The server that they live on, where there are several: its head stands for the heading. */
  home: Home | null;
}

/** A server and what it has, listed or folded away. */
export interface Home {
  server: ServerSummary;
  folded: boolean;
  count: number;
  unread: number;
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
  /** A server's head. */
  head: number;
  /** The head of a server that says what is wrong. */
  troubledHead: number;
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
  for (const { session, at } of dated(sessions)) {
    const name = period(at, now);
    const last = groups.at(-1);
    if (last?.name === name) last.sessions.push(session);
    else groups.push({ name, sessions: [session], home: null });
  }
  return groups;
}

/**
 * The sessions, the most recent first, under their servers, whose counts are in `heads`. Those of a server in `folded`
 * are only counted.
 */
export function groupsByServer(sessions: readonly SessionSummary[], servers: readonly ServerSummary[], heads: Heads, folded: ReadonlySet<string>): Group[] {
  const of = new Map(servers.map(({ id }) => [id, [] as SessionSummary[]]));
  for (const { session } of dated(sessions)) of.get(homeIdOf(session.id))?.push(session);
  return servers.map((server) => {
    const own = of.get(server.id) ?? [];
    const head = heads.get(server.id);
    const home = { server, folded: folded.has(server.id), count: head?.sessions ?? 0, unread: head?.unread ?? 0 };
    return { name: server.name, sessions: home.folded ? [] : own, home };
  });
}

/** What the list is narrowed to. */
export type Only = 'all' | 'unread' | 'approval' | 'running' | 'failed' | 'draft' | 'archived';

/** Whether a session is one of those; archived ones are listed by themselves only. */
export function isListed({ state, unread, draft }: SessionSummary, only: Only, archived: boolean): boolean {
  if (archived !== (only === 'archived')) return false;
  switch (only) {
    case 'all':
    case 'archived':
      return true;
    case 'unread':
      return unread > 0;
    case 'draft':
      return draft !== null && draft.trim() !== '';
    default:
      return state === only;
  }
}

/** The pinned sessions, in the order they were pinned; those whose rows are not here are known by their titles. */
export function pinnedGroup(pinned: readonly (readonly [id: string, title: string])[], sessions: readonly SessionSummary[]): Group[] {
  if (pinned.length === 0) return [];
  const known = new Map(sessions.map((session) => [session.id, session]));
  const rows = pinned.map(
    ([id, title]): SessionSummary =>
      known.get(id) ?? { id, title, createdAt: null, lastActivityAt: null, preview: null, state: 'idle', unread: 0, pendingApprovals: 0, draft: null },
  );
  return [{ name: PINNED, sessions: rows, home: null }];
}

const PINNED = 'Pinned';

function dated(sessions: readonly SessionSummary[]): { session: SessionSummary; at: number }[] {
  return sessions.map((session) => ({ session, at: activity(session) })).sort((a, b) => b.at - a.at);
}

/** The heading of sessions that came while the order was held. */
const ARRIVED = 'New';

/**
 * The order that was there before, with the sessions as they are now: nothing moves under the pointer. Older sessions of
 * a server, whose rows were asked for, follow those that were there; sessions that came meanwhile stand at the end.
 */
export function held(before: readonly Group[], sessions: readonly SessionSummary[], clock: number): Group[] {
  const now = new Map(sessions.map((session) => [session.id, session]));
  const ends = new Map<string, number>();
  for (const session of before.flatMap((group) => (group.name === PINNED ? [] : group.sessions))) {
    const server = homeIdOf(session.id);
    ends.set(server, Math.min(activity(session), ends.get(server) ?? Infinity));
  }
  const groups: Group[] = before.map(({ name, sessions: old, home }) => ({
    name,
    home,
    sessions: old.flatMap((one) => {
      const session = now.get(one.id) ?? (name === PINNED ? one : undefined);
      return session === undefined ? [] : [session];
    }),
  }));
  const known = new Set(before.flatMap((group) => group.sessions.map(({ id }) => id)));
  const folded = new Set(before.flatMap(({ home }) => (home?.folded === true ? [home.server.id] : [])));
  const fresh = sessions.filter(({ id }) => !known.has(id) && !folded.has(homeIdOf(id)));
  const isOlder = (session: SessionSummary): boolean => activity(session) <= (ends.get(homeIdOf(session.id)) ?? -1);
  for (const { session, at } of dated(fresh.filter(isOlder))) {
    const server = homeIdOf(session.id);
    const name = period(at, clock);
    const group = groups.find(({ home, name: its }) => (home === null ? its === name : home.server.id === server));
    if (group === undefined) groups.push({ name, sessions: [session], home: null });
    else group.sessions.push(session);
  }
  groups.push({ name: ARRIVED, sessions: fresh.filter((session) => !isOlder(session)), home: null });
  return groups.filter((group) => group.sessions.length > 0 || group.home !== null);
}

/** Of each group, the rows that meet the view from `top` to `bottom`, px from the first heading. */
export function drawn(groups: readonly Group[], top: number, bottom: number, measure: Measure): Stretch[] {
  const { row } = measure;
  let y = 0;
  return groups.map((group) => {
    const { sessions } = group;
    y += headingOf(group, measure);
    const clamp = (at: number): number => Math.max(0, Math.min(sessions.length, at));
    const from = clamp(Math.floor((top - y) / row) - MARGIN);
    const to = clamp(Math.ceil((bottom - y) / row) + MARGIN);
    y += sessions.length * row;
    return { from, to };
  });
}

/** The servers whose last rows here are drawn: what follows them is about to be seen. */
export function ending(groups: readonly Group[], stretches: readonly Stretch[]): string[] {
  const ends = groups.flatMap((group, at) => {
    const { from, to } = stretches[at] ?? { from: 0, to: 0 };
    // Under headings of time, rows go on behind the last group.
    const goesOn = group.home !== null || at === groups.length - 1;
    if (!goesOn || from === to || to < group.sessions.length) return [];
    return group.home === null ? group.sessions.map(({ id }) => homeIdOf(id)) : [group.home.server.id];
  });
  return [...new Set(ends)];
}

/** Where a session's row begins, px from the first heading; null where it is not listed. */
export function topOf(groups: readonly Group[], id: string, measure: Measure): number | null {
  const { row } = measure;
  let y = 0;
  for (const group of groups) {
    const { sessions } = group;
    y += headingOf(group, measure);
    const at = sessions.findIndex((session) => session.id === id);
    if (at !== -1) return y + at * row;
    y += sessions.length * row;
  }
  return null;
}

function headingOf({ home }: Group, { heading, head, troubledHead }: Measure): number {
  if (home === null) return heading;
  return stateOf(home.server).trouble ? troubledHead : head;
}
