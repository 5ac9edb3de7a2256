//! What the server must know about a session to write to it: the fold of the stream without its text, and beside it
//! what no fold has.
//!
//! The fold is the one that windows show ([`SessionFold::without_texts`], law L17): what a chunk means is written down
//! there and nowhere else, so that the server waits for nothing that no window asks. Beside it stand the rows of agents
//! and people as they were written, and the wishes that were granted. All of it is rebuilt from the stream whenever a
//! session is opened, and kept up by the same function for every event that the server appends, so that memory and
//! stream cannot drift. Whole messages with their text are folded elsewhere, and only when an agent needs its history.

mod wish;

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::{Value, value::RawValue};

use session_protocol::{
    AskKind, CallView, Event, MessageRun, RequestView, Role, SessionFold, decode,
    event::{Control, Operation, RowEvent},
};

use self::wish::Wishes;
pub(crate) use self::wish::{TxidUsed, Wish};

/// What is known of one session.
pub(crate) struct RunBook {
    fold: SessionFold,
    wishes: Wishes,
    agents: BTreeMap<String, Value>,
    /// Registration order of agents.
    agent_order: Vec<String>,
    presence: BTreeMap<String, Value>,
}

impl RunBook {
    /// The book of an empty session.
    pub(crate) fn new() -> Self {
        Self::with_rows_of(HashSet::new())
    }

    /// The same, which keeps the rows of these messages: what is late or changed among them is folded anew.
    pub(crate) fn with_rows_of(messages: HashSet<String>) -> Self {
        Self {
            fold: SessionFold::without_texts("", messages),
            wishes: Wishes::default(),
            agents: BTreeMap::new(),
            agent_order: Vec::new(),
            presence: BTreeMap::new(),
        }
    }

    /// Messages of which the stream must be read again, with their rows kept.
    pub(crate) fn torn(&self) -> impl Iterator<Item = &str> {
        self.fold.torn()
    }

    /// Takes one item of the stream, in stream order. Items that mean nothing to the server change nothing (L9).
    pub(crate) fn apply(&mut self, item: &[u8]) {
        let event = decode(item);
        match &event {
            Event::Chunk(row) if row.operation != Operation::Delete => self.wishes.chunk(row),
            Event::Agent(row) => self.agent_row(row),
            Event::Presence(row) => match row.value {
                Some(value) => merge(&mut self.presence, &row.key, value),
                None => drop(self.presence.remove(&*row.key)),
            },
            Event::Other(row) if row.type_ == "ack" => {
                self.wishes.ack(&row.key, row.value.map(RawValue::get));
            }
            Event::Control(Control::Reset) => {
                *self = Self { fold: std::mem::take(&mut self.fold), ..Self::new() };
            }
            _ => {}
        }
        self.fold.take(&event, &mut ());
    }

    fn agent_row(&mut self, row: &RowEvent<'_>) {
        match row.value {
            Some(value) => {
                if !self.agents.contains_key(&*row.key) {
                    self.agent_order.push(row.key.clone().into_owned());
                }
                merge(&mut self.agents, &row.key, value);
            }
            None => {
                self.agents.remove(&*row.key);
                self.agent_order.retain(|id| *id != row.key);
            }
        }
    }

    /// Keeps the words that an agent says in a message from now on, so many bytes at most.
    pub(crate) fn listen(&mut self, message_id: &str, most: usize) {
        self.fold.listen(message_id, most);
    }

    /// What was said in a message since [`Self::listen`].
    pub(crate) fn heard(&self, message_id: &str) -> String {
        self.fold.heard(message_id)
    }

    /// Drops what was heard in a message.
    pub(crate) fn hear_no_more(&mut self, message_id: &str) {
        self.fold.hear_no_more(message_id);
    }

