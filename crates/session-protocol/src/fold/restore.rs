//! Writing the state of a fold as rows, and going on from them.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bare::Bare;
use super::keys::{row_key, signal_key, split_row_key};
use super::presence::Device;
use super::session::SessionFold;
use super::shared::SharedRow;
use super::signal::{Signal, SignalKind};
use super::signals::Site;
use super::table::call_id;
use super::totals::Totals;
use super::{Collection, FoldState, StateRow};
use crate::row::{ActiveGeneration, Approval, ApprovalStatus};

/// The counters, one row.
#[derive(Serialize, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Meta {
    next: u64,
    malformed: u64,
    totals: Totals,
    bare: Bare,
    strays: HashMap<String, String>,
}

/// A request and where it stands.
#[derive(Serialize, Deserialize)]
struct RequestRow {
    #[serde(flatten)]
    site: Site,
    #[serde(rename = "a")]
    approval: Approval,
}

const META: &str = "meta";

/// State that cannot be written is state we do not have; our own types always can.
fn json(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

impl SessionFold {
    /// A session that goes on from a stored state. Its messages are loaded when they are needed.
    /// Rows that cannot be read are left out.
    pub fn restore(session_id: &str, state: &FoldState) -> Self {
        fn each<'s, T: Deserialize<'s>>(
            state: &'s FoldState,
            collection: Collection,
        ) -> impl Iterator<Item = (&'s str, T)> {
            state
                .rows(collection)
                .filter_map(|(key, json)| Some((key, serde_json::from_str(json).ok()?)))
        }
        let mut fold = Self::new(session_id);
        if let Some((_, meta)) = each::<Meta>(state, Collection::Meta).next() {
            fold.next = meta.next;
            fold.malformed = meta.malformed;
            fold.totals = meta.totals;
            fold.bare = meta.bare;
            fold.strays = meta.strays;
        }
        for (_, site) in each::<Site>(state, Collection::Calls) {
            fold.signals.add_call(site);
        }
        for (_, row) in each::<RequestRow>(state, Collection::Requests) {
            let RequestRow { site, approval } = row;
            let key = (site.pos, site.message.clone(), site.call.clone());
            fold.signals.add_request(&approval.id, site);
            fold.put_approval(key, approval);
        }
        for (_, signal) in each::<Signal>(state, Collection::Signals) {
            fold.signals.add(signal);
        }
        fold.settings = fold.signals.settings();
        for (key, active) in each::<ActiveGeneration>(state, Collection::Active) {
            fold.active.insert(key.to_owned(), active);
        }
        for (key, device) in each::<Device>(state, Collection::Presence) {
            fold.devices.insert(key.to_owned(), device);
        }
        for (key, agent) in each::<Map<String, Value>>(state, Collection::Agents) {
            fold.agents.insert(key.to_owned(), agent);
        }
        for (key, shared) in each::<SharedRow>(state, Collection::Shared) {
            fold.shared.insert(key.to_owned(), shared.into());
        }
        for (key, message) in each::<String>(state, Collection::Entities) {
            fold.entities.insert(key.to_owned(), message);
        }
        fold
    }

    /// Everything but the messages.
    pub fn state(&self) -> FoldState {
        self.all_rows().into_iter().collect()
    }

    fn meta(&self) -> StateRow {
        let meta = Meta {
            next: self.next,
            malformed: self.malformed,
            totals: self.totals.clone(),
            bare: self.bare.clone(),
            strays: self.strays.clone(),
        };
        let (collection, key) = (Collection::Meta, META.to_owned());
        StateRow { collection, key, json: json(&meta), standing: true }
    }

    /// All rows of the state.
    pub(super) fn all_rows(&self) -> Vec<StateRow> {
        let mut keys = BTreeSet::new();
        let mut add = |collection, key: String| keys.insert((collection, key));
        for site in self.signals.all_calls() {
            add(Collection::Calls, row_key(&site.message, &site.call));
        }
        for (_, site) in self.signals.all_requests() {
            add(Collection::Requests, row_key(&site.message, &site.call));
        }
        for signal in self.signals.all() {
            add(Collection::Signals, signal_key((signal.pos, signal.nth)));
        }
        for id in self.active.keys() {
            add(Collection::Active, id.clone());
        }
        for key in self.devices.keys() {
            add(Collection::Presence, key.clone());
        }
        for key in self.agents.keys() {
            add(Collection::Agents, key.clone());
        }
        for key in self.shared.keys() {
            add(Collection::Shared, key.clone());
        }
        for key in self.entities.keys() {
            add(Collection::Entities, key.clone());
        }
        self.changed_rows(keys)
    }

    /// The named rows as they are now, and the counters.
    pub(super) fn changed_rows(&self, keys: BTreeSet<(Collection, String)>) -> Vec<StateRow> {
        let mut rows = vec![self.meta()];
        rows.extend(keys.into_iter().filter(|(c, _)| *c != Collection::Meta).map(
            |(collection, key)| {
                let (json, standing) = self.row(collection, &key).unzip();
                StateRow { collection, key, json, standing: standing.unwrap_or_default() }
            },
        ));
        rows
    }

    /// A row's JSON, and whether it is standing.
    fn row(&self, collection: Collection, key: &str) -> Option<(String, bool)> {
        let mut standing = true;
        let json = match collection {
            Collection::Meta => None,
            Collection::Calls => {
                let (message, call) = split_row_key(key)?;
                let mut sites = self.signals.calls_of(call_id(call)).iter();
                standing = false;
                json(sites.find(|site| site.message == message && site.call == call)?)
            }
            Collection::Requests => {
                let (message, call) = split_row_key(key)?;
                let pos = *self.requested.get(key)?.first()?;
                let site = Site { pos, message: message.to_owned(), call: call.to_owned() };
                let at = (pos, site.message.clone(), site.call.clone());
                let approval = self.approvals.get(&at)?;
                standing = approval.status == ApprovalStatus::Pending;
                json(&RequestRow { site, approval: approval.clone() })
            }
            Collection::Signals => {
                let (pos, nth) = key.split_once('.')?;
                let signal = self.signals.get((pos.parse().ok()?, nth.parse().ok()?))?;
                standing = matches!(signal.kind, SignalKind::Config { .. });
                json(signal)
            }
            Collection::Active => json(self.active.get(key)?),
            Collection::Presence => json(self.devices.get(key)?),
            Collection::Agents => json(self.agents.get(key)?),
            Collection::Shared => json(&SharedRow::of(self.shared.get(key)?)?),
            Collection::Entities => {
                standing = false;
                json(self.entities.get(key)?)
            }
        };
        Some((json?, standing))
    }
}
