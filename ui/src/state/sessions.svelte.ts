import type { Approval, SessionSummary, WaitingApproval } from '../ipc/contract';
import type { Announcer } from './announcer.svelte';
import { refOf, type Decisions } from './decisions.svelte';

/** All sessions of this person, and the approvals that wait in them. */
export class Sessions {
  list = $state.raw<SessionSummary[]>([]);
  approvals = $state.raw<WaitingApproval[]>([]);

  readonly #decisions: Decisions;
  readonly #announcer: Announcer;
  /** What was there at first is no news. */
  #begun = false;

  constructor(decisions: Decisions, announcer: Announcer) {
    this.#decisions = decisions;
    this.#announcer = announcer;
  }

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

  remove(sessionId: string): void {
    this.list = this.list.filter(({ id }) => id !== sessionId);
  }

  takeApprovals(approvals: WaitingApproval[]): void {
    const known = new Set(this.approvals.map(waitingKey));
    this.approvals = approvals;
    const fresh = approvals.find((waiting) => !known.has(waitingKey(waiting)));
    if (fresh !== undefined && this.#begun) this.#announcer.say(`Approval needed: ${toolOf(fresh.approval)}`);
    this.#begun = true;
  }
}

/** What tells approvals apart over all sessions: agents may choose the same ids. */
export function waitingKey({ sessionId, approval }: WaitingApproval): string {
  return JSON.stringify([sessionId, approval.messageId, approval.id, approval.toolCallId]);
}

export function toolOf(approval: Approval): string {
  return approval.toolName === '' ? 'a tool' : approval.toolName;
}
