//! The other end of a bridge: an agent of this computer that answers in a session of another server.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use session_protocol::{
    AgentSpec, Message, Part, Stopped,
    api::{BridgeEnd, BridgeEvent, BridgeMessage, BridgeOutput},
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agent::{ACP, Acp, Agent as _, RunRequest},
    budget::{Budget, Owner},
    config::{AcpAgent, Limits},
    error::ServerError,
    history::History,
    run::{Cause, Given, Output, RunEnd, RunOutput, RunPlan, RunSink},
    store::{Store, private_folder},
};

/// Words of an agent that are not sent yet.
const UNSENT: usize = 64;
/// Chunks of one output.
const CHUNKS: usize = 200;
/// Bytes of the chunks of one output, as JSON.
const BYTES: usize = 256 << 10;

/// Why an agent of this computer cannot be bridged.
#[derive(Debug, thiserror::Error)]
pub enum FarError {
    /// The bridge's folder cannot be used.
    #[error(transparent)]
    Folder(#[from] ServerError),
    /// Another bridge has the folder.
    #[error(
        "Another bridge uses the folder {}. End it, or give this one a folder of its own.", .0.display()
    )]
    InUse(PathBuf),
}

struct Going {
    cancel: CancellationToken,
    given: mpsc::UnboundedSender<Given>,
    number: u64,
}

/// An agent of this computer for a session of another server. Who has it carries the events to it and its words away.
pub struct FarAgent {
    /// The bridge's id, and the file that keeps it: one at a time has it.
    bridge: (String, fs::File),
    acp: Arc<Acp>,
    agent: String,
    session: String,
    own_id: String,
    budget: Budget,
    going: HashMap<String, Going>,
    to: mpsc::Sender<RunOutput>,
    words: mpsc::Receiver<RunOutput>,
    /// A word that did not fit into the last output.
    held: Option<RunOutput>,
    tasks: TaskTracker,
}

impl FarAgent {
    /// Prepares an agent, which has the id `own_id` in the session. Nothing is started. What it remembers of the
    /// session is kept in `folder`.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, or another bridge has it.
    pub fn open(
        folder: &Path,
        agent: AcpAgent,
        session: &str,
        own_id: &str,
    ) -> Result<Self, FarError> {
        private_folder(folder)
            .map_err(|source| ServerError::DataDir { path: folder.to_owned(), source })?;
        let bridge = identity(folder)?;
        let store = Store::open(folder, None)?;
        let (to, words) = mpsc::channel(UNSENT);
        Ok(Self {
            bridge,
            agent: format!("{ACP}{}", agent.name),
            acp: Arc::new(Acp::new(&[agent], folder, &store)),
            session: session.to_owned(),
            own_id: own_id.to_owned(),
            budget: Budget::new(&Limits::default()),
            going: HashMap::new(),
            to,
            words,
            held: None,
            tasks: TaskTracker::new(),
        })
    }

    /// The bridge's id, which stays the same when it is started again.
    pub fn bridge(&self) -> &str {
        &self.bridge.0
    }

    /// Hears of something to do.
    pub fn hear(&mut self, event: BridgeEvent) {
        match event {
            BridgeEvent::Prompt { run_id, message_id, cause, messages } => {
                if !self.going.contains_key(&run_id) {
                    self.begin(run_id, message_id, &cause, messages);
                }
            }
            BridgeEvent::Answer { run_id, approval_id, approved, option_id } => {
                if let Some(going) = self.going.get(&run_id) {
                    let given = Given { approval_id, approved, option_id };
                    going.given.send(given).ok(); // it is over
                }
            }
            BridgeEvent::Stop { run_id } => self.stop(&run_id),
        }
    }

    /// Stops a run. Nothing of it is said any more.
    pub fn stop(&mut self, run_id: &str) {
        if let Some(going) = self.going.remove(run_id) {
            going.cancel.cancel();
        }
    }

    fn begin(&mut self, run_id: String, message_id: String, cause: &str, told: Vec<BridgeMessage>) {
        let id = told.last().map(|message| message.id.clone()).unwrap_or_default();
        let cause = match cause {
            "reply" => Cause::Reply { id },
            "again" => Cause::Again { id },
            "answers" => Cause::Answers { parent_run_id: None },
            _ => Cause::Message { id },
        };
        let plan = RunPlan {
            run_id: run_id.clone(),
            message_id,
            agent_id: self.own_id.clone(),
            cause,
            depth: 0,
            told: 0,
            asked_by: None,
            continues: false,
        };
        let spec = AgentSpec {
            id: self.own_id.clone(),
            name: None,
            endpoint: self.agent.clone(),
            method: None,
            headers: None,
            triggers: None,
            body_template: None,
        };
        let (given, taken) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let owner = Owner::Agent(self.session.clone(), self.own_id.clone());
        let sink = RunSink::new(
            run_id.clone(),
            self.to.clone(),
            cancel.clone(),
            self.budget.clone(),
            owner,
        );
        let request = RunRequest {
            session_id: self.session.clone(),
            plan,
            spec,
            answers: Vec::new(),
            history: History::of(told.into_iter().zip(0..).map(message).collect()),
            given: taken,
        };
        self.going.insert(run_id.clone(), Going { cancel: cancel.clone(), given, number: 0 });
        let (acp, to) = (Arc::clone(&self.acp), self.to.clone());
        self.tasks.spawn(async move {
            let end = tokio::select! {
                () = cancel.cancelled() => return,
                end = acp.run(request, sink) => end,
            };
            to.send(RunOutput { run_id, what: Output::End(end), hold: None }).await.ok(); // nobody listens any more
        });
    }

