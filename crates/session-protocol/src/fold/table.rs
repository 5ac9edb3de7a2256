//! The calls of one message, by their keys.
//!
//! Several calls may have one id; each has a key of its own, which is the id, and behind it a number for those that are
//! not the first.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::call::Call;

/// Separates the id of a call from its number among the calls of this id in the message.
const NTH: char = '\u{1f}';

/// Number of calls of one id that are looked at, the newest.
const LOOK: u32 = 32;

/// The key of a call inside its message: its id, and behind it its number when it is not the first of that id.
pub(super) fn call_key(id: &str, nth: u32) -> String {
    if nth == 0 { id.to_owned() } else { format!("{id}{NTH}{nth}") }
}

/// The key of a question that is about no call.
pub(super) fn question_key(approval: &str) -> String {
    format!("{NTH}{approval}")
}

/// The id in a call's key; empty for a question.
pub(super) fn call_id(key: &str) -> &str {
    key.split_once(NTH).map_or(key, |(id, _)| id)
}

/// Ids that several calls of a message have.
#[derive(Default, Serialize, Deserialize)]
struct Same {
    /// Number of the newest call of this id.
    newest: u32,
    /// Number of the call that the last start repeated, until it has a result.
    again: Option<u32>,
}

/// Keys of the calls whose arguments are not complete, in the order in which they were opened.
#[derive(Default, Serialize, Deserialize)]
struct OpenCalls {
    order: BTreeMap<u64, String>,
    places: HashMap<String, u64>,
    next: u64,
}

impl OpenCalls {
    /// Opens a call, unless it is open.
    fn insert(&mut self, key: &str) {
        if !self.places.contains_key(key) {
            self.places.insert(key.to_owned(), self.next);
            self.order.insert(self.next, key.to_owned());
            self.next += 1;
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(place) = self.places.remove(key) {
            self.order.remove(&place);
        }
    }

    /// All keys, in order.
    fn into_keys(self) -> impl Iterator<Item = String> {
        self.order.into_values()
    }
}

/// The calls of one message.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct CallTable {
    by_key: HashMap<String, Call>,
    /// Number of them that are questions about no call.
    questions: usize,
    /// Ids that calls have in common.
    same: HashMap<String, Same>,
    /// Calls whose arguments are not complete.
    open: OpenCalls,
}

impl CallTable {
    pub(super) fn get(&self, key: &str) -> Option<&Call> {
        self.by_key.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Call> {
        self.by_key.get_mut(key)
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Call)> {
        self.by_key.iter()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Call> {
        self.by_key.values_mut()
    }

    /// Number of calls, without questions.
    pub(super) fn count(&self) -> usize {
        self.by_key.len().saturating_sub(self.questions)
    }

    /// A call, whose arguments are to come.
    pub(super) fn insert(&mut self, key: &str, call: Call) {
        self.by_key.insert(key.to_owned(), call);
        self.open.insert(key);
    }

    /// A question that is about no call.
    pub(super) fn insert_question(&mut self, key: String, call: Call) {
        if self.by_key.insert(key, call).is_none() {
            self.questions += 1;
        }
    }

    /// Forgets a question; false when there is none.
    pub(super) fn remove_question(&mut self, key: &str) -> bool {
        let known = self.by_key.remove(key).is_some();
        self.questions -= usize::from(known && self.questions > 0);
        known
    }

    /// The arguments of a call are to come, or to be read again.
    pub(super) fn open(&mut self, key: &str) {
        self.open.insert(key);
    }

    /// The arguments of a call are complete.
    pub(super) fn close(&mut self, key: &str) {
        self.open.remove(key);
    }

    /// Keys of the calls whose arguments are not complete, in the order in which they were opened. They are closed.
    pub(super) fn take_open(&mut self) -> impl Iterator<Item = String> + use<> {
        std::mem::take(&mut self.open).into_keys()
    }

    fn newest(&self, call_id: &str) -> u32 {
        self.same.get(call_id).map_or(0, |same| same.newest)
    }

    /// The key of the newest call with this id.
    pub(super) fn key<'k>(&self, call_id: &'k str) -> Cow<'k, str> {
        match self.newest(call_id) {
            0 => Cow::Borrowed(call_id),
            nth => Cow::Owned(call_key(call_id, nth)),
        }
    }

