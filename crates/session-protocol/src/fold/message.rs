//! The fold of one message: what it is, and what it must remember to go on.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::calls::{OpenCalls, Same, call_key};
use super::log::RowLog;
use super::replay::{Held, Replays, Told};
use super::runs::Runs;
use super::short::{AGAIN, Heard, Texts};
use super::snapshot::Before;
use super::step::{Named, Step};
use super::track::Tracker;
use crate::dialect::proxy::is_whole;
use crate::dialect::{self, Inner, electric};
use crate::event::{RunMark, lenient_value};
use crate::row::{
    ApprovalOption, Message, Part, PartApproval, Role, ToolCallPart, ToolState, Usage, is_later,
};

/// Which open text or reasoning a delta belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SegmentKey<'a> {
    /// The one text of a dialect without ids.
    Legacy,
    /// The one thinking block of events without ids.
    Thinking,
    /// Named by the dialect's own id.
    Id(Cow<'a, str>),
    /// Named by a step.
    Step(Cow<'a, str>),
}

impl<'a> SegmentKey<'a> {
    /// The key of a field that holds an id, or the nameless one.
    pub(crate) fn text_id(field: Option<&'a RawValue>) -> Self {
        dialect::id(field).map_or(Self::Legacy, Self::Id)
    }

    pub(super) fn into_owned(self) -> SegmentKey<'static> {
        match self {
            Self::Legacy => SegmentKey::Legacy,
            Self::Thinking => SegmentKey::Thinking,
            Self::Id(id) => SegmentKey::Id(Cow::Owned(id.into_owned())),
            Self::Step(id) => SegmentKey::Step(Cow::Owned(id.into_owned())),
        }
    }
}

/// An open part that text still goes to.
pub(super) struct Segment {
    pub(super) key: SegmentKey<'static>,
    /// The subagent that writes it.
    pub(super) subagent: Option<String>,
    pub(super) part: usize,
    /// Half a character that waits for its other half.
    pub(super) half: Option<u16>,
    /// How much of the writer's cumulative text stands before this part, once known.
    pub(super) base: Option<usize>,
    /// Text goes to this part whatever came between (AI SDK ids).
    pub(super) pinned: bool,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(super) pos: u64,
    pub(super) output: Option<Value>,
    pub(super) error: Option<String>,
    /// Another one will replace it: the call goes on.
    pub(super) preliminary: bool,
}

impl Outcome {
    pub(crate) fn new(pos: u64, output: Option<Value>, error: Option<String>) -> Self {
        Self { pos, output, error, preliminary: false }
    }

    /// A first output, which a later one replaces.
    pub(crate) fn preliminary(self, preliminary: bool) -> Self {
        Self { preliminary, ..self }
    }

    /// True when both say the same, wherever they stand.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.output == other.output
            && self.error == other.error
            && self.preliminary == other.preliminary
    }
}

/// What is said with an answer to a request that offers options. Most answers have none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chosen {
    /// The option that was chosen.
    pub(crate) option: Option<String>,
    /// Why it was denied, where no person did.
    pub(crate) reason: Option<String>,
}

impl Chosen {
    /// Both, where there is one.
    pub(crate) fn of(option: Option<String>, reason: Option<String>) -> Option<Box<Self>> {
        (option.is_some() || reason.is_some()).then(|| Box::new(Self { option, reason }))
    }
}

/// A person's answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) pos: u64,
    pub(crate) approved: bool,
    /// What else was said.
    pub(crate) payload: Option<Value>,
    pub(crate) chosen: Option<Box<Chosen>>,
    pub(crate) by: Option<String>,
    pub(crate) at: Option<String>,
}

