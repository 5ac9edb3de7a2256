import type { Backend } from '../ipc/backend';
import { readStored, writeStored } from './stored';

/** Typing rests this long (ms) before the draft is written. */
const REST = 250;
const NEW_SESSION = 'draft.new';

/** Ids for what is said with one text: trying again makes no second message, and no second session. */
interface Ids {
  session: string;
  message: string;
}

/** What is being written, per session. Saved while it is written; a remote event never touches it. */
export class ComposerState {
  text = $state('');
  /** True from Enter until the outbox has it. */
  sending = $state(false);
  error = $state<string | null>(null);
  /** Counts what was put into the field from outside of it: the person wants to go on there. */
  wanted = $state(0);

  readonly #backend: Backend;
  #sessionId: string | null = null;
  #saved = '';
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Drafts of sessions visited since the page loaded: newer than what any list says. */
  readonly #drafts = new Map<string | null, string>();
  readonly #ids = new Map<string | null, { text: string; ids: Ids }>();

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Goes to another session's draft. */
  open(sessionId: string | null, draft: string | null): void {
    this.flush();
    this.#sessionId = sessionId;
    this.lastSent = null;
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

  /** Puts words of somebody before what is written, marked as theirs. */
  quote(said: string): void {
    const quoted = said.trim().split('\n').map((line) => (line === '' ? '>' : `> ${line}`)).join('\n');
    this.type(this.text.trim() === '' ? `${quoted}\n\n` : `${this.text.trimEnd()}\n\n${quoted}\n\n`);
    this.wanted += 1;
  }

  /** Puts what was said before into the field. What was being written stays below it. */
  again(said: string): void {
    this.type(this.text.trim() === '' ? said : `${said}\n\n${this.text}`);
    this.wanted += 1;
  }

  /** Ids for the text as it is: the same ones until it is sent or changed. */
  ids(): Ids {
    const { text } = this;
    const known = this.#ids.get(this.#sessionId);
    if (known?.text === text) return known.ids;
    const ids = { session: crypto.randomUUID(), message: crypto.randomUUID() };
    this.#ids.set(this.#sessionId, { text, ids });
    return ids;
  }

  /** The text that was sent last from here, which taking back brings again. */
  lastSent: string | null = null;

  /** A text is where it is safe: it is no draft of that session any more, wherever the person is by now. */
  sent(sessionId: string | null, text: string): void {
    this.#ids.delete(sessionId);
    if (sessionId === this.#sessionId) {
      if (this.text !== text) return;
      this.lastSent = text;
      this.type('');
      this.flush();
    } else if (this.#drafts.get(sessionId) === text) {
      this.#drafts.set(sessionId, '');
      this.#store(sessionId, '');
    }
  }

  /** Writes the draft now. */
  flush(): void {
    clearTimeout(this.#timer);
    if (this.text === this.#saved) return;
    const text = this.text;
    this.#saved = text;
    this.#store(this.#sessionId, text);
  }

  #store(sessionId: string | null, text: string): void {
    if (sessionId === null) {
      writeStored(NEW_SESSION, text);
      return;
    }
    this.#backend.saveDraft(sessionId, text).catch((cause: unknown) => {
      if (sessionId === this.#sessionId) this.#saved = '';
      console.error('the draft could not be saved', cause);
    });
  }
}
