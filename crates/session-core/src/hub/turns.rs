//! Sessions that are followed: all that are shown, and of the others the first within a bound.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::list::{Key, server_of};
use crate::report::Need;

/// The needs, the most pressing first.
const NEEDS: [Need; 5] = [Need::Shown, Need::Sending, Need::Behind, Need::Approval, Need::None];

/// All sessions by their need, their server and their place in its list. A change of one costs in
/// proportion to the logarithm of their number, asking for the first in proportion to these (L12).
#[derive(Default)]
pub(super) struct Turns {
    places: HashMap<String, Ranked>,
    needs: BTreeMap<(Need, String), BTreeSet<Key>>,
    /// Sessions that are behind and need nothing more pressing.
    behind: BTreeSet<Key>,
}

struct Ranked {
    need: Need,
    server: String,
    key: Key,
}

impl Turns {
    pub(super) fn put(&mut self, id: &str, recency: &str, need: Need, behind: bool) {
        self.remove(id);
        let (key, server) = (Key::new(recency, id), server_of(id));
        self.needs.entry((need, server.clone())).or_default().insert(key.clone());
        if behind && need < Need::Behind {
            self.behind.insert(key.clone());
        }
        self.places.insert(id.to_owned(), Ranked { need, server, key });
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(Ranked { need, server, key }) = self.places.remove(id) else { return };
        self.behind.remove(&key);
        let of = (need, server);
        if let Some(keys) = self.needs.get_mut(&of) {
            keys.remove(&key);
            if keys.is_empty() {
                self.needs.remove(&of);
            }
        }
    }

    /// The ids of all sessions that are shown, and of the `limit` others that come first.
    pub(super) fn first(&self, limit: usize) -> Vec<String> {
        // Those that are behind take turns, so that the recent ones stay.
        let behind: BTreeSet<&Key> = self.behind.iter().take((limit / 4).max(1)).collect();
        let mut first = Vec::new();
        let mut room = limit;
        for need in NEEDS {
            let mut servers: BTreeMap<&str, Vec<&Key>> = BTreeMap::new();
            let most = if need == Need::Shown { usize::MAX } else { room };
            if need == Need::Behind {
                for &key in &behind {
                    let server = self.places.get(&key.id).map_or("", |place| &place.server);
                    servers.entry(server).or_default().push(key);
                }
            }
            let from = (need, String::new());
            for ((_, server), keys) in self.needs.range(from..).take_while(|((n, _), _)| *n == need)
            {
                let others = keys.iter().filter(|key| !behind.contains(key));
                servers.entry(server).or_default().extend(others.take(most));
            }
            // Among equals the servers take turns, the more recent session of each first.
            let mut servers: Vec<_> = servers.into_values().map(Vec::into_iter).collect();
            let mut chosen = Vec::new();
            while chosen.len() < most {
                let mut round: Vec<&Key> = servers.iter_mut().filter_map(Iterator::next).collect();
                if round.is_empty() {
                    break;
                }
                round.sort();
                chosen.extend(round);
            }
            chosen.truncate(most);
            if need != Need::Shown {
                room -= chosen.len();
            }
            first.extend(chosen.into_iter().map(|key| key.id.clone()));
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions named by what they need.
    fn turns(sessions: &[(&str, &str, Need, bool)]) -> Turns {
        let mut turns = Turns::default();
        for (id, recency, need, behind) in sessions {
            turns.put(id, recency, *need, *behind);
        }
        turns
    }

    #[test]
    fn what_is_shown_is_followed_and_of_the_others_what_needs_it_most() {
        let mut turns = turns(&[
            ("a/old", "1", Need::None, false),
            ("a/new", "2", Need::None, false),
            ("a/asks", "0", Need::Approval, false),
            ("a/sends", "0", Need::Sending, true),
            ("a/shown", "0", Need::Shown, true),
            ("a/stirred", "0", Need::None, true),
            ("a/stirred too", "0", Need::None, true),
        ]);
        let first = ["a/shown", "a/sends", "a/stirred", "a/asks", "a/new"];
        assert_eq!(turns.first(4), first, "those that are behind take turns, one at a time");
        assert_eq!(turns.first(0), ["a/shown"]);
        turns.remove("a/sends");
        turns.put("a/shown", "0", Need::None, false);
        assert_eq!(turns.first(3), ["a/stirred", "a/asks", "a/new"]);
    }

    #[test]
    fn among_equals_the_servers_take_turns() {
        let turns = turns(&[
            ("a/1", "9", Need::None, false),
            ("a/2", "8", Need::None, false),
            ("a/3", "7", Need::None, false),
            ("b/1", "1", Need::None, false),
            ("b/2", "2", Need::None, false),
        ]);
        assert_eq!(turns.first(4), ["a/1", "b/2", "a/2", "b/1"]);
        assert_eq!(turns.first(9).len(), 5);
    }
}
