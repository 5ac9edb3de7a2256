import type { Backend } from '../ipc/backend';
import type { Approval, FeedChange, SessionSummary, WaitingApproval } from '../ipc/contract';
import { fold, type Heads } from '../replica/sessions';
import type { Announcer } from './announcer.svelte';
import { refOf, type Decisions } from './decisions.svelte';
import { homeIdOf } from './servers.svelte';

/** Rows of a server's list that are asked for at a time. */
const PAGE = 120;

/** The sessions of this person, of each server as many as are to be seen, and the approvals that wait in all. */
export class Sessions {
  /** Of each server the counts over all its sessions, and the most recent of them. */
  heads = $state.raw<Heads>(new Map());
  approvals = $state.raw<WaitingApproval[]>([]);

  #removed = $state.raw<ReadonlySet<string>>(new Set());
  readonly #backend: Backend;
  /** Words that titles must have. */
  filter = $state('');
  /** Rows asked for, by server. */
  readonly #asked = new Map<string, number>();
  readonly #decisions: Decisions;
  readonly #announcer: Announcer;
  /** What was there at first is no news. */
  #begun = false;

  constructor(backend: Backend, decisions: Decisions, announcer: Announcer) {
    this.#backend = backend;
    this.#decisions = decisions;
    this.#announcer = announcer;
  }

  /** The sessions whose rows are here. */
  readonly list: SessionSummary[] = $derived(
    [...this.heads.values()].flatMap(({ rows }) => rows.filter(({ id }) => !this.#removed.has(id))),
  );

  /** The same, the most recently active first. */
  readonly recent: SessionSummary[] = $derived(
    [...this.list].sort((one, other) => lastOf(other).localeCompare(lastOf(one))),
  );

  /** Number of sessions, also of those whose rows are not here. */
  readonly total: number = $derived([...this.heads.values()].reduce((sum, { sessions }) => sum + sessions, 0));

  /** Approvals over all sessions that still want an answer from here. */
  readonly needsYou: WaitingApproval[] = $derived(
    this.approvals.filter(({ approval }) => {
      const decision = this.#decisions.of(refOf(approval));
      return decision === null || decision.refused !== null;
    }),
  );

  find(sessionId: string | null): SessionSummary | null {
    return this.list.find(({ id }) => id === sessionId) ?? null;
  }

  /** Whether something in a session is unread. Of one whose row is not here this is not known, so it may be. */
  mayBeUnread(sessionId: string): boolean {
    const summary = this.find(sessionId);
    if (summary !== null) return summary.unread > 0;
    const head = this.heads.get(homeIdOf(sessionId));
    return head !== undefined && head.rows.length < head.found && !this.#removed.has(sessionId);
  }

  take(change: Extract<FeedChange, { type: 'sessions' }>): void {
    this.heads = fold(this.heads, change);
  }

  /** Lists a session no more, before the host says so. The heads stay as the host knows them. */
  remove(sessionId: string): void {
    this.#removed = new Set([...this.#removed, sessionId]);
  }

  /** Asks for the next rows of a server, when there are more than those that are here. */
  async more(server: string): Promise<void> {
    const head = this.heads.get(server);
    if (head === undefined || head.rows.length >= head.found) return;
    // What was asked for is on its way.
    if ((this.#asked.get(server) ?? 0) > head.rows.length) return;
    this.#asked.set(server, head.rows.length + PAGE);
    try {
      await this.#ask();
    } catch {
      // Whoever scrolls on asks again.
      this.#asked.delete(server);
    }
  }

  /** Lists only sessions whose title has these words; empty: all. */
  async filterBy(title: string): Promise<void> {
    this.filter = title;
    this.#asked.clear();
    await this.#ask();
  }

  #ask(): Promise<void> {
    return this.#backend.listSessions({ title: this.filter.trim(), rows: Object.fromEntries(this.#asked) });
  }

  takeApprovals(approvals: WaitingApproval[]): void {
    const known = new Set(this.approvals.map(waitingKey));
    this.approvals = approvals;
    const fresh = approvals.find((waiting) => !known.has(waitingKey(waiting)));
    if (fresh !== undefined && this.#begun) this.#announcer.say(`Approval needed: ${toolOf(fresh.approval)}`);
    this.#begun = true;
  }
}

function lastOf({ lastActivityAt, createdAt }: SessionSummary): string {
  return lastActivityAt ?? createdAt ?? '';
}

/** What tells approvals apart over all sessions: agents may choose the same ids. */
export function waitingKey({ sessionId, approval }: WaitingApproval): string {
  return JSON.stringify([sessionId, approval.messageId, approval.id, approval.toolCallId]);
}

export function toolOf(approval: Approval): string {
  return approval.toolName === '' ? 'a tool' : approval.toolName;
}
