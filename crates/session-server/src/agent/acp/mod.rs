//! Agents that run on this computer and speak the Agent Client Protocol.
//!
//! ```text
//!   run ─▶ place (one per session and agent) ─▶ Connection ─▶ Driving ─▶ chunks
//!             ▲                                                 │ dropped: stopped
//!             └───────────── wind_down ◀────────────────────────┘
//! ```
//!
//! - A place holds the connection of one agent in one session. Who runs the agent holds the place; a run that is
//!   stopped hands it to a task that cancels the prompt, and gives it back when the agent has ended it or was ended. So
//!   a prompt never meets the cancel of the one before.
//! - A request for permission is told first, as a row, and answered by what a person chose of its options, inside the
//!   run.
//! - The agent's own id of the session is kept in the database (`memory`). After a restart its session is resumed, else
//!   loaded, and what it says again is dropped: the log is the truth. Else it gets a new one, with the conversation.
//! - What is this computer's alone (process ids, standard error, whole outputs, absolute paths) enters no stream and no
//!   log. The last words of a program that failed are in a file of the data folder.

mod connection;
mod driving;
mod failure;
mod known;
mod memory;
mod prompt;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use acp::{Aside, Command, Pids};
use async_trait::async_trait;
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::known::known_agents;
use self::{
    connection::{Connection, Opened, Running},
    driving::{Driving, lament, local},
    failure::Failure,
    memory::{Memory, Remembered},
};
use super::{Agent, RunRequest};
use crate::{
    config::AcpAgent,
    run::{Face, RunEnd, RunSink},
    store::{Store, StoreError},
};

