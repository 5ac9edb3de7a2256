//! Write-behind: what changed is gathered and committed a little later, in one transaction (L2).
//!
//! While an answer streams there is a commit every [`LINGER`], never one for each token; what a
//! person must not lose sight of (an answer's end, an approval, an echo) is committed at once. One
//! commit is under way at a time; what changes meanwhile waits for the next. A commit that fails,
//! because the disk is full, is kept and tried again: the session goes on being shown.
//!
//! A message's raw log is appended as segments, in proportion to what came. Its folded row is
//! rewritten only when it has grown by half since it was last written, and marked stale in between
//! (L12): whoever reads a stale row folds the segments instead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use session_protocol::fold::Collection;
use session_protocol::{ChangeSet, Message, MessageChange, MessageLoader, Role, StoredMessage};
use tokio::time::Instant;

use crate::store::{
    Commit, MessageWrite, RowWrite, SessionHead, SessionKey, Store, StoreError, Written, segments,
    sessions,
};
use crate::words::SearchText;

/// Time that changes are gathered while an answer streams.
pub(super) const LINGER: Duration = Duration::from_millis(250);
/// Number of bytes of log that are committed at once.
const FULL: usize = 512 * 1024;
/// Number of bytes waiting for the disk with which the stream is not read on.
const OVERFULL: usize = 8 * 1024 * 1024;
/// Pause after a failed commit.
const RETRY: Duration = Duration::from_secs(2);

/// Changes since the last commit.
#[derive(Default)]
struct Changes {
    reset: bool,
    removed: BTreeSet<String>,
    dirty: BTreeSet<String>,
    log: BTreeMap<String, Vec<Arc<str>>>,
    rows: BTreeMap<(Collection, String), (Option<String>, bool)>,
    echoed: Vec<String>,
    /// The session's own row changed.
    head: bool,
    bytes: usize,
}

impl Changes {
    fn is_empty(&self) -> bool {
        !self.reset
            && !self.head
            && self.removed.is_empty()
            && self.dirty.is_empty()
            && self.log.is_empty()
            && self.rows.is_empty()
            && self.echoed.is_empty()
    }
}

/// The commit under way.
struct CommitInFlight {
    commit: Arc<Commit>,
    done: Option<Written<()>>,
}

/// A session's data on the disk, and the changes that wait for it.
pub(super) struct Keeping {
    /// The session's own row, as it is to be.
    head: SessionHead,
    /// Stored forms of the messages in memory.
    rows: Rows,
    /// The disk could not be written; said once.
    trouble: bool,
    pending: Changes,
    due: Option<Instant>,
    flight: Option<CommitInFlight>,
    retry_at: Option<Instant>,
    number: u64,
}

/// The stored form of a message in memory.
struct RowState {
    /// Bytes of its row.
    written: usize,
    /// Bytes of log since.
    since: usize,
    hidden: bool,
    complete: bool,
}

/// Stored forms of the messages in memory, by id.
#[derive(Default)]
struct Rows(HashMap<String, RowState>);

impl Keeping {
    /// `head` is the stored row, `number` that of the last commit that is stored.
    pub(super) fn new(head: SessionHead, number: u64) -> Self {
        Self {
            head,
            rows: Rows::default(),
            trouble: false,
            pending: Changes::default(),
            due: None,
            flight: None,
            retry_at: None,
            number,
        }
    }

    /// The session's own row (offset, title, …).
    pub(super) fn head(&self) -> &SessionHead {
        &self.head
    }

    /// Changes the session's own row, to be written with the next commit.
    pub(super) fn edit_head(&mut self, edit: impl FnOnce(&mut SessionHead)) {
        edit(&mut self.head);
        self.pending.head = true;
    }

    /// Changes the session's own row, which is written when something else is.
    pub(super) fn note_head(&mut self, edit: impl FnOnce(&mut SessionHead)) {
        edit(&mut self.head);
    }

    /// Takes note that the disk failed. Returns whether that is news.
    pub(super) fn fails(&mut self) -> bool {
        !std::mem::replace(&mut self.trouble, true)
    }

    /// Takes note that the disk was written. Returns whether it had failed.
    pub(super) fn works(&mut self) -> bool {
        std::mem::take(&mut self.trouble)
    }

    /// Forgets how a message is stored that is no longer in memory.
    pub(super) fn forget_row(&mut self, id: &str) {
        self.rows.0.remove(id);
    }

