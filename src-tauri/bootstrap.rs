//! What the page needs for its first paint, in one object.

use crate::settings::{self, Settings};
use crate::state::Host;
use serde::Serialize;
use session_core::{
    Diff, Draft, FeedChange, Item, Notice, ServerSummary, SessionMeta, SessionSummary,
    WaitingApproval,
};

/// The session that is open, as far as the window shows it.
#[derive(Debug, Serialize, ts_rs::TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub(crate) struct OpenSession {
    /// Its id.
    pub session_id: String,
    /// The last rows, oldest first.
    pub items: Vec<Item>,
    /// Whether there are older rows to page back to.
    pub has_more_before: bool,
    /// What stands around the transcript.
    pub meta: SessionMeta,
    /// What the person had typed.
    pub draft: Option<Draft>,
}

/// The page's first state. It is in the page before any script runs, as `window.__THREADKEEP__`.
#[derive(Debug, Serialize, ts_rs::TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub(crate) struct Bootstrap {
    /// The feed's epoch, for the first `next_diffs`.
    #[ts(type = "number")]
    pub epoch: u64,
    /// The feed's position, for the first `next_diffs`.
    #[ts(type = "number")]
    pub to: u64,
    /// The session servers, this computer first.
    pub servers: Vec<ServerSummary>,
    /// The server that the last new session was made on.
    pub last_server: Option<String>,
    /// All sessions.
    pub sessions: Vec<SessionSummary>,
    /// Approvals that wait, over all sessions.
    pub approvals: Vec<WaitingApproval>,
    /// The open session, if one is.
    pub open: Option<OpenSession>,
    /// The person's settings.
    pub settings: Settings,
    /// What the person has to be told.
    pub notices: Vec<Notice>,
    /// `linux`, `macos` or `windows`.
    pub platform: &'static str,
}

/// Reads the first state. It needs no network and no keychain, so that the window is not kept
/// waiting: whether there are keys comes with `get_settings`.
pub(crate) async fn read(host: &Host) -> Bootstrap {
    // Asking from nowhere is answered with the full state and the position to go on from.
    let batch = host.feed.next(0, 0).await;
    let mut bootstrap = Bootstrap {
        epoch: batch.epoch,
        to: batch.to,
        servers: Vec::new(),
        last_server: host.settings.last_server(),
        sessions: Vec::new(),
        approvals: Vec::new(),
        open: None,
        settings: host.settings.load(),
        notices: host.notices(),
        platform: settings::platform(),
    };
    let (mut meta, mut rows) = (None, None);
    for change in batch.changes {
        match change {
            FeedChange::Servers { servers } => bootstrap.servers = servers,
            FeedChange::Sessions { sessions } => bootstrap.sessions = sessions,
            FeedChange::Approvals { approvals } => bootstrap.approvals = approvals,
            FeedChange::Meta { meta: new } => meta = Some(*new),
            FeedChange::Diff { session_id, diff: Diff::Reset { items, has_more_before, .. } } => {
                rows = Some((session_id, items, has_more_before));
            }
            // A batch from nowhere holds nothing else; a notice is in the host's list already.
            FeedChange::Diff { .. } | FeedChange::Notice { .. } => {}
        }
    }
    if let (Some(meta), Some((session_id, items, has_more_before))) = (meta, rows) {
        let draft = host.engine.open_session(&session_id).await.ok().and_then(|view| view.draft);
        bootstrap.open = Some(OpenSession { session_id, items, has_more_before, meta, draft });
    }
    bootstrap
}
