//! The person's intents: into the outbox, and from it to the server.

use futures::future::{BoxFuture, FutureExt};
use session_protocol::Intent;
use tokio::time::Instant;

use super::state::Session;
use crate::error::EngineError;
use crate::handle::{ForkPoint, Reply};
use crate::outbox::{OutboxEntry, SendOutcome, Sender, text_of};
use crate::report::HubEvent;
use crate::store::{StoreError, drafts, messages, outbox, sessions};
use crate::summary::Draft;

/// Refusal of an intent for a session that is gone: writing to it would not make it again.
const GONE: &str =
    "The server does not have this session any more. Keep it as a copy, or delete it here.";
/// Notice of a copy that was kept.
const COPY: &str =
    "A copy: the server does not have this session any more. It can be read, not written.";

/// A local write that was handed to the writer thread; what happens when it is on the disk.
pub(super) type LocalWrite = BoxFuture<'static, Saved>;

/// A local write that has ended.
pub(super) enum Saved {
    Entry {
        entry: Box<OutboxEntry>,
        result: Result<(), StoreError>,
        reply: Reply<String>,
    },
    Retried {
        entry_id: String,
        intent: Option<Intent>,
        result: Result<(), StoreError>,
        reply: Reply<()>,
    },
    Discarded {
        entry_id: String,
        result: Result<(), StoreError>,
        reply: Reply<()>,
    },
    Draft {
        draft: Option<Draft>,
        result: Result<(), StoreError>,
        reply: Reply<()>,
    },
    Read {
        position: u64,
        result: Result<(), StoreError>,
        reply: Reply<()>,
    },
    Kept {
        result: Result<(), StoreError>,
        reply: Reply<()>,
    },
    Deleted {
        entry: Box<OutboxEntry>,
        result: Result<(), StoreError>,
        reply: Reply<()>,
    },
}

/// Replies to the one who asked, who may have gone.
fn answer<T>(reply: Reply<T>, result: Result<T, EngineError>) {
    reply.send(result).ok();
}

/// An intent with the text that the person gives it.
fn edited(intent: &Intent, text: String) -> Result<Intent, &'static str> {
    let files = match intent {
        Intent::SendMessage { files, .. } => files.as_slice(),
        _ => &[],
    };
    if text.trim().is_empty() && files.is_empty() {
        return Err("There is nothing to send. Write something first.");
    }
    let title = || text.trim().to_owned();
    match intent {
        Intent::SendMessage { message_id, mode, .. } => {
            let (message_id, files, mode) = (*message_id, files.to_vec(), *mode);
            Ok(Intent::SendMessage { message_id, text, files, mode })
        }
        Intent::Rename { .. } => Ok(Intent::Rename { title: title() }),
        Intent::CreateSession { agents, .. } => {
            Ok(Intent::CreateSession { agents: agents.clone(), title: Some(title()) })
        }
        _ => Err("Only messages and titles can be edited."),
    }
}

impl Session {
    /// Puts an intent in the outbox: on the disk first, then shown and sent.
    pub(super) fn enqueue(
        &mut self,
        entry_id: String,
        intent: Intent,
        reply: Reply<String>,
    ) -> Option<LocalWrite> {
        if let Some(known) = self.same(&entry_id, &intent) {
            answer(reply, Ok(known));
            return None;
        }
        if self.deleted {
            answer(reply, Err(EngineError::UnknownSession));
            return None;
        }
        if self.home.is_forgotten() {
            let why = "This session's server was removed from Threadkeep; it can only be read. Add the \
                       server again to go on.";
            answer(reply, Err(EngineError::NotPossible(why)));
            return None;
        }
        if self.reading.line.is_gone() {
            answer(reply, Err(EngineError::NotPossible(GONE)));
            return None;
        }
        if self.reading.line.is_closed() {
            let why = "This session is closed; nothing can be sent to it any more.";
            answer(reply, Err(EngineError::NotPossible(why)));
            return None;
        }
        if let Intent::SendMessage { message_id, .. } = &intent
            && self.has_message(&message_id.to_string())
        {
            // It was delivered and has left the outbox: there would be no other echo.
            answer(reply, Ok(entry_id));
            return None;
        }
        let entry = OutboxEntry::new(entry_id, intent, crate::clock::now_text());
        let row = entry.row(&self.id);
        // What is sent is no longer a draft.
        let sent = text_of(&entry.intent).map(str::to_owned);
        let draft = self.draft.as_ref().filter(|draft| sent.as_deref() == Some(&draft.text));
        let spent = draft.is_some();
        let session = self.id.clone();
        let saved = self.shared.store.write_durable(move |tx| {
            outbox::insert(tx, &row)?;
            if spent {
                drafts::save(tx, &session, "", "")?;
            }
            Ok(())
        });
        if spent {
            self.draft = None;
        }
        let entry = Box::new(entry);
        Some(async move { Saved::Entry { entry, result: saved.await, reply } }.boxed())
    }

