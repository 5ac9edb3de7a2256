import { SvelteMap } from 'svelte/reactivity';

import type { ApprovalRef } from '../ipc/backend';
import type { Approval, JsonValue, OutboxItem } from '../ipc/contract';

/** A decision given and not yet seen in the log. */
export interface Decision {
  approved: boolean;
  /** The option that was chosen, where it was a certain one. */
  optionId: string | null;
  /** Why it was not taken; null while it is on its way. */
  refused: string | null;
  /** The outbox entry, to try again or let go of. */
  entryId: string | null;
}

/** What is said with a decision. */
export interface Answer {
  /** The option that is chosen, of a request that offers some; without it the one that holds once. */
  optionId?: string;
  /** What a question is answered with. */
  payload?: JsonValue;
  /** What the agent is to hear with a no. */
  words?: string;
}

/** A request that is older than this may not be what its agent waits for when an answer that cannot be sent now arrives, ms. */
const STALE = 5 * 60_000;

/** Whether a yes to it is to be given twice: it was asked long ago, and the answer has to wait for a connection. */
export function mayBeStale(requestedAt: string | null | undefined, now: number, offline: boolean): boolean {
  // What is no time compares as nothing.
  return offline && now - Date.parse(requestedAt ?? '') > STALE;
}

/** Decisions on approvals, from the click until the log says so. The outbox tells of them once it has them. */
export class Decisions {
  readonly #given = new SvelteMap<string, Decision>();
  /** What this person decided since the page was opened, to tell when somebody else was quicker. */
  readonly #own = new Map<string, boolean>();
  #outbox = $state.raw<readonly OutboxItem[]>([]);

  /** What the person decided about an approval, as far as the log does not say it yet. */
  of(approval: ApprovalRef): Decision | null {
    const { messageId, approvalId } = approval;
    const entry = this.#outbox.find((one) => one.approvalId === approvalId && one.messageId === messageId);
    if (entry === undefined) return this.#given.get(keyOf(approval)) ?? null;
    const refused = entry.state === 'wedged' ? (entry.reason ?? 'The server refused the answer.') : null;
    return { approved: entry.approved === true, optionId: entry.optionId ?? null, refused, entryId: entry.entryId };
  }

  give(approval: ApprovalRef, approved: boolean, optionId: string | null = null, refused: string | null = null): void {
    this.#given.set(keyOf(approval), { approved, optionId, refused, entryId: null });
    this.#own.set(keyOf(approval), approved);
  }

  /** Whether this person decided otherwise than the log says. Asked once: it is told once. */
  takeLost(approval: ApprovalRef, approved: boolean): boolean {
    const key = keyOf(approval);
    const lost = this.#own.get(key) === !approved;
    if (lost) this.#own.delete(key);
    return lost;
  }

  /** The outbox of the session on screen: from here on it tells of what it holds. */
  take(outbox: readonly OutboxItem[]): void {
    this.#outbox = outbox;
    for (const { approvalId, messageId } of outbox) {
      if (approvalId !== null && messageId !== null) this.#given.delete(keyOf({ messageId, approvalId }));
    }
  }
}

export function refOf({ id, messageId }: Approval): ApprovalRef {
  return { messageId, approvalId: id };
}

function keyOf({ messageId, approvalId }: ApprovalRef): string {
  return JSON.stringify([messageId, approvalId]);
}