/// Endpoints of these agents begin with this.
pub(crate) const ACP: &str = "acp:";
/// An agent that nobody asked anything for so long is ended. Its session stays.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// The connection of an agent in a session, while it has one.
type Place = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// The agents that run as programs of this computer: those that the server was started with, and those that its owner
/// added.
pub(crate) struct Acp {
    agents: HashMap<String, AcpAgent>,
    /// Where programs work that have no folder of their own.
    home: PathBuf,
    running: Running,
    places: Arc<Mutex<HashMap<(String, String), Place>>>,
    pids: Pids,
    memory: Memory,
    folder: PathBuf,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Acp {
    /// Ends what an earlier server left running.
    pub(crate) fn new(agents: &[AcpAgent], data_dir: &Path, store: &Store) -> Self {
        let folder = data_dir.join("acp");
        let pids = Pids::new(folder.join("running"));
        let swept = pids.sweep();
        if swept > 0 {
            tracing::warn!(
                agents = swept,
                "agents of an earlier server were still running and were ended"
            );
        }
        Self {
            agents: agents.iter().map(|agent| (agent.name.clone(), agent.clone())).collect(),
            home: std::env::home_dir().unwrap_or_else(|| data_dir.to_owned()),
            running: Running::default(),
            places: Arc::default(),
            pids,
            memory: Memory::of(store),
            folder,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Whether the server runs an agent of this endpoint.
    pub(crate) async fn knows(&self, endpoint: &str) -> bool {
        self.agent(endpoint).await.is_some()
    }

    async fn agent(&self, endpoint: &str) -> Option<AcpAgent> {
        let name = endpoint.strip_prefix(ACP)?;
        if let Some(agent) = self.agents.get(name) {
            return Some(agent.clone());
        }
        self.memory.programs(&self.home).await.into_iter().find(|agent| agent.name == name)
    }

    /// The agents by name, with whether the server was started with each, and the number of its programs that run.
    pub(crate) async fn list(&self) -> Vec<(AcpAgent, bool, usize)> {
        let added = self.memory.programs(&self.home).await;
        let added = added.into_iter().filter(|agent| !self.agents.contains_key(&agent.name));
        let fixed = self.agents.values().map(|agent| (agent.clone(), true));
        let all = fixed.chain(added.map(|agent| (agent, false)));
        let mut all: Vec<_> = all
            .map(|(agent, fixed)| {
                let running = self.running.of(&agent.name);
                (agent, fixed, running)
            })
            .collect();
        all.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        all
    }

    /// Whether the server was started with an agent of this name.
    pub(crate) fn is_fixed(&self, name: &str) -> bool {
        self.agents.contains_key(name)
    }

    /// Adds a program, in place of one of the same name. A variable without a value keeps the one that it has.
    pub(crate) async fn add(
        &self,
        name: &str,
        command: Vec<String>,
        environment: Vec<(String, Option<String>)>,
        folder: Option<PathBuf>,
    ) -> Result<(), StoreError> {
        let before = self.memory.programs(&self.home).await;
        let before = before.into_iter().find(|agent| agent.name == name);
        let known = |name: &str| {
            let all = before.as_ref()?.environment.iter();
            let value = all.rev().find(|(known, _)| known == name)?.1.to_str()?;
            Some(value.to_owned())
        };
        let environment = environment
            .into_iter()
            .filter_map(|(name, value)| {
                let value = value.or_else(|| known(&name))?;
                Some((name, value))
            })
            .collect();
        self.memory.add_program(name, command, environment, folder).await
    }

    /// Takes a program away. What it is doing goes on.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.memory.drop_program(name).await
    }

    /// The folder that was chosen for a session, and whether an agent has begun to work in it.
    pub(crate) async fn folder(&self, session_id: &str) -> (Option<PathBuf>, bool) {
        (self.memory.folder(session_id).await, self.memory.works(session_id, None).await)
    }

    /// Chooses the folder of a session; false when an agent works in another one already.
    pub(crate) async fn choose_folder(
        &self,
        session_id: &str,
        folder: &Path,
    ) -> Result<bool, StoreError> {
        if self.memory.works(session_id, Some(folder)).await {
            return Ok(false);
        }
        self.memory.choose_folder(session_id, folder).await?;
        Ok(true)
    }

    /// Folders that were chosen lately and are still there, the newest first.
    pub(crate) async fn recent_folders(&self) -> Vec<String> {
        let mut folders = self.memory.recent().await;
        folders.retain(|folder| Path::new(folder).is_dir());
        folders
    }

    /// Tells an agent that rests what was chosen of it, where its program runs; its face then. `None` when there is
    /// nothing to say now: it is told with its next prompt.
    ///
    /// # Cancel safety
    ///
    /// The agent may have heard it; it is told again with its next prompt.
    pub(crate) async fn settle(&self, session_id: &str, agent_id: &str) -> Option<Face> {
        let place = self.lock().get(&(session_id.to_owned(), agent_id.to_owned())).cloned()?;
        let mut slot = place.try_lock().ok()?;
        let connection = slot.as_mut()?;
        if !connection.catch_up() {
            slot.take();
            return None;
        }
        self.tell(connection, session_id, agent_id).await;
        let folder = self.memory.recall(session_id, agent_id).await?.folder;
        Some(Face { fields: connection.face().fields(&local(&folder)), told: connection.told() })
    }

    /// Tells an agent what was chosen of it and not told yet; why it did not take some of it.
    async fn tell(
        &self,
        connection: &mut Connection,
        session_id: &str,
        agent_id: &str,
    ) -> Vec<Failure> {
        let mut refused = Vec::new();
        if connection.face().values().next().is_none() {
            return refused; // it does not say what can be chosen
        }
        for (option, value) in self.memory.choices(session_id, agent_id).await {
            if !connection.is_untold(&option, &value) {
                continue;
            }
            if let Err(failure) = connection.choose(&option, &value).await {
                self.memory.forget_choice(session_id, agent_id, &option).await;
                refused.push(failure);
            }
        }
        refused
    }

    /// Ends every agent. To be called when no run goes on any more.
    ///
    /// # Cancel safety
    ///
    /// They end also when the future is dropped, by themselves.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await; // those that wind down
        let places: Vec<Place> = self.lock().drain().map(|(_, place)| place).collect();
        let ends = places.into_iter().map(|place| async move {
            if let Some(connection) = place.lock().await.take() {
                connection.close().await;
            }
        });
        futures::future::join_all(ends).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection of the agent in this session, new where there is none, with its session open.
    async fn connect(
        &self,
        agent: &AcpAgent,
        folder: &Path,
        request: &RunRequest,
    ) -> Result<(Connection, Opened), Failure> {
        let mut environment = agent.environment.clone();
        if !environment.iter().any(|(name, _)| name == "PATH")
            && let Some(path) = acp::path_for(&agent.program).await
        {
            environment.push(("PATH".into(), path));
        }
        let command = Command {
            program: agent.program.clone(),
            arguments: agent.arguments.clone(),
            environment,
            folder: folder.to_owned(),
        };
        let mut connection = Connection::start(&agent.name, &command, &self.pids, &self.running)?;
        let opened = async {
            connection.greet().await?;
            let known = self.memory.recall(&request.session_id, &request.spec.id).await;
            let had = known.is_some();
            let known = known.filter(|known| known.agent == agent.name && known.folder == folder);
            let opened = connection.open(folder, known.as_ref()).await?;
            // What it knew under another name, or in another folder, it does not know here.
            Ok(if opened == Opened::New && had { Opened::Lost } else { opened })
        };
        match opened.await {
            Ok(opened) => Ok((connection, opened)),
            Err(failure) => {
                self.note(agent, &connection.aside());
                Err(failure)
            }
        }
    }

    /// Keeps the last words of a program that failed, for the owner of this computer.
    fn note(&self, agent: &AcpAgent, aside: &Aside) {
        let words = format!("{}\n{}", aside.noise_lines().join("\n"), aside.stderr());
        let name: String =
            agent.name.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
        let path = self.folder.join(format!("{name}.log"));
        let written = sqlite_line::owner_only(&path).and_then(|()| std::fs::write(&path, words));
        if written.is_err() {
            tracing::warn!("the last words of an agent could not be kept");
        }
    }

    /// Ends the agent after a while in which nobody asks it anything.
    fn rest(&self, key: (String, String), place: Place, turns: u64) {
        let (stop, places) = (self.stop.clone(), Arc::clone(&self.places));
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(IDLE) => {}
            }
            let idle = match place.try_lock() {
                Ok(mut slot) => slot.take_if(|connection| connection.turns() == turns),
                Err(_) => None, // it runs
            };
            if let Some(connection) = idle {
                places.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                connection.close().await;
            }
        });
    }
}

