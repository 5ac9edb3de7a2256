//! Sessions are ordered by when something happened in them, however writers spell their times.

use bytes::Bytes;
use serde_json::json;

use super::{crash, folder, open, say, with};

/// A message said at this time.
fn said_at(n: u16, at: &str) -> Bytes {
    let mut row: serde_json::Value =
        serde_json::from_slice(&say(n, "hello")).expect("a message is JSON");
    row["value"]["createdAt"] = json!(at);
    Bytes::from(row.to_string())
}

#[tokio::test]
async fn the_latest_of_several_spellings_is_when_the_session_was_last_active() {
    let dir = folder();
    // As text, the last of these is the greatest and the second the least.
    let log = [
        said_at(1, "2026-01-05T08:00:00Z"),
        said_at(2, "2026-01-05T03:00:05.5-05:00"),
        said_at(3, "2026-01-05T09:00:00+01:00"),
    ];
    let session = with(&dir, &log).await;
    assert_eq!(session.keeping.head().last_activity.as_deref(), Some("2026-01-05T08:00:05.500Z"));
    assert_eq!(session.keeping.head().created_at.as_deref(), Some("2026-01-05T08:00:00.000Z"));
    let stats = session.fold.stats(crate::clock::now());
    assert_eq!(stats.last_message_at.as_deref(), Some("2026-01-05T03:00:05.5-05:00"));
}

#[tokio::test]
async fn times_that_an_earlier_version_kept_as_they_came_are_mended() {
    let dir = folder();
    let session = with(&dir, &[say(1, "hello")]).await;
    crash(session);
    let file = dir.path().join("threadkeep.db");
    let old = rusqlite::Connection::open(&file).expect("it is a database");
    old.execute_batch(
        "UPDATE sessions SET last_activity = '2026-01-05T10:00:00+02:00', created_at = '$(date)';
         DELETE FROM refinery_schema_history WHERE version >= 9;
         PRAGMA user_version = 8;",
    )
    .expect("it can be taken back");
    drop(old);
    let session = open(dir.path()).await;
    assert_eq!(session.keeping.head().last_activity.as_deref(), Some("2026-01-05T08:00:00.000Z"));
    assert_eq!(session.keeping.head().created_at, None);
}
