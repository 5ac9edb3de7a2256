//! Tool calls of one message: beginning, arguments, results, requests for approval.
//!
//! Agents choose the ids of their calls, and some use one id again: a counter that begins anew in every step or run, a
//! fixed word, the tool's name. A call whose arguments were complete and that starts again is another call, with a part
//! of its own, unless its arguments are the same: then the agent repeats what it said before. So is a call that is
//! repeated and then has another result. Inside the message a later call is known by its [key](super::table); the
//! session matches answers and results by id and place.
//!
//! A result is for the oldest call of its id in the newest run or step that has none yet, and for one that waits for a
//! person only where nothing else is left. A result that is older than a request never settles it.

use std::borrow::Cow;

use serde_json::Value;

use super::call::{ApprovalRequest, Call, Outcome, Repetition};
use super::message::IndexEvent;
use super::short::{self, short_text, short_value};
use super::signal::SignalKind;
use super::step::Step;
use super::table::call_id;
use crate::row::{Part, ToolCallPart};
use crate::text::Delta;

/// The meaning of a dialect's naming a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// A piece of its arguments, which may be the first: the dialect has no starts.
    Piece,
    /// The call starts.
    Whole,
    /// The call starts, and ids hold within a step: the same id in a later step is another call.
    InStep,
}

