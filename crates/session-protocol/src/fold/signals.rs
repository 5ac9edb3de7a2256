//! Matching answers and results with what they answer, by id, over the whole session.
//!
//! The same call id can occur in several messages (some models count from `call_0` every time), and an
//! answer can arrive before its request. So a signal belongs to the newest call of its id that stood in
//! the stream before it, or, when none did, to the first that comes after; where its own message holds
//! such calls, only those are looked at. That depends on positions and messages only, never on the order
//! of discovery, so any split of the log gives the same (L3).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::call::{ApprovalAnswer, Outcome};
use super::keys::row_key;
use super::log::merge_into;
use super::signal::{Signal, SignalKind};
use super::table::call_id;

/// A place in the session: a call, or the request of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Site {
    #[serde(rename = "p")]
    pub(crate) pos: u64,
    #[serde(rename = "m")]
    pub(crate) message: String,
    /// The call's key inside the message.
    #[serde(rename = "c")]
    pub(crate) call: String,
}

type SignalAt = (u64, u32);

/// Everything that is matched by id.
#[derive(Default)]
pub(crate) struct Signals {
    calls: Sites,
    requests: Sites,
    results: HashMap<String, Told>,
    answers: HashMap<String, Told>,
    configs: BTreeMap<SignalAt, Signal>,
    places: HashMap<SignalAt, Place>,
}

/// Signals about one id.
#[derive(Default)]
struct Told {
    all: BTreeMap<SignalAt, Signal>,
    /// Signals by the message that they stand in.
    by_message: HashMap<String, BTreeSet<SignalAt>>,
}

impl Told {
    fn insert(&mut self, at: SignalAt, signal: Signal) {
        self.by_message.entry(signal.message.clone()).or_default().insert(at);
        self.all.insert(at, signal);
    }

    fn remove(&mut self, at: SignalAt) {
        let Some(signal) = self.all.remove(&at) else { return };
        if let Some(places) = self.by_message.get_mut(&signal.message) {
            places.remove(&at);
            if places.is_empty() {
                self.by_message.remove(&signal.message);
            }
        }
    }

    /// Signals that belong to the site of this call in this message, oldest first.
    fn about(&self, sites: &[Site], message: &str, call: &str) -> Vec<&Signal> {
        let Some((from, to)) = window(sites.iter(), message, call) else { return Vec::new() };
        let within =
            |pos: u64, from: u64, to: Option<u64>| pos >= from && to.is_none_or(|to| pos < to);
        let others = self.all.range((from, 0)..).take_while(|((pos, _), _)| within(*pos, from, to));
        let others = others.filter(|(_, signal)| {
            signal.message != message && sites.iter().all(|site| site.message != signal.message)
        });
        let mut about: Vec<(&SignalAt, &Signal)> = others.collect();
        let here = sites.iter().filter(|site| site.message == message);
        if let (Some(own), Some((from, to))) =
            (self.by_message.get(message), window(here, message, call))
        {
            let own = own.iter().filter(|(pos, _)| within(*pos, from, to));
            about.extend(own.filter_map(|at| self.all.get_key_value(at)));
            about.sort_unstable_by_key(|(at, _)| **at);
        }
        about.into_iter().map(|(_, signal)| signal).collect()
    }
}

enum Place {
    Result(String),
    Answer(String),
    Config,
}

/// The ids that a change of the index may have changed elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Affected {
    /// Calls of this id.
    Call(String),
    /// Requests of this approval id.
    Approval(String),
    /// The settings.
    Config,
}

/// Sites by an id that several may have, oldest first.
#[derive(Default)]
struct Sites {
    by_id: HashMap<String, Vec<Site>>,
    /// Where the site of a call in a message stands, by id and row.
    places: HashMap<(String, String), u64>,
}

impl Sites {
    fn of(&self, id: &str) -> &[Site] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
    }

    /// Notes a site; true when it was not noted there.
    fn insert(&mut self, id: &str, site: Site) -> bool {
        let place = (id.to_owned(), row_key(&site.message, &site.call));
        match self.places.insert(place, site.pos) {
            Some(old) if old == site.pos => return false,
            Some(old) => drop(self.take(id, &Site { pos: old, ..site.clone() })),
            None => {}
        }
        let list = match self.by_id.get_mut(id) {
            Some(list) => list,
            None => self.by_id.entry(id.to_owned()).or_default(),
        };
        let at = list.partition_point(|s| *s < site);
        list.insert(at, site);
        true
    }

    /// Forgets the site of a call in a message; true when there was one.
    fn remove(&mut self, id: &str, message: &str, call: &str) -> bool {
        let place = (id.to_owned(), row_key(message, call));
        let Some(pos) = self.places.remove(&place) else { return false };
        self.take(id, &Site { pos, message: message.to_owned(), call: call.to_owned() })
    }

    fn take(&mut self, id: &str, site: &Site) -> bool {
        let Some(list) = self.by_id.get_mut(id) else { return false };
        let found = list.binary_search(site);
        if let Ok(at) = found {
            list.remove(at);
        }
        if list.is_empty() {
            self.by_id.remove(id);
        }
        found.is_ok()
    }
}

