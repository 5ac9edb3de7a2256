//! One batch of the stream: fold, view, outbox, what to write.

use bytes::Bytes;
use durable_stream::Offset;
use session_protocol::{
    Agent, ApprovalStatus, ChangeSet, Intent, Message, MessageChange, Role, SessionFold,
    canonical_time,
};
use tokio::time::Instant;

use super::state::Session;
use super::title::{shorten, title_from};
use crate::address::Address;
use crate::diff::Diff;
use crate::error::Notice;
use crate::item::{Item, ItemMeta};
use crate::outbox::OutboxEntry;
use crate::store::{SessionHead, messages, sessions};
use crate::view::{Unfit, View};

/// Number of characters of a message that the list of sessions shows.
const PREVIEW_CHARS: usize = 120;
/// Word to whoever answered a request whose agent was gone.
const NOBODY_WAITED: &str = "Nothing was decided: the agent had ended and did not wait for your answer any more. Use \
     Continue at its answer to go on.";
/// Word to whoever answered a request that was taken back.
const WITHDRAWN: &str =
    "Nothing was decided: the request was taken back before your answer arrived.";

/// One delivery of the stream.
#[derive(Clone, Copy)]
pub(super) struct News<'a> {
    pub(super) items: &'a [Bytes],
    pub(super) next_offset: &'a Offset,
    pub(super) up_to_date: bool,
    pub(super) closed: bool,
}

impl Session {
    /// Takes in a batch. Taking it in again changes nothing (L3).
    pub(super) fn take_in(&mut self, batch: News<'_>, now: Instant) {
        if self.came_back_shorter(batch.next_offset) {
            // The stream was made anew, or restored from an older copy.
            self.reading.line.hang_up();
            self.read_again();
            return;
        }
        self.reading.confirm(batch.items);
        if !batch.items.is_empty() {
            self.complete_fold();
        }
        let mut loader = self.keeping.loader(&self.shared.store, self.key);
        let mut changes = self.fold.apply(batch.items, &mut loader);
        let urgent = self.note(&changes);
        self.show_changes(&changes);
        self.keeping.gather(&mut changes);
        let now_text = crate::clock::now_text();
        let reached = |head: &mut SessionHead| {
            head.offset = Some(batch.next_offset.to_string());
            head.remote = true;
            head.closed |= batch.closed;
            if batch.up_to_date || batch.closed {
                head.synced_at = Some(now_text.clone());
            }
        };
        if !batch.items.is_empty() || batch.closed {
            self.keeping.edit_head(reached);
        } else {
            self.keeping.note_head(reached);
        }
        let before = self.reading.line.connection().state;
        self.reading.line.arrived(batch.up_to_date, batch.closed, &now_text);
        if before != self.reading.line.connection().state {
            self.showing.touch();
            if self.reading.line.is_live() {
                // The server can be reached: whatever waits for it may try.
                self.home.succeeded();
            }
        }
        if batch.up_to_date || batch.closed {
            self.compare();
        }
        let echoed = self.echoes(Some(&changes));
        self.keeping.schedule(now, urgent || echoed || batch.closed);
    }

    /// Whether the stream ends before the place that was reached: offsets grow (PROTOCOL,
    /// "Offsets": lexicographically sortable).
    fn came_back_shorter(&self, next: &Offset) -> bool {
        match (&self.keeping.head().offset, next) {
            (Some(ours), Offset::At(theirs)) => !self.reading.is_comparing() && theirs < ours,
            _ => false,
        }
    }

    /// Reads the stream from its start, into what is known already: equal items change nothing,
    /// and nothing local is dropped (L14).
    pub(super) fn read_again(&mut self) {
        let stored = self
            .shared
            .store
            .read(|connection| messages::ids(connection, self.key))
            .unwrap_or_default();
        let in_memory = self.fold.messages().map(|message| message.id.clone());
        self.reading.compare_with(stored.into_iter().chain(in_memory));
        self.keeping.edit_head(|head| head.offset = None);
    }

    /// Compares, after reading again, whether this is still the stream that the session came from.
    fn compare(&mut self) {
        let Some(missing @ 1..) = self.reading.compared() else { return };
        let notice = format!(
            "The stream on the server is not the one this session was read from. {missing} of the \
             messages here are not on the server; they are kept."
        );
        self.keeping.edit_head(|head| head.notice = Some(notice));
        self.showing.touch();
    }

