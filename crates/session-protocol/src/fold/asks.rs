//! Asks: what waits for a person or a client, of every kind, and what was answered.
//!
//! An ask is an approval, a question that is about no call, or a call that the client must run. It is open while its
//! message was not stopped, nobody answered, its call came to nothing else, and it is not withdrawn. Who shows asks and
//! who decides about them read the same ones here.

use jiff::Timestamp;

use super::call::{Call, Outcome};
use super::message::MessageFold;
use super::message_run::MessageRun;
use super::session::SessionFold;
use super::table::call_id;
use crate::chunk::parse_result;
use crate::row::{ApprovalOption, parse_time};

/// The kinds of asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AskKind {
    /// A call waits for a yes or a no.
    Approval,
    /// A question that is about no call.
    Question,
    /// A call waits for its result from the client.
    Call,
}

/// Something that waits for a person or a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Position of the item that asks.
    pub position: u64,
    /// The message that asks.
    pub message_id: String,
    /// The kind of the ask.
    pub kind: AskKind,
    /// The id that an answer names: the approval's, or the call's.
    pub id: String,
    /// The call that waits; `None` for a question.
    pub tool_call_id: Option<String>,
}

/// A request for an answer, answered or not.
#[derive(Clone, Copy)]
pub struct RequestView<'a> {
    fold: &'a MessageFold,
    key: &'a str,
    call: &'a Call,
}

impl<'a> RequestView<'a> {
    /// The message that asks.
    pub fn message_id(&self) -> &'a str {
        &self.fold.message.id
    }

    /// The request's id; empty for a call without a request.
    pub fn approval_id(&self) -> &'a str {
        self.call.request.as_ref().map_or("", |request| &request.approval)
    }

    /// The call that it is about; `None` for a question.
    pub fn tool_call_id(&self) -> Option<&'a str> {
        Some(call_id(self.key)).filter(|id| !id.is_empty())
    }

    /// The answer that counts, the first.
    pub fn approved(&self) -> Option<bool> {
        self.call.answer.as_ref().map(|answer| answer.approved)
    }

    /// The answers that are offered; `None` where a yes or a no is one, which is told the next run.
    pub fn options(&self) -> Option<&'a [ApprovalOption]> {
        self.call.request.as_ref()?.options.as_deref()
    }

    /// The option that was chosen.
    pub fn option_id(&self) -> Option<&'a str> {
        self.call.answer.as_ref()?.chosen.as_ref()?.option.as_deref()
    }

    /// Why it was denied, where no person did.
    pub fn reason(&self) -> Option<&'a str> {
        self.call.answer.as_ref()?.chosen.as_ref()?.reason.as_deref()
    }

    /// True while it waits for an answer at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        !self.fold.is_stopped() && self.waits(now)
    }

    fn waits(&self, now: Timestamp) -> bool {
        self.call.request.is_some()
            && self.call.answer.is_none()
            && self.call.is_open()
            && !self.is_expired(now)
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        let request = self.call.request.as_ref();
        let end = request.and_then(|request| request.expires_at.as_deref()).and_then(parse_time);
        end.is_some_and(|end| end <= now)
    }

    /// Whether nobody answered it in time, and no later run began since.
    fn is_withdrawn(&self, now: Timestamp) -> bool {
        let run = self.fold.scratch.steps.run;
        self.call.answer.is_none()
            && self.call.request.as_ref().is_some_and(|request| request.run == run)
            && self.is_expired(now)
    }
}

/// A call of a message.
#[derive(Clone, Copy)]
pub struct CallView<'a> {
    fold: &'a MessageFold,
    key: &'a str,
    call: &'a Call,
}

impl<'a> CallView<'a> {
    /// The message that holds it.
    pub fn message_id(&self) -> &'a str {
        &self.fold.message.id
    }

    /// The call's id, as its agent chose it.
    pub fn id(&self) -> &'a str {
        call_id(self.key)
    }

    /// Whether it has a result that settles it.
    pub fn is_settled(&self) -> bool {
        self.call.settled().is_some()
    }

    /// True while a result of it may come: it has none and was not refused.
    pub fn is_open(&self) -> bool {
        self.call.is_open()
    }

    /// Whether its agent said that the client must run it.
    pub fn is_for_client(&self) -> bool {
        self.call.is_for_client()
    }

    /// The interrupt's id, which a resumed agent expects instead of the call's.
    pub fn interrupt_id(&self) -> Option<&'a str> {
        self.call.interrupt.as_deref()
    }

    /// Whether its result is this one, in whichever way a dialect writes it down: as it is, or as text that is JSON.
    pub fn has_result(&self, output: &serde_json::Value, error: Option<&str>) -> bool {
        let Some(known) = self.call.settled() else { return false };
        let told = Outcome::new(known.pos, Some(output.clone()), error.map(str::to_owned));
        let read = Outcome { output: Some(parse_result(output.clone())), ..told.clone() };
        let alike = |new: Outcome| {
            let new = if self.fold.drops() { new.short() } else { new };
            match (&known.error, &new.error) {
                (None, None) => known.output == new.output,
                (known, new) => known == new,
            }
        };
        alike(told) || alike(read)
    }
}

