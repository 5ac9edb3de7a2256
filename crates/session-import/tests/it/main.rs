//! Tests of the importer as its users call it.

mod cases;
mod compare;
mod import;
