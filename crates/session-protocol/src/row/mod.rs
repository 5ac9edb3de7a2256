//! The rows of a session's collections: what the store keeps and the window draws.
//!
//! Every type here is serialised in camelCase and has a generated TypeScript twin. Times are kept
//! as the wire has them (RFC 3339 text, sometimes sloppy): they are shown and compared leniently,
//! never trusted for order.

mod agent;
mod approval;
mod message;
mod part;
mod presence;
mod stats;
mod tool;

pub use agent::Agent;
pub use approval::{Approval, ApprovalStatus};
pub use message::{
    ActiveGeneration, FinishReason, Message, MessageError, Role, STALE_AFTER_SECONDS, Stopped,
};
pub use part::{
    ActivityPart, Citation, FilePart, Part, QuestionPart, SourceKind, SourcePart, StructuredStatus,
    SubagentPart, SubagentState,
};
pub use presence::{Presence, PresenceRow, PresenceStatus};
pub use stats::{SessionStats, Usage};
pub use tool::{PartApproval, ToolCall, ToolCallPart, ToolState};

/// Reads a time as it is on the wire; `None` when it is not a time at all.
///
/// Writers are sloppy (a shell variable ended up in one `createdAt`), so this never fails.
pub fn parse_time(text: &str) -> Option<jiff::Timestamp> {
    let text = text.trim();
    text.parse::<jiff::Timestamp>().ok().or_else(|| {
        // A time without an offset is read as UTC.
        text.parse::<jiff::civil::DateTime>()
            .ok()
            .and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok())
            .map(|at| at.timestamp())
    })
}
