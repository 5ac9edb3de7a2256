//! The engine against a real session server, a real stream and a real SQLite file.

mod crash;
mod damage;
mod different;
mod feeds;
mod flaky;
mod journey;
mod offline;
mod outbox;
mod presence;
mod sessions;
mod support;
