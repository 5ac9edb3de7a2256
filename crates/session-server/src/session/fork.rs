//! Forks: a session that begins with the history of another, up to and including a message.
//!
//! The stream server branches off where something begins that the fork must not hold: a row of a later message, which
//! may stand before the last row of an earlier one. What belongs to the history behind that place is copied, a page at
//! a time (`forking`); who was there is deleted in the fork. Where the server cannot fork, all of it is copied. Nothing
//! is remembered in between: a request that is repeated after a crash finds a stream that holds the beginning of the
//! same items, and goes on from there.
//!
//! Which session is a fork of which is in the server's database and not in the streams: who may read one fork does not
//! learn of the others. The fork's stream holds a mark that says nothing to anybody but this server.

use std::collections::HashMap;

use serde_json::{Value, json};
use session_protocol::authority::chunk_value;
use session_protocol::event::Operation;
use session_protocol::{AgentSpec, Event, decode};

use super::{MAX_AGENTS, Refusal, Session};
use crate::book::RunBook;
use crate::run::RunPlan;
use crate::store::Op;

/// Where a fork comes from.
pub(crate) struct Origin {
    pub(crate) session_id: String,
    pub(crate) message_id: Option<String>,
    pub(crate) actor_id: String,
}

impl Origin {
    /// The mark in a fork's stream that says where it comes from, to whoever knows the server's `secret`: what a fork
    /// inherits may hold the mark of an earlier one.
    fn mark(&self, into: &str, secret: &str) -> Value {
        let from = json!([secret, into, self.session_id, self.message_id]);
        json!({"mark": seal(&from), "into": seal(&json!([secret, into]))})
    }

    /// Whether a session says that it comes from here.
    fn is_of(&self, book: &RunBook, into: &str, secret: &str) -> bool {
        let known = book.origin();
        known == Some(&self.mark(into, secret)) || known == Some(&self.open_mark(into))
    }

    /// The mark as an earlier version wrote it.
    fn open_mark(&self, into: &str) -> Value {
        json!({"sessionId": self.session_id, "messageId": self.message_id, "into": into})
    }
}

/// The session that is there under a fork's id, by the index of its stream.
pub(crate) struct Found {
    /// Whether it is the fork.
    pub(crate) done: bool,
    /// Items of the stream, while nobody has said anything.
    pub(crate) unspoken: Option<u64>,
    /// Nobody has made anything of it: no messages, agents or people.
    pub(crate) untouched: bool,
}

impl Found {
    pub(crate) fn of(book: &RunBook, id: &str, origin: &Origin, secret: &str) -> Self {
        let unspoken = book.messages().next().is_none();
        Self {
            done: origin.is_of(book, id, secret),
            unspoken: unspoken.then(|| book.items()),
            untouched: unspoken && book.agents().next().is_none() && book.presence().is_empty(),
        }
    }
}

fn seal(value: &Value) -> String {
    blake3::hash(value.to_string().as_bytes()).to_hex()[..32].to_owned()
}

/// The agents that come along.
pub(crate) struct Company {
    registered: Vec<AgentSpec>,
    /// Brought by messages; they may be waited for in an approval.
    inline: Vec<AgentSpec>,
}

/// Owners of items that belong to no message.
const NOBODY: u32 = u32::MAX;
/// Says who was there.
const PRESENCE: u32 = u32::MAX - 1;
/// Names other sessions, as an earlier version wrote it.
const NAMES: u32 = u32::MAX - 2;

/// The part of a session that a fork takes over.
pub(crate) struct Cut {
    /// Number of items from the beginning that hold all of it.
    pub(crate) items: usize,
    /// Number of items from the beginning that hold nothing that the fork must not hold.
    pub(crate) branch: usize,
    owners: Vec<u32>,
    /// By message.
    keep: Vec<bool>,
}

/// Where a message stands in the stream.
struct MessagePlace {
    first: usize,
    last: usize,
    rows: u64,
    /// Whether it does nothing but name other sessions.
    names: bool,
}

/// Where the messages of a session stand, taken down while it is read: four bytes an item.
#[derive(Default)]
pub(crate) struct Survey {
    messages: HashMap<String, u32>,
    places: Vec<MessagePlace>,
    owners: Vec<u32>,
}

