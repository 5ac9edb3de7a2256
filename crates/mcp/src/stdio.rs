//! A connection to a program of this computer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rpc_process::{Aside, Command, Ended, Incoming, Message, Peer, Pids, RpcError, StartError};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    ears::{Ears, Heard, Request},
    error::Error,
};

enum Word {
    Request(Request),
    Notify(&'static str, Value),
    Answer(Value, Result<Value, RpcError>),
    Cancel(u64),
}

/// A program that runs. It ends when this is dropped.
pub(crate) struct Stdio {
    to: mpsc::UnboundedSender<Word>,
    ears: Ears,
    aside: Arc<Aside>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Stdio {
    pub(crate) fn start(command: &Command, pids: &Pids) -> Result<Self, StartError> {
        let peer = Peer::start(command, pids)?;
        let aside = peer.aside();
        let (to, from) = mpsc::unbounded_channel();
        let ears = Ears::new();
        let task = tokio::spawn(speak(peer, from, ears.clone()));
        Ok(Self { to, ears, aside, task: Mutex::new(Some(task)) })
    }

    pub(crate) fn aside(&self) -> Arc<Aside> {
        Arc::clone(&self.aside)
    }

    pub(crate) fn send(&self, request: Request) -> Result<mpsc::Receiver<Heard>, Error> {
        let number = request.number;
        let from = self.ears.listen(number);
        if self.to.send(Word::Request(request)).is_err() {
            self.ears.forget(number);
            return Err(Error::Lost);
        }
        Ok(from)
    }

    pub(crate) fn notify(&self, method: &'static str, params: Value) {
        self.to.send(Word::Notify(method, params)).ok(); // it is gone, as the next request says
    }

    pub(crate) fn answer(&self, id: Value, answer: Result<Value, RpcError>) {
        self.to.send(Word::Answer(id, answer)).ok(); // as above
    }

    pub(crate) fn cancel(&self, number: u64) {
        if self.ears.forget(number) {
            self.to.send(Word::Cancel(number)).ok(); // as above
        }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.ears.changes()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.to.is_closed()
    }

    /// The task that ends when the program has ended.
    pub(crate) fn take_task(&self) -> Option<JoinHandle<()>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn speak(mut peer: Peer, mut from: mpsc::UnboundedReceiver<Word>, ears: Ears) {
    // The peer's own numbers of requests, and ours.
    let mut numbers: HashMap<u64, u64> = HashMap::new();
    loop {
        tokio::select! {
            word = from.recv() => match word {
                None => break,
                Some(Word::Request(Request { number, method, params })) => {
                    numbers.insert(peer.request(method, &params), number);
                }
                Some(Word::Notify(method, params)) => peer.notify(method, &params),
                Some(Word::Answer(id, answer)) => peer.answer(&id, &answer),
                Some(Word::Cancel(number)) => {
                    let id = numbers.iter().find(|(_, ours)| **ours == number).map(|(id, _)| *id);
                    if let Some(id) = id {
                        numbers.remove(&id);
                        let params = json!({"requestId": id, "reason": "stopped"});
                        peer.notify("notifications/cancelled", &params);
                    }
                }
            },
            incoming = peer.next() => match incoming {
                Incoming::Message(Message::Answer { id, answer }) => {
                    if let Some(number) = numbers.remove(&id) {
                        ears.end(number, Heard::Answer(answer));
                    }
                }
                Incoming::Message(message) => {
                    if let Some((id, answer)) = ears.hear(message, None) {
                        peer.answer(&id, &answer);
                    }
                }
                Incoming::Gone(ended) => {
                    let code = match ended {
                        Ended::Exited(code) => code,
                        Ended::Silent => None,
                    };
                    from.close();
                    ears.fail_all(code);
                    break;
                }
            },
        }
    }
    drop(from);
    peer.close().await;
}
