//! Forks: a session that begins with the history of another, up to and including a message.
//!
//! The stream server branches off where something begins that the fork must not hold: a row of a later message, which
//! may stand before the last row of an earlier one. What belongs to the history behind that place is appended in the same
//! step; who was there is deleted in the fork. Where the server cannot fork, the same items are copied. Nothing is
//! remembered in between: a request that is repeated after a crash finds a stream that holds the beginning of the same
//! items, and goes on from there.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use session_protocol::AgentSpec;

use super::Session;
use crate::{problem::Problem, store::Op};

/// Where a fork comes from.
pub(crate) struct Origin {
    pub(crate) session_id: String,
    pub(crate) message_id: Option<String>,
    pub(crate) actor_id: String,
}

impl Origin {
    /// Names the fork, too: what it inherits may hold the mark of an earlier one.
    fn mark(&self, into: &str) -> Value {
        json!({"sessionId": self.session_id, "messageId": self.message_id, "into": into})
    }
}

/// The agents that come along.
pub(crate) struct Company {
    registered: Vec<AgentSpec>,
    /// Brought by messages; they may be waited for in an approval.
    inline: Vec<AgentSpec>,
}

/// The part of a session that a fork takes over.
pub(crate) struct Cut {
    /// So many items from the beginning hold all of it.
    pub(crate) items: usize,
    /// So many items from the beginning hold nothing of later messages.
    pub(crate) branch: usize,
    /// Items among them that belong to something else.
    foreign: Vec<bool>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Option<Owner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    #[serde(default)]
    message_id: Option<String>,
}

/// Where a message stands in the stream.
struct Place {
    /// The message's id, shared by its items.
    name: Arc<str>,
    first: usize,
    last: usize,
    rows: u64,
}

/// Where the messages of a session stand, taken down while it is read.
#[derive(Default)]
pub(crate) struct Survey {
    places: HashMap<String, Place>,
    /// The message of each item, and whether it tells who was there.
    owners: Vec<(Option<Arc<str>>, bool)>,
}

impl Survey {
    /// Takes the next item of the session.
    pub(crate) fn take(&mut self, item: &[u8]) {
        let at = self.owners.len();
        let Ok(item) = serde_json::from_slice::<Item>(item) else {
            self.owners.push((None, false));
            return;
        };
        let named = item.value.and_then(|value| value.message_id);
        let deleted = named.is_none();
        let named = named.or_else(|| Some(item.key.rsplit_once(':')?.0.to_owned()));
        let owner = named.filter(|_| item.r#type == "chunk").map(|owner| {
            let new = || Place { name: owner.as_str().into(), first: at, last: at, rows: 0 };
            let place = self.places.entry(owner.clone()).or_insert_with(new);
            place.last = at;
            place.rows = if deleted { place.rows.saturating_sub(1) } else { place.rows + 1 };
            Arc::clone(&place.name)
        });
        self.owners.push((owner, item.r#type == "presence"));
    }

    /// The history up to and including a message, or all of it.
    ///
    /// # Errors
    ///
    /// The message is not in the session.
    pub(crate) fn cut(mut self, message_id: Option<&str>) -> Result<Cut, Problem> {
        let (end, keep) = match message_id {
            None => (self.owners.len(), None),
            Some(id) => {
                let chosen = self.places.get(id).filter(|place| place.rows > 0);
                let Some(chosen) = chosen.map(|place| place.first) else {
                    return Err(Problem::not_found("MESSAGE_NOT_FOUND", "Message not found"));
                };
                let before = || self.places.iter().filter(|(_, place)| place.first <= chosen);
                let end = before().map(|(_, place)| place.last + 1).max().unwrap_or(0);
                (end, Some(before().map(|(id, _)| id.clone()).collect::<HashSet<_>>()))
            }
        };
        self.owners.truncate(end);
        let (mut branch, mut foreign) = (end, Vec::with_capacity(end));
        for (at, (owner, presence)) in self.owners.into_iter().enumerate() {
            let later = match (&keep, owner) {
                (Some(keep), Some(owner)) => !keep.contains(&*owner),
                _ => false,
            };
            if later {
                branch = branch.min(at);
            }
            foreign.push(presence || later);
        }
        Ok(Cut { items: end, branch, foreign })
    }
}

impl Cut {
    /// What follows the branch and belongs to the fork; `items` are those of the session from its beginning on.
    pub(crate) fn behind_branch(&self, items: &[Bytes]) -> Vec<Bytes> {
        self.own(items, self.branch)
    }

    fn own(&self, items: &[Bytes], from: usize) -> Vec<Bytes> {
        let own = items.iter().zip(&self.foreign).skip(from).filter(|(_, foreign)| !**foreign);
        own.map(|(item, _)| item.clone()).collect()
    }

    /// What is left to copy into a stream that holds `there` already; `None` when that is something else.
    pub(crate) fn rest(&self, items: &[Bytes], there: &[Bytes]) -> Option<Vec<Bytes>> {
        let branched = [&items[..self.branch], &self.behind_branch(items)].concat();
        if !branched.is_empty() && there.starts_with(&branched) {
            return Some(Vec::new()); // branched off by the stream server, and opened perhaps
        }
        let own = self.own(items, 0);
        if !own.is_empty() && there.starts_with(&own) {
            return Some(Vec::new());
        }
        own.strip_prefix(there).map(<[Bytes]>::to_vec)
    }
}

impl Session {
    /// The session's agents with their secrets, for a fork of it.
    pub(crate) fn company(&self) -> Company {
        let ids = self.ledger.agents().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        let inline = self.specs.values().filter(|spec| self.ledger.agent(&spec.id).is_none());
        Company {
            registered: ids.iter().filter_map(|id| self.spec(id)).collect(),
            inline: inline.cloned().collect(),
        }
    }

