//! What a server knows of a session without its texts, and what a window shows.
//!
//! Law L17: both are one fold, and give the same asks, calls, lifecycles and runs.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use session_protocol::{Event, Lifecycle, SessionFold, decode};

/// What a server does: it reads the stream, and once more with the rows of messages that are torn.
pub(crate) fn by_server(items: &[String]) -> SessionFold {
    let mut whole = HashSet::new();
    loop {
        let mut fold = SessionFold::without_texts("s", whole.clone());
        for item in items {
            fold.take(&decode(item.as_bytes()), &mut ());
        }
        let torn: BTreeSet<String> = fold.torn().map(str::to_owned).collect();
        if torn.is_empty() {
            return fold;
        }
        let before = whole.len();
        whole.extend(torn);
        assert!(whole.len() > before, "a message whose rows are kept is not torn");
    }
}

/// All that is decided by: runs, asks and calls, without a word.
pub(crate) fn meaning(fold: &SessionFold, now: Timestamp) -> Value {
    let runs: Vec<Value> = fold
        .runs()
        .map(|run| {
            json!({
                "message": run.message_id(), "actor": run.actor_id(), "role": run.role(), "at": run.position(),
                "hidden": run.is_hidden(), "dialect": format!("{:?}", run.dialect()),
                "lifecycle": format!("{:?}", run.lifecycle()), "end": [run.is_at_end(), run.is_for_good()],
                "steps": run.steps(), "words": run.words(), "run": run.run_id(), "depth": run.depth(),
                "named": [run.named_run(), run.last_run(), run.last_thread()],
                "waits": run.has_open_calls(), "deliveries": format!("{:?}", run.deliveries()),
                "asks": fold.is_asking(run.message_id(), now),
            })
        })
        .collect();
    let calls: Vec<Value> = fold
        .tool_calls()
        .iter()
        .map(|call| json!([call.message_id, call.call.id, call.call.state, call.call.preliminary]))
        .collect();
    let approvals: Vec<Value> = fold
        .approvals()
        .iter()
        .map(|one| json!([one.message_id, one.id, one.tool_call_id, one.status, one.expires_at]))
        .collect();
    json!({
        "runs": runs, "calls": calls, "approvals": approvals, "title": fold.title(),
        "asks": format!("{:?}", fold.asks(now)),
    })
}

/// Recorded sessions, as far as they are rows of messages.
fn recorded() -> Vec<(String, Vec<String>)> {
    let cases = ["wire-cases", "fold-cases"].into_iter().flat_map(crate::cases::fixtures);
    let is_row = |item: &&Value| {
        let text = item.to_string();
        matches!(decode(text.as_bytes()), Event::Chunk(_) | Event::Control(_))
    };
    let rows = |case: &Value| -> Vec<String> {
        let items = case.get("events").or_else(|| case.get("items"));
        let items = items.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        items.iter().filter(is_row).map(Value::to_string).collect()
    };
    cases.map(|(name, case)| (name, rows(&case))).collect()
}

// L17
#[test]
fn a_server_and_a_window_agree_about_every_recorded_session_however_far_it_is() {
    let now = "2026-03-01T10:01:00Z".parse().expect("a time");
    let mut asked = 0;
    for (name, items) in recorded() {
        for end in 1..=items.len() {
            let read = &items[..end];
            let mut window = SessionFold::new("s");
            window.apply(read, &mut ());
            let server = by_server(read);
            assert_eq!(meaning(&server, now), meaning(&window, now), "{name} after {end} items");
            asked += server.asks(now).len();
        }
    }
    assert!(asked > 0, "some of them ask");
}

/// What a window shows as waiting for a person is what a server lets nobody go on without.
#[test]
fn every_pending_approval_is_an_ask_unless_its_message_was_stopped() {
    let now = "2026-03-01T10:01:00Z".parse().expect("a time");
    for (name, items) in recorded() {
        let mut window = SessionFold::new("s");
        window.apply(&items, &mut ());
        let asks = window.asks(now);
        for approval in window.pending_approvals(now) {
            let run = window.run(&approval.message_id).expect("its message");
            let asked = asks
                .iter()
                .any(|ask| ask.message_id == approval.message_id && ask.id == approval.id);
            assert!(asked || run.lifecycle() == Lifecycle::Stopped, "{name}: {}", approval.id);
        }
    }
}
