//! The operations that the dialects call: those that fold one row into one message.

use std::borrow::Cow;

use serde_json::Value;

use super::context::{RowContext, Shape};
use super::cursor::{Segment, SegmentKey, news};
use super::message::{IndexEvent, MessageFold};
use super::naming::Chunk;
use super::places::Origin;
use super::runs::Lifecycle;
use super::short::Heard;
use super::signal::{Signal, SignalKind};
use super::structured::Structured;
use super::table::question_key;
use super::track::Tracker;
use crate::row::{
    Citation, FinishReason, Message, MessageError, Part, Role, Stopped, StructuredStatus, Usage,
};
use crate::text::Delta;

/// One row meeting one message: what the dialects call.
pub(crate) struct Step<'a> {
    pub(super) fold: &'a mut MessageFold,
    pub(super) row: &'a RowContext<'a>,
    pub(super) tracker: &'a mut Tracker,
    /// The subagent whose work the chunk is.
    pub(crate) subagent: Option<Cow<'a, str>>,
}

/// How far back the last part of a subagent is looked for.
const LOOK_BACK: usize = 64;

impl<'a> Step<'a> {
    /// A row about to be folded.
    pub(crate) fn new(
        fold: &'a mut MessageFold,
        row: &'a RowContext<'a>,
        tracker: &'a mut Tracker,
    ) -> Self {
        Self { fold, row, tracker, subagent: None }
    }

    /// Position of the row.
    pub(crate) fn position(&self) -> u64 {
        self.row.pos
    }

    /// The row's actor when it is not the message's.
    pub(crate) fn foreign_actor(&self) -> Option<String> {
        self.row
            .actor
            .filter(|actor| self.fold.message.actor_id.as_deref() != Some(actor))
            .map(str::to_owned)
    }

    /// Whether an agent wrote the row: what people say and decide does not count in it (L15).
    ///
    /// A session server writes every agent's output as role `assistant` and every person's wish as `user`. The writers
    /// of bare streams and entity streams do not say who they are.
    pub(crate) fn by_agent(&self) -> bool {
        self.in_rows() && self.row.role == Some(Role::Assistant)
    }

    /// Leaves out something that the row's writer may not say, and counts it (L15).
    pub(crate) fn refuse(&mut self, chunks: u64) {
        let refused = &mut self.fold.message.refused;
        *refused = refused.saturating_add(chunks);
        self.fold.scratch.meta_dirty = true;
    }

    /// Whether the message is made of chunk rows, not of a bare stream's events.
    pub(crate) fn in_rows(&self) -> bool {
        self.fold.shape == Shape::Rows
    }

    // Lifecycle.

    /// The message goes on: what ended it is superseded.
    pub(crate) fn reopen(&mut self) {
        self.goes_on();
        self.resume();
    }

    /// Goes on as [`Self::reopen`] does, where that says nothing about the run.
    pub(super) fn resume(&mut self) {
        let scratch = &mut self.fold.scratch;
        if scratch.stage.resume() {
            scratch.meta_dirty = true;
            self.fold.message.stopped = None;
            self.fold.message.finish_reason = None;
        }
    }

    /// A run starts.
    pub(crate) fn run_started(&mut self) {
        self.reopen();
        self.run_begins();
        self.next_step();
        if self.fold.message.error.take().is_some() {
            self.fold.scratch.meta_dirty = true;
        }
    }

    /// A step starts.
    pub(crate) fn next_step(&mut self) {
        let step = &mut self.fold.scratch.steps.step;
        *step = step.saturating_add(1);
    }

    pub(super) fn end(&mut self) {
        self.fold.scratch.stage.end();
        self.fold.scratch.meta_dirty = true;
    }

    /// Ends the message well.
    pub(crate) fn finish(&mut self, reason: Option<FinishReason>) {
        self.ends(Lifecycle::Finished, reason);
        self.end();
        if reason.is_some() {
            self.fold.message.finish_reason = reason;
        }
    }

    /// Ends the message, which failed.
    pub(crate) fn fail(&mut self, error: MessageError) {
        self.ends(Lifecycle::Failed, None);
        let dropped = || MessageError { message: String::new(), code: None };
        let error = if self.drops() { dropped() } else { error };
        self.end();
        self.fold.message.error = Some(error);
        self.fold.message.finish_reason = Some(FinishReason::Error);
    }

