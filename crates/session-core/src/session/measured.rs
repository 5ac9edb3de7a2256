//! A session without its task: what the task does for one batch and for one commit, callable one by
//! one. For `cargo xtask bench engine` only.

use std::sync::Arc;

use bytes::Bytes;
use durable_stream::Offset;
use tokio::time::Instant;

use super::apply::News;
use super::state::Session;
use crate::error::EngineError;
use crate::feed::{Feed, Sources};
use crate::shared::Shared;
use crate::store::sessions;

/// A session that is driven by its caller. Nothing else may open the same one meanwhile.
pub struct Measured {
    session: Session,
}

impl std::fmt::Debug for Measured {
    // L11: a session is what people said.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Measured").finish_non_exhaustive()
    }
}

impl Measured {
    /// Restores a session, made when it is not there.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub(crate) async fn open(shared: &Arc<Shared>, id: &str) -> Result<Self, EngineError> {
        let new = id.to_owned();
        shared.store.write(move |tx| sessions::ensure(tx, &new)).await?;
        Ok(Self { session: Session::restore(shared, id)? })
    }

    /// A feed that shows the session.
    pub fn feed(&mut self) -> Feed {
        let shared = &self.session.shared;
        let feed = Feed::new(
            1,
            Sources {
                servers: shared.servers.subscribe(),
                list: Arc::clone(&shared.list),
                approvals: shared.approvals.subscribe(),
                attach: Box::new(|_, _| Ok(())),
                detach: Box::new(|_| {}),
                move_on: Box::new(|_, _, _| {}),
            },
        );
        feed.show(Some(self.session.id.clone())).expect("nothing is asked of a session");
        self.session.attach(feed.shared());
        feed
    }

    /// Takes in a batch and hands out its diffs.
    pub fn take_in(&mut self, items: &[Bytes], next_offset: &str) {
        let now = Instant::now();
        let next_offset = Offset::At(next_offset.into());
        let news = News { items, next_offset: &next_offset, up_to_date: true, closed: false };
        self.session.take_in(news, now);
        self.session.publish(now);
    }

    /// Writes whatever is not on the disk yet and waits for it. What is complete leaves the memory.
    ///
    /// # Errors
    /// When it cannot be written.
    ///
    /// # Cancel safety
    /// Nothing is lost: what was begun is written.
    pub async fn commit(&mut self) -> Result<(), EngineError> {
        while !self.session.keeping.is_clean() {
            self.session.start_commit();
            let result = self.session.keeping.finished().await;
            self.session.committed(&result);
            result?;
        }
        Ok(())
    }
}
