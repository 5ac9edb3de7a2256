//! A snapshot of a message in the middle of it.
//!
//! A snapshot says what its writer keeps, which is less than what people saw: thoughts, the place of a call between two
//! texts, cards, who was asked and what was answered are often not in it. So it is laid over the message: what it names
//! is as it says, in the place where it stood; what it does not carry stays, unless it had come from an earlier
//! snapshot only, or is a call that nothing came of; what is new in it stands behind what is before it there.
//!
//! Texts and thoughts are known again by their writer's id of them, else by their words; calls by id and arguments. A
//! text that is cut short in the snapshot is longer here already.
//!
//! What is compared is in proportion to the bytes of the message's rows. Beyond that a snapshot is all there is.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;

use super::before::Before;
use super::call::{Call, Outcome};
use super::message::IndexEvent;
use super::places::Origin;
use super::step::Step;
use super::table::{CallTable, call_id};
use super::track::Tracker;
use crate::row::{Part, ToolCallPart};

/// Texts, or thoughts, of one message of the writer.
struct Group {
    parts: Vec<usize>,
    text: String,
}

/// How the parts of a snapshot and those before it belong together.
#[derive(Default)]
struct Merge {
    /// For each part of the snapshot the part from before that it is.
    is: HashMap<usize, usize>,
    /// Parts from before with a new value.
    changed: HashMap<usize, Part>,
    /// Parts from before that are gone.
    gone: HashSet<usize>,
    /// Parts of the snapshot that say nothing.
    blank: HashSet<usize>,
}

