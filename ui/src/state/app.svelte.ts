import { SvelteMap } from 'svelte/reactivity';

import { BackendError, type ApprovalRef, type Backend } from '../ipc/backend';
import type {
  Approval,
  Bootstrap,
  FeedBatch,
  FeedChange,
  Notice,
  SearchHit,
  SessionMeta,
  SessionSummary,
  Settings,
  WaitingApproval,
} from '../ipc/contract';
import { agentSpec, type AgentKind } from './agents';
import { Announcer } from './announcer.svelte';
import { Clock } from './clock.svelte';
import { ComposerState } from './composer.svelte';
import { FeedLoop } from './feed';
import { readStored, writeStored } from './stored';
import { TranscriptState } from './transcript.svelte';

/** A decision given and not yet seen in the log. */
export interface Decision {
  approved: boolean;
  /** Why it was not taken; null while it is on its way. */
  refused: string | null;
  /** The outbox entry, to try again or let go of. */
  entryId: string | null;
}

/** Something on screen that another part of the window asks to be shown. */
export interface Target {
  messageId: string;
  /** The approval in it that wants an answer; null for the message itself. */
  approvalId: string | null;
}

/** Transcripts kept besides the one on screen, so that going back shows rows at once. */
const KEPT_TRANSCRIPTS = 6;
const TOAST_MS = 4_000;

/**
 * What the window shows. It holds no truth: everything here came from the host, or is asked of it.
 */
export class AppState {
  readonly backend: Backend;
  readonly composer: ComposerState;
  readonly announcer = new Announcer();
  readonly clock = new Clock();

  sessions = $state.raw<SessionSummary[]>([]);
  approvals = $state.raw<WaitingApproval[]>([]);
  notices = $state.raw<Notice[]>([]);
  settings = $state.raw<Settings>() as Settings;

  /** The session on screen; null for one that is about to be made. */
  currentId = $state<string | null>(null);
  transcript = $state.raw<TranscriptState | null>(null);
  meta = $state.raw<SessionMeta | null>(null);
  openError = $state<string | null>(null);

  newAgent = $state<AgentKind>('demo');
  /** Where the window is too narrow for a sidebar beside the log, it is a drawer over it. */
  narrow = $state(false);
  #sidebarWanted = $state(readStored('sidebar', true));
  #drawerOpen = $state(false);
  dialog = $state<'settings' | 'delete' | 'search' | null>(null);
  toast = $state<string | null>(null);
  target = $state.raw<Target | null>(null);
  /** The window has the person's attention. */
  focused = $state(document.hasFocus());
  /** Decisions the outbox has not reported yet, by approval. */
  readonly #decided = new SvelteMap<string, Decision>();
  /** Counts own messages sent: the transcript goes to its end. */
  sent = $state(0);

