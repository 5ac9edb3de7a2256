//! The entries of one session, in memory as on the disk.

use std::time::Duration;

use durable_stream::RetryPolicy;
use session_protocol::{Intent, Part, Role};
use tokio::time::Instant;

use crate::item::{Delivery, DeliveryState, Item, ItemMeta};
use crate::store::OutboxRow;
use crate::summary::{OutboxItem, OutboxKind};

/// Time that the stream may take to show what the server has accepted before it is sent again.
const ECHO_PATIENCE: Duration = Duration::from_secs(15);
/// Waits between attempts.
const RETRY: RetryPolicy =
    RetryPolicy::doubling(Duration::from_millis(500), Duration::from_secs(60));
/// The longest time that a server may ask to be left alone.
const LONGEST_FLOOR: Duration = Duration::from_secs(600);

/// One intent and how far it has got. No `Debug`: it holds the person's text (L11).
pub(crate) struct OutboxEntry {
    pub(crate) id: String,
    pub(crate) intent: Intent,
    pub(crate) created_at: String,
    state: EntryState,
    /// The reason why the entry still waits, for the person.
    reason: Option<String>,
    attempts: u32,
    /// Number of times that the server accepted the entry without an echo.
    accepted: u32,
    /// The server may have it: a request was begun and not surely refused.
    tried: bool,
    /// The server may have it by a request before the present one.
    tried_before: bool,
    /// The person is changing or discarding it: it is not sent until that is on the disk.
    held: bool,
}

enum EntryState {
    Queued {
        /// Our own patience; a nudge ends it.
        not_before: Option<Instant>,
        /// Wait that the server asked for; only the person ends it, by a retry.
        floor: Option<Instant>,
    },
    Sending,
    Sent {
        at: Instant,
    },
    Wedged,
}

impl EntryState {
    /// The state of an entry that is sent as soon as it is its turn.
    const NOW: Self = Self::Queued { not_before: None, floor: None };
}

impl OutboxEntry {
    /// An entry of a new intent.
    pub(crate) fn new(id: String, intent: Intent, created_at: String) -> Self {
        Self {
            id,
            intent,
            created_at,
            state: EntryState::NOW,
            reason: None,
            attempts: 0,
            accepted: 0,
            tried: false,
            tried_before: false,
            held: false,
        }
    }

    /// An entry as it was stored; `None` when it cannot be understood (a newer version wrote it).
    pub(crate) fn restore(row: OutboxRow) -> Option<Self> {
        let intent = serde_json::from_str(&row.intent).ok()?;
        let mut entry = Self::new(row.id, intent, row.created_at);
        entry.tried = row.tried;
        if let Some(reason) = row.wedged {
            entry.state = EntryState::Wedged;
            entry.reason = Some(reason);
        }
        Some(entry)
    }

    /// The entry as it is stored.
    pub(crate) fn row(&self, session: &str) -> OutboxRow {
        let wedged = matches!(self.state, EntryState::Wedged);
        OutboxRow {
            id: self.id.clone(),
            session: session.to_owned(),
            intent: serde_json::to_string(&self.intent).expect("an intent is plain data"),
            created_at: self.created_at.clone(),
            wedged: wedged.then(|| self.reason.clone().unwrap_or_default()),
            tried: self.tried,
        }
    }

    /// The id of the message it makes, if it makes one.
    pub(crate) fn message_id(&self) -> Option<String> {
        match &self.intent {
            Intent::SendMessage { message_id, .. } => Some(message_id.to_string()),
            _ => None,
        }
    }

    /// The local echo as an item (L7: the id is the message's).
    pub(crate) fn item(&self, actor: &str) -> Option<Item> {
        let Intent::SendMessage { message_id, text, files, .. } = &self.intent else { return None };
        Some(Item {
            id: message_id.to_string(),
            meta: ItemMeta {
                role: Role::User,
                actor_id: Some(actor.to_owned()),
                created_at: Some(self.created_at.clone()),
                is_complete: true,
                ended_at: None,
                usage: None,
                error: None,
                stopped: None,
                finish_reason: None,
                has_gap: false,
                refused: 0,
                delivery: Some(self.delivery()),
            },
            parts: (!text.is_empty())
                .then(|| Part::text(text.clone()))
                .into_iter()
                .chain(files.iter().cloned().map(Part::File))
                .collect(),
        })
    }

