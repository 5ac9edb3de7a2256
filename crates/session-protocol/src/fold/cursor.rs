//! Where the words of one message go: its open texts and thoughts.
//!
//! A delta belongs to the open part of its key. A call, or another part that comes behind a text, closes it; AI SDK ids
//! and thoughts stay where they began.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::chunk;
use crate::row::Part;

/// Which open text or reasoning a delta belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
        chunk::id(field).map_or(Self::Legacy, Self::Id)
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
#[derive(Serialize, Deserialize)]
pub(super) struct Segment {
    pub(super) key: SegmentKey<'static>,
    /// The subagent that writes it.
    pub(super) subagent: Option<String>,
    pub(super) part: usize,
    /// Half a character that waits for its other half.
    pub(super) half: Option<u16>,
    /// Number of bytes of the writer's cumulative text that stand before this part, once known.
    pub(super) base: Option<usize>,
    /// Text goes to this part whatever came between (AI SDK ids).
    pub(super) pinned: bool,
}

/// Open parts, each under its key.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Segments(Vec<Segment>);

impl Segments {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn at(&self, key: &SegmentKey<'_>) -> Option<usize> {
        self.0.iter().position(|segment| segment.key == *key)
    }

    pub(super) fn contains(&self, key: &SegmentKey<'_>) -> bool {
        self.at(key).is_some()
    }

    pub(super) fn get(&self, at: usize) -> &Segment {
        &self.0[at]
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut Segment {
        &mut self.0[at]
    }

    /// The key under which the part at this place is open.
    pub(super) fn key_of(&self, part: Option<usize>) -> Option<&SegmentKey<'static>> {
        self.0.iter().rev().find(|segment| Some(segment.part) == part).map(|open| &open.key)
    }

    /// Opens a part; its index among the open ones.
    pub(super) fn open(&mut self, segment: Segment) -> usize {
        self.0.push(segment);
        self.0.len() - 1
    }

    pub(super) fn close(&mut self, key: &SegmentKey<'_>) {
        self.0.retain(|segment| segment.key != *key);
    }

    fn cut(&mut self, start: usize) {
        self.0.retain(|segment| segment.part < start);
    }

    /// The segments whose parts are still there, at their new places.
    fn moved(self, to: &HashMap<usize, usize>) -> impl Iterator<Item = Segment> {
        self.0.into_iter().filter_map(|segment| {
            let part = *to.get(&segment.part)?;
            Some(Segment { part, ..segment })
        })
    }
}

/// Where words go.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct TextCursor {
    pub(super) texts: Segments,
    pub(super) thoughts: Segments,
    /// Text parts closed by something after them: the cumulative text so far.
    closed: Vec<usize>,
    /// The AG-UI message the parts from `group_start` on belong to.
    group: Option<String>,
    group_start: usize,
    /// Where the parts of the present step begin.
    step_start: usize,
}

impl TextCursor {
    /// An AG-UI message of this id begins behind so many parts.
    pub(super) fn begin_group(&mut self, id: &str, parts: usize) {
        if self.group.as_deref() == Some(id) {
            return;
        }
        // The first one takes over what came before it.
        if self.group.is_some() {
            self.group_start = parts;
        }
        self.group = Some(id.to_owned());
    }

    /// The parts so far belong to the AG-UI message of this id.
    pub(super) fn join_group(&mut self, id: String) {
        self.group = Some(id);
    }

    /// Where the parts of the present AG-UI message begin.
    pub(super) fn group_start(&self) -> usize {
        self.group_start
    }

    /// A step begins behind so many parts.
    pub(super) fn begin_step(&mut self, parts: usize) {
        self.step_start = parts;
    }

    /// Where the parts of the present step begin.
    pub(super) fn step_start(&self) -> usize {
        self.step_start
    }

    /// Something came behind an open text, unless that is pinned; whether it is closed now.
    pub(super) fn interrupt(&mut self, at: usize) -> bool {
        if self.texts.get(at).pinned {
            return false;
        }
        let segment = self.texts.0.remove(at);
        self.closed.push(segment.part);
        true
    }

    /// A call of this subagent closes its texts.
    pub(super) fn close_texts(&mut self, subagent: Option<&str>) {
        let closed = &mut self.closed;
        self.texts.0.retain(|segment| {
            let stays = segment.pinned || segment.subagent.as_deref() != subagent;
            if !stays {
                closed.push(segment.part);
            }
            stays
        });
    }

    /// Number of bytes of a cumulative text that stand in the parts that are closed.
    pub(super) fn said_before(&mut self, parts: &[Part], content: &str) -> usize {
        let mut rest = content;
        for part in &self.closed {
            let Some(Part::Text { text, .. }) = parts.get(*part) else { continue };
            match rest.strip_prefix(text.as_str()) {
                Some(after) => rest = after,
                None => {
                    self.closed.clear();
                    return 0;
                }
            }
        }
        content.len() - rest.len()
    }

    /// Forgets which parts ids stand for.
    pub(super) fn forget(&mut self) {
        self.texts = Segments::default();
        self.thoughts = Segments::default();
    }

