//! A window that is opened anywhere and goes both ways: what it has is what the session has there
//! (L4).

use bytes::Bytes;
use proptest::prelude::*;

use super::{Window, commit, crash, delta, finish, folder, open, read_from, replay, say, take_in};
use crate::diff::Direction;
use crate::item::Item;
use crate::session::state::Session;
use crate::view::{KEPT, PAGE};
use session_protocol::SessionFold;

/// Two hundred messages, then more.
fn long_log() -> Vec<Bytes> {
    let mut log: Vec<Bytes> = (0..200).map(|n| say(n, &format!("message {n}"))).collect();
    log.extend([delta(200, 0, "an answer "), delta(200, 1, "in two"), finish(200, 2)]);
    log
}

/// The log goes on.
fn add(session: &mut Session, log: &mut Vec<Bytes>, item: Bytes) {
    log.push(item);
    take_in(session, log, log.len() - 1, log.len());
}

fn ids(window: &Window) -> Vec<&str> {
    window.items.iter().map(|item| item.id.as_str()).collect()
}

#[tokio::test]
async fn a_window_goes_to_the_first_message_and_on_from_there() {
    let dir = folder();
    let log = long_log();
    let mut session = open(dir.path()).await;
    take_in(&mut session, &log, 0, log.len());
    commit(&mut session).await;
    let mut window = Window::new();
    window.show(&mut session, None);
    window.pull(&mut session);
    assert!(window.has_more_before);
    window.show_start(&mut session);
    window.pull(&mut session);
    assert_eq!(ids(&window), (0..30).map(|n| format!("m{n}")).collect::<Vec<_>>());
    assert!(!window.has_more_before && window.has_more_after);
    window.page(&mut session, Direction::After);
    window.pull(&mut session);
    assert_eq!(ids(&window).last(), Some(&"m89"));
}

#[tokio::test]
async fn a_window_opens_around_a_message_and_moves_both_ways_back_to_the_end() {
    let dir = folder();
    let mut log = long_log();
    let mut session = open(dir.path()).await;
    take_in(&mut session, &log, 0, 200);
    commit(&mut session).await;
    let mut window = Window::new();
    window.show(&mut session, Some("m50"));
    window.pull(&mut session);
    assert_eq!(ids(&window), (20..80).map(|n| format!("m{n}")).collect::<Vec<_>>());
    assert!(window.has_more_before && window.has_more_after);

    // What happens behind its end is not told; what happens in it is.
    take_in(&mut session, &log, 200, log.len());
    let before = window.items.clone();
    add(&mut session, &mut log, say(30, "said otherwise"));
    window.pull(&mut session);
    assert_eq!(window.items.len(), 60);
    let there = replay(&log);
    let there = there.message("m30").map(Item::from_message);
    assert_eq!(window.items.get(10), there.as_ref(), "with its new words");
    assert_ne!(window.items[10], before[10]);

    window.page(&mut session, Direction::Before);
    window.pull(&mut session);
    assert_eq!(ids(&window).first(), Some(&"m0"));
    assert!(!window.has_more_before && window.has_more_after);
    for _ in 0..3 {
        window.page(&mut session, Direction::After);
        window.pull(&mut session);
    }
    assert_eq!(ids(&window).last(), Some(&"m200"));
    assert!(!window.has_more_before && !window.has_more_after);
    assert_eq!(window.resets, 1, "it went on from what it had");

    // It follows the end now.
    add(&mut session, &mut log, say(201, "the newest"));
    window.pull(&mut session);
    assert_eq!(ids(&window).last(), Some(&"m201"));
}

#[tokio::test]
async fn a_message_that_is_not_there_shows_the_end() {
    let dir = folder();
    let log = long_log();
    let mut session = open(dir.path()).await;
    take_in(&mut session, &log, 0, log.len());
    let mut window = Window::new();
    window.show(&mut session, Some("nobody"));
    window.pull(&mut session);
    assert_eq!(ids(&window).last(), Some(&"m200"));
    assert!(!window.has_more_after);
}

