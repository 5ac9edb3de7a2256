import type { ApprovalRef, Backend, NewSession, SendMode } from '../backend';
import { BackendError } from '../backend';
import type {
  Approval,
  Bootstrap,
  Connection,
  Diff,
  Direction,
  DiskUse,
  FeedBatch,
  FeedChange,
  FilePart,
  Item,
  ItemMeta,
  JsonValue,
  ListQuery,
  ModelCheck,
  SaidPage,
  Notice,
  OutboxItem,
  Part,
  PartApproval,
  QuitAnswer,
  SearchHit,
  SearchPage,
  SearchRequest,
  ServerCheck,
  ServerSummary,
  SessionMeta,
  SessionSummary,
  Settings,
  StillRuns,
  TitleHit,
  WaitingApproval,
} from '../contract';
import { edits, headsOf, type Listed } from './heads';
import { AFTER_APPROVAL, AFTER_DENIAL, ANSWER, call, item, newId, text, THINKING } from './content';
import { applyScene, type SceneName } from './scenes';

/** Items a session is opened with, and those of a page. */
const PAGE = 60;
/** Items that are kept when the window moves on. */
const KEPT = 5 * PAGE;
/** The pace of the scripted agent: letters per chunk, ms between chunks. */
const CHUNK = 9;
const PACE = 24;

export interface ScriptedSession {
  summary: SessionSummary;
  items: Item[];
  /** Index in `items` of the first one that the window has. */
  base: number;
  /** Index behind the last one that the window has; null while it follows the end. */
  end: number | null;
  meta: SessionMeta;
  /** States that agents share, by agent. */
  states: Record<string, JsonValue>;
  draft: string | null;
  /** Answers to approvals that wait to be sent. */
  answers: OutboxItem[];
  /** Ids of what was said from here. */
  readonly said: Set<string>;
  abort: AbortController | null;
}

/**
 * A host in the page: sessions in memory and a demo agent that answers by a script.
 *
 * It speaks the same protocol as the real one, batches, cursors and resets included, so that the whole window can be
 * worked on and tested in a browser.
 */
export class ScriptedBackend implements Backend {
  readonly boot: Bootstrap | null = null;
  readonly sessions = new Map<string, ScriptedSession>();
  readonly notices: Bootstrap['notices'] = [];
  settings: Settings = {
    modelBaseUrl: '',
    modelName: '',
    hasModelKey: false,
    defaultAgent: 'demo',
    webhookUrl: '',
    userName: 'Ana',
    notifications: true,
    notifyEnds: true,
    quietHours: null,
    mutedSessions: [],
    keepInBackground: false,
    stopAgentsOnQuit: false,
  };
  servers: ServerSummary[] = [{ id: 'local', name: 'This computer', url: null, me: null, forgotten: false, connection: connected() }];
  /** The server that the last new session was made on. */
  lastServer: string | null = null;
  /** The session to open with. */
  first: string | null = null;
  /** Whether anything reaches the server. */
  online = true;
  keychain = true;
  pace = PACE;
  /** Asks the window as the host does when it is closed while agents work. */
  askToQuit: (still: StillRuns) => void = () => undefined;
  readonly quitAnswers: QuitAnswer[] = [];

  readonly #epoch = 1 + Math.floor(Math.random() * 1_000_000);
  #queue: { seq: number; change: FeedChange }[] = [];
  #to = 0;
  #shown: string | null = null;
  #waiting: (() => void)[] = [];
  readonly #turns = new Map<string, Promise<void>>();
  #wanted: ListQuery = { title: '', rows: {} };
  /** The heads of the list as the window was told of them. */
  #heads = new Map<string, Listed>();

  constructor(scene: string) {
    applyScene(this, scene as SceneName);
  }

  bootstrap(): Promise<Bootstrap> {
    this.#shown = this.first;
    return Promise.resolve({
      batch: this.#resetBatch(),
      actorId: 'ana',
      lastServer: this.lastServer,
      settings: this.settings,
      notices: this.notices,
      platform: 'linux',
    });
  }

