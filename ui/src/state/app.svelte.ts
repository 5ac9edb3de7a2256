import { BackendError, type Backend, type SendMode } from '../ipc/backend';
import type { Bootstrap, FeedBatch, FeedChange, Notice, SearchHit, SessionMeta, Settings, WaitingApproval } from '../ipc/contract';
import { Actors } from './actors';
import { agentSpec } from './agents';
import { Announcer } from './announcer.svelte';
import { Appearance } from './appearance.svelte';
import { Clock } from './clock.svelte';
import { ComposerState } from './composer.svelte';
import { CurrentSession, type Target } from './current.svelte';
import { Decisions } from './decisions.svelte';
import { FeedLoop } from './feed';
import { Keymap } from './keymap.svelte';
import { homeIdOf, Servers } from './servers.svelte';
import { Sessions } from './sessions.svelte';
import { SettingsState } from './settings.svelte';
import { Shelf } from './shelf.svelte';
import { Shell } from './shell.svelte';
import { Trail } from './trail.svelte';

/** Somebody else answered an approval before this person did. */
const ANSWERED_FIRST = 'answered-first';
/** Nobody waited any more for what this person answered. */
const ANSWERED_LATE = 'answered-late';

/**
 * The window's state, put together. It holds no truth: everything here came from the host, or is asked of it.
 *
 * What concerns one part only is done there; here is what goes across: opening a session, sending, and handing out what
 * the feed brings.
 */
export class AppState {
  readonly backend: Backend;
  readonly announcer = new Announcer();
  readonly appearance = new Appearance();
  readonly clock = new Clock();
  readonly keymap = new Keymap();
  readonly shelf = new Shelf();
  readonly trail = new Trail();
  readonly composer: ComposerState;
  readonly shell: Shell;
  readonly settings: SettingsState;
  readonly servers: Servers;
  readonly sessions: Sessions;
  readonly current: CurrentSession;

  readonly #feed: FeedLoop;
  /** The session that was on screen before others were only looked at; undefined where none was. */
  #left: string | null | undefined;

  constructor(backend: Backend, boot: Bootstrap) {
    this.backend = backend;
    const decisions = new Decisions();
    this.composer = new ComposerState(backend);
    this.shell = new Shell(backend, this.appearance, boot.notices);
    this.settings = new SettingsState(backend, boot.settings);
    this.servers = new Servers(backend, boot.lastServer);
    this.sessions = new Sessions(backend, decisions, this.announcer);
    this.current = new CurrentSession(backend, new Actors(boot.actorId, this.servers), this.sessions, decisions, this.shell, this.announcer);
    // The host shows what it showed before.
    const shown = boot.batch.changes.find((change) => change.type === 'meta')?.meta.sessionId ?? null;
    if (shown !== null) {
      this.current.begin(shown);
      this.trail.visit(shown);
    }
    this.composer.open(shown, null);
    this.#feed = new FeedLoop(backend, this);
    this.#feed.begin(boot.batch);
    backend.onQuitAsked((still) => {
      this.shell.dialog = { kind: 'quit', still };
    });
    backend.onOpenSession((sessionId) => {
      // Who comes from a notification comes to answer.
      const waiting = this.sessions.approvals.find((one) => one.sessionId === sessionId);
      void (waiting === undefined ? this.open(sessionId) : this.goToApproval(waiting));
    });
  }

  /** Starts pulling. Called once the first paint is on its way. */
  start(): void {
    this.#feed.start();
    window.addEventListener('focus', () => {
      this.current.nudge();
    });
    window.addEventListener('online', () => {
      this.current.nudge();
    });
    for (const leaving of ['pagehide', 'blur']) {
      window.addEventListener(leaving, () => {
        this.composer.flush();
      });
    }
  }

  /** Ends the pulling, for a window that goes. */
  stopFeed(): void {
    this.#feed.stop();
  }

  /** Why nothing can be sent now, in words; null when it can. */
  readonly unsendable: string | null = $derived.by(() => (this.current.id === null ? this.settings.missing : null));

  // Going places

  /** Shows a session: `target` in it, else where the reader was last. */
  async open(sessionId: string, target: Target | null = null): Promise<void> {
    this.shell.view = 'session';
    this.#left = undefined;
    this.trail.visit(sessionId);
    await this.#show(sessionId, target);
  }

  /** Has a session here without leaving what stands in its place: its rows are what is told of it there. */
  async peek(sessionId: string, target: Target): Promise<void> {
    if (this.#left === undefined) this.#left = this.current.id;
    await this.#show(sessionId, target);
  }

  /** Closes what stands in the place of the session, and shows the one that was there. */
  leaveView(): void {
    const left = this.#left;
    this.#left = undefined;
    this.shell.view = 'session';
    if (left === undefined || left === this.current.id) return;
    if (left === null) this.newSession();
    else void this.open(left);
  }

  async #show(sessionId: string, target: Target | null): Promise<void> {
    this.shell.closeDrawer();
    if (sessionId === this.current.id) {
      if (target !== null) this.current.target = target;
      return;
    }
    this.composer.open(sessionId, this.sessions.find(sessionId)?.draft ?? null);
    await this.current.open(sessionId, target);
  }

  /** To the session that was on screen before, or after. */
  async walk(step: -1 | 1): Promise<void> {
    const id = this.trail.go(step);
    if (id !== null) await this.open(id);
  }

  /** The sessions as the list has them: pinned ones first, archived ones left out. */
  readonly order: readonly string[] = $derived.by(() => {
    const pinned = this.shelf.pinned.map(([id]) => id);
    const known = new Set(pinned);
    const others = this.sessions.recent.filter(({ id }) => !known.has(id) && !this.shelf.isArchived(id));
    return [...pinned, ...others.map(({ id }) => id)];
  });

