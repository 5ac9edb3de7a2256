//! Commands of the page: one file per domain, each command a few lines on the engine.
//!
//! Commands are idempotent or carry ids, because a page whose reply was lost asks again.

pub(crate) mod feed;
pub(crate) mod files;
pub(crate) mod messages;
pub(crate) mod servers;
pub(crate) mod sessions;
pub(crate) mod settings;

use crate::state::Host;
use std::sync::Arc;

/// The host's handles, as a command gets them.
pub(crate) type State<'a> = tauri::State<'a, Arc<Host>>;
