//! L4: whatever a reader does, folding what it gets gives the head of the list.

use proptest::prelude::*;

use super::*;
use crate::feed::queue::{FeedRead, Queue};
use crate::list::server_of;
use crate::summary::SessionState;

const EPOCH: u64 = 7;
const TITLES: [&str; 4] = ["Résumé of May", "resume", "Tea", "A plan"];

fn summary(id: &str, title: &str) -> SessionSummary {
    SessionSummary {
        id: id.to_owned(),
        title: title.to_owned(),
        created_at: None,
        last_activity_at: None,
        preview: None,
        state: SessionState::Idle,
        unread: 0,
        pending_approvals: 0,
        draft: None,
        parent_id: None,
    }
}

#[derive(Debug, Clone)]
struct Edit {
    session: u8,
    recency: u8,
    title: usize,
    unread: u32,
    gone: bool,
}

#[derive(Debug, Clone)]
enum Step {
    /// The hub publishes changes of some sessions.
    Publish(Vec<Edit>),
    /// The window wants another head.
    Ask { title: &'static str, rows: [Option<u32>; 3] },
    /// The reader asks after the last number it has.
    ReadState,
    /// The answer got lost: it asks after a number that it asked after before.
    ReadAgain { back: usize },
    /// The page was loaded again.
    ReadForeign,
}

fn step() -> impl Strategy<Value = Step> {
    let edit = (0..30u8, 0..12u8, 0..TITLES.len(), 0..3u32, proptest::bool::weighted(0.2));
    let edit = edit.prop_map(|(session, recency, title, unread, gone)| Edit {
        session,
        recency,
        title,
        unread,
        gone,
    });
    let titles = prop_oneof![Just(""), Just("RESUME"), Just("résumé may"), Just("nothing")];
    let rows = proptest::array::uniform3(proptest::option::of(0..9u32));
    prop_oneof![
        8 => proptest::collection::vec(edit, 1..6).prop_map(Step::Publish),
        2 => (titles, rows).prop_map(|(title, rows)| Step::Ask { title, rows }),
        5 => Just(Step::ReadState),
        2 => (0..4usize).prop_map(|back| Step::ReadAgain { back }),
        1 => Just(Step::ReadForeign),
    ]
}

/// A page's fold of the changes: per server its counts and its rows.
type Folded = BTreeMap<String, ([u32; 4], Vec<SessionSummary>)>;

fn fold(heads: &mut Folded, reset: bool, changes: Vec<HeadChange>) -> Result<(), TestCaseError> {
    if reset {
        heads.clear();
    }
    for change in changes {
        let server = change.server.clone();
        let (counts, head) = heads.entry(server.clone()).or_default();
        *counts = [change.sessions, change.found, change.unread, change.approvals];
        let places: Vec<_> =
            change.rows.iter().map(|row| (row.index as usize, row.session.id.clone())).collect();
        change.apply(head);
        for (index, id) in places {
            prop_assert_eq!(&head[index].id, &id, "each row is at its place");
        }
        if counts[0] == 0 {
            prop_assert_eq!(head.len(), 0);
            heads.remove(&server);
        }
    }
    Ok(())
}

/// The head by its definition.
fn expected(list: &SessionList, query: &ListQuery) -> Folded {
    let title = TitleFilter::parse(&query.title);
    let mut heads = Folded::new();
    for session in list.all() {
        let (counts, head) = heads.entry(server_of(&session.id)).or_default();
        counts[0] += 1;
        counts[2] += session.unread;
        if title.as_ref().is_none_or(|title| title.matches(&session.title)) {
            counts[1] += 1;
            head.push(session);
        }
    }
    for (server, (_, head)) in &mut heads {
        head.truncate(query.rows_of(server));
    }
    heads
}

struct Window {
    list: SessionList,
    head: ListHead,
    queue: Queue,
    query: ListQuery,
    heads: Folded,
    has: u64,
    past: Vec<(u64, Folded)>,
}

impl Window {
    fn new() -> Self {
        let (list, mut head) = (SessionList::default(), ListHead::new());
        head.ask(ListQuery::default(), &list, 1);
        let (query, heads) = (ListQuery::default(), Folded::new());
        let queue = Queue::new(EPOCH, 1000);
        Self { list, head, queue, query, heads, has: 0, past: vec![] }
    }

    fn changed(&mut self, changed: bool) {
        if changed {
            self.queue.sessions_changed();
        }
    }

    fn publish(&mut self, edits: &[Edit]) {
        let mut seen = HashSet::new();
        let mut changes = Vec::new();
        for Edit { session, recency, title, unread, gone } in edits {
            if !seen.insert(*session) {
                continue;
            }
            let id = format!("{}/{session}", ["a", "b", "c"][usize::from(session % 3)]);
            changes.extend(if *gone {
                self.list.remove(&id)
            } else {
                let session = SessionSummary { unread: *unread, ..summary(&id, TITLES[*title]) };
                self.list.put(&format!("{recency:02}"), &session)
            });
        }
        let changed = self.head.follow(&changes, &self.list, self.queue.next());
        self.changed(changed);
    }

