//! The contract of a durable AI session: events, chunk dialects and their fold into messages.
//!
//! A session is one append-only stream of JSON items. This crate knows what the items mean and
//! nothing about how they travel: it does no I/O, has no clock and never panics on what it reads.
//!
//! The path through the crate is the path of one item:
//!
//! 1. [`event::decode`] turns the bytes of one item into an [`event::Event`]. It never fails: what
//!    cannot be understood is [`event::Event::Malformed`] or [`event::Event::Other`] (law L9).
//! 2. [`fold::SessionFold::apply`] folds events into the collections of a session: messages, tool
//!    calls, approvals, presence, agents, statistics. It returns a [`fold::ChangeSet`] that says what
//!    changed, small enough to be sent to a window token by token (L4, L12).
//! 3. The [`row`] types are the rows of those collections; they are what the store keeps and the
//!    window draws. Their TypeScript twins are generated from here.
//!
//! Upwards, an [`intent::Intent`] is what a person asks for, and [`api`] how a session server is asked for it.
//!
//! # Dialects
//!
//! A chunk is the unit of a streaming message: a JSON text in a row `(messageId, seq)`. Several
//! generations of software wrote chunks in several vocabularies ("dialects"), and a session may be
//! continued by newer software than the one that began it, so the dialect is decided per chunk,
//! never per stream. The modules below `fold/dialect` each translate one vocabulary into the few
//! operations of the message fold.
//!
//! # Laws upheld here
//!
//! - L3: applying a batch twice equals applying it once, and any split of the log into a stored
//!   state and a tail equals one full replay.
//! - L4: folding a [`fold::ChangeSet`] over a replica of the messages gives the messages.
//! - L9: unknown types and fields are kept, malformed items are skipped and counted.
//! - L11: rows, events and intents hold text of people; their `Debug` shows shapes, not contents.
//! - L15: what a row may say depends on who wrote it ([`authority`]).
//! - L12: a chunk that arrives in order costs in proportion to its own bytes.
//! - L17: a fold without texts, by which a server decides, agrees with the one that is shown.

pub mod api;
pub mod authority;
pub mod event;
pub mod fold;
pub mod intent;
pub mod materialize;
pub mod patch;
pub mod row;

mod chunk;
mod spec;
mod text;

pub use chunk::Dialect;
pub use event::{Event, RunMark, decode};
pub use fold::{
    AnswerRef, Ask, AskKind, CallView, ChangeSet, Deliveries, FoldState, Lifecycle, MessageChange,
    MessageLoader, MessageRun, RequestView, SessionFold, SharedState, StoredMessage, Texts,
};
pub use intent::Intent;
pub use materialize::{MaterializedSession, materialize};
pub use row::{
    ActiveGeneration, ActivityPart, Agent, AgentChoice, AgentCommand, AgentOption, Approval,
    ApprovalOption, ApprovalStatus, Citation, FilePart, FinishReason, Message, MessageError, Part,
    PartApproval, Presence, PresenceRow, PresenceStatus, QuestionPart, Role, SessionStats,
    SourceKind, SourcePart, Stopped, StructuredStatus, SubagentPart, SubagentState, ToolCall,
    ToolCallPart, ToolState, Usage, canonical_time,
};
pub use spec::{AgentSpec, Triggers};
