//! What windows and host say to each other: JSON over HTTP on loopback, each request with the host's token.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::Build;

/// Version of what is said here. [`HOST`] and [`STOP`] never change.
pub const PROTOCOL: u32 = 1;

/// Path of [`Hello`], by GET.
pub const HOST: &str = "/v1/host";
/// Path of [`Stop`], by POST. Answered at once; the host is gone when its lock is free.
pub const STOP: &str = "/v1/host/stop";
/// Path of [`Attach`], by POST. The answer is a line of JSON, a [`Hello`], whenever it changes and every [`BEAT`]; the window is
/// attached until it drops the answer.
pub const ATTACH: &str = "/v1/host/attach";
/// Path of [`ModelKey`], by PUT.
pub const MODEL_KEY: &str = "/v1/host/model-key";

/// Time between two lines for an attached window. A host that is silent for [`SILENCE`] is given up.
pub const BEAT: std::time::Duration = std::time::Duration::from_secs(5);
/// Longest silence of a host that is there.
pub const SILENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Who a host is and what goes on in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// [`PROTOCOL`] of the host.
    pub protocol: u32,
    /// The host's program.
    pub build: Build,
    /// Runs of agents that go on or are about to.
    pub running: usize,
    /// Messages that wait for a person.
    pub waiting: usize,
    /// Windows that are attached.
    pub windows: usize,
    /// It leaves as soon as nothing runs.
    pub leaving: bool,
}

/// A window attaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attach {
    /// [`PROTOCOL`] of the window.
    pub protocol: u32,
    /// The program that the window would have started.
    pub build: Build,
}

/// A host is asked to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stop {
    /// Now: runs end in the log, and go on at the next start where they may.
    Now,
    /// As soon as nothing runs.
    WhenIdle,
    /// Now, because the person wants no agent to go on: runs end in the log, for good.
    ForGood,
}

/// The model endpoint's key for as long as the host lives, where no keychain keeps it; `None` forgets it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelKey {
    /// The key itself.
    pub key: Option<String>,
}

// L11
impl fmt::Debug for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelKey").field("is_some", &self.key.is_some()).finish()
    }
}
