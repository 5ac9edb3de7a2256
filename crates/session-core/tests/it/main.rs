//! The engine against a real session server, a real stream and a real SQLite file.

mod crash;
mod damage;
mod different;
mod faulty;
mod feeds;
mod flaky;
mod journey;
mod many;
mod offline;
mod once;
mod outbox;
mod presence;
mod servers;
mod sessions;
mod support;
mod wishes;
