//! The rows of a message that exist, by sequence number: a stretch without a gap is two numbers, however long it is.

use std::collections::BTreeMap;

/// Sequence numbers, in stretches.
#[derive(Debug, Clone, Default)]
pub(super) enum Rows {
    #[default]
    None,
    /// From the first to the last, which is nearly always all there is.
    Run(u64, u64),
    /// First numbers and last ones.
    Runs(BTreeMap<u64, u64>),
}

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::Run(..) => false,
            Self::Runs(runs) => runs.is_empty(),
        }
    }

    /// All numbers, from the least on.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match self {
            Self::None => Box::new(std::iter::empty()),
            Self::Run(first, last) => Box::new(*first..=*last),
            Self::Runs(runs) => Box::new(runs.iter().flat_map(|(first, last)| *first..=*last)),
        }
    }

    pub(super) fn insert(&mut self, seq: u64) {
        match self {
            Self::None => *self = Self::Run(seq, seq),
            Self::Run(_, last) if last.checked_add(1) == Some(seq) => *last = seq,
            Self::Run(first, last) if (*first..=*last).contains(&seq) => {}
            Self::Run(..) => self.runs(|runs| insert(runs, seq)),
            Self::Runs(runs) => insert(runs, seq),
        }
    }

    pub(super) fn remove(&mut self, seq: u64) {
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

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn numbers_come_and_go_in_any_order() {
        for seed in 0..50 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut rows, mut plain) = (Rows::default(), BTreeSet::new());
            for _ in 0..400 {
                let seq = match random.random_range(0..20) {
                    0 => u64::MAX - random.random_range(0..3),
                    n => n,
                };
                if random.random_range(0..3) > 0 {
                    rows.insert(seq);
                    plain.insert(seq);
                } else {
                    rows.remove(seq);
                    plain.remove(&seq);
                }
                assert!(rows.iter().eq(plain.iter().copied()), "seed {seed}");
                assert_eq!(rows.is_empty(), plain.is_empty());
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
