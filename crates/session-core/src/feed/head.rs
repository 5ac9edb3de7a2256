//! The head of the list of sessions that one window has: of each server as many rows as it wants.
//!
//! Like a state, the head is not queued: it remembers at which number of the feed each row last
//! changed, and a batch has what changed since the number asked after. A reader that is away makes
//! nothing grow but the memory of rows that went, and when those are more than the rows that are
//! there, it starts over with the whole head (L4).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::list::{Change, FIRST_ROWS, Key, SessionList, Totals, server_of};
use crate::summary::SessionSummary;
use crate::words::TitleFilter;

/// Rows that went are remembered up to this many, or to as many as there are rows.
const GONE: usize = 256;

/// The part of the list of sessions that a window wants.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", default)]
#[ts(export)]
pub struct ListQuery {
    /// Words that a title must have, in any case and without accents; empty: every title.
    pub title: String,
    /// Number of rows that are wanted at most, by server; of servers that are not named: 40.
    pub rows: HashMap<String, u32>,
}

impl ListQuery {
    fn rows_of(&self, server: &str) -> usize {
        self.rows.get(server).copied().unwrap_or(FIRST_ROWS) as usize
    }
}

// L11: what is looked for is what a person wrote.
impl std::fmt::Debug for ListQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListQuery").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// A change of the head of one server's list.
///
/// It is applied by taking out the rows of `removed` and of `rows`, and then putting in each of
/// `rows` at its index, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct HeadChange {
    /// The server.
    pub server: String,
    /// Number of its sessions. A server without any is not listed.
    pub sessions: u32,
    /// Number of its sessions that the query matches, whether or not their rows are wanted.
    pub found: u32,
    /// Number of messages by others that this person has not seen, over all its sessions.
    pub unread: u32,
    /// Number of approvals that wait in its sessions.
    pub approvals: u32,
    /// Ids of sessions that are no longer in the head.
    pub removed: Vec<String>,
    /// Sessions that came, changed or moved, by their place.
    pub rows: Vec<HeadRow>,
}

/// A session in the head of its server's list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct HeadRow {
    /// Place of the row in the head.
    pub index: u32,
    /// The session.
    pub session: SessionSummary,
}

impl HeadChange {
    /// Folds the change into the rows that a window has of this server.
    pub fn apply(self, head: &mut Vec<SessionSummary>) {
        let come: HashSet<&str> = self.rows.iter().map(|row| row.session.id.as_str()).collect();
        head.retain(|one| !come.contains(one.id.as_str()) && !self.removed.contains(&one.id));
        for HeadRow { index, session } in self.rows {
            head.insert(head.len().min(index as usize), session);
        }
    }
}

struct Row {
    server: String,
    key: Key,
    session: Arc<SessionSummary>,
    changed: u64,
}

#[derive(Default)]
struct Section {
    /// Keys that the query matches, when it does not match everything.
    matches: Option<BTreeSet<Key>>,
    /// The head: the first of them.
    order: Vec<Key>,
    found: u32,
    totals: Totals,
    /// Number of the change that last changed a count.
    changed: u64,
}

/// The head of one window.
pub(super) struct ListHead {
    query: ListQuery,
    title: Option<TitleFilter>,
    rows: HashMap<String, Row>,
    /// Sessions that left the head, with when and of which server.
    gone: HashMap<String, (u64, String)>,
    /// Each of `rows` and `gone` once, by when it last changed.
    log: BTreeSet<(u64, String)>,
    sections: BTreeMap<String, Section>,
    /// Number of the last change that was of the whole head: a reader from before it gets all of
    /// it.
    whole_since: u64,
}

impl ListHead {
    pub(super) fn new() -> Self {
        Self {
            query: ListQuery::default(),
            title: None,
            rows: HashMap::new(),
            gone: HashMap::new(),
            log: BTreeSet::new(),
            sections: BTreeMap::new(),
            whole_since: 0,
        }
    }

