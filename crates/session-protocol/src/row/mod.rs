//! The rows of a session's collections: what the store keeps and the window draws.
//!
//! Every type here is serialised in camelCase and has a generated TypeScript twin. Times are kept
//! as the wire has them (RFC 3339 text, sometimes sloppy): they are shown leniently, compared as the
//! instants they name (`is_later`), and never trusted for the order of rows.

mod agent;
mod approval;
mod message;
mod part;
mod presence;
mod stats;
mod tool;

pub use agent::{Agent, AgentChoice, AgentCommand, AgentOption};
pub use approval::{Approval, ApprovalOption, ApprovalStatus};
pub(crate) use message::plain_text;
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

/// A time as text that sorts as time does: UTC with milliseconds, e.g. `2026-01-05T09:00:00.250Z`; `None` when it is
/// not a time at all.
pub fn canonical_time(text: &str) -> Option<String> {
    parse_time(text).map(|at| format!("{at:.3}"))
}

/// Length of a time up to its seconds.
const SECONDS: usize = "2026-01-05T09:00:00".len();

/// Whether a time on the wire is after another. Text alone does not say so: `…:00Z` sorts behind `…:00.5Z`, and a time
/// with an offset anywhere. What is not a time is before all others.
pub(crate) fn is_later(at: &str, than: &str) -> bool {
    // Two of one form, as those of one writer are, need not be read.
    let form = |time: &str| {
        let mark = time.as_bytes().get(SECONDS).copied().filter(|_| time.ends_with('Z'));
        mark.map(|mark| (time.len(), mark))
    };
    if form(at).is_some() && form(at) == form(than) {
        return at > than;
    }
    match (parse_time(at), parse_time(than)) {
        (Some(at), Some(than)) => at > than,
        (at, than) => at.is_some() && than.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is later than the one before it.
    const IN_ORDER: [&str; 7] = [
        "$(date)",
        "2026-01-05T09:00:00+01:00",
        "2026-01-05T08:00:00.25Z",
        "2026-01-05T08:00:00.5Z",
        "2026-01-05T03:00:01-05:00",
        "2026-01-05T08:00:01.001",
        "2026-01-06T00:00:00Z",
    ];

    #[test]
    fn times_are_compared_as_the_instants_they_name() {
        for (n, later) in IN_ORDER.iter().enumerate() {
            for (m, earlier) in IN_ORDER.iter().enumerate() {
                assert_eq!(is_later(later, earlier), n > m, "{later} after {earlier}");
            }
        }
    }

    #[test]
    fn canonical_times_sort_as_text() {
        let canonical: Vec<String> = IN_ORDER.iter().filter_map(|at| canonical_time(at)).collect();
        assert_eq!(canonical.len(), IN_ORDER.len() - 1);
        assert!(canonical.is_sorted(), "{canonical:?}");
        assert_eq!(canonical[0], "2026-01-05T08:00:00.000Z");
    }
}
