//! The queue of one feed, without any waiting: numbers, merging, the cap and starting over.
//!
//! Every change gets the next number. `handed` is the highest number that was ever given out, and
//! only what lies above it may still be merged or moved: a reader that asks again after the same
//! number must find everything that it was already given (L4).

use std::collections::VecDeque;

use crate::diff::Diff;
use crate::error::Notice;

/// Number of diffs that a patch looks back for one to merge with.
const MERGE_DEPTH: usize = 16;

/// States that changed since the number asked after, and the edits since then.
#[derive(Debug, PartialEq)]
pub(super) struct ReadState {
    /// The number that the changes follow; 0: everything.
    pub(super) since: u64,
    pub(super) to: u64,
    pub(super) reset: bool,
    pub(super) servers: bool,
    pub(super) sessions: bool,
    pub(super) approvals: bool,
    pub(super) meta: bool,
    pub(super) draft: bool,
    pub(super) edits: Vec<Edit>,
}

/// A queued change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Edit {
    Diff(Diff),
    Notice(Notice),
}

/// The result of a read.
#[derive(Debug, PartialEq)]
pub(super) enum FeedRead {
    Ready(ReadState),
    /// No change comes after that number yet.
    Wait,
    /// The shown session must send a `Reset` first; then there is something to read.
    NeedsReset,
}

