//! The history of a session, for agents: folded from the stream at the start of each run.
//!
//! Most runs read what was folded for an earlier one ([`told`]). The rest of this module is how a whole stream is read.
//! A session may be longer than anything that reads it, and longer than memory. So it is read page by page, and of what
//! is folded only the newest messages stay that the run is about, up to [`Limits::history_bytes`]. What is in memory
//! for that is taken from the [`Budget`] first: little for a short session, so that it never waits for a long one's.

mod files;
mod state;
mod told;

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    io,
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::Value;
use session_protocol::{
    ChangeSet, Event, Message, MessageLoader, Part, QuestionPart, Role, SessionFold, StoredMessage,
    ToolCallPart, authority::chunk_value,
};

pub(crate) use self::files::{pictures, words_of};
use self::state::AgentState;
use crate::{
    budget::{Budget, Hold, Owner},
    config::Limits,
    run::{Cause, RunPlan},
    snapshots::Snapshots,
    streams::{Place, StreamError, Streams, stream_name},
};

/// Number of times that folded rows are in memory: as messages, as what the fold knows beside them, and as a request's
/// body.
const COPIES: usize = 3;
/// Bytes of messages that are tried first: most sessions have fewer.
const FIRST: usize = 64 << 10;
/// Factor of the next, larger try.
const STEP: usize = 16;
/// Bytes of a page that are folded at once.
const SHORT: usize = 32 << 10;
/// Bytes of a message without words.
const EMPTY: usize = 256;
/// Times that a stream is read again because rows of it came late.
const MAX_AGAIN: usize = 3;

/// The messages of a session in order, without those that only carry signals.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) messages: Vec<Message>,
    /// Older messages were left out.
    is_cut: bool,
    bytes: usize,
    hold: Option<Hold>,
    keepsakes: Keepsakes,
    state: Option<Value>,
}

/// The type of the chunks in which a model agent keeps what its model gave: AG-UI's event for what only its writer
/// reads.
pub(crate) const KEPT: &str = "REASONING_ENCRYPTED_VALUE";

/// Keepsakes of agents' models, by message and then by what they belong to.
type Keepsakes = HashMap<String, HashMap<String, String>>;

/// Why a session cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The message that is asked for is longer than all of them may be.
    #[error("the message is longer than an agent is given")]
    TooLong,
}

/// The part of a session that is wanted.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// The history of a run. The run's agent begins with this state.
    Run(Arc<RunPlan>, Arc<Value>),
    /// One message.
    Message(String),
}

impl Wanted {
    fn is_needed(&self, id: &str) -> bool {
        match self {
            Self::Run(plan, _) => id == plan.message_id || self.cause() == Some(id),
            Self::Message(wanted) => id == wanted,
        }
    }

    /// The message that the run answers: what others said after it is not for this run.
    fn cause(&self) -> Option<&str> {
        match self {
            Self::Run(plan, _) => match &plan.cause {
                Cause::Message { id } | Cause::Reply { id } | Cause::Again { id } => Some(id),
                Cause::Answers { .. } => None,
            },
            Self::Message(_) => None,
        }
    }
}

/// Where histories are read from.
pub(crate) struct Source<'a> {
    pub(crate) streams: &'a dyn Streams,
    pub(crate) snapshots: &'a Snapshots,
    pub(crate) budget: &'a Budget,
    pub(crate) limits: &'a Limits,
}

/// Reads a session. Costs the items since it was stored, and what is wanted; where it cannot be told from what is
/// stored, the whole stream. Holds no more than [`Limits::history_bytes`], several times over, of which the budget
/// knows.
///
/// # Cancel safety
///
/// Nothing is kept.
///
/// # Errors
///
/// The stream cannot be read, or the wanted message alone is too long.
pub(crate) async fn load(
    source: &Source<'_>,
    session_id: &str,
    wanted: &Wanted,
) -> Result<History, Unread> {
    match told::load(source, session_id, wanted).await? {
        Some(history) => Ok(history),
        None => load_whole(source, session_id, wanted).await,
    }
}