    /// Whether a request for it is under way.
    pub(crate) fn is_sending(&self) -> bool {
        matches!(self.state, EntryState::Sending)
    }

    /// Whether the server has said that it has it.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.state, EntryState::Sent { .. })
    }

    /// Whether the session comes from it, so that nothing else can go before.
    fn makes_session(&self) -> bool {
        matches!(self.intent, Intent::CreateSession { .. } | Intent::Fork { .. })
    }

    /// Progress of the entry, for its item.
    pub(crate) fn delivery(&self) -> Delivery {
        Delivery { state: self.state(), entry_id: self.id.clone(), reason: self.reason.clone() }
    }

    /// Time that the echo may take, longer each time that the entry was accepted.
    fn patience(&self) -> Duration {
        ECHO_PATIENCE * (1 << self.accepted.saturating_sub(1).min(5))
    }

    fn state(&self) -> DeliveryState {
        match self.state {
            EntryState::Queued { .. } => DeliveryState::Queued,
            EntryState::Sending => DeliveryState::Sending,
            EntryState::Sent { .. } => DeliveryState::Sent,
            EntryState::Wedged => DeliveryState::Wedged,
        }
    }

    fn summary(&self) -> OutboxItem {
        let option_id = match &self.intent {
            Intent::RespondApproval { option_id, .. } => option_id.clone(),
            _ => None,
        };
        let (approval_id, message_id, approved) = match &self.intent {
            Intent::RespondApproval { approval_id, message_id, approved, .. } => {
                (Some(approval_id.clone()), message_id.clone(), Some(*approved))
            }
            Intent::Regenerate { message_id } => (None, Some(message_id.clone()), None),
            _ => (None, None, None),
        };
        OutboxItem {
            entry_id: self.id.clone(),
            kind: kind(&self.intent),
            state: self.state(),
            reason: self.reason.clone(),
            approval_id,
            message_id,
            approved,
            option_id,
            created_at: self.created_at.clone(),
        }
    }
}

fn kind(intent: &Intent) -> OutboxKind {
    match intent {
        Intent::CreateSession { .. } => OutboxKind::CreateSession,
        Intent::Fork { .. } => OutboxKind::ForkSession,
        Intent::SendMessage { .. } => OutboxKind::SendMessage,
        Intent::RespondApproval { .. } => OutboxKind::RespondApproval,
        Intent::Regenerate { .. } => OutboxKind::Regenerate,
        Intent::SetAgentOption { .. } => OutboxKind::SetAgentOption,
        Intent::Stop { .. } => OutboxKind::Stop,
        Intent::Rename { .. } => OutboxKind::Rename,
        Intent::DeleteSession => OutboxKind::DeleteSession,
    }
}

/// The text a message intent says.
pub(crate) fn text_of(intent: &Intent) -> Option<&str> {
    match intent {
        Intent::SendMessage { text, .. } => Some(text),
        _ => None,
    }
}

/// The entries of one session, the oldest first.
#[derive(Default)]
pub(crate) struct Outbox {
    entries: Vec<OutboxEntry>,
}

impl Outbox {
    /// The entries as they were stored, in order.
    pub(crate) fn restore(rows: Vec<OutboxRow>) -> Self {
        let mut outbox = Self::default();
        for row in rows {
            outbox.restore_one(row);
        }
        outbox
    }

    /// Adds an entry as it was stored.
    pub(crate) fn restore_one(&mut self, row: OutboxRow) {
        let id = row.id.clone();
        match OutboxEntry::restore(row) {
            Some(entry) => self.entries.push(entry),
            // It stays on the disk, for a version that understands it.
            None => tracing::warn!(%id, "an outbox entry could not be understood"),
        }
    }

    /// The title the person asked for last.
    pub(crate) fn title(&self) -> Option<&str> {
        self.entries.iter().rev().find_map(|entry| match &entry.intent {
            Intent::Rename { title } | Intent::CreateSession { title: Some(title), .. } => {
                Some(title.as_str())
            }
            _ => None,
        })
    }

