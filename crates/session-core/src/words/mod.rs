//! Words: of what was said, and of what is looked for. Both are compared in their composed form
//! (NFC).

mod query;
mod text;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

pub(crate) use query::{Query, Term, TitleFilter};
pub(crate) use text::{SearchText, folded, stands_alone};

/// A part of a snippet or title, in UTF-16 code units, as a page counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct SearchRange {
    /// First unit of the range.
    pub start: u32,
    /// The first after it.
    pub end: u32,
}
