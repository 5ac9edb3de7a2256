//! The AG-UI chunks that the built-in agents write.
//!
//! Text and reasoning use the durable message's id as their AG-UI id, so that older readers, which start a new message
//! at every new id, keep all turns of a run in one.

use serde_json::{Value, json};
use session_protocol::authority::{RETHOUGHT, TOOL_INFO, TOOL_PROGRESS};

use super::RunRequest;
use crate::{
    history::KEPT,
    run::{RunSink, Stopped},
};

/// The part of the message that is open right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Text,
    Reasoning,
}

/// An approval to ask for.
pub(crate) struct AskFor {
    pub(crate) tool_call_id: String,
    pub(crate) tool_name: String,
    pub(crate) input: Value,
}

impl AskFor {
    /// The approval's id, by upstream's convention.
    pub(crate) fn approval_id(&self) -> String {
        format!("approval_{}", self.tool_call_id)
    }
}

/// A question to people, about no approval.
pub(crate) struct Question {
    pub(crate) id: String,
    pub(crate) message: String,
    /// JSON Schema of the answer.
    pub(crate) schema: Option<Value>,
    /// The call whose tool asks.
    pub(crate) about: String,
}

/// Writes one run as AG-UI events, keeping track of what is open.
pub(crate) struct Writer {
    out: RunSink,
    thread_id: String,
    run_id: String,
    message_id: String,
    section: Section,
    started: bool,
    /// Stretches of reasoning so far: each is a step, because reasoning of one id is one part, wherever it goes on.
    thoughts: usize,
}

impl Writer {
    pub(crate) fn new(request: &RunRequest, out: RunSink) -> Self {
        Self {
            out,
            thread_id: request.session_id.clone(),
            run_id: request.plan.run_id.clone(),
            message_id: request.plan.message_id.clone(),
            section: Section::None,
            started: false,
            thoughts: 0,
        }
    }

    /// Begins the run. Does nothing the second time.
    pub(crate) async fn start(&mut self) -> Result<(), Stopped> {
        if self.started {
            return Ok(());
        }
        self.started = true;
        let chunk =
            json!({"type": "RUN_STARTED", "threadId": self.thread_id, "runId": self.run_id});
        self.out.emit(&chunk).await
    }

    async fn enter(&mut self, section: Section) -> Result<(), Stopped> {
        if self.section == section {
            return Ok(());
        }
        let id = &self.message_id;
        let step = |kind: &str, n: usize| {
            let name = format!("{}:{n}", self.run_id);
            json!({"type": kind, "stepName": name, "stepId": name})
        };
        let mut chunks = Vec::new();
        match self.section {
            Section::None => {}
            Section::Text => chunks.push(json!({"type": "TEXT_MESSAGE_END", "messageId": id})),
            Section::Reasoning => {
                chunks.push(json!({"type": "REASONING_MESSAGE_END", "messageId": id}));
                chunks.push(step("STEP_FINISHED", self.thoughts));
            }
        }
        match section {
            Section::None => {}
            Section::Text => chunks
                .push(json!({"type": "TEXT_MESSAGE_START", "messageId": id, "role": "assistant"})),
            Section::Reasoning => {
                self.thoughts += 1;
                chunks.push(step("STEP_STARTED", self.thoughts));
                chunks.push(
                    json!({"type": "REASONING_MESSAGE_START", "messageId": id, "role": "reasoning"}),
                );
            }
        }
        self.section = section;
        for chunk in chunks {
            self.out.emit(&chunk).await?;
        }
        Ok(())
    }

