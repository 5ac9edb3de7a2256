//! Tests of the importer as its users call it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a test binary"
)]

mod cases;
mod compare;
mod files;
mod hostile;
mod import;
mod unseen;
mod variants;