impl Step<'_> {
    pub(crate) fn has_call(&self, call_id: &str) -> bool {
        self.fold.scratch.calls.contains(&self.fold.scratch.calls.key(call_id))
    }

    /// A call. A second start of a call that is not complete can only name it; one of a call that is complete begins
    /// another one: at once in a later run or step, else when its arguments turn out to be others.
    pub(crate) fn tool_start(&mut self, call_id: &str, name: &str, start: Start) {
        self.calls();
        self.start_call(call_id, name, start);
    }

    fn start_call(&mut self, call_id: &str, name: &str, start: Start) {
        let name = &*self.short_words(name.to_owned());
        let key = self.fold.scratch.calls.key(call_id);
        let scratch = &mut self.fold.scratch;
        let (run, step) = (scratch.steps.run, scratch.steps.step);
        let Some(call) = scratch.calls.get_mut(&key) else {
            self.new_call(call_id, call_id, name);
            return;
        };
        if call.repeated.is_some() {
            return;
        }
        let at = call.part;
        let Some(Part::ToolCall(part)) = self.fold.message.parts.get_mut(at) else { return };
        let is_over = call.is_over();
        let later = (is_over && call.run < run) || (start == Start::InStep && call.step < step);
        if later {
            self.next_call(call_id, name);
            return;
        }
        let ended = match start {
            Start::Piece => is_over || (call.ready && part.input.is_some()),
            Start::Whole | Start::InStep => is_over || call.ready || !part.arguments.is_empty(),
        };
        let renamed = !name.is_empty() && !part.name.is_empty() && part.name != name;
        if ended || (renamed && start != Start::Piece) {
            call.repeated = Some(Repetition { name: name.to_owned(), arguments: String::new() });
            call.half = None;
            scratch.calls.open(&key);
            return;
        }
        if !name.is_empty() && part.name.is_empty() {
            name.clone_into(&mut part.name);
            self.tracker.set_part(&self.fold.message.id, at);
            scratch.outbox.push(IndexEvent::Touched(key.into_owned()));
        }
    }

    /// One more call with an id that the message has already; its key.
    fn next_call(&mut self, call_id: &str, name: &str) -> String {
        let key = self.fold.scratch.calls.next_key(call_id);
        self.new_call(&key, call_id, name);
        key
    }

    fn new_call(&mut self, key: &str, call_id: &str, name: &str) {
        let scratch = &mut self.fold.scratch;
        scratch.cursor.close_texts(self.subagent.as_deref());
        self.push_part(Part::ToolCall(ToolCallPart {
            id: call_id.to_owned(),
            name: name.to_owned(),
            ..ToolCallPart::default()
        }));
        self.insert_call(key);
    }

    fn insert_call(&mut self, key: &str) {
        let part = self.part_count() - 1;
        let in_snapshot = self.in_snapshot();
        let scratch = &mut self.fold.scratch;
        let number = scratch.runs.add_call(in_snapshot);
        let call =
            Call { number, ..Call::new(part, self.row.pos, scratch.steps.run, scratch.steps.step) };
        scratch.calls.insert(key, call);
        scratch.outbox.push(IndexEvent::Call(key.to_owned()));
    }

    /// The call's arguments are coming (the AI SDK has no state before that).
    pub(crate) fn tool_streaming(&mut self, call_id: &str) {
        let key = self.fold.scratch.calls.key(call_id);
        if let Some(call) = self.fold.scratch.calls.get_mut(&key)
            && call.repeated.is_none()
        {
            call.streaming = true;
            self.fold.refresh_call(&key, self.tracker);
        }
    }

    /// The client must run the call; one that nobody announced is announced by that. One that a later run asks for
    /// again waits again.
    pub(crate) fn client_call(&mut self, call_id: &str, name: &str, interrupt: Option<&str>) {
        if !self.has_call(call_id) {
            self.fold.scratch.stage.content();
            self.start_call(call_id, name, Start::Piece);
        }
        let (key, run, pos) =
            (self.fold.scratch.calls.key(call_id), self.fold.scratch.steps.run, self.row.pos);
        let Some(call) = self.fold.scratch.calls.get_mut(&key) else { return };
        if call.client_run.is_some_and(|asked| asked != run) {
            call.client_again = pos;
        }
        call.client_run = Some(run);
        if let Some(interrupt) = interrupt {
            call.interrupt = Some(interrupt.to_owned());
        }
        self.fold.refresh_call(&key, self.tracker);
    }

    /// The model's provider runs the call.
    pub(crate) fn by_provider(&mut self, call_id: &str) {
        let key = self.fold.scratch.calls.key(call_id);
        if let Some(call) = self.fold.scratch.calls.get_mut(&key) {
            call.by_provider = true;
        }
    }

    /// Takes note that a call's arguments are plain text, not JSON.
    pub(crate) fn tool_takes_text(&mut self, call_id: &str) {
        let key = self.fold.scratch.calls.key(call_id);
        if let Some(call) = self.fold.scratch.calls.get_mut(&key) {
            call.takes_text = true;
        }
    }

    /// Sets the words to show instead of a call's name.
    pub(crate) fn tool_title(&mut self, call_id: &str, title: Option<Cow<'_, str>>) {
        let Some(title) = title.filter(|title| !title.is_empty()) else { return };
        if self.drops() {
            return;
        }
        let key = self.fold.scratch.calls.key(call_id);
        let Some(call) = self.fold.scratch.calls.get(&key) else { return };
        if call.repeated.is_none()
            && let Some(Part::ToolCall(part)) = self.fold.message.parts.get_mut(call.part)
            && part.title.as_deref() != Some(&title)
        {
            part.title = Some(title.into_owned());
            self.tracker.set_part(&self.fold.message.id, call.part);
        }
    }

    /// Argument text; for an unknown call it is dropped.
    pub(crate) fn tool_arguments(&mut self, call_id: &str, delta: &Delta<'_>) {
        if delta.is_empty() {
            return;
        }
        let key = self.fold.scratch.calls.key(call_id);
        let append = if self.drops() {
            short::append
        } else {
            |text: &mut String, half: &mut Option<u16>, delta: &Delta<'_>| {
                delta.append_to(text, half)
            }
        };
        let Some(call) = self.fold.scratch.calls.get_mut(&key) else { return };
        if let Some(repeated) = &mut call.repeated {
            append(&mut repeated.arguments, &mut call.half, delta);
            return;
        }
        if call.ready && !call.takes_text && delta.is_blank() {
            // Blanks behind a value say nothing.
            return;
        }
        let at = call.part;
        let Some(Part::ToolCall(part)) = self.fold.message.parts.get_mut(at) else { return };
        let from = part.arguments.len();
        append(&mut part.arguments, &mut call.half, delta);
        if call.ready {
            // Arguments after they were complete: read them again at the end.
            call.ready = false;
            part.input = None;
            self.fold.scratch.calls.open(&key);
            self.tracker.set_part(&self.fold.message.id, at);
            self.fold.refresh_call(&key, self.tracker);
            // Its request shows the input, too.
            self.fold.scratch.outbox.push(IndexEvent::Touched(key.into_owned()));
        } else if from == 0 {
            self.tracker.set_part(&self.fold.message.id, at);
            self.fold.refresh_call(&key, self.tracker);
        } else if let Some(new) = part.arguments.get(from..) {
            self.tracker.append(&self.fold.message.id, at, new);
        }
    }

    /// The arguments are complete; `input` is their value when the writer says it.
    pub(crate) fn tool_ready(&mut self, call_id: &str, input: Option<Value>) {
        let key = self.fold.scratch.calls.key(call_id).into_owned();
        self.ready(&key, input);
    }

    /// A call with its whole input. Said again of a call whose input was said so, with another one, it is another call;
    /// of a call that began otherwise it only tells the input.
    pub(crate) fn tool_given(&mut self, call_id: &str, name: &str, input: Option<Value>) {
        let key = self.fold.scratch.calls.key(call_id).into_owned();
        let step = self.fold.scratch.steps.step;
        let known = self.fold.scratch.calls.get(&key);
        let tells = known.is_some_and(|call| {
            let began_whole = !call.ready || call.repeated.is_some();
            !call.is_over() && call.step == step && (began_whole || !call.given)
        });
        if !tells {
            self.start_call(call_id, name, Start::InStep);
        }
        self.calls();
        self.tool_ready(call_id, input);
        let key = self.fold.scratch.calls.key(call_id);
        if let Some(call) = self.fold.scratch.calls.get_mut(&key) {
            call.given = true;
        }
    }

    fn ready(&mut self, key: &str, input: Option<Value>) {
        let Some(call) = self.fold.scratch.calls.get_mut(key) else { return };
        if let Some(repeated) = call.repeated.take() {
            call.half = None;
            self.fold.scratch.calls.close(key);
            self.repeated(key, repeated, input);
            return;
        }
        if call.ready && input.is_none() {
            return;
        }
        call.ready = true;
        let at = call.part;
        let takes_text = call.takes_text;
        let drops = self.fold.drops();
        self.fold.scratch.calls.close(key);
        let Some(Part::ToolCall(part)) = self.fold.message.parts.get_mut(at) else { return };
        if let Some(input) = &input
            && part.arguments.is_empty()
        {
            part.arguments = match input {
                Value::String(text) if takes_text => text.clone(),
                input => input.to_string(),
            };
        }
        part.input = input.or_else(|| parsed(&part.arguments, takes_text));
        if drops {
            part.input = part.input.take().map(short_value);
            if part.input.is_some() {
                // What cannot be read yet may be when more of it comes.
                part.arguments = short_text(std::mem::take(&mut part.arguments));
            }
        }
        self.tracker.set_part(&self.fold.message.id, at);
        self.fold.refresh_call(key, self.tracker);
        self.fold.scratch.outbox.push(IndexEvent::Touched(key.to_owned()));
    }

    /// A call has started again and is complete: one of its id once more, or another one.
    fn repeated(&mut self, key: &str, mut new: Repetition, mut input: Option<Value>) {
        let id = call_id(key).to_owned();
        if self.was_cut(key, &new, input.as_ref()) {
            let Some(call) = self.fold.scratch.calls.get(key) else { return };
            let at = call.part;
            if let Some(Part::ToolCall(part)) = self.fold.message.parts.get_mut(at) {
                part.arguments = new.arguments;
                self.tracker.set_part(&self.fold.message.id, at);
            }
            self.ready(key, input);
            return;
        }
        // The newest may still be open; its arguments are read here, those of the others were when they were complete.
        self.ready(key, None);
        let told = input.is_some();
        let mut value = input.clone().or_else(|| parsed(&new.arguments, self.takes_text(key)));
        if self.drops() {
            value = value.map(short_value);
            new.arguments = short_text(new.arguments);
            // A fingerprint cannot be read again.
            input.clone_from(&value);
        }
        for (nth, key) in self.fold.scratch.calls.keys(&id) {
            let Some(alike) = self.alike(&key, &new, told, value.as_ref()) else {
                continue;
            };
            self.fold.scratch.calls.said_again(&id, alike.then_some(nth));
            return;
        }
        let name = match self.fold.call_part(key) {
            Some(part) if new.name.is_empty() => part.name.clone(),
            _ => new.name,
        };
        self.next_call(&id, &name);
        self.tool_arguments(&id, &Delta::whole(new.arguments));
        self.tool_ready(&id, input);
    }

    /// Whether a call whose arguments were cut off has begun once more.
    fn was_cut(&self, key: &str, new: &Repetition, input: Option<&Value>) -> bool {
        let (Some(call), Some(part)) = (self.fold.call(key), self.fold.call_part(key)) else {
            return false;
        };
        let same_name = new.name.is_empty() || part.name.is_empty() || new.name == part.name;
        if !same_name || call.ready || call.is_over() {
            return false;
        }
        let cut = serde_json::from_str::<serde::de::IgnoredAny>(&part.arguments).is_err();
        cut && (input.is_some() || new.arguments.starts_with(&part.arguments))
    }

    fn takes_text(&self, key: &str) -> bool {
        self.fold.call(key).is_some_and(|call| call.takes_text)
    }

    /// Whether a call is the one that is said again, with this input if one was `told`: `Some(false)` where nothing is
    /// said but its name, so that nobody can tell.
    fn alike(
        &self,
        key: &str,
        new: &Repetition,
        told: bool,
        input: Option<&Value>,
    ) -> Option<bool> {
        let part = self.fold.call_part(key)?;
        if !new.name.is_empty() && new.name != part.name {
            return None;
        }
        let same_input = input.is_some() && part.input.as_ref() == input;
        match told {
            true => same_input.then_some(true),
            false if same_input || new.arguments == part.arguments => Some(true),
            false => new.arguments.is_empty().then_some(false),
        }
    }

    /// Somebody mentions a call's input; it counts when the call has none.
    pub(crate) fn tool_input_hint(&mut self, call_id: &str, input: Option<&Value>) {
        let key = self.fold.scratch.calls.key(call_id);
        let has_input = self.fold.call_part(&key).is_some_and(|part| part.input.is_some());
        if !has_input && let Some(input) = input.filter(|input| !input.is_null()) {
            self.tool_ready(call_id, Some(input.clone()));
        }
    }

    /// Whatever ends a turn completes the arguments of its calls.
    pub(crate) fn complete_open_calls(&mut self) {
        for key in self.fold.scratch.calls.take_open() {
            self.ready(&key, None);
        }
    }

    /// Settles the calls of this id: what was said of them so far is all there will be.
    fn settle_starts(&mut self, call_id: &str) {
        let key = self.fold.scratch.calls.key(call_id).into_owned();
        if self.fold.scratch.calls.get(&key).is_some_and(|call| call.repeated.is_some()) {
            self.ready(&key, None);
        }
    }

    /// The call that a result of this id is for; `None` when the message has none.
    fn result_key(&mut self, call_id: &str) -> Option<String> {
        self.settle_starts(call_id);
        let newest = self.fold.scratch.calls.key(call_id).into_owned();
        let call = self.fold.call(&newest)?;
        let group = (call.run, call.step);
        let (mut free, mut asked) = (None, None);
        for (_, key) in self.fold.scratch.calls.keys(call_id) {
            let Some(call) = self.fold.call(&key) else { continue };
            if call.is_over() {
                continue;
            }
            let asks = call.request.is_some() && call.answered_here != Some(true);
            if asks {
                asked = asked.or(Some(key));
            } else if (call.run, call.step) == group || free.is_none() {
                free = Some(key);
            }
        }
        Some(free.or(asked).unwrap_or(newest))
    }

    /// A call's result: of a call of this message, else of one elsewhere. An agent knows results of its own calls only
    /// (L15).
    pub(crate) fn result(&mut self, call_id: &str, outcome: Outcome) {
        let outcome = self.short_outcome(outcome);
        if let Some(key) = self.result_key(call_id) {
            let key = self.again(call_id, &outcome).unwrap_or(key);
            self.settle_call(&key, outcome);
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

    /// The call that was said again and now has a result: the same call when that is the same, else another one.
    fn again(&mut self, call_id: &str, outcome: &Outcome) -> Option<String> {
        let key = self.fold.scratch.calls.take_again(call_id)?;
        let call = self.fold.call(&key)?;
        let Some(old) = call.result.as_ref().or(call.end_result.as_ref()) else {
            return Some(key);
        };
        if call.denied || old.is_same(outcome) || old.preliminary {
            return Some(key);
        }
        let (name, arguments, input) = self.copied(&key);
        Some(self.another_call(call_id, &name, arguments, input))
    }

    /// Notes the result of the call under this key.
    pub(super) fn settle_call(&mut self, key: &str, outcome: Outcome) {
        self.result_known(key);
        let Some(call) = self.fold.scratch.calls.get_mut(key) else { return };
        let old = call.result.as_ref();
        // What was final stays so, and what is said again is as old as it was.
        let same = old
            .is_some_and(|old| old.is_same(&outcome) || (outcome.preliminary && !old.preliminary));
        if !same {
            call.result = Some(outcome);
            self.fold.refresh_call(key, self.tracker);
        }
    }

    /// Takes down who gave the result of a call: its agent, which acted on what it was told, or somebody else.
    fn result_known(&mut self, key: &str) {
        let (is_answer, pos) = (self.is_answer(), self.row.pos);
        let scratch = &mut self.fold.scratch;
        let Some(call) = scratch.calls.get_mut(key) else { return };
        if is_answer {
            call.theirs = Some(pos);
            scratch.runs.answered.insert(key.to_owned());
        } else {
            call.known = Some(pos);
        }
    }

    /// The result on the end of a call, which any other result beats.
    pub(crate) fn end_result(&mut self, call_id: &str, outcome: Outcome) {
        let outcome = self.short_outcome(outcome);
        self.settle_starts(call_id);
        let key = self
            .again(call_id, &outcome)
            .unwrap_or_else(|| self.fold.scratch.calls.key(call_id).into_owned());
        self.result_known(&key);
        if let Some(call) = self.fold.scratch.calls.get_mut(&key) {
            call.end_result = Some(outcome);
            self.fold.refresh_call(&key, self.tracker);
        } else {
            self.result(call_id, outcome);
        }
    }

    /// The call was refused.
    pub(crate) fn tool_denied(&mut self, call_id: &str) {
        self.settle_starts(call_id);
        let asked = self.fold.scratch.calls.keys(call_id).map(|(_, key)| key).find(|key| {
            self.fold.call(key).is_some_and(|call| call.request.is_some() && !call.is_over())
        });
        if let Some(key) = asked.or_else(|| self.result_key(call_id)) {
            self.result_known(&key);
            if let Some(call) = self.fold.scratch.calls.get_mut(&key) {
                call.denied = true;
            }
            self.fold.refresh_call(&key, self.tracker);
        } else if self.by_agent() {
            self.refuse(1);
        } else {
            self.mark_signal();
        }
    }

    /// The call waits for a person. A request for a call nobody announced announces it; one for a call that is over or
    /// is another one, or that a later run asks again, is for another call of the same id.
    pub(crate) fn request(&mut self, call_id: &str, mut request: ApprovalRequest) {
        request.input = self.short_input(request.input);
        request.name = request.name.map(|name| self.short_words(name));
        request.reason = request.reason.filter(|_| !self.drops());
        if self.drops() {
            request.options.iter_mut().flatten().for_each(|option| option.name.clear());
        }
        if !self.has_call(call_id) {
            self.fold.scratch.stage.content();
            self.start_call(call_id, request.name.as_deref().unwrap_or_default(), Start::Piece);
            if request.input.is_some() {
                self.tool_ready(call_id, request.input.clone());
            }
        }
        self.settle_starts(call_id);
        let run = self.fold.scratch.steps.run;
        let keys: Vec<String> = self.fold.scratch.calls.keys(call_id).map(|(_, key)| key).collect();
        let is_known = |call: &Call| {
            !call.is_over()
                && call
                    .request
                    .as_ref()
                    .is_some_and(|old| old.approval == request.approval && old.run == run)
        };
        if keys.iter().any(|key| self.fold.call(key).is_some_and(is_known)) {
            return;
        }
        let key = match self.asked_key(&keys, &request) {
            Some(key) => key,
            None => self.ask_again(call_id, &request),
        };
        let Some(call) = self.fold.scratch.calls.get_mut(&key) else { return };
        request.pos = self.row.pos;
        request.run = run;
        request.by =
            self.row.actor.map(str::to_owned).or_else(|| self.fold.message.actor_id.clone());
        request.at = self.row.created_at.map(str::to_owned);
        let at = call.part;
        // What is asked for is what is shown.
        if let Some(input) = &request.input
            && call.ready
            && let Some(Part::ToolCall(part)) = self.fold.message.parts.get_mut(at)
            && part.input.as_ref() != Some(input)
        {
            part.input = Some(input.clone());
            self.tracker.set_part(&self.fold.message.id, at);
        }
        call.request = Some(request);
        call.answer = None;
        call.answered_here = None;
        self.fold.refresh_call(&key, self.tracker);
        self.fold.scratch.outbox.push(IndexEvent::Request(key));
    }

    /// Which of the calls under these keys, the newest first, a request is for; `None` when it is for another one.
    fn asked_key(&self, keys: &[String], request: &ApprovalRequest) -> Option<String> {
        let run = self.fold.scratch.steps.run;
        let can_be = |key: &&String| {
            let (Some(call), Some(part)) = (self.fold.call(key), self.fold.call_part(key)) else {
                return false;
            };
            let name = request.name.as_deref().unwrap_or_default();
            let other = !name.is_empty() && !part.name.is_empty() && part.name != name;
            // The same request in a later run is asked anew.
            let later = call
                .request
                .as_ref()
                .is_some_and(|old| old.approval == request.approval && old.run < run);
            !call.is_over() && !other && !later
        };
        let open: Vec<&String> = keys.iter().filter(can_be).collect();
        let unasked =
            |key: &&&String| self.fold.call(key).is_some_and(|call| call.request.is_none());
        let meant = |key: &&&String| {
            let input = self.fold.call_part(key).and_then(|part| part.input.as_ref());
            request.input.is_some() && input == request.input.as_ref()
        };
        let key = open.iter().rev().find(|key| unasked(key) && meant(key));
        let key = key.or_else(|| open.iter().rev().find(unasked)).or_else(|| open.first());
        key.map(|key| (**key).clone())
    }

    /// Another call of this id, which is asked for: like the newest one, as far as the request does not say otherwise.
    fn ask_again(&mut self, call_id: &str, request: &ApprovalRequest) -> String {
        let key = self.fold.scratch.calls.key(call_id).into_owned();
        let (name, arguments, input) = self.copied(&key);
        let other = request.name.as_ref().is_some_and(|new| *new != name)
            || request.input.as_ref().is_some_and(|new| Some(new) != input.as_ref());
        if other {
            let name = request.name.clone().unwrap_or(name);
            return self.another_call(call_id, &name, String::new(), request.input.clone());
        }
        self.another_call(call_id, &name, arguments, input)
    }

    /// Name, arguments and input of a call, for another one. A message copies in proportion to what it was told: what
    /// is too long is left out.
    fn copied(&self, key: &str) -> (String, String, Option<Value>) {
        let Some(part) = self.fold.call_part(key) else { return Default::default() };
        if !self.fold.scratch.budget.may_copy(part.arguments.len()) {
            return (part.name.clone(), String::new(), None);
        }
        (part.name.clone(), part.arguments.clone(), part.input.clone())
    }

    fn another_call(
        &mut self,
        call_id: &str,
        name: &str,
        arguments: String,
        input: Option<Value>,
    ) -> String {
        self.fold.scratch.budget.copy(arguments.len());
        let key = self.next_call(call_id, name);
        self.tool_arguments(call_id, &Delta::whole(arguments));
        self.ready(&key, input);
        key
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

/// Arguments as they are read when they are complete.
fn parsed(arguments: &str, is_text: bool) -> Option<Value> {
    if is_text { Some(arguments.into()) } else { serde_json::from_str(arguments).ok() }
}
