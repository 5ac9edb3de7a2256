//! Folds that go on where they stopped.
//!
//! A fold of a stream is stored as a **head**, which is small and always read, and a row for each message, which is
//! read when something needs that message. Beside them stands a [`Mark`]: a place in the stream, and what lies behind
//! it as far as the fold goes. Whoever goes on from a mark reads these items again and compares their hash ([`Tail`]):
//! a stream that was made anew, or restored from a copy, has others there. Such a snapshot, one that another version
//! wrote, and one that is damaged are dropped, and the stream is read from its beginning.
//!
//! Nothing here is the only copy of anything, so that a save waits for no disk and may fail.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::TryStreamExt;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use session_protocol::SessionFold;
use sqlite_line::{Line, Terms};
use tokio::sync::OwnedMutexGuard;

use crate::{
    book::{Damaged, Grant, Shelf},
    store::Store,
    streams::{Pages, Place, StreamError, Streams},
};

/// The folds of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The book of a session's task ([`RunBook`](crate::book::RunBook)).
    Book = 0,
    /// The messages that agents are told ([`history`](crate::history)).
    Told = 1,
}

/// A hash of 256 bits.
type Digest = [u8; 32];

/// How far a fold goes, in a way that tells whether the stream is still the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The stream is read from here.
    place: Place,
    /// Number of items behind the place that are in the fold.
    behind: u64,
    /// Hash of these items.
    proof: Digest,
}

impl Mark {
    /// The end of a stream, by the place in front of its last item.
    pub(crate) fn end(place: Place, last: Digest) -> Self {
        Self { place, behind: 1, proof: last }
    }
}

/// The hash of items, one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proof(blake3::Hasher);

impl Proof {
    /// The hash of one item.
    pub(crate) fn of(item: &[u8]) -> Digest {
        let mut proof = Self::default();
        proof.take(item);
        proof.digest()
    }

    fn take(&mut self, item: &[u8]) {
        self.0.update(&(item.len() as u64).to_le_bytes());
        self.0.update(item);
    }

    fn digest(&self) -> Digest {
        self.0.finalize().into()
    }
}

/// The items of a stream behind a mark, a page at a time, and the mark behind what was read.
pub(crate) struct Tail<'a> {
    pages: Pages<'a>,
    /// The mark that is looked for, while items in front of it are left.
    owed: Option<(u64, Digest)>,
    /// Where the page begins that was read last, and what was read of it.
    place: Place,
    next: Place,
    behind: u64,
    proof: Proof,
}

impl<'a> Tail<'a> {
    /// The items of a stream behind a mark, or all of them.
    pub(crate) fn of(streams: &'a dyn Streams, name: &'a str, mark: Option<&Mark>) -> Self {
        let place = mark.map(|mark| mark.place.clone()).unwrap_or_default();
        Self {
            pages: streams.pages(name, place.clone()),
            owed: mark.filter(|mark| mark.behind > 0).map(|mark| (mark.behind, mark.proof)),
            next: place.clone(),
            place,
            behind: 0,
            proof: Proof::default(),
        }
    }

    /// Some items, in order; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`StreamError::Displaced`]: the stream is not the one that the mark was made in. Else the stream cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Bytes>>, StreamError> {
        let Some(page) = self.pages.try_next().await? else {
            return if self.owed.is_some() { Err(StreamError::Displaced) } else { Ok(None) };
        };
        let begins = std::mem::replace(&mut self.next, page.next);
        if self.owed.is_none() && !page.items.is_empty() {
            (self.place, self.behind, self.proof) = (begins, 0, Proof::default());
        }
        let mut items = page.items.into_iter();
        while let Some((owed, proof)) = self.owed {
            let Some(item) = items.next() else { return Ok(Some(Vec::new())) };
            self.count(&item);
            self.owed = (owed > 1).then_some((owed - 1, proof));
            if self.owed.is_none() && self.proof.digest() != proof {
                return Err(StreamError::Displaced);
            }
        }
        let items: Vec<Bytes> = items.collect();
        items.iter().for_each(|item| self.count(item));
        Ok(Some(items))
    }

    fn count(&mut self, item: &[u8]) {
        self.proof.take(item);
        self.behind += 1;
    }

    /// The mark behind what was read.
    pub(crate) fn mark(&self) -> Mark {
        Mark { place: self.place.clone(), behind: self.behind, proof: self.proof.digest() }
    }
}