    pub(crate) async fn text(&mut self, delta: &str) -> Result<(), Stopped> {
        self.enter(Section::Text).await?;
        let id = &self.message_id;
        self.out
            .emit(&json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": id, "delta": delta}))
            .await
    }

    pub(crate) async fn reasoning(&mut self, delta: &str) -> Result<(), Stopped> {
        self.enter(Section::Reasoning).await?;
        let id = &self.message_id;
        self.out
            .emit(&json!({"type": "REASONING_MESSAGE_CONTENT", "messageId": id, "delta": delta}))
            .await
    }

    pub(crate) async fn tool_start(&mut self, id: &str, name: &str) -> Result<(), Stopped> {
        self.enter(Section::None).await?;
        self.out
            .emit(&json!({
                "type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": name,
                "toolName": name, "parentMessageId": self.message_id,
            }))
            .await
    }

    pub(crate) async fn tool_args(&mut self, id: &str, delta: &str) -> Result<(), Stopped> {
        self.out.emit(&json!({"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": delta})).await
    }

    /// The call is complete. `input` is what its arguments mean, where they mean anything.
    pub(crate) async fn tool_end(
        &mut self,
        id: &str,
        input: Option<&Value>,
    ) -> Result<(), Stopped> {
        let mut chunk = json!({"type": "TOOL_CALL_END", "toolCallId": id});
        if let Some(input) = input {
            chunk["input"] = input.clone();
        }
        self.out.emit(&chunk).await
    }

    /// Says whose tool a call is of.
    pub(crate) async fn tool_info(&mut self, id: &str, mut info: Value) -> Result<(), Stopped> {
        info["toolCallId"] = id.into();
        self.out.emit(&json!({"type": "CUSTOM", "name": TOOL_INFO, "value": info})).await
    }

    /// Writes how far a call is.
    pub(crate) async fn progress(&mut self, id: &str, said: &Value) -> Result<(), Stopped> {
        let value = json!({"toolCallId": id, "progress": said});
        self.out.emit(&json!({"type": "CUSTOM", "name": TOOL_PROGRESS, "value": value})).await
    }

    /// Says that the text since the last call or thought was a thought.
    pub(crate) async fn rethink(&mut self) -> Result<(), Stopped> {
        self.enter(Section::None).await?;
        let value = json!({"messageId": self.message_id});
        self.out.emit(&json!({"type": "CUSTOM", "name": RETHOUGHT, "value": value})).await
    }

    /// Keeps what the model gave with an answer, in the log: for the call of this id, or for the message.
    pub(crate) async fn keep(&mut self, call: Option<&str>, value: String) -> Result<(), Stopped> {
        self.enter(Section::None).await?;
        let kind = if call.is_some() { "tool-call" } else { "message" };
        let entity = call.unwrap_or(&self.message_id);
        self.out
            .emit(&json!({
                "type": KEPT, "subtype": kind, "entityId": entity, "encryptedValue": value,
            }))
            .await
    }

    /// The result of a tool; `failed` marks it as an error.
    pub(crate) async fn tool_result(
        &mut self,
        id: &str,
        content: &str,
        failed: bool,
    ) -> Result<(), Stopped> {
        self.enter(Section::None).await?;
        let mut chunk = json!({
            "type": "TOOL_CALL_RESULT", "messageId": self.message_id, "toolCallId": id,
            "content": content, "role": "tool",
        });
        if failed {
            chunk["state"] = "output-error".into();
        }
        self.out.emit(&chunk).await
    }

    /// Asks for approvals, and questions, and ends the run until they are answered. Approvals are written both as the
    /// custom event that older readers know and as the run's interrupts.
    pub(crate) async fn ask_and_finish(
        &mut self,
        asks: &[AskFor],
        questions: &[Question],
        usage: Option<Value>,
    ) -> Result<(), Stopped> {
        self.enter(Section::None).await?;
        let mut interrupts = Vec::with_capacity(asks.len() + questions.len());
        for ask in asks {
            let id = ask.approval_id();
            let value = json!({
                "toolCallId": ask.tool_call_id, "toolName": ask.tool_name, "input": ask.input,
                "approval": {"id": id, "needsApproval": true},
            });
            self.out
                .emit(&json!({"type": "CUSTOM", "name": "approval-requested", "value": value}))
                .await?;
            interrupts.push(json!({
                "id": id, "reason": "approval_required", "toolCallId": ask.tool_call_id,
                "metadata": {"kind": "approval"},
            }));
        }
        for question in questions {
            let mut interrupt = json!({
                "id": question.id, "reason": "input_required", "message": question.message,
                "metadata": {"about": question.about},
            });
            if let Some(schema) = &question.schema {
                interrupt["responseSchema"] = schema.clone();
            }
            interrupts.push(interrupt);
        }
        let mut chunk = json!({
            "type": "RUN_FINISHED", "threadId": self.thread_id, "runId": self.run_id,
            "outcome": {"type": "interrupt", "interrupts": interrupts},
        });
        // A call that a question is about waits for the answer, and for no result of a client.
        if questions.is_empty() {
            chunk["finishReason"] = "tool_calls".into();
        }
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        self.out.emit(&chunk).await
    }

    /// Ends the run.
    pub(crate) async fn finish(
        &mut self,
        reason: &str,
        usage: Option<Value>,
    ) -> Result<(), Stopped> {
        self.enter(Section::None).await?;
        let mut chunk = json!({
            "type": "RUN_FINISHED", "threadId": self.thread_id, "runId": self.run_id,
            "finishReason": reason,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        self.out.emit(&chunk).await
    }
}
