//! Histories for agents from what was stored, and not from the stream.
//!
//! The fold of a session with its texts is stored message by message ([`Kind::Told`]), and goes on from there: a run
//! costs the items since, and the messages that its agent is given. The fold that is stored is the one that reads a
//! whole stream, so that nothing here decides what a message is. What cannot be told so (`None` everywhere here) is
//! read from the stream: messages that are no rows, a state that began with what an agent's template says, and whatever
//! was not stored or cannot be read.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use session_protocol::{Message, MessageLoader, Role, SessionFold, StoredMessage, Texts};

use super::{
    COPIES, FIRST, History, Keepsakes, MAX_AGAIN, SHORT, STEP, Source, Unread, Wanted, keepsake,
    kept_size, size,
};
use crate::{
    budget::Owner,
    pace::Pace,
    run::Cause,
    snapshots::{Base, FoldedMessage, Kind, Mark, Proof, Save, Snapshots, Tail, Told},
    streams::{StreamError, stream_name},
};

/// Items that are folded anew for each run rather than stored.
const OFTEN: u64 = 256;

/// A message as agents are given it, with what their models gave.
#[derive(Serialize, Deserialize)]
struct Shown {
    message: Message,
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    kept: HashMap<String, String>,
}

/// Loads the history of a run, or one message.
///
/// # Errors
///
/// As [`super::load`].
pub(super) async fn load(
    source: &Source<'_>,
    session_id: &str,
    wanted: &Wanted,
) -> Result<Option<History>, Unread> {
    let _turn = source.snapshots.turn(session_id).await;
    let mut late = HashSet::new();
    for _ in 0..MAX_AGAIN {
        match Reading::of(source, session_id, &late).await {
            Ok(Read::Done(reading)) => return reading.history(source, wanted).await,
            Ok(Read::Late(messages)) => {
                // Rows that are not stored are needed: all is read again, with the rows of these messages.
                late.extend(messages);
                source.snapshots.drop(session_id, Kind::Told).await;
            }
            Ok(Read::Elsewhere) => return Ok(None),
            Err(StreamError::Displaced) => source.snapshots.drop(session_id, Kind::Told).await,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// How a reading ended.
enum Read {
    Done(Box<Reading>),
    Late(HashSet<String>),
    /// The stream has to be read.
    Elsewhere,
}

/// The stored part of the fold.
struct Rows {
    snapshots: Snapshots,
    session_id: String,
    /// There is a stored part.
    is_stored: bool,
    /// Keepsakes of the messages that were brought.
    kept: Keepsakes,
    brought: Vec<String>,
    /// The message that was looked for last and is not there.
    missing: Option<String>,
    /// Messages whose rows are needed.
    torn: HashSet<String>,
    is_damaged: bool,
}

impl MessageLoader for Rows {
    fn load(&mut self, id: &str) -> Option<StoredMessage> {
        if self.missing.take().is_none_or(|missing| missing != id) {
            self.torn.insert(id.to_owned());
        }
        None
    }

    fn folded(&mut self, id: &str) -> Option<String> {
        let found = if self.is_stored {
            self.snapshots.message(&self.session_id, Kind::Told, id)
        } else {
            Ok(None)
        };
        let Ok(Some(found)) = found else {
            self.is_damaged |= found.is_err();
            self.missing = Some(id.to_owned());
            return None;
        };
        let shown = found.told.and_then(|told| serde_json::from_str::<Shown>(&told.json).ok());
        if let Some(shown) = shown.filter(|shown| !shown.kept.is_empty()) {
            self.kept.entry(id.to_owned()).or_insert(shown.kept);
        }
        self.brought.push(id.to_owned());
        Some(found.fold)
    }

    fn unreadable(&mut self, _id: &str) {
        self.is_damaged = true;
    }
}

/// The fold, of which only what changed since it was stored is in memory.
struct Reading {
    fold: SessionFold,
    rows: Rows,
    base: Base,
    /// Items that are stored.
    stored: u64,
    mark: Mark,
    /// Messages that changed since they were stored, or are gone.
    changed: BTreeSet<String>,
    /// Bytes of each message in memory.
    sizes: HashMap<String, usize>,
    total: usize,
    /// Messages whose rows are kept.
    late: HashSet<String>,
    /// A message does not consist of rows.
    is_odd: bool,
}

impl Reading {
    /// Reads the items since the fold was stored, and stores it when they are many.
    async fn of(
        source: &Source<'_>,
        session_id: &str,
        late: &HashSet<String>,
    ) -> Result<Read, StreamError> {
        let owner = Owner::Session(session_id.to_owned());
        let most = source.limits.history_bytes;
        let mut limit = FIRST.min(most);
        'larger: loop {
            let _hold = source.budget.take(&owner, limit.saturating_mul(COPIES)).await;
            let stored = source.snapshots.load(session_id, Kind::Told).await;
            let from = stored.as_ref().map(|stored| stored.mark.clone());
            let fold = match &stored {
                None => SessionFold::new(session_id),
                Some(stored) => {
                    match SessionFold::from_head(session_id, Texts::Kept, &stored.head) {
                        Some(fold) => fold,
                        None => return Err(StreamError::Displaced),
                    }
                }
            };
            let mut reading = Self {
                stored: fold.position(),
                fold,
                rows: Rows {
                    snapshots: source.snapshots.clone(),
                    session_id: session_id.to_owned(),
                    is_stored: stored.is_some(),
                    kept: Keepsakes::new(),
                    brought: Vec::new(),
                    missing: None,
                    torn: HashSet::new(),
                    is_damaged: false,
                },
                base: stored.map(|stored| stored.base()).unwrap_or_default(),
                mark: Mark::default(),
                changed: BTreeSet::new(),
                sizes: HashMap::new(),
                total: 0,
                late: late.clone(),
                is_odd: false,
            };
            let name = stream_name(session_id);
            let mut tail = Tail::of(source.streams, &name, from.as_ref());
            while let Some(items) = tail.next().await? {
                reading = reading.taking(items).await?;
                if reading.rows.is_damaged {
                    return Err(StreamError::Displaced);
                }
                if !reading.rows.torn.is_empty() {
                    return Ok(Read::Late(reading.rows.torn));
                }
                if reading.is_odd {
                    return Ok(Read::Elsewhere);
                }
                if reading.total > limit {
                    if limit < most {
                        limit = limit.saturating_mul(STEP).min(most);
                        continue 'larger;
                    }
                    reading.mark = tail.mark();
                    if !reading.store().await || !reading.shrink(limit) {
                        return Ok(Read::Elsewhere);
                    }
                }
            }
            reading.mark = tail.mark();
            if reading.fold.position() - reading.stored >= OFTEN && !reading.store().await {
                return Ok(Read::Elsewhere);
            }
            return Ok(Read::Done(Box::new(reading)));
        }
    }

    /// Takes items, many of them not on a worker of the runtime.
    async fn taking(mut self, items: Vec<Bytes>) -> Result<Self, StreamError> {
        if items.iter().map(Bytes::len).sum::<usize>() <= SHORT {
            self.take(&items);
            return Ok(self);
        }
        let taken = tokio::task::spawn_blocking(move || {
            self.take(&items);
            self
        });
        taken.await.map_err(|_| StreamError::Unavailable("the fold ended".to_owned()))
    }

    fn take(&mut self, items: &[Bytes]) {
        let mut kept = Keepsakes::new();
        for item in items {
            if let Some((message_id, entity, value)) = keepsake(item) {
                kept.entry(message_id).or_default().insert(entity, value);
            }
        }
        let changes = self.fold.apply(items, &mut self.rows);
        if changes.reset {
            // What is stored was before.
            (self.rows.is_stored, self.base) = (false, Base::default());
            self.rows.kept.clear();
            self.changed.clear();
            self.sizes.clear();
            self.total = 0;
        }
        for (id, kept) in kept {
            self.rows.kept.entry(id).or_default().extend(kept);
        }
        let mut logged: Vec<_> = changes.log.into_iter().map(|entry| entry.message_id).collect();
        // Neighbours are mostly of one message.
        logged.dedup();
        let logged = logged.iter().map(|id| String::from(&**id));
        let said = changes.messages.iter().map(|change| change.id().to_owned());
        let mut changed: BTreeSet<String> = logged.chain(said).chain(changes.removed).collect();
        changed.extend(std::mem::take(&mut self.rows.brought));
        for id in &changed {
            self.total -= self.sizes.remove(id).unwrap_or(0);
            let Some(message) = self.fold.message(id) else {
                self.rows.kept.remove(id);
                continue;
            };
            self.is_odd |= !self.fold.is_of_rows(id);
            let kept = self.rows.kept.get(id).map_or(0, kept_size);
            let size = size(message) + kept;
            self.total += size;
            self.sizes.insert(id.clone(), size);
        }
        self.changed.extend(changed);
        let late = &self.late;
        self.fold.release_logs_where(|id| !late.contains(id));
    }

    /// The part of a message in memory that an agent is given; `None` when it is shown to nobody.
    fn told(&self, id: &str) -> Option<Told> {
        let message = self.fold.message(id).filter(|message| !message.hidden)?;
        let by_agent = message.role == Role::Assistant;
        let kept = self.rows.kept.get(id).cloned().unwrap_or_default();
        let size = self.sizes.get(id).copied().unwrap_or(0);
        let shown = Shown { message: message.clone(), kept };
        Some(Told {
            size,
            agent_id: message.actor_id.clone().filter(|_| by_agent),
            complete: message.is_complete,
            json: serde_json::to_string(&shown).ok()?,
        })
    }

    /// Stores what changed; false when it cannot be stored.
    async fn store(&mut self) -> bool {
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        let mut pace = Pace::default();
        for id in &self.changed {
            let (Some(message), Some(fold)) = (self.fold.message(id), self.fold.folded(id)) else {
                gone.push(id.clone());
                continue;
            };
            pace.worked(2 * fold.len()).await;
            changed.push(FoldedMessage {
                id: id.clone(),
                position: message.position,
                standing: false,
                fold,
                told: self.told(id),
            });
        }
        let save = Save {
            session_id: self.rows.session_id.clone(),
            kind: Kind::Told,
            base: self.base,
            mark: self.mark.clone(),
            head: self.fold.head(),
            changed,
            gone,
            granted: Vec::new(),
        };
        let Some(base) = self.rows.snapshots.save(save).await else { return false };
        self.changed.clear();
        (self.base, self.rows.is_stored) = (base, true);
        self.stored = self.fold.position();
        true
    }

    /// Puts messages away that are complete and stored; false when that does not make enough room.
    fn shrink(&mut self, limit: usize) -> bool {
        let late = &self.late;
        let is_over = |message: &&Message| message.is_complete && !late.contains(&message.id);
        let over = self.fold.messages().filter(is_over).map(|message| message.id.clone());
        for id in over.collect::<Vec<_>>() {
            self.fold.evict(&id);
            self.rows.kept.remove(&id);
            self.total -= self.sizes.remove(&id).unwrap_or(0);
        }
        // Else what is left would be stored again and again while it grows.
        self.total <= limit / 2
    }

    /// The wanted history, of what is in memory and what is stored.
    async fn history(
        self,
        source: &Source<'_>,
        wanted: &Wanted,
    ) -> Result<Option<History>, Unread> {
        let Some(state) = self.state(wanted) else { return Ok(None) };
        let state_size = state.as_ref().map_or(0, |state| state.to_string().len());
        let Some(limit) = source.limits.history_bytes.checked_sub(state_size) else {
            return Err(Unread::TooLong);
        };
        let mut here = Vec::new();
        for message in self.fold.messages() {
            let told = self.told(&message.id);
            here.push((message.id.clone(), message.position, told));
        }
        let view = View {
            session_id: self.rows.session_id.clone(),
            is_stored: self.rows.is_stored,
            here,
            wanted: wanted.clone(),
            limit,
        };
        drop(self);
        let view = Arc::new(view);
        let choice = Arc::clone(&view);
        let Ok(chosen) = source.snapshots.read(move |db| choice.choose(db)).await else {
            return Ok(None);
        };
        let Some(Chosen { positions, size: bytes, is_cut }) = chosen else {
            return Err(Unread::TooLong);
        };
        let bytes = bytes + state_size;
        let owner = Owner::Session(view.session_id.clone());
        let hold = source.budget.take(&owner, bytes.saturating_mul(COPIES)).await;
        let Ok(shown) = source.snapshots.read(move |db| view.fetch(db, &positions)).await else {
            return Ok(None);
        };
        let Some(shown) = shown else { return Ok(None) };
        let mut keepsakes = Keepsakes::new();
        let messages: Vec<Message> = shown
            .into_iter()
            .map(|Shown { message, kept }| {
                if !kept.is_empty() {
                    keepsakes.insert(message.id.clone(), kept);
                }
                message
            })
            .collect();
        Ok(Some(History { messages, is_cut, bytes, hold: Some(hold), keepsakes, state }))
    }

    /// The state that the agent of a run shares; the outer `None` when the fold does not know it.
    fn state(&self, wanted: &Wanted) -> Option<Option<Value>> {
        let Wanted::Run(plan, first) = wanted else { return Some(None) };
        let mut sharing = 0;
        let mut state = None;
        for (agent, shared) in self.fold.shared() {
            sharing += 1;
            if agent == plan.agent_id {
                state = shared.value().cloned();
            }
        }
        // The fold follows some agents only, and lets each begin with nothing.
        let knows = if state.is_some() {
            first.as_object().is_some_and(serde_json::Map::is_empty)
        } else {
            sharing < FEW
        };
        knows.then_some(state)
    }
}

/// Agents of which the fold surely knows the state.
const FEW: usize = 32;

/// The messages of a session: those in memory, and behind them those that are stored.
struct View {
    session_id: String,
    is_stored: bool,
    /// Id, position and what an agent is given of it. What is stored of the same messages is older.
    here: Vec<(String, u64, Option<Told>)>,
    wanted: Wanted,
    limit: usize,
}

/// The messages that are given.
struct Chosen {
    /// In order.
    positions: Vec<u64>,
    size: usize,
    is_cut: bool,
}

/// A message that may be given.
struct Candidate {
    position: u64,
    size: usize,
    agent_id: Option<String>,
    complete: bool,
}

impl Candidate {
    fn of(position: u64, told: &Told) -> Self {
        let Told { size, agent_id, complete, .. } = told;
        Self { position, size: *size, agent_id: agent_id.clone(), complete: *complete }
    }
}

const SHOWN: &str = "SELECT position, size, agent_id, complete FROM folded
     WHERE session_id = ?1 AND kind = 1 AND shown IS NOT NULL";

fn candidate(row: &rusqlite::Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate {
        position: row.get(0)?,
        size: row.get(1)?,
        agent_id: row.get(2)?,
        complete: row.get(3)?,
    })
}

impl View {
    fn find(&self, db: &Connection, id: &str) -> rusqlite::Result<Option<Candidate>> {
        if let Some((_, position, told)) = self.here.iter().find(|(here, ..)| here == id) {
            return Ok(told.as_ref().map(|told| Candidate::of(*position, told)));
        }
        if !self.is_stored {
            return Ok(None);
        }
        let mut query = db.prepare_cached(&format!("{SHOWN} AND message_id = ?2"))?;
        query.query_row(params![self.session_id, id], candidate).optional()
    }

    /// The messages that are needed, and of the others that are for the run the newest that fit. `None` when the needed
    /// ones do not.
    fn choose(&self, db: &Connection) -> rusqlite::Result<Option<Chosen>> {
        let (mut positions, mut size) = (BTreeSet::new(), 0);
        let mut need = |id: &str| -> rusqlite::Result<Option<Candidate>> {
            let Some(found) = self.find(db, id)? else { return Ok(None) };
            if positions.insert(found.position) {
                size += found.size;
            }
            Ok(Some(found))
        };
        let (plan, cause) = match &self.wanted {
            Wanted::Message(id) => {
                need(id)?;
                let positions = positions.into_iter().collect();
                let chosen = Chosen { positions, size, is_cut: false };
                return Ok((size <= self.limit).then_some(chosen));
            }
            Wanted::Run(plan, _) => {
                need(&plan.message_id)?;
                let cause = self.wanted.cause().map(&mut need).transpose()?.flatten();
                (plan, cause.map(|cause| cause.position))
            }
        };
        if size > self.limit {
            return Ok(None);
        }
        let goes_back = matches!(plan.cause, Cause::Again { .. });
        let is_for_it = |one: &Candidate| {
            let since = cause.is_some_and(|cause| one.position > cause);
            let own = one.agent_id.as_deref() == Some(&plan.agent_id);
            one.complete && (!since || (own && !goes_back))
        };
        let mut is_cut = false;
        // Says whether older ones are to be looked at.
        let mut add = |one: Candidate| {
            if positions.contains(&one.position) || !is_for_it(&one) {
                return true;
            }
            is_cut = size + one.size > self.limit;
            if !is_cut {
                size += one.size;
                positions.insert(one.position);
            }
            !is_cut
        };
        let mut here: Vec<Candidate> = self
            .here
            .iter()
            .filter_map(|(_, position, told)| Some(Candidate::of(*position, told.as_ref()?)))
            .collect();
        here.sort_by_key(|one| one.position);
        let known: HashSet<u64> = self.here.iter().map(|(_, position, _)| *position).collect();
        let mut goes_on = true;
        if self.is_stored {
            let mut query = db.prepare_cached(&format!("{SHOWN} ORDER BY position DESC"))?;
            for row in query.query_map([&self.session_id], candidate)? {
                let row = row?;
                while goes_on && here.last().is_some_and(|one| one.position > row.position) {
                    goes_on = here.pop().is_none_or(&mut add);
                }
                goes_on = goes_on && (known.contains(&row.position) || add(row));
                if !goes_on {
                    break;
                }
            }
        }
        while goes_on && let Some(one) = here.pop() {
            goes_on = add(one);
        }
        let positions = positions.into_iter().collect();
        Ok(Some(Chosen { positions, size, is_cut }))
    }

    /// Fetches these messages, in order; `None` when one cannot be read.
    fn fetch(&self, db: &Connection, positions: &[u64]) -> rusqlite::Result<Option<Vec<Shown>>> {
        let here: HashMap<u64, &Told> = self
            .here
            .iter()
            .filter_map(|(_, position, told)| Some((*position, told.as_ref()?)))
            .collect();
        let mut query = db.prepare_cached(
            "SELECT shown, shown_digest FROM folded
             WHERE session_id = ?1 AND kind = 1 AND position = ?2",
        )?;
        let mut shown = Vec::with_capacity(positions.len());
        for position in positions {
            let read = match here.get(position) {
                Some(told) => serde_json::from_str(&told.json).ok(),
                None => {
                    let position = i64::try_from(*position).unwrap_or(i64::MAX);
                    let row = |row: &rusqlite::Row<'_>| {
                        let json = row.get_ref(0)?.as_str()?;
                        let is_whole = Proof::of(json.as_bytes()) == row.get::<_, [u8; 32]>(1)?;
                        Ok(is_whole.then(|| serde_json::from_str(json).ok()).flatten())
                    };
                    query.query_row(params![self.session_id, position], row).optional()?.flatten()
                }
            };
            let Some(read) = read else { return Ok(None) };
            shown.push(read);
        }
        Ok(Some(shown))
    }
}
