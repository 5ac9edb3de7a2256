import type { Backend } from '../ipc/backend';
import type { FilePart } from '../ipc/contract';
import { attach, MOST_FILES, NotAttached } from './attachments';
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
  /** What is attached to it. */
  files = $state.raw<readonly FilePart[]>([]);
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
  /** Files attached since the page loaded: the page's storage may be too small for them. */
  readonly #files = new Map<string | null, readonly FilePart[]>();
  readonly #ids = new Map<string | null, { text: string; files: readonly FilePart[]; ids: Ids }>();

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
    const files = this.#files.get(sessionId) ?? readStored<FilePart[]>(filesOf(sessionId), []);
    this.#files.set(sessionId, files);
    this.files = files;
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

  /** Nothing is there that could be sent. */
  get empty(): boolean {
    return this.text.trim() === '' && this.files.length === 0;
  }

  /** Attaches files. What cannot be attached is said in `error`, and costs nothing else. */
  async attach(files: readonly File[]): Promise<void> {
    const sessionId = this.#sessionId;
    this.error = null;
    for (const file of files) {
      try {
        const part = await attach(file);
        // The person may have gone on to another session.
        if (sessionId !== this.#sessionId) return;
        if (this.files.length >= MOST_FILES) throw new NotAttached(`A message has at most ${String(MOST_FILES)} files. Send the others with the next one.`);
        this.#keep(sessionId, [...this.files, part]);
      } catch (cause) {
        if (sessionId !== this.#sessionId) return;
        this.error = cause instanceof NotAttached ? cause.message : `“${file.name}” could not be read.`;
      }
    }
  }

  detach(file: FilePart): void {
    this.#keep(this.#sessionId, this.files.filter((one) => one !== file));
  }

  #keep(sessionId: string | null, files: readonly FilePart[]): void {
    if (sessionId === this.#sessionId) this.files = files;
    this.#files.set(sessionId, files);
    writeStored(filesOf(sessionId), files.length === 0 ? null : files);
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
    const { text, files } = this;
    const known = this.#ids.get(this.#sessionId);
    if (known?.text === text && known.files === files) return known.ids;
    const ids = { session: crypto.randomUUID(), message: crypto.randomUUID() };
    this.#ids.set(this.#sessionId, { text, files, ids });
    return ids;
  }

  /** The text that was sent last from here, which taking back brings again. */
  lastSent: string | null = null;

  /** A text is where it is safe: it is no draft of that session any more, wherever the person is by now. */
  sent(sessionId: string | null, text: string, files: readonly FilePart[]): void {
    this.#ids.delete(sessionId);
    if (sessionId === this.#sessionId ? this.files === files : this.#files.get(sessionId) === files) this.#keep(sessionId, []);
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

function filesOf(sessionId: string | null): string {
  return `files.${sessionId ?? 'new'}`;
}