/// Reads a session from the beginning of its stream, page by page.
async fn load_whole(
    source: &Source<'_>,
    session_id: &str,
    wanted: &Wanted,
) -> Result<History, Unread> {
    let Source { streams, budget, limits, .. } = *source;
    let owner = Owner::Session(session_id.to_owned());
    let mut limit = FIRST.min(limits.history_bytes);
    loop {
        let mut hold = budget.take(&owner, limit.saturating_mul(COPIES)).await;
        let is_last = limit >= limits.history_bytes;
        if let Some(mut history) = read(streams, session_id, wanted, limit, is_last).await? {
            hold.shrink_to(history.bytes.saturating_mul(COPIES));
            history.hold = Some(hold);
            return Ok(history);
        }
        drop(hold);
        limit = limit.saturating_mul(STEP).min(limits.history_bytes);
    }
}

/// Reads what fits into the limit; `None` when it does not fit and a larger one may be tried.
async fn read(
    streams: &dyn Streams,
    session_id: &str,
    wanted: &Wanted,
    limit: usize,
    is_last: bool,
) -> Result<Option<History>, Unread> {
    let name = stream_name(session_id);
    let mut late = HashSet::new();
    for again in 0.. {
        let known = late.len();
        let mut loading = Loading::new(session_id, wanted.clone(), late);
        let mut pages = streams.pages(&name, Place::default());
        while let Some(page) = pages.try_next().await? {
            loading = loading.taking(page.items).await?;
            if loading.bytes() <= limit {
                continue;
            }
            if is_last || matches!(wanted, Wanted::Message(_)) {
                loading.shed(limit);
            }
            if loading.bytes() > limit {
                return if is_last { Err(Unread::TooLong) } else { Ok(None) };
            }
        }
        // What comes late while it is read again and again is seen by the next run.
        if loading.late.len() == known || again == MAX_AGAIN {
            return Ok(Some(loading.finish()));
        }
        late = loading.late;
    }
    unreachable!("the loop ends by itself")
}

/// A fold of which only a part is in memory.
///
/// The rows of a message are forgotten when they are folded: words are short, and rows are many times as long. A row
/// that comes late, or changes another, needs them; then the stream is read once more, and the rows of that message are
/// kept.
struct Loading {
    wanted: Wanted,
    fold: SessionFold,
    /// Bytes of each message in memory.
    sizes: HashMap<String, usize>,
    total: usize,
    /// Messages whose rows are kept, and the bytes of them.
    late: HashSet<String>,
    rows: HashMap<String, usize>,
    /// Digests of the messages that do not fit.
    left_out: HashSet<u64>,
    digest: RandomState,
    is_cut: bool,
    keepsakes: Keepsakes,
    /// The state of the run's agent, as it said.
    state: AgentState,
}

/// A loader that knows nothing, and who was asked for.
#[derive(Default)]
struct Asked(Vec<String>);

impl MessageLoader for Asked {
    fn load(&mut self, message_id: &str) -> Option<StoredMessage> {
        self.0.push(message_id.to_owned());
        None
    }
}

impl Loading {
    fn new(session_id: &str, wanted: Wanted, late: HashSet<String>) -> Self {
        Self {
            state: AgentState::of(&wanted),
            wanted,
            fold: SessionFold::new(session_id),
            sizes: HashMap::new(),
            total: 0,
            late,
            rows: HashMap::new(),
            left_out: HashSet::new(),
            digest: RandomState::new(),
            is_cut: false,
            keepsakes: Keepsakes::new(),
        }
    }

    /// Takes a page, a long one not on a worker of the runtime.
    async fn taking(mut self, page: Vec<Bytes>) -> Result<Self, StreamError> {
        if page.iter().map(Bytes::len).sum::<usize>() <= SHORT {
            self.page(&page);
            return Ok(self);
        }
        let taken = tokio::task::spawn_blocking(move || {
            self.page(&page);
            self
        });
        taken.await.map_err(|_| StreamError::Unavailable("the fold ended".to_owned()))
    }