/// A call's request for approval.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) approval: String,
    pub(crate) name: Option<String>,
    pub(crate) input: Option<Value>,
    pub(crate) pos: u64,
    /// The run of the message that asked, counted from 0 by the marks of runs.
    pub(super) run: u32,
    pub(crate) by: Option<String>,
    pub(crate) at: Option<String>,
    /// Why it is asked, as the agent claims.
    pub(crate) reason: Option<String>,
    /// What a question asks, which is about no call.
    pub(crate) question: Option<String>,
    /// When it is withdrawn.
    pub(crate) expires_at: Option<String>,
    /// The answers that are offered. One that has them is answered inside its run.
    pub(crate) options: Option<Vec<ApprovalOption>>,
}

impl Request {
    pub(crate) fn new(approval: &str, name: Option<Cow<'_, str>>, input: Option<Value>) -> Self {
        Self {
            approval: approval.to_owned(),
            name: name.map(Cow::into_owned).filter(|name| !name.is_empty()),
            input,
            pos: 0,
            run: 0,
            by: None,
            at: None,
            reason: None,
            question: None,
            expires_at: None,
            options: None,
        }
    }

    /// With the time at which it is withdrawn.
    pub(crate) fn until(self, expires_at: Option<&str>) -> Self {
        Self { expires_at: expires_at.map(str::to_owned), ..self }
    }

    /// With the answers that are offered.
    pub(crate) fn offering(self, options: Option<Vec<ApprovalOption>>) -> Self {
        Self { options, ..self }
    }

    /// With why it is asked.
    pub(crate) fn because(self, reason: Option<Cow<'_, str>>) -> Self {
        let reason = reason.map(Cow::into_owned).filter(|reason| !reason.is_empty());
        Self { reason, ..self }
    }
}

/// What is known of a call beside its part.
pub(crate) struct Call {
    pub(crate) part: usize,
    pub(crate) pos: u64,
    /// Its number among the calls of the message, in the order in which they were made.
    pub(super) number: u32,
    /// The run of the message that it began in, counted from 0 by the marks of runs.
    pub(super) run: u32,
    /// The step that it began in.
    pub(super) step: u32,
    pub(super) half: Option<u16>,
    pub(super) ready: bool,
    /// Its writer said its input whole.
    pub(super) given: bool,
    /// Its arguments are plain text.
    pub(super) takes_text: bool,
    /// The writer says that arguments are coming, though none has come.
    pub(super) streaming: bool,
    pub(super) denied: bool,
    pub(super) result: Option<Outcome>,
    pub(super) end_result: Option<Outcome>,
    pub(super) foreign: Option<Outcome>,
    pub(crate) request: Option<Request>,
    pub(crate) answer: Option<Answer>,
    /// The first answer to its request that stands in its own message.
    pub(super) answered_here: Option<bool>,
    /// What came behind a second start of it, until that is complete.
    pub(super) repeated: Option<Repetition>,
    /// The run of the message in which its agent said last that the client must run it.
    pub(super) client_run: Option<u32>,
    /// Where a later run asked the client for it again: older results do not settle it.
    pub(super) client_again: u64,
    /// The model's provider runs it.
    pub(super) by_provider: bool,
    /// The interrupt's id, which a resumed agent expects instead of the call's.
    pub(super) interrupt: Option<String>,
    /// Position of the last result that its own agent gave.
    pub(super) known: Option<u64>,
    /// Position of the last result that somebody else gave in its own message.
    pub(super) theirs: Option<u64>,
}

/// A second start of a call that is over.
pub(super) struct Repetition {
    pub(super) name: String,
    pub(super) arguments: String,
}

impl Call {
    pub(super) fn new(part: usize, pos: u64, run: u32, step: u32) -> Self {
        Self {
            part,
            pos,
            number: 0,
            run,
            step,
            half: None,
            ready: false,
            given: false,
            takes_text: false,
            streaming: false,
            denied: false,
            result: None,
            end_result: None,
            foreign: None,
            request: None,
            answer: None,
            answered_here: None,
            repeated: None,
            client_run: None,
            client_again: 0,
            by_provider: false,
            interrupt: None,
            known: None,
            theirs: None,
        }
    }

