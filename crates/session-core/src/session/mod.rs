//! A session: one task owns its state, others send it messages (L5).
//!
//! ```text
//! store ─▶ restore ─▶ ┌────────────── task ──────────────┐
//! stream ─▶ batch ──▶ │ fold ─▶ view ─▶ diffs ─────────▶ │ ─▶ feeds
//! person ─▶ command ▶ │ outbox ─▶ one request at a time  │ ─▶ server
//! windows ──────────▶ │ attendance ─▶ here, or gone      │ ─▶ server
//!                     │ pending changes ─▶ commit ─────▶ │ ─▶ writer thread
//!                     └──────────────────────────────────┘ ─▶ hub (summary, approvals)
//! ```
//!
//! What a batch changes is shown at once and written a little later ([`keeping`]): rows, log,
//! offset and echoed outbox entries together (L2). A process that dies in between reads the same
//! batch again from the stored offset, which is the same as reading it once (L3).

mod apply;
mod attendance;
mod follow;
mod intents;
mod keeping;
mod measured;
mod opening;
mod publish;
mod reading;
mod restore;
mod sending;
mod showing;
mod state;
mod task;
mod title;
mod unread;

#[cfg(test)]
mod tests;

pub use measured::Measured;
pub(crate) use task::task_of;
pub(crate) use title::title_from;