    /// Bytes in memory, about.
    fn bytes(&self) -> usize {
        self.total + self.state.bytes()
    }

    fn page(&mut self, page: &[Bytes]) {
        for item in page {
            self.state.take(item);
            if let Some((message_id, entity, value)) = keepsake(item) {
                self.keepsakes.entry(message_id).or_default().insert(entity, value);
            }
        }
        let mut asked = Asked::default();
        let changes = self.fold.apply(page.iter(), &mut asked);
        if changes.reset {
            self.sizes.clear();
            self.rows.clear();
            self.left_out.clear();
            self.keepsakes.clear();
            (self.total, self.is_cut) = (0, false);
        }
        let here = asked.0.into_iter().filter(|id| self.sizes.contains_key(id));
        self.late.extend(here);
        self.weigh(&changes);
        let late = &self.late;
        self.fold.release_logs_where(|id| !late.contains(id));
    }

    fn weigh(&mut self, changes: &ChangeSet) {
        for entry in &changes.log {
            let id = &*entry.message_id;
            let hidden = || self.fold.message(id).is_some_and(|m| m.hidden);
            if self.late.contains(id) || hidden() {
                *self.rows.entry(id.to_owned()).or_default() += entry.raw.len();
            }
        }
        let ids = changes.log.iter().map(|entry| &*entry.message_id);
        let changed = changes.messages.iter().map(|change| change.id()).chain(ids);
        for id in changed.collect::<HashSet<_>>() {
            if self.left_out.contains(&self.digest.hash_one(id)) && !self.wanted.is_needed(id) {
                self.fold.forget(id);
            }
            let old = self.sizes.get(id).copied().unwrap_or(0);
            self.total -= old;
            match self.fold.message(id) {
                Some(message) => {
                    let kept = self.keepsakes.get(id).map_or(0, kept_size);
                    let size = size(message) + self.rows.get(id).copied().unwrap_or(0) + kept;
                    self.total += size;
                    self.sizes.insert(id.to_owned(), size);
                }
                None => {
                    self.sizes.remove(id);
                    self.rows.remove(id);
                    self.keepsakes.remove(id);
                }
            }
        }
    }

    /// Gives up messages: those that are not for this run, then the oldest, until the rest fits.
    fn shed(&mut self, limit: usize) {
        let Wanted::Run(plan, _) = self.wanted.clone() else {
            let needed = |message: &&Message| !self.wanted.is_needed(&message.id);
            let others: Vec<String> =
                self.fold.messages().filter(needed).map(|message| message.id.clone()).collect();
            others.iter().for_each(|id| self.give_up(id));
            return;
        };
        let cause = self.wanted.cause().and_then(|id| self.fold.message(id));
        let mut give_up = Vec::new();
        if let Some(cause) = cause {
            let goes_back = matches!(plan.cause, Cause::Again { .. });
            let since = |message: &&Message| {
                message.position > cause.position
                    && !message.hidden
                    && (goes_back || !is_own(message, &plan))
                    && !self.wanted.is_needed(&message.id)
            };
            give_up.extend(self.fold.messages().filter(since).map(|message| message.id.clone()));
        }
        give_up.iter().for_each(|id| self.give_up(id));
        let mut left = self.bytes();
        let mut oldest = Vec::new();
        for message in self.fold.messages() {
            if left <= limit {
                break;
            }
            if !self.wanted.is_needed(&message.id) {
                left -= self.sizes.get(&message.id).copied().unwrap_or(0);
                self.is_cut |= !message.hidden;
                oldest.push(message.id.clone());
            }
        }
        oldest.iter().for_each(|id| self.give_up(id));
    }

    fn give_up(&mut self, id: &str) {
        self.left_out.insert(self.digest.hash_one(id));
        self.fold.forget(id);
        self.total -= self.sizes.remove(id).unwrap_or(0);
        self.rows.remove(id);
        self.keepsakes.remove(id);
    }