/// A fold as it was stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) mark: Mark,
    pub(crate) head: String,
    /// The messages that are always in memory: id and fold.
    pub(crate) standing: Vec<(String, String)>,
    /// The hash of the head, by which a later save knows what it is laid over.
    base: Digest,
}

impl Stored {
    /// The base that a save of the same fold is laid over.
    pub(crate) fn base(&self) -> Base {
        Base(Some(self.base))
    }
}

/// The base of a save: a snapshot, or nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Base(Option<Digest>);

/// A message of a fold.
#[derive(Debug, Clone, Default)]
pub(crate) struct FoldedMessage {
    pub(crate) id: String,
    pub(crate) position: u64,
    pub(crate) standing: bool,
    pub(crate) fold: String,
    /// The part of it that an agent is given, if any.
    pub(crate) told: Option<Told>,
}

/// The part of a message that agents are given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// Bytes of it, about.
    pub(crate) size: usize,
    /// The agent that wrote it.
    pub(crate) agent_id: Option<String>,
    pub(crate) complete: bool,
    pub(crate) json: String,
}

/// Changes of a fold since it was stored last.
#[derive(Debug)]
pub(crate) struct Save {
    pub(crate) session_id: String,
    pub(crate) kind: Kind,
    pub(crate) base: Base,
    pub(crate) mark: Mark,
    pub(crate) head: String,
    pub(crate) changed: Vec<FoldedMessage>,
    /// Messages that are not there any more.
    pub(crate) gone: Vec<String>,
    pub(crate) granted: Vec<Grant>,
}

/// Who waits until nobody else does something in a session.
#[derive(Default)]
struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

/// The stored folds.
#[derive(Clone)]
pub(crate) struct Snapshots {
    line: Line,
    turns: Arc<Turns>,
}

impl Snapshots {
    /// The folds that are in the server's database.
    pub(crate) fn of(store: &Store) -> Self {
        Self { line: store.line().clone(), turns: Arc::default() }
    }

    /// Waits until nobody else reads what the agents of this session are told.
    pub(crate) async fn turn(&self, session_id: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(session_id.to_owned()).or_default())
        };
        turn.lock_owned().await
    }

    /// A fold with its standing messages; `None` when there is none that can be used.
    pub(crate) async fn load(&self, session_id: &str, kind: Kind) -> Option<Stored> {
        let id = session_id.to_owned();
        let loaded = self.line.read_soon(move |db| load(db, &id, kind)).await;
        loaded.inspect_err(|error| tracing::warn!(%error, "a snapshot could not be read")).ok()?
    }

    /// The fold of one message; `None` when it is not stored. Costs one look into the database, on this thread.
    ///
    /// # Errors
    ///
    /// The row is there and cannot be read.
    pub(crate) fn message(
        &self,
        session_id: &str,
        kind: Kind,
        message_id: &str,
    ) -> Result<Option<FoldedMessage>, Damaged> {
        let found = self.line.read(|db| message(db, session_id, kind, message_id));
        found.map_err(|_| Damaged)?.transpose()
    }

    /// The messages of a fold from a position on, in their order: positions and ids; so many at most.
    ///
    /// # Errors
    ///
    /// The database failed.
    fn ids(
        &self,
        session_id: &str,
        kind: Kind,
        from: u64,
        most: usize,
    ) -> Result<Vec<(u64, String)>, Damaged> {
        let ids = |db: &Connection| {
            let mut query = db.prepare_cached(
                "SELECT position, message_id FROM folded WHERE session_id = ?1 AND kind = ?2
                 AND position >= ?3 ORDER BY position LIMIT ?4",
            )?;
            let of = params![session_id, kind as u8, signed(from), most];
            query.query_map(of, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        self.line.read(ids).map_err(|_| Damaged)
    }

    /// The wishes that were granted under a transaction id.
    ///
    /// # Errors
    ///
    /// The database failed.
    fn granted(&self, session_id: &str, txid: &str) -> Result<Vec<Grant>, Damaged> {
        let granted = |db: &Connection| {
            let mut query = db.prepare_cached(
                "SELECT wish, message_id, about FROM granted WHERE session_id = ?1 AND txid = ?2",
            )?;
            let row = |row: &rusqlite::Row<'_>| {
                let about: i64 = row.get(2)?;
                Ok(Grant {
                    txid: txid.to_owned(),
                    wish: row.get(0)?,
                    message_id: row.get(1)?,
                    about: about.cast_unsigned(),
                })
            };
            query.query_map(params![session_id, txid], row)?.collect()
        };
        self.line.read(granted).map_err(|_| Damaged)
    }

    /// Stores what changed in a fold, all or nothing; what the next save is laid over. Nothing is stored when the
    /// session is deleted meanwhile, or the fold that it is laid over was dropped.
    pub(crate) async fn save(&self, save: Save) -> Option<Base> {
        let size = save.changed.iter().map(|message| message.fold.len()).sum();
        let terms = Terms { size, ..Terms::default() };
        let saved = self.line.write(terms, move |tx, ()| write(tx, &save)).await;
        let saved = saved.inspect_err(|error| tracing::debug!(%error, "no snapshot was stored"));
        saved.ok().flatten().map(|base| Base(Some(base)))
    }

    /// Drops a fold.
    pub(crate) async fn drop(&self, session_id: &str, kind: Kind) {
        let id = session_id.to_owned();
        let dropped = self.line.write(Terms::default(), move |tx, ()| forget(tx, &id, kind)).await;
        if let Err(error) = dropped {
            tracing::warn!(%error, "a snapshot could not be dropped");
        }
    }

    /// Reads from the stored folds, on a thread that may block.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Damaged> {
        self.line.read_soon(work).await.map_err(|_| Damaged)
    }
}