  readonly #transcripts = new Map<string, TranscriptState>();
  readonly #feed: FeedLoop;
  #toastTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(backend: Backend, boot: Bootstrap) {
    this.backend = backend;
    this.composer = new ComposerState(backend);
    this.sessions = boot.sessions;
    this.approvals = boot.approvals;
    this.notices = boot.notices;
    this.settings = boot.settings;
    this.newAgent = boot.settings.defaultAgent;
    if (boot.open === null) {
      this.composer.open(null, null);
    } else {
      const { sessionId, meta, draft } = boot.open;
      this.currentId = sessionId;
      this.meta = meta;
      this.transcript = new TranscriptState(backend, sessionId);
      this.transcript.show(boot.open, true);
      this.#transcripts.set(sessionId, this.transcript);
      this.composer.open(sessionId, draft?.text ?? null);
    }
    const narrow = window.matchMedia('(max-width: 760px)');
    this.narrow = narrow.matches;
    narrow.addEventListener('change', () => {
      this.narrow = narrow.matches;
    });
    this.#feed = new FeedLoop(backend, this, boot);
    backend.onOpenSession((sessionId) => {
      // Who comes from a notification comes to answer.
      const waiting = this.approvals.find((one) => one.sessionId === sessionId);
      void (waiting === undefined ? this.open(sessionId) : this.goToApproval(waiting));
    });
  }

  /** Starts pulling. Called once the first paint is on its way. */
  start(): void {
    this.#feed.start();
    this.#run(this.backend.showSession(this.currentId));
    window.addEventListener('focus', () => {
      this.focused = true;
      this.#nudge();
    });
    window.addEventListener('online', () => {
      this.#nudge();
    });
    window.addEventListener('pagehide', () => {
      this.composer.flush();
    });
    window.addEventListener('blur', () => {
      this.focused = false;
      this.composer.flush();
    });
  }

  /** Ends the pulling, for a window that goes. */
  stopFeed(): void {
    this.#feed.stop();
  }

  // What is on screen

  readonly current: SessionSummary | null = $derived(
    this.sessions.find((session) => session.id === this.currentId) ?? null,
  );

  readonly title: string = $derived(this.meta?.title || this.current?.title || 'New session');

  readonly running: boolean = $derived((this.meta?.activeGenerations.length ?? 0) > 0);

  /** What is sent now waits for a connection. */
  readonly offline: boolean = $derived(
    this.meta !== null && ['offline', 'retrying', 'refused'].includes(this.meta.connection.state),
  );

  /** Approvals over all sessions that still want an answer from here. */
  readonly needsYou: WaitingApproval[] = $derived(
    this.approvals.filter(({ approval }) => {
      const decision = this.decisionOn(refOf(approval));
      return decision === null || decision.refused !== null;
    }),
  );

  /** What the person decided about an approval, as far as the log does not say it yet. */
  decisionOn(approval: ApprovalRef): Decision | null {
    const { messageId, approvalId } = approval;
    const entry = this.meta?.outbox.find((one) => one.approvalId === approvalId && one.messageId === messageId);
    if (entry === undefined) return this.#decided.get(keyOf(approval)) ?? null;
    const refused = entry.state === 'wedged' ? (entry.reason ?? 'The server refused the answer.') : null;
    return { approved: entry.approved === true, refused, entryId: entry.entryId };
  }

  agentName(actorId: string | null): string {
    const agents = this.meta?.agents ?? [];
    const agent = agents.find(({ agentId }) => agentId === actorId) ?? (actorId === null ? agents[0] : undefined);
    if (agent === undefined) return this.personName(actorId) ?? 'Agent';
    const name = agent.name ?? agent.agentId;
    return agent.guest === true ? `${name} (guest)` : name;
  }

  personName(actorId: string | null): string | null {
    if (actorId === null) return null;
    return this.meta?.presence.find((one) => one.actorId === actorId)?.name ?? actorId;
  }

  // Going places

  async open(sessionId: string): Promise<void> {
    this.#drawerOpen = false;
    if (sessionId === this.currentId) return;
    this.composer.open(sessionId, this.sessions.find(({ id }) => id === sessionId)?.draft ?? null);
    this.currentId = sessionId;
    this.meta = null;
    this.openError = null;
    this.target = null;
    const transcript = this.#transcripts.get(sessionId) ?? new TranscriptState(this.backend, sessionId);
    transcript.unsync();
    this.#transcripts.delete(sessionId);
    this.#transcripts.set(sessionId, transcript);
    this.transcript = transcript;
    for (const id of this.#transcripts.keys()) {
      if (this.#transcripts.size <= KEPT_TRANSCRIPTS) break;
      this.#transcripts.delete(id);
    }
    this.#run(this.backend.showSession(sessionId));
    try {
      const view = await this.backend.openSession(sessionId);
      transcript.show(view, false);
      if (this.currentId !== sessionId) return;
      this.meta ??= view.meta;
      if (view.draft !== null) this.composer.offer(sessionId, view.draft.text);
    } catch (cause) {
      if (this.currentId === sessionId) this.openError = BackendError.from(cause).message;
    }
  }

  /** An empty session, which comes to be with its first message. */
  newSession(): void {
    this.#drawerOpen = false;
    this.composer.open(null, null);
    this.currentId = null;
    this.transcript = null;
    this.meta = null;
    this.openError = null;
    this.target = null;
    this.newAgent = this.settings.defaultAgent;
    this.#run(this.backend.showSession(null));
  }

  async goToApproval(waiting: WaitingApproval): Promise<void> {
    await this.open(waiting.sessionId);
    if (this.currentId !== waiting.sessionId) return;
    this.target = { messageId: waiting.approval.messageId, approvalId: waiting.approval.id };
  }

  /** To a message that was found. */
  async goToMessage({ sessionId, messageId }: Pick<SearchHit, 'sessionId' | 'messageId'>): Promise<void> {
    await this.open(sessionId);
    if (this.currentId === sessionId) this.target = { messageId, approvalId: null };
  }

  get sidebarOpen(): boolean {
    return this.narrow ? this.#drawerOpen : this.#sidebarWanted;
  }

  toggleSidebar(): void {
    if (this.narrow) {
      this.#drawerOpen = !this.#drawerOpen;
      return;
    }
    this.#sidebarWanted = !this.#sidebarWanted;
    writeStored('sidebar', this.#sidebarWanted);
  }

  // Doing things

  /** Sends what the composer holds. The text stays there until the outbox has it. */
  async send(): Promise<void> {
    const { composer } = this;
    const text = composer.text;
    if (text.trim() === '' || composer.sending) return;
    composer.sending = true;
    composer.error = null;
    try {
      let sessionId = this.currentId;
      if (sessionId === null) {
        sessionId = await this.backend.createSession(titleFor(text), [agentSpec(this.newAgent, this.settings)]);
        await this.backend.sendMessage(sessionId, text);
        if (this.currentId === null) {
          composer.clear();
          await this.open(sessionId);
        }
      } else {
        await this.backend.sendMessage(sessionId, text);
        if (this.currentId === sessionId && composer.text === text) composer.clear();
      }
      this.sent += 1;
    } catch (cause) {
      composer.error = BackendError.from(cause).message;
    } finally {
      composer.sending = false;
    }
  }

  async respond(approval: ApprovalRef, approved: boolean): Promise<void> {
    const sessionId = this.currentId;
    if (sessionId === null) return;
    // A refused answer makes room for a new one.
    const before = this.decisionOn(approval);
    this.#decided.set(keyOf(approval), { approved, refused: null, entryId: null });
    try {
      if (before?.entryId !== null && before?.entryId !== undefined) await this.backend.discardEntry(before.entryId);
      await this.backend.respondApproval(sessionId, approval, approved);
    } catch (cause) {
      this.#decided.set(keyOf(approval), { approved, refused: BackendError.from(cause).message, entryId: null });
    }
  }

  stop(): void {
    if (this.currentId !== null) this.#run(this.backend.stopRun(this.currentId));
  }

  rename(title: string): void {
    const sessionId = this.currentId;
    if (sessionId === null || title.trim() === '' || title === this.title) return;
    if (this.meta !== null) this.meta = { ...this.meta, title: title.trim() };
    this.#run(this.backend.renameSession(sessionId, title.trim()));
  }

  async deleteCurrent(): Promise<void> {
    const sessionId = this.currentId;
    if (sessionId === null) return;
    try {
      await this.backend.deleteSession(sessionId);
      this.#transcripts.delete(sessionId);
      this.sessions = this.sessions.filter(({ id }) => id !== sessionId);
      if (this.currentId === sessionId) this.newSession();
    } catch (cause) {
      this.say(BackendError.from(cause).message);
    }
  }

  retry(entryId: string): void {
    this.#run(this.backend.retryEntry(entryId));
  }

  discard(entryId: string): void {
    this.#run(this.backend.discardEntry(entryId));
  }

  reconnect(): void {
    this.#run(this.backend.reconnect());
  }

  markRead(): void {
    if (this.current !== null && this.current.unread > 0) this.#run(this.backend.markRead(this.current.id));
  }

  async saveSettings(settings: Settings): Promise<void> {
    this.settings = await this.backend.setSettings(settings);
    if (this.currentId === null) this.newAgent = this.settings.defaultAgent;
  }

  async saveModelKey(key: string | null): Promise<void> {
    await this.backend.setModelKey(key);
    this.settings = await this.backend.getSettings();
  }

  async saveServerToken(token: string | null): Promise<void> {
    await this.backend.setServerToken(token);
    this.settings = await this.backend.getSettings();
  }

  /** The first paint knows nothing of the keychain; who opens the settings wants to know. */
  openSettings(): void {
    this.dialog = 'settings';
    this.#run(
      this.backend.getSettings().then((settings) => {
        this.settings = settings;
      }),
    );
  }

  dismiss(notice: Notice): void {
    this.notices = this.notices.filter((one) => one !== notice);
  }

  async openLink(url: string): Promise<void> {
    try {
      await this.backend.openLink(url);
    } catch {
      await this.copy(url, 'The link could not be opened, so it was copied.');
    }
  }

  async copy(text: string, said = 'Copied'): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      this.say(said);
    } catch {
      this.say('The clipboard could not be used.');
    }
  }

  /** A short line that goes by itself. */
  say(text: string): void {
    this.toast = text;
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => {
      this.toast = null;
    }, TOAST_MS);
  }

  // The feed

  restart(): void {
    this.transcript?.unsync();
  }

  apply(batch: FeedBatch): boolean {
    let fits = true;
    for (const change of batch.changes) fits = this.#change(change) && fits;
    return fits;
  }

  #change(change: FeedChange): boolean {
    switch (change.type) {
      case 'sessions':
        this.sessions = change.sessions;
        return true;
      case 'approvals':
        this.#approvals(change.approvals);
        return true;
      case 'meta':
        if (change.meta.sessionId === this.currentId) this.#meta(change.meta);
        return true;
      case 'diff':
        if (change.sessionId !== this.transcript?.sessionId) return true;
        return this.transcript.apply(change.diff);
      case 'notice':
        this.notices = [...this.notices.filter(({ code }) => code !== change.notice.code), change.notice];
        return true;
    }
  }

  #meta(meta: SessionMeta): void {
    const before = this.meta;
    this.meta = meta;
    // From here on the outbox tells.
    for (const { approvalId, messageId } of meta.outbox) {
      if (approvalId !== null && messageId !== null) this.#decided.delete(keyOf({ messageId, approvalId }));
    }
    if (before === null) return;
    const was = before.activeGenerations.length > 0;
    const is = meta.activeGenerations.length > 0;
    if (!was && is) this.announcer.say('Agent is responding');
    if (was && !is && meta.pendingApprovals.length === 0) this.announcer.say('Response complete');
  }

  #approvals(approvals: WaitingApproval[]): void {
    const known = new Set(this.approvals.map(waitingKey));
    this.approvals = approvals;
    const fresh = approvals.find((waiting) => !known.has(waitingKey(waiting)));
    if (fresh !== undefined) this.announcer.say(`Approval needed: ${toolOf(fresh.approval)}`);
  }

  #nudge(): void {
    const state = this.meta?.connection.state;
    if (state === 'offline' || state === 'retrying') this.reconnect();
  }

  #run(promise: Promise<unknown>): void {
    promise.catch((cause: unknown) => {
      this.say(BackendError.from(cause).message);
    });
  }
}

export function refOf({ id, messageId }: Approval): ApprovalRef {
  return { messageId, approvalId: id };
}

/** What tells approvals apart over all sessions: agents may choose the same ids. */
export function waitingKey({ sessionId, approval }: WaitingApproval): string {
  return JSON.stringify([sessionId, approval.messageId, approval.id, approval.toolCallId]);
}

function keyOf({ messageId, approvalId }: ApprovalRef): string {
  return JSON.stringify([messageId, approvalId]);
}

export function toolOf(approval: Approval): string {
  return approval.toolName === '' ? 'a tool' : approval.toolName;
}

/** A session's first name: the first line of its first message. */
function titleFor(text: string): string {
  const line = text.trim().split('\n', 1)[0] ?? '';
  return line.length > 60 ? `${line.slice(0, 59).trimEnd()}…` : line;
}
