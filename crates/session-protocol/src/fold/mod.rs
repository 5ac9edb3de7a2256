//! The fold: from the items of a stream to the collections of a session.
//!
//! # Design
//!
//! **Messages** are folded one by one. A `MessageFold` holds the message, what it needs to go on
//! (open text segments, open tool calls) and the log of its chunks. A chunk whose sequence number is
//! greater than all before is folded alone and costs O(its own bytes) (L12). A chunk that is late,
//! changed or deleted refolds that one message from its log; a repeated chunk that is equal after
//! the merge is nothing at all (L3).
//!
//! What a message needs to go on is a few states, each with its own data and its own tests: its
//! stage, the cursor of its texts, the table of its calls, a structured output, the places of parts
//! that an id knows again, the lifecycle of its runs. The dialects call the operations of a `Step`,
//! which leads each to the state that it concerns. Modules build on each other in one direction:
//! states, the message, the step and its operations, the dialects, the folding of a row, the
//! session.
//!
//! **Signals** (answers to approvals, tool results) may stand in any message, before or after what
//! they answer, so they are matched by id over the whole session, here, not in the message. They are
//! small and always in memory; messages need not be.
//!
//! **Memory.** Only messages that change must be in memory. [`SessionFold::evict`] drops one, and
//! when a later item needs it again the [`MessageLoader`] brings its log back. Everything else that
//! must survive is in [`FoldState`]: rows of small collections, exported as they change
//! ([`ChangeSet::rows`]), so that one commit costs what it changed.
//!
//! **Order.** A message's place is the position of its first item in the stream. Positions are
//! counted here, per session, and are part of the state.

mod apply;
mod asks;
mod bare;
mod bare_events;
mod before;
mod call;
mod calls;
mod change;
mod context;
mod counts;
mod cursor;
mod details;
mod dialect;
mod dropped;
mod encoding;
mod extras;
mod folding;
mod keys;
mod loader;
mod log;
mod matching;
mod message;
mod message_run;
mod naming;
mod places;
mod presence;
mod replay;
mod restore;
mod rows;
mod runs;
mod session;
pub mod shared;
mod short;
mod signal;
mod signals;
mod snapshot;
mod stage;
mod state;
mod step;
mod stored;
mod structured;
mod table;
mod taking;
mod totals;
mod track;
mod turns;

pub use asks::{Ask, AskKind, CallView, RequestView};
pub use change::{ChangeSet, LogEntry, MessageChange};
pub use loader::{MessageLoader, StoredBrief, StoredMessage};
pub use message_run::{AnswerRef, Deliveries, MessageRun};
pub use runs::Lifecycle;
pub use session::SessionFold;
pub use shared::SharedState;
pub use short::Texts;
pub use state::{Collection, FoldState, StateRow};
