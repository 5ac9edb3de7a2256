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
mod memory;
mod prompt;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use acp::{Aside, Command, Pids};
use async_trait::async_trait;
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    connection::{Connection, Opened},
    driving::Driving,
    failure::Failure,
    memory::{Memory, Remembered},
};
use super::{Agent, RunRequest};
use crate::{
    config::AcpAgent,
    run::{RunEnd, RunSink},
    store::Store,
};

/// Endpoints of these agents begin with this.
pub(crate) const ACP: &str = "acp:";
/// An agent that nobody asked anything for so long is ended. Its session stays.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// The connection of an agent in a session, while it has one.
type Place = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// The agents that this server was told to run.
pub(crate) struct Acp {
    agents: HashMap<String, AcpAgent>,
    places: Arc<Mutex<HashMap<(String, String), Place>>>,
    pids: Pids,
    memory: Memory,
    folder: PathBuf,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Acp {
    /// Ends what an earlier server left running.
    pub(crate) fn new(agents: &[AcpAgent], data_dir: &std::path::Path, store: &Store) -> Self {
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
            places: Arc::default(),
            pids,
            memory: Memory::of(store),
            folder,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Whether the server runs an agent of this endpoint.
    pub(crate) fn knows(&self, endpoint: &str) -> bool {
        self.agent(endpoint).is_some()
    }

    fn agent(&self, endpoint: &str) -> Option<&AcpAgent> {
        self.agents.get(endpoint.strip_prefix(ACP)?)
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
        request: &RunRequest,
    ) -> Result<(Connection, Opened), Failure> {
        let command = Command {
            program: agent.program.clone(),
            arguments: agent.arguments.clone(),
            environment: agent.environment.clone(),
            folder: agent.folder.clone(),
        };
        let mut connection = Connection::start(&agent.name, &command, &self.pids)?;
        let opened = async {
            connection.greet().await?;
            let known = self.memory.recall(&request.session_id, &request.spec.id).await;
            let known =
                known.filter(|known| known.agent == agent.name && known.folder == agent.folder);
            connection.open(&agent.folder, known.as_ref()).await
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
        let Some(agent) = self.agent(&request.spec.endpoint) else {
            return RunEnd::failed(
                "agent_disabled",
                "This server does not run this agent. Start it with --acp NAME=COMMAND.",
            );
        };
        let key = (request.session_id.clone(), request.spec.id.clone());
        let place = Arc::clone(self.lock().entry(key.clone()).or_default());
        let mut slot = Arc::clone(&place).lock_owned().await;
        if let Some(connection) = slot.as_mut()
            && !connection.catch_up()
        {
            slot.take(); // it ended while nobody asked it anything
        }
        let opened = match slot.as_ref() {
            Some(_) => Opened::Same,
            None => match self.connect(agent, &request).await {
                Ok((connection, opened)) => {
                    *slot = Some(connection);
                    opened
                }
                Err(failure) => return failure.end(),
            },
        };
        let Some(connection) = slot.as_ref() else {
            return RunEnd::failed("acp_lost", "The agent is not there. Try again.");
        };
        let known = self.memory.recall(&request.session_id, &request.spec.id).await;
        let told = known.filter(|known| known.id == connection.id()).and_then(|known| known.told);
        let history = std::mem::take(&mut request.history);
        let blocks = prompt::blocks(&history.messages, &request.plan, told.as_deref());
        let remembered = Remembered {
            agent: agent.name.clone(),
            folder: agent.folder.clone(),
            id: connection.id().to_owned(),
            told: history.messages.last().map(|message| message.id.clone()),
        };
        drop(history);
        if let Err(error) =
            self.memory.keep(&request.session_id, &request.spec.id, remembered).await
        {
            tracing::warn!(%error, "what an agent was told could not be kept");
        }
        let (aside, turns) = (connection.aside(), connection.turns() + 1);
        let mut driving =
            Driving::new(slot, agent, &request, self.tasks.clone(), self.stop.clone());
        if opened == Opened::Lost {
            driving.notice(
                "The agent's memory of this session is lost",
                "It was given the conversation as it stands here, and goes on with a session of its own.",
            );
        }
        let end = driving.prompt(json!(blocks), &mut request.given, &out).await;
        match end {
            Ok(()) => {
                self.rest(key, place, turns);
                RunEnd::Finished
            }
            Err(failure) => {
                self.note(agent, &aside);
                failure.end()
            }
        }
    }
}
