//! Folds that are stored and go on.
//!
//! Law: for any log and any cuts, what is stored at each cut and the items behind it give what the whole log gives.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;
use session_protocol::{Event, Message, MessageLoader, SessionFold, StoredMessage, Texts, decode};

use crate::agree::{by_server, meaning};
use crate::laws::{Op, log, now, row_op};

/// Where folds are stored.
#[derive(Default)]
struct Shelf {
    head: Option<String>,
    messages: BTreeMap<String, String>,
    standing: BTreeSet<String>,
    /// Messages whose rows were asked for although they are stored.
    torn: BTreeSet<String>,
}

impl MessageLoader for Shelf {
    fn load(&mut self, id: &str) -> Option<StoredMessage> {
        if self.messages.contains_key(id) {
            self.torn.insert(id.to_owned());
        }
        None
    }

    fn folded(&mut self, id: &str) -> Option<String> {
        self.messages.get(id).cloned()
    }

    fn unreadable(&mut self, id: &str) {
        panic!("{id} cannot be read");
    }
}

impl Shelf {
    /// Stores what changed.
    fn store(&mut self, fold: &SessionFold, changed: impl IntoIterator<Item = String>) {
        self.head = Some(fold.head());
        for id in changed {
            self.standing.remove(&id);
            match fold.folded(&id) {
                Some(folded) => {
                    if fold.is_standing(&id) {
                        self.standing.insert(id.clone());
                    }
                    self.messages.insert(id, folded);
                }
                None => drop(self.messages.remove(&id)),
            }
        }
    }

    /// The fold as it was stored, with the messages that stand.
    fn open(&self, texts: Texts) -> SessionFold {
        let Some(head) = &self.head else {
            return match texts {
                Texts::Kept => SessionFold::new("s"),
                Texts::Dropped => SessionFold::without_texts("s", HashSet::new()),
            };
        };
        let mut fold = SessionFold::from_head("s", texts, head).expect("it was written here");
        for id in self.standing.iter().filter(|_| texts == Texts::Dropped) {
            assert!(fold.put_back(id, &self.messages[id]), "{id} can be read");
        }
        fold
    }
}

/// The pieces of a log between its cuts.
fn pieces<'a>(items: &'a [String], cuts: &'a [usize]) -> Vec<&'a [String]> {
    let (mut rest, mut pieces) = (items, Vec::new());
    for size in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).clamp(1, rest.len()));
        rest = after;
        pieces.push(piece);
    }
    pieces
}

/// A session server that is stopped at each cut; `None` when it has to read the stream from its beginning.
fn by_stopped_server(items: &[String], cuts: &[usize]) -> Option<SessionFold> {
    let mut shelf = Shelf::default();
    let mut fold = shelf.open(Texts::Dropped);
    for piece in pieces(items, cuts) {
        for item in piece {
            fold.take(&decode(item.as_bytes()), &mut shelf);
        }
        if fold.torn().next().is_some() {
            return None;
        }
        let changed = fold.touched().clone();
        // What is expected of somebody is in memory, and nothing that is not in memory says otherwise.
        let asks = fold.asks(now());
        shelf.store(&fold, changed);
        fold = shelf.open(Texts::Dropped);
        assert_eq!(fold.asks(now()), asks);
    }
    let all: Vec<String> = shelf.messages.keys().cloned().collect();
    for id in &all {
        fold.load(id, &mut shelf);
    }
    Some(fold)
}

/// What agents are told, by a server that is stopped at each cut; `None` when it has to read the stream from its
/// beginning.
fn told_by_stopped_server(items: &[String], cuts: &[usize]) -> Option<SessionFold> {
    let mut shelf = Shelf::default();
    let mut fold = shelf.open(Texts::Kept);
    for piece in pieces(items, cuts) {
        let changes = fold.apply(piece, &mut shelf);
        if changes.reset {
            shelf.messages.clear();
        }
        if !shelf.torn.is_empty() {
            return None;
        }
        let changed = changes.messages.iter().map(|change| change.id().to_owned());
        let logged = changes.log.iter().map(|entry| entry.message_id.to_string());
        let changed: BTreeSet<String> = changed.chain(logged).chain(changes.removed).collect();
        if changed.iter().any(|id| fold.message(id).is_some() && !fold.is_of_rows(id)) {
            return None;
        }
        shelf.store(&fold, changed);
        fold = shelf.open(Texts::Kept);
    }
    let all: Vec<String> = shelf.messages.keys().cloned().collect();
    for id in &all {
        fold.load(id, &mut shelf);
    }
    Some(fold)
}