impl Step<'_> {
    /// The parts that follow are those of a snapshot.
    pub(crate) fn begin_snapshot(&mut self) {
        let scratch = &mut self.fold.scratch;
        let parts = mem::take(&mut self.fold.message.parts);
        let bytes = parts.iter().map(size).sum();
        let mut before = Before {
            parts,
            places: mem::take(&mut scratch.places),
            calls: mem::take(&mut scratch.calls),
            cursor: mem::take(&mut scratch.cursor),
            structured: mem::take(&mut scratch.structured),
            tracker: mem::replace(self.tracker, Tracker::off()),
            said: scratch.outbox.len(),
            results: Vec::new(),
        };
        if !scratch.budget.compare(bytes) {
            // Nothing of before counts but that it is gone.
            let gone = before.calls.iter().map(|(key, _)| IndexEvent::Touched(key.clone()));
            scratch.outbox.extend(gone);
            let said = scratch.outbox.len();
            before = Before { tracker: before.tracker, said, ..Before::default() };
            before.tracker.replaced(&self.fold.message.id);
        }
        scratch.before = Some(Box::new(before));
    }

    /// A result in a snapshot, of a call that it names or of one from before.
    pub(crate) fn snapshot_result(&mut self, call_id: &str, outcome: Outcome) {
        let named = self.has_call(call_id);
        match &mut self.fold.scratch.before {
            Some(before) if !named && before.calls.contains(call_id) => {
                before.results.push((call_id.to_owned(), outcome));
            }
            _ => self.result(call_id, outcome),
        }
    }

    /// The snapshot is read: lays it over what was there.
    pub(crate) fn end_snapshot(&mut self) {
        let Some(before) = self.fold.scratch.before.take() else { return };
        let mut before = *before;
        *self.tracker = mem::take(&mut before.tracker);
        let said = self.fold.scratch.outbox.split_off(before.said);
        let signals = said.into_iter().filter(|event| matches!(event, IndexEvent::Signal(_)));
        self.fold.scratch.outbox.extend(signals);

        let new_parts = mem::take(&mut self.fold.message.parts);
        let new_origins = mem::take(&mut self.fold.scratch.places.origins);
        let new_calls = mem::take(&mut self.fold.scratch.calls);
        let mut merge = Merge::default();
        for of in [text_of, thought_of] {
            merge.words(&before, &new_parts, &new_origins, of);
        }
        let calls = merge.calls(&before, &new_parts, &new_calls);
        merge.others(&before, &new_parts);
        merge.leave_out(&before, &new_parts);

        let changed = !merge.changed.is_empty()
            || !merge.gone.is_empty()
            || merge.is.len() + merge.blank.len() < new_parts.len();
        let (old_at, new_at) = self.lay(&mut before, merge, new_parts, new_origins);
        self.take_segments(&mut before, &old_at, &new_at);
        let results = mem::take(&mut before.results);
        let touched = self.take_calls(before, &calls, new_calls, &old_at, &new_at);
        for (call, outcome) in results {
            self.result(&call, outcome);
        }
        if changed {
            self.resume();
            self.tracker.replaced(&self.fold.message.id);
        }
        for key in touched {
            self.fold.refresh_call(&key, self.tracker);
        }
    }

    /// Puts the parts in their order; where each of the old and new ones is now.
    fn lay(
        &mut self,
        before: &mut Before,
        mut merge: Merge,
        new_parts: Vec<Part>,
        new_origins: Vec<Origin>,
    ) -> (HashMap<usize, usize>, HashMap<usize, usize>) {
        // What is new stands behind the part that is before it in the snapshot.
        let mut behind: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
        let mut last = None;
        for at in 0..new_parts.len() {
            match merge.is.get(&at) {
                Some(old) => last = Some(*old),
                None if merge.blank.contains(&at) => {}
                None => behind.entry(last).or_default().push(at),
            }
        }
        let mut new: Vec<Option<(Part, Origin)>> =
            new_parts.into_iter().zip(new_origins).map(Some).collect();
        let (mut old_at, mut new_at) = (HashMap::new(), HashMap::new());
        let (mut parts, mut origins) = (Vec::new(), Vec::new());
        let mut insert =
            |after: Option<usize>, parts: &mut Vec<Part>, origins: &mut Vec<Origin>| {
                for at in behind.remove(&after).unwrap_or_default() {
                    if let Some((part, origin)) = new[at].take() {
                        new_at.insert(at, parts.len());
                        parts.push(part);
                        origins.push(origin);
                    }
                }
            };
        insert(None, &mut parts, &mut origins);
        let old =
            mem::take(&mut before.parts).into_iter().zip(mem::take(&mut before.places.origins));
        for (at, (part, origin)) in old.enumerate() {
            if !merge.gone.contains(&at) {
                old_at.insert(at, parts.len());
                parts.push(merge.changed.remove(&at).unwrap_or(part));
                origins.push(origin);
            }
            insert(Some(at), &mut parts, &mut origins);
        }
        for (new, old) in &merge.is {
            if let Some(at) = old_at.get(old) {
                new_at.insert(*new, *at);
            }
        }
        self.fold.message.parts = parts;
        self.fold.scratch.places.origins = origins;
        (old_at, new_at)
    }

    /// Keeps open what was open, at its new place.
    fn take_segments(
        &mut self,
        before: &mut Before,
        old_at: &HashMap<usize, usize>,
        new_at: &HashMap<usize, usize>,
    ) {
        let parts = self.fold.message.parts.len();
        let scratch = &mut self.fold.scratch;
        let (cursor, places) = (mem::take(&mut scratch.cursor), mem::take(&mut scratch.places));
        scratch.cursor = cursor.behind(mem::take(&mut before.cursor), old_at, new_at, parts);
        scratch.places = places.behind(mem::take(&mut before.places), old_at, new_at);
        scratch.structured = before.structured.moved(old_at);
    }

    /// Keeps what was known of calls where the snapshot is poorer. Returns the calls that may look different now.
    fn take_calls(
        &mut self,
        before: Before,
        calls: &HashMap<String, String>,
        mut new_calls: CallTable,
        old_at: &HashMap<usize, usize>,
        new_at: &HashMap<usize, usize>,
    ) -> Vec<String> {
        let scratch = &mut self.fold.scratch;
        let still_open = new_calls.take_open();
        scratch.calls = before.calls;
        let were_open = scratch.calls.take_open();
        let gone = scratch.calls.move_parts(old_at);
        scratch.outbox.extend(gone.into_iter().map(IndexEvent::Touched));
        let mut touched = Vec::new();
        for (key, new) in new_calls.into_calls() {
            let Some(at) = new_at.get(&new.part).copied() else { continue };
            let known = calls.get(&key);
            let key = match known.and_then(|key| Some((key, scratch.calls.get_mut(key)?))) {
                Some((key, old)) => {
                    old.ready |= new.ready;
                    old.denied |= new.denied;
                    if let Some(result) = new.result
                        && !old.result.as_ref().is_some_and(|old| old.is_same(&result))
                        && !old.foreign.as_ref().is_some_and(|old| old.is_same(&result))
                    {
                        old.result = Some(result);
                    }
                    if old.request.is_none() && new.request.is_some() {
                        old.request = new.request;
                    }
                    scratch.outbox.push(IndexEvent::Touched(key.clone()));
                    key.clone()
                }
                None => {
                    let key = scratch.calls.adopt(&key, Call { part: at, ..new });
                    scratch.outbox.push(IndexEvent::Call(key.clone()));
                    touched.push(key.clone());
                    key
                }
            };
            if scratch.calls.get(&key).is_some_and(|call| call.request.is_some()) {
                scratch.outbox.push(IndexEvent::Request(key.clone()));
            }
            touched.push(key);
        }
        scratch.calls.set_open(were_open.chain(still_open));
        touched
    }
}

