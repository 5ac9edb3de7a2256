//! The engine as the host holds it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::RngExt;
use session_protocol::Intent;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::config::{CreateSession, EngineConfig, Limits, Load};
use crate::connection::Connected;
use crate::endpoint::Endpoint;
use crate::error::{EngineError, Notice};
use crate::feed::{Feed, Sources};
use crate::hub::{self, ServerStatus};
use crate::outbox::Entry;
use crate::search::{self, SearchPage, SearchRequest};
use crate::session::{Command, SessionHandle};
use crate::shared::Shared;
use crate::store::{Repair, Store, messages, outbox, sessions};
use crate::summary::{SessionSize, SessionSummary, WaitingApproval};
use crate::wake;

/// The engine: everything a person's sessions need on this machine. A clone is another handle to
/// the same engine; dropping the last one stops it at once, [`Engine::close`] first writes what is
/// not on the disk yet.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// Dropped with the last handle.
struct Inner {
    shared: Arc<Shared>,
    status: watch::Receiver<ServerStatus>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
        self.shared.store.close();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("data_dir", &self.inner.shared.config.data_dir).finish()
    }
}

impl Engine {
    /// Opens the database in `config.data_dir` and starts the engine, without any network. A
    /// damaged database, or one of a newer version, is set aside (renamed) and reported by
    /// [`Engine::notices`]; sessions come back from the server.
    ///
    /// Must be called inside a Tokio runtime, on which the engine's tasks then run.
    ///
    /// # Errors
    /// [`EngineError::InUse`] when another process has the directory open, [`EngineError::Store`]
    /// when the directory cannot be used.
    pub fn open(config: EngineConfig) -> Result<Self, EngineError> {
        Self::open_with(config, Limits::default())
    }