    /// The first text that waits to be said.
    pub(crate) fn first_text(&self) -> Option<&str> {
        self.entries.iter().find_map(|entry| text_of(&entry.intent))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &OutboxEntry> {
        self.entries.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&OutboxEntry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut OutboxEntry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// Entries as the window shows them.
    pub(crate) fn summary(&self) -> Vec<OutboxItem> {
        self.entries.iter().map(OutboxEntry::summary).collect()
    }

    /// Whether something is on its way or waits for its turn (not for the person).
    pub(crate) fn is_busy(&self) -> bool {
        self.entries.iter().any(|entry| !matches!(entry.state, EntryState::Wedged))
    }

    /// Whether the session still has to be made on the server.
    pub(crate) fn makes_session(&self) -> bool {
        self.entries.iter().any(OutboxEntry::makes_session)
    }

    pub(crate) fn push(&mut self, entry: OutboxEntry) {
        self.entries.push(entry);
    }

    /// The entry to send now: the first that the server does not have, unless it must wait.
    pub(crate) fn due(&self, now: Instant) -> Option<&OutboxEntry> {
        let entry = self.first_unsent()?;
        match entry.state {
            EntryState::Queued { not_before, floor } => {
                let waits = not_before.max(floor).is_some_and(|at| at > now);
                (!waits && !entry.held).then_some(entry)
            }
            EntryState::Sending | EntryState::Sent { .. } | EntryState::Wedged => None,
        }
    }

    fn first_unsent(&self) -> Option<&OutboxEntry> {
        for entry in &self.entries {
            match entry.state {
                EntryState::Sent { .. } => {}
                EntryState::Wedged if entry.makes_session() => return None,
                EntryState::Wedged => {}
                EntryState::Queued { .. } | EntryState::Sending => return Some(entry),
            }
        }
        None
    }

    /// Time at which [`Outbox::due`] may next have something; or, with a live line, on which an
    /// echo would come, [`Outbox::resend_unechoed`].
    pub(crate) fn wake_at(&self, live: bool) -> Option<Instant> {
        let retry = self.first_unsent().and_then(|entry| match entry.state {
            EntryState::Queued { not_before, floor } if !entry.held => not_before.max(floor),
            _ => None,
        });
        let echo = self.entries.iter().filter_map(|entry| match entry.state {
            EntryState::Sent { at } if live => Some(at + entry.patience()),
            _ => None,
        });
        retry.into_iter().chain(echo).min()
    }

    /// Sends again what the server accepted and the stream has not shown for too long. Returns the
    /// entries for which that is pointless: what they wanted to stop had ended by itself.
    pub(crate) fn resend_unechoed(&mut self, now: Instant) -> Vec<String> {
        let mut pointless = Vec::new();
        for entry in &mut self.entries {
            if !matches!(entry.state, EntryState::Sent { at } if at + entry.patience() <= now) {
                continue;
            }
            if entry.accepted >= 2 && matches!(entry.intent, Intent::Stop { .. }) {
                pointless.push(entry.id.clone());
            } else {
                entry.state = EntryState::NOW;
            }
        }
        pointless
    }

    /// Ends the waits: the network is back, the machine woke up, or something else got through.
    /// What a server asked for (`Retry-After`) is kept to all the same.
    pub(crate) fn nudge(&mut self) {
        for entry in &mut self.entries {
            if let EntryState::Queued { not_before, .. } = &mut entry.state {
                *not_before = None;
            }
        }
    }

    /// Holds an entry that the person changes or discards: it is not sent until that is on the
    /// disk.
    pub(crate) fn hold(&mut self, id: &str) {
        if let Some(entry) = self.get_mut(id) {
            entry.held = true;
        }
    }

    /// Ends a hold whose change could not be saved: all is as it was.
    pub(crate) fn release(&mut self, id: &str) {
        if let Some(entry) = self.get_mut(id) {
            entry.held = false;
        }
    }

    /// Gives up the request under way: nobody knows what became of it.
    pub(crate) fn give_up(&mut self) {
        for entry in &mut self.entries {
            if entry.is_sending() {
                entry.state = EntryState::NOW;
            }
        }
    }

    /// Takes note that a request for an entry begins. Returns whether that must be remembered
    /// first: it is the first.
    pub(crate) fn sending(&mut self, id: &str) -> bool {
        self.get_mut(id).is_some_and(|entry| {
            entry.state = EntryState::Sending;
            entry.tried_before = std::mem::replace(&mut entry.tried, true);
            !entry.tried_before
        })
    }

    /// Takes note that the server surely did not take the last request: it was never reached, or it
    /// refused. Returns whether it surely has none of the requests before either.
    pub(crate) fn not_delivered(&mut self, id: &str) -> bool {
        self.get_mut(id).is_some_and(|entry| {
            entry.tried = entry.tried_before;
            !entry.tried
        })
    }

    /// Takes note that the server has an entry. The entry stays until its echo is seen (L6).
    pub(crate) fn sent(&mut self, id: &str, now: Instant) {
        if let Some(entry) = self.get_mut(id) {
            entry.state = EntryState::Sent { at: now };
            entry.reason = None;
            entry.attempts = 0;
            entry.accepted = entry.accepted.saturating_add(1);
        }
    }

    /// Plans another attempt after a failure that may pass.
    pub(crate) fn failed(
        &mut self,
        id: &str,
        reason: String,
        floor: Option<Duration>,
        now: Instant,
    ) {
        if let Some(entry) = self.get_mut(id) {
            let not_before = RETRY.delay(entry.attempts, None).map(|wait| now + wait);
            entry.attempts = entry.attempts.saturating_add(1);
            let floor = floor.map(|floor| now + floor.min(LONGEST_FLOOR));
            entry.state = EntryState::Queued { not_before, floor };
            entry.reason = Some(reason);
        }
    }

    /// Starts over with another server, or another way to it: what was under way is given up, and
    /// nothing waits.
    pub(crate) fn start_over(&mut self) {
        for entry in &mut self.entries {
            if matches!(entry.state, EntryState::Sending | EntryState::Queued { .. }) {
                entry.state = EntryState::NOW;
            }
        }
    }

    /// Wedges an entry that was refused for good: the person decides.
    pub(crate) fn wedge(&mut self, id: &str, reason: String) {
        if let Some(entry) = self.get_mut(id) {
            entry.state = EntryState::Wedged;
            entry.reason = Some(reason);
        }
    }

    /// Tries an entry again as the person wants it, perhaps with another intent.
    pub(crate) fn retry(&mut self, id: &str, intent: Option<Intent>) -> Option<&OutboxEntry> {
        let entry = self.get_mut(id)?;
        if let Some(intent) = intent {
            entry.intent = intent;
        }
        entry.held = false;
        if !entry.is_sending() {
            entry.state = EntryState::NOW;
        }
        entry.reason = None;
        entry.attempts = 0;
        Some(entry)
    }

    /// Whether the server may have it already, so that it cannot be changed any more.
    pub(crate) fn may_be_delivered(&self, id: &str) -> bool {
        self.get(id).is_some_and(|entry| entry.tried)
    }

    /// Takes an entry out: its echo was seen, or the person discarded it (L6).
    pub(crate) fn remove(&mut self, id: &str) -> Option<OutboxEntry> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        Some(self.entries.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use session_protocol::api::SendMode;

    use super::*;

    fn message(id: &str) -> OutboxEntry {
        let intent = Intent::SendMessage {
            message_id: uuid::Uuid::new_v4(),
            text: "hello".to_owned(),
            files: vec![],
            mode: SendMode::Queue,
        };
        OutboxEntry::new(id.to_owned(), intent, "2026-01-01T00:00:00Z".to_owned())
    }

    fn due(outbox: &Outbox, now: Instant) -> Option<&str> {
        outbox.due(now).map(|entry| entry.id.as_str())
    }

    #[test]
    fn entries_leave_one_after_the_other() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.push(message("a"));
        outbox.push(message("b"));
        assert_eq!(due(&outbox, now), Some("a"));
        outbox.sending("a");
        assert_eq!(due(&outbox, now), None, "b waits while a is on its way");
        outbox.sent("a", now);
        assert_eq!(due(&outbox, now), Some("b"));
        assert_eq!(outbox.len(), 2, "sent is not gone: only the echo takes it out");
    }

    #[test]
    fn a_failure_holds_back_what_follows_until_its_wait_is_over_or_a_nudge() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.push(message("a"));
        outbox.push(message("b"));
        outbox.sending("a");
        outbox.failed("a", "no connection".to_owned(), None, now);
        assert_eq!(due(&outbox, now), None);
        let wake = outbox.wake_at(false).expect("it will be tried again");
        assert_eq!(due(&outbox, wake), Some("a"));
        outbox.nudge();
        assert_eq!(due(&outbox, now), Some("a"));
    }

    #[test]
    fn what_a_server_asked_for_is_kept_to_unless_the_person_retries() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.push(message("a"));
        let asked = Duration::from_secs(90);
        outbox.sending("a");
        outbox.failed("a", "too many requests".to_owned(), Some(asked), now);
        outbox.nudge();
        assert_eq!(due(&outbox, now + asked / 2), None);
        assert_eq!(due(&outbox, now + asked), Some("a"));
        outbox.retry("a", None);
        assert_eq!(due(&outbox, now), Some("a"));
        // Nobody may be silenced for a day.
        outbox.sending("a");
        outbox.failed("a", "too many requests".to_owned(), Some(asked * 1000), now);
        assert_eq!(due(&outbox, now + LONGEST_FLOOR), Some("a"));
    }