#[async_trait]
impl Agent for Acp {
    async fn run(&self, mut request: RunRequest, out: RunSink) -> RunEnd {
        let Some(agent) = self.agent(&request.spec.endpoint).await else {
            return RunEnd::failed(
                "agent_disabled",
                "This server does not run this agent. Add it again, or start the server with --acp NAME=COMMAND.",
            );
        };
        let (session, own) = (request.session_id.clone(), request.spec.id.clone());
        let key = (session.clone(), own.clone());
        let place = Arc::clone(self.lock().entry(key.clone()).or_default());
        let mut slot = Arc::clone(&place).lock_owned().await;
        let folder = self.memory.folder(&session).await.unwrap_or_else(|| agent.folder.clone());
        if let Some(connection) = slot.as_mut()
            && !connection.catch_up()
        {
            slot.take(); // it ended while nobody asked it anything
        }
        let opened = match slot.as_ref() {
            Some(_) => Opened::Same,
            None => match self.connect(&agent, &folder, &request).await {
                Ok((connection, opened)) => {
                    *slot = Some(connection);
                    opened
                }
                Err(failure) => {
                    lament(&failure, &folder, &request, &out).await.ok(); // whoever stopped it has said so
                    return failure.end();
                }
            },
        };
        let Some(connection) = slot.as_mut() else {
            return RunEnd::failed("acp_lost", "The agent is not there. Try again.");
        };
        let refused = self.tell(connection, &session, &own).await;
        let before = self.memory.recall(&session, &own).await;
        let before = before.filter(|known| known.id == connection.id());
        let told = before.as_ref().and_then(|known| known.told.clone());
        let history = std::mem::take(&mut request.history);
        let blocks = prompt::blocks(&history.messages, &request.plan, told.as_deref());
        let remembered = Remembered {
            agent: agent.name.clone(),
            folder: folder.clone(),
            id: connection.id().to_owned(),
            told: history.messages.last().map(|message| message.id.clone()),
        };
        let before = before.unwrap_or_else(|| Remembered { told: None, ..remembered.clone() });
        drop(history);
        if let Err(error) = self.memory.keep(&session, &own, remembered).await {
            tracing::warn!(%error, "what an agent was told could not be kept");
        }
        let (aside, turns) = (connection.aside(), connection.turns() + 1);
        let mut driving =
            Driving::new(slot, &folder, &request, self.tasks.clone(), self.stop.clone());
        if opened == Opened::Lost {
            driving.notice(
                "The agent's memory of this session is lost",
                "It was given the conversation as it stands here, and goes on with a session of its own.",
            );
        }
        for failure in refused {
            driving.notice("A choice was not taken", &failure.to_string());
        }
        let end = driving.prompt(json!(blocks), &mut request.given, &out).await;
        match end {
            Ok(()) => {
                self.rest(key, place, turns);
                RunEnd::Finished
            }
            Err(failure) => {
                self.note(&agent, &aside);
                // What it did not take it is told again.
                if failure.was_not_heard() {
                    self.memory.keep(&session, &own, before).await.ok();
                }
                failure.end()
            }
        }
    }
}