    /// The client must run it, as its agent said.
    pub(super) fn is_for_client(&self) -> bool {
        self.client_run.is_some()
    }

    /// The result that counts: the newest.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        let own = self.result.as_ref().or(self.end_result.as_ref());
        match (own, self.foreign.as_ref()) {
            (Some(own), Some(foreign)) => Some(if own.pos > foreign.pos { own } else { foreign }),
            (own, foreign) => own.or(foreign),
        }
    }

    /// The result that settles it. One that is older than the request does not, and a first one settles nothing.
    pub(super) fn settled(&self) -> Option<&Outcome> {
        let asked = self.request.as_ref().map_or(0, |request| request.pos).max(self.client_again);
        self.outcome().filter(|outcome| !outcome.preliminary && outcome.pos >= asked)
    }

    /// True while a result of it may come: it has none and was not refused.
    pub(super) fn is_open(&self) -> bool {
        let refused = self.denied || self.answer.as_ref().is_some_and(|answer| !answer.approved);
        !refused && self.settled().is_none()
    }

    /// Nothing more will come of it, as its message says: it has a result or was refused.
    pub(super) fn is_over(&self) -> bool {
        self.result.as_ref().is_some_and(|result| !result.preliminary)
            || self.end_result.is_some()
            || self.denied
            || self.answered_here == Some(false)
    }
}

/// A signal: something said in one message about another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "lowercase")]
pub(crate) enum SignalKind {
    /// The result of a call.
    Result {
        call: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The answer to an approval.
    Answer {
        approval: String,
        approved: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chosen: Option<Box<Chosen>>,
    },
    /// Settings of the session.
    Config { settings: Map<String, Value> },
}

/// A signal with where and who.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Signal {
    #[serde(rename = "p")]
    pub(crate) pos: u64,
    #[serde(rename = "n")]
    pub(crate) nth: u32,
    #[serde(rename = "m")]
    pub(crate) message: String,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    #[serde(flatten)]
    pub(crate) kind: SignalKind,
}

impl Signal {
    /// The outcome a result signal stands for.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match &self.kind {
            SignalKind::Result { output, error, .. } => {
                Some(Outcome::new(self.pos, output.clone(), error.clone()))
            }
            SignalKind::Answer { .. } | SignalKind::Config { .. } => None,
        }
    }
}

/// What the session must know of what a row did.
pub(crate) enum IndexEvent {
    /// A call is new.
    Call(String),
    /// A call's request is new.
    Request(String),
    /// A call with a request changed.
    Touched(String),
    /// A signal was given.
    Signal(Signal),
}

/// A row on its way into the fold.
pub(crate) struct RowContext<'a> {
    /// Position of the row's item.
    pub(crate) pos: u64,
    /// The row's place in the message.
    pub(crate) seq: i64,
    pub(crate) actor: Option<&'a str>,
    pub(crate) role: Option<Role>,
    pub(crate) created_at: Option<&'a str>,
    /// The run of the message's agent that the server begins with it.
    pub(crate) run: Option<&'a RunMark>,
}