impl Signals {
    /// Notes a call; true when it was not noted there.
    pub(crate) fn add_call(&mut self, site: Site) -> bool {
        let id = call_id(&site.call).to_owned();
        self.calls.insert(&id, site)
    }

    /// Forgets a call.
    pub(crate) fn remove_call(&mut self, call: &str, message: &str) -> bool {
        self.calls.remove(call_id(call), message, call)
    }

    /// Notes a request; true when it was not noted there.
    pub(crate) fn add_request(&mut self, approval: &str, site: Site) -> bool {
        self.requests.insert(approval, site)
    }

    /// Forgets a request.
    pub(crate) fn remove_request(&mut self, approval: &str, message: &str, call: &str) -> bool {
        self.requests.remove(approval, message, call)
    }

    /// Notes a signal and says what it may have changed.
    pub(crate) fn add(&mut self, signal: Signal) -> Affected {
        let at = (signal.pos, signal.nth);
        match &signal.kind {
            SignalKind::Result { call, .. } => {
                let call = call.clone();
                self.places.insert(at, Place::Result(call.clone()));
                self.results.entry(call.clone()).or_default().insert(at, signal);
                Affected::Call(call)
            }
            SignalKind::Answer { approval, .. } => {
                let approval = approval.clone();
                self.places.insert(at, Place::Answer(approval.clone()));
                self.answers.entry(approval.clone()).or_default().insert(at, signal);
                Affected::Approval(approval)
            }
            SignalKind::Config { .. } => {
                self.places.insert(at, Place::Config);
                self.configs.insert(at, signal);
                Affected::Config
            }
        }
    }

    /// Forgets a signal and says what that may have changed.
    pub(crate) fn remove(&mut self, at: SignalAt) -> Option<Affected> {
        fn take(map: &mut HashMap<String, Told>, id: &str, at: SignalAt) {
            if let Some(told) = map.get_mut(id) {
                told.remove(at);
                if told.all.is_empty() {
                    map.remove(id);
                }
            }
        }
        Some(match self.places.remove(&at)? {
            Place::Result(call) => {
                take(&mut self.results, &call, at);
                Affected::Call(call)
            }
            Place::Answer(approval) => {
                take(&mut self.answers, &approval, at);
                Affected::Approval(approval)
            }
            Place::Config => {
                self.configs.remove(&at);
                Affected::Config
            }
        })
    }

    /// The signal at a place.
    pub(crate) fn get(&self, at: SignalAt) -> Option<&Signal> {
        match self.places.get(&at)? {
            Place::Result(call) => self.results.get(call)?.all.get(&at),
            Place::Answer(approval) => self.answers.get(approval)?.all.get(&at),
            Place::Config => self.configs.get(&at),
        }
    }

    /// Whether somebody said something about a call of this id.
    pub(crate) fn has_results(&self, call: &str) -> bool {
        self.results.contains_key(call)
    }

    /// Whether somebody answered an approval of this id.
    pub(crate) fn has_answers(&self, approval: &str) -> bool {
        self.answers.contains_key(approval)
    }

    /// The calls of an id, oldest first.
    pub(crate) fn calls_of(&self, call: &str) -> &[Site] {
        self.calls.of(call)
    }

    /// The requests of an approval id, oldest first.
    pub(crate) fn requests_of(&self, approval: &str) -> &[Site] {
        self.requests.of(approval)
    }

    /// Every noted call.
    pub(crate) fn all_calls(&self) -> impl Iterator<Item = &Site> {
        self.calls.by_id.values().flatten()
    }

    /// Every noted request with its approval id.
    pub(crate) fn all_requests(&self) -> impl Iterator<Item = (&str, &Site)> {
        self.requests
            .by_id
            .iter()
            .flat_map(|(approval, sites)| sites.iter().map(move |site| (approval.as_str(), site)))
    }

