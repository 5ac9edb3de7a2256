//! Rows far above the end: whatever happens to them reaches the window that went up to them, and
//! going up moves no row that is there (L4).

use bytes::Bytes;
use serde_json::json;
use session_protocol::{Part, SessionFold};

use super::{Window, chunk, commit, delta, finish, folder, open, replay, say, take_in};
use crate::diff::Direction;
use crate::item::Item;
use crate::session::state::Session;

/// The message that is far above.
const FAR: u16 = 1;

/// An agent asks in the second of 101 messages, and its answer was cut short.
fn log() -> Vec<Bytes> {
    let ask = |seq, chunk_of| chunk(FAR, seq, "bot", "assistant", &chunk_of);
    let mut log = vec![
        say(0, "tidy up"),
        delta(FAR, 0, "I would delete it"),
        ask(1, json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "delete"})),
        ask(2, json!({"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{}"})),
        ask(
            3,
            json!({"type": "CUSTOM", "name": "approval-requested", "value": {
            "toolCallId": "c", "toolName": "delete", "input": {},
            "approval": {"id": "a", "needsApproval": true}}}),
        ),
    ];
    log.extend((2..101).map(|n| say(n, &format!("message {n}"))));
    log
}

/// A window that went up until it shows the first message.
async fn gone_up(dir: &tempfile::TempDir) -> (Session, Window, Vec<Bytes>) {
    let log = log();
    let mut session = open(dir.path()).await;
    take_in(&mut session, &log, 0, log.len());
    commit(&mut session).await;
    let mut window = Window::new();
    window.show(&mut session, None);
    window.pull(&mut session);
    assert_eq!(window.items.len(), 60, "the request is above what is shown first");
    window.page(&mut session, Direction::Before);
    window.pull(&mut session);
    assert_eq!(window.items.len(), 101);
    assert_eq!(window.resets, 1, "what was there stays where it is");
    (session, window, log)
}

/// Takes in what happens next; afterwards the window has what the whole log says.
fn happens(session: &mut Session, window: &mut Window, log: &mut Vec<Bytes>, next: Vec<Bytes>) {
    let at = log.len();
    log.extend(next);
    take_in(session, log, at, log.len());
    window.pull(session);
    assert_eq!(window.items, everything(&replay(log)));
    assert_eq!(window.resets, 1, "an edit far above is an edit");
}

fn everything(fold: &SessionFold) -> Vec<Item> {
    fold.messages().filter(|message| !message.hidden).map(Item::from_message).collect()
}

fn far(window: &Window) -> &Item {
    window.items.iter().find(|item| item.id == format!("m{FAR}")).expect("it is shown")
}

#[tokio::test]
async fn an_answer_to_a_request_in_an_older_page_reaches_the_window() {
    let dir = folder();
    let (mut session, mut window, mut log) = gone_up(&dir).await;
    let answer = json!({"type": "approval-response", "approvalId": "a", "approved": true});
    let answer = vec![chunk(FAR, 4, "ana", "user", &answer)];
    happens(&mut session, &mut window, &mut log, answer);
    let answered = far(&window).parts.iter().any(|part| match part {
        Part::ToolCall(call) => {
            call.approval.as_ref().is_some_and(|approval| approval.approved == Some(true))
        }
        _ => false,
    });
    assert!(answered, "the card asks no more");
}

#[tokio::test]
async fn a_late_edit_in_an_older_page_reaches_the_window() {
    let dir = folder();
    let (mut session, mut window, mut log) = gone_up(&dir).await;
    happens(&mut session, &mut window, &mut log, vec![delta(FAR, 4, ", and the copy")]);
    // And once more in what is complete, and has left memory.
    happens(&mut session, &mut window, &mut log, vec![finish(FAR, 5)]);
    commit(&mut session).await;
    happens(&mut session, &mut window, &mut log, vec![say(3, "message 3, changed")]);
    happens(&mut session, &mut window, &mut log, vec![delta(FAR, 6, " after all")]);
}

#[tokio::test]
async fn a_deletion_in_an_older_page_reaches_the_window() {
    let dir = folder();
    let (mut session, mut window, mut log) = gone_up(&dir).await;
    let delete =
        Bytes::from_static(br#"{"type":"chunk","key":"m2:0","headers":{"operation":"delete"}}"#);
    happens(&mut session, &mut window, &mut log, vec![delete]);
    assert!(window.items.iter().all(|item| item.id != "m2"));
}

#[tokio::test]
async fn an_answer_far_above_that_is_cut_off_by_another_word_says_so() {
    let dir = folder();
    let (mut session, mut window, mut log) = gone_up(&dir).await;
    let stop = json!({"type": "stop", "reason": "steered"});
    let steer = vec![say(101, "rather this"), chunk(FAR, 4, "ana", "user", &stop)];
    happens(&mut session, &mut window, &mut log, steer);
    assert_eq!(window.items.last().map(|item| item.id.as_str()), Some("m101"));
}
