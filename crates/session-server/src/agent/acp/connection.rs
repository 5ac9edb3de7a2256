//! One program with one session of its own: started, greeted, its session opened.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use acp::{
    Aside, CANCELLED, Command, Ended, Event, Face, How, Incoming, Message, NO_METHOD, Peer, Phase,
    Pids, RpcError,
};
use futures::FutureExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use super::{failure::Failure, memory::Remembered};

/// Time for the answer to `initialize`. A program that is fetched first takes a minute.
const GREETING: Duration = Duration::from_secs(90);
/// The time after it has said something else.
const FOREIGN: Duration = Duration::from_secs(20);
/// Time for opening a session.
const OPENING: Duration = Duration::from_secs(60);
/// Some agents say what was once more behind the answer: it is over when so long nothing came.
const QUIET: Duration = Duration::from_millis(300);
/// Time for setting an option.
const SETTING: Duration = Duration::from_secs(10);
/// Most updates that are kept from outside of prompts, and their bytes.
const LATE: (usize, usize) = (1_000, 256 << 10);

/// How the agent's session came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// The one that it had.
    Same,
    /// A first one.
    New,
    /// A new one, because the agent does not know the one that it had.
    Lost,
}

/// Programs that run, by the agent's name.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<String, usize>>>);

impl Running {
    /// Number of programs of an agent.
    pub(super) fn of(&self, name: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or(0)
    }

    fn one(&self, name: &str) -> Counted {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name.to_owned())
            .or_default() += 1;
        Counted { running: self.clone(), name: name.to_owned() }
    }
}

/// One of the programs that are counted, until it is dropped.
struct Counted {
    running: Running,
    name: String,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.running.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.name) {
            *count = count.saturating_sub(1);
        }
    }
}

/// A program with a session.
pub(super) struct Connection {
    name: String,
    /// The program's name, for logins in a terminal.
    program: String,
    _counted: Counted,
    peer: Peer,
    phase: Phase,
    id: String,
    resumes: bool,
    loads: bool,
    /// Updates that came outside of prompts.
    late: VecDeque<Value>,
    late_bytes: usize,
    turns: u64,
    face: Face,
    /// Choices that it was told, by option.
    told: HashMap<String, String>,
    /// Ways to sign in, as it says them.
    methods: Vec<Value>,
}

impl Connection {
    /// Starts the program.
    pub(super) fn start(
        name: &str,
        command: &Command,
        pids: &Pids,
        running: &Running,
    ) -> Result<Self, Failure> {
        Ok(Self {
            name: name.to_owned(),
            program: command.name(),
            peer: Peer::start(command, pids)?,
            _counted: running.one(name),
            phase: Phase::Greeting,
            id: String::new(),
            resumes: false,
            loads: false,
            late: VecDeque::new(),
            late_bytes: 0,
            turns: 0,
            face: Face::default(),
            told: HashMap::new(),
            methods: Vec::new(),
        })
    }

    /// The agent's face.
    pub(super) fn face(&self) -> &Face {
        &self.face
    }

    /// Choices that it was told, by option.
    pub(super) fn told(&self) -> Vec<(String, String)> {
        self.told.iter().map(|(option, value)| (option.clone(), value.clone())).collect()
    }

    /// Takes what an update shows of the agent; true when that is new. What a session that is not its own shows is
    /// another one's.
    pub(super) fn shows(&mut self, params: &Value) -> bool {
        let own = params.get("sessionId").and_then(Value::as_str).is_none_or(|id| id == self.id);
        let Some(update) = params.get("update").filter(|_| own || self.id.is_empty()) else {
            return false;
        };
        let kind = update.get("sessionUpdate").and_then(Value::as_str).unwrap_or_default();
        if !kind.ends_with("_update") || kind.starts_with("tool_call") {
            return false;
        }
        let before = self.face.clone();
        self.face.update(update);
        self.face != before
    }

    /// Whether a choice is still to be told.
    pub(super) fn is_untold(&self, option: &str, value: &str) -> bool {
        self.told.get(option).is_none_or(|told| told != value)
    }

    /// Sets an option, in a session that rests. A choice that the agent refuses, or has no more, is told too.
    ///
    /// # Errors
    ///
    /// The agent's own words for why it does not take the choice, or that it is gone.
    pub(super) async fn choose(&mut self, option: &str, value: &str) -> Result<(), Failure> {
        self.told.insert(option.to_owned(), value.to_owned());
        if self.face.values().any(|(id, holds)| id == option && holds == value) {
            return Ok(());
        }
        let Some((method, params)) = self.face.request(&self.id, option, value) else {
            return Err(Failure::NotOffered { name: self.name.clone(), value: value.to_owned() });
        };
        let id = self.peer.request(method, &params);
        let deadline = Instant::now() + SETTING;
        let answer = loop {
            match timeout_at(deadline, self.peer.next()).await {
                Err(_) => {
                    let (name, seconds) = (self.name.clone(), SETTING.as_secs());
                    return Err(Failure::Silent { name, seconds });
                }
                Ok(Incoming::Gone(ended)) => return Err(self.exited(&ended)),
                Ok(Incoming::Message(Message::Answer { id: of, answer })) if of == id => {
                    break answer;
                }
                Ok(Incoming::Message(message)) => self.aside_of(message),
            }
        };
        let answer = answer.map_err(|error| self.refused(&error))?;
        self.face.set(option, value, &answer);
        Ok(())
    }