    fn ask(&mut self, query: ListQuery) {
        self.query = query.clone();
        let changed = self.head.ask(query, &self.list, self.queue.next());
        self.changed(changed);
    }

    fn read(&mut self, epoch: u64, after: u64) -> Result<(), TestCaseError> {
        if let FeedRead::Ready(read) = self.queue.read(epoch, after) {
            self.head.forget(self.queue.floor());
            if read.sessions {
                let (reset, changes) = self.head.since(read.since);
                fold(&mut self.heads, reset, changes)?;
            }
            self.has = read.to;
        }
        Ok(())
    }

    fn act(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish(edits) => self.publish(edits),
            Step::Ask { title, rows } => {
                let named = ["a", "b", "c"].into_iter().zip(rows);
                let named = named.filter_map(|(server, n)| Some((server.to_owned(), (*n)?)));
                self.ask(ListQuery { title: (*title).to_owned(), rows: named.collect() });
            }
            Step::ReadState => {
                self.past.push((self.has, self.heads.clone()));
                self.read(EPOCH, self.has)?;
            }
            Step::ReadAgain { back } => {
                let at = self.past.len().checked_sub(1 + back);
                if let Some((after, heads)) = at.map(|at| self.past[at].clone()) {
                    (self.has, self.heads) = (after, heads);
                    self.read(EPOCH, after)?;
                }
            }
            Step::ReadForeign => self.read(EPOCH + 1, 3)?,
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn folding_any_readers_batches_gives_the_head_of_the_list(
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut window = Window::new();
        for step in &steps {
            window.act(step)?;
        }
        // Whatever came before: one more read, and the reader has the head.
        window.read(EPOCH, window.has)?;
        prop_assert_eq!(&window.heads, &expected(&window.list, &window.query));
    }
}

fn many(sessions: u16) -> Window {
    let mut window = Window::new();
    let changes: Vec<Change> = (0..sessions)
        .filter_map(|n| window.list.put(&format!("{n:05}"), &summary(&format!("a/{n}"), "Tea")))
        .collect();
    let changed = window.head.follow(&changes, &window.list, window.queue.next());
    window.changed(changed);
    window.read(EPOCH, 0).expect("it fits");
    window
}

#[test]
fn a_change_of_one_session_is_told_by_its_row_alone() {
    let mut window = many(10_000);
    assert_eq!(window.heads["a"].1.len(), FIRST_ROWS as usize);
    let changed = SessionSummary { unread: 1, ..summary("a/17", "Tea") };
    let change = window.list.put("99999", &changed).expect("it moves to the front");
    assert!(window.head.follow(&[change], &window.list, window.queue.next()));
    window.changed(true);
    let (reset, changes) = window.head.since(window.has);
    assert!(!reset);
    assert_eq!(changes[0].rows, [HeadRow { index: 0, session: changed }]);
    assert_eq!(changes[0].removed, ["a/9960"]);
    assert_eq!((changes[0].sessions, changes[0].unread), (10_000, 1));

    let below = window.list.put("00003", &summary("a/3", "Coffee")).expect("it has another title");
    assert!(!window.head.follow(&[below], &window.list, window.queue.next()), "it is not wanted");
}

#[test]
fn scrolling_on_brings_the_next_rows_and_not_those_that_are_there() {
    let mut window = many(500);
    let rows = HashMap::from([("a".to_owned(), 100)]);
    window.ask(ListQuery { rows, ..ListQuery::default() });
    let (reset, changes) = window.head.since(window.has);
    assert!(!reset && changes[0].removed.is_empty());
    let places: Vec<u32> = changes[0].rows.iter().map(|row| row.index).collect();
    assert_eq!(places, (FIRST_ROWS..100).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_does_not_read_does_not_make_the_head_grow_and_starts_over() {
    let mut window = many(2_000);
    let rows = HashMap::from([("a".to_owned(), 10)]);
    window.ask(ListQuery { rows, ..ListQuery::default() });
    let mut most = 0;
    for n in 0..2_000u16 {
        let change = window.list.put(&format!("1{n:05}"), &summary(&format!("a/{n}"), "Tea"));
        let changes: Vec<Change> = change.into_iter().collect();
        let changed = window.head.follow(&changes, &window.list, window.queue.next());
        window.changed(changed);
        most = most.max(window.head.log.len()).max(window.head.gone.len());
    }
    assert!(most <= GONE + 20, "{most}");
    assert!(window.head.since(window.has).0, "it gets the whole head");
    window.read(EPOCH, window.has).expect("it fits");
    assert_eq!(window.heads, expected(&window.list, &window.query));
}
