//! Translating each dialect of inner chunks into the operations of the message fold.
//!
//! The dialect is decided per chunk: each module takes the chunk types it knows and leaves the rest.
//! Names that two dialects share are told apart by their fields (`text-delta`, `error`).

mod agui;
mod aisdk;
pub(super) mod electric;
mod legacy;
mod local;
mod proxy;
mod snapshot;

use super::step::Step;
use crate::chunk::{Inner, usage, value};

/// Folds one inner chunk. An unknown one has no effect, also not on completion.
///
/// Tokens count whatever chunk they stand on, as upstream sums them.
pub(super) fn fold(inner: &Inner<'_>, step: &mut Step<'_>) {
    if let Some(usage) = value(inner.usage).as_ref().and_then(usage) {
        step.add_usage(usage);
    }
    if inner.kind().starts_with(|c: char| c.is_ascii_uppercase()) {
        agui::fold(inner, step);
    } else if !(proxy::fold(inner, step) || legacy::fold(inner, step)) {
        aisdk::fold(inner, step);
    }
}