    /// As [`Engine::open`], with other limits.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(config: EngineConfig, limits: Limits) -> Result<Self, EngineError> {
        let (store, repair) = Store::open(&config.data_dir)?;
        let (events, queue) = hub::events();
        let shared = Arc::new(Shared::new(config, store, events).with_limits(limits));
        if let Some(repair) = repair {
            shared.notify(repair_notice(&repair));
        }
        let status = hub::start(&shared, queue)?;
        tokio::spawn(wake::watch(Arc::clone(&shared)));
        Ok(Self { inner: Arc::new(Inner { shared, status }) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    fn session(&self, id: &str) -> Result<SessionHandle, EngineError> {
        self.shared().session(id)
    }

    /// Talks to this server from now on; `None` goes offline. May be called again at any time, for
    /// instance when the server came back on another port.
    ///
    /// # Errors
    /// When this machine's TLS set-up cannot be used.
    pub fn connect(&self, endpoint: Option<Endpoint>) -> Result<(), EngineError> {
        let generation = self.shared().connected.borrow().as_ref().map_or(1, |c| c.generation + 1);
        let connected =
            match endpoint {
                Some(endpoint) => Some(Connected::new(endpoint, generation).map_err(|_| {
                    EngineError::NotPossible("TLS cannot be set up on this system.")
                })?),
                None => None,
            };
        self.shared().connected.send_replace(connected);
        Ok(())
    }

    /// How the server as a whole stands.
    pub fn server_status(&self) -> watch::Receiver<ServerStatus> {
        self.inner.status.clone()
    }

    /// What the person should know since the start, e.g. that the database was rebuilt.
    pub fn notices(&self) -> Vec<Notice> {
        self.shared().notices()
    }

    /// All sessions, the most recently active first.
    pub fn sessions(&self) -> Vec<SessionSummary> {
        self.shared().summaries.borrow().as_ref().clone()
    }

    /// The approvals that wait, over all sessions, the oldest first.
    pub fn approvals(&self) -> watch::Receiver<Arc<Vec<WaitingApproval>>> {
        self.shared().approvals.subscribe()
    }

    /// A feed for one window.
    pub fn feed(&self) -> Feed {
        // Fits a JavaScript number; differs after a restart, so that old cursors are known.
        let epoch = u64::from(rand::rng().random::<u32>()) + 1;
        let shared = Arc::downgrade(self.shared());
        let attach = move |id: &str, feed| {
            let shared = shared.upgrade().ok_or(EngineError::Closed)?;
            let stored = shared.store.read(|connection| sessions::find(connection, id))?;
            if stored.is_none_or(|row| row.deleted) {
                return Err(EngineError::UnknownSession);
            }
            shared.session(id)?.tell(Command::Attach(feed));
            Ok(())
        };
        let shared = Arc::downgrade(self.shared());
        let detach = move |id: &str| {
            if let Some(session) = shared.upgrade().and_then(|shared| shared.running_session(id)) {
                session.tell(Command::Detach);
            }
        };
        let shared = Arc::downgrade(self.shared());
        let move_on = move |id: &str, feed, direction| {
            if let Some(session) = shared.upgrade().and_then(|shared| shared.running_session(id)) {
                session.tell(Command::Move { feed, direction });
            }
        };
        let feed = Feed::new(
            epoch,
            Sources {
                sessions: self.shared().summaries.subscribe(),
                approvals: self.shared().approvals.subscribe(),
                attach: Box::new(attach),
                detach: Box::new(detach),
                move_on: Box::new(move_on),
            },
        );
        self.shared().add_feed(feed.shared());
        for notice in self.notices() {
            feed.notify(notice);
        }
        feed
    }

    /// Makes a session: at once here, on the server when it can be reached. Answers with its id.
    ///
    /// # Errors
    /// When it cannot be saved.
    ///
    /// # Cancel safety
    /// The session is made or not made as a whole.
    pub async fn create_session(&self, session: CreateSession) -> Result<String, EngineError> {
        self.create_session_as(Uuid::new_v4(), session).await
    }

    /// As [`Engine::create_session`], with an id that the caller made, so that asking twice makes
    /// one session.
    ///
    /// # Errors
    /// When it cannot be saved.
    pub async fn create_session_as(
        &self,
        id: Uuid,
        session: CreateSession,
    ) -> Result<String, EngineError> {
        let intent = Intent::CreateSession { agents: session.agents, title: session.title };
        self.begin_session(id, None, None, intent).await
    }

    /// Makes a session that is a copy of another up to a message, or up to the last one that is
    /// shown now. It is here at once, and has its messages when the server has made it. Answers with
    /// its id.
    ///
    /// # Errors
    /// [`EngineError::NotPossible`] when the original or the message is not on the server yet.
    ///
    /// # Cancel safety
    /// The copy is made or not made as a whole.
    pub async fn fork_session(
        &self,
        id: &str,
        at_message_id: Option<&str>,
    ) -> Result<String, EngineError> {
        self.fork_session_as(Uuid::new_v4(), id, at_message_id).await
    }

    /// As [`Engine::fork_session`], with an id for the copy that the caller made, so that asking
    /// twice makes one copy.
    ///
    /// # Errors
    /// As [`Engine::fork_session`].
    pub async fn fork_session_as(
        &self,
        new_id: Uuid,
        id: &str,
        at_message_id: Option<&str>,
    ) -> Result<String, EngineError> {
        let at = at_message_id.map(str::to_owned);
        let point = self.session(id)?.ask(|reply| Command::ForkPoint { at, reply }).await?;
        let intent = Intent::Fork { source: id.to_owned(), at_message_id: point.at_message_id };
        self.begin_session(new_id, Some(point.title), Some(id), intent).await
    }

    /// A session and the entry that makes it on the server, on the disk together. `known_as`: what
    /// it is called until it says so itself.
    async fn begin_session(
        &self,
        id: Uuid,
        known_as: Option<String>,
        copy_of: Option<&str>,
        intent: Intent,
    ) -> Result<String, EngineError> {
        let id = id.to_string();
        let parent = copy_of.map(str::to_owned);
        // Nothing else has the session's id for its own: a second call finds the first one's entry.
        let entry = Entry::new(id.clone(), intent, crate::clock::now_text()).row(&id);
        let is_new = self
            .shared()
            .store
            .write_durable(move |tx| {
                if sessions::find(tx, &entry.id)?.is_some() {
                    return Ok(false);
                }
                sessions::ensure(tx, &entry.id)?;
                tx.execute(
                    "UPDATE sessions SET title = ?2, created_at = ?3, last_activity = ?3, parent = ?4
                     WHERE id = ?1",
                    (&entry.id, &known_as, &entry.created_at, &parent),
                )?;
                outbox::insert(tx, &entry)?;
                Ok(true)
            })
            .await?;
        if is_new {
            // Its task finds the entry in the store.
            self.session(&id)?;
        }
        Ok(id)
    }

    /// Says something. It is on the disk when this returns, and is shown and sent from then on.
    /// Answers with the entry's id, which is also the message's and the item's (L7).
    ///
    /// # Errors
    /// When there is no text, no such session, or it cannot be saved.
    pub async fn send_message(&self, id: &str, text: &str) -> Result<String, EngineError> {
        self.send_message_as(id, Uuid::new_v4(), text).await
    }

    /// As [`Engine::send_message`], with an id that the caller made, so that asking twice says it
    /// once.
    ///
    /// # Errors
    /// When there is no text, no such session, or it cannot be saved.
    pub async fn send_message_as(
        &self,
        id: &str,
        message_id: Uuid,
        text: &str,
    ) -> Result<String, EngineError> {
        if text.trim().is_empty() {
            return Err(EngineError::NotPossible(
                "There is nothing to send. Write something first.",
            ));
        }
        let intent = Intent::SendMessage { message_id, text: text.to_owned() };
        self.enqueue(id, message_id.to_string(), intent).await
    }

    /// Answers the approval that a message asks for. On the disk when this returns.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    pub async fn respond_approval(
        &self,
        id: &str,
        message_id: &str,
        approval_id: &str,
        approved: bool,
    ) -> Result<String, EngineError> {
        let intent = Intent::RespondApproval {
            approval_id: approval_id.to_owned(),
            message_id: Some(message_id.to_owned()),
            approved,
        };
        self.enqueue(id, Uuid::new_v4().to_string(), intent).await
    }

    /// Gives the result of a tool that ran here. On the disk when this returns.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    pub async fn send_tool_result(
        &self,
        id: &str,
        tool_call_id: &str,
        output: serde_json::Value,
        error: Option<String>,
    ) -> Result<String, EngineError> {
        let tool_call_id = tool_call_id.to_owned();
        let intent = Intent::ToolResult { tool_call_id, output, error };
        self.enqueue(id, Uuid::new_v4().to_string(), intent).await
    }