    /// Where it was forked from is known and is this.
    pub(crate) fn is_from(&self, origin: &Origin) -> bool {
        self.ledger.origin() == Some(&origin.mark(&self.id))
    }

    /// Somebody said something in it.
    pub(crate) fn has_messages(&self) -> bool {
        self.ledger.messages().next().is_some()
    }

    /// Nobody has made anything of it: no messages, agents or people.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.has_messages()
            && self.ledger.agents().next().is_none()
            && self.ledger.presence().is_empty()
    }

    /// Becomes a fork: takes what is left to copy and drops what does not belong to it. Repeating it with the same
    /// origin changes nothing.
    ///
    /// # Errors
    ///
    /// It is a fork of something else, or has been used since its stream was compared with the original's.
    pub(crate) fn adopt(
        &mut self,
        rest: Vec<Bytes>,
        was_empty: bool,
        company: Company,
        origin: &Origin,
    ) -> Result<(), Problem> {
        if self.is_from(origin) {
            return Ok(());
        }
        let into = self.ledger.origin().and_then(|known| known.get("into")?.as_str());
        let used =
            if was_empty { self.has_messages() } else { self.ledger.items() != self.opened_at };
        if into == Some(&self.id) || used {
            return Err(Problem::conflict("SESSION_EXISTS", "The new session exists already"));
        }
        self.batch.grows |= !rest.is_empty();
        for item in rest {
            self.push(item);
        }
        self.forget_presence();
        let gone: Vec<String> = self
            .ledger
            .agents()
            .filter(|(id, _)| company.registered.iter().all(|agent| agent.id != **id))
            .map(|(id, _)| id.clone())
            .collect();
        for agent in gone {
            self.unregister(&agent);
        }
        self.register(company.registered, true)?;
        company.inline.into_iter().for_each(|agent| self.keep_inline(agent));
        // What runs in the original, or is about to go on there, does not run here: it would act twice.
        let open = self.unfinished(|_, _, _| true);
        for plan in open.iter().chain(&self.decided()) {
            let message = "This went on in the session that this one was forked from.";
            self.push_failure(plan, "forked", message);
        }
        self.rest_all();
        let config = json!({"type": "config", "forkedFrom": origin.mark(&self.id), "forks": []});
        self.push_signal(&config, &origin.actor_id, None);
        if let Some(title) = self.ledger.title().map(str::to_owned) {
            self.batch.after.push(Op::Title { session_id: self.id.clone(), title });
        }
        self.touch();
        Ok(())
    }

    /// Names a fork of this session in its stream. Repeating it changes nothing.
    pub(crate) fn name_fork(&mut self, new: &str, origin: &Origin) {
        let mut forks = self.ledger.forks().to_vec();
        if forks.iter().any(|fork| fork.get("sessionId").and_then(Value::as_str) == Some(new)) {
            return;
        }
        forks.push(json!({"sessionId": new, "messageId": origin.message_id}));
        // Readers merge settings by name: the list is always complete.
        self.push_signal(&json!({"type": "config", "forks": forks}), &origin.actor_id, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{self, Role, Row};

    fn row(message: &str, seq: u64) -> Bytes {
        let row = Row {
            message_id: message,
            actor_id: "x",
            role: Role::User,
            chunk: "{}",
            txid: None,
            run: None,
        };
        event::chunk(row, seq, "now")
    }

    fn cut(items: &[Bytes], message_id: Option<&str>) -> Result<Cut, Problem> {
        let mut survey = Survey::default();
        items.iter().for_each(|item| survey.take(item));
        survey.cut(message_id)
    }

    #[test]
    fn a_cut_holds_the_messages_that_began_before_to_their_end() {
        let here = event::upsert("presence", "ann:d", &json!({"actorId": "ann"}));
        let items = [
            row("one", 0),
            row("two", 0),
            here.clone(),
            row("three", 0),
            row("two", 1),
            row("four", 0),
        ];
        let own = |id: Option<&str>| {
            let cut = cut(&items, id).unwrap();
            (cut.items, cut.rest(&items, &[]).unwrap())
        };
        let pick = |at: &[usize]| at.iter().map(|at| items[*at].clone()).collect::<Vec<_>>();
        assert_eq!(own(Some("one")), (1, pick(&[0])));
        assert_eq!(own(Some("two")), (5, pick(&[0, 1, 4])));
        assert_eq!(own(Some("three")), (5, pick(&[0, 1, 3, 4])));
        assert_eq!(own(None), (6, pick(&[0, 1, 3, 4, 5])));
        assert!(cut(&items, Some("five")).is_err());

        let cut = cut(&items, Some("two")).unwrap();
        assert_eq!((cut.branch, cut.behind_branch(&items)), (3, pick(&[4])));
        let branched = pick(&[0, 1, 2, 4]);
        assert_eq!(cut.rest(&items, &branched), Some(vec![]), "a fork");
        assert_eq!(cut.rest(&items, &pick(&[0, 1])), Some(pick(&[4])), "a copy that was cut off");
        assert_eq!(cut.rest(&items, &pick(&[1])), None, "something else");
    }

    #[test]
    fn a_message_that_was_deleted_is_unknown() {
        let items = [row("one", 0), event::delete("chunk", "one:0")];
        assert!(cut(&items, Some("one")).is_err());
        assert_eq!(cut(&items, None).unwrap().items, 2);
    }
}
