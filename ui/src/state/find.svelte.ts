import { BackendError, type Backend } from '../ipc/backend';
import type { SearchHit } from '../ipc/contract';

/** Messages that are gone through at most. */
const MOST = 200;

/** Looking for words in the session on screen: all of it, also what is not loaded. */
export class FindState {
  /** The bar is shown. */
  open = $state(false);
  query = $state('');
  /** Messages that have the words, the oldest first. */
  hits = $state.raw<readonly SearchHit[]>([]);
  /** Which of them was gone to; -1 before the first. */
  at = $state(-1);
  /** Messages in all, of which `hits` may be a part. */
  total = $state(0);
  error = $state<string | null>(null);
  /** The query that `hits` answer. */
  answered = $state('');

  readonly #backend: Backend;
  readonly #go: (messageId: string) => void;
  #session: string | null = null;
  #asking = false;

  /** `go` shows a message of the session. */
  constructor(backend: Backend, go: (messageId: string) => void) {
    this.#backend = backend;
    this.#go = go;
  }

  /** Another session is on screen. */
  enter(session: string | null): void {
    if (session === this.#session) return;
    this.#session = session;
    this.close();
  }

  /** Marks the words of a search that led to a message. */
  mark(query: string): void {
    this.query = query;
  }

  close(): void {
    this.open = false;
    this.query = '';
    this.hits = [];
    this.at = -1;
    this.total = 0;
    this.error = null;
    this.answered = '';
  }

  /** Resolves when the answer is there. */
  async type(query: string): Promise<void> {
    this.query = query;
    await this.#ask();
  }

  /** To the next message that has the words, around the end. */
  step(step: -1 | 1): void {
    const { length } = this.hits;
    if (length === 0) return;
    // The newest is the nearest to where one reads.
    this.at = this.at === -1 ? (step === 1 ? 0 : length - 1) : (this.at + step + length) % length;
    const hit = this.hits[this.at];
    if (hit !== undefined) this.#go(hit.messageId);
  }

  async #ask(): Promise<void> {
    if (this.#asking) return;
    const { query } = this;
    const session = this.#session;
    if (query.trim() === '' || session === null) {
      this.hits = [];
      this.total = 0;
      this.at = -1;
      this.answered = query;
      return;
    }
    this.#asking = true;
    try {
      const page = await this.#backend.search({ query, sessionId: session, offset: 0, limit: MOST });
      if (session === this.#session && this.query !== '') {
        this.hits = [...page.hits].sort((one, other) => timeOf(one) - timeOf(other));
        this.total = page.total;
        this.at = -1;
        this.answered = query;
        this.error = null;
      }
    } catch (cause) {
      this.error = BackendError.from(cause).message;
    } finally {
      this.#asking = false;
    }
    if (this.query !== query) await this.#ask();
  }
}

function timeOf({ at }: SearchHit): number {
  const time = at === null ? Number.NaN : Date.parse(at);
  return Number.isNaN(time) ? 0 : time;
}