    /// The newest calls with this id, the newest first.
    pub(super) fn keys(&self, call_id: &str) -> impl Iterator<Item = (u32, String)> + use<> {
        let newest = self.newest(call_id);
        let call_id = call_id.to_owned();
        (newest.saturating_sub(LOOK - 1)..=newest)
            .rev()
            .map(move |nth| (nth, call_key(&call_id, nth)))
    }

    /// The key of a call that comes after all others of its id.
    pub(super) fn next_key(&mut self, call_id: &str) -> String {
        let same = self.same.entry(call_id.to_owned()).or_default();
        same.newest = same.newest.saturating_add(1);
        same.again = None;
        call_key(call_id, same.newest)
    }

    /// The last start of this id repeated the call of this number, or nobody can tell.
    pub(super) fn said_again(&mut self, call_id: &str, nth: Option<u32>) {
        self.same.entry(call_id.to_owned()).or_default().again = nth;
    }

    /// The call that the last start of this id repeated, once.
    pub(super) fn take_again(&mut self, call_id: &str) -> Option<String> {
        let nth = self.same.get_mut(call_id)?.again.take()?;
        Some(call_key(call_id, nth))
    }

    /// Forgets the calls of an id whose parts were at this place or behind it; their keys.
    pub(super) fn forget(&mut self, id: &str, start: usize) -> Vec<String> {
        let mut gone = Vec::new();
        for nth in (0..=self.newest(id)).rev() {
            let key = call_key(id, nth);
            if self.by_key.get(&key).is_none_or(|call| call.part < start) {
                break;
            }
            self.by_key.remove(&key);
            if let Some(same) = self.same.get_mut(id) {
                same.newest = nth.saturating_sub(1);
                same.again = None;
            }
            gone.push(key);
        }
        gone
    }

    /// Gives the parts of calls their new places; the keys of calls whose parts are gone, which are forgotten.
    pub(super) fn move_parts(&mut self, to: &HashMap<usize, usize>) -> Vec<String> {
        let mut gone = Vec::new();
        self.by_key.retain(|key, call| match to.get(&call.part) {
            Some(at) => {
                call.part = *at;
                true
            }
            None => {
                gone.push(key.clone());
                false
            }
        });
        gone
    }

    /// Takes a call of a snapshot, that is none from before; its key.
    pub(super) fn adopt(&mut self, key: &str, call: Call) -> String {
        let id = call_id(key);
        // A question is known by its own key.
        let key = if id.is_empty() || !self.by_key.contains_key(id) {
            key.to_owned()
        } else {
            let same = self.same.entry(id.to_owned()).or_default();
            same.newest = same.newest.saturating_add(1);
            call_key(id, same.newest)
        };
        if self.by_key.insert(key.clone(), call).is_none() && id.is_empty() {
            self.questions += 1;
        }
        key
    }

    /// All calls, by their parts.
    pub(super) fn into_calls(self) -> Vec<(String, Call)> {
        let mut calls: Vec<_> = self.by_key.into_iter().collect();
        calls.sort_by_key(|(_, call)| call.part);
        calls
    }

    /// Sets the calls that are open, as far as their arguments are not complete.
    pub(super) fn set_open(&mut self, keys: impl Iterator<Item = String>) {
        self.open = OpenCalls::default();
        for key in keys {
            let call = self.by_key.get(&key);
            if call.is_some_and(|call| !call.ready || call.repeated.is_some()) {
                self.open.insert(&key);
            }
        }
    }
}
