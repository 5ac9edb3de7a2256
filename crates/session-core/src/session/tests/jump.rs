//! A window that was opened around a message: what it has is what the session has there (L4).

use bytes::Bytes;
use proptest::prelude::*;

use super::{Window, commit, delta, finish, folder, open, replay, say, take_in};
use crate::feed::Direction;
use crate::item::Item;

/// Two hundred messages, then more.
fn long_log() -> Vec<Bytes> {
    let mut log: Vec<Bytes> = (0..200).map(|n| say(n, &format!("message {n}"))).collect();
    log.extend([delta(200, 0, "an answer "), delta(200, 1, "in two"), finish(200, 2)]);
    log
}

fn ids(window: &Window) -> Vec<&str> {
    window.items.iter().map(|item| item.id.as_str()).collect()
}

#[tokio::test]
async fn a_window_opens_around_a_message_and_moves_both_ways_back_to_the_end() {
    let dir = folder();
    let log = long_log();
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
    let late = [delta(30, 1, "late")];
    take_in(&mut session, &late, 0, 1);
    window.pull(&mut session);
    assert_eq!(window.items.len(), 60);

    window.page(&mut session, Direction::Before, 60);
    window.pull(&mut session);
    assert_eq!(ids(&window).first(), Some(&"m0"));
    assert!(!window.has_more_before && window.has_more_after);
    for _ in 0..3 {
        window.page(&mut session, Direction::After, 60);
        window.pull(&mut session);
    }
    assert_eq!(ids(&window).last(), Some(&"m200"));
    assert!(window.has_more_before && !window.has_more_after);

    // It follows the end now.
    let more = [say(201, "the newest")];
    take_in(&mut session, &more, 0, 1);
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

#[derive(Debug, Clone)]
enum Step {
    Around(u8),
    End,
    Page { before: bool, limit: usize },
    Text { message: u8 },
    Delete { message: u8 },
    Commit,
    Pull,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..120u8).prop_map(Step::Around),
        1 => Just(Step::End),
        4 => (any::<bool>(), 1..90usize).prop_map(|(before, limit)| Step::Page { before, limit }),
        8 => (0..140u8).prop_map(|message| Step::Text { message }),
        1 => (0..120u8).prop_map(|message| Step::Delete { message }),
        1 => Just(Step::Commit),
        3 => Just(Step::Pull),
    ]
}

async fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let dir = folder();
    let mut log: Vec<Bytes> = (0..120).map(|n| delta(n, 0, "begin")).collect();
    let mut seqs = [0u32; 256];
    let mut session = open(dir.path()).await;
    take_in(&mut session, &log, 0, 120);
    let mut window = Window::new();
    window.show(&mut session, None);
    for step in steps {
        let at = log.len();
        match step {
            Step::Around(message) => window.show(&mut session, Some(&format!("m{message}"))),
            Step::End => window.show(&mut session, None),
            Step::Page { before, limit } => {
                let direction = if *before { Direction::Before } else { Direction::After };
                window.page(&mut session, direction, *limit);
            }
            Step::Text { message } => {
                seqs[usize::from(*message)] += 1;
                log.push(delta(*message, seqs[usize::from(*message)], " more"));
            }
            Step::Delete { message } => {
                for seq in 0..=seqs[usize::from(*message)] {
                    let key = format!("m{message}:{seq}");
                    log.push(Bytes::from(format!(
                        r#"{{"type":"chunk","key":"{key}","headers":{{"operation":"delete"}}}}"#
                    )));
                }
            }
            Step::Commit => commit(&mut session).await,
            Step::Pull => window.pull(&mut session),
        }
        take_in(&mut session, &log, at, log.len());
    }
    window.pull(&mut session);
    let truth: Vec<Item> = replay(&log).messages().map(Item::from_message).collect();
    let Some(first) = window.items.first() else {
        prop_assert!(truth.is_empty() || window.has_more_before || window.has_more_after);
        return Ok(());
    };
    let from = truth.iter().position(|item| item.id == first.id);
    let from = from.ok_or_else(|| TestCaseError::fail("the first item does not exist"))?;
    let to = from + window.items.len();
    prop_assert!(to <= truth.len());
    prop_assert_eq!(&window.items[..], &truth[from..to], "a stretch without a gap");
    prop_assert!(window.has_more_before || from == 0, "nothing lies before");
    prop_assert!(window.has_more_after || to == truth.len(), "nothing lies behind");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

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
