//! Thousands of lives of a session: intents, agents' words, kills and times in any order, all through
//! [`Session::apply`].
//!
//! A life keeps what survives a kill: the log, and the table of runs. A kill takes everything else, at each of the
//! points between which a commit is not one step, and the session is opened again from what is left.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Number;
use session_protocol::Lifecycle;
use session_protocol::api::SendMode;

use super::*;
use crate::run::{Given, Output, RunEnd, Start, ToldAnswer};

/// Where a kill falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// Before anything of the batch is kept.
    First,
    /// The plans are in the database, and nothing is in the log.
    Planned,
    /// The log is written, and the database does not know it.
    Written,
    /// All is written, and no agent was called.
    Committed,
}

/// An agent that this server does not lead.
const ELSEWHERE: &str = "elsewhere";

/// A wish of somebody, as a client that asks until it is answered.
#[derive(Debug, Clone)]
enum Wanted {
    Message { id: String, txid: String, mode: SendMode },
    Anew { id: String, instead_of: String, txid: String },
    Decide { approval: String, message: String, yes: bool, txid: String },
    Result { call: String, message: String, txid: String },
    Again { message: String, txid: String },
    Title { txid: String },
    Chunk { message: String, txid: String },
}

impl Wanted {
    fn txid(&self) -> &str {
        match self {
            Self::Message { txid, .. }
            | Self::Anew { txid, .. }
            | Self::Decide { txid, .. }
            | Self::Result { txid, .. }
            | Self::Again { txid, .. }
            | Self::Title { txid }
            | Self::Chunk { txid, .. } => txid,
        }
    }

    fn input(&self) -> Input {
        let txid = Some(self.txid().to_owned());
        let actor_id = "ann".to_owned();
        let message = |id: &str, mode, txid| NewMessage {
            message_id: Some(id.to_owned()),
            content: "why".to_owned(),
            files: vec![],
            role: Role::User,
            actor_id: "ann".to_owned(),
            agent: None,
            manages: true,
            txid,
            mode,
        };
        match self.clone() {
            Self::Message { id, mode, .. } => Input::Send(message(&id, mode, txid)),
            Self::Anew { id, instead_of, .. } => {
                let new = message(&id, SendMode::Queue, txid);
                Input::SendAnew { instead_of: Some(instead_of), new }
            }
            Self::Decide { approval: approval_id, message, yes: approved, .. } => {
                let (message_id, payload, option_id) = (Some(message), None, None);
                Input::Decide(Decision {
                    approval_id,
                    message_id,
                    approved,
                    payload,
                    option_id,
                    actor_id,
                    txid,
                })
            }
            Self::Result { call: tool_call_id, message, .. } => Input::GiveResult(NewToolResult {
                message_id: Some(message),
                tool_call_id,
                output: json!("done"),
                error: None,
                actor_id,
                txid,
            }),
            Self::Again { message: message_id, .. } => {
                Input::AnswerAgain { message_id, text: "why".to_owned(), actor_id, txid }
            }
            Self::Title { .. } => Input::Rename { title: "Why".to_owned(), actor_id, txid },
            Self::Chunk { message: message_id, .. } => Input::Write(vec![RawChunk {
                message_id,
                actor_id: ELSEWHERE.to_owned(),
                role: Role::Assistant,
                chunk: json!({"type": "content", "delta": "so"}).to_string(),
                kind: "content".to_owned(),
                txid,
            }]),
        }
    }
}

struct Life {
    random: StdRng,
    now: Moment,
    log: Vec<Bytes>,
    /// The table of runs: plan, and whether its agent was called.
    runs: BTreeMap<String, StoredRun>,
    /// The table of agents.
    agents: BTreeMap<String, AgentSpec>,
    session: Session,
    /// Effects that are not committed.
    pending: Effects,
    /// Runs whose agents are called.
    called: Vec<Start>,
    /// Runs that the session has let go of.
    ended: HashSet<String>,
    /// When each actor was heard of last, as the server remembers it.
    signs: HashMap<String, Instant>,
    /// Answers to requests with options that runs were told: run and approval.
    given: Vec<(String, String)>,
    /// Wishes that were granted, as far as the client knows.
    granted: Vec<Wanted>,
    /// Answers that each run was told.
    told: HashMap<String, Vec<String>>,
    /// Answers that a run was told which ended well, with its message.
    delivered: BTreeSet<(String, String)>,
    numbers: u64,
}

