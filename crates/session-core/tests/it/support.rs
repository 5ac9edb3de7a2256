//! A server, an engine and a window to test with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use session_core::{
    Actor, Address, Connection, Diff, Direction, Endpoint, Engine, EngineConfig, Feed, FeedChange,
    HeadChange, Inherit, Item, Limits, NewSession, Notice, ServerSummary, SessionMeta,
    SessionSummary, THIS_COMPUTER, WaitingApproval,
};
use session_protocol::{AgentSpec, Message, Part, Role, SessionFold};
use session_server::{RunningServer, ServerConfig};
use url::Url;

/// Time that anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// A folder for one test, with what a server and an engine keep in it.
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    /// In memory where the system offers that: what a test writes need not outlive a power cut,
    /// and so it does not wait for a disk.
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self { dir: dir.expect("a temporary folder can be made") }
    }

    /// For what needs more room, or the disk itself.
    pub(crate) fn on_disk() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path("engine").join("threadkeep.db")
    }

    /// A server on a free port that answers at once.
    pub(crate) async fn server(&self) -> RunningServer {
        self.server_with(|_| {}).await
    }

    /// A server on an address that was used before.
    pub(crate) async fn server_at(&self, addr: SocketAddr) -> RunningServer {
        self.server_with(|config| config.listen = addr).await
    }

    pub(crate) async fn server_with(
        &self,
        change: impl FnOnce(&mut ServerConfig),
    ) -> RunningServer {
        let mut config = ServerConfig::new(self.path("server"));
        config.demo_pace = Duration::ZERO;
        change(&mut config);
        session_server::start(config).await.expect("the server starts")
    }

    pub(crate) fn engine(&self) -> Engine {
        engine_in(&self.path("engine"))
    }

    /// A server, and an engine that is connected to it.
    pub(crate) async fn start(&self) -> (RunningServer, Engine) {
        let server = self.server().await;
        let engine = self.engine_on(&server);
        (server, engine)
    }

    /// An engine that talks to a server.
    pub(crate) fn engine_on(&self, server: &RunningServer) -> Engine {
        let engine = self.engine();
        connect(&engine, &server.base_url());
        engine
    }
}

/// The usual limits, with others told at once of who comes and goes.
pub(crate) fn at_once() -> Limits {
    Limits { arrive_after: Duration::ZERO, leave_after: Duration::ZERO, ..Limits::default() }
}

pub(crate) fn engine_in(dir: &Path) -> Engine {
    engine_with(dir, at_once())
}

pub(crate) fn engine_with(dir: &Path, limits: Limits) -> Engine {
    let actor = Actor { id: "ana".to_owned(), name: "Ana".to_owned() };
    let config = EngineConfig {
        data_dir: dir.to_owned(),
        actor,
        device_id: "laptop".to_owned(),
        inherit: Inherit::default(),
    };
    Engine::open_with(config, limits).expect("the engine opens")
}

pub(crate) fn connect(engine: &Engine, url: &Url) {
    engine.connect(THIS_COMPUTER, Some(Endpoint::open(url.clone()))).expect("TLS works here");
}

pub(crate) fn demo() -> NewSession {
    let agent = AgentSpec {
        id: "demo".to_owned(),
        name: Some("Demo".to_owned()),
        endpoint: "builtin:demo".to_owned(),
        method: None,
        headers: None,
        triggers: None,
        body_template: None,
    };
    NewSession { agents: vec![agent], ..NewSession::default() }
}

/// A window's knowledge, made by folding what its feed gives it.
pub(crate) struct Window {
    feed: Feed,
    epoch: u64,
    after: u64,
    pub(crate) items: Vec<Item>,
    pub(crate) has_more_before: bool,
    pub(crate) meta: Option<SessionMeta>,
    pub(crate) servers: Vec<ServerSummary>,
    pub(crate) draft: Option<String>,
    pub(crate) sessions: Vec<SessionSummary>,
    pub(crate) approvals: Vec<WaitingApproval>,
    pub(crate) notices: Vec<Notice>,
    /// Every diff in short, for the message of a failing test.
    pub(crate) log: Vec<String>,
}

impl Window {
    pub(crate) fn open(engine: &Engine, session: &str) -> Self {
        let feed = engine.feed();
        feed.show(Some(session.to_owned())).expect("it exists");
        Self::of(feed)
    }

    /// A new session of the demo agent, and a window on it.
    pub(crate) async fn begin(engine: &Engine) -> (String, Self) {
        let session = engine.create_session(demo()).await.expect("it is saved");
        let window = Self::open(engine, &session);
        (session, window)
    }

    /// Says something in a session and waits for the answer.
    pub(crate) async fn ask(&mut self, engine: &Engine, session: &str, text: &str) {
        let answers = self.answers();
        engine.send_message(session, text).await.expect("it is saved");
        self.until("the answer", |w| w.is_settled() && w.answers() > answers).await;
    }

    /// A window with what it shows first.
    pub(crate) async fn opened(engine: &Engine, session: &str) -> Self {
        let mut window = Self::open(engine, session);
        window.until("what it shows first", |w| !w.log.is_empty()).await;
        window
    }

    /// Goes up by a page.
    pub(crate) async fn go_up(&mut self) {
        let diffs = self.log.len();
        self.feed.page(Direction::Before);
        self.until("a page", |w| w.log.len() > diffs).await;
    }

