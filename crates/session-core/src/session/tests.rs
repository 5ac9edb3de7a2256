//! A session's state without a network and without its task: batches go in by hand, commits and
//! crashes happen where a test says.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use durable_stream::Offset;
use serde_json::{Value, json};
use session_protocol::{Message, SessionFold};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::apply::News;
use super::state::Session;
use crate::config::{Actor, EngineConfig, Inherit};
use crate::diff::{Diff, Direction};
use crate::feed::{Feed, FeedChange, FeedShared, Sources};
use crate::item::Item;
use crate::shared::Shared;
use crate::store::{Store, sessions};
use crate::view::PAGE;

mod disk;
mod far;
mod jump;
mod measure;
mod replay;
mod search;
mod shared;
mod times;

const ID: &str = "local/s";

/// An engine's shared parts on a folder, without hub and tasks.
fn shared(dir: &Path) -> Arc<Shared> {
    let actor = Actor { id: "ana".to_owned(), name: "Ana".to_owned() };
    let config = EngineConfig {
        data_dir: dir.to_owned(),
        actor,
        device_id: "d".to_owned(),
        inherit: Inherit::default(),
    };
    let (store, repair) = Store::open(dir, &config.inherit).expect("the store opens");
    assert_eq!(repair, None);
    store.read(|_| Ok(())).expect("it can be read");
    let (hub, _) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(config, store, hub));
    shared.restore_servers().expect("they can be read");
    shared
}

async fn open(dir: &Path) -> Session {
    let shared = shared(dir);
    shared.store.write(|tx| sessions::ensure(tx, ID).map(drop)).await.expect("it is written");
    Session::restore(&shared, ID).expect("it is there")
}

/// Everything goes at once, as when a process is killed.
fn crash(session: Session) {
    session.shared.store.close();
    drop(session);
}

async fn commit(session: &mut Session) {
    session.start_commit();
    if !session.keeping.is_clean() {
        let result = session.keeping.finished().await;
        assert!(result.is_ok(), "{result:?}");
        session.committed(&result);
    }
}

fn offset(n: usize) -> Offset {
    Offset::At(format!("{n:08}"))
}

fn read_from(session: &Session) -> usize {
    session.keeping.head().offset.as_ref().map_or(0, |at| at.parse().expect("it is one of ours"))
}

fn take_in(session: &mut Session, log: &[Bytes], from: usize, to: usize) {
    let news = News {
        items: &log[from..to],
        next_offset: &offset(to),
        up_to_date: to == log.len(),
        closed: false,
    };
    session.take_in(news, Instant::now());
}

fn chunk(message: u16, seq: u32, actor: &str, role: &str, chunk: &Value) -> Bytes {
    let key = format!("m{message}:{seq}");
    let value = json!({
        "messageId": format!("m{message}"), "actorId": actor, "role": role, "seq": seq,
        "chunk": chunk.to_string(), "createdAt": format!("2026-01-01T00:00:{:02}.000Z", seq % 60),
    });
    let event = json!({
        "type": "chunk", "key": key, "value": value, "headers": {"operation": "insert"},
    });
    Bytes::from(event.to_string())
}

/// One full replay, by nobody but the fold.
fn replay(log: &[Bytes]) -> SessionFold {
    let mut fold = SessionFold::new(ID);
    fold.apply(log, &mut ());
    fold
}

/// The items that a window gets which begins to show the session.
fn opened(session: &mut Session) -> Vec<Item> {
    let mut window = Window::new();
    window.show(session, None);
    window.pull(session);
    window.items
}

fn shown(fold: &SessionFold) -> Vec<Item> {
    let shown: Vec<&Message> = fold.messages().filter(|message| !message.hidden).collect();
    shown[shown.len().saturating_sub(PAGE)..].iter().map(|m| Item::from_message(m)).collect()
}

fn say(message: u16, text: &str) -> Bytes {
    let said = json!({"type": "whole-message", "message": {
        "id": format!("m{message}"), "role": "user",
        "parts": [{"type": "text", "content": text}]}});
    chunk(message, 0, "ana", "user", &said)
}

fn delta(message: u16, seq: u32, text: &str) -> Bytes {
    let delta = json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "x", "delta": text});
    chunk(message, seq, "bot", "assistant", &delta)
}

