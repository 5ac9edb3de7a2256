//! Wakes the page. A Tauri event is a script that the web view evaluates and keeps, so it carries
//! no payload and is rare: while the page pulls (`next_diffs`), none is needed. It is for a page
//! that does not pull: just loaded, back from hidden, after an error. One event, then silence until
//! the page has pulled again.

use crate::state::Host;
use crate::window::MAIN;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tauri::{AppHandle, Emitter as _};

/// The event without payload.
const WAKE: &str = "feed";
/// A page between two pulls is not asleep.
const BETWEEN_PULLS: Duration = Duration::from_millis(250);

/// Watches the feed for as long as the app runs.
pub(crate) async fn watch(app: AppHandle, host: Arc<Host>) {
    let mut ready = host.feed.ready();
    let mut woken_at = None;
    while ready.changed().await.is_ok() {
        tokio::time::sleep(BETWEEN_PULLS).await;
        let newest = *ready.borrow_and_update();
        let pulling = host.pulling.load(Ordering::Acquire);
        let pulled = host.pulls.load(Ordering::Acquire);
        if pulling || woken_at == Some(pulled) {
            continue;
        }
        woken_at = Some(pulled);
        if let Err(error) = app.emit_to(MAIN, WAKE, ()) {
            tracing::warn!(%error, newest, "the page could not be woken");
        }
    }
}