  togglePin(id: string): void {
    if (this.shelf.isPinned(id)) this.shelf.unpin(id);
    else this.shelf.pin(id, this.sessions.find(id)?.title ?? (id === this.current.id ? this.current.title : ''));
  }

  toggleArchive(id: string): void {
    if (this.shelf.isArchived(id)) {
      this.shelf.unarchive(id);
    } else {
      this.shelf.archive(id);
      this.shell.say('Archived. It is listed under “Archived”.');
    }
  }

  /** An empty session, which comes to be with its first message: on the server where the person is. */
  newSession(): void {
    if (this.current.id !== null) this.servers.choose(homeIdOf(this.current.id));
    this.shell.view = 'session';
    this.#left = undefined;
    this.shell.closeDrawer();
    this.composer.open(null, null);
    this.current.close();
    this.settings.newAgent = this.settings.value.defaultAgent;
  }

  async goToApproval({ sessionId, approval }: WaitingApproval): Promise<void> {
    await this.open(sessionId, { messageId: approval.messageId, approvalId: approval.id });
  }

  /** To a message that was found, where the words are marked. */
  async goToMessage({ sessionId, messageId }: Pick<SearchHit, 'sessionId' | 'messageId'>, query = ''): Promise<void> {
    const opened = this.open(sessionId, { messageId, approvalId: null });
    this.current.find.mark(query);
    await opened;
  }

  openSettings(): void {
    this.shell.closeDrawer();
    this.shell.view = 'settings';
    this.shell.attempt(this.settings.refresh());
  }

  openInbox(): void {
    this.shell.closeDrawer();
    this.shell.view = 'inbox';
  }

  // Doing things

  /** Sends what the composer holds. The text stays there until the outbox has it. */
  async send(mode: SendMode = 'queue'): Promise<void> {
    const { composer, current, settings } = this;
    const { text, files } = composer;
    if (composer.empty || composer.sending || this.unsendable !== null) return;
    composer.sending = true;
    composer.error = null;
    try {
      const sessionId = current.id;
      const ids = composer.ids();
      if (sessionId === null) {
        const server = this.servers.next?.id;
        if (server === undefined) throw new BackendError('no-server', 'There is no server yet. Try again in a moment.');
        const agents = [agentSpec(settings.newAgent, settings.value)];
        const made = await this.backend.createSession({ id: ids.session, server, agents, first: { id: ids.message, text, files: [...files] } });
        composer.sent(null, text, files);
        if (current.id === null) await this.open(made);
      } else {
        await this.backend.sendMessage(sessionId, text, ids.message, current.running ? mode : 'queue', [...files]);
        composer.sent(sessionId, text, files);
      }
      current.acts += 1;
    } catch (cause) {
      composer.error = BackendError.from(cause).message;
    } finally {
      composer.sending = false;
    }
  }

  /** Makes a copy of the session on screen that ends at a message, and goes there. */
  async fork(messageId: string): Promise<void> {
    const sessionId = this.current.id;
    if (sessionId === null) return;
    try {
      const copy = await this.backend.forkSession(crypto.randomUUID(), sessionId, messageId);
      if (this.current.id === sessionId) await this.open(copy);
      this.shell.say('A copy up to here. What is said in it stays in it.');
    } catch (cause) {
      this.shell.say(BackendError.from(cause).message);
    }
  }

  async deleteCurrent(): Promise<void> {
    const { id } = this.current;
    if (!(await this.current.delete()) || id === null) return;
    this.shelf.forget(id);
    this.trail.forget(id);
    this.newSession();
  }

  /** Removes a server. What is deleted here leaves the screen. */
  async forgetServer(id: string, keepSessions: boolean): Promise<void> {
    await this.servers.forget(id, keepSessions);
    if (!keepSessions && this.current.id !== null && homeIdOf(this.current.id) === id) this.newSession();
  }

  async saveSettings(settings: Settings): Promise<void> {
    await this.settings.save(settings);
    if (this.current.id === null) this.settings.newAgent = this.settings.value.defaultAgent;
  }

  // The feed

  restart(): void {
    this.current.transcript?.unsync();
  }

  apply(batch: FeedBatch): boolean {
    let fits = true;
    const metas: SessionMeta[] = [];
    const notices: Notice[] = [];
    for (const change of batch.changes) {
      // What stands around the rows is told of them as they are after the batch.
      if (change.type === 'meta') metas.push(change.meta);
      else if (change.type === 'notice') notices.push(change.notice);
      else fits = this.#change(change) && fits;
    }
    for (const meta of metas) this.current.takeMeta(meta);
    for (const notice of notices) this.#notice(notice);
    return fits;
  }

  #notice(notice: Notice): void {
    // About what was just done, and over: a line that goes by itself.
    if (notice.code === ANSWERED_FIRST) this.shell.say(this.current.whoWasFirst() ?? notice.message);
    else if (notice.code === ANSWERED_LATE) this.shell.say(notice.message);
    else this.shell.takeNotice(notice);
  }

  #change(change: Exclude<FeedChange, { type: 'meta' | 'notice' }>): boolean {
    switch (change.type) {
      case 'servers':
        this.servers.list = change.servers;
        return true;
      case 'sessions':
        this.sessions.take(change);
        for (const [id] of this.shelf.pinned) {
          const found = this.sessions.find(id);
          if (found !== null) this.shelf.rename(id, found.title);
        }
        return true;
      case 'approvals':
        this.sessions.takeApprovals(change.approvals);
        return true;
      case 'draft':
        this.composer.offer(change.sessionId, change.draft.text);
        return true;
      case 'diff':
        if (change.sessionId !== this.current.transcript?.sessionId) return true;
        return this.current.transcript.apply(change.diff);
    }
  }
}