/// What a row holds.
pub(crate) enum RowBody<'a> {
    /// JSON text of an inner chunk.
    Chunk(&'a str),
    /// The merged row of an entity stream.
    Entity { type_: &'a str, key: &'a str, value: &'a Map<String, Value> },
    /// A row without a chunk.
    Nothing,
}

/// The state of the fold that is not in the message itself.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) texts: Vec<Segment>,
    pub(super) thoughts: Vec<Segment>,
    /// Text parts closed by something after them: the cumulative text so far.
    pub(super) closed: Vec<usize>,
    /// Calls by their keys.
    pub(super) calls: HashMap<String, Call>,
    /// How many of them are questions that are about no call.
    pub(super) questions: usize,
    /// Ids that calls have in common.
    pub(super) same: HashMap<String, Same>,
    /// Runs that the server began in the message so far.
    pub(super) run: u32,
    /// Steps and runs that the agent began in the message so far.
    pub(super) step: u32,
    /// Bytes of the rows so far.
    pub(super) told: usize,
    /// Bytes of arguments that were copied from one call to another.
    pub(super) copied: usize,
    /// Calls whose arguments are not complete.
    pub(super) open_calls: OpenCalls,
    pub(super) data: HashMap<(String, Option<String>), usize>,
    pub(super) activities: HashMap<String, usize>,
    pub(super) subagents: HashMap<String, usize>,
    /// Where the parts come from, one for each.
    pub(super) origins: Vec<Origin>,
    /// The AI SDK's id of the present generation.
    pub(super) generation: Option<String>,
    /// Where the parts of the present step begin.
    pub(super) step_start: usize,
    /// Something was said before a whole message came.
    pub(super) spoken: bool,
    /// The message as it was, while a snapshot of it is read.
    pub(super) before: Option<Box<Before>>,
    /// Bytes that snapshots were laid beside so far.
    pub(super) compared: usize,
    pub(super) replays: Replays,
    pub(super) thinking_step: Option<String>,
    pub(super) saw_reasoning: bool,
    pub(super) structured: Option<usize>,
    pub(super) structured_half: Option<u16>,
    pub(super) structuring: bool,
    /// The AG-UI message the parts from `group_start` on belong to.
    pub(super) group: Option<String>,
    pub(super) group_start: usize,
    /// By subagent what the last chunks named.
    pub(super) chunks: HashMap<String, Named>,
    /// The parts of a whole message are being read.
    pub(super) stating: bool,
    pub(super) whole: bool,
    pub(super) content: bool,
    pub(super) signals: bool,
    pub(super) terminal: bool,
    pub(super) locked: Option<bool>,
    pub(super) force_hidden: bool,
    pub(super) meta_dirty: bool,
    pub(super) rows: u64,
    pub(super) distinct: u64,
    pub(super) last: Option<(i64, u64)>,
    pub(super) last_seq: Option<i64>,
    pub(super) usage_sum: Option<Usage>,
    pub(super) usage_metadata: Option<Usage>,
    pub(super) nth: u32,
    pub(super) given: Vec<(u64, u32)>,
    pub(super) bad: u64,
    pub(super) outbox: Vec<IndexEvent>,
    pub(super) runs: Runs,
}

/// Where a part comes from.
pub(super) struct Origin {
    /// The writer's own id of the message it is part of.
    pub(super) key: Option<Box<str>>,
    /// It was not only in a snapshot.
    pub(super) streamed: bool,
}

impl Scratch {
    /// Forgets the calls of an id whose parts were at this place or behind it.
    pub(super) fn forget_calls(&mut self, id: &str, start: usize) {
        let newest = self.same.get(id).map_or(0, |same| same.newest);
        for nth in (0..=newest).rev() {
            let key = call_key(id, nth);
            if self.calls.get(&key).is_none_or(|call| call.part < start) {
                break;
            }
            self.calls.remove(&key);
            if let Some(same) = self.same.get_mut(id) {
                same.newest = nth.saturating_sub(1);
                same.again = None;
            }
            self.outbox.push(IndexEvent::Touched(key));
        }
    }

    /// Whether so many more bytes may be copied inside the message.
    pub(super) fn may_copy(&self, bytes: usize) -> bool {
        self.copied.saturating_add(bytes) <= self.told.saturating_mul(4).saturating_add(1 << 20)
    }
}

/// The shape of the rows a message is made of. One message never mixes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Chunk rows with sequence numbers.
    Rows,
    /// Bare events, which name roles themselves and have no gaps.
    Bare,
    /// Rows of an entity stream.
    Entity,
}

