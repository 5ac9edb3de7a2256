//! A message as it was before the snapshot that is being read.

use super::call::Outcome;
use super::cursor::TextCursor;
use super::places::Places;
use super::structured::Structured;
use super::table::CallTable;
use super::track::Tracker;
use crate::row::Part;

/// All of a message that a snapshot says anew.
#[derive(Default)]
pub(super) struct Before {
    pub(super) parts: Vec<Part>,
    pub(super) places: Places,
    pub(super) calls: CallTable,
    pub(super) cursor: TextCursor,
    pub(super) structured: Structured,
    pub(super) tracker: Tracker,
    /// Length of the outbox.
    pub(super) said: usize,
    /// Results of calls that the snapshot does not name.
    pub(super) results: Vec<(String, Outcome)>,
}