fn text_of(part: &Part) -> Option<&String> {
    match part {
        Part::Text { text, .. } => Some(text),
        _ => None,
    }
}

fn thought_of(part: &Part) -> Option<&String> {
    match part {
        Part::Reasoning { text, .. } => Some(text),
        _ => None,
    }
}

fn with_text(part: &Part, text: String) -> Part {
    match part.clone() {
        Part::Text { citations, subagent, .. } => Part::Text { text, citations, subagent },
        Part::Reasoning { subagent, .. } => Part::Reasoning { text, subagent },
        other => other,
    }
}

/// The texts, or thoughts, by the writer's ids of their messages.
fn groups(
    parts: &[Part],
    origins: &[Origin],
    of: fn(&Part) -> Option<&String>,
) -> Vec<(Option<String>, Group)> {
    let mut by_key: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<(Option<String>, Group)> = Vec::new();
    for (at, (part, origin)) in parts.iter().zip(origins).enumerate() {
        let Some(text) = of(part) else { continue };
        let key = origin.key.as_deref();
        match key.and_then(|key| by_key.get(key)) {
            Some(group) => {
                let (_, group) = &mut groups[*group];
                group.parts.push(at);
                group.text.push_str(text);
            }
            None => {
                if let Some(key) = key {
                    by_key.insert(key, groups.len());
                }
                groups
                    .push((key.map(str::to_owned), Group { parts: vec![at], text: text.clone() }));
            }
        }
    }
    groups
}

