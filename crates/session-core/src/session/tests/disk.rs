//! A disk that is full.

use bytes::Bytes;

use super::{crash, delta, open, opened, replay, shown, take_in};
use crate::session::state::Session;

#[tokio::test]
async fn a_full_disk_stops_writing_keeps_showing_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let mut session = open(dir.path()).await;
    let pages = |session: &Session, add: i64| {
        session.shared.store.write(move |tx| {
            let pages: i64 = tx.pragma_query_value(None, "page_count", |row| row.get(0))?;
            tx.pragma_update_and_check(None, "max_page_count", pages + add, |_| Ok(()))
        })
    };
    pages(&session, 0).await.expect("the limit is set");
    let log: Vec<Bytes> =
        (0..40).map(|n| delta(1, n, &"text that needs some room ".repeat(20))).collect();
    take_in(&mut session, &log, 0, log.len());
    session.start_commit();
    let result = session.keeping.finished().await;
    assert!(result.as_ref().is_err_and(crate::store::StoreError::is_disk_full), "{result:?}");
    session.committed(&result);
    assert!(session.shared.notices().iter().any(|notice| notice.message.contains("disk is full")));
    let shown_now = opened(&mut session);
    assert_eq!(shown_now, shown(&replay(&log)));

    pages(&session, 10_000).await.expect("there is room again");
    session.start_commit();
    let result = session.keeping.finished().await;
    session.committed(&result);
    assert!(session.keeping.is_clean());
    assert!(session.shared.notices().is_empty(), "it is settled");
    crash(session);
    let mut session = open(dir.path()).await;
    assert_eq!(opened(&mut session), shown_now);
}