  async nextDiffs(epoch: number, after: number): Promise<FeedBatch> {
    if (epoch !== this.#epoch) return this.#resetBatch();
    if (this.#to <= after) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 20_000);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    await pause(16);
    const oldest = this.#queue[0]?.seq ?? this.#to + 1;
    if (after + 1 < oldest && after < this.#to) return this.#resetBatch();
    const entries = this.#queue.filter(({ seq }) => seq > after);
    return { epoch, from: after, to: this.#to, reset: false, changes: entries.map(({ change }) => structuredClone(change)) };
  }

  onWake(): void {
    // This host never loses a reader.
  }

  onOpenSession(): void {
    // There are no notifications to click.
  }

  onQuitAsked(ask: (still: StillRuns) => void): void {
    this.askToQuit = ask;
  }

  answerQuit(answer: QuitAnswer): Promise<void> {
    this.quitAnswers.push(answer);
    return Promise.resolve();
  }

  painted(): void {
    // Nobody waits for it in a browser.
  }

  async showSession(sessionId: string | null, around?: string): Promise<void> {
    await pause(4);
    const session = sessionId === null ? null : this.#get(sessionId);
    this.#shown = sessionId;
    if (session === null) return;
    const { items } = session;
    const middle = items.findIndex(({ id }) => id === around);
    session.base = Math.max(0, middle === -1 ? items.length - PAGE : middle - PAGE / 2);
    session.end = middle === -1 || middle + PAGE / 2 >= items.length ? null : middle + PAGE / 2;
    for (const change of this.#opening(session)) this.#publish(change);
  }

  async showStart(sessionId: string): Promise<void> {
    await pause(4);
    if (this.#shown !== sessionId) return;
    const session = this.#get(sessionId);
    session.base = 0;
    session.end = session.items.length > PAGE / 2 ? PAGE / 2 : null;
    for (const change of this.#opening(session)) this.#publish(change);
  }

  async page(sessionId: string, direction: Direction): Promise<void> {
    await pause(this.pace);
    if (this.#shown !== sessionId) return;
    const session = this.#get(sessionId);
    if (direction === 'before') {
      const base = Math.max(0, session.base - PAGE);
      this.#diff(session, { op: 'extend', side: 'before', items: session.items.slice(base, session.base), hasMore: base > 0 });
      session.base = base;
      this.#trim(session, 'after');
    } else {
      if (session.end !== null) {
        const end = session.end + PAGE;
        const hasMore = end < session.items.length;
        this.#diff(session, { op: 'extend', side: 'after', items: session.items.slice(session.end, end), hasMore });
        session.end = hasMore ? end : null;
      }
      this.#trim(session, 'before');
    }
  }

  #trim(session: ScriptedSession, side: Direction): void {
    const end = session.end ?? session.items.length;
    const count = end - session.base - KEPT;
    if (count <= 0) return;
    if (side === 'before') session.base += count;
    else session.end = end - count;
    this.#diff(session, { op: 'trim', side, count });
  }

  listSessions(query: ListQuery): Promise<void> {
    this.#wanted = query;
    this.#listChanged();
    return Promise.resolve();
  }

  /** Sessions whose title has every word, where the first of each is. */
  #titles(query: string): TitleHit[] {
    const words = query.toLowerCase().replace(/["“”]/g, ' ').split(/\s+/).filter((word) => word !== '');
    return this.#summaries().flatMap((session) => {
      const title = session.title.toLowerCase();
      if (words.length === 0 || !words.every((word) => title.includes(word))) return [];
      const ranges = words.map((word) => ({ start: title.indexOf(word), end: title.indexOf(word) + word.length }));
      ranges.sort((a, b) => a.start - b.start);
      return [{ session, ranges: ranges.filter(({ start }, at) => at === 0 || start >= (ranges[at - 1]?.end ?? 0)) }];
    });
  }

  /** Searches as the real one does, but for the index and the ranking: the newest first. */
  async search({ query, sessionId, offset, limit }: SearchRequest): Promise<SearchPage> {
    await pause(5);
    const wanted = query.trim().toLowerCase();
    const hits: SearchHit[] = [];
    for (const { summary, items } of wanted === '' ? [] : this.sessions.values()) {
      if (sessionId !== null && summary.id !== sessionId) continue;
      for (const one of [...items].reverse()) {
        const snippet = textOf(one).replaceAll(/\s+/g, ' ');
        const start = snippet.toLowerCase().indexOf(wanted);
        if (start === -1) continue;
        hits.push({
          sessionId: summary.id,
          sessionTitle: summary.title,
          messageId: one.id,
          role: one.role,
          actorId: one.actorId,
          at: one.createdAt,
          field: 'text',
          snippet,
          ranges: [{ start, end: start + wanted.length }],
        });
      }
    }
    const sessions = new Set(hits.map(({ sessionId }) => sessionId)).size;
    const titles = offset === 0 && sessionId === null ? this.#titles(query) : [];
    return { titles, hits: hits.slice(offset, offset + limit), total: hits.length, sessions };
  }

  createSession({ id, server, agents, first }: NewSession): Promise<string> {
    const known = `${server}/${id}`;
    if (this.sessions.has(known)) return Promise.resolve(known);
    const session = this.add(titleFrom(first.text), [], Date.now(), {}, server, id);
    session.meta.agents = agents.map((agent) => ({
      agentId: agent.id,
      name: agent.name ?? agent.id,
      endpoint: agent.endpoint,
      triggers: agent.triggers ?? null,
      model: null,
    }));
    this.lastServer = server;
    this.#say(session, first.id, first.text, first.files);
    return Promise.resolve(session.summary.id);
  }

  forkSession(id: string, sessionId: string, atMessageId: string): Promise<string> {
    const { summary, items } = this.#get(sessionId);
    const server = summary.id.split('/')[0] ?? 'local';
    const end = items.findIndex((message) => message.id === atMessageId) + 1;
    if (end === 0) return Promise.reject(new BackendError('not-possible', 'This message is not delivered yet. Copy the session when it is.'));
    if (!this.sessions.has(`${server}/${id}`)) {
      this.add(summary.title, structuredClone(items.slice(0, end)), Date.now(), { parentId: sessionId }, server, id);
      this.#listChanged();
    }
    return Promise.resolve(`${server}/${id}`);
  }

  sharedState(sessionId: string, agentId: string): Promise<JsonValue> {
    return Promise.resolve(structuredClone(this.#get(sessionId).states[agentId] ?? null));
  }

  /** Lets an agent share a state, or another one. */
  share(session: ScriptedSession, agentId: string, state: JsonValue): void {
    session.states[agentId] = state;
    const others = session.meta.shared.filter((by) => by.agentId !== agentId);
    const seq = (session.meta.shared.find((by) => by.agentId === agentId)?.seq ?? 0) + 1;
    session.meta = { ...session.meta, shared: [...others, { agentId, messageId: 'shared', seq }] };
    this.#changed(session);
  }

  said(sessionId: string, from: number): Promise<SaidPage> {
    const { items } = this.#get(sessionId);
    const next = from + PAGE < items.length ? from + PAGE : null;
    const said = items.slice(from, from + PAGE).flatMap(({ role, actorId, parts }) => {
      const words = parts.flatMap((part) => (part.type === 'text' ? [part.text] : part.type === 'tool-call' ? [`\`${part.name}\``] : []));
      return words.length === 0 ? [] : [{ role, actorId, text: words.join('\n\n') }];
    });
    return Promise.resolve({ said, next });
  }

  diskUse(): Promise<DiskUse> {
    const sizes = Array.from(this.sessions.values(), ({ summary, items }) => ({
      sessionId: summary.id,
      title: summary.title,
      messages: items.length,
      bytes: JSON.stringify(items).length,
    })).sort((one, other) => other.bytes - one.bytes);
    const bytes = sizes.reduce((sum, one) => sum + one.bytes, 0);
    return Promise.resolve({ bytes, sessions: sizes.length, largest: sizes.slice(0, 5) });
  }

  renameSession(sessionId: string, title: string): Promise<void> {
    const session = this.#get(sessionId);
    session.meta.title = title;
    session.summary.title = title;
    this.#changed(session);
    return Promise.resolve();
  }

  deleteSession(sessionId: string): Promise<void> {
    this.sessions.delete(sessionId);
    this.#listChanged();
    return Promise.resolve();
  }

  keepCopy(sessionId: string): Promise<void> {
    const session = this.#get(sessionId);
    if (session.meta.connection.state !== 'gone') return Promise.reject(new BackendError('not-possible', 'The server has this session. Copy it there.'));
    session.items = session.items.filter(({ delivery }) => delivery === null);
    session.answers = [];
    session.meta.connection = { ...connected(), state: 'closed' };
    session.meta.readOnly = true;
    this.#changed(session);
    return Promise.resolve();
  }

  sendMessage(sessionId: string, value: string, messageId = newId('entry'), mode: SendMode = 'queue', files: FilePart[] = []): Promise<string> {
    const session = this.#get(sessionId);
    if (mode === 'steer') session.abort?.abort();
    this.#say(session, messageId, value, files);
    return Promise.resolve(messageId);
  }

  #say(session: ScriptedSession, entryId: string, value: string, files: FilePart[]): void {
    if (session.said.has(entryId)) return;
    session.said.add(entryId);
    const said = value === '' && files.length > 0 ? [] : [text(value)];
    const message = item('user', [...said, ...files.map((file) => ({ type: 'file' as const, ...file }))], Date.now(), {
      delivery: { state: 'queued', entryId, reason: null },
    });
    this.#insert(session, message);
    this.#changed(session);
    if (this.#reaches(session)) void this.#deliver(session, message, value);
  }

  #reaches(session: ScriptedSession): boolean {
    const home = this.servers.find(({ id }) => session.summary.id.startsWith(`${id}/`));
    return this.online && home?.connection.state === 'live';
  }

  respondApproval(sessionId: string, { messageId, approvalId }: ApprovalRef, approved: boolean, payload?: JsonValue, optionId?: string): Promise<void> {
    const session = this.#get(sessionId);
    const entry: OutboxItem = {
      entryId: newId('entry'),
      kind: 'respondApproval',
      state: 'queued',
      reason: null,
      approvalId,
      messageId,
      approved,
      ...(optionId === undefined ? {} : { optionId }),
      createdAt: new Date().toISOString(),
    };
    session.answers = [...session.answers, entry];
    this.#changed(session);
    if (this.online) void this.#decide(session, entry, typeof payload === 'string' ? payload : undefined);
    return Promise.resolve();
  }

  async #decide(session: ScriptedSession, entry: OutboxItem, said?: string): Promise<void> {
    const { approvalId, messageId, approved, optionId } = entry;
    if (approvalId === null || approved === null) return;
    await pause(this.pace * 10);
    session.answers = session.answers.filter((one) => one !== entry);
    const message = session.items.find(({ id }) => id === messageId);
    const index = message?.parts.findIndex((part) => approvalOf(part)?.id === approvalId) ?? -1;
    const part = message?.parts[index];
    if (message === undefined || part?.type !== 'tool-call') throw new BackendError('not-found', 'This request is gone.');
    session.meta.pendingApprovals = session.meta.pendingApprovals.filter(
      (one) => one.id !== approvalId || one.messageId !== messageId,
    );
    this.#part(session, message, index, {
      ...part,
      state: approved ? 'done' : 'denied',
      output: approved ? { deleted: true } : null,
      approval: {
        ...part.approval,
        id: approvalId,
        approved,
        respondedBy: 'ana',
        respondedAt: new Date().toISOString(),
        ...(optionId === undefined ? {} : { optionId }),
        ...(said === undefined ? {} : { said }),
      },
    });
    this.#publish({ type: 'approvals', approvals: this.#approvals() });
    session.abort = new AbortController();
    this.#running(session, message);
    await this.#speak(session, message, approved ? AFTER_APPROVAL : AFTER_DENIAL, 'text', session.abort.signal);
    this.#finish(session, message);
  }

  async regenerate(sessionId: string, messageId: string): Promise<void> {
    const session = this.#get(sessionId);
    const message = session.items.find(({ id }) => id === messageId);
    if (message === undefined) throw new BackendError('not-found', 'Message not found');
    const entry: OutboxItem = {
      entryId: newId('entry'),
      kind: 'regenerate',
      state: 'queued',
      reason: null,
      approvalId: null,
      messageId,
      approved: null,
      createdAt: new Date().toISOString(),
    };
    session.answers = [...session.answers, entry];
    this.#changed(session);
    if (!this.#reaches(session)) return;
    await pause(this.pace * 10);
    session.answers = session.answers.filter((one) => one !== entry);
    this.#changed(session);
    void this.#answer(session, textOf(message));
  }

  setAgentOption(sessionId: string, agentId: string, optionId: string, value: string): Promise<void> {
    const session = this.#get(sessionId);
    session.meta.agents = session.meta.agents.map((agent) =>
      agent.agentId === agentId && agent.options !== undefined
        ? { ...agent, options: agent.options.map((option) => (option.id === optionId ? { ...option, wanted: value } : option)) }
        : agent,
    );
    this.#changed(session);
    return Promise.resolve();
  }

  stopRun(sessionId: string): Promise<void> {
    this.#get(sessionId).abort?.abort();
    return Promise.resolve();
  }

  retryEntry(entryId: string): Promise<void> {
    for (const session of this.sessions.values()) {
      const message = session.items.find(({ delivery }) => delivery?.entryId === entryId);
      if (message === undefined) continue;
      this.#meta(session, message, { delivery: { state: 'queued', entryId, reason: null } });
      if (this.online) void this.#deliver(session, message, 'again');
    }
    return Promise.resolve();
  }

  editEntry(entryId: string, value: string): Promise<void> {
    for (const session of this.sessions.values()) {
      const message = session.items.find(({ delivery }) => delivery?.entryId === entryId);
      if (message === undefined) continue;
      this.#part(session, message, 0, text(value));
      this.#meta(session, message, { delivery: { state: 'queued', entryId, reason: null } });
      if (this.#reaches(session)) void this.#deliver(session, message, value);
    }
    return Promise.resolve();
  }

  discardEntry(entryId: string): Promise<void> {
    for (const session of this.sessions.values()) {
      const message = session.items.find(({ delivery }) => delivery?.entryId === entryId);
      if (message === undefined) continue;
      const index = this.#index(session, message);
      session.items.splice(session.items.indexOf(message), 1);
      if (index !== null) this.#diff(session, { op: 'remove', index });
      this.#changed(session);
    }
    for (const session of this.sessions.values()) {
      session.answers = session.answers.filter((one) => one.entryId !== entryId);
      this.#changed(session);
    }
    return Promise.resolve();
  }

  saveDraft(sessionId: string, value: string): Promise<void> {
    const session = this.#get(sessionId);
    session.draft = value === '' ? null : value;
    session.summary.draft = session.draft;
    this.#listChanged();
    return Promise.resolve();
  }

  markRead(sessionId: string): Promise<void> {
    this.#get(sessionId).summary.unread = 0;
    this.#listChanged();
    return Promise.resolve();
  }

  async reconnect(): Promise<void> {
    if (this.online) return;
    for (const session of this.sessions.values()) {
      session.meta.connection = { ...session.meta.connection, state: 'connecting' };
      this.#changed(session);
    }
    await pause(1_200);
    this.online = true;
    for (const session of this.sessions.values()) {
      session.meta.connection = connected();
      this.#changed(session);
      for (const entry of session.answers) void this.#decide(session, entry);
      for (const message of session.items) {
        if (message.delivery?.state === 'queued') void this.#deliver(session, message, textOf(message));
      }
    }
  }

  getSettings(): Promise<Settings> {
    return Promise.resolve({ ...this.settings });
  }

  setSettings(settings: Settings): Promise<Settings> {
    const { hasModelKey } = this.settings;
    this.settings = { ...settings, hasModelKey };
    return this.getSettings();
  }

  async setModelKey(key: string | null): Promise<void> {
    await pause(200);
    if (!this.keychain) {
      throw new BackendError(
        'keychain-unavailable',
        'No keychain is running on this computer, so the key was not stored. Start a Secret Service such as gnome-keyring and try again.',
      );
    }
    this.settings = { ...this.settings, hasModelKey: key !== null };
  }

  async checkModel(): Promise<ModelCheck> {
    await pause(700);
    return this.settings.modelBaseUrl.includes('localhost')
      ? { ok: true, message: `${this.settings.modelName} answered in 0.7 s.` }
      : { ok: false, message: 'The server answered 401: the key was refused. Check the key.' };
  }

  /** Servers of this host are below `example`. One with `lab` in its name asks for the token `right`. */
  async checkServer(url: string, token: string | null): Promise<ServerCheck> {
    await pause(this.pace * 10);
    if (!/^https?:\/\/./.test(url)) throw new BackendError('bad-url', 'The server address is not a web address. Write it like https://chat.example.org.');
    if (!url.includes('example')) {
      return { ok: false, code: 'server-unreachable', message: 'Nothing answers there. Check the address, and that the server runs.' };
    }
    if (url.includes('lab') && token !== 'right') {
      const message = token === null ? 'The server asks for a token. Ask whoever runs it for one.' : 'The server refuses the token. Ask whoever runs it for another.';
      return { ok: false, code: 'server-refused', message };
    }
    return { ok: true, code: 'ok', message: 'You are Ana there and may read, write and answer approvals.' };
  }

  async joinServer(url: string, name: string, token: string | null): Promise<string> {
    const check = await this.checkServer(url, token);
    if (!check.ok) throw new BackendError('server-not-joined', check.message);
    const known = this.servers.find((server) => server.url === url);
    if (known?.forgotten === false) throw new BackendError('not-possible', 'This server was added already.');
    const id = known?.id ?? newId('server');
    const server = { id, name: name === '' ? new URL(url).host : name, url, me: null, forgotten: false, connection: connected() };
    this.servers = [...this.servers.filter((one) => one.id !== id), server];
    this.#homeChanged(id, connected(), false);
    return id;
  }

  renameServer(id: string, name: string): Promise<void> {
    if (name === '') return Promise.reject(new BackendError('not-possible', 'A name needs at least one letter.'));
    this.#server(id, { name });
    return Promise.resolve();
  }

  async setServerToken(id: string, token: string | null): Promise<void> {
    const check = await this.checkServer(this.servers.find((server) => server.id === id)?.url ?? '', token);
    const connection = check.ok ? connected() : refused(check.message);
    this.#server(id, { connection });
    this.#homeChanged(id, connection, false);
  }

  countUnsent(id: string): Promise<number> {
    return Promise.resolve(this.#on(id).reduce((sum, { meta }) => sum + meta.outbox.length, 0));
  }

  forgetServer(id: string, keepSessions: boolean): Promise<void> {
    if (keepSessions) {
      const connection: Connection = { ...connected(), state: 'offline' };
      this.#server(id, { forgotten: true, connection });
      this.#homeChanged(id, connection, true);
      return Promise.resolve();
    }
    for (const { summary } of this.#on(id)) this.sessions.delete(summary.id);
    this.servers = this.servers.filter((server) => server.id !== id);
    this.#publish({ type: 'servers', servers: this.servers });
    this.#listChanged();
    return Promise.resolve();
  }

  #on(id: string): ScriptedSession[] {
    return Array.from(this.sessions.values()).filter(({ summary }) => summary.id.startsWith(`${id}/`));
  }

  #server(id: string, change: Partial<ServerSummary>): void {
    this.servers = this.servers.map((server) => (server.id === id ? { ...server, ...change } : server));
    this.#publish({ type: 'servers', servers: this.servers });
  }

  #homeChanged(id: string, connection: Connection, readOnly: boolean): void {
    this.#publish({ type: 'servers', servers: this.servers });
    for (const session of this.#on(id)) {
      session.meta.connection = connection;
      session.meta.readOnly = readOnly;
      this.#changed(session);
    }
  }

  /** Lets somebody else answer an approval first. */
  decideFirst(session: ScriptedSession, { id, messageId }: Approval, approved: boolean, by: string): void {
    const message = session.items.find((one) => one.id === messageId);
    const index = message?.parts.findIndex((part) => approvalOf(part)?.id === id) ?? -1;
    const part = message?.parts[index];
    if (message === undefined || part?.type !== 'tool-call') return;
    session.meta.pendingApprovals = session.meta.pendingApprovals.filter((one) => one.id !== id || one.messageId !== messageId);
    this.#part(session, message, index, { ...part, state: approved ? 'answered' : 'denied', approval: { id, approved, respondedBy: by } });
    this.#changed(session);
    this.#publish({ type: 'approvals', approvals: this.#approvals() });
  }

  /** Tells the window something that is no answer. */
  notify(notice: Notice): void {
    this.#publish({ type: 'notice', notice });
  }

  /** Files that were saved, by name. */
  readonly saved = new Map<string, Uint8Array>();

  saveFile(name: string, bytes: Uint8Array): Promise<string> {
    this.saved.set(name, bytes);
    return Promise.resolve(`/home/ana/Downloads/${name}`);
  }

  openLink(url: string): Promise<void> {
    window.open(url, '_blank', 'noreferrer');
    return Promise.resolve();
  }

  // For scenes

  add(title: string, items: Item[], at: number, more: Partial<SessionSummary> = {}, server = 'local', name = newId('session')): ScriptedSession {
    const id = `${server}/${name}`;
    const pending = items.flatMap((message) => message.parts.flatMap((part) => pendingOf(message, part)));
    const session: ScriptedSession = {
      summary: {
        id,
        title,
        createdAt: new Date(at).toISOString(),
        lastActivityAt: new Date(at).toISOString(),
        preview: items.length === 0 ? null : textOf(items.at(-1)).split('\n')[0]?.slice(0, 120) || null,
        state: pending.length > 0 ? 'approval' : 'idle',
        unread: 0,
        pendingApprovals: pending.length,
        draft: null,
        ...more,
      },
      items,
      base: Math.max(0, items.length - PAGE),
      end: null,
      meta: {
        sessionId: id,
        title,
        connection: { ...connected(), syncedAt: new Date(at).toISOString() },
        agents: [{ agentId: 'demo', name: 'Demo agent', endpoint: 'builtin:demo', triggers: 'user-messages', model: null }],
        presence: [
          {
            actorId: 'ana',
            actorType: 'user',
            name: 'Ana',
            deviceIds: ['desktop'],
            deviceCount: 1,
            status: 'online',
            lastSeenAt: null,
          },
        ],
        shared: [],
        pendingApprovals: pending,
        activeGenerations: [],
        stats: {
          sessionId: id,
          messageCount: items.length,
          userMessageCount: 0,
          assistantMessageCount: 0,
          toolCallCount: 0,
          approvalCount: pending.length,
          totalTokens: 0,
          promptTokens: 0,
          completionTokens: 0,
          activeGenerationCount: 0,
          firstMessageAt: null,
          lastMessageAt: null,
        },
        skipped: 0,
        queued: 0,
        outbox: [],
        notice: null,
        readOnly: false,
      },
      states: {},
      draft: more.draft ?? null,
      answers: [],
      said: new Set(),
      abort: null,
    };
    this.settleOutbox(session);
    this.sessions.set(id, session);
    return session;
  }

  settleOutbox(session: ScriptedSession): void {
    const messages = session.items.flatMap(({ delivery, createdAt }): OutboxItem[] =>
      delivery === null
        ? []
        : [
            {
              entryId: delivery.entryId,
              kind: 'sendMessage',
              state: delivery.state,
              reason: delivery.reason,
              approvalId: null,
              messageId: null,
              approved: null,
              createdAt: createdAt ?? '',
            },
          ],
    );
    session.meta.outbox = [...messages, ...session.answers];
    session.meta.queued = session.meta.outbox.length;
  }

  // The agent

  async #deliver(session: ScriptedSession, message: Item, value: string): Promise<void> {
    const entryId = message.delivery?.entryId ?? '';
    await pause(120);
    this.#meta(session, message, { delivery: { state: 'sending', entryId, reason: null } });
    await pause(180);
    this.#meta(session, message, { delivery: null });
    // One answer at a time: what is said meanwhile waits for its turn.
    const turn = (this.#turns.get(session.summary.id) ?? Promise.resolve()).then(() => this.#answer(session, value));
    this.#turns.set(session.summary.id, turn);
    await turn;
  }

  async #answer(session: ScriptedSession, value: string): Promise<void> {
    await pause(400);
    const answer = item('assistant', [], Date.now(), { isComplete: false });
    const abort = new AbortController();
    session.abort = abort;
    this.#insert(session, answer);
    this.#running(session, answer);
    const long = /\blong\b(?:\s+(\d+))?/i.exec(value);
    if (long !== null) {
      const count = Number(long[1] ?? 200);
      const pieces = ['Counting, one line per step.\n\n'];
      for (let at = 1; at <= count; at += 1) pieces.push(`${String(at)}. Step ${String(at)} of ${String(count)} is **done** and \`recorded\`.\n`);
      await this.#speak(session, answer, pieces.join(''), 'text', abort.signal);
    } else if (/^(hi|hello|hey)\b/i.test(value.trim())) {
      await this.#speak(session, answer, 'Hello! I am the **demo agent**. I live in this app, need no key and no network.', 'text', abort.signal);
    } else {
      await this.#speak(session, answer, THINKING, 'reasoning', abort.signal);
      await this.#tool(session, answer, abort.signal);
      await this.#speak(session, answer, ANSWER, 'text', abort.signal);
      if (!abort.signal.aborted) {
        this.#ask(session, answer);
        return;
      }
    }
    this.#finish(session, answer);
  }

  async #speak(session: ScriptedSession, message: Item, value: string, kind: 'text' | 'reasoning', signal: AbortSignal): Promise<void> {
    const index = message.parts.length;
    for (let at = 0; at < value.length && !signal.aborted; at += CHUNK) {
      const piece = value.slice(at, at + CHUNK);
      if (at === 0) this.#part(session, message, index, { type: kind, text: piece });
      else this.#patch(session, message, index, piece);
      await pause(this.pace);
    }
  }

  async #tool(session: ScriptedSession, message: Item, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const index = message.parts.length;
    const running = call('clock', { zone: 'Europe/Zagreb' }, { state: 'ready' });
    this.#part(session, message, index, running);
    await pause(700);
    if (running.type === 'tool-call') {
      this.#part(session, message, index, { ...running, state: 'done', output: new Date().toISOString() });
    }
  }

  #ask(session: ScriptedSession, message: Item): void {
    const part = call(
      'delete_file',
      { path: 'notes/old-draft.md', recursive: false },
      { state: 'waiting', approval: { id: newId('approval'), approved: null, respondedBy: null } },
    );
    this.#part(session, message, message.parts.length, part);
    session.meta.pendingApprovals = [...session.meta.pendingApprovals, ...pendingOf(message, part)];
    session.meta.activeGenerations = [];
    session.summary.state = 'approval';
    this.#changed(session);
    this.#publish({ type: 'approvals', approvals: this.#approvals() });
  }

  #running(session: ScriptedSession, message: Item): void {
    session.meta.activeGenerations = [
      { messageId: message.id, actorId: message.actorId, startedAt: message.createdAt, lastChunkAt: message.createdAt, lastChunkSeq: 0 },
    ];
    session.summary.state = 'running';
    this.#changed(session);
  }

