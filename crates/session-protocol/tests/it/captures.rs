//! Streams a real session proxy wrote, read back from a real stream server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use session_protocol::{ApprovalStatus, MaterializedSession, Role, ToolState, materialize};

use crate::support::parts;

fn capture(name: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/wire-captures")
        .join(format!("{name}.json"));
    let text = std::fs::read_to_string(path).expect("the capture is in the repository");
    serde_json::from_str(&text).expect("a JSON array")
}

fn texts(session: &MaterializedSession) -> Vec<String> {
    session.messages.iter().map(|m| m.plain_text()).collect()
}

#[test]
fn messages_of_people_open_in_order() {
    let session = materialize(&capture("01-user-messages"));
    assert_eq!(texts(&session), ["Hi", "only content", "hdr actor", "sys"]);
    assert!(session.messages.iter().all(|m| m.role == Role::User && m.is_complete));
    assert_eq!(session.messages[2].actor_id.as_deref(), Some("hdr-actor"));
    assert_eq!(session.skipped, 0);
}

#[test]
fn an_agent_of_the_first_era_answers() {
    let session = materialize(&capture("02-after-legacy-agent"));
    assert_eq!(texts(&session)[4..], ["go", "Hello world"]);
    assert_eq!(session.session_stats.total_tokens, 7);
    assert_eq!(session.agents.len(), 1);
    assert_eq!(session.agents[0].name.as_deref(), Some("Legacy2"), "the last registration wins");
    assert_eq!(session.agents[0].triggers.as_deref(), Some("user-messages"), "fields are merged");
}

#[test]
fn tools_approvals_and_both_eras_stand_side_by_side() {
    let session = materialize(&capture("03-tools-approval-agui"));
    let by_text: BTreeMap<&str, Vec<String>> = session
        .messages
        .windows(2)
        .filter(|pair| pair[1].role == Role::Assistant)
        .map(|pair| (pair[1].actor_id.as_deref().unwrap_or_default(), parts(&pair[1])))
        .collect();
    assert_eq!(by_text["a-tools"], ["think:hm", "tool:call_1:done", "text:Minus three"]);
    assert_eq!(by_text["a-approval"], ["tool:call_2:waiting"]);
    assert_eq!(by_text["a-agui"], ["text:Hello AG-UI", "tool:call_3:done"]);
    assert_eq!(by_text["a-malformed"], ["text:ok"]);
    assert_eq!(session.pending_approvals.len(), 1);
    assert_eq!(session.pending_approvals[0].id, "approval_call_2");
    assert!(session.agents.is_empty(), "it was unregistered");
}

#[test]
fn answers_and_results_in_messages_of_their_own_reach_their_calls() {
    let session = materialize(&capture("04-tool-results-approvals"));
    assert_eq!(session.hidden_messages.len(), 6, "signals are no bubbles");
    assert!(session.pending_approvals.is_empty());
    let approval = &session.approvals[0];
    assert_eq!(approval.status, ApprovalStatus::Approved, "the first answer wins");
    assert_eq!(approval.responded_by.as_deref(), Some("u1"));
    let call = session.tool_calls.iter().find(|c| c.call.id == "call_2").expect("the call");
    assert_eq!(call.call.state, ToolState::Answered);
    let call = session.tool_calls.iter().find(|c| c.call.id == "call_1").expect("the call");
    assert_eq!(call.call.output, Some(serde_json::json!({"c": -3})));
    assert!(session.active_generations.is_empty(), "no phantom generation");
}

#[test]
fn a_stopped_generation_keeps_its_text() {
    for name in ["05-stopped", "11-registered-stop"] {
        let session = materialize(&capture(name));
        let last = session.messages.last().expect("messages");
        let stopped = last.stopped.as_ref().expect("stopped");
        assert_eq!(stopped.reason.as_deref(), Some("aborted"));
        assert!(last.is_complete && last.plain_text().starts_with("xxxxx"));
        assert!(session.active_generations.is_empty());
    }
}

#[test]
fn a_regenerated_answer_and_a_revived_session_append() {
    let session = materialize(&capture("06-regenerate"));
    assert_eq!(session.messages.last().map(|m| m.plain_text()).as_deref(), Some("Hello world"));
    let session = materialize(&capture("08-after-delete-and-put"));
    assert_eq!(session.messages.len(), 20);
    assert_eq!(texts(&session)[17..], ["e", "Hello world", "Hello world"]);
    assert_eq!(session.session_stats.total_tokens, 35);
}

#[test]
fn a_forked_session_that_copied_nothing_is_empty() {
    let session = materialize(&capture("07-fork-target"));
    assert!(session.messages.is_empty());
}

#[test]
fn a_session_nobody_created_opens() {
    assert_eq!(texts(&materialize(&capture("09-implicit"))), ["x"]);
}

#[test]
fn a_generation_cut_off_by_a_restart_is_incomplete() {
    let session = materialize(&capture("10-restart"));
    assert_eq!(session.hidden_messages, ["tr-1"]);
    let cut = session.messages.iter().find(|m| m.plain_text() == "xxxxxxxxx").expect("the text");
    assert!(!cut.is_complete && !cut.has_gap);
    assert_eq!(session.active_generations.len(), 1, "its last chunk is 5 s before the newest");
}