    /// Forgets as [`Self::forget`] does, and also what was closed.
    pub(super) fn forget_all(&mut self) {
        self.forget();
        self.closed = Vec::new();
    }

    /// The texts from this part on are none.
    pub(super) fn cut_texts(&mut self, start: usize) {
        self.texts.cut(start);
        self.closed.retain(|part| *part < start);
    }

    /// The parts from this one on are gone.
    pub(super) fn cut(&mut self, start: usize) {
        self.cut_texts(start);
        self.thoughts.cut(start);
        self.group_start = self.group_start.min(start);
    }

    /// Keeps open behind a snapshot what was open, at its new place; of what the snapshot opened, the texts whose keys
    /// are not open. `parts` is their number now.
    pub(super) fn behind(
        self,
        before: Self,
        old_at: &HashMap<usize, usize>,
        new_at: &HashMap<usize, usize>,
        parts: usize,
    ) -> Self {
        let moved =
            |start: usize| (start..).take(old_at.len() + 1).find_map(|at| old_at.get(&at).copied());
        let same_group = self.group.is_none() || self.group == before.group;
        let mut texts: Vec<Segment> = before.texts.moved(old_at).collect();
        let open: HashSet<_> = texts.iter().map(|segment| segment.key.clone()).collect();
        texts.extend(self.texts.moved(new_at).filter(|segment| !open.contains(&segment.key)));
        Self {
            texts: Segments(texts),
            thoughts: Segments(before.thoughts.moved(old_at).collect()),
            closed: before.closed.iter().filter_map(|at| old_at.get(at).copied()).collect(),
            group_start: if same_group { moved(before.group_start).unwrap_or(0) } else { 0 },
            group: self.group.or(before.group),
            step_start: moved(before.step_start).unwrap_or(parts),
        }
    }
}

/// The new end of a cumulative text, given what is there: nothing when less is said than is there, all of it when it
/// says something else.
pub(super) fn news<'c>(so_far: &str, said: &'c str) -> Option<&'c str> {
    match said.strip_prefix(so_far) {
        Some(new) => Some(new),
        None if so_far.starts_with(said) => None,
        None => Some(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(key: &'static str, part: usize, pinned: bool) -> Segment {
        let key = SegmentKey::Id(Cow::Borrowed(key));
        Segment { key, subagent: None, part, half: None, base: None, pinned }
    }

    fn open(cursor: &TextCursor) -> Vec<(&SegmentKey<'static>, usize)> {
        cursor.texts.0.iter().map(|segment| (&segment.key, segment.part)).collect()
    }

    #[test]
    fn only_what_is_new_of_a_cumulative_text_is_taken() {
        assert_eq!(news("", "ab"), Some("ab"));
        assert_eq!(news("ab", "abc"), Some("c"));
        assert_eq!(news("ab", "ab"), Some(""));
        assert_eq!(news("abc", "ab"), None);
        assert_eq!(news("abc", "x"), Some("x"));
    }

    #[test]
    fn a_call_closes_texts_but_not_those_that_stay_where_they_began() {
        let mut cursor = TextCursor::default();
        cursor.texts.open(segment("a", 0, false));
        cursor.texts.open(segment("b", 1, true));
        cursor.close_texts(Some("another"));
        assert_eq!(cursor.texts.len(), 2);
        cursor.close_texts(None);
        assert_eq!(open(&cursor).len(), 1);
        let parts = [Part::text("Well "), Part::text("then")];
        assert_eq!(cursor.said_before(&parts, "Well then"), 5);
        // Who says something else begins anew.
        assert_eq!(cursor.said_before(&parts, "Other"), 0);
        assert_eq!(cursor.said_before(&parts, "Well then"), 0);
    }

    #[test]
    fn what_is_cut_off_is_not_open_and_nothing_begins_behind_the_end() {
        let mut cursor = TextCursor::default();
        cursor.texts.open(segment("a", 0, true));
        cursor.texts.open(segment("b", 2, true));
        cursor.begin_group("one", 0);
        cursor.begin_group("two", 3);
        cursor.cut(2);
        assert_eq!(open(&cursor).len(), 1);
        assert_eq!(cursor.group_start(), 2);
        assert!(cursor.texts.key_of(Some(0)).is_some() && cursor.texts.key_of(None).is_none());
    }

    #[test]
    fn a_snapshot_closes_nothing_and_moves_what_is_open() {
        let (mut before, mut now) = (TextCursor::default(), TextCursor::default());
        before.texts.open(segment("a", 0, true));
        before.texts.open(segment("gone", 1, true));
        now.texts.open(segment("a", 0, true));
        now.texts.open(segment("b", 1, true));
        let old_at = HashMap::from([(0, 3)]);
        let new_at = HashMap::from([(0, 3), (1, 4)]);
        let cursor = now.behind(before, &old_at, &new_at, 5);
        let key = |key| SegmentKey::Id(Cow::Borrowed(key));
        assert_eq!(open(&cursor), [(&key("a"), 3), (&key("b"), 4)]);
        assert_eq!(cursor.step_start(), 3);
    }
}
