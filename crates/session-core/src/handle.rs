//! The handle by which the rest of the engine talks to a session's task.

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use session_protocol::Intent;
use tokio::sync::{mpsc, oneshot};

use crate::diff::Direction;
use crate::error::EngineError;
use crate::feed::FeedShared;
use crate::said::SaidPage;

/// The way back of a command's answer.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

/// The end of a copy of a session, and the name of the original.
pub(crate) struct ForkPoint {
    pub(crate) at_message_id: Option<String>,
    pub(crate) title: String,
}

/// A request to a session's task.
pub(crate) enum Command {
    /// Send this feed a `Reset` and everything from then on.
    Attach(Arc<FeedShared>),
    /// Move what this feed shows by a page.
    Move { feed: Arc<FeedShared>, direction: Direction },
    /// A feed may show something else by now.
    Detach,
    /// Put an intent in the outbox; answers with the entry when it is on the disk.
    Enqueue { entry_id: String, intent: Intent, reply: Reply<String> },
    /// Send an entry again, perhaps with another text.
    Retry { entry_id: String, text: Option<String>, reply: Reply<()> },
    /// Take an entry out of the outbox.
    Discard { entry_id: String, reply: Reply<()> },
    /// Find where a copy of the session would end: at this message, or at the last.
    ForkPoint { at: Option<String>, reply: Reply<ForkPoint> },
    /// Read the state that an agent shares.
    SharedState { agent_id: String, reply: Reply<Option<Value>> },
    /// Read what was said from this position on, by the page.
    Said { from: u64, reply: Reply<SaidPage> },
    /// Stop what runs now.
    Stop { reply: Reply<String> },
    /// Keep unsent text.
    SaveDraft { text: String, reply: Reply<()> },
    /// Everything so far was seen.
    MarkRead { reply: Reply<()> },
    /// Keep what is here of a session that the server does not have.
    KeepCopy { reply: Reply<()> },
    /// Delete the session here, and on the server when it can be reached.
    Delete { reply: Reply<()> },
    /// Follow the stream by a line of this generation, or stop following it. A report of an earlier
    /// line says nothing about this one.
    Follow(Option<u64>),
    /// Try now whatever waits.
    Nudge,
    /// The connection of the request under way may be dead: send it on another.
    Renew,
    /// Write everything and end.
    Close { done: oneshot::Sender<()> },
    /// Panic, as a broken invariant does.
    #[cfg(test)]
    Fall,
}

/// A session's task, from outside.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    commands: mpsc::UnboundedSender<Command>,
    /// The reason why the session could not be restored.
    failed: Arc<OnceLock<EngineError>>,
}

impl SessionHandle {
    /// A handle and the queue its task reads.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, queue) = mpsc::unbounded_channel();
        (Self { commands, failed: Arc::default() }, queue)
    }

    /// The place for the task's reason why it could not begin.
    pub(crate) fn failed(&self) -> Arc<OnceLock<EngineError>> {
        Arc::clone(&self.failed)
    }

    /// Sends a command that needs no answer. A task that has ended ignores it.
    pub(crate) fn tell(&self, command: Command) {
        self.commands.send(command).ok();
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply));
        let closed = || Err(self.failed.get().cloned().unwrap_or(EngineError::Closed));
        answer.await.unwrap_or_else(|_| closed())
    }

    /// Whether the task has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }
}
