//! How windows find, start and hold on to the host process: the process that runs the session server and the agents of this
//! computer, and that outlives every window.
//!
//! ```text
//! window ─▶ Starter::attach ─▶ host.json (0600) ─▶ GET  /v1/host         who are you?   (any version)
//!                │                                 POST /v1/host/stop    leave          (any version)
//!                │                                 POST /v1/host/attach  I am here      (this version)
//!                └─ nobody there ─▶ `threadkeep host --data DIR`, which takes host.lock or leaves
//! ```
//!
//! - **The lock says whether there is a host**, and only a host takes it: never a process id, and never a port that somebody
//!   listens on. Who answers with the token of `host.json` is the host of that folder.
//! - **A window is attached for as long as its connection lives.** A window that is killed needs to say nothing.
//! - **Both sides compare.** The host's first answer has its protocol and its build. An older host is replaced once, a newer
//!   one is left alone. Asking who a host is and asking it to leave work across all versions.
//! - A host that works is never killed for an update: it leaves when its runs are over, and the window attaches to the next.
//!
//! The host itself is `threadkeep host` (threadkeep-cli); both sides use the types of [`api`] and the files of [`files`].

pub mod api;
mod attach;
mod build;
pub mod files;

pub use attach::{AttachError, Attached, Starter};
pub use build::Build;

/// Service under which secrets lie in the operating system's keychain.
pub const KEYCHAIN_SERVICE: &str = "dev.threadkeep.desktop";
/// Name of the model endpoint's API key there.
pub const MODEL_KEY: &str = "model-key";
/// Base URL of the model endpoint as long as the person has set no other.
pub const MODEL_BASE_URL: &str = "http://127.0.0.1:11434/v1";