    /// Somebody stopped it.
    pub(crate) fn stop(&mut self, stopped: Stopped) {
        self.ends(Lifecycle::Stopped, None);
        self.end();
        let stopped =
            Stopped { reason: stopped.reason.map(|reason| self.short_words(reason)), ..stopped };
        self.fold.message.stopped = Some(stopped);
    }

    /// An entity's status says whether it is complete, whatever else comes.
    pub(crate) fn lock(&mut self, complete: bool) {
        self.fold.scratch.stage.lock(complete);
    }

    /// Hides the message for good.
    pub(crate) fn hide(&mut self) {
        self.fold.scratch.stage.hide();
    }

    pub(crate) fn set_role(&mut self, role: Role) {
        if self.fold.message.role != role {
            self.fold.message.role = role;
            self.fold.scratch.meta_dirty = true;
        }
    }

    /// The role in an event counts only where rows do not have one.
    pub(crate) fn set_bare_role(&mut self, role: Role) {
        if self.fold.shape == Shape::Bare {
            self.set_role(role);
        }
    }

    pub(crate) fn set_actor(&mut self, actor: &str) {
        self.fold.message.actor_id = Some(actor.to_owned());
        self.fold.scratch.meta_dirty = true;
    }

    /// The end of a text completes a person's message in a bare stream: nothing else will.
    pub(crate) fn end_bare_message(&mut self) {
        if self.fold.shape == Shape::Bare && self.fold.message.role != Role::Assistant {
            self.finish(None);
        }
    }

    // Tokens.

    pub(crate) fn add_usage(&mut self, usage: Usage) {
        let all = self.fold.scratch.tokens.add(usage);
        self.set_usage(all);
    }

    /// Metadata is merged, so the last usage in it counts.
    pub(crate) fn set_metadata_usage(&mut self, usage: Usage) {
        let all = self.fold.scratch.tokens.set_metadata(usage);
        self.set_usage(all);
    }

    fn set_usage(&mut self, all: Usage) {
        self.fold.message.usage = Some(all);
        self.fold.scratch.meta_dirty = true;
    }

    // Text and reasoning.

    fn text_of(&mut self, part: usize) -> Option<&mut String> {
        match self.fold.message.parts.get_mut(part) {
            Some(Part::Text { text, .. } | Part::Reasoning { text, .. }) => Some(text),
            _ => None,
        }
    }

    /// Appends to the open text at this place among the open ones.
    fn append_text(&mut self, at: usize, delta: &Delta<'_>) {
        let fold = &mut *self.fold;
        append(
            fold.scratch.cursor.texts.get_mut(at),
            &mut fold.message,
            &mut fold.heard,
            delta,
            self.tracker,
        );
    }

    /// Appends to the open thought at this place among the open ones.
    fn append_thought(&mut self, at: usize, delta: &Delta<'_>) {
        let fold = &mut *self.fold;
        append(
            fold.scratch.cursor.thoughts.get_mut(at),
            &mut fold.message,
            &mut fold.heard,
            delta,
            self.tracker,
        );
    }

    /// Appends a new part and says so.
    pub(crate) fn push_part(&mut self, part: Part) {
        self.push_part_of(None, part);
    }

    /// Appends a part of the writer's message of this key.
    fn push_part_of(&mut self, key: Option<&SegmentKey<'_>>, mut part: Part) {
        if self.drops() {
            self.fold.scratch.stage.content();
            match &mut part {
                Part::ToolCall(_) => {}
                Part::Question(question) => {
                    (question.message, question.response_schema) = (None, None);
                }
                Part::Text { .. } if self.is_heard() => {}
                Part::Text { text, .. } => return self.drop_words(text),
                _ => return self.drop_other(),
            }
        }
        if let Some(by) = self.subagent.as_deref() {
            match &mut part {
                Part::Text { subagent, .. } | Part::Reasoning { subagent, .. } => {
                    *subagent = Some(by.to_owned());
                }
                Part::ToolCall(call) => call.subagent = Some(by.to_owned()),
                Part::Activity(activity) => activity.subagent = Some(by.to_owned()),
                Part::Question(question) => question.subagent = Some(by.to_owned()),
                _ => {}
            }
        }
        self.fold.scratch.stage.content();
        self.place(key, part);
    }