fn surroundings() -> Surroundings {
    Surroundings {
        instance: "test".to_owned(),
        agent_depth: 2,
        silence: Duration::from_secs(90),
        continues: false,
    }
}

fn specs() -> Vec<AgentSpec> {
    let spec = |id: &str, triggers: &str| {
        let spec =
            json!({"id": id, "endpoint": format!("http://{id}.test/"), "triggers": triggers});
        serde_json::from_value(spec).expect("a spec")
    };
    vec![spec("a", "user-messages"), spec("b", "all")]
}

impl Life {
    fn new(seed: u64) -> Self {
        let time = "2026-03-01T10:00:00Z".parse().expect("a time");
        let now = Moment { time, clock: Instant::now() };
        let mut random = StdRng::seed_from_u64(seed);
        let opening = Opening {
            id: "s".to_owned(),
            surroundings: surroundings(),
            seed: random.random(),
            book: RunBook::new(),
            specs: Vec::new(),
            runs: Vec::new(),
            is_listed: true,
            title: None,
        };
        let (session, pending) = Session::open(opening, now);
        let mut life = Self {
            random,
            now,
            log: Vec::new(),
            runs: BTreeMap::new(),
            agents: BTreeMap::new(),
            session,
            pending,
            called: Vec::new(),
            ended: HashSet::new(),
            signs: HashMap::new(),
            given: Vec::new(),
            granted: Vec::new(),
            told: HashMap::new(),
            delivered: BTreeSet::new(),
            numbers: 0,
        };
        let register = Input::Register { agents: specs(), manages: true };
        life.apply(register).expect("agents can be registered");
        life.commit(None);
        life
    }

    /// Applies an input. What is refused changes nothing.
    fn apply(&mut self, input: Input) -> Result<Reply, Refusal> {
        let items = self.session.book.items();
        match self.session.apply(input, self.now) {
            Ok(effects) => Ok(self.carry_out(effects)),
            Err(refusal) => {
                assert_eq!(self.session.book.items(), items, "{refusal:?} changed something");
                Err(refusal)
            }
        }
    }

    /// Applies what no session refuses.
    fn happen(&mut self, input: Input) {
        self.apply(input).expect("nobody asked for it");
    }