    /// An entry that asks for the same already.
    fn same(&self, entry_id: &str, intent: &Intent) -> Option<String> {
        let at_once = matches!(
            intent,
            Intent::RespondApproval { .. } | Intent::Regenerate { .. } | Intent::Stop { .. }
        );
        let same =
            |entry: &&OutboxEntry| entry.id == entry_id || at_once && entry.intent == *intent;
        let same = self.sending.outbox.iter().find(same);
        same.map(|entry| entry.id.clone())
    }

    /// Whether the stream has shown a message.
    fn has_message(&self, id: &str) -> bool {
        let stored = || {
            self.shared.store.read(|connection| messages::find(connection, self.key, id)).ok()?
        };
        self.fold.message(id).is_some() || stored().is_some_and(|row| !self.keeping.hides(&row.id))
    }

    /// Intents that stop what runs now: each answer by its id, because "everything" would be
    /// something else by the time the server is asked, perhaps twice.
    pub(super) fn stoppable(&self) -> Vec<Intent> {
        let active = self.fold.incomplete();
        active.iter().map(|one| Intent::Stop { message_id: Some(one.message_id.clone()) }).collect()
    }

    /// The end of a copy of the session that is asked for now.
    pub(super) fn fork_point(&mut self, at: Option<String>) -> Result<ForkPoint, EngineError> {
        if !self.keeping.head().remote {
            let why = "This session is not on the server yet. Copy it when it is.";
            return Err(EngineError::NotPossible(why));
        }
        let at_message_id = match at {
            Some(id) if self.has_message(&id) => Some(id),
            Some(_) => {
                let why = "This message is not delivered yet. Copy the session when it is.";
                return Err(EngineError::NotPossible(why));
            }
            // What is shown now, not what is there when the server is asked.
            None => self.last_shown()?,
        };
        Ok(ForkPoint { at_message_id, title: self.title() })
    }

    /// Sends an entry again, perhaps with another text.
    pub(super) fn retry(
        &mut self,
        entry_id: String,
        text: Option<String>,
        reply: Reply<()>,
    ) -> Option<LocalWrite> {
        let Some(entry) = self.sending.outbox.get(&entry_id) else {
            answer(reply, Err(EngineError::UnknownEntry));
            return None;
        };
        let intent = match text.map(|text| edited(&entry.intent, text)).transpose() {
            Ok(intent) => intent,
            Err(why) => {
                answer(reply, Err(EngineError::NotPossible(why)));
                return None;
            }
        };
        if intent.is_some() && self.sending.outbox.may_be_delivered(&entry_id) {
            let why = "The server may have this already, so it cannot be edited.";
            answer(reply, Err(EngineError::NotPossible(why)));
            return None;
        }
        let stored = serde_json::to_string(intent.as_ref().unwrap_or(&entry.intent))
            .expect("an intent is plain data");
        self.sending.outbox.hold(&entry_id);
        let id = entry_id.clone();
        let saved = self.shared.store.write_durable(move |tx| outbox::set_intent(tx, &id, &stored));
        Some(async move { Saved::Retried { entry_id, intent, result: saved.await, reply } }.boxed())
    }

    /// Takes an entry back.
    pub(super) fn discard(&mut self, entry_id: String, reply: Reply<()>) -> Option<LocalWrite> {
        if self.sending.outbox.get(&entry_id).is_none() {
            answer(reply, Err(EngineError::UnknownEntry));
            return None;
        }
        self.sending.outbox.hold(&entry_id);
        let id = entry_id.clone();
        let saved = self.shared.store.write_durable(move |tx| outbox::remove(tx, &id));
        Some(async move { Saved::Discarded { entry_id, result: saved.await, reply } }.boxed())
    }

    /// Keeps unsent text.
    pub(super) fn save_draft(&mut self, text: String, reply: Reply<()>) -> LocalWrite {
        let saved_at = crate::clock::now_text();
        let draft = Draft { text, saved_at };
        let (session, row) = (self.id.clone(), draft.clone());
        let saved = self
            .shared
            .store
            .write_durable(move |tx| drafts::save(tx, &session, &row.text, &row.saved_at));
        let draft = (!draft.text.is_empty()).then_some(draft);
        async move { Saved::Draft { draft, result: saved.await, reply } }.boxed()
    }