fn finish(message: u16, seq: u32) -> Bytes {
    let finish = json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r"});
    chunk(message, seq, "bot", "assistant", &finish)
}

async fn with(dir: &tempfile::TempDir, log: &[Bytes]) -> Session {
    let mut session = open(dir.path()).await;
    take_in(&mut session, log, 0, log.len());
    commit(&mut session).await;
    session
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// A window without a task behind it: what its feed asks for is noted, for the test to do.
struct Window {
    feed: Feed,
    asked: Arc<Mutex<Vec<Arc<FeedShared>>>>,
    moves: Arc<Mutex<Vec<Direction>>>,
    epoch: u64,
    after: u64,
    items: Vec<Item>,
    has_more_before: bool,
    has_more_after: bool,
    /// Number of times that its list began anew.
    resets: usize,
}

impl Window {
    fn new() -> Self {
        let asked: Arc<Mutex<Vec<Arc<FeedShared>>>> = Arc::default();
        let moves: Arc<Mutex<Vec<Direction>>> = Arc::default();
        let (note, moved) = (Arc::clone(&asked), Arc::clone(&moves));
        let (_, approvals) = watch::channel(Arc::default());
        let sources = Sources {
            servers: watch::Sender::default().subscribe(),
            list: Arc::default(),
            approvals,
            attach: Box::new(move |_, feed| {
                note.lock().expect("no panic").push(feed);
                Ok(())
            }),
            detach: Box::new(|_| {}),
            move_on: Box::new(move |_, _, direction| {
                moved.lock().expect("no panic").push(direction);
            }),
        };
        let feed = Feed::new(1, sources);
        Self {
            feed,
            asked,
            moves,
            epoch: 1,
            after: 0,
            items: vec![],
            has_more_before: false,
            has_more_after: false,
            resets: 0,
        }
    }

    /// Does what the feed asked for.
    fn serve(&self, session: &mut Session) {
        for feed in std::mem::take(&mut *self.asked.lock().expect("no panic")) {
            session.attach(&feed);
        }
        for direction in std::mem::take(&mut *self.moves.lock().expect("no panic")) {
            session.move_on(self.feed.shared(), direction);
        }
    }

    /// Shows the session's end, or the stretch around a message.
    fn show(&self, session: &mut Session, around: Option<&str>) {
        let shown = match around {
            None => self.feed.show(Some(ID.to_owned())),
            Some(id) => self.feed.show_around(ID.to_owned(), id.to_owned()),
        };
        shown.expect("it is noted");
        self.serve(session);
    }

    /// Shows the session's first messages.
    fn show_start(&self, session: &mut Session) {
        self.feed.show_start(ID.to_owned()).expect("it is noted");
        self.serve(session);
    }

    fn page(&self, session: &mut Session, direction: Direction) {
        self.feed.page(direction);
        self.serve(session);
    }

    /// Knows nothing of the numbers any more, as a page that was loaded again.
    fn lose(&mut self) {
        (self.epoch, self.after) = (0, 0);
    }

    /// Takes in everything that there is to be told.
    fn pull(&mut self, session: &mut Session) {
        let shared = Arc::clone(self.feed.shared());
        let batch = loop {
            match shared.try_read(self.epoch, self.after) {
                Some(batch) => break batch,
                None if self.asked.lock().expect("no panic").is_empty() => return,
                None => self.serve(session),
            }
        };
        (self.epoch, self.after) = (batch.epoch, batch.to);
        for change in batch.changes {
            let FeedChange::Diff { diff, .. } = change else { continue };
            match &diff {
                Diff::Reset { has_more_before, has_more_after, .. } => {
                    self.resets += 1;
                    (self.has_more_before, self.has_more_after) =
                        (*has_more_before, *has_more_after);
                }
                Diff::Extend { side: Direction::Before, has_more, .. } => {
                    self.has_more_before = *has_more;
                }
                Diff::Extend { side: Direction::After, has_more, .. } => {
                    self.has_more_after = *has_more;
                }
                Diff::Trim { side: Direction::Before, .. } => self.has_more_before = true,
                Diff::Trim { side: Direction::After, .. } => self.has_more_after = true,
                _ => {}
            }
            diff.apply(&mut self.items).expect("every diff fits");
        }
    }
}