    /// Takes in what a batch changed.
    pub(super) fn gather(&mut self, changes: &mut ChangeSet) {
        let pending = &mut self.pending;
        if changes.reset {
            let echoed = std::mem::take(&mut pending.echoed);
            *pending = Changes { reset: true, echoed, ..Changes::default() };
        }
        for id in changes.removed.drain(..) {
            pending.log.remove(&id);
            pending.dirty.remove(&id);
            pending.removed.insert(id);
        }
        for change in &changes.messages {
            match change {
                MessageChange::Removed { id } => {
                    pending.dirty.remove(id);
                }
                other => {
                    if !pending.dirty.contains(other.id()) {
                        pending.dirty.insert(other.id().to_owned());
                    }
                }
            }
        }
        // A chunk that shows nothing still belongs to its message's log.
        for entries in changes.log.chunk_by(|one, next| one.message_id == next.message_id) {
            let id = &*entries[0].message_id;
            if !pending.log.contains_key(id) {
                pending.log.insert(id.to_owned(), Vec::new());
            }
            let log = pending.log.get_mut(id).expect("inserted above");
            log.extend(entries.iter().map(|entry| Arc::clone(&entry.raw)));
            pending.bytes += entries.iter().map(|entry| entry.raw.len()).sum::<usize>();
        }
        changes.log.clear();
        for row in changes.rows.drain(..) {
            pending.rows.insert((row.collection, row.key), (row.json, row.standing));
        }
    }

    /// Takes note of an outbox entry's echo: the entry leaves with the batch that showed it (L2,
    /// L6).
    pub(super) fn echo(&mut self, entry_id: String) {
        self.pending.echoed.push(entry_id);
    }

    /// Asks for a commit: at once, or when the changes have lingered.
    pub(super) fn schedule(&mut self, now: Instant, at_once: bool) {
        if self.pending.is_empty() {
            return;
        }
        let due = if at_once || self.pending.bytes >= FULL { now } else { now + LINGER };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Whether so much waits for the disk that the stream should not be read on.
    pub(super) fn is_overfull(&self) -> bool {
        self.pending.bytes >= OVERFULL
    }

    /// Time at which [`Keeping::start`] has something.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match &self.flight {
            None => self.due,
            Some(_) => self.retry_at,
        }
    }

    /// Whether everything is on the disk.
    pub(super) fn is_clean(&self) -> bool {
        self.flight.is_none() && self.pending.is_empty()
    }

    /// Starts the commit that is due. `message` gives the messages in memory.
    pub(super) fn start<'a>(
        &mut self,
        store: &Store,
        key: SessionKey,
        message: impl Fn(&str) -> Option<&'a Message>,
    ) {
        if let Some(flight) = &mut self.flight {
            if flight.done.is_none() {
                self.retry_at = None;
                flight.done = Some(store.commit(Arc::clone(&flight.commit)));
            }
            return;
        }
        self.due = None;
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return;
        }
        let rows = &mut self.rows;
        if pending.reset {
            rows.0.clear();
        }
        for id in &pending.removed {
            rows.0.remove(id);
        }
        self.number += 1;
        let messages = pending
            .dirty
            .iter()
            .filter_map(|id| {
                let log =
                    pending.log.get(id).map_or(0, |log| log.iter().map(|raw| raw.len()).sum());
                rows.write(message(id)?, log)
            })
            .collect();
        let commit = Arc::new(Commit {
            session: key,
            number: self.number,
            head: self.head.clone(),
            reset: pending.reset,
            removed: pending.removed.into_iter().collect(),
            messages,
            segments: pending.log.into_iter().map(|(id, log)| (id, segment(&log))).collect(),
            rows: pending
                .rows
                .into_iter()
                .map(|((collection, key), (json, standing))| RowWrite {
                    collection: collection.name(),
                    key,
                    json,
                    standing,
                })
                .collect(),
            echoed: pending.echoed,
        });
        let done = Some(store.commit(Arc::clone(&commit)));
        self.flight = Some(CommitInFlight { commit, done });
    }

    /// Drops what was not written: the session was deleted.
    pub(super) fn forget(&mut self) {
        self.pending = Changes::default();
        self.due = None;
    }

    /// Waits for the commit under way; for ever when there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn finished(&mut self) -> Result<(), StoreError> {
        match self.flight.as_mut().and_then(|flight| flight.done.as_mut()) {
            Some(done) => done.await,
            None => std::future::pending().await,
        }
    }

    /// Takes note of how the commit under way ended. Returns the ids of the messages it wrote.
    pub(super) fn settle_commit(
        &mut self,
        result: &Result<(), StoreError>,
        now: Instant,
    ) -> Vec<String> {
        match result {
            Ok(()) => {
                self.retry_at = None;
                let flight = self.flight.take();
                let commit = flight.as_ref().map(|flight| &flight.commit.messages);
                commit.into_iter().flatten().map(|message| message.id.clone()).collect()
            }
            Err(_) => {
                if let Some(flight) = &mut self.flight {
                    flight.done = None;
                }
                self.retry_at = Some(now + RETRY);
                Vec::new()
            }
        }
    }

    /// Whether a message has changes that are not on the disk.
    pub(super) fn is_dirty(&self, id: &str) -> bool {
        self.pending.dirty.contains(id)
            || self.pending.log.contains_key(id)
            || self
                .flight
                .as_ref()
                .is_some_and(|flight| flight.commit.messages.iter().any(|message| message.id == id))
    }

    /// Whether the stored row of a message must not be shown, because it was deleted since.
    pub(super) fn hides(&self, id: &str) -> bool {
        let flight = self.flight.as_ref().map(|flight| &flight.commit);
        self.pending.reset
            || self.pending.removed.contains(id)
            || flight.is_some_and(|commit| {
                commit.reset || commit.removed.iter().any(|removed| removed == id)
            })
    }

    /// A loader of messages for the fold: what is stored, and what is not stored yet.
    pub(super) fn loader<'a>(&'a self, store: &'a Store, key: SessionKey) -> Loader<'a> {
        Loader { keeping: self, store, key }
    }
}

