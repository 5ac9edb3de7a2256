//! The window's feed: a signal is pushed, the batch is pulled (`crate::bridge`).

use super::State;
use crate::bootstrap::{self, Bootstrap};
use crate::error::CommandResult;
use session_core::{FeedBatch, ListQuery};
use std::sync::atomic::Ordering;

/// The page's first state, for a page that was loaded again.
#[tauri::command]
pub(crate) async fn bootstrap(host: State<'_>) -> CommandResult<Bootstrap> {
    // It begins with the head of the list that every page begins with.
    host.feed.list(ListQuery::default());
    Ok(bootstrap::read(&host).await)
}

/// Everything since `after`, as one batch; waits up to 20 s for something to tell.
#[tauri::command]
pub(crate) async fn next_diffs(
    host: State<'_>,
    epoch: u64,
    after: u64,
) -> CommandResult<FeedBatch> {
    host.pulling.store(true, Ordering::Release);
    let batch = host.feed.next(epoch, after).await;
    host.pulling.store(false, Ordering::Release);
    host.pulls.fetch_add(1, Ordering::AcqRel);
    Ok(batch)
}

/// The page has painted; `rows` of a session were in that first paint.
#[tauri::command]
pub(crate) fn painted(rows: u32) {
    // `cargo xtask run --screenshot` waits for this line.
    println!("Threadkeep: window painted with {rows} rows");
}
