//! The app as a whole, used as a person uses it: a real WebKitGTK window driven by WebDriver, the
//! real session server, a real SQLite file, a private D-Bus with a real keychain and a notification
//! service that records and clicks.
//!
//! Needs a display and `WebKitWebDriver`: `cargo xtask test` provides both. Linux only.
#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test binary")]

mod support;

mod bad_input;
mod drawing;
mod durability;
mod far;
mod host;
mod keychain;
mod local;
mod main_job;
mod notification;
mod presence;
mod questions;
mod search;
mod servers;
mod soak;
