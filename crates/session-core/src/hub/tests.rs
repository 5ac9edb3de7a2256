//! A session whose task falls gets going again by itself.

use std::time::Duration;

use crate::handle::{Command, SessionHandle};
use crate::session;
use crate::{Actor, Endpoint, Engine, EngineConfig, Feed, FeedChange, Item, NewSession, Notice};
use crate::{ConnectionState, SessionMeta};

const DEADLINE: Duration = Duration::from_secs(15);

/// A window of one session.
struct Window {
    feed: Feed,
    after: u64,
    items: Vec<Item>,
    meta: Option<SessionMeta>,
    notices: Vec<Notice>,
}

impl Window {
    fn open(engine: &Engine, session: &str) -> Self {
        let feed = engine.feed();
        feed.show(Some(session.to_owned())).expect("it exists");
        Self { feed, after: 0, items: vec![], meta: None, notices: vec![] }
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !done(self) {
            let pull = self.feed.next(self.feed.epoch(), self.after);
            let batch = tokio::time::timeout_at(deadline, pull).await.expect(what);
            self.after = batch.to;
            for change in batch.changes {
                match change {
                    FeedChange::Meta { meta } => self.meta = Some(*meta),
                    FeedChange::Notice { notice } => self.notices.push(notice),
                    FeedChange::Diff { diff, .. } => {
                        diff.apply(&mut self.items).expect("the diffs follow each other");
                    }
                    FeedChange::Servers { .. }
                    | FeedChange::Sessions { .. }
                    | FeedChange::Approvals { .. }
                    | FeedChange::Draft { .. } => {}
                }
            }
        }
    }

    fn is_live(&self) -> bool {
        self.meta.as_ref().is_some_and(|meta| meta.connection.state == ConnectionState::Live)
    }

    fn has(&self, items: usize) -> bool {
        self.items.len() == items && self.items.iter().all(|item| item.meta.is_complete)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_task_falls_is_opened_again_for_the_window_that_shows_it() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let mut config = session_server::ServerConfig::new(dir.path().join("server"));
    config.demo_pace = Duration::ZERO;
    let server = session_server::start(config).await.expect("the server starts");
    let engine = Engine::open(EngineConfig {
        data_dir: dir.path().join("engine"),
        actor: Actor { id: "ana".to_owned(), name: "Ana".to_owned() },
        device_id: "laptop".to_owned(),
        inherit: crate::Inherit::default(),
    })
    .expect("the engine opens");
    let endpoint = Endpoint::open(server.base_url());
    engine.connect(crate::THIS_COMPUTER, Some(endpoint)).expect("TLS works here");
    let agent = serde_json::json!({"id": "demo", "endpoint": "builtin:demo"});
    let agent = serde_json::from_value(agent).expect("it is an agent");
    let session = NewSession { agents: vec![agent], ..NewSession::default() };
    let session = engine.create_session(session).await.expect("it is saved");
    let mut window = Window::open(&engine, &session);
    let another = engine.create_session(NewSession::default()).await.expect("it is saved");
    let mut other = Window::open(&engine, &another);
    engine.send_message(&session, "hello").await.expect("it is saved");
    window.until("the answer", |w| w.has(2) && w.is_live()).await;

    for times in 1..=2 {
        let shown = window.items.clone();
        let task = engine.fall(&session);
        window.until("the notice", |w| w.notices.len() == times).await;
        assert!(task.is_closed());
        assert_eq!(window.notices[times - 1].code, "session-fell");
        let items = shown.len() + 2;
        engine.send_message(&session, "hello again").await.expect("it is saved");
        window.until("another answer", |w| w.has(items) && w.is_live()).await;
        assert_eq!(window.items[..shown.len()], shown, "what was there is there");
    }

    // A session that falls whenever it stands up is left alone after a while.
    for times in 3..=4 {
        engine.fall(&session);
        window.until("the notice", |w| w.notices.len() == times).await;
    }
    assert!(window.notices[3].message.contains("Restart"), "{:?}", window.notices);
    Window::open(&engine, &session).until("what was said", |w| w.has(6)).await;
    other.until("the lists", |w| w.after > 0).await;
    assert_eq!(other.notices, [], "whoever does not show it is not told");
}

impl Engine {
    fn fall(&self, session: &str) -> SessionHandle {
        let task = session::task_of(self.shared(), session).expect("it exists");
        task.tell(Command::Fall);
        task
    }
}