    fn carry_out(&mut self, effects: Effects) -> Reply {
        for run_id in &effects.ended {
            assert!(self.ended.insert(run_id.clone()), "run {run_id} ends twice");
            self.pending.starts.retain(|start| start.plan.run_id != *run_id);
        }
        for actor_id in effects.signs {
            self.signs.insert(actor_id, self.now.clock);
        }
        self.pending.before.extend(effects.before);
        self.pending.events.extend(effects.events);
        self.pending.after.extend(effects.after);
        self.pending.given.extend(effects.given);
        self.pending.starts.extend(effects.starts);
        effects.reply
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn store(&mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::PutAgent { spec, .. } => drop(self.agents.insert(spec.id.clone(), spec)),
                Op::DropAgent { agent_id, .. } => drop(self.agents.remove(&agent_id)),
                Op::PlanRun { plan, .. } => {
                    let run = StoredRun { plan, started: false };
                    self.runs.insert(run.plan.run_id.clone(), run);
                }
                Op::StartRun { run_id } => {
                    self.runs.get_mut(&run_id).into_iter().for_each(|run| run.started = true);
                }
                Op::DropRun { run_id } => drop(self.runs.remove(&run_id)),
                _ => {}
            }
        }
    }

    /// Commits the batch, or dies of it.
    fn commit(&mut self, kill: Option<Kill>) {
        if kill == Some(Kill::First) {
            return self.open_again();
        }
        let Effects { before, events, after, given, starts, .. } =
            std::mem::take(&mut self.pending);
        self.store(before);
        if kill == Some(Kill::Planned) {
            return self.open_again();
        }
        self.log.extend(events);
        if kill == Some(Kill::Written) {
            return self.open_again();
        }
        self.store(after);
        if kill == Some(Kill::Committed) {
            return self.open_again();
        }
        let asks = |given: &(String, Given)| (given.0.clone(), given.1.approval_id.clone());
        self.given.extend(given.iter().filter(|given| !self.ended.contains(&given.0)).map(asks));
        for start in starts {
            self.call(start);
        }
        self.note_ends();
    }

    /// A run's task: it calls the agent, unless it only wants to know what the message says.
    fn call(&mut self, start: Start) {
        let run_id = start.plan.run_id.clone();
        if self.ended.contains(&run_id) {
            return;
        }
        if start.recalls {
            self.say(&run_id, Output::Before("before".to_owned()));
            return self.say(&run_id, Output::End(RunEnd::Finished));
        }
        if start.spec.is_none() {
            let end = RunEnd::failed("agent_unknown", "This agent is not registered any more.");
            return self.say(&run_id, Output::End(end));
        }
        self.store(vec![Op::StartRun { run_id: run_id.clone() }]);
        let message = &start.plan.message_id;
        let ids = start.answers.iter().filter_map(|answer| match answer {
            ToldAnswer::Approval { id, .. } => Some(id.clone()),
            ToldAnswer::ToolResult { tool_call_id, .. } => Some(tool_call_id.clone()),
            ToldAnswer::Withdrawn { .. } => None,
        });
        let ids: Vec<String> = ids.collect();
        for id in &ids {
            let twice = self.delivered.contains(&(message.clone(), id.clone()));
            assert!(
                !twice,
                "{id} in {message} is told again although a run that was told it ended well"
            );
        }
        self.told.insert(run_id, ids);
        self.called.push(start);
    }

    /// Takes down what runs were told that have ended well by now.
    fn note_ends(&mut self) {
        let book = &self.session.book;
        let is_over = |start: &mut Start| self.ended.contains(&start.plan.run_id);
        let over: Vec<Start> = self.called.extract_if(.., is_over).collect();
        for start in &self.called {
            let is_led = self.session.runs.contains_key(&start.plan.run_id);
            assert!(is_led, "an agent goes on, and its session does not know it");
        }
        for start in over {
            let told = self.told.remove(&start.plan.run_id).unwrap_or_default();
            let run = book.message(&start.plan.message_id);
            let well = run.is_some_and(|run| {
                run.run_id() == Some(&start.plan.run_id) && run.lifecycle() == Lifecycle::Finished
            });
            if well {
                let message = start.plan.message_id;
                self.delivered.extend(told.into_iter().map(|id| (message.clone(), id)));
            }
        }
    }

    /// The server dies, and another one opens the session.
    fn open_again(&mut self) {
        self.note_ends();
        self.called.clear();
        // What was finished just before may be looked at again under the same id.
        self.ended.clear();
        let opening = Opening {
            id: "s".to_owned(),
            surroundings: surroundings(),
            seed: self.random.random(),
            book: self.book(),
            specs: self.agents.values().cloned().collect(),
            runs: self.runs.values().cloned().collect(),
            is_listed: true,
            title: None,
        };
        (self.session, self.pending) = Session::open(opening, self.now);
    }

    /// The index of the log.
    fn book(&self) -> RunBook {
        let mut book = RunBook::new();
        self.log.iter().for_each(|item| book.apply(item));
        book
    }

    fn say(&mut self, run_id: &str, what: Output) {
        self.happen(Input::Output { run_id: run_id.to_owned(), what });
    }

    fn chunk(&mut self, run_id: &str, chunk: &Value) {
        self.say(run_id, Output::Chunk(chunk.to_string()));
    }

    /// An agent that was called says something, or ends.
    fn speak(&mut self) {
        let Some(start) = self.called.choose(&mut self.random) else { return };
        let (run_id, message_id) = (start.plan.run_id.clone(), start.plan.message_id.clone());
        let n = self.number();
        match self.random.random_range(0..13) {
            10 => {
                let options = json!([
                    {"optionId": "once", "name": "Once", "kind": "allow_once"},
                    {"optionId": "no", "name": "No", "kind": "reject_once"},
                ]);
                let approval = json!({"id": format!("o{n}")});
                let value = json!({"toolCallId": format!("d{n}"), "toolName": "t", "input": {}, "approval": approval, "options": options});
                self.chunk(
                    &run_id,
                    &json!({"type": "CUSTOM", "name": "approval-requested", "value": value}),
                );
            }
            11 => {
                let asks = self.session.book.open_asks(&message_id);
                if let Some(id) = asks.choose(&mut self.random).cloned() {
                    let reason = "withdrawn".to_owned();
                    self.say(&run_id, Output::Withdraw { approval_id: id, reason });
                }
            }
            12 => self.chunk(
                &run_id,
                &json!({"type": "approval-response", "approvalId": format!("p{n}"), "approved": true}),
            ),
            0..4 => {
                let text = ["so ", "@a ", "@b "].choose(&mut self.random).copied();
                self.chunk(
                    &run_id,
                    &json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "t", "delta": text}),
                );
            }
            4 => {
                let value = json!({"toolCallId": format!("c{n}"), "toolName": "t", "input": {}, "approval": {"id": format!("p{n}")}});
                self.chunk(
                    &run_id,
                    &json!({"type": "CUSTOM", "name": "approval-requested", "value": value}),
                );
            }
            5 => {
                let value = json!({"toolCallId": format!("c{n}"), "toolName": "t", "input": {}});
                self.chunk(
                    &run_id,
                    &json!({"type": "CUSTOM", "name": "tool-input-available", "value": value}),
                );
            }
            6 => self.chunk(&run_id, &json!({"type": "RUN_FINISHED", "finishReason": "stop"})),
            7 => self.chunk(&run_id, &json!({"type": "RUN_ERROR", "message": "no"})),
            8 => self.say(&run_id, Output::End(RunEnd::Finished)),
            _ => self.say(&run_id, Output::End(RunEnd::failed("gone", "It is gone."))),
        }
    }

    /// Something that somebody may want now.
    fn wanted(&mut self) -> Option<Wanted> {
        let n = self.number();
        let txid = format!("tx{n}");
        let open = self.asks();
        Some(match self.random.random_range(0..11) {
            8 => Wanted::Title { txid },
            9 => Wanted::Chunk { message: format!("e{}", n % 3), txid },
            10 => {
                let instead_of = self.questions().choose(&mut self.random)?.clone();
                Wanted::Anew { id: format!("q{n}"), instead_of, txid }
            }
            0..3 => {
                let mode = if self.random.random_range(0..3) == 0 {
                    SendMode::Steer
                } else {
                    SendMode::Queue
                };
                Wanted::Message { id: format!("q{n}"), txid, mode }
            }
            3..6 => {
                let (message, id, is_call) = open.choose(&mut self.random)?.clone();
                if is_call {
                    Wanted::Result { call: id, message, txid }
                } else {
                    Wanted::Decide {
                        approval: id,
                        message,
                        yes: self.random.random_range(0..2) == 0,
                        txid,
                    }
                }
            }
            6 => self.granted.choose(&mut self.random)?.clone(),
            _ => {
                let message = self.questions().choose(&mut self.random)?.clone();
                Wanted::Again { message, txid }
            }
        })
    }

    /// Messages of people.
    fn questions(&self) -> Vec<String> {
        let runs = self.session.book.messages();
        let said = runs.filter(|run| run.role() == Role::User && !run.is_hidden());
        said.map(|run| run.message_id().to_owned()).collect()
    }

    /// Everything that waits for a person or a client: message, id, and whether it is a call.
    fn asks(&self) -> Vec<(String, String, bool)> {
        let mut asks = Vec::new();
        for run in self.session.book.messages() {
            let message = run.message_id().to_owned();
            let open = self.session.book.open_asks(&message);
            asks.extend(open.into_iter().map(|id| (message.clone(), id, false)));
            let calls = (0..=self.numbers).map(|n| format!("c{n}"));
            let calls = calls.filter(|id| self.session.book.waiting_for(id).contains(&message));
            let is_client = |id: &String| {
                let call = self.session.book.tool_call(id, Some(&message));
                call.is_some_and(|call| call.is_for_client())
            };
            asks.extend(calls.filter(is_client).map(|id| (message.clone(), id, true)));
        }
        asks
    }

    /// Asks for it, once or again; whether it is granted.
    fn ask(&mut self, wanted: &Wanted) -> bool {
        self.apply(wanted.input()).is_ok()
    }

    fn pass(&mut self, millis: u64) {
        let span = Duration::from_millis(millis);
        self.now.clock += span;
        self.now.time = self.now.time.checked_add(span).expect("a time");
    }

    /// Does what is due.
    fn elapse(&mut self) {
        let missed = self.session.missed(self.now.clock);
        let known = |actor: String| self.signs.get(&actor).map(|at| (actor, *at));
        let signs = missed.into_iter().filter_map(known).collect();
        self.happen(Input::Elapse { signs });
    }

    /// Somebody comes, goes, or changes what the session is.
    fn change(&mut self) {
        let actor_id = "ann".to_owned();
        let input = match self.random.random_range(0..8) {
            0..3 => Input::LogIn {
                actor_id,
                device_id: "d".to_owned(),
                called: Called { name: Some("Ann".to_owned()), claimed: None },
                heartbeat: (self.random.random_range(0..2) == 0).then(|| Number::from(1)),
                agents: specs(),
                manages: true,
            },
            3 => Input::LogOut { actor_id, device_id: None },
            4 => Input::Unregister { agent_id: "b".to_owned() },
            5 | 6 => Input::Register { agents: specs(), manages: true },
            _ => {
                let mut until = None;
                loop {
                    let clear = Input::Clear { until, presence: false, actor_id: "ann".to_owned() };
                    until = self.apply(clear).expect("it can be cleared").left;
                    if until.is_none() {
                        return;
                    }
                }
            }
        };
        self.apply(input).expect("nobody else is here");
    }

    fn step(&mut self) {
        let kill = (self.random.random_range(0..12) == 0).then(|| {
            let kills = [Kill::First, Kill::Planned, Kill::Written, Kill::Committed];
            *kills.choose(&mut self.random).expect("there are some")
        });
        self.pass(1);
        match self.random.random_range(0..14) {
            0..4 => {
                if let Some(wanted) = self.wanted()
                    && self.ask(&wanted)
                {
                    self.commit(kill);
                    // Who was not answered asks again, or gives up.
                    let again = kill.is_some() && self.random.random_range(0..2) == 0;
                    if again && self.ask(&wanted) {
                        self.commit(None);
                        self.granted.push(wanted);
                    } else if kill.is_none() {
                        self.granted.push(wanted);
                    }
                }
                return self.check();
            }
            4..9 => self.speak(),
            9 => {
                let whose = self.session.runs.values().map(|live| live.plan.message_id.clone());
                let whose: Vec<String> = whose.collect();
                let message = whose.choose(&mut self.random).cloned();
                self.happen(Input::Stop { message_id: message, actor_id: "ann".to_owned() });
            }
            11 => {
                // Somebody else wrote to the stream, or is thought to have.
                let mut book = self.book();
                self.pending.events.iter().for_each(|item| book.apply(item));
                self.happen(Input::Reread(Box::new(book)));
            }
            12 => self.change(),
            10 => {
                let millis = self.random.random_range(0..8_000);
                self.pass(millis);
                self.elapse();
            }
            _ => {
                let is_called = |run_id: &&String| {
                    self.called.iter().any(|start| start.plan.run_id == **run_id)
                };
                let runs = self.session.runs.keys();
                let uncalled = runs.filter(|run_id| !is_called(run_id)).cloned().collect();
                self.happen(Input::Interrupt { uncalled, continues: true });
                self.commit(None);
                self.open_again();
            }
        }
        self.commit(kill);
        self.check();
    }

    /// Checks what holds at any time.
    fn check(&self) {
        let book = &self.session.book;
        // The session knows what its log says, and nothing else.
        if !self.numbers.is_multiple_of(5) {
            return;
        }
        let mut read = RunBook::new();
        read.tick(self.now.time);
        self.log.iter().chain(&self.pending.events).for_each(|item| read.apply(item));
        let says = |book: &RunBook| {
            let says = book.messages().map(|run| {
                let id = run.message_id();
                format!(
                    "{id} {:?} {:?} {:?}",
                    run.lifecycle(),
                    run.deliveries(),
                    book.open_asks(id)
                )
            });
            says.collect::<Vec<_>>()
        };
        assert_eq!(says(book), says(&read));
        // An agent does one thing at a time, and all that goes or waits is in the table.
        let mut busy = BTreeSet::new();
        for live in self.session.runs.values() {
            assert!(busy.insert(&live.plan.agent_id), "two runs of one agent at once");
        }
        let planned = self.session.runs.values().map(|live| &live.plan).chain(&self.session.queued);
        let about_to_be = |plan: &RunPlan| {
            let ops = self.pending.before.iter();
            ops.into_iter()
                .any(|op| matches!(op, Op::PlanRun { plan: new, .. } if new.run_id == plan.run_id))
        };
        for plan in planned {
            let is_kept = self.runs.contains_key(&plan.run_id) || about_to_be(plan);
            assert!(is_kept, "a run that would be lost with its server");
        }
        // A wish is in the log once. What was granted stays so.
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let rows: Vec<Value> =
            self.log.iter().map(|item| serde_json::from_slice(item).expect("JSON")).collect();
        let mut begun = BTreeSet::new();
        for row in &rows {
            if let (Some(txid), true) = (row["headers"]["txid"].as_str(), row["type"] != "ack") {
                *seen.entry(txid).or_default() += 1;
            }
            if let Some(run) = row["headers"]["run"]["id"].as_str() {
                assert!(begun.insert(run.to_owned()), "run {run} begins twice");
            }
        }
        assert!(seen.values().all(|times| *times == 1), "{seen:?}");
        for wanted in &self.granted {
            let here = self.pending.events.is_empty();
            assert!(
                !here || seen.contains_key(wanted.txid()),
                "{wanted:?} was granted and is gone"
            );
        }
    }

    /// Lets everything that goes come to its end.
    fn end(&mut self) {
        for _ in 0..400 {
            self.pass(60_000);
            self.elapse();
            self.commit(None);
            let Some(start) = self.called.first() else {
                if self.pending.is_empty()
                    && self.session.queued.is_empty()
                    && self.session.runs.is_empty()
                {
                    break;
                }
                continue;
            };
            let run_id = start.plan.run_id.clone();
            self.chunk(&run_id, &json!({"type": "RUN_FINISHED", "finishReason": "stop"}));
            self.say(&run_id, Output::End(RunEnd::Finished));
            self.commit(None);
        }
        self.check();
        assert!(self.runs.is_empty(), "runs that never ended");
        assert!(self.session.runs.is_empty() && self.session.queued.is_empty());
        for run in self.session.book.messages().filter(|run| run.actor_id() != ELSEWHERE) {
            assert!(!run.is_open(), "{} is open, and nobody writes it", run.message_id());
        }
        // Whatever is asked can be answered, and is not asked any more then.
        for (message, id, is_call) in self.asks() {
            let n = self.number();
            let txid = format!("tx{n}");
            let wanted = if is_call {
                Wanted::Result { call: id, message, txid }
            } else {
                Wanted::Decide { approval: id, message, yes: true, txid }
            };
            assert!(self.ask(&wanted), "{wanted:?} is asked, and cannot be answered");
            self.commit(None);
        }
        assert_eq!(self.asks(), []);
        self.fork();
    }

    /// A fork takes over what was said, and nothing goes on in it. Made again, it is the same.
    fn fork(&mut self) {
        let company = || self.session.company();
        let origin =
            || Origin { session_id: "s".to_owned(), message_id: None, actor_id: "ann".to_owned() };
        let open = |log: &[Bytes], is_listed| {
            let mut book = RunBook::new();
            log.iter().for_each(|item| book.apply(item));
            let opening = Opening {
                id: "fork".to_owned(),
                surroundings: surroundings(),
                seed: [7; 32],
                book,
                specs: Vec::new(),
                runs: Vec::new(),
                is_listed,
                title: None,
            };
            Session::open(opening, self.now)
        };
        let adopt = || Input::Adopt { company: company(), origin: origin() };
        let mut log = self.log.clone();
        let (mut fork, opened) = open(&log, false);
        log.extend(opened.events);
        let adopted = fork.apply(adopt(), self.now).expect("it was not used");
        assert!(opened.starts.is_empty() && adopted.starts.is_empty(), "a fork acts twice");
        log.extend(adopted.events);
        assert!(fork.book.messages().all(|run| !run.is_open()));
        assert!(fork.runs.is_empty() && fork.queued.is_empty());
        let (mut again, opened) = open(&log, true);
        let adopted = again.apply(adopt(), self.now).expect("it is the fork");
        assert!(opened.events.is_empty() && adopted.events.is_empty(), "it is made twice");
    }
}

#[test]
fn a_session_keeps_its_promises_in_any_order_of_things() {
    let mut given = 0;
    for seed in 0..96 {
        let mut life = Life::new(seed);
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..48 {
                life.step();
            }
            life.end();
        }));
        assert!(lived.is_ok(), "seed {seed}");
        given += life.given.len();
    }
    assert!(given > 0, "no run was told an answer while it went");
}

#[test]
fn the_same_inputs_have_the_same_effects() {
    for seed in 0..8 {
        let lives = [0, 1].map(|_| {
            let mut life = Life::new(seed);
            (0..48).for_each(|_| life.step());
            life.log
        });
        assert!(!lives[0].is_empty());
        assert_eq!(lives[0], lives[1], "seed {seed}");
    }
}