    /// The agent's next words: as much as is there, of one run.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn says(&mut self) -> BridgeOutput {
        loop {
            if self.held.is_none() {
                self.held = self.words.recv().await;
            }
            let Some(first) = self.held.take() else { continue };
            let Some(going) = self.going.get_mut(&first.run_id) else { continue }; // it was stopped
            going.number += 1;
            let mut output = BridgeOutput {
                bridge: self.bridge.0.clone(),
                run_id: first.run_id.clone(),
                number: going.number,
                ..BridgeOutput::default()
            };
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(word) = next {
                if word.run_id != output.run_id || !fits(&word, &output, bytes) {
                    self.held = Some(word);
                    break;
                }
                bytes += put(word.what, &mut output);
                next = match output.end {
                    Some(_) => None,
                    None => self.words.try_recv().ok(),
                };
            }
            if output.end.is_some() {
                self.going.remove(&output.run_id);
            }
            return output;
        }
    }

    /// Ends what goes on, and the agent's programs.
    ///
    /// # Cancel safety
    ///
    /// They end also when the future is dropped, by themselves.
    pub async fn close(mut self) {
        for (_, going) in self.going.drain() {
            going.cancel.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.acp.close().await;
    }
}

/// The bridge's id, from the file that keeps it.
fn identity(folder: &Path) -> Result<(String, fs::File), FarError> {
    let failed = |source| ServerError::DataDir { path: folder.to_owned(), source };
    let path = folder.join("bridge");
    sqlite_line::owner_only(&path).map_err(failed)?;
    let mut options = fs::OpenOptions::new();
    let mut file = options.read(true).write(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(FarError::InUse(folder.to_owned())),
        Err(fs::TryLockError::Error(source)) => return Err(failed(source).into()),
    }
    let mut id = String::new();
    file.read_to_string(&mut id).map_err(failed)?;
    if uuid::Uuid::parse_str(&id).is_err() {
        id = uuid::Uuid::new_v4().to_string();
        file.set_len(0).and_then(|()| file.write_all(id.as_bytes())).map_err(failed)?;
    }
    Ok((id, file))
}

/// Whether a word goes into an output: in it, chunks stand before what is withdrawn, which stands before the end.
fn fits(word: &RunOutput, output: &BridgeOutput, bytes: usize) -> bool {
    match &word.what {
        Output::Chunk(chunk) => {
            output.withdrawn.is_empty()
                && output.title.is_none()
                && output.chunks.len() < CHUNKS
                && (output.chunks.is_empty() || bytes + chunk.len() <= BYTES)
        }
        Output::Face(_) => output.chunks.is_empty() && output.withdrawn.is_empty(),
        Output::Withdraw { .. } => output.title.is_none(),
        Output::Title(_) | Output::Before(_) | Output::End(_) => true,
    }
}

/// Puts a word into an output; its bytes.
fn put(word: Output, output: &mut BridgeOutput) -> usize {
    match word {
        Output::Chunk(chunk) => {
            output.chunks.extend(serde_json::from_str(&chunk).ok());
            return chunk.len();
        }
        Output::Withdraw { approval_id, reason } => output.withdrawn.push((approval_id, reason)),
        // What is chosen of an agent of this computer is chosen on it.
        Output::Face(face) => {
            output.face = Some(json!({"commands": face.fields.get("commands")}));
        }
        Output::Title(title) => output.title = Some(title),
        Output::Before(_) => {}
        Output::End(RunEnd::Finished) => output.end = Some(BridgeEnd::default()),
        Output::End(RunEnd::Failed { code, message }) => {
            output.end = Some(BridgeEnd { code: Some(code), message: Some(message) });
        }
    }
    0
}

fn message((told, position): (BridgeMessage, u64)) -> Message {
    let mut message = Message::new(told.id, position);
    message.role = told.role;
    message.actor_id = told.actor_id;
    message.is_complete = true;
    message.parts = vec![Part::text(told.text)];
    message.stopped = told.cut.then_some(Stopped { by: None, reason: None });
    message
}
