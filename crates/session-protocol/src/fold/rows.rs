//! The rows of a message that exist, by sequence number: a stretch without a gap is two numbers, however long it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Greatest sequence number that counts: what a program's numbers can hold. A greater one is somebody's mistake, and
/// the next row does not follow it.
const MAX_SEQ: u64 = 1 << 53;

/// The rows of a message by their keys, without what is in them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Keys {
    rows: Rows,
    /// Keys that are not the message's id and a number.
    odd: BTreeSet<String>,
    next: u64,
}

impl Keys {
    /// Notes a row; false when it is there already.
    pub(super) fn insert(&mut self, key: &str, message_id: &str) -> bool {
        let behind = key.rsplit_once(':').and_then(|(_, seq)| seq.parse::<u64>().ok());
        let seq = behind.unwrap_or(0);
        if seq >= self.next && seq < MAX_SEQ {
            self.next = seq + 1;
        }
        match number(key, message_id) {
            Some(seq) if self.rows.contains(seq) => false,
            Some(seq) => {
                self.rows.insert(seq);
                true
            }
            None => self.odd.insert(key.to_owned()),
        }
    }

    /// Forgets a row; false when there is none.
    pub(super) fn remove(&mut self, key: &str, message_id: &str) -> bool {
        match number(key, message_id) {
            Some(seq) => {
                let known = self.rows.contains(seq);
                self.rows.remove(seq);
                known
            }
            None => self.odd.remove(key),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.odd.is_empty()
    }

    /// One more than the greatest number so far.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// All keys, the odd ones first.
    pub(super) fn iter<'a>(&'a self, message_id: &'a str) -> impl Iterator<Item = String> + 'a {
        let usual = self.rows.iter().map(move |seq| format!("{message_id}:{seq}"));
        self.odd.iter().cloned().chain(usual)
    }
}

/// The sequence number that a key gives a row of this message, when it is the usual one.
fn number(key: &str, message_id: &str) -> Option<u64> {
    let digits = key.strip_prefix(message_id)?.strip_prefix(':')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain)
}

/// Sequence numbers, in stretches.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
enum Rows {
    #[default]
    None,
    /// From the first to the last, which is nearly always all there is.
    Run(u64, u64),
    /// First numbers and last ones.
    Runs(BTreeMap<u64, u64>),
}

impl Rows {
    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::Run(..) => false,
            Self::Runs(runs) => runs.is_empty(),
        }
    }

    /// All numbers, from the least on.
    fn iter(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match self {
            Self::None => Box::new(std::iter::empty()),
            Self::Run(first, last) => Box::new(*first..=*last),
            Self::Runs(runs) => Box::new(runs.iter().flat_map(|(first, last)| *first..=*last)),
        }
    }

    fn contains(&self, seq: u64) -> bool {
        match self {
            Self::None => false,
            Self::Run(first, last) => (*first..=*last).contains(&seq),
            Self::Runs(runs) => {
                runs.range(..=seq).next_back().is_some_and(|(_, last)| *last >= seq)
            }
        }
    }

    fn insert(&mut self, seq: u64) {
        match self {
            Self::None => *self = Self::Run(seq, seq),
            Self::Run(_, last) if last.checked_add(1) == Some(seq) => *last = seq,
            Self::Run(first, last) if (*first..=*last).contains(&seq) => {}
            Self::Run(..) => self.runs(|runs| insert(runs, seq)),
            Self::Runs(runs) => insert(runs, seq),
        }
    }

    fn remove(&mut self, seq: u64) {
        match self {
            Self::None => {}
            Self::Run(first, last) if *first == seq && *last == seq => *self = Self::None,
            Self::Run(first, last) if *first == seq => *first += 1,
            Self::Run(first, last) if *last == seq => *last -= 1,
            Self::Run(first, last) if !(*first..=*last).contains(&seq) => {}
            Self::Run(..) => self.runs(|runs| remove(runs, seq)),
            Self::Runs(runs) => remove(runs, seq),
        }
    }

    fn runs(&mut self, change: impl FnOnce(&mut BTreeMap<u64, u64>)) {
        let mut runs = match std::mem::take(self) {
            Self::None => BTreeMap::new(),
            Self::Run(first, last) => BTreeMap::from([(first, last)]),
            Self::Runs(runs) => runs,
        };
        change(&mut runs);
        *self = Self::Runs(runs);
    }
}

fn insert(runs: &mut BTreeMap<u64, u64>, seq: u64) {
    let before = runs.range(..=seq).next_back().map(|(first, last)| (*first, *last));
    if before.is_some_and(|(_, last)| last >= seq) {
        return;
    }
    let first = match before {
        Some((first, last)) if last + 1 == seq => first,
        _ => seq,
    };
    let after = seq.checked_add(1).and_then(|next| runs.remove(&next));
    runs.insert(first, after.unwrap_or(seq));
}

fn remove(runs: &mut BTreeMap<u64, u64>, seq: u64) {
    let found = runs.range(..=seq).next_back().map(|(first, last)| (*first, *last));
    let Some((first, last)) = found.filter(|(_, last)| *last >= seq) else { return };
    runs.remove(&first);
    if first < seq {
        runs.insert(first, seq - 1);
    }
    if seq < last {
        runs.insert(seq + 1, last);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_come_and_go_in_any_order() {
        for seed in 0..50 {
            let mut state: u64 = seed;
            let mut random = |most: u64| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % most
            };
            let (mut rows, mut plain) = (Rows::default(), BTreeSet::new());
            for _ in 0..400 {
                let seq = match random(20) {
                    0 => u64::MAX - random(3),
                    n => n,
                };
                if random(3) > 0 {
                    rows.insert(seq);
                    plain.insert(seq);
                } else {
                    rows.remove(seq);
                    plain.remove(&seq);
                }
                assert!(rows.iter().eq(plain.iter().copied()), "seed {seed}");
                assert_eq!(rows.is_empty(), plain.is_empty());
                assert_eq!(rows.contains(seq), plain.contains(&seq));
            }
        }
    }

    #[test]
    fn a_long_message_is_one_stretch() {
        let mut rows = Rows::default();
        (0..100_000).for_each(|seq| rows.insert(seq));
        assert!(matches!(rows, Rows::Run(0, 99_999)));
    }
}
