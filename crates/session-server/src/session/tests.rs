//! Thousands of lives of a session: intents, agents' words, kills and times in any order.
//!
//! A life keeps what survives a kill: the log, and the table of runs. A kill takes everything else, at each of the points
//! between which a commit is not one step, and the session is opened again from what is left.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;

use super::*;
use crate::{
    budget::{Budget, Owner},
    config::Limits,
    run::{Answer, Output, RunEnd, RunOutput},
};

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

/// What somebody asked for, as a client that asks until it is answered.
#[derive(Debug, Clone)]
enum Wanted {
    Message { id: String, txid: String, mode: SendMode },
    Decide { approval: String, message: String, yes: bool, txid: String },
    Result { call: String, message: String, txid: String },
    Again { message: String, txid: String },
}

impl Wanted {
    fn txid(&self) -> &str {
        match self {
            Self::Message { txid, .. }
            | Self::Decide { txid, .. }
            | Self::Result { txid, .. }
            | Self::Again { txid, .. } => txid,
        }
    }
}

struct Life {
    random: StdRng,
    now: Moment,
    log: Vec<Bytes>,
    /// The table of runs: plan, and whether its agent was called.
    runs: BTreeMap<String, StoredRun>,
    session: Session,
    /// Runs whose agents are called.
    called: Vec<Start>,
    budget: Budget,
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
        signs: Arc::default(),
        metrics: Metrics::new(),
        shutdown_runs: CancellationToken::new(),
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
        let session =
            Session::open("s", surroundings(), now, RunBook::new(), Vec::new(), Vec::new(), true);
        let mut life = Self {
            random: StdRng::seed_from_u64(seed),
            now,
            log: Vec::new(),
            runs: BTreeMap::new(),
            session,
            called: Vec::new(),
            budget: Budget::new(&Limits::default()),
            granted: Vec::new(),
            told: HashMap::new(),
            delivered: BTreeSet::new(),
            numbers: 0,
        };
        life.session.register(specs(), true).expect("agents can be registered");
        life.commit(None);
        life
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn apply(&mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
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
        let Batch { before, events, after, starts, waiters, .. } =
            std::mem::take(&mut self.session.batch);
        self.apply(before);
        if kill == Some(Kill::Planned) {
            return self.open_again();
        }
        self.log.extend(events);
        if kill == Some(Kill::Written) {
            return self.open_again();
        }
        self.apply(after);
        if kill == Some(Kill::Committed) {
            return self.open_again();
        }
        waiters.into_iter().for_each(|waiter| waiter(Ok(())));
        for start in starts {
            self.call(start);
        }
        self.note_ends();
    }