    /// Stops the answers that are being written. Answers with the first one's entry.
    ///
    /// # Errors
    /// [`EngineError::NotPossible`] when nothing is running.
    pub async fn stop(&self, id: &str) -> Result<String, EngineError> {
        self.session(id)?.ask(|reply| Command::Stop { reply }).await
    }

    /// Gives a session another title.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    pub async fn rename_session(&self, id: &str, title: &str) -> Result<String, EngineError> {
        let title = title.trim().to_owned();
        if title.is_empty() {
            return Err(EngineError::NotPossible("A title needs at least one letter."));
        }
        self.enqueue(id, Uuid::new_v4().to_string(), Intent::Rename { title }).await
    }

    /// Deletes a session here at once, and on the server when it can be reached.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    pub async fn delete_session(&self, id: &str) -> Result<(), EngineError> {
        self.session(id)?.ask(|reply| Command::Delete { reply }).await
    }

    async fn enqueue(
        &self,
        session: &str,
        entry_id: String,
        intent: Intent,
    ) -> Result<String, EngineError> {
        self.session(session)?.ask(|reply| Command::Enqueue { entry_id, intent, reply }).await
    }

    fn session_of_entry(&self, entry_id: &str) -> Result<SessionHandle, EngineError> {
        let session = self
            .shared()
            .store
            .read(|connection| outbox::session_of(connection, entry_id))?
            .ok_or(EngineError::UnknownEntry)?;
        self.session(&session)
    }

    /// Tries an outbox entry again, also one that was refused.
    ///
    /// # Errors
    /// [`EngineError::UnknownEntry`].
    pub async fn retry_entry(&self, entry_id: &str) -> Result<(), EngineError> {
        let entry = entry_id.to_owned();
        self.session_of_entry(entry_id)?
            .ask(|reply| Command::Retry { entry_id: entry, text: None, reply })
            .await
    }

    /// Changes the text of a message, or a title, that was not delivered, and tries it again.
    ///
    /// # Errors
    /// [`EngineError::UnknownEntry`]; [`EngineError::NotPossible`] when the server may have it.
    pub async fn edit_entry(&self, entry_id: &str, text: &str) -> Result<(), EngineError> {
        let (entry, text) = (entry_id.to_owned(), Some(text.to_owned()));
        self.session_of_entry(entry_id)?
            .ask(|reply| Command::Retry { entry_id: entry, text, reply })
            .await
    }

    /// Takes an entry out of the outbox; it is not sent, unless it already was.
    ///
    /// # Errors
    /// [`EngineError::UnknownEntry`].
    pub async fn discard_entry(&self, entry_id: &str) -> Result<(), EngineError> {
        let entry = entry_id.to_owned();
        self.session_of_entry(entry_id)?
            .ask(|reply| Command::Discard { entry_id: entry, reply })
            .await
    }

    /// Keeps unsent text; empty text forgets it.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    pub async fn save_draft(&self, id: &str, text: &str) -> Result<(), EngineError> {
        let text = text.to_owned();
        self.session(id)?.ask(|reply| Command::SaveDraft { text, reply }).await
    }

    /// Everything in the session so far was seen.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    pub async fn mark_read(&self, id: &str) -> Result<(), EngineError> {
        self.session(id)?.ask(|reply| Command::MarkRead { reply }).await
    }

    /// How much of the disk each session takes, the greatest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn session_sizes(&self) -> Result<Vec<SessionSize>, EngineError> {
        let store = self.shared().store.clone();
        let sizes = tokio::task::spawn_blocking(move || store.read(messages::sizes)).await;
        let mut sizes: Vec<SessionSize> = sizes
            .map_err(|_| EngineError::Closed)??
            .into_iter()
            .map(|(session_id, messages, bytes)| SessionSize { session_id, messages, bytes })
            .collect();
        sizes.sort_by_key(|size| std::cmp::Reverse(size.bytes));
        Ok(sizes)
    }

    /// Looks for what was said, in all sessions or in one; offline, some milliseconds.
    ///
    /// # Errors
    /// When the database cannot be read. Nothing that a person types is an error.
    pub async fn search(&self, request: SearchRequest) -> Result<SearchPage, EngineError> {
        let store = self.shared().store.clone();
        let page = tokio::task::spawn_blocking(move || search::run(&store, &request)).await;
        // It is only cancelled when the runtime ends.
        Ok(page.map_err(|_| EngineError::Closed)??)
    }

    /// How much the engine has taken on.
    pub fn load(&self) -> Load {
        Load {
            followed: self.shared().followed.load(Ordering::Relaxed),
            in_memory: self.shared().running().len(),
        }
    }

    /// Whatever waits is tried now, unless the server asked for patience: the window has the focus,
    /// the person pressed "Retry now". The engine does this by itself whenever something gets
    /// through.
    pub fn nudge(&self) {
        self.shared().nudge();
    }

    /// As [`Engine::nudge`], and every connection is made anew: for when one may be dead without
    /// anybody having said so, and for a person who asks for it. The engine does this by itself
    /// after a sleep of the machine and a change of its network.
    pub fn reconnect(&self) {
        self.shared().reconnect();
    }

    /// Writes everything that is not on the disk yet and stops. Waits at most a second for the
    /// server to be told that the person has left.
    pub async fn close(self) {
        let mut closing = Vec::new();
        for session in self.shared().running() {
            let (done, closed) = oneshot::channel();
            session.tell(Command::Close { done });
            closing.push(closed);
        }
        for closed in closing {
            // A task that has ended drops `done`.
            let _ = closed.await;
        }
        self.shared().cancel.cancel();
        self.shared().store.close();
    }
}

fn repair_notice(repair: &Repair) -> Notice {
    let file = repair.set_aside.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let (code, what) = if repair.newer {
        ("database-newer", "The local database was written by a newer version of Threadkeep")
    } else {
        ("database-damaged", "The local database was damaged")
    };
    let message = format!(
        "{what}. It was kept as {file} and a new one was made; sessions are read again from the server."
    );
    Notice { code: code.to_owned(), message }
}

#[cfg(test)]
mod tests {
    #[test]
    fn handles_can_be_shared_between_threads() {
        fn check<T: Send + Sync>() {}
        check::<super::Engine>();
        check::<crate::Feed>();
    }
}
