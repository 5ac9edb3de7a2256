//! How a session's book is read from its stream, and stored so that the next reading costs the tail.

use std::collections::HashSet;

use crate::book::RunBook;
use crate::pace::Pace;
use crate::shared::Shared;
use crate::snapshots::{Base, BookShelf, FoldedMessage, Kind, Mark, Proof, Save, Stored, Tail};
use crate::streams::{StreamError, Streams, stream_name};

/// Items that are read again rather than stored, when a session goes to rest.
const AT_REST: u64 = 256;
/// Items after which a session that is used is stored.
const OFTEN: u64 = 16_384;
/// Times that a stream is read at most to know what is in it.
const READINGS: usize = 3;

/// A book, and how much of it is stored.
pub(super) struct Kept {
    pub(super) book: RunBook,
    pub(super) shelved: Shelved,
    /// Where the reading ended.
    mark: Mark,
}

/// The stored part of a session's book.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shelved {
    base: Base,
    /// Items of the stream that are in it.
    pub(super) items: u64,
    /// Items of the stream when it was tried last, and failed.
    tried: u64,
}

impl Kept {
    /// The book of a session that is new.
    pub(super) fn new() -> Self {
        let (book, shelved) = (RunBook::new(), Shelved::default());
        Self { book, shelved, mark: Mark::default() }
    }
}

/// The session as its stream says. What was stored of it is gone on from; a long tail is stored at once, so that
/// whoever dies of it finds it shorter the next time.
pub(super) async fn read(shared: &Shared, session_id: &str) -> Result<Kept, StreamError> {
    let mut kept = match shared.snapshots.load(session_id, Kind::Book).await {
        None => read_whole(&*shared.streams, session_id).await?,
        Some(stored) => match go_on(shared, session_id, stored).await {
            Ok(Some(kept)) => kept,
            Ok(None) | Err(StreamError::Displaced) => {
                tracing::debug!("a snapshot is of no use; the stream is read from its beginning");
                shared.snapshots.drop(session_id, Kind::Book).await;
                read_whole(&*shared.streams, session_id).await?
            }
            Err(error) => return Err(error),
        },
    };
    if kept.book.items() - kept.shelved.items >= OFTEN {
        let mark = kept.mark.clone();
        kept.shelved = store(shared, session_id, &mut kept.book, kept.shelved, mark).await;
    }
    Ok(kept)
}

/// The book from what is stored of a session and from what its stream says since; `None` when that cannot be told from
/// it.
async fn go_on(
    shared: &Shared,
    session_id: &str,
    stored: Stored,
) -> Result<Option<Kept>, StreamError> {
    let shelf =
        BookShelf { snapshots: shared.snapshots.clone(), session_id: session_id.to_owned() };
    let book = RunBook::stored(&stored.head, &stored.standing, Box::new(shelf));
    let Some(mut book) = book else { return Ok(None) };
    let shelved = Shelved { base: stored.base(), items: book.items(), tried: 0 };
    let mark = take(&*shared.streams, session_id, Some(&stored.mark), &mut book).await?;
    let is_whole = !book.is_damaged() && book.torn().next().is_none();
    Ok(is_whole.then_some(Kept { book, shelved, mark }))
}

/// The book of a stream, read from its beginning, page by page. Where rows of a message are late, changed or
/// deleted, it is read again with the rows of that message kept.
pub(super) async fn read_whole(
    streams: &dyn Streams,
    session_id: &str,
) -> Result<Kept, StreamError> {
    let mut whole = HashSet::new();
    let mut left = READINGS;
    loop {
        let mut book = RunBook::with_rows_of(whole.clone());
        let mark = take(streams, session_id, None, &mut book).await?;
        let known = whole.len();
        whole.extend(book.torn().map(str::to_owned));
        left -= 1;
        if left == 0 || whole.len() == known {
            return Ok(Kept { book, shelved: Shelved::default(), mark });
        }
    }
}

/// Takes the items behind a mark into a book; the mark behind them.
async fn take(
    streams: &dyn Streams,
    session_id: &str,
    from: Option<&Mark>,
    book: &mut RunBook,
) -> Result<Mark, StreamError> {
    let name = stream_name(session_id);
    let mut tail = Tail::of(streams, &name, from);
    let mut pace = Pace::default();
    while let Some(items) = tail.next().await? {
        for item in &items {
            book.apply(item);
            pace.worked(item.len()).await;
        }
    }
    Ok(tail.mark())
}

/// Stores a book when enough is new in it: of a session that goes to rest, or of one that is used. Nothing of it may be
/// on its way to the stream.
pub(super) async fn store_grown(
    shared: &Shared,
    session_id: &str,
    book: &mut RunBook,
    shelved: Shelved,
    rests: bool,
) -> Shelved {
    let enough = if rests { AT_REST } else { OFTEN };
    let new = book.items().saturating_sub(shelved.items.max(if rests { 0 } else { shelved.tried }));
    if new < enough || !book.is_storable() {
        return shelved;
    }
    let end = shared.streams.end_at(&stream_name(session_id), book.items()).await;
    // Where items are not counted, the next one who reads the session stores it.
    let Ok(Some(place)) = end else { return Shelved { tried: book.items(), ..shelved } };
    let mark = Mark::end(place, Proof::of(book.last()));
    store(shared, session_id, book, shelved, mark).await
}

async fn store(
    shared: &Shared,
    session_id: &str,
    book: &mut RunBook,
    shelved: Shelved,
    mark: Mark,
) -> Shelved {
    let failed = Shelved { tried: book.items(), ..shelved };
    if !book.is_storable() {
        return failed;
    }
    let Some(head) = book.head() else { return failed };
    let (mut changed, mut gone) = (Vec::new(), Vec::new());
    let mut pace = Pace::default();
    for id in book.changed() {
        let Some(message) = book.stored_message(id) else {
            gone.push(id.clone());
            continue;
        };
        pace.worked(message.fold.len()).await;
        changed.push(FoldedMessage {
            id: message.id,
            position: message.position,
            standing: message.standing,
            fold: message.fold,
            told: None,
        });
    }
    let save = Save {
        session_id: session_id.to_owned(),
        kind: Kind::Book,
        base: if book.is_anew() { Base::default() } else { shelved.base },
        mark,
        head,
        changed,
        gone,
        granted: book.newly_granted().collect(),
    };
    let Some(base) = shared.snapshots.save(save).await else { return failed };
    book.saved();
    Shelved { base, items: book.items(), tried: 0 }
}