impl Rows {
    fn write(&mut self, message: &Message, log: usize) -> Option<MessageWrite> {
        let known = self.0.get_mut(&message.id);
        let rewrite = match &known {
            None => true,
            Some(row) => {
                row.hidden != message.hidden
                    || row.complete != message.is_complete
                    || message.is_complete
                    || (row.since + log) * 2 >= row.written
            }
        };
        let row = if rewrite {
            match serde_json::to_string(message) {
                Ok(row) => Some(row),
                Err(error) => {
                    let kind = error.classify();
                    tracing::error!(?kind, "a message could not be written as JSON");
                    return None;
                }
            }
        } else {
            None
        };
        let text = match row {
            Some(_) => SearchText::of(message).spaced(),
            None => SearchText::default(),
        };
        let since = known.map_or(0, |row| row.since) + log;
        let written = row.as_ref().map(String::len);
        let state = RowState {
            written: written.or(self.0.get(&message.id).map(|row| row.written)).unwrap_or(0),
            since: if written.is_some() { 0 } else { since },
            hidden: message.hidden,
            complete: message.is_complete,
        };
        self.0.insert(message.id.clone(), state);
        Some(MessageWrite {
            id: message.id.clone(),
            position: message.position,
            hidden: message.hidden,
            complete: message.is_complete || message.hidden,
            role: match message.role {
                Role::User => "user",
                Role::Assistant => "assistant",
                Role::System => "system",
            },
            actor: message.actor_id.clone(),
            row,
            text,
        })
    }
}

/// Loads messages that left the fold's memory.
pub(super) struct Loader<'a> {
    keeping: &'a Keeping,
    store: &'a Store,
    key: SessionKey,
}

impl MessageLoader for Loader<'_> {
    fn load(&mut self, id: &str) -> Option<StoredMessage> {
        let read = self.store.read(|connection| {
            let commits = sessions::commits(connection, self.key)?;
            Ok((commits, segments::read(connection, self.key, id)?))
        });
        let (commits, segments) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "a message could not be read back");
                return None;
            }
        };
        let mut log = Vec::new();
        for segment in segments {
            extend(&mut log, &segment);
        }
        // The commit under way may or may not be what was just read.
        let flight = self.keeping.flight.as_ref().map(|flight| &flight.commit);
        if let Some(commit) = flight.filter(|commit| commit.number > commits) {
            if commit.reset || commit.removed.iter().any(|removed| removed == id) {
                log.clear();
            }
            for (_, segment) in commit.segments.iter().filter(|(message, _)| message == id) {
                extend(&mut log, segment.as_bytes());
            }
        }
        let pending = &self.keeping.pending;
        if pending.reset || pending.removed.contains(id) {
            log.clear();
        }
        log.extend(pending.log.get(id).into_iter().flatten().map(|raw| raw.to_string()));
        (!log.is_empty()).then_some(StoredMessage { log })
    }
}

/// The segment of these raw entries, which is a JSON array of them.
fn segment(log: &[Arc<str>]) -> String {
    let bytes: usize = log.iter().map(|raw| raw.len() + 1).sum();
    let mut segment = String::with_capacity(bytes + 2);
    segment.push('[');
    for raw in log {
        segment.push_str(raw);
        segment.push(',');
    }
    segment.truncate(bytes.max(1));
    segment.push(']');
    segment
}

/// Reads the raw entries of a segment.
fn extend(log: &mut Vec<String>, segment: &[u8]) {
    match serde_json::from_slice::<Vec<&serde_json::value::RawValue>>(segment) {
        Ok(entries) => log.extend(entries.into_iter().map(|entry| entry.get().to_owned())),
        Err(error) => {
            // L11: the error itself may quote the log.
            tracing::error!(kind = ?error.classify(), "a stored segment is not a JSON array");
        }
    }
}
