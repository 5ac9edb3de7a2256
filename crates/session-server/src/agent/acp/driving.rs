//! One prompt of a run, from its first word to its end.

use std::{collections::HashMap, path::Path, time::Duration};

use acp::{Ask, End, Grants, Incoming, Local, Message, Names, Turn, sign_in};
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedMutexGuard, mpsc},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{connection::Connection, failure::Failure};
use crate::{
    agent::RunRequest,
    run::{Face, Given, Output, RunSink, Stopped},
};

/// Time that an agent has to end a prompt that was cancelled. Then it is ended itself, so that five seconds after a
/// stop nothing goes on.
const CANCEL: Duration = Duration::from_secs(4);

/// A request for permission that nobody has answered.
struct Asked {
    rpc: Value,
    ask: Ask,
}

/// A prompt that goes on, and the place that it holds. Dropped, it is cancelled.
pub(super) struct Driving {
    slot: Option<OwnedMutexGuard<Option<Connection>>>,
    turn: Turn,
    local: Local,
    /// The number of the prompt while it has no answer.
    under_way: Option<u64>,
    asked: HashMap<String, Asked>,
    begun: Instant,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Driving {
    pub(super) fn new(
        slot: OwnedMutexGuard<Option<Connection>>,
        folder: &Path,
        request: &RunRequest,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let local = local(folder);
        Self {
            slot: Some(slot),
            turn: Turn::new(names(request, local.clone())),
            local,
            under_way: None,
            asked: HashMap::new(),
            begun: Instant::now(),
            tasks,
            stop,
        }
    }

    /// Says something about the agent.
    pub(super) fn notice(&mut self, title: &str, description: &str) {
        let update = json!({"sessionUpdate": "notice", "severity": "warning", "title": title, "description": description});
        self.turn.update(&update, Duration::ZERO);
    }

    fn connection(&mut self) -> Option<&mut Connection> {
        self.slot.as_mut()?.as_mut()
    }

    /// Sends the prompt and tells what comes of it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the prompt; the place is free when that is done.
    pub(super) async fn prompt(
        mut self,
        blocks: Value,
        given: &mut mpsc::UnboundedReceiver<Given>,
        out: &RunSink,
    ) -> Result<(), Failure> {
        match self.go(&blocks, given, out).await {
            Ok(ended) => ended,
            Err(Stopped) => Ok(()), // whoever stopped it has said so
        }
    }

    async fn go(
        &mut self,
        blocks: &Value,
        given: &mut mpsc::UnboundedReceiver<Given>,
        out: &RunSink,
    ) -> Result<Result<(), Failure>, Stopped> {
        self.show(out).await?;
        let Some(connection) = self.connection() else { return Ok(Ok(())) };
        let late = connection.take_late();
        if !late.is_empty() {
            for params in late {
                self.update(&params);
            }
            self.turn.remark("\n\n(That was said after the answer before.)\n\n");
        }
        let Some(connection) = self.connection() else { return Ok(Ok(())) };
        self.under_way = Some(connection.prompt(blocks));
        loop {
            for chunk in self.turn.take() {
                out.emit(&chunk).await?;
            }
            let due = self.turn.due().map(|due| self.begun + due);
            let Some(connection) = self.slot.as_mut().and_then(|slot| slot.as_mut()) else {
                return Ok(Ok(()));
            };
            tokio::select! {
                incoming = connection.peer().next() => match incoming {
                    Incoming::Message(Message::Answer { id, answer }) if Some(id) == self.under_way => {
                        self.under_way = None;
                        connection.answered();
                        let failure = answer.as_ref().err().map(|error| connection.refused(error));
                        let end = answer.map_or(End::Lost, End::Answered);
                        self.finish(&end, "cancelled", out).await?;
                        return match failure {
                            Some(failure) => {
                                self.explain(&failure, out).await?;
                                Ok(Err(failure))
                            }
                            None => {
                                self.name(out).await?;
                                Ok(Ok(()))
                            }
                        };
                    }
                    Incoming::Message(message) => self.heard(message, out).await?,
                    Incoming::Gone(ended) => {
                        let failure = connection.exited(&ended);
                        self.under_way = None;
                        if let Some(connection) = self.slot.as_mut().and_then(|slot| slot.take()) {
                            self.tasks.spawn(connection.close());
                        }
                        self.finish(&End::Lost, "lapsed", out).await?;
                        return Ok(Err(failure));
                    }
                },
                Some(given) = given.recv() => self.answer(&given),
                () = sleep_until(due.unwrap_or(self.begun)), if due.is_some() => {
                    self.turn.elapse(self.begun.elapsed());
                }
            }
        }
    }

    async fn heard(&mut self, message: Message, out: &RunSink) -> Result<(), Stopped> {
        let now = self.begun.elapsed();
        match message {
            Message::Notification { method, params } if method == "session/update" => {
                self.update(&params);
                if self.connection().is_some_and(|connection| connection.shows(&params)) {
                    self.show(out).await?;
                }
            }
            Message::Notification { method, params } if method == "$/cancel_request" => {
                let wanted = params.get("requestId").or(params.get("id"));
                let id = self.asked.iter().find(|(_, asked)| Some(&asked.rpc) == wanted);
                if let Some(id) = id.map(|(id, _)| id.clone()) {
                    self.withdraw(&id, "cancelled", out).await?;
                }
            }
            Message::Request { id, method, params } if method == "session/request_permission" => {
                // Told before anybody is asked: what is shown is what the stream has.
                let ask = self.turn.ask(&params, now);
                self.asked.insert(ask.id.clone(), Asked { rpc: id, ask });
            }
            Message::Request { id, method, .. } => {
                if let Some(connection) = self.connection() {
                    connection.refuse(&id, &method);
                }
            }
            Message::Notification { .. } | Message::Answer { .. } => {}
        }
        Ok(())
    }

    /// Tells what the agent shows of itself now.
    async fn show(&mut self, out: &RunSink) -> Result<(), Stopped> {
        let Some(connection) = self.slot.as_mut().and_then(|slot| slot.as_mut()) else {
            return Ok(());
        };
        let face = Face { fields: connection.face().fields(&self.local), told: connection.told() };
        out.send(Output::Face(face)).await
    }

    /// Tells the agent's word for the session.
    async fn name(&mut self, out: &RunSink) -> Result<(), Stopped> {
        let title = self.slot.as_ref().and_then(|slot| slot.as_ref()?.face().title(&self.local));
        match title {
            Some(title) => out.send(Output::Title(title)).await,
            None => Ok(()),
        }
    }

    /// An agent that wants a login is started anew after it: what it knows of its keys it read at its start.
    async fn explain(&mut self, failure: &Failure, out: &RunSink) -> Result<(), Stopped> {
        let Some(card) = card(failure, &self.local) else { return Ok(()) };
        if let Some(connection) = self.slot.as_mut().and_then(|slot| slot.take()) {
            self.tasks.spawn(connection.close());
        }
        out.emit(&card).await
    }

    fn update(&mut self, params: &Value) {
        if let Some(update) = params.get("update") {
            self.turn.update(update, self.begun.elapsed());
        }
    }

    /// Tells the agent what a person chose.
    fn answer(&mut self, given: &Given) {
        let Some(Asked { rpc, ask }) = self.asked.remove(&given.approval_id) else { return };
        let offer =
            given.option_id.as_ref().and_then(|id| ask.offers.iter().find(|offer| offer.id == *id));
        let outcome = match offer {
            Some(offer) => json!({"outcome": "selected", "optionId": offer.id}),
            None => json!({"outcome": "cancelled"}),
        };
        let allows =
            offer.is_some_and(|offer| matches!(offer.grants, Some(Grants::Once | Grants::Always)));
        self.turn.answered(&ask.id, allows && given.approved);
        if let Some(connection) = self.connection() {
            connection.peer().answer(&rpc, &Ok(json!({"outcome": outcome})));
        }
    }

    /// Takes a request back: nobody is asked any more, and nothing is granted.
    async fn withdraw(&mut self, id: &str, reason: &str, out: &RunSink) -> Result<(), Stopped> {
        let Some(Asked { rpc, ask }) = self.asked.remove(id) else { return Ok(()) };
        for chunk in self.turn.take() {
            out.emit(&chunk).await?; // the request itself, if it was not told yet
        }
        self.turn.answered(&ask.id, false);
        out.send(Output::Withdraw { approval_id: ask.id, reason: reason.to_owned() }).await?;
        if let Some(connection) = self.connection() {
            connection.peer().answer(&rpc, &Err(Connection::cancelled()));
        }
        Ok(())
    }

    /// Ends the turn: what is still asked is withdrawn before what is still open is ended.
    async fn finish(&mut self, end: &End, reason: &str, out: &RunSink) -> Result<(), Stopped> {
        let open: Vec<String> = self.asked.keys().cloned().collect();
        for id in open {
            self.withdraw(&id, reason, out).await?;
        }
        self.turn.end(end, self.begun.elapsed());
        for chunk in self.turn.take() {
            out.emit(&chunk).await?;
        }
        if self.turn.left_out() > 0 {
            tracing::warn!(updates = self.turn.left_out(), "an agent said more than is kept");
        }
        Ok(())
    }
}

/// The names of a run's turn.
fn names(request: &RunRequest, local: Local) -> Names {
    Names {
        thread: request.session_id.clone(),
        run: request.plan.run_id.clone(),
        message: request.plan.message_id.clone(),
        local,
    }
}

/// The folders that nobody else is told.
pub(super) fn local(folder: &Path) -> Local {
    let home = std::env::var("HOME").ok();
    Local::new(&folder.to_string_lossy(), home.as_deref())
}

/// Tells what is to be known of a run whose agent could not be reached, before its end.
pub(super) async fn lament(
    failure: &Failure,
    folder: &Path,
    request: &RunRequest,
    out: &RunSink,
) -> Result<(), Stopped> {
    let local = local(folder);
    let Some(card) = card(failure, &local) else { return Ok(()) };
    for chunk in Turn::new(names(request, local)).take() {
        out.emit(&chunk).await?;
    }
    out.emit(&card).await
}

/// The card that stands beside a failure's sentence: the ways to sign in.
fn card(failure: &Failure, local: &Local) -> Option<Value> {
    let Failure::Login { name, methods } = failure else { return None };
    let title = format!("{name} wants you to sign in");
    let next = "Sign in on the server's computer, then have the message answered again.";
    Some(sign_in(&title, next, methods, local))
}

impl Drop for Driving {
    fn drop(&mut self) {
        let (Some(slot), Some(prompt)) = (self.slot.take(), self.under_way) else { return };
        let asked = std::mem::take(&mut self.asked).into_values().map(|asked| asked.rpc).collect();
        self.tasks.spawn(wind_down(slot, prompt, asked, self.stop.clone()));
    }
}

/// Cancels a prompt and waits for its end, within [`CANCEL`]; then the program is ended. The place is held until then.
async fn wind_down(
    mut slot: OwnedMutexGuard<Option<Connection>>,
    prompt: u64,
    asked: Vec<Value>,
    stop: CancellationToken,
) {
    let Some(connection) = slot.as_mut() else { return };
    connection.cancel();
    for rpc in asked {
        connection.peer().answer(&rpc, &Ok(json!({"outcome": {"outcome": "cancelled"}})));
    }
    let ends = async {
        loop {
            match connection.peer().next().await {
                Incoming::Message(Message::Answer { id, .. }) if id == prompt => return true,
                Incoming::Message(Message::Request { id, method, .. }) => {
                    connection.refuse(&id, &method);
                }
                Incoming::Message(_) => {}
                Incoming::Gone(_) => return false,
            }
        }
    };
    let ended = tokio::select! {
        ended = timeout(CANCEL, ends) => ended == Ok(true),
        () = stop.cancelled() => false,
    };
    if ended {
        connection.answered();
        return;
    }
    if let Some(connection) = slot.take() {
        if stop.is_cancelled() {
            connection.close().await;
        } else {
            connection.kill().await;
        }
    }
}