    fn finish(self) -> History {
        let messages: Vec<Message> =
            self.fold.into_messages().filter(|message| !message.hidden).collect();
        let kept: usize = self.keepsakes.values().map(kept_size).sum();
        let bytes = messages.iter().map(size).sum::<usize>() + kept + self.state.bytes();
        let (keepsakes, state) = (self.keepsakes, self.state.into_value());
        History { messages, is_cut: self.is_cut, bytes, hold: None, keepsakes, state }
    }
}

/// The keepsake in an agent's row: its message, what it belongs to, and the value.
fn keepsake(item: &[u8]) -> Option<(String, String, String)> {
    let item = std::str::from_utf8(item).ok().filter(|item| item.contains(KEPT))?;
    let Event::Chunk(row) = session_protocol::decode(item.as_bytes()) else { return None };
    let chunk = chunk_value(row.fields.chunk.as_deref()?)?;
    let text = |name: &str| chunk.get(name).and_then(Value::as_str).map(str::to_owned);
    let is_kept = row.fields.role == Some(Role::Assistant) && text("type")? == KEPT;
    is_kept.then_some((row.message_id().to_owned(), text("entityId")?, text("encryptedValue")?))
}

fn kept_size(kept: &HashMap<String, String>) -> usize {
    kept.iter().map(|(entity, value)| entity.len() + value.len() + EMPTY / 4).sum()
}

fn is_own(message: &Message, plan: &RunPlan) -> bool {
    message.role == Role::Assistant && message.actor_id.as_deref() == Some(&plan.agent_id)
}

/// Bytes that a message has, about.
fn size(message: &Message) -> usize {
    let parts = message.parts.iter().map(|part| match part {
        Part::Text { text, .. } => text.len(),
        other => json_size(other),
    });
    EMPTY + message.id.len() + parts.map(|bytes| bytes + EMPTY / 4).sum::<usize>()
}

/// Bytes of a value as JSON.
fn json_size(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).ok(); // counting does not fail
    count.0
}

impl History {
    /// The history of a run, with what it answers as the last: the conversation up to the message that caused it, and
    /// what its agent has said since, before that message. So a queued message is answered by itself, whatever came in
    /// meanwhile. Another answer to a message gets what was there before the first one. A run that goes on gets
    /// everything, its own message last. What other agents have not finished is left out.
    pub(crate) fn for_run(mut self, plan: &RunPlan) -> Self {
        let is_given = |message: &Message| message.is_complete || message.id == plan.message_id;
        let (id, goes_back) = match &plan.cause {
            Cause::Message { id } | Cause::Reply { id } => (id, false),
            Cause::Again { id } => (id, true),
            Cause::Answers { .. } => (&plan.message_id, false),
        };
        let Some(at) = self.messages.iter().position(|message| message.id == *id) else {
            self.messages.retain(is_given);
            return self;
        };
        let since = self.messages.split_off(at + 1);
        let last = self.messages.pop();
        let all = matches!(plan.cause, Cause::Answers { .. });
        let own = since.into_iter().filter(|message| all || is_own(message, plan));
        if !goes_back {
            self.messages.extend(own);
        }
        self.messages.extend(last);
        self.messages.retain(is_given);
        self
    }

    /// The message with this id.
    pub(crate) fn message(&self, id: &str) -> Option<&Message> {
        self.messages.iter().find(|message| message.id == id)
    }

