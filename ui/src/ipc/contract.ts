/**
 * The types that cross the edge between the host and the window, generated from the Rust ones.
 *
 * Everything else in the window imports them from here, so that where they come from is known in one place.
 */
export type { ActiveGeneration } from './bindings/ActiveGeneration';
export type { Agent } from './bindings/Agent';
export type { AgentCommand } from './bindings/AgentCommand';
export type { AgentOption } from './bindings/AgentOption';
export type { AgentSpec } from './bindings/AgentSpec';
export type { Approval } from './bindings/Approval';
export type { ApprovalOption } from './bindings/ApprovalOption';
export type { Bootstrap } from './bindings/Bootstrap';
export type { Connection } from './bindings/Connection';
export type { ConnectionState } from './bindings/ConnectionState';
export type { DefaultAgent } from './bindings/DefaultAgent';
export type { Delivery } from './bindings/Delivery';
export type { Diff } from './bindings/Diff';
export type { Direction } from './bindings/Direction';
export type { DiskUse } from './bindings/DiskUse';
export type { Draft } from './bindings/Draft';
export type { FeedBatch } from './bindings/FeedBatch';
export type { FilePart } from './bindings/FilePart';
export type { FeedChange } from './bindings/FeedChange';
export type { HeadChange } from './bindings/HeadChange';
export type { Item } from './bindings/Item';
export type { ItemMeta } from './bindings/ItemMeta';
export type { JsonValue } from './bindings/serde_json/JsonValue';
export type { ListQuery } from './bindings/ListQuery';
export type { ModelCheck } from './bindings/ModelCheck';
export type { Notice } from './bindings/Notice';
export type { OutboxItem } from './bindings/OutboxItem';
export type { OutboxKind } from './bindings/OutboxKind';
export type { ActivityPart } from './bindings/ActivityPart';
export type { Part } from './bindings/Part';
export type { QuestionPart } from './bindings/QuestionPart';
export type { SourcePart } from './bindings/SourcePart';
export type { SubagentPart } from './bindings/SubagentPart';
export type { PartApproval } from './bindings/PartApproval';
export type { Presence } from './bindings/Presence';
export type { QuietHours } from './bindings/QuietHours';
export type { QuitAnswer } from './bindings/QuitAnswer';
export type { Role } from './bindings/Role';
export type { SaidPage } from './bindings/SaidPage';
export type { SearchHit } from './bindings/SearchHit';
export type { SearchPage } from './bindings/SearchPage';
export type { SearchRequest } from './bindings/SearchRequest';
export type { ServerCheck } from './bindings/ServerCheck';
export type { ServerSummary } from './bindings/ServerSummary';
export type { SessionMeta } from './bindings/SessionMeta';
export type { SessionState } from './bindings/SessionState';
export type { SessionSummary } from './bindings/SessionSummary';
export type { Settings } from './bindings/Settings';
export type { SharedBy } from './bindings/SharedBy';
export type { StillRuns } from './bindings/StillRuns';
export type { TitleHit } from './bindings/TitleHit';
export type { ToolCallPart } from './bindings/ToolCallPart';
export type { WaitingApproval } from './bindings/WaitingApproval';