#[tokio::test]
async fn going_up_trims_the_end_and_coming_back_trims_the_start() {
    let dir = folder();
    let mut log: Vec<Bytes> = (0..450).map(|n| say(n, &format!("message {n}"))).collect();
    let mut session = open(dir.path()).await;
    take_in(&mut session, &log, 0, log.len());
    commit(&mut session).await;
    let mut window = Window::new();
    window.show(&mut session, None);
    window.pull(&mut session);
    let mut up = 0;
    while window.has_more_before {
        window.page(&mut session, Direction::Before);
        window.pull(&mut session);
        assert!(window.items.len() <= KEPT);
        up += 1;
    }
    assert_eq!(up, (450 - PAGE).div_ceil(PAGE));
    assert_eq!(ids(&window).first(), Some(&"m0"));
    assert!(window.has_more_after, "the end is too far away to be kept");
    // What is said meanwhile is found on the way back.
    add(&mut session, &mut log, say(450, "the newest"));
    while window.has_more_after {
        window.page(&mut session, Direction::After);
        window.pull(&mut session);
        assert!(window.items.len() <= KEPT);
    }
    assert_eq!(ids(&window).last(), Some(&"m450"));
    assert!(window.has_more_before);
    assert_eq!(window.resets, 1, "nobody was too slow");
}

#[tokio::test]
async fn a_window_that_starts_over_is_where_it_was() {
    let dir = folder();
    let log: Vec<Bytes> = (0..450).map(|n| say(n, &format!("message {n}"))).collect();
    let mut session = open(dir.path()).await;
    take_in(&mut session, &log, 0, log.len());
    commit(&mut session).await;
    let mut window = Window::new();
    window.show(&mut session, None);
    window.pull(&mut session);
    for pages in [2, 5] {
        for _ in 0..pages {
            window.page(&mut session, Direction::Before);
            window.pull(&mut session);
        }
        let before = window.items.clone();
        // As a page that was loaded again asks.
        window.lose();
        window.pull(&mut session);
        assert_eq!(window.items, before);
        // As after a fall of the session's task.
        session.attach(window.feed.shared());
        window.pull(&mut session);
        assert_eq!(window.items, before);
    }
}

#[tokio::test]
async fn a_window_whose_every_message_was_deleted_goes_on() {
    let dir = folder();
    let mut log: Vec<Bytes> = (0..70).map(|n| say(n, &format!("message {n}"))).collect();
    let mut session = open(dir.path()).await;
    take_in(&mut session, &log, 0, log.len());
    let mut window = Window::new();
    window.show(&mut session, None);
    let at = log.len();
    log.extend((10..70).map(|n| deletion(n, 0)));
    log.push(say(70, "a new beginning"));
    take_in(&mut session, &log, at, log.len());
    window.pull(&mut session);
    assert_eq!(ids(&window), ["m70"]);
    window.page(&mut session, Direction::Before);
    window.pull(&mut session);
    assert_eq!(window.items.len(), 11);
}