    /// A run's task: it calls the agent, unless it only wants to know what the message says.
    fn call(&mut self, start: Start) {
        if start.cancel.is_cancelled()
            || start.called.swap(true, std::sync::atomic::Ordering::AcqRel)
        {
            return;
        }
        let run_id = start.plan.run_id.clone();
        if start.recalls {
            self.say(&run_id, Output::Before("before".to_owned()));
            self.say(&run_id, Output::End(RunEnd::Finished));
            return;
        }
        self.apply(vec![Op::StartRun { run_id: run_id.clone() }]);
        let message = &start.plan.message_id;
        let ids = start.answers.iter().filter_map(|answer| match answer {
            Answer::Approval { id, .. } => Some(id.clone()),
            Answer::ToolResult { tool_call_id, .. } => Some(tool_call_id.clone()),
            Answer::Withdrawn { .. } => None,
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
        let over: Vec<Start> = self
            .called
            .extract_if(.., |start| !self.session.runs.contains_key(&start.plan.run_id))
            .collect();
        for start in over {
            let told = self.told.remove(&start.plan.run_id).unwrap_or_default();
            let run = book.message(&start.plan.message_id);
            let well = run.is_some_and(|run| {
                run.run_id() == Some(&start.plan.run_id)
                    && run.lifecycle() == session_protocol::Lifecycle::Finished
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
        let mut book = RunBook::new();
        self.log.iter().for_each(|item| book.apply(item));
        let runs = self.runs.values().cloned().collect();
        self.session = Session::open("s", surroundings(), self.now, book, specs(), runs, true);
    }

    fn say(&mut self, run_id: &str, what: Output) {
        self.session.output(RunOutput { run_id: run_id.to_owned(), what });
    }

    fn chunk(&mut self, run_id: &str, chunk: &Value) {
        let hold = self.budget.take_anyway(&Owner::Session("s".to_owned()), 1);
        self.say(run_id, Output::Chunk(chunk.to_string(), hold));
    }

    /// An agent that was called says something, or ends.
    fn speak(&mut self) {
        let Some(start) = self.called.choose(&mut self.random) else { return };
        let run_id = start.plan.run_id.clone();
        let n = self.number();
        match self.random.random_range(0..10) {
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
        Some(match self.random.random_range(0..8) {
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
                let questions = self
                    .session
                    .book
                    .messages()
                    .filter(|run| run.role() == Role::User && !run.is_hidden());
                let questions: Vec<String> =
                    questions.map(|run| run.message_id().to_owned()).collect();
                Wanted::Again { message: questions.choose(&mut self.random)?.clone(), txid }
            }
        })
    }

    /// What waits for a person or a client: message, id, and whether it is a call.
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
        let txid = Some(wanted.txid());
        let session = &mut self.session;
        match wanted {
            Wanted::Message { id, mode, .. } => {
                let new = NewMessage {
                    message_id: Some(id.clone()),
                    content: "why".to_owned(),
                    files: vec![],
                    role: Role::User,
                    actor_id: "ann".to_owned(),
                    agent: None,
                    manages: true,
                    txid: txid.map(str::to_owned),
                    mode: *mode,
                };
                session.send(new).is_ok()
            }
            Wanted::Decide { approval, message, yes, .. } => {
                let said = Said { payload: None, option_id: None };
                session.respond(approval, Some(message), *yes, said, "ann", txid).is_ok()
            }
            Wanted::Result { call, message, .. } => session
                .tool_result(&NewToolResult {
                    message_id: Some(message.clone()),
                    tool_call_id: call.clone(),
                    output: json!("done"),
                    error: None,
                    actor_id: "ann".to_owned(),
                    txid: txid.map(str::to_owned),
                })
                .is_ok(),
            Wanted::Again { message, .. } => session.retry(message, "why", "ann", txid).is_ok(),
        }
    }

    fn pass(&mut self, millis: u64) {
        let span = Duration::from_millis(millis);
        self.now.clock += span;
        self.now.time = self.now.time.checked_add(span).expect("a time");
        self.session.tick(self.now);
    }

    fn step(&mut self) {
        let kill = (self.random.random_range(0..12) == 0).then(|| {
            let kills = [Kill::First, Kill::Planned, Kill::Written, Kill::Committed];
            *kills.choose(&mut self.random).expect("there are some")
        });
        self.pass(1);
        match self.random.random_range(0..12) {
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
                self.session.stop(message.as_deref(), "ann");
            }
            10 => {
                let millis = self.random.random_range(0..8_000);
                self.pass(millis);
                self.session.elapse();
            }
            _ => {
                self.session.interrupt_all();
                self.commit(None);
                self.open_again();
            }
        }
        self.commit(kill);
        self.check();
    }

    /// What holds at any time.
    fn check(&self) {
        let book = &self.session.book;
        // The session knows what its log says, and nothing else.
        if !self.numbers.is_multiple_of(5) {
            return;
        }
        let mut read = RunBook::new();
        read.tick(self.now.time);
        self.log.iter().chain(&self.session.batch.events).for_each(|item| read.apply(item));
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
            let ops = self.session.batch.before.iter();
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
            let here = self.session.batch.events.is_empty();
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
            self.session.elapse();
            self.commit(None);
            let Some(start) = self.called.first() else {
                if self.session.batch.is_empty()
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
        for run in self.session.book.messages() {
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
    }
}

#[test]
fn a_session_keeps_its_promises_in_any_order_of_things() {
    for seed in 0..64 {
        let mut life = Life::new(seed);
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..40 {
                life.step();
            }
            life.end();
        }));
        assert!(lived.is_ok(), "seed {seed}");
    }
}