    #[test]
    fn an_entry_that_the_person_is_changing_is_not_sent() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.push(message("a"));
        outbox.push(message("b"));
        outbox.hold("a");
        assert_eq!(due(&outbox, now), None, "and nothing goes before it");
        outbox.release("a");
        assert_eq!(due(&outbox, now), Some("a"));
        outbox.hold("a");
        outbox.retry("a", None);
        assert_eq!(due(&outbox, now), Some("a"));
    }

    #[test]
    fn a_refusal_says_nothing_of_the_requests_before() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.push(message("a"));
        assert!(outbox.sending("a"));
        assert!(outbox.not_delivered("a"), "refused at once");
        assert!(!outbox.may_be_delivered("a"));
        outbox.sending("a");
        outbox.failed("a", "no answer".to_owned(), None, now);
        assert!(!outbox.sending("a"));
        assert!(!outbox.not_delivered("a"), "the first request may have got through");
        assert!(outbox.may_be_delivered("a"));
    }

    #[test]
    fn a_refused_entry_is_passed_over_and_waits_for_the_person() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.push(message("a"));
        outbox.push(message("b"));
        outbox.wedge("a", "too large".to_owned());
        assert_eq!(due(&outbox, now), Some("b"));
        outbox.retry("a", None);
        assert_eq!(due(&outbox, now), Some("a"));
    }

    #[test]
    fn nothing_goes_before_the_session_exists() {
        let mut outbox = Outbox::default();
        let intent = Intent::CreateSession { agents: vec![], title: None };
        outbox.push(OutboxEntry::new("c".to_owned(), intent, String::new()));
        outbox.push(message("a"));
        outbox.wedge("c", "not allowed".to_owned());
        assert_eq!(due(&outbox, Instant::now()), None);
    }

    #[test]
    fn what_was_sent_is_sent_again_when_its_echo_stays_away() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.push(message("a"));
        outbox.sending("a");
        outbox.sent("a", now);
        assert!(outbox.resend_unechoed(now).is_empty());
        assert_eq!(due(&outbox, now), None);
        assert_eq!(outbox.wake_at(false), None, "no echo can come without a line");
        let later = outbox.wake_at(true).expect("it looks again");
        assert!(outbox.resend_unechoed(later).is_empty());
        assert_eq!(due(&outbox, later), Some("a"));
    }

    #[test]
    fn a_stored_entry_comes_back_as_it_was() {
        let mut entry = message("a");
        entry.state = EntryState::Wedged;
        entry.reason = Some("too large".to_owned());
        let back = OutboxEntry::restore(entry.row("s")).expect("it was written by us");
        assert_eq!(back.intent, entry.intent);
        assert_eq!(back.delivery().reason.as_deref(), Some("too large"));
        assert_eq!(back.delivery().state, DeliveryState::Wedged);
    }
}
