//! Tool calls of one message: beginning, arguments, results, requests for approval.
//!
//! Agents choose the ids of their calls, and some use one id again: a counter that begins anew in every run, a fixed
//! word. A call that is over and starts again is another call, with a part of its own, unless its arguments are the
//! same: then the agent repeats what it said before. Inside the message a later call is known by its [`call_key`]; the
//! session matches answers and results by id and place.

use std::borrow::Cow;

use serde_json::Value;

use super::message::{Call, IndexEvent, Outcome, Repetition, Request, SignalKind};
use super::step::Step;
use crate::row::{Part, ToolCallPart, ToolState};
use crate::text::Delta;

/// Separates the id of a call from its number among the calls of this id in the message.
const NTH: char = '\u{1f}';

/// The key of a call inside its message: its id, and behind it its number when it is not the first of that id.
pub(super) fn call_key(id: &str, nth: u32) -> String {
    if nth == 0 { id.to_owned() } else { format!("{id}{NTH}{nth}") }
}

/// The id in a call's key.
pub(super) fn call_id(key: &str) -> &str {
    key.split_once(NTH).map_or(key, |(id, _)| id)
}

impl Step<'_> {
    /// The key of the newest call with this id.
    fn key<'k>(&self, call_id: &'k str) -> Cow<'k, str> {
        match self.fold.scratch.newest.get(call_id) {
            Some(nth) => Cow::Owned(call_key(call_id, *nth)),
            None => Cow::Borrowed(call_id),
        }
    }

    pub(crate) fn has_call(&self, call_id: &str) -> bool {
        self.fold.scratch.calls.contains_key(call_id)
    }

    /// A call. A second start of a call that is not over can only name it; one of a call that is over begins another
    /// one, at once in a later run, else when its arguments turn out to be others.
    pub(crate) fn tool_start(&mut self, call_id: &str, name: &str) {
        let key = self.key(call_id);
        let run = self.fold.scratch.run;
        let Some(call) = self.fold.scratch.calls.get_mut(&*key) else {
            self.new_call(call_id, call_id, name);
            return;
        };
        if call.is_over() {
            if call.run < run {
                self.next_call(call_id, name);
            } else if call.repeated.is_none() {
                call.repeated =
                    Some(Repetition { name: name.to_owned(), arguments: String::new() });
                self.fold.scratch.open_calls.push(key.into_owned());
            }
            return;
        }
        let at = call.part;
        if !name.is_empty()
            && let Some(Part::ToolCall(part)) = self.fold.message.parts.get_mut(at)
            && part.name.is_empty()
        {
            name.clone_into(&mut part.name);
            self.tracker.set_part(&self.fold.message.id, at);
            self.fold.scratch.outbox.push(IndexEvent::Touched(key.into_owned()));
        }
    }

    /// One more call with an id that the message has already.
    fn next_call(&mut self, call_id: &str, name: &str) {
        let nth = self.fold.scratch.newest.entry(call_id.to_owned()).or_default();
        *nth = nth.saturating_add(1);
        let key = call_key(call_id, *nth);
        self.new_call(&key, call_id, name);
    }

    fn new_call(&mut self, key: &str, call_id: &str, name: &str) {
        let scratch = &mut self.fold.scratch;
        let mut closed = Vec::new();
        scratch.texts.retain(|segment| {
            if !segment.pinned {
                closed.push(segment.part);
            }
            segment.pinned
        });
        scratch.closed.extend(closed);
        self.push_part(Part::ToolCall(ToolCallPart {
            id: call_id.to_owned(),
            name: name.to_owned(),
            arguments: String::new(),
            input: None,
            state: ToolState::Started,
            output: None,
            error: None,
            approval: None,
        }));
        self.insert_call(key);
    }

    pub(super) fn insert_call(&mut self, key: &str) {
        let part = self.part_count() - 1;
        let scratch = &mut self.fold.scratch;
        scratch.calls.insert(key.to_owned(), Call::new(part, self.row.pos, scratch.run));
        scratch.open_calls.push(key.to_owned());
        scratch.outbox.push(IndexEvent::Call(key.to_owned()));
    }

    /// The call's arguments are coming (the AI SDK has no state before that).
    pub(crate) fn tool_streaming(&mut self, call_id: &str) {
        let key = self.key(call_id);
        if let Some(call) = self.fold.scratch.calls.get_mut(&*key)
            && call.repeated.is_none()
        {
            call.streaming = true;
            self.fold.refresh_call(&key, self.tracker);
        }
    }

    /// Argument text; for an unknown call it is dropped.
    pub(crate) fn tool_arguments(&mut self, call_id: &str, delta: &Delta<'_>) {
        if delta.is_empty() {
            return;
        }
        let key = self.key(call_id);
        let Some(call) = self.fold.scratch.calls.get_mut(&*key) else { return };
        if let Some(repeated) = &mut call.repeated {
            delta.append_to(&mut repeated.arguments, &mut call.half);
            return;
        }
        let at = call.part;
        let Some(Part::ToolCall(part)) = self.fold.message.parts.get_mut(at) else { return };
        let from = part.arguments.len();
        delta.append_to(&mut part.arguments, &mut call.half);
        if call.ready {
            // Arguments after they were complete: read them again at the end.
            call.ready = false;
            part.input = None;
            self.fold.scratch.open_calls.push(key.clone().into_owned());
            self.tracker.set_part(&self.fold.message.id, at);
            self.fold.refresh_call(&key, self.tracker);
            // Its request shows the input, too.
            self.fold.scratch.outbox.push(IndexEvent::Touched(key.into_owned()));
        } else if from == 0 {
            self.tracker.set_part(&self.fold.message.id, at);
            self.fold.refresh_call(&key, self.tracker);
        } else {
            self.tracker.append(&self.fold.message.id, at, &part.arguments[from..]);
        }
    }

    /// The arguments are complete; `input` is their value when the writer says it.
    pub(crate) fn tool_ready(&mut self, call_id: &str, input: Option<Value>) {
        let key = self.key(call_id).into_owned();
        self.ready(&key, input);
    }

    fn ready(&mut self, key: &str, input: Option<Value>) {
        let Some(call) = self.fold.scratch.calls.get_mut(key) else { return };
        if let Some(repeated) = call.repeated.take() {
            call.half = None;
            let at = call.part;
            self.fold.scratch.open_calls.retain(|open| open != key);
            self.repeated(key, at, &repeated, input);
            return;
        }
        if call.ready && input.is_none() {
            return;
        }
        call.ready = true;
        let at = call.part;
        self.fold.scratch.open_calls.retain(|open| open != key);
        let Some(Part::ToolCall(part)) = self.fold.message.parts.get_mut(at) else { return };
        if let Some(input) = &input
            && part.arguments.is_empty()
        {
            part.arguments = input.to_string();
        }
        part.input = input.or_else(|| serde_json::from_str(&part.arguments).ok());
        self.tracker.set_part(&self.fold.message.id, at);
        self.fold.refresh_call(key, self.tracker);
        self.fold.scratch.outbox.push(IndexEvent::Touched(key.to_owned()));
    }

    /// A call that was over has started again and is complete: the same call once more, or another one.
    fn repeated(&mut self, key: &str, at: usize, repeated: &Repetition, input: Option<Value>) {
        let Some(Part::ToolCall(part)) = self.fold.message.parts.get(at) else { return };
        let Repetition { name, arguments } = repeated;
        let same_name = name.is_empty() || *name == part.name;
        let same_arguments = match &input {
            Some(input) => part.input.as_ref() == Some(input),
            None => {
                arguments.is_empty()
                    || *arguments == part.arguments
                    || serde_json::from_str(arguments)
                        .ok()
                        .is_some_and(|new: Value| part.input == Some(new))
            }
        };
        if same_name && same_arguments {
            return;
        }
        let id = call_id(key).to_owned();
        let name = if name.is_empty() { part.name.clone() } else { name.clone() };
        self.next_call(&id, &name);
        self.tool_arguments(&id, &Delta::whole(arguments.as_str()));
        self.tool_ready(&id, input);
    }

    /// Somebody mentions a call's input; it counts when the call has none.
    pub(crate) fn tool_input_hint(&mut self, call_id: &str, input: Option<&Value>) {
        let key = self.key(call_id);
        let has_input = self.fold.call_part(&key).is_some_and(|part| part.input.is_some());
        if !has_input && let Some(input) = input.filter(|input| !input.is_null()) {
            self.tool_ready(call_id, Some(input.clone()));
        }
    }

    /// Whatever ends a turn completes the arguments of its calls.
    pub(crate) fn complete_open_calls(&mut self) {
        for key in std::mem::take(&mut self.fold.scratch.open_calls) {
            self.ready(&key, None);
        }
    }

    /// The newest call with this id, when what was said of it so far is all there will be.
    fn settled_key(&mut self, call_id: &str) -> String {
        let key = self.key(call_id).into_owned();
        if self.fold.scratch.calls.get(&key).is_some_and(|call| call.repeated.is_some()) {
            self.ready(&key, None);
        }
        self.key(call_id).into_owned()
    }

    /// A call's result: of a call of this message, else of one elsewhere. An agent knows results of its own calls only
    /// (L15).
    pub(crate) fn result(&mut self, call_id: &str, outcome: Outcome) {
        let key = self.settled_key(call_id);
        if let Some(call) = self.fold.scratch.calls.get_mut(&key) {
            call.result = Some(outcome);
            self.fold.refresh_call(&key, self.tracker);
        } else if self.by_agent() {
            self.refuse(1);
        } else {
            // Nothing is nothing, before and after the signal was stored.
            self.signal(SignalKind::Result {
                call: call_id.to_owned(),
                output: outcome.output.filter(|output| !output.is_null()),
                error: outcome.error,
            });
        }
    }

    /// The result on the end of a call, which any other result beats.
    pub(crate) fn end_result(&mut self, call_id: &str, outcome: Outcome) {
        let key = self.settled_key(call_id);
        if let Some(call) = self.fold.scratch.calls.get_mut(&key) {
            call.end_result = Some(outcome);
            self.fold.refresh_call(&key, self.tracker);
        } else {
            self.result(call_id, outcome);
        }
    }

    /// The call was refused.
    pub(crate) fn tool_denied(&mut self, call_id: &str) {
        let key = self.settled_key(call_id);
        if let Some(call) = self.fold.scratch.calls.get_mut(&key) {
            call.denied = true;
            self.fold.refresh_call(&key, self.tracker);
        } else if self.by_agent() {
            self.refuse(1);
        } else {
            self.mark_signal();
        }
    }

    /// The call waits for a person. A request for a call nobody announced announces it; one for a call that is over, or
    /// that a later run asks again, is for another call of the same kind.
    pub(crate) fn request(&mut self, call_id: &str, mut request: Request) {
        if !self.has_call(call_id) {
            self.fold.scratch.content = true;
            self.tool_start(call_id, request.name.as_deref().unwrap_or_default());
            if request.input.is_some() {
                self.tool_ready(call_id, request.input.clone());
            }
        }
        let mut key = self.settled_key(call_id);
        let run = self.fold.scratch.run;
        let Some(call) = self.fold.scratch.calls.get(&key) else { return };
        let known = call.request.as_ref().filter(|old| old.approval == request.approval);
        if call.is_over() || known.is_some_and(|old| old.run < run) {
            self.ask_again(call_id, &key);
            key = self.key(call_id).into_owned();
        } else if known.is_some() {
            return;
        }
        let Some(call) = self.fold.scratch.calls.get_mut(&key) else { return };
        request.pos = self.row.pos;
        request.run = run;
        request.by =
            self.row.actor.map(str::to_owned).or_else(|| self.fold.message.actor_id.clone());
        request.at = self.row.created_at.map(str::to_owned);
        call.request = Some(request);
        call.answer = None;
        self.fold.refresh_call(&key, self.tracker);
        self.fold.scratch.outbox.push(IndexEvent::Request(key));
    }

    /// Another call like the one under this key, which is asked for again.
    fn ask_again(&mut self, call_id: &str, key: &str) {
        let Some(ToolCallPart { name, arguments, input, .. }) = self.fold.call_part(key).cloned()
        else {
            return;
        };
        self.next_call(call_id, &name);
        self.tool_arguments(call_id, &Delta::whole(arguments));
        self.tool_ready(call_id, input);
    }

    /// A person's answer that stands in the message that asks: a call that was refused is over.
    pub(super) fn answered_here(&mut self, approval: &str, approved: bool) {
        for call in self.fold.scratch.calls.values_mut() {
            if call.request.as_ref().is_some_and(|request| request.approval == approval) {
                call.answered_here.get_or_insert(approved);
            }
        }
    }
}
