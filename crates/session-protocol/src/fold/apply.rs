//! One application of items to a session.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::context::{RowBody, RowContext, Shape};
use super::dialect::electric;
use super::log::{
    EntryKind, LiveRow, NewRow, RowId, RowLog, Upsert, entity_key, entry, merge_into, object,
    split_entity,
};
use super::message::{MessageFold, Weight};
use super::session::{ApprovalKey, SessionFold};
use super::short::{KEPT, Texts};
use super::track::Tracker;
use super::{ChangeSet, Collection, LogEntry, MessageLoader};
use crate::chunk::{self, Inner};
use crate::event::{
    BareEvent, ChunkEvent, ChunkFields, Control, Event, Operation, RowEvent, decode, split_key,
};
use crate::row::{ActiveGeneration, Role};

/// Agents of a session whose shared state is kept.
const MOST_SHARING: usize = 32;

/// The work in progress.
pub(crate) struct Run<'a> {
    pub(super) fold: &'a mut SessionFold,
    pub(super) loader: &'a mut dyn MessageLoader,
    pub(super) tracker: Tracker,
    pub(super) out: ChangeSet,
    pub(super) log: Vec<LogEntry>,
    /// Room to write an entry of a log in.
    pub(super) room: String,
    /// Log entries before this index belong to a message that was removed since.
    pub(super) void: HashMap<String, usize>,
    /// Messages to refold at the end.
    pub(super) dirty: BTreeSet<String>,
    pub(super) rows: BTreeSet<(Collection, String)>,
    pub(super) active_rows: foldhash::HashSet<String>,
    pub(super) all_rows: bool,
    pub(super) approvals: BTreeSet<ApprovalKey>,
    pub(super) tool_calls: BTreeSet<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(fold: &'a mut SessionFold, loader: &'a mut dyn MessageLoader) -> Self {
        let drops = fold.texts == Texts::Dropped;
        Self {
            fold,
            loader,
            tracker: if drops { Tracker::off() } else { Tracker::default() },
            out: ChangeSet::default(),
            log: Vec::new(),
            room: String::new(),
            void: HashMap::new(),
            dirty: BTreeSet::new(),
            rows: BTreeSet::new(),
            active_rows: foldhash::HashSet::default(),
            all_rows: false,
            approvals: BTreeSet::new(),
            tool_calls: BTreeSet::new(),
        }
    }

    /// Takes the position of the next item.
    pub(super) fn next_position(&mut self) -> u64 {
        let pos = self.fold.next;
        self.fold.next = pos.saturating_add(1);
        pos
    }

    /// Applies one item.
    pub(super) fn item(&mut self, item: &[u8]) {
        let pos = self.next_position();
        self.out.items += 1;
        let event = decode(item);
        if let Some(txid) = event.txid() {
            self.out.txids.push(txid.to_owned());
        }
        self.event(&event, pos);
    }

    /// Applies one item that is decoded.
    pub(super) fn event(&mut self, event: &Event<'_>, pos: u64) {
        match event {
            Event::Chunk(chunk) => self.chunk(chunk, pos),
            Event::Control(Control::Reset) => self.reset(pos),
            Event::Malformed { .. } => self.skip(),
            // What has no rows of messages is for readers.
            _ if self.drops() => {}
            Event::Presence(row) => self.presence(row),
            Event::Agent(row) => self.agent(row),
            Event::Entity(row) => self.entity(row, pos),
            Event::Control(_) | Event::Other(_) => {}
            Event::Bare(bare) => self.bare(bare, pos),
        }
    }

    fn drops(&self) -> bool {
        self.fold.texts == Texts::Dropped
    }

    /// Marks a row of the state as changed.
    pub(super) fn mark(&mut self, collection: Collection, key: impl Into<String>) {
        if !self.drops() {
            self.rows.insert((collection, key.into()));
        }
    }

    // Messages.

    /// Brings a message into memory; false when there is none.
    pub(super) fn bring(&mut self, id: &str) -> bool {
        if self.fold.messages.contains_key(id) {
            self.fold.touch(id);
            return true;
        }
        if let Some(folded) = self.loader.folded(id) {
            return self.bring_folded(id, &folded);
        }
        let Some(stored) = self.loader.load(id) else { return false };
        let floor = self.floor(id);
        let mut log = RowLog::stored();
        let Some(first) = log.build_index(&stored.log, id, floor) else { return false };
        if log.is_empty() {
            return false;
        }
        let shape = log.shape();
        let mut message = MessageFold::new(id, first, shape, log, self.fold.texts);
        refold(&mut message, first);
        // What it did to the session is in the state already.
        message.take_outbox();
        message.counted = message.weight();
        message.counted_at = shown_time(&message);
        self.fold.order.insert(first, id.to_owned());
        self.fold.messages.insert(id.to_owned(), message);
        self.connect(id, &mut Tracker::off());
        if let Some(message) = self.fold.messages.get_mut(id) {
            message.take_outbox();
        }
        true
    }

    pub(super) fn floor(&self, id: &str) -> u64 {
        self.fold.dead.get(id).copied().unwrap_or(0).max(self.fold.floor)
    }

    /// Gives the calls of a message what is known of them elsewhere.
    pub(super) fn connect(&mut self, id: &str, tracker: &mut Tracker) {
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        let calls: Vec<(String, Option<String>)> = message
            .calls()
            .map(|(call, state)| {
                (call.clone(), state.request.as_ref().map(|request| request.approval.clone()))
            })
            .collect();
        for (call, approval) in calls {
            let outcome = self.fold.signals.outcome(id, &call);
            message.set_foreign(&call, outcome, tracker);
            if let Some(approval) = approval {
                let answer = self.fold.signals.answer(&approval, id, &call);
                message.set_answer(&call, answer, tracker);
            }
        }
    }

    /// A message in memory, or a new one; false when there is one of another shape, which cannot take
    /// the row.
    fn bring_or_create(&mut self, id: &str, shape: Shape, pos: u64) -> bool {
        if self.bring(id) {
            if self.fold.messages.get(id).is_some_and(|message| message.shape == shape) {
                return true;
            }
            self.skip();
            return false;
        }
        let is_bare = self.drops() && !self.fold.whole.contains(id);
        let log = if is_bare { RowLog::bare() } else { RowLog::default() };
        let mut message = MessageFold::new(id, pos, shape, log, self.fold.texts);
        if let Some(most) = self.fold.listened.get(id) {
            message.listen(*most);
        }
        self.fold.messages.insert(id.to_owned(), message);
        self.fold.order.insert(pos, id.to_owned());
        self.tracker.inserted(id);
        self.fold.touch(id);
        true
    }

    /// Counts an item that is left out.
    fn skip(&mut self) {
        self.fold.malformed = self.fold.malformed.saturating_add(1);
        self.out.skipped += 1;
    }

    fn build_index(&mut self, id: &str) {
        let floor = self.floor(id);
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        if message.log.is_indexed() {
            return;
        }
        let stored = if message.log.needs_stored() {
            self.loader.load(id).map(|stored| stored.log).unwrap_or_default()
        } else {
            Vec::new()
        };
        message.log.build_index(&stored, id, floor);
    }

    fn keep(&mut self, id: &str, raw: Arc<str>) {
        if self.drops() {
            return;
        }
        // Nearly always it is the message of the entry before.
        let message_id = match self.log.last() {
            Some(last) if *last.message_id == *id => Arc::clone(&last.message_id),
            _ => id.into(),
        };
        self.log.push(LogEntry { message_id, raw });
    }

    fn chunk(&mut self, event: &ChunkEvent<'_>, pos: u64) {
        let stray = self.fold.strays.get(event.key.as_ref()).cloned();
        let id = stray.as_deref().unwrap_or_else(|| event.message_id());
        if event.operation == Operation::Delete {
            self.delete_chunk(event, id, pos);
            return;
        }
        let Some(raw) = event.raw else { return };
        let fields = &event.fields;
        let seq = event.seq();
        if !self.bring_or_create(id, Shape::Rows, pos) {
            return;
        }
        let row_id = RowId::of_chunk(&event.key, id, seq);
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        let usual = matches!(row_id, RowId::Seq(_));
        if !usual && !message.odd {
            message.odd = true;
        }
        if !usual && split_key(&event.key).0 != id && !self.fold.strays.contains_key(&*event.key) {
            self.fold.strays.insert(event.key.to_string(), id.to_owned());
            self.rows.insert((Collection::Meta, "strays".to_owned()));
        }
        let run = event.run.as_ref();
        let context = RowContext {
            pos,
            seq,
            actor: fields.actor_id.as_deref(),
            role: fields.role,
            created_at: fields.created_at.as_deref(),
            run,
        };
        let body = match fields.chunk.as_deref() {
            Some(chunk) => RowBody::Chunk(chunk),
            None => RowBody::Nothing,
        };
        if message.drops() {
            let is_new = message.log.keys.insert(&event.key, id);
            if !message.log.is_bare {
                self.fold.kept = self.fold.kept.saturating_add(raw.len());
                if self.fold.kept > KEPT {
                    message.log.give_up();
                    message.dirty = false;
                    self.dirty.remove(id);
                }
            }
            if message.log.is_bare {
                // A row that is there comes again, or is another one now.
                let follows = is_new && message.is_after(seq, pos);
                if is_new {
                    message.fold_row(&context, &body, &mut self.tracker);
                    self.settle(id);
                }
                if !follows {
                    self.fold.torn.insert(id.to_owned());
                }
                return;
            }
        }
        // L12: a row that cannot be there yet is folded alone, whatever the message's size.
        let entry =
            entry(&mut self.room, pos, EntryKind::of_chunk(run), Some(&event.key), Some(raw), run);
        let row = NewRow { seq, pos, raw, run };
        if usual && !message.odd && !message.dirty && message.is_new_seq(seq) {
            message.log.push(entry.clone(), row_id, row);
            message.fold_row(&context, &body, &mut self.tracker);
            let states = message.scratch.states;
            self.keep(id, entry);
            self.settle(id);
            if states {
                self.share(id, seq, fields);
            }
            return;
        }
        self.build_index(id);
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        let row_id = message.log.chunk_id(&event.key, id, fields.seq.or(split_key(&event.key).1));
        let upsert = message.log.upsert(row_id.clone(), row);
        if upsert == Upsert::New {
            self.share(id, seq, fields);
        }
        self.after_upsert(id, upsert, &row_id, entry);
    }

    /// A row went into the index: note it, fold it now when it is last, else refold later.
    fn after_upsert(&mut self, id: &str, upsert: Upsert, row_id: &RowId, entry: Arc<str>) {
        if upsert == Upsert::Same {
            return;
        }
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        message.log.push_indexed(entry.clone());
        let last = message
            .log
            .row(row_id)
            .filter(|row| {
                upsert == Upsert::New && !message.dirty && message.is_after(row.seq, row.pos)
            })
            .cloned();
        match last {
            Some(row) => fold_live(message, row_id, &row, &mut self.tracker),
            None => {
                message.dirty = true;
                self.dirty.insert(id.to_owned());
            }
        }
        self.keep(id, entry);
        self.settle(id);
    }

    fn delete_chunk(&mut self, event: &ChunkEvent<'_>, id: &str, pos: u64) {
        if !self.bring(id) {
            return;
        }
        let message = self.fold.messages.get_mut(id).filter(|message| message.drops());
        if let Some(message) = message {
            let known = message.log.keys.remove(&event.key, id);
            if message.log.is_bare {
                let is_empty = message.log.keys.is_empty();
                if known {
                    self.fold.strays.remove(&*event.key);
                }
                match (known, is_empty) {
                    (true, true) => self.remove(id, pos),
                    (true, false) => drop(self.fold.torn.insert(id.to_owned())),
                    (false, _) => {}
                }
                return;
            }
        }
        self.build_index(id);
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        let row_id = message.log.chunk_id(&event.key, id, split_key(&event.key).1);
        if message.log.delete(&row_id) {
            self.fold.strays.remove(&*event.key);
            self.unshare(id, event.seq());
            self.deleted(id, &event.key, pos);
        }
    }

    /// Takes what a row of an agent says of the state that it shares.
    fn share(&mut self, id: &str, seq: i64, fields: &ChunkFields<'_>) {
        let (Some(Role::Assistant), Some(agent), Some(chunk)) =
            (fields.role, fields.actor_id.as_deref(), fields.chunk.as_deref())
        else {
            return;
        };
        if self.drops() {
            return;
        }
        let shared = &mut self.fold.shared;
        if !chunk.contains("STATE_")
            || (shared.len() >= MOST_SHARING && !shared.contains_key(agent))
        {
            return;
        }
        let state = shared.entry(agent.to_owned()).or_default();
        if state.take(id, seq, chunk, &Value::Object(Map::new())) {
            self.mark(Collection::Shared, agent);
            self.out.shared_changed = true;
        }
    }

    /// A row is gone: what it said last of a state goes with it.
    fn unshare(&mut self, id: &str, seq: i64) {
        let shared = &mut self.fold.shared;
        let gone = shared
            .iter_mut()
            .find_map(|(agent, state)| state.delete(id, seq).then(|| agent.clone()));
        if let Some(agent) = gone {
            self.mark(Collection::Shared, agent);
            self.out.shared_changed = true;
        }
    }

    fn deleted(&mut self, id: &str, key: &str, pos: u64) {
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        if message.log.is_empty() {
            self.remove(id, pos);
            return;
        }
        let entry = entry(&mut self.room, pos, EntryKind::Delete, Some(key), None, None);
        message.log.push_indexed(entry.clone());
        message.dirty = true;
        self.dirty.insert(id.to_owned());
        self.keep(id, entry);
    }

    /// The last row of a message is gone.
    pub(super) fn remove(&mut self, id: &str, pos: u64) {
        let affected = self.withdraw(id);
        let Some(message) = self.fold.messages.remove(id) else { return };
        self.fold.order.remove(&message.message.position);
        self.fold.totals.replace(message.counted, Weight::default());
        self.fold.totals.replace_time(message.counted_at.as_deref(), None);
        if self.fold.active.remove(id).is_some() {
            self.active_rows.insert(id.to_owned());
            self.out.active_changed = true;
        }
        let floor = pos.saturating_add(1);
        self.fold.dead.insert(id.to_owned(), floor);
        self.fold.bare.floor = self.fold.bare.floor.max(floor);
        self.dirty.remove(id);
        self.fold.torn.remove(id);
        self.void.insert(id.to_owned(), self.log.len());
        self.out.removed.push(id.to_owned());
        self.out.stats_changed = true;
        self.tracker.removed(id);
        self.resolve(affected);
    }

    /// After a message changed: match what it said, count what it is.
    fn settle(&mut self, id: &str) {
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        if message.dirty {
            return;
        }
        let events = message.take_outbox();
        if !events.is_empty() {
            let affected = self.register(id, events);
            self.resolve(affected);
        }
        self.count(id);
    }

    /// Counts a message for what it is now.
    fn count(&mut self, id: &str) {
        if self.drops() {
            return;
        }
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        let weight = message.weight();
        if weight != message.counted {
            let old = mem::replace(&mut message.counted, weight);
            self.fold.totals.replace(old, weight);
            self.out.stats_changed = true;
            if weight.bad > old.bad {
                self.out.skipped += weight.bad - old.bad;
            }
        }
        let time =
            if message.message.hidden { None } else { message.message.created_at.as_deref() };
        if time != message.counted_at.as_deref() {
            let time = time.map(str::to_owned);
            let old = mem::replace(&mut message.counted_at, time.clone());
            self.fold.totals.replace_time(old.as_deref(), time.as_deref());
            self.out.stats_changed = true;
        }
        let seq = u64::try_from(message.last_seq().unwrap_or(0)).unwrap_or(0);
        let message = &message.message;
        if message.is_complete || message.hidden {
            if self.fold.active.remove(id).is_some() {
                self.active_rows.insert(id.to_owned());
                self.out.active_changed = true;
                self.out.stats_changed = true;
            }
            return;
        }
        match self.fold.active.get_mut(id) {
            Some(active) => {
                active.last_chunk_seq = seq;
                active.actor_id.clone_from(&message.actor_id);
                active.started_at.clone_from(&message.created_at);
                active.last_chunk_at.clone_from(&message.last_chunk_at);
            }
            None => {
                self.fold.active.insert(
                    id.to_owned(),
                    ActiveGeneration {
                        message_id: id.to_owned(),
                        actor_id: message.actor_id.clone(),
                        started_at: message.created_at.clone(),
                        last_chunk_at: message.last_chunk_at.clone(),
                        last_chunk_seq: seq,
                    },
                );
                self.out.active_changed = true;
                self.out.stats_changed = true;
            }
        }
        if !self.active_rows.contains(id) {
            self.active_rows.insert(id.to_owned());
        }
    }

    // Other rows.

    fn presence(&mut self, row: &RowEvent<'_>) {
        let key = row.key.as_ref();
        let changed = match row.value {
            None => self.fold.devices.remove(key).is_some(),
            Some(raw) => self.fold.devices.entry(key.to_owned()).or_default().merge(raw.get()),
        };
        if changed {
            self.mark(Collection::Presence, key);
            self.out.presence_changed = true;
        }
    }

    fn agent(&mut self, row: &RowEvent<'_>) {
        let key = row.key.as_ref();
        let changed = match row.value {
            None => self.fold.agents.remove(key).is_some(),
            Some(raw) => match object(raw.get()) {
                Some(value) => {
                    let new = !self.fold.agents.contains_key(key);
                    let agent = self.fold.agents.entry(key.to_owned()).or_default();
                    merge_into(agent, value) || new
                }
                None => false,
            },
        };
        if changed {
            self.mark(Collection::Agents, key);
            self.out.agents_changed = true;
        }
    }

    fn entity(&mut self, row: &RowEvent<'_>, pos: u64) {
        let name = entity_key(&row.type_, &row.key);
        let known = self.fold.entities.get(&name).cloned();
        if row.operation == Operation::Delete {
            let Some(id) = known else { return };
            if self.bring(&id) {
                self.build_index(&id);
                let Some(message) = self.fold.messages.get_mut(&id) else { return };
                if message.log.delete(&RowId::Entity(name.clone())) {
                    self.fold.entities.remove(&name);
                    self.mark(Collection::Entities, &*name);
                    self.deleted(&id, &name, pos);
                }
            }
            return;
        }
        let Some(raw) = row.value.map(|raw| raw.get()) else { return };
        let Some(value) = object(raw) else { return };
        let id = match known {
            Some(id) => id,
            None => match electric::message_of(&row.type_, &row.key, &value) {
                Some(id) => id.into_owned(),
                // A type of the same name in some other program's state.
                None => return,
            },
        };
        if electric::is_updated(&row.type_) && !self.fold.entities.contains_key(&name) {
            self.fold.entities.insert(name.clone(), id.clone());
            self.mark(Collection::Entities, &*name);
        }
        if !self.bring_or_create(&id, Shape::Entity, pos) {
            return;
        }
        self.build_index(&id);
        let Some(message) = self.fold.messages.get_mut(&id) else { return };
        message.log.keep_index();
        let row_id = RowId::Entity(name.clone());
        let upsert = message.log.upsert(row_id.clone(), NewRow::at(pos, raw));
        let entry = entry(&mut self.room, pos, EntryKind::Entity, Some(&name), Some(raw), None);
        self.after_upsert(&id, upsert, &row_id, entry);
    }

    fn reset(&mut self, pos: u64) {
        let fold = &mut *self.fold;
        *fold = SessionFold {
            session_id: mem::take(&mut fold.session_id),
            next: fold.next,
            malformed: fold.malformed,
            floor: pos.saturating_add(1),
            texts: fold.texts,
            whole: mem::take(&mut fold.whole),
            ..SessionFold::default()
        };
        fold.bare.floor = fold.floor;
        self.out = ChangeSet {
            reset: true,
            txids: mem::take(&mut self.out.txids),
            skipped: self.out.skipped,
            items: self.out.items,
            presence_changed: true,
            agents_changed: true,
            shared_changed: true,
            active_changed: true,
            stats_changed: true,
            meta_changed: true,
            ..ChangeSet::default()
        };
        self.tracker = if self.drops() { Tracker::off() } else { Tracker::default() };
        self.log.clear();
        self.void.clear();
        self.dirty.clear();
        self.rows.clear();
        self.active_rows.clear();
        self.approvals.clear();
        self.tool_calls.clear();
        self.all_rows = true;
    }

    /// Folds a bare event into the message it belongs to.
    pub(super) fn bare_chunk(&mut self, id: &str, raw: &str, at: Option<&str>, pos: u64) {
        if !self.bring_or_create(id, Shape::Bare, pos) {
            return;
        }
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        let entry = entry(&mut self.room, pos, EntryKind::Bare, None, Some(raw), None);
        let row = NewRow::at(pos, raw);
        message.log.push(entry.clone(), RowId::Pos(pos), row);
        if message.dirty {
            self.keep(id, entry);
            return;
        }
        let context =
            RowContext { pos, seq: row.seq, actor: None, role: None, created_at: at, run: None };
        message.fold_row(&context, &RowBody::Chunk(raw), &mut self.tracker);
        self.keep(id, entry);
        self.settle(id);
    }

    fn bare(&mut self, event: &BareEvent<'_>, pos: u64) {
        // Where an event goes depends on who holds which call.
        self.catch_up();
        match event {
            BareEvent::Agui(raw) => self.agui(raw, pos),
            BareEvent::Numbered { seq, chunk } => {
                if self.fold.bare.accept(*seq) {
                    self.agui(chunk, pos);
                }
            }
            BareEvent::AiSdk(raw) => self.aisdk(raw, pos),
        }
    }

    /// Refolds what is out of order, completes the figures and hands out the changes.
    pub(super) fn finish(mut self) -> ChangeSet {
        self.catch_up();
        if self.drops() {
            return ChangeSet { items: self.out.items, ..ChangeSet::default() };
        }
        if self.fold.totals.stale {
            self.recount_times();
        }
        for id in mem::take(&mut self.active_rows) {
            self.mark(Collection::Active, id);
        }
        let Self {
            fold, tracker, mut out, log, void, rows, all_rows, approvals, tool_calls, ..
        } = self;
        out.messages = tracker.into_changes();
        out.log = if void.is_empty() {
            log
        } else {
            log.into_iter()
                .enumerate()
                .filter(|(at, entry)| void.get(&*entry.message_id).is_none_or(|void| at >= void))
                .map(|(_, entry)| entry)
                .collect()
        };
        out.approvals =
            approvals.iter().filter_map(|key| fold.approvals.get(key).cloned()).collect();
        out.removed_approvals.retain(|id| {
            !fold.signals.requests_of(id).iter().any(|site| {
                fold.approvals.contains_key(&(site.pos, site.message.clone(), site.call.clone()))
            })
        });
        out.tool_calls = tool_calls.into_iter().collect();
        out.rows = if all_rows { fold.all_rows() } else { fold.changed_rows(rows) };
        out
    }

    /// Refolds every message whose rows came out of order.
    fn catch_up(&mut self) {
        while let Some(id) = self.dirty.pop_first() {
            self.refold(&id);
        }
    }

    fn refold(&mut self, id: &str) {
        self.build_index(id);
        let mut affected = self.withdraw(id);
        let Some(message) = self.fold.messages.get_mut(id) else { return };
        let position = message.message.position;
        let before = message.message.clone();
        refold(message, position);
        let events = message.take_outbox();
        affected.extend(self.register(id, events));
        let mut tracker = Tracker::off();
        self.connect(id, &mut tracker);
        if let Some(message) = self.fold.messages.get_mut(id) {
            let events = message.take_outbox();
            self.register(id, events);
        }
        self.resolve(affected);
        if self.fold.message(id) != Some(&before) {
            self.tracker.replaced(id);
        }
        self.count(id);
    }

    /// The oldest or newest message is gone: look at all of them again.
    fn recount_times(&mut self) {
        let here = self.fold.ids_in_memory();
        self.fold.totals.forget_times();
        for brief in self.loader.briefs() {
            let void = self.floor(&brief.id) > brief.position;
            if brief.hidden || void || here.contains(&brief.id) {
                continue;
            }
            if let Some(time) = &brief.created_at {
                self.fold.totals.see(time);
            }
        }
        for message in self.fold.messages.values() {
            if let Some(time) = &message.counted_at {
                self.fold.totals.see(time);
            }
        }
        self.out.stats_changed = true;
    }
}