    /// A note for the reader, when older messages were left out.
    pub(crate) fn note(&self) -> Option<&'static str> {
        self.is_cut.then_some(
            "The beginning of this conversation was left out: it is longer than can be given at once.",
        )
    }

    /// Bytes of the messages, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The room that its bytes are counted by. Whoever drops the messages shrinks it, or drops it.
    pub(crate) fn into_hold(self) -> Option<Hold> {
        self.hold
    }

    /// The keepsake that the model of a message's agent gave with this call, or with this message.
    pub(crate) fn keepsake(&self, message_id: &str, entity: &str) -> Option<&str> {
        self.keepsakes.get(message_id)?.get(entity).map(String::as_str)
    }

    /// The state that the run's agent shares, as it said last; `None` when it never said any.
    pub(crate) fn state(&self) -> Option<&Value> {
        self.state.as_ref()
    }

    /// The text of the newest message of a person.
    pub(crate) fn last_user_text(&self) -> String {
        let last = self.messages.iter().rev().find(|message| message.role == Role::User);
        last.map(words_of).unwrap_or_default()
    }

    /// Whether a message asks a question of this id, which is about no call.
    pub(crate) fn asks(&self, message_id: &str, id: &str) -> bool {
        self.question(message_id, id).is_some()
    }

    /// The answer of a person to a question, beside yes or no.
    pub(crate) fn answer(&self, message_id: &str, id: &str) -> Option<&Value> {
        self.question(message_id, id)?.answer.as_ref()
    }

    /// Words of a person who answered the request of a call.
    pub(crate) fn said_to(&self, message_id: &str, call_id: &str) -> Option<&str> {
        let call = self.tool_calls(message_id).find(|call| call.id == call_id)?;
        call.approval.as_ref()?.said.as_deref()
    }

    fn question(&self, message_id: &str, id: &str) -> Option<&QuestionPart> {
        let mut parts = self.message(message_id)?.parts.iter();
        parts.find_map(|part| match part {
            Part::Question(question) if question.approval.id == id => Some(question),
            _ => None,
        })
    }

    /// The questions of a message that are about no call.
    pub(crate) fn questions(&self, message_id: &str) -> impl Iterator<Item = &QuestionPart> {
        let parts = self.message(message_id).map(|message| &message.parts[..]).unwrap_or_default();
        parts.iter().filter_map(|part| match part {
            Part::Question(question) => Some(question),
            _ => None,
        })
    }

    /// Tool calls of a message, in order.
    pub(crate) fn tool_calls(&self, message_id: &str) -> impl Iterator<Item = &ToolCallPart> {
        let parts = self.message(message_id).map(|message| &message.parts[..]).unwrap_or_default();
        parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }
}

/// One turn of an assistant's message: what it said, then the tools it called.
#[derive(Debug, Default)]
pub(crate) struct HistoryTurn<'a> {
    pub(crate) text: String,
    /// The agent's thoughts, before or between its words.
    pub(crate) reasoning: String,
    pub(crate) calls: Vec<&'a ToolCallPart>,
}

/// Cuts an assistant's message into turns: words and thoughts after a tool call belong to the next one.
pub(crate) fn turns(message: &Message) -> Vec<HistoryTurn<'_>> {
    let mut turns = Vec::new();
    let mut turn = HistoryTurn::default();
    for part in &message.parts {
        match part {
            // What a subagent did is its caller's to know, by the result.
            part if part.subagent().is_some() => {}
            Part::Text { text, .. } | Part::Reasoning { text, .. } if !text.is_empty() => {
                if !turn.calls.is_empty() {
                    turns.push(std::mem::take(&mut turn));
                }
                let is_text = matches!(part, Part::Text { .. });
                let said = if is_text { &mut turn.text } else { &mut turn.reasoning };
                if !said.is_empty() {
                    said.push_str("\n\n");
                }
                said.push_str(text);
            }
            Part::ToolCall(call) => turn.calls.push(call),
            _ => {}
        }
    }
    if !turn.text.is_empty() || !turn.calls.is_empty() {
        turns.push(turn);
    }
    turns
}

/// The arguments of a call as JSON text; what a broken stream left is replaced by `{}`.
pub(crate) fn arguments(call: &ToolCallPart) -> String {
    if serde_json::from_str::<Value>(&call.arguments).is_ok() {
        return call.arguments.clone();
    }
    call.input.as_ref().map_or_else(|| "{}".to_owned(), Value::to_string)
}

