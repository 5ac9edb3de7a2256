import type {
  AgentSpec,
  Bootstrap,
  Direction,
  DiskUse,
  FeedBatch,
  FilePart,
  JsonValue,
  ListQuery,
  ModelCheck,
  QuitAnswer,
  SaidPage,
  SearchPage,
  SearchRequest,
  ServerCheck,
  Settings,
  StillRuns,
} from './contract';

/** An approval as an answer names it: agents choose ids, and two messages may ask under the same. */
export interface ApprovalRef {
  messageId: string;
  approvalId: string;
}

/** What a message does to an answer that is being written: wait for its end, or end it and be answered at once. */
export type SendMode = 'queue' | 'steer';

/** A session that is to be made. Its ids come from whoever asks, so that asking twice makes one. */
export interface NewSession {
  id: string;
  /** The server it will live on. */
  server: string;
  agents: AgentSpec[];
  /** The message that it begins with, and is named after. */
  first: { id: string; text: string; files: FilePart[] };
}

/**
 * The host, as the window may ask it: one method per command, nothing else.
 *
 * Two implementations: {@link file://./tauri.ts} talks to the app, {@link file://./scripted/backend.ts} plays a session
 * in a plain browser. A method that fails rejects with a {@link BackendError}.
 */
export interface Backend {
  /** The first state that was put in the page before it loaded; null where the page must ask by {@link Backend.bootstrap}. */
  readonly boot: Bootstrap | null;
  bootstrap(): Promise<Bootstrap>;

  /** Waits (20 s at most) until there is something after `after`, and returns all of it. One call at a time. */
  nextDiffs(epoch: number, after: number): Promise<FeedBatch>;
  /** Calls `wake` when there may be something to pull although nobody is pulling. */
  onWake(wake: () => void): void;
  /** Calls `open` when the person asked for a session from outside the window, as by a notification. */
  onOpenSession(open: (sessionId: string) => void): void;
  /** Calls `ask` when the person wants to quit while agents of this computer work; {@link Backend.answerQuit} answers. */
  onQuitAsked(ask: (still: StillRuns) => void): void;
  answerQuit(answer: QuitAnswer): Promise<void>;

  /** Tells the host that the window has painted, and with how many rows. */
  painted(rows: number): void;

  /**
   * Chooses the session on screen, from its end or around a message. Its meta, draft and items then come with the
   * feed. Rejects when there is no such session.
   */
  showSession(sessionId: string | null, around?: string): Promise<void>;
  /** Goes to the first rows of the session on screen. */
  showStart(sessionId: string): Promise<void>;
  /** Asks for the rows that lie next on one side of those shown. They come with the feed, and what is too much goes. */
  page(sessionId: string, direction: Direction): Promise<void>;

  /** Chooses the rows of the list of sessions that are wanted. Those that are not here come with the feed. */
  listSessions(query: ListQuery): Promise<void>;

  /** Looks through all that was said, in every session, and all titles; offline, within a few milliseconds. */
  search(request: SearchRequest): Promise<SearchPage>;

  /** Makes a session and says its first message, both or neither. Resolves with the session's id. */
  createSession(session: NewSession): Promise<string>;
  /** Makes a copy of a session that ends at a message of it. The same id twice makes one. Resolves with the copy's id. */
  forkSession(id: string, sessionId: string, atMessageId: string): Promise<string>;
  /** Reads the state that an agent shares with the people of a session; null where it shares none. */
  sharedState(sessionId: string, agentId: string): Promise<JsonValue>;
  /** Reads what was said in a session from a position on, 0 for its beginning; offline, also what is not shown. */
  said(sessionId: string, from: number): Promise<SaidPage>;
  /** The disk that the sessions take, and the largest ones. */
  diskUse(): Promise<DiskUse>;
  renameSession(sessionId: string, title: string): Promise<void>;
  deleteSession(sessionId: string): Promise<void>;
  /** Keeps what is here of a session that its server has deleted, to be read. */
  keepCopy(sessionId: string): Promise<void>;

  /**
   * Durable when it resolves: the message is in the outbox, whatever happens next. The same id twice is said once.
   * `mode` says what becomes of an answer that is being written: the message waits for its end, or ends it. `files` have
   * their bytes in their addresses.
   */
  sendMessage(sessionId: string, text: string, messageId?: string, mode?: SendMode, files?: FilePart[]): Promise<string>;
  /**
   * Answers an approval or a question; `payload` is what is said besides yes or no. `optionId` is one of the options of a
   * request that offers some; without it the one is meant that holds once.
   */
  respondApproval(sessionId: string, approval: ApprovalRef, approved: boolean, payload?: JsonValue, optionId?: string): Promise<void>;
  /** Has a message of a person answered again. */
  regenerate(sessionId: string, messageId: string): Promise<void>;
  /** Chooses something of an agent: its mode, its model. */
  setAgentOption(sessionId: string, agentId: string, optionId: string, value: string): Promise<void>;
  stopRun(sessionId: string): Promise<void>;
  retryEntry(entryId: string): Promise<void>;
  /** Changes the text of a message that the server does not have, and sends it. */
  editEntry(entryId: string, text: string): Promise<void>;
  discardEntry(entryId: string): Promise<void>;
  saveDraft(sessionId: string, text: string): Promise<void>;
  markRead(sessionId: string): Promise<void>;
  /** Ends every waiting back-off: try to connect now. */
  reconnect(): Promise<void>;

  getSettings(): Promise<Settings>;
  /** Resolves with the settings as they are now. */
  setSettings(settings: Settings): Promise<Settings>;
  /** Writes the model's key to the OS keychain, or removes it. There is no way to read it back. */
  setModelKey(key: string | null): Promise<void>;
  checkModel(): Promise<ModelCheck>;

  /** Asks what answers at an address, and what the token may do there. Nothing is kept. */
  checkServer(url: string, token: string | null): Promise<ServerCheck>;
  /** Joins a server that answers as one. Resolves with its id. */
  joinServer(url: string, name: string, token: string | null): Promise<string>;
  renameServer(id: string, name: string): Promise<void>;
  /** Signs in again, with another token or with none. */
  setServerToken(id: string, token: string | null): Promise<void>;
  /** Number of wishes that wait for a server. */
  countUnsent(id: string): Promise<number>;
  /** Removes a server. Its sessions stay here to be read, or are deleted here. */
  forgetServer(id: string, keepSessions: boolean): Promise<void>;

  /** Writes a file into the person's folder for downloads, beside those that are there. Resolves with where it is. */
  saveFile(name: string, bytes: Uint8Array): Promise<string>;

  /** Opens a link in the person's browser; never in this window. */
  openLink(url: string): Promise<void>;
}

/** A failure as the host reports it: a code to decide on, a sentence to show. */
export class BackendError extends Error {
  override readonly name = 'BackendError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }

  /** Turns whatever a promise was rejected with into a {@link BackendError}. */
  static from(cause: unknown): BackendError {
    if (cause instanceof BackendError) return cause;
    if (typeof cause === 'object' && cause !== null) {
      const { code, message } = cause as { code?: unknown; message?: unknown };
      if (typeof message === 'string') return new BackendError(typeof code === 'string' ? code : 'unknown', message);
    }
    return new BackendError('unknown', typeof cause === 'string' ? cause : 'Something went wrong. Try again.');
  }
}