    /// Marks everything so far as seen.
    pub(super) fn mark_read(&mut self, reply: Reply<()>) -> Option<LocalWrite> {
        let position = self.fold.position();
        if self.unread.is_read_to(position) {
            answer(reply, Ok(()));
            return None;
        }
        let key = self.key;
        let saved = self.shared.store.write(move |tx| sessions::mark_read(tx, key, position));
        Some(async move { Saved::Read { position, result: saved.await, reply } }.boxed())
    }

    /// Keeps what is here of a session that is gone. It is closed from then on.
    pub(super) fn keep_copy(&mut self, reply: Reply<()>) -> Option<LocalWrite> {
        if !self.reading.line.is_gone() {
            let why = "The server has this session. Copy it there.";
            answer(reply, Err(EngineError::NotPossible(why)));
            return None;
        }
        let (key, session) = (self.key, self.id.clone());
        let saved = self.shared.store.write_durable(move |tx| {
            tx.execute("DELETE FROM outbox WHERE session = ?1", [&session])?;
            sessions::close(tx, key, COPY)
        });
        Some(async move { Saved::Kept { result: saved.await, reply } }.boxed())
    }

    /// Deletes what is here; the server is told by an outbox entry.
    pub(super) fn delete(&mut self, reply: Reply<()>) -> Option<LocalWrite> {
        if self.deleted {
            answer(reply, Ok(()));
            return None;
        }
        let id = uuid::Uuid::new_v4().to_string();
        let entry = OutboxEntry::new(id, Intent::DeleteSession, crate::clock::now_text());
        let row = entry.row(&self.id);
        let (key, session) = (self.key, self.id.clone());
        let saved = self.shared.store.erase(move |tx| {
            tx.execute("DELETE FROM outbox WHERE session = ?1", [&session])?;
            tx.execute("DELETE FROM drafts WHERE session = ?1", [&session])?;
            sessions::delete(tx, key)?;
            outbox::insert(tx, &row)
        });
        let entry = Box::new(entry);
        Some(async move { Saved::Deleted { entry, result: saved.await, reply } }.boxed())
    }

    /// Takes note of a local write that has ended.
    pub(super) fn saved(&mut self, saved: Saved) {
        self.showing.touch();
        match saved {
            Saved::Entry { entry, result, reply } => {
                let id = entry.id.clone();
                if result.is_ok() && self.same(&id, &entry.intent).is_none() {
                    self.entered(*entry);
                }
                answer(reply, result.map(|()| id).map_err(EngineError::from));
            }
            Saved::Retried { entry_id, intent, result, reply } => {
                if result.is_ok() {
                    self.sending.ask_again();
                    self.sending.outbox.retry(&entry_id, intent);
                    self.redraw(&entry_id);
                } else {
                    self.sending.outbox.release(&entry_id);
                }
                answer(reply, result.map_err(EngineError::from));
            }
            Saved::Discarded { entry_id, result, reply } => {
                if result.is_ok() {
                    self.leave(&entry_id);
                } else {
                    self.sending.outbox.release(&entry_id);
                }
                answer(reply, result.map_err(EngineError::from));
            }
            Saved::Draft { draft, result, reply } => {
                if result.is_ok() {
                    self.draft = draft;
                }
                answer(reply, result.map_err(EngineError::from));
            }
            Saved::Read { position, result, reply } => {
                if result.is_ok() {
                    self.unread.read_to(position, self.fold.position());
                }
                answer(reply, result.map_err(EngineError::from));
            }
            Saved::Kept { result, reply } => {
                if result.is_ok() {
                    let ids: Vec<String> =
                        self.sending.outbox.iter().map(|e| e.id.clone()).collect();
                    for id in ids {
                        self.leave(&id);
                    }
                    self.keeping.note_head(|head| {
                        head.closed = true;
                        head.notice = Some(COPY.to_owned());
                    });
                    self.reading.line.close();
                }
                answer(reply, result.map_err(EngineError::from));
            }
            Saved::Deleted { entry, result, reply } => {
                if result.is_ok() {
                    self.be_deleted(*entry);
                }
                answer(reply, result.map_err(EngineError::from));
            }
        }
    }

    fn entered(&mut self, entry: OutboxEntry) {
        if let Some(item) = entry.item(&self.home.me(self.shared.actor())) {
            self.redraw_views(|view, diffs| view.insert_local(item.clone(), diffs));
        }
        if text_of(&entry.intent).is_some() {
            self.keeping.edit_head(|head| head.last_activity = Some(entry.created_at.clone()));
        }
        self.sending.outbox.push(entry);
        self.keeping.schedule(Instant::now(), false);
    }

