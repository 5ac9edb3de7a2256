import type { Backend } from '../ipc/backend';
import { readStored, writeStored } from './stored';

/** Typing rests this long (ms) before the draft is written. */
const REST = 250;
const NEW_SESSION = 'draft.new';

/** What is being written, per session. Saved while it is written; a remote event never touches it. */
export class ComposerState {
  text = $state('');
  /** True from Enter until the outbox has it. */
  sending = $state(false);
  error = $state<string | null>(null);

  readonly #backend: Backend;
  #sessionId: string | null = null;
  #saved = '';
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Drafts of sessions visited since the page loaded: newer than what any list says. */
  readonly #drafts = new Map<string | null, string>();

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Goes to another session's draft. */
  open(sessionId: string | null, draft: string | null): void {
    this.flush();
    this.#sessionId = sessionId;
    this.error = null;
    const known = this.#drafts.get(sessionId);
    this.text = known ?? (sessionId === null ? readStored(NEW_SESSION, '') : (draft ?? ''));
    this.#saved = this.text;
  }

  /** The store's draft has come; it counts unless the person has typed in the meantime. */
  offer(sessionId: string, draft: string): void {
    if (sessionId !== this.#sessionId || this.#drafts.has(sessionId) || this.text !== this.#saved) return;
    this.text = draft;
    this.#saved = draft;
  }

  type(text: string): void {
    this.text = text;
    this.#drafts.set(this.#sessionId, text);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.flush();
    }, REST);
  }

  /** Empties the field; the caller has put the text where it is safe. */
  clear(): void {
    this.type('');
    this.flush();
  }

  /** Writes the draft now. */
  flush(): void {
    clearTimeout(this.#timer);
    if (this.text === this.#saved) return;
    const text = this.text;
    this.#saved = text;
    if (this.#sessionId === null) {
      writeStored(NEW_SESSION, text);
      return;
    }
    this.#backend.saveDraft(this.#sessionId, text).catch((cause: unknown) => {
      this.#saved = '';
      console.error('the draft could not be saved', cause);
    });
  }
}
