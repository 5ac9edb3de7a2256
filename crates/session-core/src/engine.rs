//! The engine as the host holds it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::RngExt;
use serde_json::Value;
use session_protocol::api::SendMode;
use session_protocol::{FilePart, Intent};
use tokio::sync::{oneshot, watch};
use url::Url;
use uuid::Uuid;

use crate::address::{Address, THIS_COMPUTER, address_of};
use crate::config::{EngineConfig, FirstMessage, Limits, Load, NewSession};
use crate::connection::Connected;
use crate::endpoint::Endpoint;
use crate::error::{EngineError, Notice};
use crate::feed::{Feed, ListQuery, Sources};
use crate::handle::{Command, SessionHandle};
use crate::hub;
use crate::lock::lock;
use crate::outbox::OutboxEntry;
use crate::report::{self, HubEvent};
use crate::said::SaidPage;
use crate::search::{self, SearchPage, SearchRequest};
use crate::server::{Server, ServerSummary};
use crate::session::{self, Measured, title_from};
use crate::shared::Shared;
use crate::store::{Repair, ServerRow, Store, messages, name_of, outbox, servers, sessions};
use crate::summary::{DiskUse, SessionSize, SessionSummary, WaitingApproval};
use crate::wake;

const NOTHING_TO_SEND: EngineError =
    EngineError::NotPossible("There is nothing to send. Write something first.");

/// The engine: everything a person's sessions need on this machine. A clone is another handle to
/// the same engine; dropping the last one stops it at once, [`Engine::close`] first writes what is
/// not on the disk yet.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

/// Dropped with the last handle.
struct EngineInner {
    shared: Arc<Shared>,
}

impl Drop for EngineInner {
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

