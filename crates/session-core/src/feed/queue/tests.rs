//! L4: whatever a reader does, folding what it gets gives the view.

use proptest::prelude::*;
use session_protocol::{Message, Part};

use super::*;
use crate::diff::Direction;
use crate::item::Item;
use crate::view::{Bounds, Stretch, View};

const EPOCH: u64 = 7;

fn item(id: u32, text: &str) -> Item {
    let mut message = Message::new(format!("m{id}"), u64::from(id));
    message.parts = vec![Part::text(text)];
    message.into()
}

/// An event of a session while somebody watches.
#[derive(Debug, Clone)]
enum Step {
    Insert,
    Append {
        at: usize,
        len: usize,
    },
    AddPart {
        at: usize,
    },
    SetPart {
        at: usize,
    },
    Meta {
        at: usize,
    },
    Replace {
        at: usize,
    },
    Remove {
        at: usize,
    },
    Sessions,
    Notice,
    /// The reader asks after the last number it has.
    ReadState,
    /// The answer got lost: it asks after a number that it asked after before.
    ReadAgain {
        back: usize,
    },
    /// A reader of another run of the feed.
    ReadForeign,
    /// The window shows the session anew.
    Show,
    /// The reader moves on.
    Page {
        direction: Direction,
        len: usize,
        more: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..6usize;
    prop_oneof![
        3 => Just(Step::Insert),
        12 => (at.clone(), 1..40usize).prop_map(|(at, len)| Step::Append { at, len }),
        2 => at.clone().prop_map(|at| Step::AddPart { at }),
        2 => at.clone().prop_map(|at| Step::SetPart { at }),
        2 => at.clone().prop_map(|at| Step::Meta { at }),
        1 => at.clone().prop_map(|at| Step::Replace { at }),
        1 => at.prop_map(|at| Step::Remove { at }),
        1 => Just(Step::Sessions),
        1 => Just(Step::Notice),
        5 => Just(Step::ReadState),
        2 => (0..4usize).prop_map(|back| Step::ReadAgain { back }),
        1 => Just(Step::ReadForeign),
        1 => Just(Step::Show),
        2 => page(Just(Direction::Before)),
        1 => page(Just(Direction::After)),
    ]
}

fn page(direction: impl Strategy<Value = Direction>) -> impl Strategy<Value = Step> {
    (direction, 1..150usize, any::<bool>()).prop_map(|(direction, len, more)| Step::Page {
        direction,
        len,
        // There is always something before.
        more: more || direction == Direction::Before,
    })
}

/// The position of the first message that is inserted: older ones are had by paging.
const START: u64 = 1_000_000;

/// The session's side: the reader's view, and whether the reader is told of it.
struct Source {
    view: View,
    /// Items of a reader that gets every diff.
    shown: Vec<Item>,
    ids: Vec<u32>,
    next: u32,
    attached: bool,
    queue: Queue,
}

impl Source {
    fn publish(&mut self, diffs: Vec<Diff>) {
        for diff in diffs {
            diff.clone().apply(&mut self.shown).expect("the view's own diffs fit");
            if self.attached {
                self.attached = self.queue.push_diff(diff);
            }
        }
    }

    fn attach(&mut self) {
        let items = self.shown.clone();
        let reset = Diff::Reset { items, has_more_before: true, has_more_after: false };
        self.attached = self.queue.push_diff(reset);
    }

    fn pick(&self, at: usize) -> Option<String> {
        let at = self.ids.len().checked_sub(1 + at)?;
        Some(format!("m{}", self.ids[at]))
    }

    fn read(&mut self, epoch: u64, after: u64) -> Option<ReadState> {
        loop {
            match self.queue.read(epoch, after) {
                FeedRead::Ready(read) => return Some(read),
                FeedRead::Wait => return None,
                FeedRead::NeedsReset => self.attach(),
            }
        }
    }