/// The result of a tool, as text; a refusal counts as a result. `None` while nothing is known.
pub(crate) fn result_text(call: &ToolCallPart) -> Option<String> {
    if let Some(error) = &call.error {
        return Some(error.clone());
    }
    match &call.output {
        Some(Value::String(text)) => return Some(text.clone()),
        Some(other) => {
            return Some(words_beside_pictures(other).unwrap_or_else(|| other.to_string()));
        }
        None => {}
    }
    let denied = call.approval.as_ref().filter(|approval| approval.approved == Some(false))?;
    Some(match denied.said.as_deref().map(str::trim).filter(|said| !said.is_empty()) {
        Some(said) => format!("The user denied this tool call and said: {said}"),
        None => "The user denied this tool call.".to_owned(),
    })
}

/// The words of a result that has pictures, each of which is named; `None` of what has none.
fn words_beside_pictures(output: &Value) -> Option<String> {
    let blocks = output.get("content")?.as_array()?;
    let is = |block: &Value, kind: &str| block.get("type").and_then(Value::as_str) == Some(kind);
    if !blocks.iter().any(|block| is(block, "image")) {
        return None;
    }
    let words = blocks.iter().map(|block| {
        let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        match is(block, "image") {
            true => format!("[{}, shown to the people here]", text("mimeType")),
            false => text("text").to_owned(),
        }
    });
    Some(words.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        config::StreamLimits,
        store::{Op, Store},
        streams::{Embedded, Stamp},
    };

    /// A stream with these items, and the fold of all of them at once.
    async fn stream(items: Vec<String>) -> (TempDir, Embedded, Vec<Message>) {
        let mut fold = SessionFold::new("s");
        fold.apply(items.iter(), &mut ());
        let whole = fold.into_messages().filter(|message| !message.hidden).collect();
        let folder = tempfile::tempdir().unwrap();
        let none = CancellationToken::new();
        let streams = Embedded::open(folder.path(), StreamLimits::default(), none).unwrap();
        streams.create("sessions/s").await.unwrap();
        let items = items.into_iter().map(Bytes::from).collect();
        let stamp = Stamp { id: "test".to_owned(), epoch: 0, seq: 0, at: 0 };
        streams.append("sessions/s", items, &stamp, true).await.unwrap();
        (folder, streams, whole)
    }

    fn row(message: usize, seq: usize, chunk: &Value) -> String {
        json!({
            "type": "chunk", "key": format!("m{message}:{seq}"), "headers": {"operation": "upsert"},
            "value": {"messageId": format!("m{message}"), "actorId": "a", "role": "assistant",
                      "seq": seq, "createdAt": "2026-01-01T10:00:00.000Z", "chunk": chunk.to_string()},
        })
        .to_string()
    }

    fn word(message: usize, seq: usize, text: &str) -> String {
        let chunk = json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": format!("m{message}"), "delta": text});
        row(message, seq, &chunk)
    }

    async fn load_as(
        streams: &Embedded,
        history_bytes: usize,
        wanted: Wanted,
    ) -> Result<History, Unread> {
        let limits = Limits { history_bytes, ..Limits::default() };
        let budget = Budget::new(&limits);
        let (_folder, snapshots) = stored().await;
        let source = Source { streams, snapshots: &snapshots, budget: &budget, limits: &limits };
        // Read for the first time, and from what is stored.
        same(&source, &wanted).await;
        same(&source, &wanted).await;
        load_whole(&source, "s", &wanted).await
    }

    /// A database that knows the session.
    async fn stored() -> (TempDir, Snapshots) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), None).unwrap();
        let at = "2026-01-01T10:00:00.000Z".to_owned();
        store.apply(vec![Op::AddSession { session_id: "s".to_owned(), at }]).await.unwrap();
        (folder, Snapshots::of(&store))
    }

    /// What is stored and what the stream says give an agent the same.
    async fn same(source: &Source<'_>, wanted: &Wanted) {
        let given = |history: Result<History, Unread>| {
            let history = history.map_err(|error| error.to_string())?;
            let history = match wanted {
                Wanted::Run(plan, _) => history.for_run(plan),
                // The whole reading has others, too.
                Wanted::Message(id) => {
                    let one = history.message(id).cloned();
                    return Ok((one.into_iter().collect(), None, None, Vec::new()));
                }
            };
            let kept = |message: &Message| history.keepsakes.get(&message.id).cloned();
            let kept: Vec<_> = history.messages.iter().map(kept).collect();
            let (note, state) = (history.note(), history.state().cloned());
            Ok::<_, String>((history.messages, note, state, kept))
        };
        let told = given(load(source, "s", wanted).await);
        match (told, given(load_whole(source, "s", wanted).await)) {
            // At the limit the whole reading has left out messages before it knew what the run is not given.
            (Ok((told, _, state, _)), Ok((whole, Some(_), same_state, _))) => {
                let mut told = told.iter();
                assert!(whole.iter().all(|message| told.any(|one| one == message)));
                assert_eq!(state, same_state);
            }
            (Ok(told), Ok(whole)) => assert_eq!(told, whole),
            (told, whole) => assert!(whole.is_err(), "{told:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_stored_tells_agents_what_the_stream_tells_them() {
        for seed in 0..6_u64 {
            let mut state = seed + 1;
            let mut random = |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                usize::try_from(state >> 33).unwrap() % below
            };
            let (_folder, streams, _) = stream(Vec::new()).await;
            let (_stored, snapshots) = stored().await;
            let (mut at, mut message) = (0, 0);
            for part in 0..4 {
                let mut items = Vec::new();
                // In the second part less is said than is worth storing.
                for _ in 0..[30, 2, 20, 10][part] {
                    let id = format!("m{message}");
                    let agent = ["a", "b", "c"][random(3)];
                    let mut seq = 0;
                    let mut say = |role: &str, chunk: Value| {
                        let item = json!({
                            "type": "chunk", "key": format!("{id}:{seq}"), "headers": {"operation": "upsert"},
                            "value": {"messageId": id, "actorId": agent, "role": role, "seq": seq, "chunk": chunk.to_string()},
                        });
                        seq += 1;
                        items.push(item.to_string());
                    };
                    if random(2) == 0 {
                        say(
                            "user",
                            json!({"type": "whole-message", "message": {"id": id, "role": "user",
                            "parts": [{"type": "text", "content": "x".repeat(random(2000))}]}}),
                        );
                    } else {
                        for _ in 0..12 {
                            say(
                                "assistant",
                                json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "t", "delta": "y".repeat(random(200))}),
                            );
                        }
                        if random(3) == 0 {
                            say(
                                "assistant",
                                json!({"type": KEPT, "entityId": "e", "encryptedValue": "k".repeat(random(50))}),
                            );
                            say(
                                "assistant",
                                json!({"type": "STATE_SNAPSHOT", "snapshot": {"n": message}}),
                            );
                        }
                        say(
                            "assistant",
                            json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "t"}),
                        );
                        say("assistant", json!({"type": "TOOL_CALL_END", "toolCallId": "c"}));
                        if random(6) > 0 {
                            say(
                                "assistant",
                                json!({"type": "RUN_FINISHED", "finishReason": "stop"}),
                            );
                        }
                    }
                    // A result of a call long ago.
                    if message > 4 && random(4) == 0 {
                        let id = format!("r{message}");
                        items.push(json!({
                            "type": "chunk", "key": format!("{id}:0"), "headers": {"operation": "upsert"},
                            "value": {"messageId": id, "actorId": "p", "role": "user", "seq": 0,
                                "chunk": json!({"type": "tool-result", "toolCallId": "c", "output": message}).to_string()},
                        }).to_string());
                    }
                    message += 1;
                }
                if part == 2 {
                    let old = random(20);
                    items.push(json!({"type": "chunk", "key": format!("m{old}:0"), "headers": {"operation": "delete"}}).to_string());
                }
                let count = items.len() as u64;
                let items = items.into_iter().map(Bytes::from).collect();
                let stamp = Stamp { id: "test".to_owned(), epoch: 1, seq: part as u64, at };
                streams.append("sessions/s", items, &stamp, true).await.unwrap();
                at += count;
                for history_bytes in [9_000, 40_000, 8 << 20] {
                    let limits = Limits { history_bytes, ..Limits::default() };
                    let budget = Budget::new(&limits);
                    let source = Source {
                        streams: &streams,
                        snapshots: &snapshots,
                        budget: &budget,
                        limits: &limits,
                    };
                    let id = format!("m{}", random(message));
                    for cause in [
                        Cause::Message { id: id.clone() },
                        Cause::Again { id: id.clone() },
                        Cause::Answers { parent_run_id: None },
                    ] {
                        let plan = RunPlan {
                            message_id: format!("m{}", random(message)),
                            ..RunPlan::new("a", cause, None)
                        };
                        let wanted = Wanted::Run(Arc::new(plan), Arc::new(json!({})));
                        same(&source, &wanted).await;
                    }
                    same(&source, &Wanted::Message(id)).await;
                }
            }
        }
    }

    fn answers(cause: Cause) -> Wanted {
        Wanted::Run(Arc::new(RunPlan::new("a", cause, None)), Arc::new(json!({})))
    }

    #[tokio::test]
    async fn rows_that_come_late_change_or_go_are_folded_as_if_all_were_in_memory() {
        let run = answers(Cause::Message { id: "m7".to_owned() });
        for seed in [1_u64, 4, 9] {
            let mut state = seed;
            let mut random = |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                usize::try_from(state >> 33).unwrap() % below
            };
            let mut items = Vec::new();
            for message in 0..8 {
                for seq in 0..20 {
                    items.push(word(message, seq, &format!("{seq}{}", "x".repeat(4000))));
                }
            }
            for _ in 0..seed {
                let (from, to) = (random(items.len()), random(items.len()));
                items.swap(from, to); // late
                let (message, seq) = (random(8), random(20));
                let at = random(items.len());
                items.insert(at, word(message, seq, "changed"));
                let gone = json!({"type": "chunk", "key": format!("m{}:{}", random(8), random(20)),
                    "headers": {"operation": "delete"}});
                items.insert(random(items.len()), gone.to_string());
            }
            let (_folder, streams, whole) = stream(items).await;
            let history = load_as(&streams, 64 << 20, run.clone()).await.unwrap();
            assert_eq!(history.messages, whole, "seed {seed}");
            assert_eq!(history.note(), None);
        }
    }

    #[tokio::test]
    async fn of_a_long_session_the_newest_messages_before_the_cause_are_kept() {
        let long = |message| word(message, 0, &"x".repeat(100_000));
        let (_folder, streams, whole) = stream((0..40).map(long).collect()).await;
        let run = answers(Cause::Again { id: "m20".to_owned() });
        let history = load_as(&streams, 450_000, run.clone()).await.unwrap();
        assert!(history.bytes() <= 450_000 && history.note().is_some());
        let until = history.messages.iter().take_while(|message| message.id != "m21");
        let ids: Vec<&str> = until.map(|message| &*message.id).collect();
        assert_eq!(ids, ["m17", "m18", "m19", "m20"]);
        let one = load_as(&streams, 450_000, Wanted::Message("m3".to_owned())).await.unwrap();
        assert_eq!(one.message("m3"), Some(&whole[3]));
        let small = load_as(&streams, 50_000, Wanted::Message("m3".to_owned())).await;
        assert!(matches!(small, Err(Unread::TooLong)));
        let small = load_as(&streams, 50_000, run.clone()).await;
        assert!(matches!(small, Err(Unread::TooLong)));
    }

    #[tokio::test]
    async fn what_a_message_needs_in_memory_is_its_words_and_not_its_rows() {
        // A row of 40 letters has 300 bytes.
        let words = (0..20_000).map(|seq| word(0, seq, &"x".repeat(40))).collect();
        let (_folder, streams, whole) = stream(words).await;
        let run = answers(Cause::Message { id: "m0".to_owned() });
        let history = load_as(&streams, 1 << 20, run.clone()).await.unwrap();
        assert_eq!(history.messages, whole);
    }
}