    pub(crate) fn of(feed: Feed) -> Self {
        Self {
            epoch: feed.epoch(),
            feed,
            after: 0,
            items: vec![],
            has_more_before: false,
            meta: None,
            servers: vec![],
            draft: None,
            sessions: vec![],
            approvals: vec![],
            notices: vec![],
            log: vec![],
        }
    }

    fn fold_heads(&mut self, reset: bool, servers: Vec<HeadChange>) {
        if reset {
            self.sessions.clear();
        }
        for change in servers {
            let of_server = format!("{}/", change.server);
            let (mut head, others) =
                self.sessions.drain(..).partition(|one| one.id.starts_with(&of_server));
            self.sessions = others;
            change.apply(&mut head);
            self.sessions.append(&mut head);
        }
    }

    /// Pulls one batch and folds it.
    pub(crate) async fn pull(&mut self) {
        let batch = self.feed.next(self.epoch, self.after).await;
        if batch.reset {
            self.items.clear();
        }
        self.epoch = batch.epoch;
        self.after = batch.to;
        for change in batch.changes {
            match change {
                FeedChange::Servers { servers } => self.servers = servers,
                FeedChange::Sessions { reset, servers } => self.fold_heads(reset, servers),
                FeedChange::Approvals { approvals } => self.approvals = approvals,
                FeedChange::Meta { meta } => self.meta = Some(*meta),
                FeedChange::Draft { draft, .. } => self.draft = Some(draft.text),
                FeedChange::Notice { notice } => self.notices.push(notice),
                FeedChange::Diff { diff, .. } => {
                    self.log.push(format!("{diff:?}"));
                    let is_reset = matches!(diff, Diff::Reset { .. });
                    match &diff {
                        Diff::Reset { has_more_before: more, .. }
                        | Diff::Extend { side: Direction::Before, has_more: more, .. } => {
                            self.has_more_before = *more;
                        }
                        _ => {}
                    }
                    diff.apply(&mut self.items).unwrap_or_else(|misfit| {
                        panic!("{misfit} (reset: {is_reset}): {:?}", self.log)
                    });
                }
            }
        }
    }

    /// Pulls until the window is as expected.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !done(self) {
            if tokio::time::timeout_at(deadline, self.pull()).await.is_err() {
                panic!("not in time: {what}\nitems: {:?}\nmeta: {:?}", self.describe(), self.meta);
            }
        }
    }

    /// The items in short.
    pub(crate) fn describe(&self) -> Vec<String> {
        self.items
            .iter()
            .map(|item| {
                let text: String = text(item).chars().take(40).collect();
                format!(
                    "{:?} {} complete={} {:?} {text:?}",
                    item.meta.role, item.id, item.meta.is_complete, item.meta.delivery
                )
            })
            .collect()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.items.iter().map(text).collect()
    }

    pub(crate) fn meta(&self) -> &SessionMeta {
        self.meta.as_ref().expect("the window has got the session's meta")
    }

    /// How the connection to the server of [`connect`] stands.
    pub(crate) fn here(&self) -> Connection {
        self.servers.first().map(|server| server.connection.clone()).unwrap_or_default()
    }

    /// The window has the whole of the session, and nothing waits.
    pub(crate) fn is_settled(&self) -> bool {
        self.meta.as_ref().is_some_and(|meta| {
            meta.connection.state == session_core::ConnectionState::Live && meta.queued == 0
        }) && self.items.iter().all(|item| item.meta.is_complete)
    }

    pub(crate) fn answers(&self) -> usize {
        self.items.iter().filter(|item| item.meta.role == Role::Assistant).count()
    }
}

pub(crate) fn text(item: &Item) -> String {
    item.parts
        .iter()
        .filter_map(|part| match part {
            Part::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// A session's id on its server.
pub(crate) fn there(session: &str) -> String {
    Address::parse(session).expect("it says where it is").session
}

/// The items of a session's stream.
pub(crate) async fn log(server: &RunningServer, session: &str) -> Vec<serde_json::Value> {
    let items = raw(server, session).await;
    items.iter().map(|item| serde_json::from_slice(item).expect("an item is JSON")).collect()
}

async fn raw(server: &RunningServer, session: &str) -> Vec<bytes::Bytes> {
    let mut url = server.base_url();
    url.path_segments_mut().expect("an http URL has a path").pop_if_empty().extend([
        "v1",
        "stream",
        "sessions",
        &there(session),
    ]);
    let mut items = Vec::new();
    let stream = durable_stream::Client::new().stream(url);
    let mut batches = stream.follow(durable_stream::Offset::Beginning, durable_stream::Live::No);
    while let Some(batch) = futures::StreamExt::next(&mut batches).await {
        items.extend(batch.expect("the stream can be read").items);
    }
    items
}

/// The session as its stream has it, read by nobody of ours but the fold.
pub(crate) async fn truth(server: &RunningServer, session: &str) -> Vec<Message> {
    let mut fold = SessionFold::new(&there(session));
    fold.apply(&raw(server, session).await, &mut ());
    fold.messages().filter(|message| !message.hidden).cloned().collect()
}

/// The items of the stream as the engine should show them.
pub(crate) async fn true_items(server: &RunningServer, session: &str) -> Vec<Item> {
    truth(server, session).await.into_iter().map(Item::from).collect()
}

/// A small generator: the same numbers in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `end`, without `end`. (SplitMix64.)
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Waits until a condition holds.
pub(crate) async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