fn deletion(message: u16, seq: u32) -> Bytes {
    let key = format!("m{message}:{seq}");
    Bytes::from(format!(r#"{{"type":"chunk","key":"{key}","headers":{{"operation":"delete"}}}}"#))
}

/// Number of messages at first, and at most.
const AT_FIRST: u16 = 400;
const AT_MOST: u16 = 420;

/// Requests of the page, and events of the session meanwhile.
#[derive(Debug, Clone)]
enum Step {
    Around(u16),
    End,
    Page(Direction),
    /// A few words more, also in what is complete, and maybe in a message that is new.
    Text(u16),
    /// Words enough that a reader who does not read must start over.
    Flood(u16),
    Finish(u16),
    Delete(u16),
    /// A commit: what is complete leaves memory.
    Commit,
    /// The task falls and comes back from the store.
    Fall,
    Pull,
    /// A batch that never reaches the page, which asks again.
    PullInVain,
    /// The page was loaded again, or something did not fit.
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    let known = 0..AT_FIRST;
    prop_oneof![
        2 => known.clone().prop_map(Step::Around),
        1 => Just(Step::End),
        8 => Just(Step::Page(Direction::Before)),
        6 => Just(Step::Page(Direction::After)),
        10 => (0..AT_MOST).prop_map(Step::Text),
        1 => known.clone().prop_map(Step::Flood),
        3 => known.clone().prop_map(Step::Finish),
        2 => known.prop_map(Step::Delete),
        2 => Just(Step::Commit),
        1 => Just(Step::Fall),
        8 => Just(Step::Pull),
        2 => Just(Step::PullInVain),
        1 => Just(Step::Lose),
    ]
}

/// Whether the window has a stretch of the session without a gap, and knows what lies beside it.
fn check(window: &Window, truth: &SessionFold) -> Result<(), TestCaseError> {
    let all: Vec<Item> = truth.messages().map(Item::from_message).collect();
    let Some(first) = window.items.first() else {
        prop_assert!(all.is_empty() || window.has_more_before || window.has_more_after);
        return Ok(());
    };
    let from = all.iter().position(|item| item.id == first.id);
    let from = from.ok_or_else(|| TestCaseError::fail("the first item does not exist"))?;
    let to = from + window.items.len();
    prop_assert!(to <= all.len());
    prop_assert_eq!(&window.items[..], &all[from..to], "a stretch without a gap");
    prop_assert!(window.has_more_before || from == 0, "nothing lies before");
    prop_assert!(window.has_more_after || to == all.len(), "nothing lies behind");
    prop_assert!(window.items.len() <= KEPT + usize::from(AT_MOST - AT_FIRST));
    Ok(())
}

async fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let dir = folder();
    let mut log: Vec<Bytes> = (0..AT_FIRST)
        .map(|n| if n % 3 == 0 { delta(n, 0, "begin") } else { say(n, "said") })
        .collect();
    let mut seqs = [0u32; AT_MOST as usize];
    let mut session = open(dir.path()).await;
    take_in(&mut session, &log, 0, log.len());
    let mut truth = SessionFold::new(super::ID);
    truth.apply(&log, &mut ());
    let mut window = Window::new();
    window.show(&mut session, None);
    // Times that the list may begin anew: moving on is none of them.
    let mut beginnings = 1;
    for step in steps {
        let at = log.len();
        let mut write = |message: u16, item: &dyn Fn(u32) -> Bytes| {
            let seq = &mut seqs[usize::from(message)];
            *seq += 1;
            log.push(item(*seq));
        };
        match *step {
            Step::Around(message) => window.show(&mut session, Some(&format!("m{message}"))),
            Step::End => window.show(&mut session, None),
            Step::Page(direction) => window.page(&mut session, direction),
            Step::Text(message) => write(message, &|seq| delta(message, seq, " more")),
            Step::Flood(message) => {
                for _ in 0..3 {
                    write(message, &|seq| delta(message, seq, &"flood ".repeat(60_000)));
                }
            }
            Step::Finish(message) => write(message, &|seq| finish(message, seq)),
            Step::Delete(message) => {
                log.extend((0..=seqs[usize::from(message)]).map(|seq| deletion(message, seq)));
            }
            Step::Commit => commit(&mut session).await,
            Step::Fall => {
                session = fall(session, dir.path(), &log).await;
                session.attach(window.feed.shared());
            }
            Step::Pull => window.pull(&mut session),
            Step::PullInVain => drop(window.feed.shared().try_read(window.epoch, window.after)),
            Step::Lose => window.lose(),
        }
        let begins =
            matches!(step, Step::Around(_) | Step::End | Step::Fall | Step::Flood(_) | Step::Lose);
        beginnings += usize::from(begins);
        window.serve(&mut session);
        take_in(&mut session, &log, at, log.len());
        truth.apply(&log[at..], &mut ());
        if matches!(step, Step::Pull) {
            // What came with this step is not there yet, of which there is none.
            check(&window, &truth)?;
        }
    }
    window.pull(&mut session);
    check(&window, &truth)?;
    // A flood makes rows that are too large for a reader who does not read.
    let flooded = steps.iter().any(|step| matches!(step, Step::Flood(_)));
    prop_assert!(flooded || window.resets <= beginnings, "{} of {beginnings}", window.resets);
    Ok(())
}

/// The session from the store, up to where the log is.
async fn fall(session: Session, dir: &std::path::Path, log: &[Bytes]) -> Session {
    crash(session);
    let mut session = open(dir).await;
    let from = read_from(&session);
    take_in(&mut session, log, from, log.len());
    session
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_window_shows_a_stretch_without_a_gap_wherever_it_goes(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        runtime.block_on(run(&steps))?;
    }
}
