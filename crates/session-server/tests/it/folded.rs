//! What readers make of the events that the server writes.

use serde_json::json;
use session_protocol::{Message, Part, SessionFold, ToolCallPart, ToolState};

use crate::{
    fake::{Fake, Reply, sse},
    rig::{Log, Rig},
};

fn fold(log: &Log) -> SessionFold {
    let mut fold = SessionFold::new("s");
    fold.apply(log.items.iter().map(ToString::to_string), &mut ());
    fold
}

fn answer(fold: &SessionFold) -> Message {
    let visible: Vec<&Message> = fold.messages().filter(|message| !message.hidden).collect();
    assert_eq!(visible.len(), 2, "a question and an answer, nothing else");
    visible[1].clone()
}

fn calls(message: &Message) -> Vec<&ToolCallPart> {
    let parts = message.parts.iter();
    parts
        .filter_map(|part| if let Part::ToolCall(call) = part { Some(call) } else { None })
        .collect()
}

#[tokio::test]
async fn the_demo_run_is_one_message_with_reasoning_tools_and_an_approval() {
    for (approved, state) in [(true, ToolState::Done), (false, ToolState::Denied)] {
        let rig = Rig::new().await;
        let talk = rig.session("builtin:demo").await;
        talk.send("what can you do?").await;
        let log = talk.until("an approval", |log| log.ended() == 1).await;
        let waiting = fold(&log);
        assert_eq!(waiting.pending_approvals(jiff::Timestamp::now()).len(), 1);
        assert_eq!(waiting.pending_approvals(jiff::Timestamp::now())[0].tool_name, "delete_file");
        assert_eq!(calls(&answer(&waiting))[1].state, ToolState::Waiting);

        talk.approve(&log.approvals()[0], approved).await;
        let done = fold(&talk.until("the end", |log| log.ended() == 2).await);
        assert!(done.pending_approvals(jiff::Timestamp::now()).is_empty());
        assert_eq!(done.approvals()[0].responded_by.as_deref(), Some("ann"));
        let message = answer(&done);
        assert!(message.is_complete && !message.has_gap && message.error.is_none());
        assert_eq!(message.actor_id.as_deref(), Some("agent"));
        assert!(matches!(message.parts[0], Part::Reasoning { .. }));
        let calls = calls(&message);
        assert_eq!((calls[0].state, calls[1].state), (ToolState::Done, state));
        assert!(matches!(message.parts.last(), Some(Part::Text { .. })));
    }
}

#[tokio::test]
async fn a_stopped_message_is_complete_and_names_who_stopped_it() {
    let start =
        "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m\",\"delta\":\"half\"}\n\n";
    let fake = Fake::new([Reply::Hang(start.to_owned())]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("a first word", |log| log.text() == "half").await;
    rig.post(&talk.path("/stop"), json!({"actorId": "bob"})).await;
    let message = answer(&fold(&talk.until("the stop", |log| log.count("stop") == 1).await));
    assert!(message.is_complete);
    assert_eq!(message.stopped.unwrap().by.as_deref(), Some("bob"));
    assert_eq!(message.actor_id.as_deref(), Some("agent"));
}

#[tokio::test]
async fn a_clients_tool_result_finishes_the_call_in_every_dialect() {
    let dialects: [(&[&str], &str); 3] = [
        (
            &[
                r#"{"type":"tool_call","toolCall":{"id":"c","type":"function","function":{"name":"look","arguments":"{}"}},"index":0}"#,
                r#"{"type":"done","finishReason":"tool_calls"}"#,
            ],
            "done",
        ),
        (
            &[
                r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#,
                r#"{"type":"TOOL_CALL_START","toolCallId":"c","toolCallName":"look"}"#,
                r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","finishReason":"tool_calls"}"#,
            ],
            "RUN_FINISHED",
        ),
        (
            &[
                r#"{"type":"tool-input-available","toolCallId":"c","toolName":"look","input":{}}"#,
                r#"{"type":"finish","finishReason":"tool-calls"}"#,
            ],
            "finish",
        ),
    ];
    for (chunks, end) in dialects {
        let fake = Fake::new([sse(chunks), Reply::Whole(204, "text/plain", String::new())]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        talk.until("the call", |log| log.count(end) == 1).await;
        let result = json!({"toolCallId": "c", "output": {"seen": 3}, "actorId": "ann"});
        assert_eq!(rig.post(&talk.path("/tool-results"), result).await.0, 204);
        let items = talk.items().await;
        let message = answer(&fold(&Log { items }));
        let call = calls(&message)[0];
        assert_eq!(
            (call.state, &call.output),
            (ToolState::Done, &Some(json!({"seen": 3}))),
            "{end}"
        );
        assert!(message.is_complete, "{end}");
    }
}