    pub(super) fn place(&mut self, key: Option<&SegmentKey<'_>>, part: Part) {
        let scratch = &mut self.fold.scratch;
        let key = match key {
            Some(SegmentKey::Id(id) | SegmentKey::Step(id)) => Some(id.as_ref().into()),
            Some(SegmentKey::Legacy | SegmentKey::Thinking) | None => None,
        };
        let streamed = scratch.before.is_none() && !scratch.stage.is_stating();
        scratch.places.origins.push(Origin { key, streamed });
        self.fold.message.parts.push(part);
        self.tracker.set_part(&self.fold.message.id, self.fold.message.parts.len() - 1);
    }

    /// The last part of the present writer, the agent itself or one of its subagents.
    fn last_part(&self) -> Option<&Part> {
        let by = self.subagent.as_deref();
        let parts = self.fold.message.parts.iter().rev().take(LOOK_BACK);
        parts.into_iter().find(|part| part.subagent() == by && !matches!(part, Part::Subagent(_)))
    }

    /// A part that is not kept.
    pub(super) fn drop_part(&mut self) {
        self.push_part(Part::StepStart);
    }

    pub(crate) fn has_parts(&self) -> bool {
        !self.fold.message.parts.is_empty()
    }

    /// A whole text of the writer's message of this key.
    pub(crate) fn push_text(&mut self, key: &SegmentKey<'_>, text: &str) {
        self.push_part_of(Some(key), Part::text(text));
    }

    /// A whole thought of the writer's message of this key.
    pub(crate) fn push_reasoning(&mut self, key: &SegmentKey<'_>, text: &str) {
        self.push_part_of(Some(key), Part::reasoning(text));
    }

