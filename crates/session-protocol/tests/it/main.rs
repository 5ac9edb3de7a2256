//! The contract against recorded streams, against the text of the wire format, and against its laws.

mod acp;
mod agree;
mod authority;
mod captures;
mod cases;
mod contract;
mod dialects;
mod identity;
mod laws;
mod newer;
mod signals;
mod snapshots;
mod stored;
mod streams;
mod support;
