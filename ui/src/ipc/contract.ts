/**
 * The types that cross the edge between the host and the window.
 *
 * Everything else in the window imports them from here, so that where they come from is known in one place.
 */
export type { ActiveGeneration } from './bindings/ActiveGeneration';
export type { Agent } from './bindings/Agent';
export type { AgentSpec } from './bindings/AgentSpec';
export type { Approval } from './bindings/Approval';
export type { FilePart } from './bindings/FilePart';
export type { MessageError } from './bindings/MessageError';
export type { Part } from './bindings/Part';
export type { Presence } from './bindings/Presence';
export type { Role } from './bindings/Role';
export type { SourcePart } from './bindings/SourcePart';
export type { Stopped } from './bindings/Stopped';
export type { ToolCallPart } from './bindings/ToolCallPart';
export type { ToolState } from './bindings/ToolState';

import type { ActiveGeneration } from './bindings/ActiveGeneration';
import type { Agent } from './bindings/Agent';
import type { Approval } from './bindings/Approval';
import type { FinishReason } from './bindings/FinishReason';
import type { MessageError } from './bindings/MessageError';
import type { Part } from './bindings/Part';
import type { Presence } from './bindings/Presence';
import type { Role } from './bindings/Role';
import type { SessionStats } from './bindings/SessionStats';
import type { Stopped } from './bindings/Stopped';

export interface Delivery {
  state: 'queued' | 'sending' | 'sent' | 'wedged';
  entryId: string;
  reason: string | null;
}

export interface ItemMeta {
  id: string;
  role: Role;
  actorId: string | null;
  createdAt: string | null;
  isComplete: boolean;
  error: MessageError | null;
  stopped: Stopped | null;
  finishReason: FinishReason | null;
  hasGap: boolean;
  delivery: Delivery | null;
}

export interface Item extends ItemMeta {
  parts: Part[];
}

export type Diff =
  | { op: 'reset'; items: Item[]; hasMoreBefore: boolean }
  | { op: 'insert'; index: number; item: Item }
  | { op: 'set'; index: number; item: Item }
  | { op: 'remove'; index: number }
  | { op: 'patch'; index: number; id: string; part: number; text: string }
  | { op: 'part'; index: number; id: string; part: number; value: Part }
  | { op: 'meta'; index: number; id: string; item: ItemMeta };

export interface WaitingApproval {
  sessionId: string;
  sessionTitle: string;
  approval: Approval;
}

export type SessionState = 'idle' | 'running' | 'approval' | 'failed' | 'sending';

export interface SessionSummary {
  id: string;
  title: string;
  createdAt: string | null;
  lastActivityAt: string | null;
  preview: string | null;
  state: SessionState;
  unread: number;
  pendingApprovals: number;
  draft: string | null;
}

export type ConnectionState =
  | 'offline'
  | 'connecting'
  | 'catchingUp'
  | 'live'
  | 'retrying'
  | 'refused'
  | 'gone'
  | 'closed';

export interface Connection {
  state: ConnectionState;
  code: string | null;
  message: string | null;
  retryAt: string | null;
  syncedAt: string | null;
}

export interface SessionMeta {
  sessionId: string;
  title: string;
  connection: Connection;
  agents: Agent[];
  presence: Presence[];
  pendingApprovals: Approval[];
  activeGenerations: ActiveGeneration[];
  stats: SessionStats;
  skipped: number;
  queued: number;
  notice: string | null;
  readOnly: boolean;
}

export interface Draft {
  text: string;
}

export interface SessionView {
  items: Item[];
  hasMoreBefore: boolean;
  meta: SessionMeta;
  draft: Draft | null;
}

export interface Page {
  items: Item[];
  hasMoreBefore: boolean;
}

export interface Notice {
  code: string;
  message: string;
}

export type FeedChange =
  | { type: 'sessions'; sessions: SessionSummary[] }
  | { type: 'approvals'; approvals: WaitingApproval[] }
  | { type: 'meta'; meta: SessionMeta }
  | { type: 'diff'; sessionId: string; diff: Diff }
  | { type: 'notice'; notice: Notice };

export interface FeedBatch {
  epoch: number;
  from: number;
  to: number;
  reset: boolean;
  changes: FeedChange[];
}

export interface Settings {
  modelBaseUrl: string;
  modelName: string;
  hasModelKey: boolean;
  defaultAgent: 'demo' | 'model' | 'webhook';
  webhookUrl: string;
  serverUrl: string | null;
  userName: string;
  notifications: boolean;
}

export interface Bootstrap {
  epoch: number;
  to: number;
  sessions: SessionSummary[];
  approvals: WaitingApproval[];
  open: (SessionView & { sessionId: string }) | null;
  settings: Settings;
  notices: Notice[];
  platform: 'linux' | 'macos' | 'windows';
}

export interface ModelCheck {
  ok: boolean;
  message: string;
}