    /// The key of the writer's text of this id: ids of subagents are their own.
    pub(crate) fn text_key<'k>(&self, key: SegmentKey<'k>) -> SegmentKey<'k> {
        let Some(subagent) = self.subagent.as_deref() else { return key };
        SegmentKey::Id(Cow::Owned(match &key {
            SegmentKey::Id(id) | SegmentKey::Step(id) => format!("{subagent}\u{1f}{id}"),
            SegmentKey::Legacy | SegmentKey::Thinking => format!("{subagent}\u{1f}"),
        }))
    }

    pub(super) fn part_count(&self) -> usize {
        self.fold.message.parts.len()
    }

    /// A new AG-UI message begins inside this one.
    pub(crate) fn begin_message(&mut self, id: Option<&str>) {
        self.reopen();
        let parts = self.part_count();
        let scratch = &mut self.fold.scratch;
        scratch.naming.forget_text();
        if let Some(id) = id {
            scratch.cursor.begin_group(id, parts);
        }
    }

    /// Text for the open segment of `key`, or for a new one.
    ///
    /// A call, or another part that came after the segment's, closes it: the next delta opens a new
    /// part with only the new text. `content` (everything so far) counts only when there is no delta.
    pub(crate) fn text(
        &mut self,
        key: &SegmentKey<'_>,
        delta: Option<Delta<'_>>,
        content: Option<Delta<'_>>,
    ) {
        self.speaks(true);
        self.fold.scratch.stage.content();
        if self.drops_words() {
            if let Some(words) = [delta, content].into_iter().flatten().find(|d| !d.is_empty()) {
                self.drop_words(&words.into_text());
            }
            return;
        }
        let interrupted = !matches!(self.last_part(), Some(Part::Text { .. }) | None);
        let cursor = &mut self.fold.scratch.cursor;
        let at = cursor.texts.at(key).filter(|at| !interrupted || !cursor.interrupt(*at));
        if let Some(delta) = delta.filter(|delta| !delta.is_empty()) {
            let at = at.unwrap_or_else(|| self.open_text(key, false));
            self.append_text(at, &delta);
        } else if let Some(content) = content.filter(|content| !content.is_empty()) {
            self.cumulative_text(key, at, &content.into_text());
        }
    }

    fn open_text(&mut self, key: &SegmentKey<'_>, pinned: bool) -> usize {
        self.push_part_of(Some(key), Part::text(""));
        let segment = self.new_segment(key, pinned);
        self.fold.scratch.cursor.texts.open(segment)
    }

    /// The last part goes on under this key.
    fn new_segment(&self, key: &SegmentKey<'_>, pinned: bool) -> Segment {
        Segment {
            key: key.clone().into_owned(),
            subagent: self.subagent.as_deref().map(str::to_owned),
            part: self.part_count() - 1,
            half: None,
            base: None,
            pinned,
        }
    }

    /// The writer sent everything so far: take what is new of it.
    fn cumulative_text(&mut self, key: &SegmentKey<'_>, at: Option<usize>, content: &str) {
        let cursor = &mut self.fold.scratch.cursor;
        let base = match at.and_then(|at| cursor.texts.get(at).base) {
            Some(base) => base,
            None => cursor.said_before(&self.fold.message.parts, content),
        };
        let rest = content.get(base..).unwrap_or(content);
        if at.is_none() && rest.is_empty() {
            return;
        }
        let at = at.unwrap_or_else(|| self.open_text(key, false));
        let segment = self.fold.scratch.cursor.texts.get_mut(at);
        segment.base = Some(base);
        let part = segment.part;
        if let Some(new) = self.text_of(part).and_then(|text| news(text, rest)) {
            self.append_text(at, &Delta::whole(new));
        }
    }

    /// Opens a text part of its own (AI SDK: parts are keyed by id).
    pub(crate) fn begin_text(&mut self, key: &SegmentKey<'_>) {
        if self.drops_words() {
            self.push_text(key, "");
            return;
        }
        self.end_text(key);
        self.open_text(key, true);
    }

    /// The open text of this key rests on these sources.
    pub(crate) fn cite(&mut self, key: &SegmentKey<'_>, found: Vec<Citation>) {
        let texts = &self.fold.scratch.cursor.texts;
        let Some(at) = texts.at(key).map(|at| texts.get(at).part) else { return };
        if let Some(Part::Text { citations, .. }) = self.fold.message.parts.get_mut(at) {
            *citations = found;
            self.tracker.set_part(&self.fold.message.id, at);
        }
    }

    /// Text under this key is over; more of it would be a new part.
    pub(crate) fn end_text(&mut self, key: &SegmentKey<'_>) {
        self.fold.scratch.cursor.texts.close(key);
    }

    /// Text for the part of this id, wherever it is.
    pub(crate) fn text_by_id(&mut self, key: &SegmentKey<'_>, delta: Option<Delta<'_>>) {
        self.speaks(true);
        let Some(delta) = delta.filter(|delta| !delta.is_empty()) else { return };
        if self.drops_words() {
            self.push_text(key, &delta.into_text());
            return;
        }
        let at = self.fold.scratch.cursor.texts.at(key);
        let at = at.unwrap_or_else(|| self.open_text(key, true));
        self.append_text(at, &delta);
    }

    /// Text for the last part when that is text, else for the part of this id.
    pub(crate) fn text_at_end(&mut self, key: &SegmentKey<'_>, delta: Option<Delta<'_>>) {
        let last = self.part_count().checked_sub(1);
        match self.fold.scratch.cursor.texts.key_of(last) {
            Some(open) if open != key => {
                let key = open.clone();
                self.text_by_id(&key, delta);
            }
            _ => self.text_by_id(key, delta),
        }
    }

    /// Reasoning for the last part when that is reasoning, else for the part of this id.
    pub(crate) fn reasoning_at_end(&mut self, key: &SegmentKey<'_>, delta: Option<Delta<'_>>) {
        let last = self.part_count().checked_sub(1);
        match self.fold.scratch.cursor.thoughts.key_of(last) {
            Some(open) if open != key => {
                let key = open.clone();
                self.reasoning(&key, delta, None);
            }
            _ => self.reasoning(key, delta, None),
        }
    }

    /// Text that goes on under this key belongs to the last part, when that is text.
    pub(crate) fn resume_text(&mut self, key: &SegmentKey<'_>) {
        if !self.drops_words() && matches!(self.fold.message.parts.last(), Some(Part::Text { .. }))
        {
            let segment = self.new_segment(key, false);
            self.fold.scratch.cursor.texts.open(segment);
        }
        if let SegmentKey::Id(id) = key
            && self.subagent.is_none()
        {
            self.fold.scratch.cursor.join_group(id.clone().into_owned());
        }
    }

    /// Forgets which parts text and reasoning ids stand for.
    pub(crate) fn forget_segments(&mut self) {
        self.fold.scratch.cursor.forget();
    }

    /// Makes reasoning of the text at the end: it turned out to be a thought.
    pub(crate) fn rethink(&mut self) {
        let mut at = self.part_count();
        while let Some(part) = at.checked_sub(1)
            && let Part::Text { text, subagent, .. } = &mut self.fold.message.parts[part]
        {
            let (text, subagent) = (std::mem::take(text), subagent.take());
            self.fold.message.parts[part] = Part::Reasoning { text, subagent };
            self.tracker.set_part(&self.fold.message.id, part);
            at = part;
        }
        self.fold.scratch.cursor.cut_texts(at);
    }

    /// Opens a reasoning part of its own.
    pub(crate) fn begin_reasoning(&mut self, key: &SegmentKey<'_>) {
        self.close_segment(key);
        if self.drops() {
            self.drop_thought(key);
        } else {
            self.open_reasoning(key);
        }
    }

    /// The next reasoning under this key is a new part.
    pub(crate) fn close_segment(&mut self, key: &SegmentKey<'_>) {
        self.fold.scratch.cursor.thoughts.close(key);
    }

    fn drop_thought(&mut self, key: &SegmentKey<'_>) {
        self.push_reasoning(key, "");
        if self.is_heard() && self.fold.scratch.cursor.thoughts.len() < LOOK_BACK {
            let segment = self.new_segment(key, true);
            self.fold.scratch.cursor.thoughts.open(segment);
        }
    }

    fn open_reasoning(&mut self, key: &SegmentKey<'_>) -> usize {
        self.push_part_of(Some(key), Part::reasoning(""));
        let segment = self.new_segment(key, true);
        self.fold.scratch.cursor.thoughts.open(segment)
    }

    /// Reasoning for the part of `key`, which stays where it began.
    pub(crate) fn reasoning(
        &mut self,
        key: &SegmentKey<'_>,
        delta: Option<Delta<'_>>,
        content: Option<Delta<'_>>,
    ) {
        self.speaks(false);
        self.fold.scratch.stage.content();
        let delta = delta.filter(|delta| !delta.is_empty());
        let content = content.filter(|content| !content.is_empty());
        if delta.is_none() && content.is_none() {
            return;
        }
        if self.drops() {
            // Where words are heard, a thought that goes on elsewhere does not cut them.
            let known = self.is_heard() && self.fold.scratch.cursor.thoughts.contains(key);
            if !known {
                self.drop_thought(key);
            }
            return;
        }
        let at = self.fold.scratch.cursor.thoughts.at(key);
        let at = at.unwrap_or_else(|| self.open_reasoning(key));
        if let Some(delta) = delta {
            self.append_thought(at, &delta);
        } else if let Some(content) = content {
            let content = content.into_text();
            let part = self.fold.scratch.cursor.thoughts.get(at).part;
            if let Some(new) = self.text_of(part).and_then(|text| news(text, &content)) {
                self.append_thought(at, &Delta::whole(new));
            }
        }
    }

    pub(crate) fn thinking_step(&self) -> Option<&str> {
        self.fold.scratch.naming.thinking_step.as_deref()
    }

    pub(crate) fn set_thinking_step(&mut self, step: Option<&str>) {
        self.fold.scratch.naming.thinking_step = step.map(str::to_owned);
    }

    pub(crate) fn saw_reasoning(&mut self) {
        self.fold.scratch.naming.saw_reasoning = true;
    }

    pub(crate) fn has_reasoning(&self) -> bool {
        self.fold.scratch.naming.saw_reasoning
    }

    /// The name in the last chunk of this kind that named something.
    pub(crate) fn chunk_of(&self, kind: Chunk) -> Option<&str> {
        let by = self.subagent.as_deref().unwrap_or_default();
        self.fold.scratch.naming.chunk_of(by, kind)
    }

    /// A chunk names what it is a piece of; later ones may leave that out.
    pub(crate) fn set_chunk(&mut self, kind: Chunk, id: &str) {
        let by = self.subagent.as_deref().unwrap_or_default();
        self.fold.scratch.naming.set_chunk(by, kind, id);
    }

    /// Models sometimes end with a message of nothing but blank lines; it is not shown.
    pub(crate) fn drop_blank_tail(&mut self) {
        let start = self.fold.scratch.cursor.group_start();
        let message = &mut self.fold.message;
        let Some(tail) = message.parts.get(start..) else { return };
        let blank = |part: &Part| matches!(part, Part::Text { text, .. } if text.trim().is_empty());
        if message.role != Role::Assistant || tail.is_empty() || !tail.iter().all(blank) {
            return;
        }
        self.cut_parts(start);
    }

    /// Takes back every part from this place on, with what is known of its calls.
    fn cut_parts(&mut self, start: usize) {
        let scratch = &mut self.fold.scratch;
        for part in self.fold.message.parts.drain(start..) {
            match part {
                Part::ToolCall(part) => {
                    let gone = scratch.calls.forget(&part.id, start);
                    scratch.outbox.extend(gone.into_iter().map(IndexEvent::Touched));
                }
                Part::Question(question) => {
                    let key = question_key(&question.approval.id);
                    if scratch.calls.remove_question(&key) {
                        scratch.outbox.push(IndexEvent::Touched(key));
                    }
                }
                part => scratch.places.forget(part),
            }
        }
        scratch.places.origins.truncate(start);
        scratch.cursor.cut(start);
        scratch.structured.cut(start);
        self.tracker.replaced(&self.fold.message.id);
    }

    /// A step of the AI SDK starts: it may be taken back.
    pub(crate) fn start_step(&mut self) {
        self.next_step();
        self.push_part(Part::StepStart);
        let parts = self.part_count();
        self.fold.scratch.cursor.begin_step(parts);
    }

    /// The step is taken back, to be tried again.
    pub(crate) fn reset_step(&mut self) {
        let start = self.fold.scratch.cursor.step_start();
        self.forget_segments();
        if start < self.part_count() {
            self.cut_parts(start);
        }
    }

    /// A generation of this id starts. One with another id, before the first has ended, begins the message anew.
    pub(crate) fn generation_started(&mut self, id: &str) {
        let scratch = &mut self.fold.scratch;
        let other = scratch.steps.generation.as_deref().is_some_and(|known| known != id);
        scratch.steps.generation = Some(id.to_owned());
        if other && !scratch.stage.has_ended() {
            scratch.cursor.begin_step(0);
            self.reset_step();
        }
    }

    // Data and structured output.

    /// A data part; the same name and id replace it.
    pub(crate) fn data(&mut self, name: &str, id: Option<&str>, data: Value) {
        if self.drops() {
            self.drop_part();
            return;
        }
        let key = (name.to_owned(), id.map(str::to_owned));
        let at = id.and_then(|_| self.fold.scratch.places.data.get(&key).copied());
        let part = Part::Data { name: name.to_owned(), id: id.map(str::to_owned), data };
        match at {
            Some(at) => {
                if self.fold.message.parts.get(at) != Some(&part) {
                    self.fold.message.parts[at] = part;
                    self.tracker.set_part(&self.fold.message.id, at);
                }
            }
            None => {
                self.push_part(part);
                let at = self.part_count() - 1;
                self.fold.scratch.places.data.insert(key, at);
            }
        }
    }

    /// The text that follows is a structured output.
    pub(crate) fn structured_started(&mut self) {
        self.fold.scratch.structured = Structured::Begun;
    }

    /// Takes text for the structured output that is being written; false when there is none.
    pub(crate) fn structured_text(&mut self, delta: &Delta<'_>) -> bool {
        let mut half = match self.fold.scratch.structured {
            Structured::None => return false,
            Structured::Begun => None,
            Structured::Writing { half, .. } => half,
        };
        self.speaks(true);
        let part = self.structured_part();
        if let Some(Part::StructuredOutput { raw, .. }) = self.fold.message.parts.get_mut(part) {
            let from = raw.len();
            delta.append_to(raw, &mut half);
            self.tracker.append(&self.fold.message.id, part, &raw[from..]);
        }
        self.fold.scratch.structured = Structured::Writing { part, half };
        true
    }

    /// The part of the structured output, which may begin with it.
    fn structured_part(&mut self) -> usize {
        if let Some(part) = self.fold.scratch.structured.part() {
            return part;
        }
        self.push_part(Part::StructuredOutput {
            status: StructuredStatus::Streaming,
            raw: String::new(),
            object: None,
        });
        self.part_count() - 1
    }

    /// The structured output is there.
    pub(crate) fn structured_complete(&mut self, value: Value, text: Option<&str>) {
        let at = self.structured_part();
        self.fold.scratch.structured = Structured::None;
        if let Some(Part::StructuredOutput { status, raw, object }) =
            self.fold.message.parts.get_mut(at)
        {
            *status = StructuredStatus::Complete;
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                text.clone_into(raw);
            } else if raw.is_empty() {
                *raw = value.to_string();
            }
            *object = Some(value);
            self.tracker.set_part(&self.fold.message.id, at);
        }
    }

    /// Ends the structured output without its object.
    pub(crate) fn structured_failed(&mut self) {
        if let Some(at) = std::mem::take(&mut self.fold.scratch.structured).part()
            && let Some(Part::StructuredOutput { status, .. }) = self.fold.message.parts.get_mut(at)
        {
            *status = StructuredStatus::Error;
            self.tracker.set_part(&self.fold.message.id, at);
        }
    }

    // Signals.

    /// The message carries a signal.
    pub(crate) fn mark_signal(&mut self) {
        self.fold.scratch.stage.signal();
    }

    /// A signal for the session to match.
    pub(crate) fn signal(&mut self, kind: SignalKind) {
        self.mark_signal();
        if let SignalKind::Answer { approval, approved, .. } = &kind {
            self.answered_here(approval, *approved);
        }
        self.side_signal(kind);
    }

    /// A signal inside something else: the message is not one for it.
    pub(crate) fn side_signal(&mut self, kind: SignalKind) {
        let kind = self.short_signal(kind);
        let nth = self.fold.scratch.nth;
        self.fold.scratch.nth += 1;
        self.fold.scratch.given.push((self.row.pos, nth));
        self.fold.scratch.outbox.push(IndexEvent::Signal(Signal {
            pos: self.row.pos,
            nth,
            message: self.fold.message.id.clone(),
            by: self.row.actor.map(str::to_owned),
            at: self.row.created_at.map(str::to_owned),
            kind,
        }));
    }

    // Whole messages and snapshots.

    /// Begins a message that is in one row; false when this message already has contents.
    pub(crate) fn begin_whole(
        &mut self,
        id: Option<&str>,
        role: Option<Role>,
        created_at: Option<&str>,
    ) -> bool {
        if self.fold.scratch.stage.is_whole() && self.fold.shape != Shape::Bare {
            return false;
        }
        self.fold.scratch.stage.begin_whole();
        if self.has_parts() {
            return true;
        }
        self.fold.scratch.meta_dirty = true;
        let message = &mut self.fold.message;
        message.inner_id = id.filter(|id| !id.is_empty() && *id != message.id).map(str::to_owned);
        if let Some(role) = role {
            message.role = role;
        }
        // A time that is none (the name of a shell variable was seen) counts for nothing.
        if let Some(at) = created_at.filter(|at| crate::row::parse_time(at).is_some()) {
            message.created_at = Some(at.to_owned());
        }
        true
    }

    /// Ends it: a whole message is complete.
    pub(crate) fn end_whole(&mut self) {
        // One in the middle of an answer is a snapshot of it, which may go on.
        self.fold.scratch.stage.end_whole();
        self.ends(Lifecycle::Finished, None);
        self.end();
    }
}

/// Appends to the part of a segment, and says so.
fn append(
    segment: &mut Segment,
    message: &mut Message,
    heard: &mut Option<Heard>,
    delta: &Delta<'_>,
    tracker: &mut Tracker,
) {
    let Some(Part::Text { text, .. } | Part::Reasoning { text, .. }) =
        message.parts.get_mut(segment.part)
    else {
        return;
    };
    let from = text.len();
    delta.append_to(text, &mut segment.half);
    let new = &text[from..];
    if let Some(heard) = heard {
        heard.left = heard.left.saturating_sub(new.len());
    }
    tracker.append(&message.id, segment.part, new);
}