impl Survey {
    /// Takes the next item of the session.
    pub(crate) fn take(&mut self, item: &[u8]) {
        let owner = self.owner(item).unwrap_or(NOBODY);
        self.owners.push(owner);
    }

    fn owner(&mut self, item: &[u8]) -> Option<u32> {
        let at = self.owners.len();
        let row = match decode(item) {
            Event::Presence(_) => return Some(PRESENCE),
            Event::Chunk(row) => row,
            _ => return None,
        };
        let names = row.fields.chunk.as_deref().is_some_and(names_sessions);
        let deleted = row.operation == Operation::Delete;
        let name = row.message_id().to_owned();
        let new = u32::try_from(self.places.len()).ok().filter(|new| *new < NAMES)?;
        let message = *self.messages.entry(name).or_insert(new);
        if message == new {
            self.places.push(MessagePlace { first: at, last: at, rows: 0, names });
        }
        let place = &mut self.places[message as usize];
        place.last = at;
        place.rows = if deleted { place.rows.saturating_sub(1) } else { place.rows + 1 };
        Some(if names { NAMES } else { message })
    }

    /// The history up to and including a message, or all of it.
    ///
    /// # Errors
    ///
    /// The message is not in the session.
    pub(crate) fn cut(mut self, message_id: Option<&str>) -> Result<Cut, Refusal> {
        let chosen = match message_id {
            None => usize::MAX,
            Some(id) => {
                let place = self.messages.get(id).map(|message| &self.places[*message as usize]);
                let place = place.filter(|place| place.rows > 0);
                place.ok_or(Refusal::MessageNotFound)?.first
            }
        };
        let before = self.places.iter().filter(|place| place.first <= chosen);
        let end = match message_id {
            None => self.owners.len(),
            Some(_) => before.map(|place| place.last + 1).max().unwrap_or(0),
        };
        self.owners.truncate(end);
        let keep = self.places.iter().map(|place| place.first <= chosen && !place.names).collect();
        let mut cut = Cut { items: end, branch: end, owners: self.owners, keep };
        cut.branch = (0..end).find(|at| cut.must_go(*at)).unwrap_or(end);
        Ok(cut)
    }
}

/// Whether a chunk is a setting that names other sessions: looked for in its text, because most are something else.
fn names_sessions(chunk: &str) -> bool {
    let chunk = ["forks", "forkedFrom"].iter().any(|word| chunk.contains(word)).then_some(chunk);
    let Some(chunk) = chunk.and_then(chunk_value) else { return false };
    let names = chunk.get("forks").is_some() || chunk.get("forkedFrom").is_some();
    names && chunk.get("type").is_some_and(|kind| kind == "config")
}

impl Cut {
    /// Whether an item of the session is the fork's own, were all of it copied.
    pub(crate) fn is_own(&self, at: usize) -> bool {
        self.owners.get(at).is_some_and(|owner| *owner != PRESENCE) && !self.must_go(at)
    }

    fn must_go(&self, at: usize) -> bool {
        match self.owners[at] {
            NOBODY | PRESENCE => false,
            NAMES => true,
            message => !self.keep[message as usize],
        }
    }
}

impl Session {
    /// The session's agents with their secrets, for a fork of it.
    pub(crate) fn company(&self) -> Company {
        let ids = self.book.agents().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        let inline = self.specs.values().filter(|spec| self.book.agent(&spec.id).is_none());
        Company {
            registered: ids.iter().filter_map(|id| self.spec(id)).collect(),
            inline: inline.cloned().collect(),
        }
    }