    /// The agent's id of its session.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Prompts so far.
    pub(super) fn turns(&self) -> u64 {
        self.turns
    }

    pub(super) fn aside(&self) -> Arc<Aside> {
        self.peer.aside()
    }

    pub(super) fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }

    fn on(&mut self, event: Event) -> bool {
        match self.phase.on(event) {
            Some(next) => {
                self.phase = next;
                true
            }
            None => false,
        }
    }

    /// Says who is here, and hears what the agent can do.
    pub(super) async fn greet(&mut self) -> Result<(), Failure> {
        let params = json!({
            "protocolVersion": 1,
            "clientCapabilities": {
                "fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false, "plan": {},
                "session": {"configOptions": {"boolean": {}}, "compaction": {}, "notices": {}},
                "_meta": {"terminal_output": true},
            },
            "clientInfo": {"name": "threadkeep", "title": "Threadkeep", "version": env!("CARGO_PKG_VERSION")},
        });
        let id = self.peer.request("initialize", &params);
        let aside = self.peer.aside();
        let deadline = Instant::now() + GREETING;
        let mut noisy_since = None;
        let answer = loop {
            // What says something else, and goes on so, is no agent.
            if aside.noise() > 0 {
                noisy_since.get_or_insert_with(Instant::now);
            }
            let until = noisy_since.map_or(deadline, |since| deadline.min(since + FOREIGN));
            if Instant::now() >= until {
                return Err(if noisy_since.is_some() {
                    Failure::Foreign { name: self.name.clone() }
                } else {
                    Failure::Silent { name: self.name.clone(), seconds: GREETING.as_secs() }
                });
            }
            let look = until.min(Instant::now() + Duration::from_millis(200));
            match timeout_at(look, self.peer.next()).await {
                Err(_) => {}
                Ok(Incoming::Message(Message::Answer { id: of, answer })) if of == id => {
                    break answer;
                }
                Ok(Incoming::Message(message)) => self.aside_of(message),
                Ok(Incoming::Gone(_)) if aside.noise() > 0 => {
                    return Err(Failure::Foreign { name: self.name.clone() });
                }
                Ok(Incoming::Gone(ended)) => return Err(Failure::at_once(&self.name, &ended)),
            }
        };
        let answer = answer.map_err(|error| self.refused(&error))?;
        let methods = answer.get("authMethods").and_then(Value::as_array);
        self.methods = methods.cloned().unwrap_or_default();
        match answer.get("protocolVersion").and_then(Value::as_u64) {
            Some(1) => {}
            Some(_) => return Err(Failure::Version { name: self.name.clone() }),
            None => return Err(Failure::Foreign { name: self.name.clone() }),
        }
        let can = answer.get("agentCapabilities").unwrap_or(&Value::Null);
        let session = can.get("sessionCapabilities");
        self.loads = can.get("loadSession") == Some(&Value::Bool(true));
        self.resumes = session
            .and_then(|session| session.get("resume"))
            .is_some_and(|resume| !matches!(resume, Value::Null | Value::Bool(false)));
        self.on(Event::Greeted);
        Ok(())
    }

    /// Opens the agent's session: the known one, else a new one.
    pub(super) async fn open(
        &mut self,
        folder: &Path,
        known: Option<&Remembered>,
    ) -> Result<Opened, Failure> {
        let params = json!({"cwd": folder, "mcpServers": []});
        if let Some(known) = known {
            let ways = [
                (self.resumes, How::Resume, "session/resume"),
                (self.loads, How::Load, "session/load"),
            ];
            for (can, how, method) in ways {
                let mut params = params.clone();
                params["sessionId"] = known.id.clone().into();
                if can && let Some(answer) = self.try_open(how, method, &params).await? {
                    known.id.clone_into(&mut self.id);
                    self.face.opened(&answer);
                    return Ok(Opened::Same);
                }
            }
        }
        let answer = self.try_open(How::New, "session/new", &params).await?.unwrap_or_default();
        let id = answer.get("sessionId").and_then(Value::as_str).filter(|id| !id.is_empty());
        let Some(id) = id else { return Err(Failure::Foreign { name: self.name.clone() }) };
        id.clone_into(&mut self.id);
        self.face.opened(&answer);
        Ok(if known.is_some() { Opened::Lost } else { Opened::New })
    }

    /// Opens a session in one way; `None` when the agent does not have it any more. What it says again of a known one
    /// is dropped.
    async fn try_open(
        &mut self,
        how: How,
        method: &str,
        params: &Value,
    ) -> Result<Option<Value>, Failure> {
        self.on(Event::Open(how));
        let id = self.peer.request(method, params);
        let replays = self.phase.replays();
        let mut again = 0_usize;
        let answer = loop {
            match timeout(OPENING, self.peer.next()).await {
                Err(_) => {
                    return Err(Failure::Silent {
                        name: self.name.clone(),
                        seconds: OPENING.as_secs(),
                    });
                }
                Ok(Incoming::Gone(ended)) => return Err(Failure::at_once(&self.name, &ended)),
                Ok(Incoming::Message(Message::Answer { id: of, answer })) if of == id => {
                    break answer;
                }
                Ok(Incoming::Message(message)) if replays => again += self.dropped(message),
                Ok(Incoming::Message(message)) => self.aside_of(message),
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.wants_login() || how == How::New => {
                return Err(self.refused(&error));
            }
            Err(_) => {
                self.on(Event::NotOpened);
                return Ok(None);
            }
        };
        while replays && let Ok(next) = timeout(QUIET, self.peer.next()).await {
            match next {
                Incoming::Message(message) => again += self.dropped(message),
                Incoming::Gone(ended) => return Err(Failure::at_once(&self.name, &ended)),
            }
        }
        // Some say yes to any id, and have nothing to tell.
        if how == How::Load && again == 0 {
            self.on(Event::NotOpened);
            return Ok(None);
        }
        self.on(Event::Opened);
        Ok(Some(answer))
    }

    /// Drops what is said again; the number of words in it, 0 or 1.
    fn dropped(&mut self, message: Message) -> usize {
        match message {
            Message::Notification { params, .. } => {
                self.shows(&params);
                let kind = params.get("update").and_then(|update| update.get("sessionUpdate"));
                let kind = kind.and_then(Value::as_str).unwrap_or_default();
                let said =
                    ["user_message_chunk", "agent_message_chunk", "tool_call"].contains(&kind);
                usize::from(said)
            }
            other => {
                self.aside_of(other);
                0
            }
        }
    }

    /// Takes what came outside of a prompt: updates are kept for the next one, requests are not granted.
    fn aside_of(&mut self, message: Message) {
        match message {
            Message::Notification { method, params } if method == "session/update" => {
                self.shows(&params);
                let size = params.to_string().len();
                let fits = self.late.len() < LATE.0 && self.late_bytes + size <= LATE.1;
                let words = params.get("update").and_then(|update| update.get("sessionUpdate"));
                let is_of_prompts = words.and_then(Value::as_str).is_some_and(|kind| {
                    kind.starts_with("agent_message") || kind.starts_with("tool_call")
                });
                if fits && is_of_prompts {
                    self.late_bytes += size;
                    self.late.push_back(params);
                }
            }
            Message::Request { id, method, .. } => self.refuse(&id, &method),
            Message::Notification { .. } | Message::Answer { .. } => {}
        }
    }

    /// Answers a request that nobody can be asked about, or that is not offered.
    pub(super) fn refuse(&mut self, id: &Value, method: &str) {
        let answer = match method {
            "session/request_permission" => Ok(json!({"outcome": {"outcome": "cancelled"}})),
            _ => Err(RpcError::new(NO_METHOD, "not offered here")),
        };
        self.peer.answer(id, &answer);
    }

    /// Takes what came since the last prompt, without waiting; false when the program is gone.
    pub(super) fn catch_up(&mut self) -> bool {
        while let Some(next) = self.peer.next().now_or_never() {
            match next {
                Incoming::Message(message) => self.aside_of(message),
                Incoming::Gone(_) => return false,
            }
        }
        self.phase == Phase::Idle
    }

    /// Takes the updates that came outside of prompts since the last one.
    pub(super) fn take_late(&mut self) -> VecDeque<Value> {
        self.late_bytes = 0;
        std::mem::take(&mut self.late)
    }

    /// Sends a prompt; its number.
    pub(super) fn prompt(&mut self, blocks: &Value) -> u64 {
        self.on(Event::Prompt);
        self.turns += 1;
        self.peer.request("session/prompt", &json!({"sessionId": self.id, "prompt": blocks}))
    }

    /// The prompt was answered.
    pub(super) fn answered(&mut self) {
        self.on(Event::Answered);
    }

    /// Cancels the prompt that is under way.
    pub(super) fn cancel(&mut self) {
        if self.on(Event::Cancel) {
            self.peer.notify("session/cancel", &json!({"sessionId": self.id}));
        }
    }

    /// Why a request that was cancelled is answered so.
    pub(super) fn cancelled() -> RpcError {
        RpcError::new(CANCELLED, "cancelled")
    }

    pub(super) fn exited(&self, ended: &Ended) -> Failure {
        Failure::exited(&self.name, ended)
    }

    pub(super) fn refused(&self, error: &RpcError) -> Failure {
        Failure::refused(&self.name, &self.program, error, &self.methods)
    }

    /// Ends the program, politely.
    pub(super) async fn close(self) {
        self.peer.close().await;
    }

    /// Ends the program now.
    pub(super) async fn kill(self) {
        self.peer.kill().await;
    }
}