/// What a message counts for in the statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) shown: bool,
    pub(crate) role: Role,
    pub(crate) calls: u64,
    pub(crate) usage: Usage,
    pub(crate) bad: u64,
}

/// One message being folded.
pub(crate) struct MessageFold {
    /// What is kept of it.
    pub(super) texts: Texts,
    /// Where the words begin that are kept although texts are not, and how many bytes more.
    pub(super) heard: Option<Heard>,
    pub(crate) message: Message,
    pub(crate) log: RowLog,
    pub(crate) shape: Shape,
    /// What the statistics count for it now.
    pub(crate) counted: Weight,
    /// The `createdAt` the statistics count for it now.
    pub(crate) counted_at: Option<String>,
    /// Set when it must be refolded before it is read.
    pub(crate) dirty: bool,
    /// Set when a row has a key that is not `<messageId>:<seq>`.
    pub(crate) odd: bool,
    pub(super) scratch: Scratch,
}

impl MessageFold {
    pub(crate) fn new(id: &str, position: u64, shape: Shape, log: RowLog, texts: Texts) -> Self {
        Self {
            texts,
            heard: None,
            message: Message::new(id, position),
            log,
            shape,
            counted: Weight::default(),
            counted_at: None,
            dirty: false,
            odd: false,
            scratch: Scratch::default(),
        }
    }

    /// Forgets everything folded, keeps identity, log and what is counted.
    pub(crate) fn restart(&mut self, position: u64) {
        self.message = Message::new(std::mem::take(&mut self.message.id), position);
        self.scratch = Scratch::default();
        self.dirty = false;
    }

    /// True when a row with this number comes after all rows so far.
    pub(crate) fn is_after(&self, seq: i64, pos: u64) -> bool {
        self.scratch.last.is_none_or(|last| (seq, pos) > last)
    }

    /// True when a row with this sequence number cannot exist yet.
    pub(crate) fn is_new_seq(&self, seq: i64) -> bool {
        self.scratch.last_seq.is_none_or(|last| seq > last)
    }

    pub(crate) fn last_seq(&self) -> Option<i64> {
        self.scratch.last_seq
    }

    pub(crate) fn weight(&self) -> Weight {
        Weight {
            shown: !self.message.hidden,
            role: self.message.role,
            calls: (self.scratch.calls.len() - self.scratch.questions) as u64,
            usage: self.message.usage.unwrap_or_default(),
            bad: self.scratch.bad,
        }
    }