/// Logs whose rows come in order, as servers write them: nothing has to be read again.
fn in_order() -> impl Strategy<Value = Vec<String>> {
    let op = row_op().prop_filter("in order", |op| match op {
        Op::Next(_, gap, _) => *gap == 0,
        Op::By(..) | Op::Raw(_) => true,
        Op::At(..) | Op::Again(_) | Op::Delete(..) | Op::Update(..) => false,
    });
    vec(op, 1..60).prop_map(|ops| log(&ops))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_server_that_is_stopped_anywhere_knows_what_one_knows_that_read_everything(
        items in in_order(),
        cuts in vec(1_usize..12, 1..6),
    ) {
        let stopped = by_stopped_server(&items, &cuts).expect("nothing came late");
        prop_assert_eq!(meaning(&stopped, now()), meaning(&by_server(&items), now()));
    }

    #[test]
    fn a_server_that_is_stopped_anywhere_knows_it_or_that_it_does_not(
        ops in vec(row_op(), 1..60),
        cuts in vec(1_usize..12, 1..6),
    ) {
        let items = log(&ops);
        if let Some(stopped) = by_stopped_server(&items, &cuts) {
            prop_assert_eq!(meaning(&stopped, now()), meaning(&by_server(&items), now()));
            prop_assert_eq!(gone(&stopped), gone(&by_server(&items)));
        }
    }

    #[test]
    fn agents_are_told_the_same_by_a_server_that_is_stopped_anywhere(
        ops in vec(row_op(), 1..60),
        items in in_order(),
        cuts in vec(1_usize..12, 1..6),
    ) {
        for (items, is_sure) in [(items, true), (log(&ops), false)] {
            let stopped = told_by_stopped_server(&items, &cuts);
            prop_assert!(stopped.is_some() || !is_sure);
            let Some(stopped) = stopped else { continue };
            let mut whole = SessionFold::new("s");
            whole.apply(&items, &mut ());
            let told = |fold: &SessionFold| fold.messages().cloned().collect::<Vec<Message>>();
            prop_assert_eq!(told(&stopped), told(&whole));
            prop_assert_eq!(stopped.approvals(), whole.approvals());
            let shared = |fold: &SessionFold| {
                fold.shared().map(|(id, state)| (id.to_owned(), state.value().cloned())).collect::<Vec<_>>()
            };
            prop_assert_eq!(shared(&stopped), shared(&whole));
        }
    }
}

/// Which messages are known to have been deleted.
fn gone(fold: &SessionFold) -> Vec<bool> {
    ["a", "b", "x:y", "u"].into_iter().map(|id| fold.was_deleted(id)).collect()
}

#[test]
fn a_deleted_message_does_not_come_back_from_what_is_stored() {
    let row = |seq: u64, chunk: &str| {
        format!(
            r#"{{"type":"chunk","key":"m:{seq}","headers":{{"operation":"insert"}},"value":{{"messageId":"m","actorId":"k","role":"assistant","seq":{seq},"chunk":{chunk:?}}}}}"#
        )
    };
    let delete = |seq: u64| {
        format!(r#"{{"type":"chunk","key":"m:{seq}","headers":{{"operation":"delete"}}}}"#)
    };
    let done = row(0, r#"{"type":"done","finishReason":"stop"}"#);
    let mut shelf = Shelf::default();
    let mut fold = shelf.open(Texts::Dropped);
    assert!(matches!(decode(done.as_bytes()), Event::Chunk(_)));
    fold.take(&decode(done.as_bytes()), &mut shelf);
    let changed = fold.touched().clone();
    shelf.store(&fold, changed);
    let mut fold = shelf.open(Texts::Dropped);
    assert!(fold.run("m").is_none(), "nothing is expected of it");
    fold.take(&decode(delete(0).as_bytes()), &mut shelf);
    assert!(fold.was_deleted("m"));
    assert!(fold.load("m", &mut shelf).is_none());
    assert!(fold.touched().contains("m"), "what is stored of it has to go");
}

#[test]
fn what_another_version_wrote_is_not_taken_for_a_fold() {
    assert!(SessionFold::from_head("s", Texts::Dropped, "{}").is_none());
    let mut fold = SessionFold::without_texts("s", HashSet::new());
    assert!(!fold.put_back("m", "{}"));
    assert!(fold.run("m").is_none());
}