    fn act(&mut self, step: &Step) {
        let mut diffs = Vec::new();
        match step {
            Step::Insert => {
                self.next += 1;
                self.ids.push(self.next);
                let item = item(self.next, "begin");
                self.view.insert_remote(START + u64::from(self.next), item, &mut diffs);
            }
            Step::Append { at, len } => {
                if let Some(id) = self.pick(*at) {
                    let text = "é".repeat(*len);
                    self.view.append_text(&id, 0, text, &mut diffs).expect("part 0 is text");
                }
            }
            Step::AddPart { at } => {
                if let Some(id) = self.pick(*at) {
                    let value = Part::reasoning("hm");
                    let part = self.parts(&id);
                    self.view.set_part(&id, part, value, &mut diffs).expect("it is the next part");
                }
            }
            Step::SetPart { at } => {
                if let Some(id) = self.pick(*at) {
                    self.next += 1;
                    let value = Part::text(format!("set {}", self.next));
                    self.view.set_part(&id, 0, value, &mut diffs).expect("part 0 is there");
                }
            }
            Step::Meta { at } => {
                if let Some(id) = self.pick(*at) {
                    let mut meta = item(0, "").meta;
                    self.next += 1;
                    meta.actor_id = Some(format!("actor {}", self.next));
                    self.view.set_meta(&id, meta, &mut diffs);
                }
            }
            Step::Replace { at } => {
                if let Some(id) = self.pick(*at) {
                    let mut item = item(0, "replaced");
                    item.id = id;
                    self.view.replace(item, &mut diffs);
                }
            }
            Step::Remove { at } => {
                if let Some(id) = self.pick(*at) {
                    self.ids.retain(|known| format!("m{known}") != id);
                    self.view.remove(&id, &mut diffs);
                }
            }
            Step::Sessions => self.queue.sessions_changed(),
            Step::Notice => {
                let notice = Notice { code: "x".to_owned(), message: "y".to_owned() };
                self.queue.push_notice(notice);
            }
            Step::Show => {
                self.queue.show(true);
                self.attach();
            }
            Step::Page { direction, len, more } => {
                let bounds = self.view.bounds();
                let items = (0..*len).map(|n| {
                    self.next += 1;
                    self.ids.push(self.next);
                    let position = match direction {
                        Direction::Before => bounds.from.unwrap_or(0) + n as u64 - *len as u64,
                        Direction::After => bounds.until.unwrap_or(0) + n as u64 + 1,
                    };
                    (position, item(self.next, "begin"))
                });
                let items = items.collect();
                self.view.extend(*direction, items, *more, vec![], &mut diffs);
            }
            Step::ReadState | Step::ReadAgain { .. } | Step::ReadForeign => {}
        }
        self.publish(diffs);
    }