    /// Opens an engine as [`Engine::open`] does, with other limits.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(config: EngineConfig, limits: Limits) -> Result<Self, EngineError> {
        let (store, repair) = Store::open(&config.data_dir, &config.inherit)?;
        let (events, queue) = report::events();
        let shared = Arc::new(Shared::new(config, store, events).with_limits(limits));
        if let Some(repair) = repair {
            shared.notify(repair_notice(&repair));
        }
        shared.restore_servers()?;
        hub::start(&shared, queue)?;
        tokio::spawn(wake::watch(Arc::clone(&shared)));
        Ok(Self { inner: Arc::new(EngineInner { shared }) })
    }

    /// A session that is driven by its caller, for `cargo xtask bench engine`.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    ///
    /// # Cancel safety
    /// Nothing is lost: a session that was made stays.
    #[doc(hidden)]
    pub async fn measured(&self, id: &str) -> Result<Measured, EngineError> {
        Measured::open(self.shared(), id).await
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    fn session(&self, id: &str) -> Result<SessionHandle, EngineError> {
        session::task_of(self.shared(), id)
    }

    fn server(&self, id: &str) -> Result<Arc<Server>, EngineError> {
        self.shared().server(id).ok_or(EngineError::UnknownServer)
    }

    /// The session servers: the one inside this computer ([`THIS_COMPUTER`])
    /// and those that were joined, in that order.
    pub fn servers(&self) -> watch::Receiver<Arc<Vec<ServerSummary>>> {
        self.shared().servers.subscribe()
    }

    /// Sets where a server is reached from now on; `None` goes offline. May be called again at any
    /// time, for instance when the one inside this computer came back on another port.
    ///
    /// # Errors
    /// [`EngineError::UnknownServer`], also of one that was forgotten; [`EngineError::NotPossible`]
    /// when the endpoint has another address than the server was joined by, whose words and token
    /// it would get (L16), or this machine's TLS set-up cannot be used.
    pub fn connect(&self, server: &str, endpoint: Option<Endpoint>) -> Result<(), EngineError> {
        let server = self.server(server)?;
        let row = server.row();
        if row.forgotten {
            return Err(EngineError::UnknownServer);
        }
        let is_elsewhere = |endpoint: &Endpoint| {
            row.url.as_ref().is_some_and(|url| address_of(&endpoint.base_url) != *url)
        };
        if endpoint.as_ref().is_some_and(is_elsewhere) {
            return Err(EngineError::NotPossible("This server was joined by another address."));
        }
        let generation = server.connected.borrow().as_ref().map_or(1, |c| c.generation + 1);
        let connected =
            match endpoint {
                Some(endpoint) => Some(Connected::new(endpoint, generation).map_err(|_| {
                    EngineError::NotPossible("TLS cannot be set up on this system.")
                })?),
                None => None,
            };
        server.connected.send_replace(connected);
        Ok(())
    }

    /// Joins a session server by its address; [`Engine::connect`] says who we are to it. One that
    /// was forgotten and is joined again has its sessions as before. Returns its id.
    ///
    /// # Errors
    /// [`EngineError::NotPossible`] when it is joined already, or the address is none; when it
    /// cannot be saved.
    ///
    /// # Cancel safety
    /// Not cancel safe: a call that is dropped may have stored the server, which is then asked from
    /// the next start on.
    pub async fn join_server(&self, url: &Url, name: &str) -> Result<String, EngineError> {
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        if !is_web || !url.username().is_empty() || url.password().is_some() {
            return Err(EngineError::NotPossible(
                "This is not the address of a server. Write it like https://chat.example.org, and \
                 a token in its own field.",
            ));
        }
        let url = address_of(url);
        let name = match name.trim() {
            "" => name_of(&url),
            name => name.to_owned(),
        };
        let known =
            self.shared().servers().into_iter().find(|s| s.row().url.as_ref() == Some(&url));
        if known.as_ref().is_some_and(|server| !server.is_forgotten()) {
            return Err(EngineError::NotPossible("This server was added already."));
        }
        let id =
            known.as_ref().map_or_else(|| Uuid::new_v4().simple().to_string(), |s| s.id.clone());
        let row = ServerRow { id: id.clone(), name, url: Some(url), me: None, forgotten: false };
        let stored = row.clone();
        self.shared().store.write_durable(move |tx| servers::put(tx, &stored)).await?;
        match known {
            Some(server) => {
                server.edit(|known| *known = row);
                self.told_otherwise(&server);
            }
            None => hub::attend(self.shared(), &self.shared().add_server(row)),
        }
        self.shared().publish_servers();
        Ok(id)
    }

    /// Renames a server.
    ///
    /// # Errors
    /// [`EngineError::UnknownServer`]; [`EngineError::NotPossible`] without a letter; when it
    /// cannot be saved.
    ///
    /// # Cancel safety
    /// Not cancel safe: a call that is dropped may have stored the name, which is then shown from
    /// the next start on.
    pub async fn rename_server(&self, id: &str, name: &str) -> Result<(), EngineError> {
        let server = self.server(id)?;
        let name = name.trim().to_owned();
        if name.is_empty() {
            return Err(EngineError::NotPossible("A name needs at least one letter."));
        }
        let row = ServerRow { name, ..server.row() };
        let stored = row.clone();
        self.shared().store.write_durable(move |tx| servers::put(tx, &stored)).await?;
        server.edit(|known| known.name = row.name);
        self.shared().publish_servers();
        Ok(())
    }

    /// Number of outbox entries that wait for a server, and are lost or kept unsent when it is
    /// forgotten.
    ///
    /// # Errors
    /// When the database cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn unsent(&self, server: &str) -> Result<u32, EngineError> {
        let (store, server) = (self.shared().store.clone(), server.to_owned());
        let unsent =
            tokio::task::spawn_blocking(move || store.read(|db| servers::unsent(db, &server)));
        Ok(unsent.await.map_err(|_| EngineError::Closed)??)
    }

    /// Removes a server: nothing is sent to it any more, and nothing of it elsewhere. Its sessions
    /// are kept on this machine, to be read, or deleted here. The server itself is told nothing.
    ///
    /// # Errors
    /// [`EngineError::UnknownServer`]; [`EngineError::NotPossible`] for this computer; when it
    /// cannot be saved.
    ///
    /// # Cancel safety
    /// Not cancel safe: a call that is dropped may have stored that the server is forgotten, and do
    /// the rest not at all.
    pub async fn forget_server(&self, id: &str, keep_sessions: bool) -> Result<(), EngineError> {
        if id == THIS_COMPUTER {
            return Err(EngineError::NotPossible("This computer is always there."));
        }
        let server = self.server(id)?;
        let row = ServerRow { forgotten: true, ..server.row() };
        self.shared().store.write_durable(move |tx| servers::put(tx, &row)).await?;
        server.edit(|known| known.forgotten = true);
        server.connected.send_replace(None);
        if keep_sessions {
            self.told_otherwise(&server);
        } else {
            // No task starts from here on, and those that run write what they have and end.
            server.cancel.cancel();
            self.shared().remove_server(id);
            self.close_sessions(|session| is_of(session, id)).await;
            let gone = id.to_owned();
            self.shared().store.erase(move |tx| servers::remove(tx, &gone)).await?;
            self.shared().hub.send(HubEvent::Removed(id.to_owned())).ok();
        }
        self.shared().publish_servers();
        Ok(())
    }

    /// Lets a server's sessions tell their windows that what they may do has changed.
    fn told_otherwise(&self, server: &Server) {
        for (session, handle) in self.shared().running_sessions() {
            if is_of(&session, &server.id) {
                handle.tell(Command::Nudge);
            }
        }
    }

    /// Notices that the person should see since the start, e.g. that the database was rebuilt.
    pub fn notices(&self) -> Vec<Notice> {
        self.shared().notices()
    }

    /// All sessions, the most recently active first. Right after the start these are the 40 most
    /// recent of each server; the others follow within milliseconds.
    pub fn sessions(&self) -> Vec<SessionSummary> {
        lock(&self.shared().list).all()
    }

    /// The id of a session that is kept here, also by the half of it that its server knows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn find_session(&self, id: &str) -> Result<Option<String>, EngineError> {
        Ok(self.shared().store.read(|db| sessions::find_id(db, id))?)
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
            session::task_of(&shared, id)?.tell(Command::Attach(feed));
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
                servers: self.shared().servers.subscribe(),
                list: Arc::clone(&self.shared().list),
                approvals: self.shared().approvals.subscribe(),
                attach: Box::new(attach),
                detach: Box::new(detach),
                move_on: Box::new(move_on),
            },
        );
        self.shared().add_feed(feed.shared());
        // Told of every change from here on.
        feed.list(ListQuery::default());
        for notice in self.notices() {
            feed.notify(notice);
        }
        feed
    }

    /// Makes a session: at once here, on the server when it can be reached. Returns its id.
    ///
    /// # Errors
    /// [`EngineError::UnknownServer`]; [`EngineError::NotPossible`] when the first message has no
    /// text; when it cannot be saved.
    ///
    /// # Cancel safety
    /// The session is made or not made as a whole. A call that is dropped may leave it without a
    /// task: it is then shown and sent when something asks for it, or after the next start.
    pub async fn create_session(&self, session: NewSession) -> Result<String, EngineError> {
        self.create_session_as(Uuid::new_v4(), session).await
    }

    /// Makes a session as [`Engine::create_session`] does, with an id that the caller made, so that
    /// asking twice makes one session.
    ///
    /// # Errors
    /// [`EngineError::UnknownServer`]; [`EngineError::NotPossible`] when the first message has no
    /// text; when it cannot be saved.
    ///
    /// # Cancel safety
    /// As [`Engine::create_session`].
    pub async fn create_session_as(
        &self,
        id: Uuid,
        session: NewSession,
    ) -> Result<String, EngineError> {
        let server = self.server(&session.server)?;
        let NewSession { title, agents, first, .. } = session;
        if first
            .as_ref()
            .is_some_and(|first| first.text.trim().is_empty() && first.files.is_empty())
        {
            return Err(NOTHING_TO_SEND);
        }
        let said = first.as_ref().and_then(|first| {
            title_from(&first.text).or_else(|| first.files.first()?.filename.clone())
        });
        let make = Intent::CreateSession { agents, title: title.or(said) };
        let say = first.map(|FirstMessage { id, text, files }| Intent::SendMessage {
            message_id: id,
            text,
            files,
            mode: SendMode::Queue,
        });
        self.begin_session(&server, id, None, None, make, say).await
    }

    /// The state that an agent shares with the people of a session, as far as it is here; `None`
    /// where it shares none ([`SessionMeta::shared`](crate::SessionMeta::shared) says who does).
    ///
    /// # Errors
    /// [`EngineError::UnknownSession`].
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn shared_state(
        &self,
        id: &str,
        agent_id: &str,
    ) -> Result<Option<Value>, EngineError> {
        let agent_id = agent_id.to_owned();
        self.session(id)?.ask(|reply| Command::SharedState { agent_id, reply }).await
    }

    /// Reads what was said in a session from a position on (0: from its beginning), by the page.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn said(&self, id: &str, from: u64) -> Result<SaidPage, EngineError> {
        self.session(id)?.ask(|reply| Command::Said { from, reply }).await
    }

    /// Makes a session that is a copy of another up to a message, or up to the last one that is
    /// shown now. It is here at once, and has its messages when the server has made it. The copy's
    /// id on its server comes from the caller, so that asking twice makes one. Returns its id.
    ///
    /// # Errors
    /// [`EngineError::NotPossible`] when the original or the message is not on the server yet.
    ///
    /// # Cancel safety
    /// The copy is made or not made as a whole, as by [`Engine::create_session`].
    pub async fn fork_session(
        &self,
        new_id: Uuid,
        id: &str,
        at_message_id: Option<&str>,
    ) -> Result<String, EngineError> {
        let at = at_message_id.map(str::to_owned);
        let point = self.session(id)?.ask(|reply| Command::ForkPoint { at, reply }).await?;
        let at = Address::parse(id).ok_or(EngineError::UnknownSession)?;
        let server = self.server(&at.server)?;
        let intent = Intent::Fork { source: at.session, at_message_id: point.at_message_id };
        self.begin_session(&server, new_id, Some(point.title), Some(id), intent, None).await
    }

    /// Stores a session, the entry that makes it on the server and what is said in it first, in one
    /// transaction, and starts its task. `known_as`: its title until it has one of its own.
    async fn begin_session(
        &self,
        server: &Server,
        id: Uuid,
        known_as: Option<String>,
        copy_of: Option<&str>,
        make: Intent,
        say: Option<Intent>,
    ) -> Result<String, EngineError> {
        if server.is_forgotten() {
            return Err(EngineError::UnknownServer);
        }
        let entry_id = id.to_string();
        let id = Address::new(&server.id, &entry_id).to_string();
        let parent = copy_of.map(str::to_owned);
        // Nothing else has the session's id for its own: a second call finds the first one's entry.
        let now = crate::clock::now_text();
        let entry = OutboxEntry::new(entry_id, make, now.clone()).row(&id);
        let first = say.map(|say| {
            let message = match &say {
                Intent::SendMessage { message_id, .. } => *message_id,
                _ => Uuid::new_v4(),
            };
            OutboxEntry::new(message.to_string(), say, now).row(&id)
        });
        let is_new = self
            .shared()
            .store
            .write_durable(move |tx| {
                if sessions::find(tx, &entry.session)?.is_some() {
                    return Ok(false);
                }
                sessions::ensure(tx, &entry.session)?;
                tx.execute(
                    "UPDATE sessions SET title = ?2, created_at = ?3, last_activity = ?3, parent = ?4
                     WHERE id = ?1",
                    (&entry.session, &known_as, &entry.created_at, &parent),
                )?;
                outbox::insert(tx, &entry)?;
                first.as_ref().map_or(Ok(()), |first| outbox::insert(tx, first))?;
                Ok(true)
            })
            .await?;
        if is_new {
            // Its task finds the entry in the store.
            self.session(&id)?;
        }
        Ok(id)
    }

    /// Sends a message. It is on the disk when this returns, and is shown and sent from then on.
    /// Returns the entry's id, which is also the message's and the item's (L7).
    ///
    /// # Errors
    /// When there is no text, no such session, or it cannot be saved.
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
    pub async fn send_message(&self, id: &str, text: &str) -> Result<String, EngineError> {
        self.send_message_as(id, Uuid::new_v4(), text, SendMode::Queue, Vec::new()).await
    }

    /// Sends a message as [`Engine::send_message`] does, with files, and with an id that the caller
    /// made, so that asking twice says it once. `mode` says what becomes of an answer that is being
    /// written.
    ///
    /// # Errors
    /// When there is neither text nor file, no such session, or it cannot be saved.
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
    pub async fn send_message_as(
        &self,
        id: &str,
        message_id: Uuid,
        text: &str,
        mode: SendMode,
        files: Vec<FilePart>,
    ) -> Result<String, EngineError> {
        if text.trim().is_empty() && files.is_empty() {
            return Err(NOTHING_TO_SEND);
        }
        let intent = Intent::SendMessage { message_id, text: text.to_owned(), files, mode };
        self.enqueue(id, message_id.to_string(), intent).await
    }

    /// Answers the approval or the question that a message asks, with what is said besides yes or
    /// no, and by one of the options where it offers some; `None` is the one that holds once. The
    /// answer is on the disk when this returns. Returns its entry's id.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
    pub async fn respond_approval(
        &self,
        id: &str,
        message_id: &str,
        approval_id: &str,
        approved: bool,
        payload: Option<Value>,
        option_id: Option<String>,
    ) -> Result<String, EngineError> {
        let intent = Intent::RespondApproval {
            approval_id: approval_id.to_owned(),
            message_id: Some(message_id.to_owned()),
            approved,
            payload,
            option_id,
        };
        self.enqueue(id, Uuid::new_v4().to_string(), intent).await
    }

    /// Has a message of a person answered again. The wish is on the disk when this returns. Returns
    /// its entry's id.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
    pub async fn regenerate(&self, id: &str, message_id: &str) -> Result<String, EngineError> {
        let intent = Intent::Regenerate { message_id: message_id.to_owned() };
        self.enqueue(id, Uuid::new_v4().to_string(), intent).await
    }

    /// Chooses something of an agent. The wish is on the disk when this returns. Returns its
    /// entry's id.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
    pub async fn set_agent_option(
        &self,
        id: &str,
        agent_id: &str,
        option_id: &str,
        value: &str,
    ) -> Result<String, EngineError> {
        let intent = Intent::SetAgentOption {
            agent_id: agent_id.to_owned(),
            option_id: option_id.to_owned(),
            value: value.to_owned(),
        };
        self.enqueue(id, Uuid::new_v4().to_string(), intent).await
    }

    /// Stops the answers that are being written. Returns the id of the first one's entry.
    ///
    /// # Errors
    /// [`EngineError::NotPossible`] when nothing is running.
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
    pub async fn stop(&self, id: &str) -> Result<String, EngineError> {
        self.session(id)?.ask(|reply| Command::Stop { reply }).await
    }

    /// Renames a session. Returns the entry's id.
    ///
    /// # Errors
    /// [`EngineError::NotPossible`] without a letter; when there is no such session, or it cannot
    /// be saved.
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
    pub async fn rename_session(&self, id: &str, title: &str) -> Result<String, EngineError> {
        let title = title.trim().to_owned();
        if title.is_empty() {
            return Err(EngineError::NotPossible("A title needs at least one letter."));
        }
        self.enqueue(id, Uuid::new_v4().to_string(), Intent::Rename { title }).await
    }

    /// Keeps what is here of a session that its server does not have any more, as a copy that can
    /// be read and is not looked for on the server again. What waits to be sent to it is dropped.
    ///
    /// # Errors
    /// [`EngineError::NotPossible`] when the server has it, or was not asked yet.
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
    pub async fn keep_copy(&self, id: &str) -> Result<(), EngineError> {
        self.session(id)?.ask(|reply| Command::KeepCopy { reply }).await
    }

    /// Deletes a session here at once, and on the server when it can be reached.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
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
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
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
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
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
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
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
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
    pub async fn save_draft(&self, id: &str, text: &str) -> Result<(), EngineError> {
        let text = text.to_owned();
        self.session(id)?.ask(|reply| Command::SaveDraft { text, reply }).await
    }

    /// Marks everything in the session so far as seen.
    ///
    /// # Errors
    /// When there is no such session, or it cannot be saved.
    ///
    /// # Cancel safety
    /// A call that is dropped is carried out all the same: the session's task has it from the first
    /// poll on.
    pub async fn mark_read(&self, id: &str) -> Result<(), EngineError> {
        self.session(id)?.ask(|reply| Command::MarkRead { reply }).await
    }

    /// The disk that the sessions take, and the `limit` sessions that take most.
    ///
    /// # Errors
    /// When the database cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn disk_use(&self, limit: usize) -> Result<DiskUse, EngineError> {
        let store = self.shared().store.clone();
        let sizes = tokio::task::spawn_blocking(move || store.read(messages::sizes)).await;
        // It is only cancelled when the runtime ends.
        let mut sizes = sizes.map_err(|_| EngineError::Closed)??;
        sizes.sort_by_key(|&(_, _, bytes)| std::cmp::Reverse(bytes));
        let bytes = sizes.iter().map(|&(_, _, bytes)| bytes).sum();
        let sessions = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
        let list = lock(&self.shared().list);
        let title = |id: &str| list.get(id).map(|summary| summary.title.clone());
        let largest = sizes.into_iter().take(limit).map(|(session_id, messages, bytes)| {
            let title = title(&session_id).unwrap_or_default();
            SessionSize { session_id, title, messages, bytes }
        });
        Ok(DiskUse { bytes, sessions, largest: largest.collect() })
    }

    /// Looks for what was said, in all sessions or in one, and for titles; offline, some
    /// milliseconds.
    ///
    /// # Errors
    /// When the database cannot be read. Nothing that a person types is an error.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn search(&self, request: SearchRequest) -> Result<SearchPage, EngineError> {
        let (store, list) = (self.shared().store.clone(), Arc::clone(&self.shared().list));
        let page = tokio::task::spawn_blocking(move || {
            let titles = search::titles(&list, &request);
            search::run(&store, &request).map(|page| SearchPage { titles, ..page })
        });
        let page = page.await;
        // It is only cancelled when the runtime ends.
        Ok(page.map_err(|_| EngineError::Closed)??)
    }

    /// Numbers of what the engine has taken on.
    pub fn load(&self) -> Load {
        Load {
            followed: self.shared().followed.load(Ordering::Relaxed),
            in_memory: self.shared().running().len(),
        }
    }

    /// Tries whatever waits now, unless the server asked for patience: the window has the focus,
    /// the person pressed "Retry now". The engine does this by itself whenever something gets
    /// through.
    pub fn nudge(&self) {
        self.shared().nudge();
    }

    /// Tries everything that waits now, as [`Engine::nudge`] does, and makes every connection anew:
    /// for when one may be dead without anybody having said so, and for a person who asks for it.
    /// The engine does this by itself after a sleep of the machine and a change of its network.
    pub fn reconnect(&self) {
        self.shared().reconnect();
    }

    /// Writes everything that is not on the disk yet and stops. Waits at most a second for the
    /// server to be told that the person has left.
    ///
    /// # Cancel safety
    /// A call that is dropped stops the engine at once, as dropping the last handle does, if this
    /// was the last one.
    pub async fn close(self) {
        self.close_sessions(|_| true).await;
        self.shared().cancel.cancel();
        self.shared().store.close();
    }

    /// Ends the tasks of some sessions, when what they have is on the disk.
    async fn close_sessions(&self, which: impl Fn(&str) -> bool) {
        let mut closing = Vec::new();
        for (id, session) in self.shared().running_sessions() {
            if which(&id) {
                let (done, closed) = oneshot::channel();
                session.tell(Command::Close { done });
                closing.push(closed);
            }
        }
        for closed in closing {
            // A task that has ended drops `done`.
            closed.await.ok();
        }
    }
}

/// Whether a session is on a server.
fn is_of(session: &str, server: &str) -> bool {
    Address::parse(session).is_some_and(|at| at.server == server)
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
