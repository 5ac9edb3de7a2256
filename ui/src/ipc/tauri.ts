import { invoke } from '@tauri-apps/api/core';
import { listen } from '@tauri-apps/api/event';

import { BackendError, type ApprovalRef, type Backend, type NewSession, type SendMode } from './backend';
import type {
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

declare global {
  interface Window {
    /** Written by the host's initialization script, before any script of the page runs. */
    readonly __THREADKEEP__?: Bootstrap;
  }
}

async function call<T>(command: string, args?: Record<string, unknown>): Promise<T> {
  try {
    return await invoke<T>(command, args);
  } catch (cause) {
    throw BackendError.from(cause);
  }
}

/** The host, reached by Tauri commands. Payload comes by command only; events carry no data worth the name. */
export class TauriBackend implements Backend {
  readonly boot: Bootstrap | null = window.__THREADKEEP__ ?? null;

  bootstrap(): Promise<Bootstrap> {
    return call('bootstrap');
  }

  nextDiffs(epoch: number, after: number): Promise<FeedBatch> {
    return call('next_diffs', { epoch, after });
  }

  onWake(wake: () => void): void {
    void listen('feed', wake);
  }

  onOpenSession(open: (sessionId: string) => void): void {
    void listen<{ sessionId: string }>('open-session', (event) => {
      open(event.payload.sessionId);
    });
  }

  onQuitAsked(ask: (still: StillRuns) => void): void {
    void listen<StillRuns>('quit-asked', (event) => {
      ask(event.payload);
    });
  }

  answerQuit(answer: QuitAnswer): Promise<void> {
    return call('answer_quit', { answer });
  }

  painted(rows: number): void {
    void call('painted', { rows });
  }

  showSession(sessionId: string | null, around?: string): Promise<void> {
    return call('show_session', { sessionId, around });
  }

  showStart(sessionId: string): Promise<void> {
    return call('show_start', { sessionId });
  }

  page(sessionId: string, direction: Direction): Promise<void> {
    return call('page', { sessionId, direction });
  }

  listSessions(query: ListQuery): Promise<void> {
    return call('list_sessions', { query });
  }

  search(request: SearchRequest): Promise<SearchPage> {
    return call('search', { request });
  }

  createSession({ id, server, agents, first }: NewSession): Promise<string> {
    return call('create_session', { id, server, title: null, agents, first });
  }

  forkSession(id: string, sessionId: string, atMessageId: string): Promise<string> {
    return call('fork_session', { id, sessionId, atMessageId });
  }

  sharedState(sessionId: string, agentId: string): Promise<JsonValue> {
    return call('shared_state', { sessionId, agentId });
  }

  said(sessionId: string, from: number): Promise<SaidPage> {
    return call('said', { sessionId, from });
  }

  diskUse(): Promise<DiskUse> {
    return call('disk_use');
  }

  renameSession(sessionId: string, title: string): Promise<void> {
    return call('rename_session', { sessionId, title });
  }

  deleteSession(sessionId: string): Promise<void> {
    return call('delete_session', { sessionId });
  }

  keepCopy(sessionId: string): Promise<void> {
    return call('keep_copy', { sessionId });
  }

  sendMessage(sessionId: string, text: string, messageId: string = crypto.randomUUID(), mode: SendMode = 'queue', files: FilePart[] = []): Promise<string> {
    return call('send_message', { sessionId, messageId, text, mode, files });
  }

  respondApproval(sessionId: string, { messageId, approvalId }: ApprovalRef, approved: boolean, payload?: JsonValue, optionId?: string): Promise<void> {
    return call('respond_approval', { sessionId, messageId, approvalId, approved, payload, optionId });
  }

  regenerate(sessionId: string, messageId: string): Promise<void> {
    return call('regenerate', { sessionId, messageId });
  }

  setAgentOption(sessionId: string, agentId: string, optionId: string, value: string): Promise<void> {
    return call('set_agent_option', { sessionId, agentId, optionId, value });
  }

  stopRun(sessionId: string): Promise<void> {
    return call('stop_run', { sessionId });
  }

  retryEntry(entryId: string): Promise<void> {
    return call('retry_entry', { entryId });
  }

  editEntry(entryId: string, text: string): Promise<void> {
    return call('edit_entry', { entryId, text });
  }

  discardEntry(entryId: string): Promise<void> {
    return call('discard_entry', { entryId });
  }

  saveDraft(sessionId: string, text: string): Promise<void> {
    return call('save_draft', { sessionId, text });
  }

  markRead(sessionId: string): Promise<void> {
    return call('mark_read', { sessionId });
  }

  reconnect(): Promise<void> {
    return call('reconnect');
  }

  getSettings(): Promise<Settings> {
    return call('get_settings');
  }

  setSettings(settings: Settings): Promise<Settings> {
    return call('set_settings', { settings });
  }

  setModelKey(key: string | null): Promise<void> {
    return call('set_model_key', { key });
  }

  checkModel(): Promise<ModelCheck> {
    return call('check_model');
  }

  checkServer(url: string, token: string | null): Promise<ServerCheck> {
    return call('check_server', { url, token });
  }

  joinServer(url: string, name: string, token: string | null): Promise<string> {
    return call('join_server', { url, name, token });
  }

  renameServer(id: string, name: string): Promise<void> {
    return call('rename_server', { id, name });
  }

  setServerToken(id: string, token: string | null): Promise<void> {
    return call('set_server_token', { id, token });
  }

  countUnsent(id: string): Promise<number> {
    return call('count_unsent', { id });
  }

  forgetServer(id: string, keepSessions: boolean): Promise<void> {
    return call('forget_server', { id, keepSessions });
  }

  saveFile(name: string, bytes: Uint8Array): Promise<string> {
    return call('save_file', { name, bytes: Array.from(bytes) });
  }

  openLink(url: string): Promise<void> {
    return call('open_link', { url });
  }
}