struct QueuedEdit {
    seq: u64,
    weight: usize,
    edit: Edit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ShownItems {
    /// No session is shown.
    Nothing,
    /// The next diff must be a `Reset`; nobody was asked for it yet.
    Unasked,
    /// The session was asked for a `Reset`.
    Asked,
    /// Diffs follow each other without a gap.
    Flowing,
}

pub(super) struct Queue {
    epoch: u64,
    cap: usize,
    seq: u64,
    /// Entries up to here have been let go of.
    floor: u64,
    handed: u64,
    entries: VecDeque<QueuedEdit>,
    bytes: usize,
    items: ShownItems,
    servers: u64,
    sessions: u64,
    approvals: u64,
    meta: u64,
    draft: u64,
    /// The number of the last `Reset`.
    reset: u64,
}

impl Queue {
    /// A queue that holds at most about `cap` bytes of diffs.
    pub(super) fn new(epoch: u64, cap: usize) -> Self {
        Self {
            epoch,
            cap,
            seq: 1,
            floor: 0,
            handed: 0,
            entries: VecDeque::new(),
            bytes: 0,
            items: ShownItems::Nothing,
            servers: 1,
            sessions: 1,
            approvals: 1,
            meta: 0,
            draft: 0,
            reset: 0,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The highest number so far.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// The number of the next change.
    pub(super) fn next(&self) -> u64 {
        self.seq + 1
    }

    /// The highest number that nobody asks before again.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Begins to show another session, or none: its first diff must be a `Reset`.
    pub(super) fn show(&mut self, something: bool) {
        self.drop_diffs();
        self.seq += 1;
        self.meta = self.seq;
        self.items = if something { ShownItems::Asked } else { ShownItems::Nothing };
    }

    pub(super) fn servers_changed(&mut self) {
        self.seq += 1;
        self.servers = self.seq;
    }

    pub(super) fn sessions_changed(&mut self) {
        self.seq += 1;
        self.sessions = self.seq;
    }

    pub(super) fn approvals_changed(&mut self) {
        self.seq += 1;
        self.approvals = self.seq;
    }

    pub(super) fn meta_changed(&mut self) {
        self.seq += 1;
        self.meta = self.seq;
    }

    pub(super) fn draft_changed(&mut self) {
        self.seq += 1;
        self.draft = self.seq;
    }

    pub(super) fn push_notice(&mut self, notice: Notice) {
        self.push(Edit::Notice(notice), 256);
    }

    /// Takes a diff of the shown session. Returns whether diffs are wanted at all: after `false`
    /// the session may keep them to itself until it is asked for a `Reset`.
    pub(super) fn push_diff(&mut self, diff: Diff) -> bool {
        let is_reset = matches!(diff, Diff::Reset { .. });
        match self.items {
            ShownItems::Nothing | ShownItems::Unasked => return false,
            ShownItems::Asked if !is_reset => return true,
            ShownItems::Asked | ShownItems::Flowing => {}
        }
        if is_reset {
            self.drop_diffs();
            self.items = ShownItems::Flowing;
        } else if self.merge(&diff) {
            return true;
        }
        // A `Reset` is as large as the window is; were it counted, one larger than the cap would
        // never be followed by anything but the next. The same goes for a page, as long as it is
        // the only one.
        let weight = if is_reset || self.is_only_page(&diff) { 0 } else { diff.weight() };
        if is_reset {
            self.reset = self.seq + 1;
        } else if self.bytes + weight > self.cap {
            // Back-pressure: a reader that does not read must not make the app grow.
            self.drop_diffs();
            self.items = ShownItems::Unasked;
            self.seq += 1;
            return false;
        }
        self.push(Edit::Diff(diff), weight);
        true
    }

    /// Whether a diff is a page and no other page waits.
    fn is_only_page(&self, diff: &Diff) -> bool {
        let is_page = |diff: &Diff| matches!(diff, Diff::Extend { .. });
        is_page(diff)
            && !self.entries.iter().any(|e| matches!(&e.edit, Edit::Diff(diff) if is_page(diff)))
    }

    fn push(&mut self, edit: Edit, weight: usize) {
        self.seq += 1;
        self.bytes += weight;
        self.entries.push_back(QueuedEdit { seq: self.seq, weight, edit });
    }

    fn drop_diffs(&mut self) {
        self.entries.retain(|entry| matches!(entry.edit, Edit::Notice(_)));
        self.bytes = self.entries.iter().map(|entry| entry.weight).sum();
    }

    /// Adds a patch's text to a patch of the same part that nobody has read yet. Patches of other
    /// parts in between do not matter, anything else does.
    fn merge(&mut self, diff: &Diff) -> bool {
        let Diff::Patch { index, id, part, text } = diff else { return false };
        let last = self.entries.len();
        for at in (last.saturating_sub(MERGE_DEPTH)..last).rev() {
            let entry = &mut self.entries[at];
            if entry.seq <= self.handed {
                return false;
            }
            match &mut entry.edit {
                Edit::Notice(_) => {}
                Edit::Diff(Diff::Patch { index: i, id: d, part: p, text: earlier }) => {
                    if i == index && p == part && d == id {
                        if self.bytes + text.len() > self.cap {
                            return false;
                        }
                        earlier.push_str(text);
                        entry.weight += text.len();
                        self.bytes += text.len();
                        self.seq += 1;
                        // Numbers must rise along the queue; this one is the newest now.
                        if at + 1 == last {
                            entry.seq = self.seq;
                        } else if let Some(mut entry) = self.entries.remove(at) {
                            entry.seq = self.seq;
                            self.entries.push_back(entry);
                        }
                        return true;
                    }
                }
                Edit::Diff(_) => return false,
            }
        }
        false
    }

    /// Reads from this cursor. Taking it again with the same cursor gives it again.
    pub(super) fn read(&mut self, epoch: u64, after: u64) -> FeedRead {
        let known = epoch == self.epoch && after >= self.floor && after <= self.seq;
        if known {
            self.acknowledge(after);
        } else if self.items == ShownItems::Flowing && self.reset <= self.floor {
            // The start of what is queued has been let go of: begin again.
            self.drop_diffs();
            self.items = ShownItems::Unasked;
        }
        match self.items {
            ShownItems::Unasked => {
                self.items = ShownItems::Asked;
                return FeedRead::NeedsReset;
            }
            // Half a state would be shown: wait for the rest.
            ShownItems::Asked if !known => return FeedRead::Wait,
            ShownItems::Nothing | ShownItems::Asked | ShownItems::Flowing => {}
        }
        let since = if known { after } else { 0 };
        let read = ReadState {
            since,
            to: self.seq,
            reset: !known,
            servers: self.servers > since,
            sessions: self.sessions > since,
            approvals: self.approvals > since,
            meta: self.meta > since,
            draft: self.draft > since,
            edits: self
                .entries
                .iter()
                .filter(|entry| entry.seq > since)
                .map(|entry| entry.edit.clone())
                .collect(),
        };
        let has_lists = read.servers || read.sessions || read.approvals;
        let has_states = has_lists || read.meta || read.draft;
        if known && !has_states && read.edits.is_empty() {
            return FeedRead::Wait;
        }
        self.handed = self.seq;
        FeedRead::Ready(read)
    }

    fn acknowledge(&mut self, after: u64) {
        while self.entries.front().is_some_and(|entry| entry.seq <= after) {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= entry.weight;
            }
        }
        self.floor = self.floor.max(after);
    }
}

#[cfg(test)]
mod tests;
