import { contextIn, plansIn, type ContextUse, type Plan } from './cards';
import { BackendError, type ApprovalRef, type Backend } from '../ipc/backend';
import type { Agent, JsonValue, Part, Role, SaidPage, SessionMeta, SessionSummary } from '../ipc/contract';
import type { Actors } from './actors';
import type { Announcer } from './announcer.svelte';
import type { Answer, Decisions } from './decisions.svelte';
import type { Row } from './row.svelte';
import { FindState } from './find.svelte';
import { homeIdOf, THIS_COMPUTER } from './servers.svelte';
import type { Sessions } from './sessions.svelte';
import type { Shell } from './shell.svelte';
import { readStored } from './stored';
import { TranscriptState } from './transcript.svelte';

/** Something on screen that another part of the window asks to be shown. */
export interface Target {
  messageId: string;
  /** The approval in it that wants an answer; null for the message itself. */
  approvalId: string | null;
}

/** Rows at the end in which cards of agents are looked for. */
const RECENT = 40;

/** Transcripts kept besides the one on screen, so that going back shows rows at once. */
const KEPT_TRANSCRIPTS = 6;

/** The session on screen: its rows, everything around them, and what is done in it. */
export class CurrentSession {
  /** Null for a session that is about to be made. */
  id = $state<string | null>(null);
  transcript = $state.raw<TranscriptState | null>(null);
  meta = $state.raw<SessionMeta | null>(null);
  openError = $state<string | null>(null);
  target = $state.raw<Target | null>(null);
  /** Counts own acts that are answered at the end of the log, where the reader then wants to be. */
  acts = $state(0);

  /** A message of a person that is to be gone to: the one before or after those in view. */
  jump = $state.raw<{ step: -1 | 1 } | null>(null);

  readonly decisions: Decisions;
  readonly actors: Actors;
  readonly find: FindState;
  readonly #backend: Backend;
  readonly #sessions: Sessions;
  readonly #shell: Shell;
  readonly #announcer: Announcer;
  readonly #transcripts = new Map<string, TranscriptState>();

  constructor(backend: Backend, actors: Actors, sessions: Sessions, decisions: Decisions, shell: Shell, announcer: Announcer) {
    this.actors = actors;
    this.#backend = backend;
    this.#sessions = sessions;
    this.decisions = decisions;
    this.#shell = shell;
    this.#announcer = announcer;
    this.find = new FindState(backend, (messageId) => {
      this.target = { messageId, approvalId: null };
    });
  }