    /// Takes another query, at the number `now`. Returns whether the head changed by it.
    pub(super) fn ask(&mut self, query: ListQuery, list: &SessionList, now: u64) -> bool {
        let filters = query.title != self.query.title;
        self.query = query;
        if filters {
            self.title = TitleFilter::parse(&self.query.title);
        }
        let mut changed = false;
        let mut servers: BTreeSet<String> = self.sections.keys().cloned().collect();
        servers.extend(list.servers().map(str::to_owned));
        for server in &servers {
            let section = self.sections.entry(server.clone()).or_default();
            if filters {
                section.matches = self.title.as_ref().map(|title| {
                    let order = list.order(server).into_iter().flatten();
                    order.filter(|key| matches(title, list, &key.id)).cloned().collect()
                });
            }
            let source = section.matches.as_ref().or_else(|| list.order(server));
            let wanted = self.query.rows_of(server);
            let order: Vec<Key> = source.into_iter().flatten().take(wanted).cloned().collect();
            let before = std::mem::replace(&mut section.order, order.clone());
            for key in before.iter().filter(|key| order.binary_search(key).is_err()) {
                changed |= self.leave(&key.id, server, now);
            }
            for key in &order {
                changed |= self.enter(key, list, now);
            }
            changed |= self.count(server, list, now);
        }
        self.forget_many(now);
        changed
    }

    /// Follows changes of the list, which has them already. Returns whether the head changed by
    /// them.
    pub(super) fn follow(&mut self, changes: &[Change], list: &SessionList, now: u64) -> bool {
        let mut by_server: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        for change in changes {
            by_server.entry(&change.server).or_default().push(change);
        }
        let mut changed = false;
        for (server, changes) in by_server {
            changed |= self.follow_server(server, &changes, list, now);
            changed |= self.count(server, list, now);
        }
        self.forget_many(now);
        changed
    }

    fn follow_server(
        &mut self,
        server: &str,
        changes: &[&Change],
        list: &SessionList,
        now: u64,
    ) -> bool {
        let wanted = self.query.rows_of(server);
        let section = self.sections.entry(server.to_owned()).or_default();
        if let Some(title) = &self.title {
            let found = section.matches.get_or_insert_default();
            for change in changes {
                change.before.iter().for_each(|key| {
                    found.remove(key);
                });
                let after = change.after.iter().filter(|key| matches(title, list, &key.id));
                found.extend(after.cloned());
            }
        }
        // Up to here the head has, or will have, all there is.
        let end = if section.order.len() < wanted { None } else { section.order.last().cloned() };
        let is_in = |key: &Key| match &end {
            Some(end) => key <= end,
            None => wanted > 0,
        };
        let none = BTreeSet::new();
        let source = section.matches.as_ref().or_else(|| list.order(server)).unwrap_or(&none);
        let mut left = Vec::new();
        for change in changes {
            if let Some(key) = &change.before
                && let Ok(at) = section.order.binary_search(key)
            {
                section.order.remove(at);
                left.push(key.id.clone());
            }
        }
        let mut came = Vec::new();
        for key in changes.iter().filter_map(|change| change.after.as_ref()) {
            if is_in(key)
                && source.contains(key)
                && let Err(at) = section.order.binary_search(key)
            {
                section.order.insert(at, key.clone());
                came.push(key.clone());
            }
        }
        for key in section.order.drain(wanted.min(section.order.len())..) {
            left.push(key.id);
        }
        let from = section.order.last().map_or(Bound::Unbounded, Bound::Excluded);
        let next = source.range((from, Bound::Unbounded));
        let next: Vec<Key> = next.take(wanted - section.order.len()).cloned().collect();
        section.order.extend_from_slice(&next);
        came.extend(next);
        came.retain(|key| section.order.binary_search(key).is_ok());
        let mut changed = false;
        for key in &came {
            changed |= self.enter(key, list, now);
        }
        let came: HashSet<&str> = came.iter().map(|key| key.id.as_str()).collect();
        for id in left.iter().filter(|id| !came.contains(id.as_str())) {
            changed |= self.leave(id, server, now);
        }
        changed
    }