    /// Every signal.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Signal> {
        self.results
            .values()
            .flat_map(|told| told.all.values())
            .chain(self.answers.values().flat_map(|told| told.all.values()))
            .chain(self.configs.values())
    }

    /// The result that others gave to the call under this key in this message: the newest that says
    /// anything.
    pub(crate) fn outcome(&self, message: &str, call: &str) -> Option<Outcome> {
        let id = call_id(call);
        let results = self.results.get(id)?.about(self.calls_of(id), message, call);
        let says = |signal: &&&Signal| {
            matches!(
                &signal.kind,
                SignalKind::Result { output, error, .. } if output.is_some() || error.is_some()
            )
        };
        let last = results.iter().rfind(says).or(results.first());
        last.and_then(|signal| signal.outcome())
    }

    /// The answer to the request of this id in this message: the first wins.
    pub(crate) fn answer(
        &self,
        approval: &str,
        message: &str,
        call: &str,
    ) -> Option<ApprovalAnswer> {
        let sites = self.requests_of(approval);
        let signal = *self.answers.get(approval)?.about(sites, message, call).first()?;
        match &signal.kind {
            SignalKind::Answer { approved, payload, chosen, .. } => Some(ApprovalAnswer {
                pos: signal.pos,
                approved: *approved,
                payload: payload.clone(),
                chosen: chosen.clone(),
                by: signal.by.clone(),
                at: signal.at.clone(),
            }),
            SignalKind::Result { .. } | SignalKind::Config { .. } => None,
        }
    }

    /// The settings of the session: later ones win field by field.
    pub(crate) fn settings(&self) -> Map<String, Value> {
        let mut all = Map::new();
        for signal in self.configs.values() {
            if let SignalKind::Config { settings } = &signal.kind {
                merge_into(&mut all, settings.clone());
            }
        }
        all
    }
}

/// The positions whose signals belong to a site: from itself (the first: from the start) to the next.
fn window<'a>(
    sites: impl Iterator<Item = &'a Site>,
    message: &str,
    call: &str,
) -> Option<(u64, Option<u64>)> {
    let mut sites = sites.enumerate();
    let (at, site) = sites.find(|(_, site)| site.message == message && site.call == call)?;
    Some((if at == 0 { 0 } else { site.pos }, sites.next().map(|(_, next)| next.pos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(pos: u64, message: &str) -> Site {
        Site { pos, message: message.into(), call: "c".into() }
    }

    fn answer(pos: u64, approved: bool) -> Signal {
        Signal {
            pos,
            nth: 0,
            message: "s".into(),
            by: None,
            at: None,
            kind: SignalKind::Answer {
                approval: "a".into(),
                approved,
                payload: None,
                chosen: None,
            },
        }
    }

    #[test]
    fn the_first_answer_wins() {
        let mut signals = Signals::default();
        signals.add_request("a", site(5, "m"));
        signals.add(answer(9, false));
        signals.add(answer(7, true));
        assert!(signals.answer("a", "m", "c").is_some_and(|a| a.approved));
    }

    #[test]
    fn an_answer_before_its_request_counts() {
        let mut signals = Signals::default();
        signals.add(answer(1, true));
        signals.add_request("a", site(5, "m"));
        assert!(signals.answer("a", "m", "c").is_some_and(|a| a.approved));
    }

    #[test]
    fn an_answer_in_a_message_that_asks_is_not_for_another_one() {
        let mut signals = Signals::default();
        signals.add_request("a", site(5, "m1"));
        signals.add_request("a", site(6, "m2"));
        let in_m1 = Signal { message: "m1".into(), ..answer(7, true) };
        signals.add(in_m1);
        assert!(signals.answer("a", "m1", "c").is_some());
        assert_eq!(signals.answer("a", "m2", "c"), None);
        // One that stands elsewhere is for the newest request before it.
        signals.add(answer(8, false));
        assert!(signals.answer("a", "m2", "c").is_some_and(|a| !a.approved));
        assert!(signals.answer("a", "m1", "c").is_some_and(|a| a.approved));
        signals.remove((7, 0));
        assert_eq!(signals.answer("a", "m1", "c"), None);
    }

    #[test]
    fn a_used_up_id_that_comes_again_waits_again() {
        let mut signals = Signals::default();
        signals.add_request("a", site(5, "m1"));
        signals.add(answer(6, true));
        signals.add_request("a", site(8, "m2"));
        assert!(signals.answer("a", "m1", "c").is_some());
        assert_eq!(signals.answer("a", "m2", "c"), None);
    }
}
