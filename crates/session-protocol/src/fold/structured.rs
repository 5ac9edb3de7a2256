//! The structured output of one message: an object that is written as text.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// How far a structured output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Structured {
    /// None is being written.
    #[default]
    None,
    /// One is announced: the text that follows is its.
    Begun,
    /// Output whose text goes to this part.
    Writing {
        part: usize,
        /// Half a character that waits for its other half.
        half: Option<u16>,
    },
}

impl Structured {
    /// The part that is written to, when there is one.
    pub(super) fn part(self) -> Option<usize> {
        match self {
            Self::Writing { part, .. } => Some(part),
            Self::None | Self::Begun => None,
        }
    }

    /// The parts from this one on are gone.
    pub(super) fn cut(&mut self, start: usize) {
        if self.part().is_some_and(|part| part >= start) {
            *self = Self::None;
        }
    }

    /// Parts have new places: what is not written to yet is over.
    pub(super) fn moved(self, to: &HashMap<usize, usize>) -> Self {
        match self {
            Self::Writing { part, half } => match to.get(&part) {
                Some(part) => Self::Writing { part: *part, half },
                None => Self::None,
            },
            Self::None | Self::Begun => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_over_when_its_part_is_gone() {
        let writing = Structured::Writing { part: 2, half: Some(0xd83d) };
        for (state, start, then) in [
            (Structured::None, 0, Structured::None),
            (Structured::Begun, 0, Structured::Begun),
            (writing, 3, writing),
            (writing, 2, Structured::None),
        ] {
            let mut cut = state;
            cut.cut(start);
            assert_eq!(cut, then, "{state:?}");
        }
        let moved = Structured::Writing { part: 5, half: Some(0xd83d) };
        assert_eq!(writing.moved(&HashMap::from([(2, 5)])), moved);
        assert_eq!(writing.moved(&HashMap::new()), Structured::None);
        assert_eq!(Structured::Begun.moved(&HashMap::new()), Structured::None);
    }
}
