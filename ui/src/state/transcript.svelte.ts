import type { Backend } from '../ipc/backend';
import type { Diff, Direction, Item } from '../ipc/contract';
import { TranscriptReplica } from '../replica/transcript';
import { Row } from './row.svelte';

/** How long rows that were asked for may take to come, ms. */
const PATIENCE_MS = 5_000;
/** A transcript that is followed keeps at most this many rows; the host then lets go of the oldest of them. */
const MOST_ROWS = 400;

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
  /** Who waits for rows to come or go by more than one. */
  #waiting: (() => void)[] = [];

  constructor(backend: Backend, sessionId: string) {
    this.#backend = backend;
    this.sessionId = sessionId;
  }

  /** The feed starts over: its diffs fit again from the next reset on. */
  unsync(): void {
    this.#synced = false;
    // A page that was asked for comes with the reset, if at all.
    this.#moved();
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
      case 'extend': {
        const { side, count } = effect;
        const before = side === 'before';
        const items = before ? this.#replica.items.slice(0, count) : this.#replica.items.slice(this.rows.length);
        const fresh = items.map((item) => new Row(item));
        this.rows = before ? [...fresh, ...this.rows] : [...this.rows, ...fresh];
        this.#moved();
        return true;
      }
      case 'trim':
        this.rows = effect.side === 'before' ? this.rows.slice(effect.count) : this.rows.slice(0, this.rows.length - effect.count);
        this.#moved();
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
      case 'stale':
        return false;
    }
  }

  /** Gets the rows before the first one. One page at a time. */
  async loadBefore(): Promise<void> {
    if (!this.#synced || !this.hasMoreBefore || this.loadingBefore) return;
    this.loadingBefore = true;
    this.pageError = null;
    try {
      if (!(await this.#page('before'))) this.pageError = 'Earlier messages could not be read.';
    } catch (cause) {
      this.pageError = cause instanceof Error ? cause.message : String(cause);
    } finally {
      this.loadingBefore = false;
    }
  }

  /** Gets the rows after the last one, where there are some. */
  loadAfter(): void {
    if (this.hasMoreAfter) void this.#after();
  }

  /** Gets the rows around a message, unless it is here already. False when it did not come. */
  async goTo(messageId: string): Promise<boolean> {
    const here = (): boolean => this.#synced && this.rows.some(({ id }) => id === messageId);
    // What is shown from an earlier visit is about to be replaced.
    if (!this.#synced) await this.#nextMove();
    if (here()) return true;
    await this.#backend.showSession(this.sessionId, messageId);
    const late = performance.now() + PATIENCE_MS;
    // A reset that was on its way before may come first.
    while (!here() && performance.now() < late) await this.#nextMove();
    return here();
  }

  /** Gets the first rows of all. False when they did not come. */
  async goToStart(): Promise<boolean> {
    if (!this.#synced) await this.#nextMove();
    if (!this.hasMoreBefore) return true;
    await this.#backend.showStart(this.sessionId);
    const late = performance.now() + PATIENCE_MS;
    while (this.hasMoreBefore && performance.now() < late) await this.#nextMove();
    return !this.hasMoreBefore;
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
    if (this.rows.length > MOST_ROWS && !this.hasMoreAfter) void this.#after();
  }

  /** Moves towards the end, where what is far above goes. */
  async #after(): Promise<void> {
    if (!this.#synced || this.#loadingAfter) return;
    this.#loadingAfter = true;
    // What does not come is asked for again by the next scroll.
    await this.#page('after').catch(() => false);
    this.#loadingAfter = false;
  }

  /** Asks for a page and waits for it. False when it did not come. */
  async #page(direction: Direction): Promise<boolean> {
    const moved = this.#nextMove();
    await this.#backend.page(this.sessionId, direction);
    return moved;
  }

  /** Waits until rows come or go by more than one. False when they do not. */
  #nextMove(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        resolve(false);
      }, PATIENCE_MS);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  #moved(): void {
    this.hasMoreBefore = this.#replica.hasMoreBefore;
    this.hasMoreAfter = this.#replica.hasMoreAfter;
    for (const waiting of this.#waiting.splice(0)) waiting();
  }

  #rebuild(): void {
    const known = new Map(this.rows.map((row) => [row.id, row]));
    this.rows = this.#replica.items.map((item) => {
      const row = known.get(item.id);
      if (row === undefined) return new Row(item);
      row.set(item);
      return row;
    });
    this.pageError = null;
    this.loaded = true;
    this.#moved();
  }

  #with(at: number, change: (row: Row, item: Item) => void): void {
    const [row, item] = [this.rows[at], this.#replica.items[at]];
    if (row !== undefined && item !== undefined) change(row, item);
  }
}
