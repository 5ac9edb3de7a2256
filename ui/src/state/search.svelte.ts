import { BackendError, type Backend } from '../ipc/backend';
import type { SearchHit, TitleHit } from '../ipc/contract';

/** Hits asked for at a time. */
const PAGE = 50;

/** What is looked for and what was found. The host answers in milliseconds, so every letter asks anew. */
export class SearchState {
  query = $state('');
  hits = $state.raw<SearchHit[]>([]);
  /** Sessions whose title was found. */
  titles = $state.raw<TitleHit[]>([]);
  /** Messages found in all, of which `hits` are the first. */
  total = $state(0);
  sessions = $state(0);
  /** The query that `hits` answer; null until one was asked. */
  answered = $state<string | null>(null);
  error = $state<string | null>(null);

  readonly #backend: Backend;
  /** One question at a time: what is typed meanwhile is asked when the answer is there. */
  #asking = false;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  type(query: string): void {
    this.query = query;
    void this.#ask();
  }

  /** Adds the next page. */
  async more(): Promise<void> {
    if (this.#asking || this.hits.length >= this.total) return;
    await this.#ask(this.hits.length);
  }

  async #ask(offset = 0): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    const query = this.query;
    try {
      const page = await this.#backend.search({ query, sessionId: null, offset, limit: PAGE });
      this.hits = offset === 0 ? page.hits : [...this.hits, ...page.hits];
      if (offset === 0) this.titles = page.titles;
      this.total = page.total;
      this.sessions = page.sessions;
      this.answered = query;
      this.error = null;
    } catch (cause) {
      this.error = BackendError.from(cause).message;
    } finally {
      this.#asking = false;
    }
    if (this.query !== query) await this.#ask();
  }
}
