import type { FeedBatch } from '../ipc/contract';

/** The verdict on a batch. */
export type Verdict =
  /** The batch follows what we have: apply its changes. */
  | 'apply'
  /** The batch starts over: drop everything, then apply. */
  | 'restart'
  /** The batch is a repetition, or nothing happened: ignore it. */
  | 'ignore'
  /** A batch in between is missing: pull again from the start. */
  | 'gap';

/**
 * The place of this page in the host's feed of changes.
 *
 * Sending the cursor back is the acknowledgement; a read takes nothing away, so that a lost reply costs one more pull.
 */
export class FeedCursor {
  epoch: number;
  after: number;

  constructor(epoch: number, after: number) {
    this.epoch = epoch;
    this.after = after;
  }

  /** Decides about a batch and moves on. */
  take(batch: FeedBatch): Verdict {
    if (batch.reset) {
      this.epoch = batch.epoch;
      this.after = batch.to;
      return 'restart';
    }
    if (batch.epoch !== this.epoch) {
      this.lose();
      return 'gap';
    }
    if (batch.to <= this.after) return 'ignore';
    // Later: changes are missing. Earlier: part of it is known already, and a diff must not be applied twice.
    if (batch.from !== this.after) {
      this.lose();
      return 'gap';
    }
    this.after = batch.to;
    return 'apply';
  }

  /** Asks for everything anew at the next pull: another epoch than the host's own is answered with a reset. */
  lose(): void {
    this.epoch = this.epoch === 0 ? 1 : 0;
    this.after = 0;
  }
}