impl Merge {
    /// Matches texts, or thoughts.
    fn words(
        &mut self,
        before: &Before,
        new_parts: &[Part],
        new_origins: &[Origin],
        of: fn(&Part) -> Option<&String>,
    ) {
        let old = groups(&before.parts, &before.places.origins, of);
        let new = groups(new_parts, new_origins, of);
        let mut matched: Vec<Option<usize>> = vec![None; new.len()];
        let mut taken: HashSet<usize> = HashSet::new();
        let by_key: HashMap<&str, usize> = old
            .iter()
            .enumerate()
            .filter_map(|(at, (key, _))| Some((key.as_deref()?, at)))
            .collect();
        for (at, (key, _)) in new.iter().enumerate() {
            if let Some(old) = key.as_deref().and_then(|key| by_key.get(key)) {
                matched[at] = Some(*old);
                taken.insert(*old);
            }
        }
        // Ids of a stream and of what is kept are often not the same: the same words are the same text, also as a piece
        // of one that was cut here, or all the pieces together.
        let mut pieces: HashMap<&str, VecDeque<(usize, usize)>> = HashMap::new();
        for (at, (_, group)) in old.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
            for part in &group.parts {
                let text = of(&before.parts[*part]).map(String::as_str).unwrap_or_default();
                pieces.entry(text).or_default().push_back((at, *part));
            }
        }
        for (at, (_, group)) in new.iter().enumerate() {
            if matched[at].is_none()
                && let [only] = group.parts[..]
                && let Some((old, part)) =
                    pieces.get_mut(group.text.as_str()).and_then(VecDeque::pop_front)
            {
                self.is.insert(only, part);
                matched[at] = Some(usize::MAX);
                taken.insert(old);
            }
        }
        let mut by_text: HashMap<&str, VecDeque<usize>> = HashMap::new();
        for (at, (_, group)) in old.iter().enumerate() {
            if !taken.contains(&at) {
                by_text.entry(&group.text).or_default().push_back(at);
            }
        }
        for (at, (_, group)) in new.iter().enumerate() {
            if matched[at].is_none()
                && let Some(old) =
                    by_text.get_mut(group.text.as_str()).and_then(VecDeque::pop_front)
            {
                matched[at] = Some(old);
                taken.insert(old);
            }
        }
        // What is left in both, in order: the same when one is the beginning of the other. Thoughts are the same at any
        // rate, written down in other words.
        let is_thought = of(&Part::reasoning("")).is_some();
        let mut left = (0..old.len()).filter(|at| !taken.contains(at)).collect::<VecDeque<_>>();
        for (at, (_, group)) in new.iter().enumerate() {
            if matched[at].is_some() {
                continue;
            }
            let Some(first) = left.front().copied() else { break };
            let (_, other) = &old[first];
            let begins = |a: &str, b: &str| !a.trim().is_empty() && b.starts_with(a.trim_end());
            if is_thought || begins(&group.text, &other.text) || begins(&other.text, &group.text) {
                left.pop_front();
                matched[at] = Some(first);
            }
        }
        for (at, (_, new)) in new.iter().enumerate() {
            if matched[at].is_none() && new.text.is_empty() {
                self.blank.extend(&new.parts);
            }
            if let Some((_, old)) = matched[at].and_then(|at| old.get(at)) {
                self.same_words(before, old, new);
            }
        }
    }

    fn same_words(&mut self, before: &Before, old: &Group, new: &Group) {
        let (Some(first), Some(last)) = (old.parts.first().copied(), old.parts.last().copied())
        else {
            return;
        };
        let mut stands = last;
        if old.text.starts_with(new.text.trim_end()) {
            // It is here as it is there, or longer already.
        } else if let Some(more) = new.text.strip_prefix(old.text.as_str()) {
            let part = &before.parts[last];
            let text = text_of(part).or_else(|| thought_of(part)).cloned().unwrap_or_default();
            self.changed.insert(last, with_text(part, text + more));
        } else {
            self.changed.insert(first, with_text(&before.parts[first], new.text.clone()));
            self.gone.extend(&old.parts[1..]);
            stands = first;
        }
        let pairs = old.parts.len() == new.parts.len() && stands == last;
        for (nth, at) in new.parts.iter().enumerate() {
            self.is.insert(*at, if pairs { old.parts[nth] } else { stands });
        }
    }

    /// Matches calls: the key from before of each that was there.
    fn calls(
        &mut self,
        before: &Before,
        new_parts: &[Part],
        new_calls: &CallTable,
    ) -> HashMap<String, String> {
        fn in_order<'a>(
            calls: &'a CallTable,
            parts: &'a [Part],
        ) -> Vec<(&'a String, &'a Call, &'a ToolCallPart)> {
            let mut calls: Vec<_> = calls
                .iter()
                .filter_map(|(key, call)| match parts.get(call.part) {
                    Some(Part::ToolCall(part)) => Some((key, call, part)),
                    _ => None,
                })
                .collect();
            calls.sort_by_key(|(_, call, _)| call.part);
            calls
        }
        fn said(part: &ToolCallPart) -> String {
            part.input.as_ref().map_or_else(|| part.arguments.clone(), ToString::to_string)
        }
        let old = in_order(&before.calls, &before.parts);
        let new = in_order(new_calls, new_parts);
        // By the input, or by the very words of the arguments.
        let mut by_words: HashMap<(&str, &str, String), VecDeque<usize>> = HashMap::new();
        for (at, (_, _, part)) in old.iter().enumerate() {
            by_words.entry((&part.id, &part.name, said(part))).or_default().push_back(at);
            if part.input.is_some() {
                let words = part.arguments.clone();
                by_words.entry((&part.id, &part.name, words)).or_default().push_back(at);
            }
        }
        let mut matched: Vec<Option<usize>> = Vec::new();
        let mut used = HashSet::new();
        for (_, _, part) in &new {
            let mut free = |words: String| {
                let alike = by_words.get_mut(&(&*part.id, &*part.name, words))?;
                std::iter::from_fn(|| alike.pop_front()).find(|at| used.insert(*at))
            };
            matched.push(free(said(part)).or_else(|| free(part.arguments.clone())));
        }
        // Of an id that only one call on each side is left of, that is the same, said otherwise.
        let taken: HashSet<usize> = matched.iter().flatten().copied().collect();
        let mut left: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, (_, _, part)) in old.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
            left.entry(&part.id).or_default().push(at);
        }
        let mut wanted: HashMap<&str, usize> = HashMap::new();
        for ((_, _, part), _) in new.iter().zip(&matched).filter(|(_, matched)| matched.is_none()) {
            *wanted.entry(&part.id).or_default() += 1;
        }
        for ((_, _, part), matched) in new.iter().zip(&mut matched) {
            if matched.is_none()
                && let Some([only]) = left.get(&*part.id).map(Vec::as_slice)
                && wanted.get(&*part.id) == Some(&1)
            {
                *matched = Some(*only);
            }
        }
        let mut keys = HashMap::new();
        for ((key, call, part), matched) in new.iter().zip(matched) {
            let Some((old_key, old_call, old_part)) = matched.map(|at| &old[at]) else { continue };
            self.is.insert(call.part, old_call.part);
            keys.insert((*key).clone(), (*old_key).clone());
            let named = old_part.name.is_empty() && !part.name.is_empty();
            let words = part.arguments.is_empty() || part.arguments == old_part.arguments;
            let other = !words && said(old_part) != said(part);
            let read = old_part.input.is_none() && part.input.is_some();
            if named || other || read {
                let mut changed = (*old_part).clone();
                if named || other {
                    changed.name.clone_from(&part.name);
                }
                changed.arguments.clone_from(&part.arguments);
                changed.input.clone_from(&part.input);
                self.changed.insert(old_call.part, Part::ToolCall(changed));
            }
        }
        for (key, call) in new_calls.iter().filter(|(key, _)| call_id(key).is_empty()) {
            if let Some(old) = before.calls.get(key) {
                self.is.insert(call.part, old.part);
                keys.insert(key.clone(), key.clone());
            }
        }
        keys
    }

    /// Matches parts of other kinds: cards by their ids, the others when they are equal.
    fn others(&mut self, before: &Before, new_parts: &[Part]) {
        let mut equal: Option<HashMap<String, VecDeque<usize>>> = None;
        for (at, part) in new_parts.iter().enumerate() {
            let known = match part {
                Part::Text { .. }
                | Part::Reasoning { .. }
                | Part::ToolCall(_)
                | Part::Question(_) => continue,
                Part::Activity(activity) => before.places.activities.get(&activity.id).copied(),
                Part::Subagent(subagent) => before.places.subagents.get(&subagent.id).copied(),
                Part::Data { name, id: id @ Some(_), .. } => {
                    before.places.data.get(&(name.clone(), id.clone())).copied()
                }
                part => {
                    let equal = equal.get_or_insert_with(|| {
                        let mut equal: HashMap<String, VecDeque<usize>> = HashMap::new();
                        for (at, part) in
                            before.parts.iter().enumerate().filter(|(_, part)| is_other(part))
                        {
                            equal.entry(json(part)).or_default().push_back(at);
                        }
                        equal
                    });
                    equal.get_mut(&json(part)).and_then(VecDeque::pop_front)
                }
            };
            let Some(old) = known else { continue };
            self.is.insert(at, old);
            if before.parts.get(old).is_some_and(|old| old != part)
                && !matches!(part, Part::Subagent(_))
            {
                self.changed.insert(old, part.clone());
            }
        }
    }

    /// Takes back what the snapshot does not name.
    fn leave_out(&mut self, before: &Before, new_parts: &[Part]) {
        let named: HashSet<usize> = self.is.values().copied().collect();
        let cards = new_parts.iter().any(|part| matches!(part, Part::Activity(_)));
        let came: HashMap<usize, bool> = before
            .calls
            .iter()
            .map(|(_, call)| (call.part, call.ready || call.is_over() || call.request.is_some()))
            .collect();
        let asked: HashSet<usize> = before
            .calls
            .iter()
            .filter(|(_, call)| call.request.is_some())
            .map(|(_, call)| call.part)
            .collect();
        for (at, (part, origin)) in before.parts.iter().zip(&before.places.origins).enumerate() {
            if named.contains(&at) {
                continue;
            }
            let stays = match part {
                Part::Text { .. } | Part::Reasoning { .. } => origin.streamed,
                Part::ToolCall(_) => {
                    asked.contains(&at) || (origin.streamed && came.get(&at) == Some(&true))
                }
                Part::Activity(_) => !cards,
                _ => true,
            };
            if !stays {
                self.gone.insert(at);
            }
        }
    }
}

/// Whether a part is known again only by being equal.
fn is_other(part: &Part) -> bool {
    matches!(
        part,
        Part::File(_)
            | Part::Source(_)
            | Part::Data { id: None, .. }
            | Part::StructuredOutput { .. }
            | Part::StepStart
            | Part::SteeringMessage { .. }
    )
}

/// Our own types can always be written.
fn json(part: &Part) -> String {
    serde_json::to_string(part).unwrap_or_default()
}

/// Bytes that a part has, about.
fn size(part: &Part) -> usize {
    64 + match part {
        Part::Text { text, .. } | Part::Reasoning { text, .. } => text.len(),
        Part::ToolCall(call) => call.arguments.len(),
        Part::StructuredOutput { raw, .. } => raw.len(),
        Part::File(file) => file.url.len(),
        _ => 0,
    }
}