    /// Becomes a fork, now that its stream holds what it takes over: drops what does not belong to it. Repeating it
    /// with the same origin changes nothing.
    ///
    /// # Errors
    ///
    /// It is a fork of something else, has been used since its stream was compared with the original's, or would have
    /// too many agents.
    pub(super) fn adopt(&mut self, company: Company, origin: &Origin) -> Result<(), Refusal> {
        let name = Op::NameFork {
            session_id: self.id.clone(),
            source: origin.session_id.clone(),
            message_id: origin.message_id.clone(),
        };
        if origin.is_of(&self.book, &self.id, &self.surroundings.instance) {
            self.effects.after.push(name);
            return Ok(());
        }
        let mark = origin.mark(&self.id, &self.surroundings.instance);
        let into = self.book.origin().and_then(|known| known.get("into"));
        let is_fork = into.is_some_and(|into| *into == mark["into"] || *into == self.id.as_str());
        if is_fork || self.book.items() != self.opened_at {
            return Err(Refusal::SessionExists);
        }
        if company.registered.len() > MAX_AGENTS {
            return Err(Refusal::TooManyAgents);
        }
        self.effects.after.push(name);
        self.forget_presence();
        let gone: Vec<String> = self
            .book
            .agents()
            .filter(|(id, _)| company.registered.iter().all(|agent| agent.id != **id))
            .map(|(id, _)| id.clone())
            .collect();
        for agent in gone {
            self.unregister(&agent);
        }
        self.register_checked(company.registered, true);
        company.inline.into_iter().for_each(|agent| self.keep_inline(agent));
        // What runs in the original, or is about to go on there, does not run here: it would act twice.
        let mut plans = self.unfinished(|_, _, _| true);
        for message_id in self.decided() {
            let told = self.undelivered(&message_id);
            let plan = self.resuming_run(&message_id, None);
            plans.extend(plan.map(|plan| RunPlan { told, ..plan }));
        }
        for plan in &plans {
            let message = "This went on in the session that this one was forked from.";
            self.push_failure(plan, "forked", message);
        }
        self.rest_all();
        let config = json!({"type": "config", "forkedFrom": mark});
        self.push_signal(&config, &origin.actor_id, None);
        if let Some(title) = self.book.title().map(str::to_owned) {
            self.effects.after.push(Op::Title { session_id: self.id.clone(), title });
        }
        self.touch();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{self, Role, Row};

    fn chunk(message: &str, seq: u64, chunk: &str) -> Bytes {
        let row = Row {
            message_id: message,
            actor_id: "x",
            role: Role::User,
            chunk,
            txid: None,
            run: None,
        };
        event::chunk(row, seq, "now")
    }

    fn row(message: &str, seq: u64) -> Bytes {
        chunk(message, seq, "{}")
    }

    fn cut(items: &[Bytes], message_id: Option<&str>) -> Result<Cut, Refusal> {
        let mut survey = Survey::default();
        items.iter().for_each(|item| survey.take(item));
        survey.cut(message_id)
    }

    fn own(cut: &Cut) -> Vec<usize> {
        (0..cut.items).filter(|at| cut.is_own(*at)).collect()
    }

    #[test]
    fn a_cut_holds_the_messages_that_began_before_to_their_end() {
        let here = event::upsert("presence", "ann:d", &json!({"actorId": "ann"}));
        let items =
            [row("one", 0), row("two", 0), here, row("three", 0), row("two", 1), row("four", 0)];
        let parts = |id: Option<&str>| {
            let cut = cut(&items, id).unwrap();
            (cut.items, cut.branch, own(&cut))
        };
        assert_eq!(parts(Some("one")), (1, 1, vec![0]));
        assert_eq!(parts(Some("two")), (5, 3, vec![0, 1, 4]));
        assert_eq!(parts(Some("three")), (5, 5, vec![0, 1, 3, 4]));
        assert_eq!(parts(None), (6, 6, vec![0, 1, 3, 4, 5]));
        assert!(cut(&items, Some("five")).is_err());
    }

    #[test]
    fn a_message_that_was_deleted_is_unknown() {
        let items = [row("one", 0), event::delete("chunk", "one:0")];
        assert!(cut(&items, Some("one")).is_err());
        assert_eq!(cut(&items, None).unwrap().items, 2);
    }

    #[test]
    fn what_names_other_sessions_stays_behind() {
        let forks = r#"{"type":"config","forks":[{"sessionId":"sibling"}]}"#;
        let talk = r#"{"type":"whole-message","text":"forks and forkedFrom"}"#;
        let stop = r#"{"type":"stop"}"#;
        let items = [
            chunk("one", 0, talk),
            chunk("name", 0, forks),
            chunk("name", 1, stop),
            chunk("two", 0, talk),
            chunk("two", 1, forks),
        ];
        let cut = cut(&items, None).unwrap();
        assert_eq!((cut.branch, own(&cut)), (1, vec![0, 3]));
    }
}
