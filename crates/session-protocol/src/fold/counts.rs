//! Counts of one message: its rows, runs and steps, tokens, and the bytes that it may cost.

use serde::{Deserialize, Serialize};

use crate::row::Usage;

/// The rows so far.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Order {
    rows: u64,
    /// Number of different sequence numbers.
    distinct: u64,
    /// Sequence number and position of the last row.
    last: Option<(i64, u64)>,
}

impl Order {
    /// Counts the next row; whether it is the first.
    pub(super) fn count(&mut self, seq: i64, pos: u64) -> bool {
        self.rows = self.rows.saturating_add(1);
        self.distinct = self.distinct.saturating_add(u64::from(self.last_seq() != Some(seq)));
        self.last = Some((seq, pos));
        self.rows == 1
    }

    /// Whether a row with this number, at this position, comes after all rows so far.
    pub(super) fn is_after(&self, seq: i64, pos: u64) -> bool {
        self.last.is_none_or(|last| (seq, pos) > last)
    }

    /// Sequence number of the last row.
    pub(super) fn last_seq(&self) -> Option<i64> {
        self.last.map(|(seq, _)| seq)
    }

    /// True while a row between two others is missing, where numbers begin at 0.
    pub(super) fn has_gap(&self) -> bool {
        self.last_seq().is_some_and(|last| {
            u64::try_from(last).is_ok_and(|last| last.saturating_add(1) != self.distinct)
        })
    }
}

/// Where the writer stands.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Steps {
    /// Runs that the server began in the message so far.
    pub(super) run: u32,
    /// Steps and runs that the agent began in the message so far.
    pub(super) step: u32,
    /// The AI SDK's id of the present generation.
    pub(super) generation: Option<String>,
}

/// Tokens that the message used: what its ends say is summed, what its metadata says last counts beside that.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Tokens {
    sum: Option<Usage>,
    metadata: Option<Usage>,
}

impl Tokens {
    /// Adds a usage; all of it.
    pub(super) fn add(&mut self, usage: Usage) -> Usage {
        self.sum.get_or_insert_default().add(usage);
        self.all()
    }

    /// Replaces the usage of the metadata; all of it.
    pub(super) fn set_metadata(&mut self, usage: Usage) -> Usage {
        self.metadata = Some(usage);
        self.all()
    }

    fn all(&self) -> Usage {
        let mut all = self.sum.unwrap_or_default();
        all.add(self.metadata.unwrap_or_default());
        all
    }
}

/// Bytes that are compared for each byte of a message's rows.
const COMPARED: usize = 16;
/// Bytes that are compared at any rate.
const COMPARED_AT_LEAST: usize = 4 << 20;

/// The cost that the message may have beside its rows, which is in proportion to these.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Budget {
    /// Bytes of the rows so far.
    told: usize,
    /// Bytes of arguments that were copied from one call to another.
    copied: usize,
    /// Bytes that snapshots were laid beside so far.
    compared: usize,
}

impl Budget {
    /// Counts bytes that came.
    pub(super) fn tell(&mut self, bytes: usize) {
        self.told = self.told.saturating_add(bytes);
    }

    /// Whether so many more bytes may be copied inside the message.
    pub(super) fn may_copy(&self, bytes: usize) -> bool {
        self.copied.saturating_add(bytes) <= self.told.saturating_mul(4).saturating_add(1 << 20)
    }

    /// Counts bytes that were copied.
    pub(super) fn copy(&mut self, bytes: usize) {
        self.copied = self.copied.saturating_add(bytes);
    }

    /// A snapshot is laid beside so many bytes; whether it may be.
    pub(super) fn compare(&mut self, bytes: usize) -> bool {
        self.compared = self.compared.saturating_add(bytes);
        let most = self.told.saturating_mul(COMPARED).saturating_add(COMPARED_AT_LEAST);
        self.compared <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_number_that_is_missing() {
        for (rows, gap) in [
            (&[][..], false),
            (&[0], false),
            (&[0, 1, 2], false),
            (&[0, 2], true),
            (&[1], true),
            (&[0, 0, 1], false),
            (&[-1], false),
        ] {
            let mut order = Order::default();
            let firsts = (0..).zip(rows).filter(|(pos, seq)| order.count(**seq, *pos)).count();
            assert_eq!((order.has_gap(), firsts), (gap, usize::from(!rows.is_empty())), "{rows:?}");
        }
    }

    #[test]
    fn metadata_is_replaced_and_ends_are_summed() {
        let of = |total_tokens| Usage { total_tokens, ..Usage::default() };
        let mut tokens = Tokens::default();
        tokens.add(of(1));
        tokens.set_metadata(of(10));
        tokens.set_metadata(of(20));
        assert_eq!(tokens.add(of(2)).total_tokens, 23);
    }

    #[test]
    fn what_is_copied_and_compared_is_in_proportion_to_what_came() {
        let mut budget = Budget::default();
        assert!(budget.may_copy(1 << 20) && !budget.may_copy((1 << 20) + 1));
        budget.tell(1);
        budget.copy(1 << 20);
        assert!(budget.may_copy(4) && !budget.may_copy(5));
        assert!(
            budget.compare(COMPARED_AT_LEAST) && budget.compare(COMPARED) && !budget.compare(1)
        );
    }
}