/// The book of one session, as far as it is stored.
pub(crate) struct BookShelf {
    pub(crate) snapshots: Snapshots,
    pub(crate) session_id: String,
}

impl Shelf for BookShelf {
    fn message(&self, message_id: &str) -> Result<Option<String>, Damaged> {
        let message = self.snapshots.message(&self.session_id, Kind::Book, message_id)?;
        Ok(message.map(|message| message.fold))
    }

    fn ids(&self, from: u64, most: usize) -> Result<Vec<(u64, String)>, Damaged> {
        self.snapshots.ids(&self.session_id, Kind::Book, from, most)
    }

    fn granted(&self, txid: &str) -> Result<Vec<Grant>, Damaged> {
        self.snapshots.granted(&self.session_id, txid)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The hash of a row, each field with its length.
fn digest(fields: &[&[u8]]) -> Digest {
    let mut hash = Proof::default();
    fields.iter().for_each(|field| hash.take(field));
    hash.digest()
}

fn head_digest(mark: &Mark, head: &str) -> Digest {
    let place = mark.place.name().unwrap_or_default();
    digest(&[place.as_bytes(), &mark.behind.to_le_bytes(), &mark.proof, head.as_bytes()])
}

fn message_digest(message: &FoldedMessage) -> Digest {
    let FoldedMessage { id, position, standing, fold, told } = message;
    let told =
        told.as_ref().map(|told| format!("{} {:?} {}", told.size, told.agent_id, told.complete));
    let place = format!("{position} {standing} {id}");
    digest(&[place.as_bytes(), fold.as_bytes(), told.unwrap_or_default().as_bytes()])
}

fn load(db: &Connection, session_id: &str, kind: Kind) -> rusqlite::Result<Option<Stored>> {
    let head = "SELECT place, behind, proof, head, digest FROM folds
         WHERE session_id = ?1 AND kind = ?2 AND format = ?3";
    let row = |row: &rusqlite::Row<'_>| {
        let place: Option<String> = row.get(0)?;
        let place = place.map(Place::named).unwrap_or_default();
        let mark = Mark { place, behind: row.get(1)?, proof: row.get(2)? };
        Ok((mark, row.get::<_, String>(3)?, row.get::<_, Digest>(4)?))
    };
    let found = db
        .prepare_cached(head)?
        .query_row(params![session_id, kind as u8, SessionFold::FORMAT], row)
        .optional()?;
    let Some((mark, head, base)) = found else { return Ok(None) };
    if head_digest(&mark, &head) != base {
        return Ok(None);
    }
    let mut standing = Vec::new();
    let mut query = db.prepare_cached(STANDING)?;
    for message in query.query_map(params![session_id, kind as u8], folded)? {
        match message? {
            Ok(message) => standing.push((message.id, message.fold)),
            Err(Damaged) => return Ok(None),
        }
    }
    Ok(Some(Stored { mark, head, standing, base }))
}

const MESSAGE: &str = "SELECT message_id, position, standing, fold, size, agent_id, complete, shown, digest FROM folded
     WHERE session_id = ?1 AND kind = ?2 AND message_id = ?3";

/// The messages that stand. The index is named: left alone, SQLite goes through all messages, which are in that order.
const STANDING: &str = "SELECT message_id, position, standing, fold, size, agent_id, complete, shown, digest
     FROM folded INDEXED BY folded_standing WHERE session_id = ?1 AND kind = ?2 AND standing ORDER BY position";

fn folded(row: &rusqlite::Row<'_>) -> rusqlite::Result<Result<FoldedMessage, Damaged>> {
    let json: Option<String> = row.get(7)?;
    let told = match json {
        Some(json) => {
            Some(Told { size: row.get(4)?, agent_id: row.get(5)?, complete: row.get(6)?, json })
        }
        None => None,
    };
    let message = FoldedMessage {
        id: row.get(0)?,
        position: row.get(1)?,
        standing: row.get(2)?,
        fold: row.get(3)?,
        told,
    };
    let is_whole = message_digest(&message) == row.get::<_, Digest>(8)?;
    Ok(if is_whole { Ok(message) } else { Err(Damaged) })
}

/// The row of a message.
fn message(
    db: &Connection,
    session_id: &str,
    kind: Kind,
    message_id: &str,
) -> rusqlite::Result<Option<Result<FoldedMessage, Damaged>>> {
    let mut query = db.prepare_cached(MESSAGE)?;
    query.query_row(params![session_id, kind as u8, message_id], folded).optional()
}

fn forget(db: &Connection, session_id: &str, kind: Kind) -> rusqlite::Result<()> {
    let of = params![session_id, kind as u8];
    db.execute("DELETE FROM folds WHERE session_id = ?1 AND kind = ?2", of)?;
    db.execute("DELETE FROM folded WHERE session_id = ?1 AND kind = ?2", of)?;
    if kind == Kind::Book {
        db.execute("DELETE FROM granted WHERE session_id = ?1", [session_id])?;
    }
    Ok(())
}

fn write(tx: &Transaction<'_>, save: &Save) -> rusqlite::Result<Option<Digest>> {
    let Save { session_id, kind, base, mark, head, changed, gone, granted } = save;
    let listed = "SELECT 1 FROM sessions WHERE session_id = ?1 AND created_at IS NOT NULL";
    if !tx.prepare_cached(listed)?.exists([session_id])? {
        return Ok(None);
    }
    match base.0 {
        None => forget(tx, session_id, *kind)?,
        Some(base) => {
            let same = "SELECT 1 FROM folds WHERE session_id = ?1 AND kind = ?2 AND digest = ?3";
            if !tx.prepare_cached(same)?.exists(params![session_id, *kind as u8, base])? {
                return Ok(None);
            }
        }
    }
    let mut delete = tx.prepare_cached(
        "DELETE FROM folded WHERE session_id = ?1 AND kind = ?2 AND message_id = ?3",
    )?;
    for id in gone {
        delete.execute(params![session_id, *kind as u8, id])?;
    }
    let mut put = tx.prepare_cached(
        "INSERT OR REPLACE INTO folded (session_id, kind, position, message_id, standing, size, agent_id, complete, fold, shown, digest, shown_digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for message in changed {
        let told = message.told.as_ref();
        put.execute(params![
            session_id,
            *kind as u8,
            signed(message.position),
            message.id,
            message.standing,
            told.map_or(0, |told| told.size),
            told.and_then(|told| told.agent_id.as_ref()),
            told.is_some_and(|told| told.complete),
            message.fold,
            told.map(|told| &told.json),
            message_digest(message),
            told.map(|told| Proof::of(told.json.as_bytes())),
        ])?;
    }
    let mut grant =
        tx.prepare_cached("INSERT OR REPLACE INTO granted VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for row in granted {
        let about = row.about.cast_signed();
        grant.execute(params![session_id, row.txid, row.wish, row.message_id, about])?;
    }
    let digest = head_digest(mark, head);
    tx.prepare_cached("INSERT OR REPLACE INTO folds VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            session_id,
            *kind as u8,
            SessionFold::FORMAT,
            mark.place.name(),
            signed(mark.behind),
            mark.proof,
            head,
            digest,
        ])?;
    Ok(Some(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn opening_reads_no_message_that_does_not_stand() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), None).unwrap();
        let plan = |db: &Connection| {
            let mut query = db.prepare(&format!("EXPLAIN QUERY PLAN {STANDING}"))?;
            query.query_map(params!["s", 0], |row| row.get(3))?.collect::<Result<Vec<String>, _>>()
        };
        let plan = Snapshots::of(&store).line.read(plan).unwrap();
        assert!(plan.len() == 1 && plan[0].contains("folded_standing"), "{plan:?}");
    }
}
