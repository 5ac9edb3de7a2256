//! What a server knows of a session without its texts, and what a window shows.
//!
//! Law L17: both are one fold, and give the same asks, calls, lifecycles and runs.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use session_protocol::{SessionFold, decode};

/// What a server does: it reads the stream, and once more with the rows of messages that are torn.
pub(crate) fn by_server(items: &[String]) -> SessionFold {
    let mut whole = HashSet::new();
    loop {
        let mut fold = SessionFold::without_texts("s", whole.clone());
        for item in items {
            fold.take(&decode(item.as_bytes()));
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
