//! What is said about requests: each hears its own until its answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rpc_process::{Message, NO_METHOD, RpcError};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::error::Error;

/// What a request may not have taken yet. Progress is dropped before the rest is.
const ROOM: usize = 64;
/// What is left for questions and the answer.
const SPARE: usize = 8;

/// What is said about a request.
pub(crate) enum Heard {
    Progress(Value),
    /// The server wants something, under an id of its own.
    Request {
        id: Value,
        method: String,
        params: Value,
    },
    Answer(Result<Value, RpcError>),
    Failed(Error),
}

/// A request on its way out.
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) method: &'static str,
    pub(crate) params: Value,
}

/// The requests that wait, and how often the server said that its lists have changed.
#[derive(Clone)]
pub(crate) struct Ears {
    open: Arc<Mutex<HashMap<u64, mpsc::Sender<Heard>>>>,
    changes: watch::Sender<u64>,
}

impl Ears {
    pub(crate) fn new() -> Self {
        Self { open: Arc::default(), changes: watch::Sender::new(0) }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Heard>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn listen(&self, number: u64) -> mpsc::Receiver<Heard> {
        let (to, from) = mpsc::channel(ROOM);
        self.open().insert(number, to);
        from
    }

    /// Ends a request in its own eyes; what comes of it later is dropped.
    pub(crate) fn end(&self, number: u64, last: Heard) {
        if let Some(to) = self.open().remove(&number) {
            to.try_send(last).ok(); // nobody listens any more, or has not for long
        }
    }

    pub(crate) fn forget(&self, number: u64) -> bool {
        self.open().remove(&number).is_some()
    }

    pub(crate) fn fail_all(&self, code: Option<i32>) {
        for (_, to) in self.open().drain() {
            to.try_send(Heard::Failed(Error::Gone(code))).ok(); // as above
        }
    }

    /// Takes a message that is no answer; `about` is the request whose answer stream it came in, where there is one. Gives
    /// the answer that a request of the server gets at once.
    pub(crate) fn hear(
        &self,
        message: Message,
        about: Option<u64>,
    ) -> Option<(Value, Result<Value, RpcError>)> {
        match message {
            Message::Notification { method, params } if method == "notifications/progress" => {
                let token = params.get("progressToken");
                let number = token.and_then(|token| match token {
                    Value::String(text) => text.parse().ok(),
                    token => token.as_u64(),
                });
                let open = self.open();
                if let Some(to) = number.and_then(|number| open.get(&number))
                    && to.capacity() > SPARE
                {
                    to.try_send(Heard::Progress(params)).ok(); // only progress
                }
                None
            }
            Message::Notification { method, .. } => {
                if method == "notifications/tools/list_changed" {
                    self.changes.send_modify(|times| *times += 1);
                }
                None
            }
            Message::Request { id, method, .. } if method == "ping" => Some((id, Ok(json!({})))),
            Message::Request { id, method, params } => {
                let open = self.open();
                // Over stdio nothing says which request a question is about: it is the one that waits.
                let asked = match about {
                    Some(number) => open.get(&number),
                    None if open.len() == 1 => open.values().next(),
                    None => None,
                };
                let request = Heard::Request { id: id.clone(), method, params };
                match asked.map(|to| to.try_send(request).is_ok()) {
                    Some(true) => None,
                    _ => Some((id, Err(RpcError::new(NO_METHOD, "not offered here")))),
                }
            }
            Message::Answer { .. } => None,
        }
    }
}
