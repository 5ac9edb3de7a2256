//! Filling the stream of a fork: what cannot be shared with the original is copied, a page at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::OwnedMutexGuard;

use crate::{
    pace::Pace,
    session::{Cut, Survey},
    streams::{Pages, Place, Stamp, StreamError, Streams},
};

/// Bytes of one append.
const PIECE: usize = 512 << 10;
/// Bytes that making a fork holds: pages of the original and of what is there, and the next append.
pub(crate) const HELD: usize = 4 << 20;

/// Which forks are being made: a request that is repeated meanwhile waits for the first.
#[derive(Default)]
pub(crate) struct Making(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Making {
    /// Waits until nobody else makes this session.
    pub(crate) async fn turn(&self, session_id: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(session_id.to_owned()).or_default())
        };
        turn.lock_owned().await
    }
}

/// Items of a stream one by one, of which a page is in memory.
struct Items<'a> {
    pages: Pages<'a>,
    page: std::vec::IntoIter<Bytes>,
    pace: Pace,
}

impl<'a> Items<'a> {
    fn of(streams: &'a dyn Streams, name: &'a str) -> Self {
        let pages = streams.pages(name, Place::default());
        Self { pages, page: Vec::new().into_iter(), pace: Pace::default() }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            if let Some(item) = self.page.next() {
                self.pace.worked(item.len()).await;
                return Ok(Some(item));
            }
            match self.pages.next().await {
                Some(page) => self.page = page?.items.into_iter(),
                None => return Ok(None),
            }
        }
    }
}

/// Takes down where the messages of a session stand.
pub(crate) async fn survey(streams: &dyn Streams, source: &str) -> Result<Survey, StreamError> {
    let mut survey = Survey::default();
    let mut items = Items::of(streams, source);
    while let Some(item) = items.next().await? {
        survey.take(&item);
    }
    Ok(survey)
}

/// A stream that may be the fork, or the beginning of it, compared with its source.
enum Match {
    /// So far it is the same.
    Same,
    /// The stream ended before this item of the source.
    Until(usize),
    Other,
}

impl Match {
    async fn take(
        &mut self,
        at: usize,
        item: &Bytes,
        there: &mut Items<'_>,
    ) -> Result<(), StreamError> {
        if matches!(self, Self::Same) {
            match there.next().await? {
                Some(known) if known == *item => {}
                Some(_) => *self = Self::Other,
                None => *self = Self::Until(at),
            }
        }
        Ok(())
    }

    fn from(&self, end: usize) -> Option<usize> {
        match self {
            Self::Same => Some(end),
            Self::Until(at) => Some(*at),
            Self::Other => None,
        }
    }
}

/// The item of `source` from which on its own are left to copy into `target`, which is there; `None` when that holds
/// something else.
pub(crate) async fn resume(
    streams: &dyn Streams,
    source: &str,
    target: &str,
    cut: &Cut,
) -> Result<Option<usize>, StreamError> {
    // As the stream server branched it off, and as a copy from the beginning on.
    let (mut branched, mut copied) = (Match::Same, Match::Same);
    let (mut branched_items, mut copied_items) =
        (Items::of(streams, target), Items::of(streams, target));
    let mut items = Items::of(streams, source);
    for at in 0..cut.items {
        let Some(item) = items.next().await? else { break };
        if at < cut.branch || cut.is_own(at) {
            branched.take(at, &item, &mut branched_items).await?;
        }
        if cut.is_own(at) {
            copied.take(at, &item, &mut copied_items).await?;
        }
        if !matches!(branched, Match::Same) && !matches!(copied, Match::Same) {
            break;
        }
    }
    // What ends within the shared part was not branched off.
    let branched = branched.from(cut.items).filter(|at| *at >= cut.branch && cut.branch > 0);
    Ok(branched.or_else(|| copied.from(cut.items)))
}

/// Copies what is the fork's own from an item of `source` on; how many items those are.
pub(crate) async fn copy(
    streams: &dyn Streams,
    source: &str,
    target: &str,
    cut: &Cut,
    from: usize,
) -> Result<u64, StreamError> {
    if from >= cut.items {
        return Ok(0);
    }
    let mut stamp = Stamp { id: format!("fork-{}", uuid::Uuid::new_v4()), epoch: 0, seq: 0, at: 0 };
    let (mut piece, mut size, mut count) = (Vec::new(), 0, 0);
    let mut items = Items::of(streams, source);
    for at in 0..cut.items {
        let Some(item) = items.next().await? else { break };
        if at < from || !cut.is_own(at) {
            continue;
        }
        count += 1;
        size += item.len();
        piece.push(item);
        if size >= PIECE {
            streams.append(target, std::mem::take(&mut piece), &stamp, true).await?;
            stamp.seq += 1;
            size = 0;
        }
    }
    if !piece.is_empty() {
        streams.append(target, piece, &stamp, true).await?;
    }
    Ok(count)
}
