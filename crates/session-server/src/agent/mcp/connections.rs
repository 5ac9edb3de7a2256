//! Connections to tool servers: one for each session and server, made when it is needed, ended when nobody uses it.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use durable_stream::http_client;
use mcp::{Client, Era, Target, Tool, Unconnected};
use reqwest::{
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use rpc_process::{Command, Pids};
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{ToolServer, ToolServerTarget},
    error::ServerError,
};

/// A connection that nobody used for so long is ended.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// A list of tools is asked for anew after so long, where the server does not say when it changes.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// A server that could not be reached is not tried again for so long.
const AGAIN: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(10);

/// Tools of a server, or why there are none, in a sentence.
pub(super) type Tools = Result<Arc<Vec<Arc<Tool>>>, String>;

/// A connection that lives.
struct Live {
    client: Arc<Client>,
    server: Arc<ToolServer>,
    changes: watch::Receiver<u64>,
    used: u64,
}

type Place = Arc<tokio::sync::Mutex<Option<Live>>>;

/// The findings about a server.
struct Known {
    server: Arc<ToolServer>,
    era: Option<Era>,
    tools: Tools,
    at: Instant,
}

/// A server that was looked at.
pub(crate) struct Tested {
    /// The server's name for itself.
    pub(crate) name: String,
    pub(crate) tools: Vec<Tool>,
}

pub(super) struct Connections {
    http: reqwest::Client,
    pids: Pids,
    places: Arc<Mutex<HashMap<(String, String), Place>>>,
    known: Mutex<HashMap<String, Known>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Connections {
    /// Ends what an earlier server left running.
    pub(super) fn new(running: PathBuf) -> Result<Self, ServerError> {
        let client = || {
            let none = redirect::Policy::none();
            reqwest::Client::builder().redirect(none).connect_timeout(CONNECT)
        };
        let pids = Pids::new(running);
        let swept = pids.sweep();
        if swept > 0 {
            tracing::warn!(
                servers = swept,
                "tool servers of an earlier server were still running and were ended"
            );
        }
        Ok(Self {
            http: http_client(client).map_err(ServerError::HttpClient)?,
            pids,
            places: Arc::default(),
            known: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    fn places(&self) -> MutexGuard<'_, HashMap<(String, String), Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session's connection to a server, new where there is none that lives.
    ///
    /// # Errors
    ///
    /// The server cannot be reached; one sentence.
    pub(super) async fn connect(
        &self,
        session_id: &str,
        server: &Arc<ToolServer>,
    ) -> Result<Arc<Client>, String> {
        if self.stop.is_cancelled() {
            return Err("this server is about to stop".to_owned());
        }
        let key = (session_id.to_owned(), server.name.clone());
        let place = Arc::clone(self.places().entry(key.clone()).or_default());
        let mut slot = place.lock().await;
        if slot.as_ref().is_some_and(|live| live.client.is_gone() || live.server != *server) {
            slot.take();
        }
        if let Some(live) = slot.as_mut() {
            live.used += 1;
            let (client, used) = (Arc::clone(&live.client), live.used);
            drop(slot);
            self.rest(key, &place, used);
            return Ok(client);
        }
        let era = self
            .known()
            .get(&server.name)
            .filter(|known| known.server == *server)
            .and_then(|known| known.era);
        let target = target(server)?;
        let client = Client::connect(&target, &self.pids, &self.http, era).await;
        let client = client.map(Arc::new).map_err(|failed| {
            tracing::debug!(server = server.name, "a tool server cannot be used");
            failed.to_string()
        })?;
        let changes = client.changes();
        *slot = Some(Live {
            client: Arc::clone(&client),
            server: Arc::clone(server),
            changes,
            used: 0,
        });
        drop(slot);
        self.rest(key, &place, 0);
        Ok(client)
    }

    /// Ends a connection after a while in which nobody uses it. A call that goes on, or waits for a person, keeps it.
    fn rest(&self, key: (String, String), place: &Place, used: u64) {
        let (stop, places, place) =
            (self.stop.clone(), Arc::clone(&self.places), Arc::clone(place));
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(IDLE) => {}
            }
            let mut slot = place.lock().await;
            let idle =
                slot.take_if(|live| live.used == used && Arc::strong_count(&live.client) == 1);
            if idle.is_some() {
                places.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            }
        });
    }

    /// The tools of a server, listed anew when they have changed.
    pub(super) async fn tools(&self, session_id: &str, server: &Arc<ToolServer>) -> Tools {
        let key = (session_id.to_owned(), server.name.clone());
        let place = self.places().get(&key).cloned();
        let changed = match place {
            Some(place) => match place.lock().await.as_mut() {
                Some(live) if live.changes.has_changed().unwrap_or(false) => {
                    live.changes.mark_unchanged();
                    true
                }
                _ => false,
            },
            None => false,
        };
        if !changed && let Some(known) = self.known().get(&server.name) {
            let age = if known.tools.is_ok() { FRESH } else { AGAIN };
            if known.server == *server && known.at.elapsed() < age {
                return known.tools.clone();
            }
        }
        let (tools, era) = match self.connect(session_id, server).await {
            Ok(client) => {
                let tools = client.tools().await.map_err(|error| error.to_string());
                let tools = tools.map(|tools| Arc::new(tools.into_iter().map(Arc::new).collect()));
                (tools, Some(client.era()))
            }
            Err(error) => (Err(error), None),
        };
        let known =
            Known { server: Arc::clone(server), era, tools: tools.clone(), at: Instant::now() };
        self.known().insert(server.name.clone(), known);
        tools
    }

    /// Connects to a server as it stands, and lists its tools.
    pub(super) async fn test(&self, server: &ToolServer) -> Result<Tested, Unconnected> {
        let bad = |said: String| Unconnected { error: mcp::Error::Foreign, said };
        let target = target(server).map_err(bad)?;
        let client = Client::connect(&target, &self.pids, &self.http, None).await?;
        let tools = client.tools().await;
        let said = client.aside().map(|aside| aside.stderr()).unwrap_or_default();
        let name = client.name().to_owned();
        client.close().await;
        match tools {
            Ok(tools) => Ok(Tested { name, tools }),
            Err(error) => Err(Unconnected { error, said }),
        }
    }

    /// Ends every connection, and waits until their programs are gone.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let places: Vec<Place> = self.places().drain().map(|(_, place)| place).collect();
        let ends = places.into_iter().map(|place| async move {
            let live = place.lock().await.take();
            if let Some(client) = live.and_then(|live| Arc::into_inner(live.client)) {
                client.close().await;
            }
        });
        futures::future::join_all(ends).await;
    }
}

fn target(server: &ToolServer) -> Result<Target, String> {
    match &server.target {
        ToolServerTarget::Program { program, arguments, environment, folder } => {
            Ok(Target::Program(Command {
                program: program.clone(),
                arguments: arguments.clone(),
                environment: environment.clone(),
                folder: folder.clone(),
            }))
        }
        ToolServerTarget::Address { url, headers } => {
            let mut all = HeaderMap::new();
            for (name, value) in headers {
                let name = HeaderName::from_bytes(name.as_bytes());
                let value = HeaderValue::from_str(value.expose());
                let (Ok(name), Ok(mut value)) = (name, value) else {
                    return Err(
                        "A header of the tool server cannot be sent. Check its headers.".to_owned()
                    );
                };
                value.set_sensitive(true);
                all.insert(name, value);
            }
            Ok(Target::Address { url: url.clone(), headers: all })
        }
    }
}