    fn be_deleted(&mut self, entry: OutboxEntry) {
        self.deleted = true;
        self.reading.line.follow(None);
        let ids: Vec<String> = self.sending.outbox.iter().map(|entry| entry.id.clone()).collect();
        for id in ids {
            self.sending.outbox.remove(&id);
        }
        self.sending.outbox.push(entry);
        self.leave_viewers();
        self.keeping.forget();
        self.shared.hub.send(HubEvent::Deleted(self.id.clone())).ok();
    }

    /// Shows in an entry's item how far the entry has got.
    fn redraw(&mut self, entry_id: &str) {
        self.showing.touch();
        let actor = &self.home.me(self.shared.actor());
        let Some(item) = self.sending.outbox.get(entry_id).and_then(|entry| entry.item(actor))
        else {
            return;
        };
        self.redraw_views(|view, diffs| view.redraw_local(item.clone(), diffs));
    }

    /// The next request, if it is time for one.
    pub(super) fn next_request(
        &mut self,
        now: Instant,
    ) -> Option<BoxFuture<'static, (String, SendOutcome)>> {
        if !self.sending.may_ask(now) {
            return None;
        }
        let client = self.home.connected.borrow().as_ref()?.client.clone();
        if self.reading.line.is_live() {
            for id in self.sending.outbox.resend_unechoed(now) {
                let reason = "This had ended by itself. There was nothing to stop.".to_owned();
                self.wedge(&id, reason);
            }
        }
        let entry = self.sending.outbox.due(now)?;
        let (id, intent) = (entry.id.clone(), entry.intent.clone());
        let sender =
            Sender { client, session: self.home_id.clone(), actor: self.shared.actor().clone() };
        let first = self.sending.outbox.sending(&id);
        self.redraw(&id);
        let tried = id.clone();
        let noted =
            first.then(|| self.shared.store.write(move |tx| outbox::set_tried(tx, &tried, true)));
        Some(
            async move {
                if let Some(noted) = noted
                    && let Err(error) = noted.await
                {
                    // Sending twice is harmless, editing what was sent is not; go on all the same.
                    tracing::warn!(%error, "an attempt could not be noted");
                }
                let outcome = sender.send(&intent, &id).await;
                (id, outcome)
            }
            .boxed(),
        )
    }

    /// Takes the fate of a request.
    pub(super) fn sent(&mut self, entry_id: &str, outcome: SendOutcome, now: Instant) {
        if outcome.is_no_delivery() && self.sending.outbox.not_delivered(entry_id) {
            let id = entry_id.to_owned();
            drop(self.shared.store.write(move |tx| outbox::set_tried(tx, &id, false)));
        }
        match outcome {
            SendOutcome::Accepted => {
                self.home.succeeded();
                let intent = self.sending.outbox.get(entry_id).map(|entry| entry.intent.clone());
                self.sending.outbox.sent(entry_id, now);
                match intent {
                    Some(Intent::CreateSession { .. } | Intent::Fork { .. }) => {
                        self.keeping.edit_head(|head| head.remote = true);
                        self.keeping.schedule(now, true);
                        self.reading.line.nudge();
                    }
                    Some(Intent::DeleteSession) => {
                        // Its stream is gone with it: there will be no other echo.
                        self.sending.outbox.remove(entry_id);
                        let id = self.id.clone();
                        drop(self.shared.store.write_durable(move |tx| sessions::forget(tx, &id)));
                    }
                    _ => {}
                }
                // The stream may have shown it before the server answered.
                if self.echoes(None) {
                    self.keeping.schedule(now, true);
                }
            }
            SendOutcome::Later { reason, floor, .. } => {
                self.sending.outbox.failed(entry_id, reason, floor, now)
            }
            SendOutcome::Refused { reason } => {
                self.sending.refused(now);
                self.sending.outbox.failed(entry_id, reason, None, now);
            }
            SendOutcome::Wedged { reason } => self.wedge(entry_id, reason),
        }
        self.redraw(entry_id);
    }

    fn wedge(&mut self, entry_id: &str, reason: String) {
        let (id, stored) = (entry_id.to_owned(), reason.clone());
        // If this cannot be saved, the server refuses it again after the next start.
        drop(self.shared.store.write(move |tx| outbox::set_wedged(tx, &id, Some(&stored))));
        self.sending.outbox.wedge(entry_id, reason);
        self.redraw(entry_id);
    }
}