impl SessionFold {
    /// The runs of a message that is in memory.
    pub fn run(&self, message_id: &str) -> Option<MessageRun<'_>> {
        self.messages.get(message_id).map(|fold| MessageRun { fold })
    }

    /// The runs of all messages in memory, by position. Hidden messages are among them.
    pub fn runs(&self) -> impl Iterator<Item = MessageRun<'_>> {
        self.order.values().filter_map(|id| self.run(id))
    }

    /// Everything that waits for a person or a client at `now`, of the messages in memory, the oldest first.
    pub fn asks(&self, now: Timestamp) -> Vec<Ask> {
        let mut all: Vec<Ask> =
            self.runs().flat_map(|run| self.asks_in(run.message_id(), now)).collect();
        all.sort();
        all
    }

    /// Asks of one message, as [`Self::asks`] has them, in no order.
    pub fn asks_in<'a>(
        &'a self,
        message_id: &str,
        now: Timestamp,
    ) -> impl Iterator<Item = Ask> + use<'a> {
        let views = self.requests_in(message_id);
        views.filter_map(move |view| {
            let RequestView { fold, key, call } = view;
            let for_client = call.is_for_client() && call.is_open() && !fold.is_stopped();
            let (kind, id, position) = match &call.request {
                Some(request) if view.is_open(now) => match view.tool_call_id() {
                    Some(_) => (AskKind::Approval, request.approval.as_str(), request.pos),
                    None => (AskKind::Question, request.approval.as_str(), request.pos),
                },
                _ if for_client => (AskKind::Call, call_id(key), call.pos),
                _ => return None,
            };
            Some(Ask {
                position,
                message_id: fold.message.id.clone(),
                kind,
                id: id.to_owned(),
                tool_call_id: view.tool_call_id().map(str::to_owned),
            })
        })
    }

    fn requests_in<'a>(
        &'a self,
        message_id: &str,
    ) -> impl Iterator<Item = RequestView<'a>> + use<'a> {
        let fold = self.messages.get(message_id).into_iter();
        fold.flat_map(|fold| fold.calls().map(move |(key, call)| RequestView { fold, key, call }))
    }

    /// Whether a message waits for a person or a client at `now`, as its agent said.
    pub fn is_asking(&self, message_id: &str, now: Timestamp) -> bool {
        self.asks_in(message_id, now).next().is_some()
    }

    /// Whether a message waits at `now`: for an answer, or for results of calls that its agent may run itself.
    pub fn is_waiting(&self, message_id: &str, now: Timestamp) -> bool {
        self.run(message_id).is_some_and(|run| run.has_open_calls())
            || self.is_asking(message_id, now)
    }

    /// The newest request of this id, of those in the message when one is named.
    pub fn request(&self, approval_id: &str, message_id: Option<&str>) -> Option<RequestView<'_>> {
        let mut sites = self.signals.requests_of(approval_id).iter();
        let site = sites.rfind(|site| message_id.is_none_or(|id| site.message == id))?;
        let fold = self.messages.get(&site.message)?;
        Some(RequestView { fold, key: &site.call, call: fold.call(&site.call)? })
    }

    /// Messages in which a request of this id is open at `now`, the oldest first.
    pub fn asking(&self, approval_id: &str, now: Timestamp) -> Vec<String> {
        let mut messages: Vec<String> = Vec::new();
        for site in self.signals.requests_of(approval_id) {
            let fold = self.messages.get(&site.message);
            let call = fold.and_then(|fold| Some((fold, fold.call(&site.call)?)));
            let open = call.is_some_and(|(fold, call)| {
                RequestView { fold, key: &site.call, call }.is_open(now)
            });
            if open && !messages.contains(&site.message) {
                messages.push(site.message.clone());
            }
        }
        messages
    }

    /// Requests of a message's last run that nobody answered in time.
    pub fn withdrawn_in<'a>(
        &'a self,
        message_id: &str,
        now: Timestamp,
    ) -> impl Iterator<Item = RequestView<'a>> + use<'a> {
        self.requests_in(message_id).filter(move |view| view.is_withdrawn(now))
    }

    /// The call of this id that a result is for, of those in the message when one is named: the newest that waits, else
    /// the newest.
    pub fn call(&self, tool_call_id: &str, message_id: Option<&str>) -> Option<CallView<'_>> {
        let calls = self.calls_of(tool_call_id, message_id);
        let open = calls.iter().rfind(|call| call.is_open());
        open.or(calls.last()).copied()
    }

    fn calls_of(&self, tool_call_id: &str, message_id: Option<&str>) -> Vec<CallView<'_>> {
        let sites = self.signals.calls_of(tool_call_id).iter();
        let sites = sites.filter(|site| message_id.is_none_or(|id| site.message == id));
        let views = sites.filter_map(|site| {
            let fold = self.messages.get(&site.message)?;
            Some(CallView { fold, key: &site.call, call: fold.call(&site.call)? })
        });
        views.collect()
    }

    /// Messages in which a call of this id waits for a result that a client may give, the oldest first.
    pub fn waiting_for(&self, tool_call_id: &str) -> Vec<String> {
        let mut messages: Vec<String> = Vec::new();
        for call in self.calls_of(tool_call_id, None) {
            let run = MessageRun { fold: call.fold };
            let theirs = call.is_for_client() || run.has_open_calls();
            if theirs
                && call.is_open()
                && !call.fold.is_stopped()
                && !messages.iter().any(|id| id == call.message_id())
            {
                messages.push(call.message_id().to_owned());
            }
        }
        messages
    }
}