/// The time a message counts with.
fn shown_time(message: &MessageFold) -> Option<String> {
    if message.message.hidden { None } else { message.message.created_at.clone() }
}

/// Folds a message anew from its rows.
fn refold(message: &mut MessageFold, position: u64) {
    message.restart(position);
    let mut tracker = Tracker::off();
    if message.shape == Shape::Entity {
        message.log.keep_index();
    }
    for (id, row) in message.log.sorted() {
        if matches!(id, RowId::Key(_)) {
            message.odd = true;
        }
        fold_live(message, &id, &row, &mut tracker);
    }
}

/// Folds one row of the index.
fn fold_live(message: &mut MessageFold, id: &RowId, row: &LiveRow, tracker: &mut Tracker) {
    match id {
        RowId::Seq(_) | RowId::Key(_) => {
            let fields = ChunkFields::parse(&row.raw).unwrap_or_default();
            let context = RowContext {
                pos: row.pos,
                seq: row.seq,
                actor: fields.actor_id.as_deref(),
                role: fields.role,
                created_at: fields.created_at.as_deref(),
                run: row.run.as_deref(),
            };
            let body = match fields.chunk.as_deref() {
                Some(chunk) => RowBody::Chunk(chunk),
                None => RowBody::Nothing,
            };
            message.fold_row(&context, &body, tracker);
        }
        RowId::Entity(name) => {
            let Some((type_, key)) = split_entity(name) else { return };
            let Some(value) = object(&row.raw) else { return };
            let context = RowContext {
                pos: row.pos,
                seq: row.seq,
                actor: None,
                role: None,
                created_at: electric::time(&value),
                run: None,
            };
            message.fold_row(&context, &RowBody::Entity { type_, key, value: &value }, tracker);
        }
        RowId::Pos(_) => {
            let at = Inner::parse(&row.raw).and_then(|inner| bare_time(&inner));
            let context = RowContext {
                pos: row.pos,
                seq: row.seq,
                actor: None,
                role: None,
                created_at: at.as_deref(),
                run: None,
            };
            message.fold_row(&context, &RowBody::Chunk(&row.raw), tracker);
        }
    }
}

/// The time of a bare event: milliseconds, where they can be meant.
pub(super) fn bare_time(inner: &Inner<'_>) -> Option<String> {
    let millis = chunk::value(inner.timestamp).as_ref().and_then(Value::as_i64)?;
    if millis < 100_000_000_000 {
        return None;
    }
    jiff::Timestamp::from_millisecond(millis).ok().map(|at| at.to_string())
}