    fn parts(&self, id: &str) -> usize {
        self.shown.iter().find(|item| item.id == id).map_or(1, |item| item.parts.len())
    }
}

/// The window's side.
#[derive(Clone, Default)]
struct Reader {
    items: Vec<Item>,
    has: u64,
    /// Numbers it asked after, with what it had then.
    past: Vec<(u64, Vec<Item>)>,
}

impl Reader {
    fn fold(&mut self, read: ReadState) -> Result<(), TestCaseError> {
        if read.reset {
            self.items.clear();
            let first = read.edits.iter().find_map(|edit| match edit {
                Edit::Diff(diff) => Some(diff),
                Edit::Notice(_) => None,
            });
            prop_assert!(matches!(first, Some(Diff::Reset { .. })), "a full state starts with one");
            prop_assert!(read.sessions && read.approvals, "and has every state");
        }
        for edit in read.edits {
            if let Edit::Diff(diff) = edit {
                diff.apply(&mut self.items)
                    .map_err(|misfit| TestCaseError::fail(misfit.to_string()))?;
            }
        }
        prop_assert!(read.to >= self.has || read.reset);
        self.has = read.to;
        Ok(())
    }
}

fn run(steps: &[Step], cap: usize) -> Result<(), TestCaseError> {
    let bounds = Bounds { from: Some(START), until: None };
    let nothing = Stretch { items: vec![], bounds };
    let mut source = Source {
        view: View::new(nothing, []),
        shown: vec![],
        ids: vec![],
        next: 0,
        attached: false,
        queue: Queue::new(EPOCH, cap),
    };
    source.queue.show(true);
    source.attach();
    let mut reader = Reader::default();
    for step in steps {
        source.act(step);
        match step {
            Step::ReadState => {
                reader.past.push((reader.has, reader.items.clone()));
                if let Some(read) = source.read(EPOCH, reader.has) {
                    reader.fold(read)?;
                }
            }
            Step::ReadAgain { back } => {
                let Some(at) = reader.past.len().checked_sub(1 + back) else { continue };
                let (after, items) = reader.past[at].clone();
                reader.items = items;
                reader.has = after;
                if let Some(read) = source.read(EPOCH, after) {
                    reader.fold(read)?;
                }
            }
            Step::ReadForeign => {
                if let Some(read) = source.read(EPOCH + 1, 3) {
                    reader.fold(read)?;
                }
            }
            _ => {}
        }
    }
    // Whatever came before: one more read, and the reader has the view.
    if let Some(read) = source.read(EPOCH, reader.has) {
        reader.fold(read)?;
    }
    prop_assert_eq!(&reader.items, &source.shown);
    // Of the view itself only what is near the end has content.
    let Diff::Reset { items, .. } = source.view.reset() else { unreachable!() };
    let tail = reader.items.len() - items.len();
    prop_assert_eq!(&reader.items[tail..], &items[..]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn folding_any_readers_batches_gives_the_view(
        steps in proptest::collection::vec(step(), 0..120),
        cap in prop_oneof![Just(600usize), Just(4000), Just(1 << 20)],
    ) {
        run(&steps, cap)?;
    }
}

fn patch(index: usize, text: &str) -> Diff {
    Diff::Patch { index, id: format!("m{index}"), part: 0, text: text.to_owned() }
}

fn shown() -> Queue {
    let mut queue = Queue::new(EPOCH, 1 << 20);
    queue.show(true);
    queue.push_diff(Diff::Reset { items: vec![], has_more_before: false, has_more_after: false });
    queue
}

fn ready(answer: FeedRead) -> ReadState {
    match answer {
        FeedRead::Ready(read) => read,
        other => panic!("expected a batch, got {other:?}"),
    }
}

#[test]
fn unread_patches_of_one_part_become_one() {
    let mut queue = shown();
    let first = ready(queue.read(EPOCH, 0));
    for n in 0..1000 {
        queue.push_diff(patch(n % 2, "x"));
    }
    let read = ready(queue.read(EPOCH, first.to));
    assert_eq!(read.edits.len(), 2, "two parts grew, however often");
}

#[test]
fn what_was_handed_out_is_not_changed_any_more() {
    let mut queue = shown();
    let start = ready(queue.read(EPOCH, 0)).to;
    queue.push_diff(patch(0, "a"));
    let once = ready(queue.read(EPOCH, start));
    queue.push_diff(patch(0, "b"));
    let again = ready(queue.read(EPOCH, start));
    assert_eq!(again.edits[..1], once.edits[..], "the lost answer comes again as it was");
    let rest = ready(queue.read(EPOCH, once.to));
    assert_eq!(rest.edits, vec![Edit::Diff(patch(0, "b"))]);
}

#[test]
fn a_reader_that_does_not_read_does_not_make_the_queue_grow() {
    let mut queue = Queue::new(EPOCH, 10_000);
    queue.show(true);
    queue.push_diff(Diff::Reset { items: vec![], has_more_before: false, has_more_after: false });
    let mut refused = 0;
    for n in 0..10_000 {
        refused += usize::from(!queue.push_diff(Diff::Remove { index: n }));
        assert!(queue.bytes <= 10_000);
    }
    assert!(refused > 9_000, "after the cap nothing more is taken");
    assert_eq!(queue.read(EPOCH, 1), FeedRead::NeedsReset);
}

#[test]
fn a_page_larger_than_the_cap_is_handed_out_and_a_second_one_waits_for_no_room() {
    let mut queue = Queue::new(EPOCH, 10_000);
    queue.show(true);
    queue.push_diff(Diff::Reset { items: vec![], has_more_before: true, has_more_after: false });
    let start = ready(queue.read(EPOCH, 0)).to;
    let items = vec![item(1, &"x".repeat(20_000))];
    let page = Diff::Extend { side: Direction::Before, items, has_more: true };
    assert!(queue.push_diff(page.clone()));
    assert!(queue.push_diff(patch(0, "a")), "what follows it has room");
    assert_eq!(ready(queue.read(EPOCH, start)).edits[0], Edit::Diff(page.clone()));
    assert!(!queue.push_diff(page), "a reader that does not read does not make the queue grow");
    assert_eq!(queue.read(EPOCH, start), FeedRead::NeedsReset);
}

#[test]
fn a_pull_with_nothing_new_waits() {
    let mut queue = shown();
    let to = ready(queue.read(EPOCH, 0)).to;
    assert_eq!(queue.read(EPOCH, to), FeedRead::Wait);
    queue.sessions_changed();
    let read = ready(queue.read(EPOCH, to));
    assert!(read.sessions && !read.approvals && read.edits.is_empty());
}

#[test]
fn a_number_that_was_let_go_of_means_starting_over() {
    let mut queue = shown();
    let first = ready(queue.read(EPOCH, 0)).to;
    queue.push_diff(patch(0, "a"));
    let second = ready(queue.read(EPOCH, first)).to;
    queue.push_diff(patch(0, "b"));
    ready(queue.read(EPOCH, second));
    assert_eq!(queue.read(EPOCH, first), FeedRead::NeedsReset);
    queue.push_diff(Diff::Reset { items: vec![], has_more_before: false, has_more_after: false });
    let read = ready(queue.read(EPOCH, first));
    assert!(read.reset && read.sessions && read.approvals && read.meta);
}
