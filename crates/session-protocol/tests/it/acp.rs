//! What agents that run on the server's computer ask and tell: options, and details of calls.

use serde_json::{Value, json};
use session_protocol::{
    ApprovalOption, ApprovalStatus, Lifecycle, Part, PartApproval, SessionFold, Texts, ToolState,
};

use crate::support::{assistant, chunk};

fn asked() -> Vec<Value> {
    let option = |id: &str, kind: &str| json!({"optionId": id, "name": format!("{id}, says the agent"), "kind": kind});
    let mut rows = assistant(
        "m",
        &[
            json!({"type": "RUN_STARTED", "runId": "r"}),
            json!({"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "execute"}),
            json!({"type": "CUSTOM", "name": "acp.tool", "value": {"toolCallId": "c", "title": "rm a", "kind": "execute"}}),
            json!({"type": "CUSTOM", "name": "approval-requested", "value": {"toolCallId": "c", "toolName": "execute",
                "input": {"command": "rm a"}, "approval": {"id": "r:1", "needsApproval": true},
                "options": [option("always", "allow_always"), option("once", "allow_once"), option("no", "reject_once"), {"odd": 1}]}}),
        ],
    );
    rows[0]["headers"]["run"] = json!({"id": "r", "depth": 0, "told": 0});
    rows
}

fn answer(approved: bool, extra: &Value) -> Value {
    let mut inner = json!({"type": "approval-response", "approvalId": "r:1", "approved": approved});
    for (name, value) in extra.as_object().expect("fields") {
        inner[name] = value.clone();
    }
    chunk("m", "ann", "user", 4, &inner)
}

fn folded(rows: &[Value], texts: Texts) -> SessionFold {
    let mut fold = match texts {
        Texts::Kept => SessionFold::new("s"),
        Texts::Dropped => SessionFold::without_texts("s", std::collections::HashSet::new()),
    };
    fold.apply(rows.iter().map(Value::to_string), &mut ());
    fold
}

#[test]
fn options_come_in_the_agents_words_and_the_one_that_was_chosen_is_kept() {
    let mut rows = asked();
    let approval = folded(&rows, Texts::Kept).approval("r:1", None).expect("it asks");
    let options = approval.options.expect("it offers some");
    assert_eq!(options.len(), 3);
    assert_eq!(options[0].name, "always, says the agent");
    assert_eq!(
        ApprovalOption::plain(&options, true).map(|option| option.option_id.as_str()),
        Some("once")
    );
    assert_eq!(
        ApprovalOption::plain(&options[..1], true),
        None,
        "nothing that lasts is chosen for somebody"
    );
    rows.push(answer(true, &json!({"optionId": "always"})));
    let approval = folded(&rows, Texts::Kept).approval("r:1", None).expect("it asks");
    assert_eq!(
        (approval.status, approval.option_id.as_deref()),
        (ApprovalStatus::Approved, Some("always"))
    );
}

fn call_approval(fold: &SessionFold) -> PartApproval {
    let message = fold.messages().find(|message| message.id == "m").expect("it is there");
    let call = message.parts.iter().find_map(|part| match part {
        Part::ToolCall(call) => call.approval.clone(),
        _ => None,
    });
    call.expect("the call asks")
}

#[test]
fn a_call_shows_the_options_who_chose_which_when_and_what_was_said() {
    let mut rows = asked();
    let asks = call_approval(&folded(&rows, Texts::Kept));
    assert_eq!((asks.approved, asks.options.map(|options| options.len())), (None, Some(3)));
    rows.push(answer(true, &json!({"optionId": "always"})));
    let chosen = call_approval(&folded(&rows, Texts::Kept));
    assert_eq!(chosen.option_id.as_deref(), Some("always"));
    assert_eq!(chosen.responded_by.as_deref(), Some("ann"));
    assert!(chosen.responded_at.is_some() && chosen.said.is_none());
    for (extra, said) in [
        (json!({"payload": "Not in this folder."}), "Not in this folder."),
        (json!({"reason": "Not in this folder."}), "Not in this folder."),
        (json!({"reason": "lapsed"}), "lapsed"),
    ] {
        rows.pop();
        rows.push(answer(false, &extra));
        let denied = call_approval(&folded(&rows, Texts::Kept));
        assert_eq!((denied.approved, denied.said.as_deref()), (Some(false), Some(said)));
    }
}

#[test]
fn an_answer_inside_its_run_is_owed_to_nobody_afterwards() {
    for (approved, end) in [
        (true, json!({"type": "RUN_FINISHED", "runId": "r", "finishReason": "stop"})),
        (false, json!({"type": "RUN_ERROR", "runId": "r", "message": "gone"})),
    ] {
        let mut rows = asked();
        rows.push(answer(approved, &json!({"optionId": "once"})));
        rows.push(chunk("m", "kermit", "assistant", 5, &end));
        for texts in [Texts::Kept, Texts::Dropped] {
            let fold = folded(&rows, texts);
            let run = fold.run("m").expect("it is there");
            assert_ne!(run.lifecycle(), Lifecycle::Open);
            assert_eq!(run.deliveries(), Default::default());
            let now = "2026-03-01T11:00:00Z".parse().expect("a time");
            assert!(!fold.is_waiting("m", now));
        }
    }
}

#[test]
fn a_call_that_ended_without_an_answer_was_not_granted() {
    let mut rows = asked();
    rows.push(chunk(
        "m",
        "kermit",
        "assistant",
        4,
        &json!({"type": "TOOL_CALL_RESULT", "toolCallId": "c", "content": "done"}),
    ));
    let approval = folded(&rows, Texts::Kept).approval("r:1", None).expect("it asks");
    assert_eq!(approval.status, ApprovalStatus::Denied);
    let mut rows = asked();
    rows.push(answer(false, &json!({"reason": "lapsed"})));
    let approval = folded(&rows, Texts::Kept).approval("r:1", None).expect("it asks");
    assert_eq!(
        (approval.status, approval.reason.as_deref()),
        (ApprovalStatus::Denied, Some("lapsed"))
    );
}

#[test]
fn details_of_a_call_are_merged_and_its_output_is_kept_within_bounds() {
    let mut rows = asked();
    let mut seq = 3;
    let mut say = |name: &str, value: Value| {
        seq += 1;
        rows.push(chunk(
            "m",
            "kermit",
            "assistant",
            seq,
            &json!({"type": "CUSTOM", "name": name, "value": value}),
        ));
    };
    say("acp.tool", json!({"toolCallId": "c", "status": "in_progress"}));
    for n in 0..100 {
        say(
            "acp.terminal",
            json!({"toolCallId": "c", "append": format!("{n}{}\n", "x".repeat(2_000))}),
        );
    }
    say("acp.terminal", json!({"toolCallId": "nobody", "append": "lost"}));
    say("acp.plan", json!({"planId": "main", "entries": [{"content": "first"}]}));
    say("acp.plan", json!({"planId": "main", "entries": [{"content": "second"}]}));
    let fold = folded(&rows, Texts::Kept);
    let parts = &fold.message("m").expect("it is there").parts;
    let Some(Part::ToolCall(call)) = parts.first() else { panic!("{parts:?}") };
    assert_eq!((call.title.as_deref(), call.state), (Some("rm a"), ToolState::Waiting));
    let details = call.details.as_ref().expect("it has some");
    assert_eq!((&details["kind"], &details["status"]), (&json!("execute"), &json!("in_progress")));
    let output = details["output"]["text"].as_str().expect("a text");
    assert!(output.len() <= 64 << 10 && output.ends_with("x\n") && output.contains("\n99x"));
    let cards: Vec<&Value> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Data { name, data, .. } if name == "acp.plan" => {
                Some(&data["entries"][0]["content"])
            }
            _ => None,
        })
        .collect();
    assert_eq!(cards, ["second"]);
}