    /// Keeps title, preview and the like up to date. Returns whether to write at once.
    fn note(&mut self, changes: &ChangeSet) -> bool {
        let mut urgent = changes.reset || !changes.approvals.is_empty() || changes.agents_changed;
        for change in &changes.messages {
            let structural = match change {
                MessageChange::AppendText { .. } | MessageChange::SetPart { .. } => false,
                MessageChange::Inserted { .. } => {
                    self.unread.came();
                    true
                }
                MessageChange::Meta { .. }
                | MessageChange::Replaced { .. }
                | MessageChange::Removed { .. } => true,
            };
            if !structural {
                continue;
            }
            let Some(message) = self.fold.message(change.id()).filter(|message| !message.hidden)
            else {
                continue;
            };
            let (ends, failed) = (message.is_complete, message.error.is_some());
            self.keeping.note_head(|head| note_message(head, message));
            urgent |= ends;
            self.last_failed = ends && failed;
            self.showing.touch();
        }
        if changes.meta_changed
            && let Some(title) = self.fold.title()
        {
            self.keeping.note_head(|head| head.title = Some(title.to_owned()));
        }
        if changes.meta_changed && self.parent.is_none() {
            self.note_parent();
        }
        self.showing.touch_if(
            changes.reset
                || !changes.approvals.is_empty()
                || !changes.removed_approvals.is_empty()
                || changes.presence_changed
                || changes.agents_changed
                || changes.shared_changed
                || changes.active_changed
                || changes.stats_changed
                || changes.meta_changed
                || changes.skipped > 0,
        );
        urgent
    }

    /// Remembers which session this one is a copy of: its own stream says so.
    fn note_parent(&mut self) {
        let origin = self.fold.settings().get("forkedFrom").and_then(|from| from.get("sessionId"));
        let Some(parent) = origin.and_then(|id| id.as_str()).filter(|id| *id != self.home_id)
        else {
            return;
        };
        let (key, stored) = (self.key, Address::new(&self.home.id, parent).to_string());
        self.parent = Some(stored.clone());
        // If this cannot be saved, the stream says it again.
        drop(self.shared.store.write(move |tx| sessions::set_parent(tx, key, &stored)));
    }

    /// Brings the readers' views up to date. Costs what changed (L12).
    fn show_changes(&mut self, changes: &ChangeSet) {
        if changes.reset {
            return self.reset_views();
        }
        let Self { fold, showing, id, .. } = self;
        if showing.redraw(id, |view, diffs| follow(view, fold, changes, diffs)) {
            self.drop_viewers();
        }
    }

    /// Takes the entries out of the outbox that the stream shows by now (L6): their echo is in this
    /// batch, or what they ask for is the case. Returns whether there were any.
    pub(super) fn echoes(&mut self, changes: Option<&ChangeSet>) -> bool {
        if self.sending.outbox.is_empty() {
            return false;
        }
        self.complete_fold();
        let is_in = |id: &str, message: Option<String>| {
            changes.is_some_and(|changes| {
                changes.txids.iter().any(|txid| txid == id)
                    || message.is_some_and(|id| changes.messages.iter().any(|c| c.id() == id))
            })
        };
        let echoed: Vec<String> = self
            .sending
            .outbox
            .iter()
            .filter(|entry| is_in(&entry.id, entry.message_id()) || self.is_fulfilled(entry))
            .map(|entry| entry.id.clone())
            .collect();
        for id in &echoed {
            self.tell_the_late(id);
            self.leave(id);
            self.keeping.echo(id.clone());
        }
        !echoed.is_empty()
    }

    /// The first answer to an approval wins; whoever answered otherwise, and later, is told.
    fn tell_the_late(&self, entry_id: &str) {
        let Some(Intent::RespondApproval { approval_id, message_id, approved, option_id, .. }) =
            self.sending.outbox.get(entry_id).map(|entry| &entry.intent)
        else {
            return;
        };
        let Some(decided) = self.fold.approval(approval_id, message_id.as_deref()) else { return };
        let chosen = decided.option_id.as_deref();
        let reason = decided.reason.as_deref();
        let word = match (decided.status, approved) {
            // Nobody waits for it any more: nobody denied it either.
            (ApprovalStatus::Denied, _) if chosen.is_none() && reason == Some("lapsed") => {
                return self.tell_all("answered-late", NOBODY_WAITED.to_owned());
            }
            (ApprovalStatus::Denied, true) if chosen.is_none() && reason == Some("cancelled") => {
                return self.tell_all("answered-late", WITHDRAWN.to_owned());
            }
            (ApprovalStatus::Denied, true) => "denied",
            (ApprovalStatus::Approved, false) => "approved",
            // The same side, but not as far.
            (status, _)
                if option_id.is_some() && chosen.is_some() && chosen != option_id.as_deref() =>
            {
                if status == ApprovalStatus::Denied {
                    "denied"
                } else {
                    "approved"
                }
            }
            _ => return,
        };
        let offered = decided.options.as_deref().unwrap_or_default();
        let by = offered.iter().find(|option| Some(option.option_id.as_str()) == chosen);
        let by = by.map(|option| format!(" by “{}”", option.name)).unwrap_or_default();
        let who = decided.responded_by.as_deref();
        let everyone = self.fold.everyone(crate::clock::now());
        let who = everyone
            .iter()
            .find(|one| Some(one.actor_id.as_str()) == who)
            .and_then(|one| one.name.as_deref())
            .unwrap_or("Somebody else");
        let when = decided.responded_at.as_deref().and_then(crate::clock::time_of_day);
        let when = when.map(|time| format!(" at {time}")).unwrap_or_default();
        let message = format!("{who} {word} this{by}{when}, before your answer arrived.");
        self.tell_all("answered-first", message);
    }