    /// Takes a session into the head, at this place.
    fn enter(&mut self, key: &Key, list: &SessionList, now: u64) -> bool {
        let Some(session) = list.get(&key.id) else { return false };
        let known = self.rows.get(&key.id);
        if known.is_some_and(|row| row.key == *key && Arc::ptr_eq(&row.session, session)) {
            return false;
        }
        let before = known.map(|row| row.changed);
        let before = before.or_else(|| self.gone.remove(&key.id).map(|(at, _)| at));
        if let Some(at) = before {
            self.log.remove(&(at, key.id.clone()));
        }
        let (key, session) = (key.clone(), Arc::clone(session));
        let row = Row { server: server_of(&key.id), key: key.clone(), session, changed: now };
        self.rows.insert(key.id.clone(), row);
        self.log.insert((now, key.id));
        true
    }

    /// Takes a session out of the head.
    fn leave(&mut self, id: &str, server: &str, now: u64) -> bool {
        let Some(row) = self.rows.remove(id) else { return false };
        self.log.remove(&(row.changed, id.to_owned()));
        self.log.insert((now, id.to_owned()));
        self.gone.insert(id.to_owned(), (now, server.to_owned()));
        true
    }

    /// Takes the counts of a server.
    fn count(&mut self, server: &str, list: &SessionList, now: u64) -> bool {
        let Some(section) = self.sections.get_mut(server) else { return false };
        let totals = list.totals(server);
        let found = section.matches.as_ref().map(BTreeSet::len);
        let found = found.map_or(totals.sessions, |n| u32::try_from(n).unwrap_or(u32::MAX));
        let changed = section.totals != totals || section.found != found;
        if changed {
            (section.totals, section.found, section.changed) = (totals, found, now);
        }
        changed
    }

    /// Forgets rows that went when they are too many (back-pressure).
    fn forget_many(&mut self, now: u64) {
        if self.gone.len() > self.rows.len().max(GONE) {
            self.whole_since = now;
            self.forget(now);
        }
    }

    /// Forgets the changes up to a number: whoever asks after a lower one gets the whole head.
    pub(super) fn forget(&mut self, floor: u64) {
        while self.log.first().is_some_and(|(at, _)| *at <= floor) {
            if let Some((_, id)) = self.log.pop_first() {
                self.gone.remove(&id);
            }
        }
    }

    /// Changes after the number `since`, and whether they are the whole head.
    pub(super) fn since(&self, since: u64) -> (bool, Vec<HeadChange>) {
        let whole = since == 0 || since < self.whole_since;
        let mut edits: BTreeMap<&str, (Vec<String>, Vec<&Row>)> = BTreeMap::new();
        if whole {
            for (server, section) in &self.sections {
                if section.totals.sessions > 0 {
                    let rows = section.order.iter().filter_map(|key| self.rows.get(&key.id));
                    edits.insert(server, (vec![], rows.collect()));
                }
            }
        } else {
            for (server, section) in &self.sections {
                if section.changed > since {
                    edits.entry(server).or_default();
                }
            }
            for (_, id) in self.log.range((since + 1, String::new())..) {
                if let Some(row) = self.rows.get(id) {
                    edits.entry(&row.server).or_default().1.push(row);
                } else if let Some((_, server)) = self.gone.get(id) {
                    edits.entry(server).or_default().0.push(id.clone());
                }
            }
        }
        let changes = edits.into_iter().filter_map(|(server, (removed, rows))| {
            let section = self.sections.get(server)?;
            let index = |row: &Row| section.order.binary_search(&row.key).ok();
            let mut rows: Vec<HeadRow> = rows
                .into_iter()
                .filter_map(|row| {
                    let index = u32::try_from(index(row)?).ok()?;
                    Some(HeadRow { index, session: row.session.as_ref().clone() })
                })
                .collect();
            rows.sort_by_key(|row| row.index);
            Some(HeadChange {
                server: server.to_owned(),
                sessions: section.totals.sessions,
                found: section.found,
                unread: section.totals.unread,
                approvals: section.totals.approvals,
                removed,
                rows,
            })
        });
        (whole, changes.collect())
    }
}

fn matches(title: &TitleFilter, list: &SessionList, id: &str) -> bool {
    list.get(id).is_some_and(|session| title.matches(&session.title))
}

#[cfg(test)]
mod tests;
