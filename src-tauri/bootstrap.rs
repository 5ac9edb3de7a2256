//! The page's first state: one object with all that its first paint needs.

use crate::settings::{self, Settings};
use crate::state::Host;
use serde::Serialize;
use session_core::{FeedBatch, Notice};

/// The page's first state. It is in the page before any script runs, as `window.__THREADKEEP__`.
#[derive(Debug, Serialize, ts_rs::TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub(crate) struct Bootstrap {
    /// The first batch of the feed, with everything that it knows: the lists, and of the session
    /// that is shown its meta, draft and items.
    pub batch: FeedBatch,
    /// Id of the person at this window, in every session.
    pub actor_id: String,
    /// The server that the last new session was made on.
    pub last_server: Option<String>,
    /// The person's settings.
    pub settings: Settings,
    /// Notices that the person has to be told.
    pub notices: Vec<Notice>,
    /// `linux`, `macos` or `windows`.
    pub platform: &'static str,
}

/// Reads the first state. It needs no network and no keychain, so that the window is not kept
/// waiting: whether there are keys comes with `get_settings`.
pub(crate) async fn read(host: &Host) -> Bootstrap {
    Bootstrap {
        // Asking from nowhere is answered with the full state and the position to go on from.
        batch: host.feed.next(0, 0).await,
        actor_id: host.settings.identity().actor_id,
        last_server: host.settings.last_server(),
        settings: host.settings.load(),
        notices: host.notices(),
        platform: settings::platform(),
    }
}