    /// The message with this id.
    pub(crate) fn message(&self, id: &str) -> Option<MessageRun<'_>> {
        self.fold.run(id)
    }

    /// All messages, in their order.
    pub(crate) fn messages(&self) -> impl Iterator<Item = MessageRun<'_>> {
        self.fold.runs()
    }

    /// The messages that answer a person's message, or the next ones before a person spoke again, and failed with
    /// answers that their agent was told: agent and message.
    pub(crate) fn owed_after(&self, message_id: &str) -> HashMap<String, String> {
        let later = self.messages().skip_while(|run| run.message_id() != message_id);
        let answers = later
            .enumerate()
            .take_while(|(n, run)| *n == 0 || run.role() != Role::User || run.is_hidden());
        let owed = answers.filter(|(_, run)| !run.deliveries().owed.is_empty());
        owed.map(|(_, run)| (run.actor_id().to_owned(), run.message_id().to_owned())).collect()
    }

    /// Keys of rows that exist, of messages that began before an item of the stream; so many at most.
    pub(crate) fn row_keys(&self, before: u64, most: usize) -> Vec<String> {
        self.fold.row_keys(before, most)
    }

    /// The next sequence number of a message: one after the highest in the stream.
    pub(crate) fn next_seq(&mut self, message_id: &str) -> u64 {
        self.fold.next_seq(message_id, &mut ())
    }

    /// The approval with this id, when its request is in the stream: in this message, or else the newest.
    pub(crate) fn approval(&self, id: &str, message_id: Option<&str>) -> Option<RequestView<'_>> {
        self.fold.request(id, message_id)
    }

    /// Messages in which an approval of this id waits for an answer, the oldest first.
    pub(crate) fn asking(&self, id: &str) -> Vec<String> {
        self.fold.asking(id, Timestamp::now())
    }

    /// Messages in which a call of this id waits for a result that a client may give, the oldest first.
    pub(crate) fn waiting_for(&self, id: &str) -> Vec<String> {
        self.fold.waiting_for(id)
    }

    /// The tool call with this id, when it is in the stream: in this message, or else the newest.
    pub(crate) fn tool_call(&self, id: &str, message_id: Option<&str>) -> Option<CallView<'_>> {
        self.fold.call(id, message_id)
    }

    /// Whether a message still waits: for an answer, or for results of calls that its agent may run itself.
    pub(crate) fn is_waiting(&self, message_id: &str) -> bool {
        self.fold.is_waiting(message_id, Timestamp::now())
    }

    /// Whether a message waits for a person or a client, as its agent said: an open approval, or a tool that the client
    /// must run.
    pub(crate) fn is_asking(&self, message_id: &str) -> bool {
        self.fold.is_asking(message_id, Timestamp::now())
    }

    /// Approvals of a message that nobody has answered, in the order in which they were asked for.
    pub(crate) fn open_asks(&self, message_id: &str) -> Vec<String> {
        let asks = self.fold.asks_in(message_id, Timestamp::now());
        let mut open: Vec<_> = asks.filter(|ask| ask.kind != AskKind::Call).collect();
        open.sort();
        let mut ids: Vec<String> = open.into_iter().map(|ask| ask.id).collect();
        ids.dedup();
        ids
    }

    /// Requests of a message's last run that nobody answered in time.
    pub(crate) fn withdrawn(&self, message_id: &str) -> impl Iterator<Item = RequestView<'_>> {
        self.fold.withdrawn_in(message_id, Timestamp::now())
    }

    /// When the next request is withdrawn.
    pub(crate) fn expires_next(&self) -> Option<Timestamp> {
        self.fold.expires_next()
    }

    /// Whether requests were withdrawn since this was asked last.
    pub(crate) fn take_expired(&mut self, now: Timestamp) -> bool {
        self.fold.take_expired(now)
    }

    /// Registered agents, in the order of their registration: `(agentId, public fields)`.
    pub(crate) fn agents(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.agent_order.iter().filter_map(|id| self.agents.get_key_value(id))
    }

    /// The public fields of an agent.
    pub(crate) fn agent(&self, id: &str) -> Option<&Value> {
        self.agents.get(id)
    }

    /// The title last given to the session.
    pub(crate) fn title(&self) -> Option<&str> {
        self.fold.title()
    }

    /// The session that this one is a copy of.
    pub(crate) fn origin(&self) -> Option<&Value> {
        self.fold.settings().get("forkedFrom")
    }

    /// Items of the stream so far.
    pub(crate) fn items(&self) -> u64 {
        self.fold.position()
    }

    /// Presence rows by key.
    pub(crate) fn presence(&self) -> &BTreeMap<String, Value> {
        &self.presence
    }

    /// Whether the transaction id of a wish is in the stream, wherever.
    pub(crate) fn shows(&self, wish: Wish, txid: &str) -> bool {
        self.wishes.shows(wish, txid)
    }

    /// The message that a wish of this kind about this thing was written into, when it was granted before.
    ///
    /// # Errors
    ///
    /// The transaction id was used for another thing.
    pub(crate) fn granted(
        &self,
        wish: Wish,
        txid: Option<&str>,
        thing: &str,
    ) -> Result<Option<&str>, TxidUsed> {
        self.wishes.granted(wish, txid, thing)
    }

    /// The message that a client's transaction id was written into, for a wish of this kind.
    pub(crate) fn by_txid(&self, wish: Wish, txid: &str) -> Option<&str> {
        self.wishes.by_txid(wish, txid)
    }

    /// Whether there was a message with this id, which was deleted.
    pub(crate) fn was_deleted(&self, message_id: &str) -> bool {
        self.fold.was_deleted(message_id)
    }
}

/// Readers merge rows shallowly, so the server does too.
fn merge(rows: &mut BTreeMap<String, Value>, key: &str, value: &RawValue) {
    let Ok(Value::Object(fields)) = serde_json::from_str(value.get()) else { return };
    match rows.get_mut(key) {
        Some(Value::Object(row)) => row.extend(fields),
        _ => {
            rows.insert(key.to_owned(), Value::Object(fields));
        }
    }
}

#[cfg(test)]
mod tests;
