//! Readers with a named token: they are let in once and may stay, so a token that is revoked meanwhile has to end them.
//!
//! Tokens are revoked by another process, in the database. While somebody follows, the tokens that are followed with
//! are looked up every [`LOOK`]; one that is gone ends its readers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::tokens::KnownTokens;

/// A revoked token's readers end within this time.
const LOOK: Duration = Duration::from_secs(1);

/// The tokens that somebody follows with.
#[derive(Clone, Default)]
pub(crate) struct Following(Arc<Mutex<HashMap<String, Weak<CancellationToken>>>>);

/// Ends when the token of one reader is revoked. Shared by all readers of the same token.
#[derive(Clone)]
pub(crate) struct Revoked(Arc<CancellationToken>);

impl Following {
    /// A reader begins to read with the token of this id.
    pub(crate) fn begin(&self, token_id: &str) -> Revoked {
        let mut followed = self.lock();
        let known = followed.get(token_id).and_then(Weak::upgrade);
        Revoked(known.unwrap_or_else(|| {
            let new = Arc::new(CancellationToken::new());
            followed.insert(token_id.to_owned(), Arc::downgrade(&new));
            new
        }))
    }

    /// Looks for revoked tokens until `stop`.
    pub(crate) async fn watch(self, tokens: KnownTokens, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let ids: Vec<String> = {
                let mut followed = self.lock();
                followed.retain(|_, readers| readers.strong_count() > 0);
                followed.keys().cloned().collect()
            };
            if ids.is_empty() {
                continue;
            }
            let gone = tokens.revoked(ids).await.unwrap_or_default();
            let mut followed = self.lock();
            for readers in gone.iter().filter_map(|id| followed.remove(id)?.upgrade()) {
                readers.cancel();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<CancellationToken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Revoked {
    /// Waits for the revocation.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn revoked(&self) {
        self.0.cancelled().await;
    }
}
