import type { Backend } from '../ipc/backend';
import type { Diff, Item, SessionView } from '../ipc/contract';
import { TranscriptReplica } from '../replica/transcript';
import { Row } from './row.svelte';

/** Rows asked for at a time when the reader goes up. */
const PAGE = 50;
/** How long the rows around a message may take to come, ms. */
const GO_TO_MS = 5_000;
/** A transcript that is followed keeps at most this many rows in memory … */
const MOST_ROWS = 600;
/** … and then lets go of the oldest down to this. */
const KEPT_ROWS = 300;

/** One session's rows, as the page knows them: the replica, and the reactive rows drawn from it. */
export class TranscriptState {
  readonly sessionId: string;
  rows = $state.raw<Row[]>([]);
  hasMoreBefore = $state(false);
  /** The rows end before the session does: they are those around a message that was gone to. */
  hasMoreAfter = $state(false);
  loadingBefore = $state(false);
  pageError = $state<string | null>(null);
  /** Rows that came at the end since the page was opened; the scroller counts what was not seen by it. */
  arrived = $state(0);
  /** True from the first content on. Until then nothing is known, which is not the same as empty. */
  loaded = $state(false);

  readonly #backend: Backend;
  readonly #replica = new TranscriptReplica();
  /** The feed has sent this session's reset: from now on its diffs fit. */
  #synced = false;
  #loadingAfter = false;
  /** Who waits for the next reset. */
  #resets: (() => void)[] = [];

  constructor(backend: Backend, sessionId: string) {
    this.#backend = backend;
    this.sessionId = sessionId;
  }

  /** Takes what the store has, unless the feed was quicker. */
  show(view: Pick<SessionView, 'items' | 'hasMoreBefore'>, synced: boolean): void {
    if (this.#synced) return;
    this.#replica.apply({ op: 'reset', items: view.items, hasMoreBefore: view.hasMoreBefore });
    this.#synced = synced;
    this.#rebuild();
  }

  /** The feed starts over: its diffs fit again from the next reset on. */
  unsync(): void {
    this.#synced = false;
  }

  /** Applies one diff. False when it does not fit and the feed must start over. */
  apply(diff: Diff): boolean {
    if (!this.#synced) {
      // Diffs to a base we have not seen yet; the reset is on its way.
      if (diff.op !== 'reset') return true;
      this.#synced = true;
    }
    const effect = this.#replica.apply(diff);
    switch (effect.kind) {
      case 'reset':
        this.#rebuild();
        return true;
      case 'insert': {
        const item = this.#replica.items[effect.at];
        if (item === undefined) return false;
        if (effect.at === this.rows.length) this.arrived += 1;
        this.rows = [...this.rows.slice(0, effect.at), new Row(item), ...this.rows.slice(effect.at)];
        return true;
      }
      case 'remove':
        this.rows = this.rows.filter((_, at) => at !== effect.at);
        return true;
      case 'set':
        this.#with(effect.at, (row, item) => {
          row.set(item);
        });
        return true;
      case 'text':
        this.#with(effect.at, (row, item) => {
          const part = item.parts[effect.part];
          if (part !== undefined) row.parts[effect.part]?.grew(part, effect.text);
        });
        return true;
      case 'part':
        this.#with(effect.at, (row, item) => {
          row.setPart(item, effect.part);
        });
        return true;
      case 'meta':
        this.#with(effect.at, (row, item) => {
          row.setMeta(item);
        });
        return true;
      case 'none':
        return true;
      case 'stale':
        return false;
    }
  }

  /** Gets the page before the first row. One at a time. */
  async loadBefore(): Promise<void> {
    const first = this.rows[0];
    if (first === undefined || !this.hasMoreBefore || this.loadingBefore) return;
    this.loadingBefore = true;
    this.pageError = null;
    try {
      const page = await this.#backend.pageBefore(this.sessionId, first.id, PAGE);
      // A reset in between may have moved the beginning: the page is then not the one before it.
      if (this.#replica.items[0]?.id !== first.id) return;
      const added = this.#replica.prepend(page.items, page.hasMoreBefore && page.items.length > 0);
      this.hasMoreBefore = this.#replica.hasMoreBefore;
      this.rows = [...this.#replica.items.slice(0, added).map((item) => new Row(item)), ...this.rows];
    } catch (cause) {
      this.pageError = cause instanceof Error ? cause.message : String(cause);
    } finally {
      this.loadingBefore = false;
    }
  }

  /** Gets the page after the last row, where there is one: the feed begins anew with it. */
  loadAfter(): void {
    if (!this.hasMoreAfter || this.#loadingAfter) return;
    this.#loadingAfter = true;
    this.#backend.pageAfter(this.sessionId, PAGE).catch(() => {
      this.#loadingAfter = false;
    });
  }

  /** Gets the rows around a message, unless it is here already. False when it did not come. */
  async goTo(messageId: string): Promise<boolean> {
    const here = (): boolean => this.rows.some(({ id }) => id === messageId);
    if (here()) return true;
    await this.#backend.showSession(this.sessionId, messageId);
    const late = performance.now() + GO_TO_MS;
    // A reset that was on its way before may come first.
    while (!here() && performance.now() < late) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, GO_TO_MS);
        this.#resets.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return here();
  }

  /** Back to the session's end. */
  goToEnd(): void {
    if (!this.hasMoreAfter) return;
    // What is shown is about to be replaced, and the end may be followed again.
    this.hasMoreAfter = false;
    void this.#backend.showSession(this.sessionId);
  }

  /** The reader is at the end: rows far above may go, paging brings them back. */
  settle(): void {
    if (this.rows.length <= MOST_ROWS) return;
    const gone = this.#replica.trim(KEPT_ROWS);
    this.rows = this.rows.slice(gone);
    this.hasMoreBefore = this.#replica.hasMoreBefore;
  }

  #rebuild(): void {
    const known = new Map(this.rows.map((row) => [row.id, row]));
    this.rows = this.#replica.items.map((item) => {
      const row = known.get(item.id);
      if (row === undefined) return new Row(item);
      row.set(item);
      return row;
    });
    this.hasMoreBefore = this.#replica.hasMoreBefore;
    this.hasMoreAfter = this.#replica.hasMoreAfter;
    this.#loadingAfter = false;
    this.loaded = true;
    for (const waiting of this.#resets.splice(0)) waiting();
  }

  #with(at: number, change: (row: Row, item: Item) => void): void {
    const [row, item] = [this.rows[at], this.#replica.items[at]];
    if (row !== undefined && item !== undefined) change(row, item);
  }
}