    pub(crate) fn call(&self, call_id: &str) -> Option<&Call> {
        self.scratch.calls.get(call_id)
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = (&String, &Call)> {
        self.scratch.calls.iter()
    }

    /// The signals this message gave.
    pub(crate) fn given(&self) -> &[(u64, u32)] {
        &self.scratch.given
    }

    pub(crate) fn take_outbox(&mut self) -> Vec<IndexEvent> {
        std::mem::take(&mut self.scratch.outbox)
    }

    pub(crate) fn call_part(&self, call_id: &str) -> Option<&ToolCallPart> {
        match self.message.parts.get(self.scratch.calls.get(call_id)?.part) {
            Some(Part::ToolCall(part)) => Some(part),
            _ => None,
        }
    }

    /// Gives a call the result found in another message.
    pub(crate) fn set_foreign(
        &mut self,
        call_id: &str,
        outcome: Option<Outcome>,
        tracker: &mut Tracker,
    ) {
        if let Some(call) = self.scratch.calls.get_mut(call_id)
            && call.foreign != outcome
        {
            call.foreign = outcome;
            self.scratch.runs.answered.insert(call_id.to_owned());
            self.refresh_call(call_id, tracker);
        }
    }

    /// Gives a call the answer found anywhere.
    pub(crate) fn set_answer(
        &mut self,
        call_id: &str,
        answer: Option<Answer>,
        tracker: &mut Tracker,
    ) {
        if let Some(call) = self.scratch.calls.get_mut(call_id)
            && call.answer != answer
        {
            call.answer = answer;
            self.scratch.runs.answered.insert(call_id.to_owned());
            self.refresh_call(call_id, tracker);
        }
    }

    /// Folds one row that comes after all rows so far.
    pub(crate) fn fold_row(
        &mut self,
        row: &RowContext<'_>,
        body: &RowBody<'_>,
        tracker: &mut Tracker,
    ) {
        let first = self.scratch.rows == 0;
        self.scratch.rows += 1;
        if self.scratch.last_seq != Some(row.seq) {
            self.scratch.distinct += 1;
        }
        self.scratch.last = Some((row.seq, row.pos));
        self.scratch.last_seq = Some(row.seq);
        self.scratch.nth = 0;
        if first {
            self.message.actor_id = row.actor.map(str::to_owned);
            self.message.role = row.role.unwrap_or_default();
            self.scratch.runs.first(self.message.role);
            self.message.created_at = row.created_at.map(str::to_owned);
            self.scratch.meta_dirty = true;
        }
        if let Some(mark) = row.run {
            self.scratch.run = self.scratch.run.saturating_add(1);
            self.scratch.runs.begin(mark, row.pos);
        }
        if let Some(at) = row.created_at {
            match &mut self.message.last_chunk_at {
                Some(last) if is_later(at, last) => at.clone_into(last),
                Some(_) => {}
                None => self.message.last_chunk_at = Some(at.to_owned()),
            }
        }
        match body {
            RowBody::Chunk(chunk) => self.fold_chunk(row, chunk, tracker),
            RowBody::Entity { type_, key, value } => {
                let mut step = Step::new(self, row, tracker);
                electric::fold(type_, key, value, &mut step);
                self.take_down(row, "");
            }
            RowBody::Nothing => self.scratch.bad += 1,
        }
        self.settle(tracker);
    }

    fn fold_chunk(&mut self, row: &RowContext<'_>, chunk: &str, tracker: &mut Tracker) {
        self.scratch.told = self.scratch.told.saturating_add(chunk.len());
        // What people say is never a repetition of what an agent said, and a run that the server begins is new.
        if row.role == Some(Role::User) {
            self.fold_told(row, chunk, tracker);
            return;
        }
        let most = if self.drops() { AGAIN } else { usize::MAX };
        let Told { again, now } = self.scratch.replays.hear(row, chunk, most);
        for Held { row, chunk } in again {
            self.scratch.nth = 0;
            self.fold_told(&row.context(), &chunk, tracker);
        }
        if now {
            self.scratch.nth = 0;
            self.fold_told(row, chunk, tracker);
        }
    }

    fn fold_told(&mut self, row: &RowContext<'_>, chunk: &str, tracker: &mut Tracker) {
        if let Some(inner) = Inner::parse(chunk) {
            self.fold_inner(row, &inner, tracker);
            return;
        }
        // Twice the same field, or a text that is no JSON at all.
        let repaired = match lenient_value(chunk) {
            Some(value @ Value::Object(_)) => value.to_string(),
            _ => {
                self.scratch.bad += 1;
                return;
            }
        };
        match Inner::parse(&repaired) {
            Some(inner) => self.fold_inner(row, &inner, tracker),
            None => self.scratch.bad += 1,
        }
    }

    fn fold_inner(&mut self, row: &RowContext<'_>, inner: &Inner<'_>, tracker: &mut Tracker) {
        // After a whole message only signals count: that is all its first row leaves to be said.
        let again = self.shape == Shape::Bare && is_whole(inner.kind());
        if self.scratch.whole && !is_signal_kind(inner.kind()) && !again {
            return;
        }
        self.scratch.spoken |= !is_whole(inner.kind());
        let mut step = Step::new(self, row, tracker);
        dialect::fold(inner, &mut step);
        self.take_down(row, inner.kind());
    }

    /// Brings the derived flags up to date after a row.
    fn settle(&mut self, tracker: &mut Tracker) {
        let scratch = &mut self.scratch;
        let hidden = scratch.force_hidden || (scratch.signals && !scratch.content);
        let complete = match scratch.locked {
            Some(complete) => complete,
            None => hidden || scratch.terminal,
        };
        let gap = self.shape == Shape::Rows
            && scratch.last_seq.is_some_and(|last| {
                u64::try_from(last).is_ok_and(|last| last.saturating_add(1) != scratch.distinct)
            });
        let message = &mut self.message;
        if message.hidden != hidden || message.is_complete != complete || message.has_gap != gap {
            message.hidden = hidden;
            message.is_complete = complete;
            message.has_gap = gap;
            scratch.meta_dirty = true;
        }
        if scratch.meta_dirty {
            scratch.meta_dirty = false;
            tracker.meta(&message.id);
        }
    }

    /// Recomputes a call's part from what is known of the call.
    pub(super) fn refresh_call(&mut self, call_id: &str, tracker: &mut Tracker) {
        let Some(call) = self.scratch.calls.get(call_id) else { return };
        let part = match self.message.parts.get_mut(call.part) {
            Some(Part::ToolCall(part)) => part,
            Some(Part::Question(question)) => {
                let approval = &mut question.approval;
                let approved = call.answer.as_ref().map(|answer| answer.approved);
                let by = call.answer.as_ref().and_then(|answer| answer.by.clone());
                let said = call.answer.as_ref().and_then(|answer| answer.payload.as_ref());
                if approval.approved != approved
                    || approval.responded_by != by
                    || question.answer.as_ref() != said
                {
                    (approval.approved, approval.responded_by) = (approved, by);
                    question.answer = said.cloned();
                    tracker.set_part(&self.message.id, call.part);
                    self.scratch.outbox.push(IndexEvent::Touched(call_id.to_owned()));
                }
                return;
            }
            _ => return,
        };
        let outcome = call.outcome();
        let answered = call.answer.as_ref().map(|answer| answer.approved);
        let state = if call.denied || answered == Some(false) {
            ToolState::Denied
        } else if let Some(outcome) = call.settled() {
            if outcome.error.is_some() { ToolState::Failed } else { ToolState::Done }
        } else if call.request.is_some() {
            if answered == Some(true) { ToolState::Answered } else { ToolState::Waiting }
        } else if call.ready {
            ToolState::Ready
        } else if part.arguments.is_empty() && !call.streaming {
            ToolState::Started
        } else {
            ToolState::Streaming
        };
        let approval = call.request.as_ref().map(|request| PartApproval {
            id: request.approval.clone(),
            approved: answered,
            responded_by: call.answer.as_ref().and_then(|answer| answer.by.clone()),
            reason: request.reason.clone(),
        });
        let (output, error) = match outcome {
            Some(outcome) => (outcome.output.as_ref(), outcome.error.as_ref()),
            None => (None, None),
        };
        let preliminary = outcome.is_some_and(|outcome| outcome.preliminary);
        if part.state == state
            && part.approval == approval
            && part.output.as_ref() == output
            && part.error.as_ref() == error
            && part.preliminary == preliminary
        {
            return;
        }
        part.preliminary = preliminary;
        part.state = state;
        part.approval = approval;
        part.output = output.cloned();
        part.error = error.cloned();
        tracker.set_part(&self.message.id, call.part);
        self.scratch.outbox.push(IndexEvent::Touched(call_id.to_owned()));
    }
}

fn is_signal_kind(kind: &str) -> bool {
    matches!(
        kind,
        "approval-response"
            | "tool-approval"
            | "tool-approval-response"
            | "tool-result"
            | "tool_result"
            | "TOOL_CALL_RESULT"
            | "tool-output-available"
            | "tool-output-error"
            | "tool-output-denied"
    )
}