  #finish(session: ScriptedSession, message: Item): void {
    const stopped = session.abort?.signal.aborted === true ? { by: 'ana', reason: 'aborted' } : null;
    this.#meta(session, message, { isComplete: true, stopped, finishReason: 'stop' });
    session.abort = null;
    session.meta.activeGenerations = [];
    session.summary.state = 'idle';
    session.summary.preview = textOf(message).split('\n')[0] ?? null;
    session.summary.lastActivityAt = new Date().toISOString();
    if (this.#shown !== session.summary.id) session.summary.unread += 1;
    this.#changed(session);
  }

  // Changes

  #insert(session: ScriptedSession, message: Item): void {
    session.items.push(message);
    session.summary.lastActivityAt = message.createdAt;
    const index = this.#index(session, message);
    if (index !== null) this.#diff(session, { op: 'insert', index, item: message });
  }

  #part(session: ScriptedSession, message: Item, part: number, value: Part): void {
    message.parts[part] = value;
    const index = this.#index(session, message);
    if (index !== null) this.#diff(session, { op: 'part', index, id: message.id, part, value });
  }

  #patch(session: ScriptedSession, message: Item, part: number, piece: string): void {
    const target = message.parts[part];
    if (target?.type === 'text' || target?.type === 'reasoning') target.text += piece;
    const index = this.#index(session, message);
    if (index !== null) this.#diff(session, { op: 'patch', index, id: message.id, part, text: piece });
  }

  #meta(session: ScriptedSession, message: Item, change: Partial<ItemMeta>): void {
    Object.assign(message, change);
    const meta: ItemMeta & { id?: unknown; parts?: unknown } = { ...message };
    delete meta.id;
    delete meta.parts;
    const index = this.#index(session, message);
    if (index !== null) this.#diff(session, { op: 'meta', index, id: message.id, item: meta });
  }

  /** The place of a message in the window; null when it has none. */
  #index({ items, base, end }: ScriptedSession, message: Item): number | null {
    const at = items.indexOf(message);
    return at < base || at >= (end ?? items.length) ? null : at - base;
  }

  #diff(session: ScriptedSession, diff: Diff): void {
    if (this.#shown === session.summary.id) this.#publish({ type: 'diff', sessionId: session.summary.id, diff });
  }

  #changed(session: ScriptedSession): void {
    this.settleOutbox(session);
    if (this.#shown === session.summary.id) this.#publish({ type: 'meta', meta: session.meta });
    this.#listChanged();
  }

  #listChanged(): void {
    const heads = headsOf(this.#summaries(), this.#wanted);
    const servers = edits(this.#heads, heads);
    this.#heads = structuredClone(heads);
    if (servers.length > 0) this.#publish({ type: 'sessions', reset: false, servers });
  }

  #publish(change: FeedChange): void {
    this.#to += 1;
    this.#queue.push({ seq: this.#to, change: structuredClone(change) });
    if (this.#queue.length > 2_000) this.#queue = this.#queue.slice(-1_000);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #resetBatch(): FeedBatch {
    this.#heads = structuredClone(headsOf(this.#summaries(), this.#wanted));
    const changes: FeedChange[] = [
      { type: 'servers', servers: this.servers },
      { type: 'sessions', reset: true, servers: edits(new Map(), this.#heads) },
      { type: 'approvals', approvals: this.#approvals() },
    ];
    const shown = this.#shown === null ? undefined : this.sessions.get(this.#shown);
    if (shown !== undefined) changes.push(...this.#opening(shown));
    return { epoch: this.#epoch, from: 0, to: this.#to, reset: true, changes: structuredClone(changes) };
  }

  /** The first changes of the feed for a session that begins to be shown. */
  #opening({ summary: { id: sessionId }, meta, draft, items, base, end }: ScriptedSession): FeedChange[] {
    const shown = items.slice(base, end ?? items.length);
    const reset: Diff = { op: 'reset', items: shown, hasMoreBefore: base > 0, hasMoreAfter: end !== null };
    return [
      { type: 'meta', meta },
      ...(draft === null ? [] : [{ type: 'draft' as const, sessionId, draft: { text: draft, savedAt: new Date().toISOString() } }]),
      { type: 'diff', sessionId, diff: reset },
    ];
  }

  #summaries(): SessionSummary[] {
    return Array.from(this.sessions.values(), ({ summary, meta }) => ({
      ...summary,
      pendingApprovals: meta.pendingApprovals.length,
    }));
  }

  #approvals(): WaitingApproval[] {
    return Array.from(this.sessions.values()).flatMap(({ summary, meta }) =>
      meta.pendingApprovals.map((approval) => ({ sessionId: summary.id, sessionTitle: summary.title, approval })),
    );
  }

  #get(sessionId: string): ScriptedSession {
    const session = this.sessions.get(sessionId);
    if (session === undefined) throw new BackendError('not-found', 'This session is not on this computer.');
    return session;
  }
}

function connected(): Connection {
  return { state: 'live', code: null, message: null, retryAt: null, syncedAt: new Date().toISOString() };
}

export function refused(message: string): Connection {
  return { ...connected(), state: 'refused', code: 'server-refused', message };
}

/** A title as the engine makes one: the first line that says something. */
function titleFrom(said: string): string {
  const lines = said.split('\n').map((line) => line.trim().replace(/^[#>*\- ]+/, ''));
  const line = lines.find((one) => one !== '') ?? 'New session';
  return line.length > 60 ? `${line.slice(0, 59).trimEnd()}…` : line;
}

function approvalOf(part: Part): PartApproval | null {
  return part.type === 'tool-call' ? part.approval : null;
}

function pendingOf(message: Item, part: Part): Approval[] {
  const approval = approvalOf(part);
  if (part.type !== 'tool-call' || approval === null || approval.approved !== null) return [];
  return [
    {
      id: approval.id,
      toolCallId: part.id,
      messageId: message.id,
      toolName: part.name,
      input: part.input,
      status: 'pending',
      requestedBy: message.actorId,
      requestedAt: message.createdAt,
      respondedBy: null,
      respondedAt: null,
      ...(approval.options === undefined ? {} : { options: approval.options }),
    },
  ];
}

function textOf(message: Item | undefined): string {
  return message?.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n') ?? '';
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
