import type { Backend } from '../ipc/backend';
import type { FeedBatch } from '../ipc/contract';
import { FeedCursor } from '../replica/feed';

export interface FeedReader {
  /** Drop everything; the changes that follow start with the full state. */
  restart(): void;
  /** Applies a batch. False when something in it does not fit what is there. */
  apply(batch: FeedBatch): boolean;
}

/** How long to wait after a failed pull, in ms; the next is twice as long, up to the longest. */
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 5_000;

/**
 * Pulls changes from the host for as long as the page lives, one waiting call at a time.
 *
 * Never gated by frames: a hidden window has none, and must still take what comes. After a failure it pauses, or until
 * the host's wake signal, which is all that signal does.
 */
export class FeedLoop {
  readonly #backend: Backend;
  readonly #reader: FeedReader;
  readonly #cursor = new FeedCursor(0, 0);
  #running = false;
  #stopped = false;
  #wake: () => void = () => undefined;

  constructor(backend: Backend, reader: FeedReader) {
    this.#backend = backend;
    this.#reader = reader;
    backend.onWake(() => {
      this.#wake();
      this.start();
    });
  }

  /** Takes the first batch, which was there before the loop. */
  begin(batch: FeedBatch): void {
    this.#take(batch);
  }

  start(): void {
    if (this.#running || this.#stopped) return;
    this.#running = true;
    void this.#run();
  }

  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  /** Pull everything anew. */
  lose(): void {
    this.#cursor.lose();
  }

  async #run(): Promise<void> {
    let pause = FIRST_PAUSE;
    while (!this.#stopped) {
      const { epoch, after } = this.#cursor;
      try {
        const batch = await this.#backend.nextDiffs(epoch, after);
        pause = FIRST_PAUSE;
        // The cursor was lost while this call waited: its reply answers an older question.
        if (this.#cursor.epoch !== epoch || this.#cursor.after !== after) continue;
        this.#take(batch);
      } catch (cause) {
        console.error('the feed could not be read', cause);
        await this.#sleep(pause);
        pause = Math.min(pause * 2, LONGEST_PAUSE);
      }
    }
    this.#running = false;
  }

  #take(batch: FeedBatch): void {
    switch (this.#cursor.take(batch)) {
      case 'restart':
        this.#reader.restart();
        this.#apply(batch);
        return;
      case 'apply':
        this.#apply(batch);
        return;
      case 'ignore':
      case 'gap':
        return;
    }
  }

  #apply(batch: FeedBatch): void {
    if (!this.#reader.apply(batch)) this.#cursor.lose();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      function done(): void {
        clearTimeout(timer);
        resolve();
      }
      this.#wake = done;
    });
  }
}