  /** The session's row in the list. */
  readonly summary: SessionSummary | null = $derived.by(() => this.#sessions.find(this.id));

  /** Something in it may be unread. */
  readonly unread: boolean = $derived.by(() => this.id !== null && this.#sessions.mayBeUnread(this.id));

  readonly title: string = $derived(this.meta?.title || this.summary?.title || 'New session');

  readonly running: boolean = $derived((this.meta?.activeGenerations.length ?? 0) > 0);

  /** Messages of people that came after the answer that is being written: they are answered when it ends. */
  readonly waitingTurns: readonly Row[] = $derived.by(() => {
    const writing = new Set((this.meta?.activeGenerations ?? []).map(({ messageId }) => messageId));
    const rows = this.transcript?.rows ?? [];
    if (writing.size === 0) return [];
    const from = rows.findIndex(({ id }) => writing.has(id));
    return from === -1 ? [] : rows.slice(from + 1).filter(({ meta }) => meta.role === 'user' && meta.delivery?.state !== 'wedged');
  });

  /** The last answers, the newest first. */
  readonly #lastAnswers: readonly Row[] = $derived.by(() => (this.transcript?.rows ?? []).slice(-RECENT).filter(({ meta }) => meta.role === 'assistant').reverse());

  /** The newest answer that has a plan, where that is not over: work to do, or the last that was said. */
  readonly planRow: Row | null = $derived.by(() => {
    const answers = this.#lastAnswers;
    const row = answers.find((one) => plansIn(cardsOf(one)).length > 0);
    if (row === undefined) return null;
    const over = plansIn(cardsOf(row)).every(({ entries }) => entries.every(({ state }) => state === 'completed'));
    return over && (row.meta.isComplete || row !== answers[0]) ? null : row;
  });

  /** What its agent means to do: the last plan of it. */
  readonly plan: Plan | null = $derived.by(() => (this.planRow === null ? null : (plansIn(cardsOf(this.planRow)).at(-1) ?? null)));

  /** How much of its memory the agent of the last answer that says so has taken. */
  readonly context: ContextUse | null = $derived.by(() => {
    for (const row of this.#lastAnswers) {
      const use = contextIn(cardsOf(row));
      if (use !== null) return use;
    }
    return null;
  });

  /** What this person said in the rows that are here, the last first. */
  sayings(): string[] {
    return [...(this.transcript?.rows ?? [])].reverse().flatMap((row) => {
      const text = this.isOwn(row) ? row.parts.map(({ text: part }) => part).join('\n') : '';
      return text.trim() === '' ? [] : [text];
    });
  }

  /** What is sent now waits for a connection. */
  readonly offline: boolean = $derived(
    this.meta !== null && ['offline', 'retrying', 'refused'].includes(this.meta.connection.state),
  );

  /** It lives on this computer. */
  readonly isHere: boolean = $derived(this.id !== null && homeIdOf(this.id) === THIS_COMPUTER);

  /** The server has deleted the session: what is here is all there is of it. */
  readonly gone: boolean = $derived(this.meta?.connection.state === 'gone');

  // Names

  agentName(actorId: string | null): string {
    const agents = this.meta?.agents ?? [];
    const agent = agents.find(({ agentId }) => agentId === actorId) ?? (actorId === null ? agents[0] : undefined);
    if (agent === undefined) return actorId === null ? 'Agent' : this.personName(actorId);
    const name = agent.name ?? agent.agentId;
    return agent.guest === true ? `${name} (guest)` : name;
  }

  /** "You" for this person. */
  personName(actorId: string | null): string {
    return this.actors.nameOf(actorId, this.meta);
  }

  /** An actor in the middle of a sentence: "by you". */
  by(actorId: string): string {
    const name = this.personName(actorId);
    return name === 'You' ? 'you' : name;
  }

  isOwn(row: Row): boolean {
    return row.meta.role === 'user' && (row.own || this.actors.isOwn(row.meta.actorId, this.id));
  }

  /** Copies all that was said, from the first message on, as Markdown; also what is not here. */
  async copyAll(): Promise<void> {
    const { id } = this;
    if (id === null) return;
    const said: string[] = [];
    try {
      for (let from: number | null = 0; from !== null; ) {
        const page: SaidPage = await this.#backend.said(id, from);
        said.push(...page.said.map(({ role, actorId, text }) => `**${this.#authorOf(role, actorId)}:**\n\n${text}`));
        from = page.next;
      }
    } catch (cause) {
      this.#shell.say(BackendError.from(cause).message);
      return;
    }
    await this.#shell.copy(said.join('\n\n'), 'Conversation copied');
  }

  #authorOf(role: Role, actorId: string | null): string {
    return role === 'user' ? this.personName(actorId) : role === 'system' ? 'System' : this.agentName(actorId);
  }

  /** What was said in the rows that are here, as Markdown. */
  conversation(): string {
    return (this.transcript?.rows ?? []).flatMap((row) => this.#saying(row)).join('\n\n');
  }

  /** An answer with the messages of people that it answers, or a message with its answers, as Markdown. */
  turn(row: Row): string {
    const rows = this.transcript?.rows ?? [];
    const isPrompt = ({ meta }: Row): boolean => meta.role === 'user';
    let from = Math.max(0, rows.indexOf(row));
    while (from > 0 && !isPrompt(rows[from] ?? row)) from -= 1;
    while (from > 0 && isPrompt(rows[from - 1] ?? row) && isPrompt(rows[from] ?? row)) from -= 1;
    let to = from;
    while (to < rows.length && isPrompt(rows[to] ?? row)) to += 1;
    while (to < rows.length && !isPrompt(rows[to] ?? row)) to += 1;
    return rows.slice(from, to).flatMap((one) => this.#saying(one)).join('\n\n');
  }

  #saying(row: Row): string[] {
    const said = row.parts.flatMap(({ value }) => {
      if (value.type === 'text') return [value.text.trim()];
      return value.type === 'tool-call' ? [`\`${value.name}\``] : [];
    });
    const text = said.filter((part) => part !== '').join('\n\n');
    if (text === '') return [];
    const name = this.isOwn(row) ? 'You' : row.meta.role === 'user' ? this.personName(row.meta.actorId) : this.agentName(row.meta.actorId);
    return [`**${name}:**\n\n${text}`];
  }

  // Going places

  /** Shows the session that the window opens with. */
  begin(sessionId: string): void {
    this.id = sessionId;
    this.find.enter(sessionId);
    this.transcript = new TranscriptState(this.#backend, sessionId);
    this.#transcripts.set(sessionId, this.transcript);
  }

  /** Shows a session: around `target`, else at the reader's place in it, else at its end. */
  async open(sessionId: string, target: Target | null): Promise<void> {
    this.#leave();
    this.id = sessionId;
    this.find.enter(sessionId);
    // Known before the rows are drawn: who comes for something is not taken to where he was.
    this.target = target;
    const transcript = this.#transcripts.get(sessionId) ?? new TranscriptState(this.#backend, sessionId);
    transcript.unsync();
    this.#transcripts.delete(sessionId);
    this.#transcripts.set(sessionId, transcript);
    this.transcript = transcript;
    for (const id of this.#transcripts.keys()) {
      if (this.#transcripts.size <= KEPT_TRANSCRIPTS) break;
      this.#transcripts.delete(id);
    }
    try {
      await this.#backend.showSession(sessionId, target?.messageId ?? placeIn(sessionId));
    } catch (cause) {
      if (this.id === sessionId) this.openError = BackendError.from(cause).message;
    }
  }

  /** Shows no session: one that comes to be with its first message. */
  close(): void {
    this.#leave();
    this.id = null;
    this.find.enter(null);
    this.transcript = null;
    this.#shell.attempt(this.#backend.showSession(null));
  }

  // Doing things

  async respond(approval: ApprovalRef, approved: boolean, answer: Answer = {}): Promise<void> {
    if (this.id !== null) await this.respondIn(this.id, approval, approved, answer);
  }

  /** Answers what is asked in any session. */
  async respondIn(sessionId: string, approval: ApprovalRef, approved: boolean, { optionId, payload, words }: Answer = {}): Promise<void> {
    // A refused answer makes room for a new one.
    const before = this.decisions.of(approval);
    this.decisions.give(approval, approved, optionId);
    // The answer to the last thing that was asked is read at the end.
    if (sessionId === this.id && this.transcript?.rows.at(-1)?.id === approval.messageId && this.#waiting(approval) <= 1) this.acts += 1;
    try {
      if (before?.entryId !== null && before?.entryId !== undefined) await this.#backend.discardEntry(before.entryId);
      // An agent that offers options hears one of them, and nothing else: words come to it as a message, after this answer.
      const offers = words !== undefined && this.#offersOptions(sessionId, approval);
      await this.#backend.respondApproval(sessionId, approval, approved, offers ? payload : (words ?? payload), optionId);
      if (offers) await this.#backend.sendMessage(sessionId, words);
    } catch (cause) {
      this.decisions.give(approval, approved, optionId, BackendError.from(cause).message);
    }
  }

  #offersOptions(sessionId: string, { messageId, approvalId }: ApprovalRef): boolean {
    const asked = this.#sessions.approvals.find((one) => one.sessionId === sessionId && one.approval.messageId === messageId && one.approval.id === approvalId)?.approval;
    const here = this.meta?.sessionId === sessionId ? this.meta.pendingApprovals.find((one) => one.messageId === messageId && one.id === approvalId) : undefined;
    return (asked ?? here)?.options !== undefined;
  }

  /** Has an agent go on whose answer broke off: it is asked to, in this person's name. */
  goOn(): void {
    if (this.id === null) return;
    this.#shell.attempt(this.#backend.sendMessage(this.id, 'Continue.'));
    this.acts += 1;
  }

  /** The state that an agent of this session shares; null where it shares none. */
  sharedState(agentId: string): Promise<JsonValue> {
    return this.id === null ? Promise.resolve(null) : this.#backend.sharedState(this.id, agentId);
  }

  /** Who decided an approval before this person's answer came, in words; null where the rows do not say. */
  whoWasFirst(): string | null {
    for (const row of this.transcript?.rows ?? []) {
      for (const { value } of row.parts) {
        const approval = value.type === 'tool-call' ? value.approval : null;
        if (approval === null || approval.approved === null || approval.respondedBy === null) continue;
        if (!this.decisions.takeLost({ messageId: row.id, approvalId: approval.id }, approval.approved)) continue;
        return `${this.personName(approval.respondedBy)} ${approval.approved ? 'approved' : 'denied'} this before your answer arrived.`;
      }
    }
    return null;
  }

  /** Approvals of the same message that nobody has answered yet, this one among them. */
  #waiting({ messageId }: ApprovalRef): number {
    return (this.meta?.pendingApprovals ?? []).filter((one) => one.messageId === messageId).length;
  }

  chooseOption(agentId: string, optionId: string, value: string): void {
    if (this.id !== null) this.#shell.attempt(this.#backend.setAgentOption(this.id, agentId, optionId, value));
  }

  /** Ends what is being written, and says what comes next. */
  stop(): void {
    if (this.id === null) return;
    const next = this.waitingTurns.length;
    this.#shell.attempt(this.#backend.stopRun(this.id));
    if (next > 0) this.#shell.say(next === 1 ? 'Stopped. The message that waited is answered now.' : `Stopped. The ${String(next)} messages that waited are answered now.`);
  }

  /** Agents that could have answered, and did not. */
  otherAgents(answer: Row): Agent[] {
    return (this.meta?.agents ?? []).filter(({ agentId }) => agentId !== answer.meta.actorId);
  }

  /** Has another agent answer what an answer was to answer: it is said again, to that one. */
  askOther(answer: Row, agent: Agent): void {
    const question = this.questionOf(answer);
    if (this.id === null || question === null) return;
    const said = question.parts.map(({ text }) => text).join('\n\n');
    const name = agent.name !== null && /^[\p{L}\p{N}._-]+$/u.test(agent.name) ? agent.name : agent.agentId;
    this.#shell.attempt(this.#backend.sendMessage(this.id, `@${name} ${said}`));
    this.acts += 1;
  }

  /** What is needed to look into an answer that failed, and nothing of what was said. */
  report(answer: Row): string {
    const { meta } = answer;
    const agent = this.meta?.agents.find(({ agentId }) => agentId === meta.actorId);
    const { error, stopped } = meta;
    const lines: [string, string | null | undefined][] = [
      ['Error', error?.message],
      ['Code', error?.code],
      ['Stopped', stopped === null ? null : (stopped.reason ?? 'yes')],
      ['Agent', agent?.name ?? meta.actorId],
      ['Model', agent?.model],
      ['Began', meta.createdAt],
      ['Ended', meta.endedAt],
      ['Session', this.id],
      ['Message', answer.id],
      ['Parts', answer.parts.map(({ value }) => value.type).join(', ')],
      ['Connection', this.meta?.connection.state],
    ];
    return lines.flatMap(([name, value]) => (value === null || value === undefined || value === '' ? [] : [`${name}: ${value}`])).join('\n');
  }

  /** Has the message answered again that a failed run was to answer. */
  answerAgain(failed: Row): void {
    const question = this.questionOf(failed);
    if (this.id === null || question === null) return;
    this.#shell.attempt(this.#backend.regenerate(this.id, question.id));
    this.acts += 1;
  }

  /** The message of a person that `answer` was to answer; null where there is none, or something came after. */
  questionOf(answer: Row): Row | null {
    const rows = this.transcript?.rows ?? [];
    const at = rows.indexOf(answer);
    const later = ({ meta }: Row): boolean => meta.role === 'user' || meta.actorId === answer.meta.actorId;
    if (at === -1 || rows.slice(at + 1).some(later)) return null;
    return lastOf(rows.slice(0, at), ({ meta }) => meta.role === 'user') ?? null;
  }

  /** Another answer to a message was asked for, and nothing is seen of it yet. */
  isAskedAgain(question: Row): boolean {
    const outbox = this.meta?.outbox ?? [];
    return outbox.some(({ kind, messageId, state }) => kind === 'regenerate' && messageId === question.id && state !== 'wedged');
  }

  rename(title: string): void {
    const sessionId = this.id;
    if (sessionId === null || title.trim() === '' || title === this.title) return;
    if (this.meta !== null) this.meta = { ...this.meta, title: title.trim() };
    this.#shell.attempt(this.#backend.renameSession(sessionId, title.trim()));
  }

  /** Whether it is deleted. */
  async delete(): Promise<boolean> {
    const sessionId = this.id;
    if (sessionId === null) return false;
    try {
      await this.#backend.deleteSession(sessionId);
      this.#transcripts.delete(sessionId);
      this.#sessions.remove(sessionId);
      return this.id === sessionId;
    } catch (cause) {
      this.#shell.say(BackendError.from(cause).message);
      return false;
    }
  }

  /** Keeps what is here of a session that its server has deleted. */
  keepCopy(): void {
    if (this.id !== null) this.#shell.attempt(this.#backend.keepCopy(this.id));
  }

  retry(entryId: string): void {
    this.#shell.attempt(this.#backend.retryEntry(entryId));
  }

  /** Whether the changed text is on its way. */
  async edit(entryId: string, text: string): Promise<boolean> {
    try {
      await this.#backend.editEntry(entryId, text);
      return true;
    } catch (cause) {
      this.#shell.say(BackendError.from(cause).message);
      return false;
    }
  }

  discard(entryId: string): void {
    this.#shell.attempt(this.#backend.discardEntry(entryId));
  }

  reconnect(): void {
    this.#shell.attempt(this.#backend.reconnect());
  }

  /** Tries to connect, where that is what is missing. */
  nudge(): void {
    const state = this.meta?.connection.state;
    if (state === 'offline' || state === 'retrying') this.reconnect();
  }

  markRead(): void {
    if (this.id !== null && this.unread) this.#shell.attempt(this.#backend.markRead(this.id));
  }

  // The feed

  /** Takes what one batch says around the rows, which it has changed already. */
  takeMeta(meta: SessionMeta): void {
    if (meta.sessionId !== this.id) return;
    const before = this.meta;
    this.meta = meta;
    this.decisions.take(meta.outbox);
    if (before === null) return;
    const was = before.activeGenerations.length > 0;
    const is = meta.activeGenerations.length > 0;
    if (!was && is) this.#announcer.say('Agent is responding');
    if (was && !is && meta.pendingApprovals.length === 0) this.#announceEnd();
  }

  #announceEnd(): void {
    const last = lastOf(this.transcript?.rows ?? [], ({ meta }) => meta.role === 'assistant');
    if (last === undefined) return;
    const { error, stopped } = last.meta;
    if (error !== null) this.#announcer.warn(`${this.agentName(last.meta.actorId)} failed: ${error.message}`);
    else this.#announcer.say(stopped === null ? 'Response complete' : 'Response stopped');
  }

  #leave(): void {
    this.meta = null;
    this.decisions.take([]);
    this.openError = null;
    this.target = null;
  }
}

/** The message at which the reader was when the session was last on screen; nothing when it was the end. */
function placeIn(sessionId: string): string | undefined {
  return readStored<{ id: string } | null>(`place.${sessionId}`, null)?.id;
}

/** What an agent put into an answer besides words and calls. */
function cardsOf(row: Row): Part[] {
  return row.parts.flatMap(({ value }) => (value.type === 'data' ? [value] : []));
}

/** The last row that is so. */
function lastOf(rows: readonly Row[], is: (row: Row) => boolean): Row | undefined {
  return [...rows].reverse().find(is);
}
