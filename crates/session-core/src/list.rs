//! The list of sessions as the hub keeps it: the sessions of each server in order, and its totals.
//!
//! A change of one session costs in proportion to itself and the logarithm of the list (L12). Each
//! window has a head of the list ([`crate::feed`]), which is edited by the [`Change`]s from here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::address::Address;
use crate::summary::SessionSummary;
use crate::words::TitleFilter;

/// Rows of each server's list that a window begins with, and that a start waits for: more than a
/// screen shows.
pub(crate) const FIRST_ROWS: u32 = 40;

/// The place of a session in its server's list: the most recent activity first, ties by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    recency: Reverse<String>,
    pub(crate) id: String,
}

impl Key {
    pub(crate) fn new(recency: &str, id: &str) -> Self {
        Self { recency: Reverse(recency.to_owned()), id: id.to_owned() }
    }
}

/// Counts over all sessions of one server, whatever a window filters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Sessions.
    pub(crate) sessions: u32,
    /// Messages by others that this person has not seen.
    pub(crate) unread: u32,
    /// Approvals that wait.
    pub(crate) approvals: u32,
}

impl Totals {
    fn add(&mut self, summary: &SessionSummary) {
        self.sessions += 1;
        self.unread += summary.unread;
        self.approvals += summary.pending_approvals;
    }

    fn take(&mut self, summary: &SessionSummary) {
        self.sessions -= 1;
        self.unread -= summary.unread;
        self.approvals -= summary.pending_approvals;
    }
}

/// One session that came, changed, moved or went.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) server: String,
    /// Key that the session had; `None` when it is new.
    pub(crate) before: Option<Key>,
    /// Key that the session has; `None` when it is gone.
    pub(crate) after: Option<Key>,
}

#[derive(Default)]
struct OfServer {
    order: BTreeSet<Key>,
    totals: Totals,
}

/// All sessions.
#[derive(Default)]
pub(crate) struct SessionList {
    rows: HashMap<String, (Key, Arc<SessionSummary>)>,
    servers: BTreeMap<String, OfServer>,
}

impl SessionList {
    /// Takes a session as it is now, with when it was last active. Returns `None` when nothing
    /// changed.
    pub(crate) fn put(&mut self, recency: &str, summary: &SessionSummary) -> Option<Change> {
        let after = Key::new(recency, &summary.id);
        let known = self.rows.get(&summary.id);
        if known.is_some_and(|(key, known)| *key == after && **known == *summary) {
            return None;
        }
        let server = server_of(&summary.id);
        let of = self.servers.entry(server.clone()).or_default();
        let row = (after.clone(), Arc::new(summary.clone()));
        let before = self.rows.insert(summary.id.clone(), row).map(|(key, old)| {
            of.totals.take(&old);
            of.order.remove(&key);
            key
        });
        of.totals.add(summary);
        of.order.insert(after.clone());
        Some(Change { server, before, after: Some(after) })
    }

    /// Lets a session go. Returns `None` when it was not there.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Change> {
        let (key, summary) = self.rows.remove(id)?;
        let server = server_of(id);
        if let Some(of) = self.servers.get_mut(&server) {
            of.totals.take(&summary);
            of.order.remove(&key);
            if of.order.is_empty() {
                self.servers.remove(&server);
            }
        }
        Some(Change { server, before: Some(key), after: None })
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<SessionSummary>> {
        self.rows.get(id).map(|(_, summary)| summary)
    }

    /// The servers that have sessions.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &str> {
        self.servers.keys().map(String::as_str)
    }

    /// The sessions of a server, in order; `None` when it has none.
    pub(crate) fn order(&self, server: &str) -> Option<&BTreeSet<Key>> {
        self.servers.get(server).map(|of| &of.order)
    }

    pub(crate) fn totals(&self, server: &str) -> Totals {
        self.servers.get(server).map(|of| of.totals).unwrap_or_default()
    }

    /// All sessions over all servers, in order.
    pub(crate) fn all(&self) -> Vec<SessionSummary> {
        self.with(|_| true)
    }

    /// The sessions whose title matches, over all servers, in order.
    pub(crate) fn titled(&self, title: &TitleFilter) -> Vec<SessionSummary> {
        self.with(|summary| title.matches(&summary.title))
    }

    fn with(&self, wanted: impl Fn(&SessionSummary) -> bool) -> Vec<SessionSummary> {
        let mut found: Vec<_> = self.rows.values().filter(|(_, summary)| wanted(summary)).collect();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found.into_iter().map(|(_, summary)| summary.as_ref().clone()).collect()
    }
}

/// The server of a session, by its id on this machine.
pub(crate) fn server_of(id: &str) -> String {
    Address::parse(id).map(|at| at.server).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::SessionState;

    fn summary(id: &str, unread: u32, pending_approvals: u32) -> SessionSummary {
        SessionSummary {
            id: id.to_owned(),
            title: format!("Session {id}"),
            created_at: None,
            last_activity_at: None,
            preview: None,
            state: SessionState::Idle,
            unread,
            pending_approvals,
            draft: None,
            parent_id: None,
        }
    }

    fn ids(list: &SessionList) -> Vec<String> {
        list.all().into_iter().map(|summary| summary.id).collect()
    }

    #[test]
    fn the_most_recently_active_is_first_and_ties_are_in_the_order_of_their_ids() {
        let mut list = SessionList::default();
        for (id, recency) in [("a/2", "2026-01-01"), ("b/1", "2026-01-02"), ("a/1", "2026-01-01")] {
            list.put(recency, &summary(id, 0, 0)).expect("it is new");
        }
        assert_eq!(ids(&list), ["b/1", "a/1", "a/2"]);
        let change = list.put("2026-01-03", &summary("a/2", 0, 0)).expect("it moves");
        assert!(change.before > change.after, "up");
        assert_eq!(ids(&list), ["a/2", "b/1", "a/1"]);
        let of_a: Vec<_> =
            list.order("a").expect("it has some").iter().map(|key| &key.id).collect();
        assert_eq!(of_a, ["a/2", "a/1"]);
    }

    #[test]
    fn a_session_that_is_as_it_was_is_no_change() {
        let mut list = SessionList::default();
        assert!(list.put("1", &summary("a/1", 0, 0)).is_some());
        assert_eq!(list.put("1", &summary("a/1", 0, 0)), None);
        assert_eq!(list.remove("a/2"), None);
    }

    #[test]
    fn totals_are_those_of_the_sessions_that_are_there() {
        let mut list = SessionList::default();
        list.put("1", &summary("a/1", 3, 1));
        list.put("1", &summary("a/2", 1, 2));
        list.put("1", &summary("b/1", 0, 0));
        assert_eq!(list.totals("a"), Totals { sessions: 2, unread: 4, approvals: 3 });
        list.put("1", &summary("a/1", 0, 0));
        assert_eq!(list.totals("a"), Totals { sessions: 2, unread: 1, approvals: 2 });
        list.remove("a/2");
        list.remove("b/1");
        assert_eq!(list.totals("a"), Totals { sessions: 1, unread: 0, approvals: 0 });
        assert_eq!(list.totals("b"), Totals::default());
        assert_eq!(list.servers().collect::<Vec<_>>(), ["a"]);
    }
}