    fn tell_all(&self, code: &str, message: String) {
        let notice = Notice { code: code.to_owned(), message };
        for feed in self.shared.feeds() {
            feed.push_notice(&notice);
        }
    }

    /// Whether the stream already shows what an entry asks for. Only what stays so counts for an
    /// entry that was not sent yet: a title may be this one now and another before its turn comes.
    fn is_fulfilled(&self, entry: &OutboxEntry) -> bool {
        match &entry.intent {
            Intent::CreateSession { agents, title } => {
                let registered = self.fold.agents();
                self.keeping.head().offset.is_some()
                    && agents.iter().all(|a| registered.iter().any(|b| b.agent_id == a.id))
                    && (title.is_none() || self.fold.title().is_some())
            }
            // Its first items may be there before its agents are, so the server must have said that
            // it is done; a copy is never empty.
            Intent::Fork { .. } => entry.is_sent() && self.fold.position() > 0,
            // Also when somebody else answered first: the first answer wins.
            Intent::RespondApproval { approval_id, message_id, .. } => self
                .fold
                .approval(approval_id, message_id.as_deref())
                .is_some_and(|approval| approval.status != ApprovalStatus::Pending),
            // A choice that holds already has no row of its own.
            Intent::SetAgentOption { agent_id, option_id, value } => {
                let chosen = |agent: &Agent| {
                    let option = agent.options.iter().find(|option| option.id == *option_id);
                    option.is_some_and(|one| one.wanted.as_ref().unwrap_or(&one.value) == value)
                };
                let agents = self.fold.agents();
                let agent = agents.iter().find(|agent| agent.agent_id == *agent_id);
                entry.is_sent() && agent.is_some_and(chosen)
            }
            Intent::Stop { message_id: Some(id) } => {
                !self.fold.incomplete().iter().any(|active| active.message_id == *id)
            }
            Intent::Stop { message_id: None } => {
                entry.is_sent() && self.fold.incomplete().is_empty()
            }
            Intent::Rename { title } => entry.is_sent() && self.fold.title() == Some(title),
            // Recognised by the message's id, and by its own; deletion has no echo but the server's
            // answer.
            Intent::SendMessage { .. } | Intent::Regenerate { .. } | Intent::DeleteSession => false,
        }
    }

    /// Takes an entry out of the outbox; its local echo goes, unless the message took its place.
    pub(super) fn leave(&mut self, entry_id: &str) {
        let Some(entry) = self.sending.outbox.remove(entry_id) else { return };
        self.showing.touch();
        if let Some(id) = entry.message_id() {
            self.redraw_views(|view, diffs| view.remove_local(&id, diffs));
        }
    }
}

/// Takes a message's time, title and last line over into the session's row.
fn note_message(head: &mut SessionHead, message: &Message) {
    if head.created_at.is_none() {
        head.created_at = message.created_at.as_deref().and_then(canonical_time);
    }
    let at = message.last_chunk_at.as_deref().or(message.created_at.as_deref());
    let at = at.and_then(canonical_time);
    if at > head.last_activity {
        head.last_activity = at;
    }
    if !message.is_complete {
        return;
    }
    let text = message.plain_text();
    if let Some(line) = text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        head.preview = Some(shorten(line, PREVIEW_CHARS));
    }
    if head.title.is_none() && message.role == Role::User {
        head.title = title_from(&text);
    }
}

/// Edits a view as the messages changed.
fn follow(view: &mut View, fold: &SessionFold, changes: &ChangeSet, diffs: &mut Vec<Diff>) {
    for change in &changes.messages {
        let id = change.id();
        let Some(message) = fold.message(id).filter(|message| !message.hidden) else {
            view.remove(id, diffs);
            continue;
        };
        let fits = match change {
            MessageChange::Inserted { .. } | MessageChange::Replaced { .. } => {
                view.insert_remote(message.position, Item::from_message(message), diffs);
                Ok(())
            }
            MessageChange::AppendText { part, text, .. } => {
                view.append_text(id, *part, text.clone(), diffs)
            }
            MessageChange::SetPart { part, .. } => match message.parts.get(*part) {
                Some(value) => view.set_part(id, *part, value.clone(), diffs),
                None => Err(Unfit),
            },
            MessageChange::Meta { .. } => {
                if !view.set_meta(id, ItemMeta::from_message(message), diffs) {
                    // It was hidden until now.
                    view.insert_remote(message.position, Item::from_message(message), diffs);
                }
                Ok(())
            }
            MessageChange::Removed { .. } => {
                view.remove(id, diffs);
                Ok(())
            }
        };
        if fits == Err(Unfit) {
            view.replace(Item::from_message(message), diffs);
        }
    }
}
