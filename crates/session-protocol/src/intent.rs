//! A person's intent. An intent is durable before it is sent and leaves only by its echo.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::api::SendMode;
use crate::{AgentSpec, FilePart};

/// One wish of a person, aimed at one session.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Intent {
    /// Make the session and register its agents.
    CreateSession {
        /// The agents to register.
        agents: Vec<AgentSpec>,
        /// The session's title.
        title: Option<String>,
    },
    /// Make the session as a copy of another, up to a message. The new session's id is the
    /// idempotency key.
    #[serde(rename = "forkSession")]
    Fork {
        /// The session to copy.
        source: String,
        /// The last message of the copy; `None` copies everything.
        #[serde(default)]
        at_message_id: Option<String>,
    },
    /// Say something. `message_id` is the idempotency key and the id of the message (L7).
    SendMessage {
        /// The message's id, minted by the sender.
        message_id: Uuid,
        /// The words. None are needed where files are attached.
        text: String,
        /// Files that are attached, each with its bytes in a `data:` URL.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<FilePart>,
        /// The fate of an answer that is being written.
        #[serde(default, skip_serializing_if = "SendMode::is_queue")]
        mode: SendMode,
    },
    /// Answer an approval.
    RespondApproval {
        /// The approval's id.
        approval_id: String,
        /// The message that asks: agents choose ids, and two may choose the same.
        #[serde(default)]
        message_id: Option<String>,
        /// Yes or no.
        approved: bool,
        /// More of the answer: words with a no, or words or fields where more than yes or no was
        /// asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
        /// The option that is chosen, of a request that offers some. It says the same as
        /// `approved`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        option_id: Option<String>,
    },
    /// Have a message answered again: its answer failed, or was not liked.
    Regenerate {
        /// The message of a person that is to be answered.
        message_id: String,
    },
    /// Choose something of an agent: its mode, its model.
    SetAgentOption {
        /// The agent.
        agent_id: String,
        /// The option.
        option_id: String,
        /// The value of the choice.
        value: String,
    },
    /// Stop one generation, or all of them.
    Stop {
        /// The message to stop. `None` stops all that run when it arrives, so that asking twice
        /// may stop more than was meant: name the messages instead.
        message_id: Option<String>,
    },
    /// Give the session a title.
    Rename {
        /// The new title.
        title: String,
    },
    /// Delete the session.
    DeleteSession,
}

impl fmt::Debug for Intent {
    // L11: texts, titles and outputs are a person's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateSession { agents, .. } => {
                f.debug_struct("CreateSession").field("agents", agents).finish_non_exhaustive()
            }
            Self::Fork { source, at_message_id } => f
                .debug_struct("Fork")
                .field("source", source)
                .field("at_message_id", at_message_id)
                .finish(),
            Self::SendMessage { message_id, text, files, mode } => f
                .debug_struct("SendMessage")
                .field("message_id", message_id)
                .field("bytes", &text.len())
                .field("files", &files.len())
                .field("mode", mode)
                .finish(),
            Self::RespondApproval { approval_id, message_id, approved, .. } => f
                .debug_struct("RespondApproval")
                .field("approval_id", approval_id)
                .field("message_id", message_id)
                .field("approved", approved)
                .finish(),
            Self::Regenerate { message_id } => {
                f.debug_struct("Regenerate").field("message_id", message_id).finish()
            }
            Self::SetAgentOption { agent_id, option_id, .. } => f
                .debug_struct("SetAgentOption")
                .field("agent_id", agent_id)
                .field("option_id", option_id)
                .finish_non_exhaustive(),
            Self::Stop { message_id } => {
                f.debug_struct("Stop").field("message_id", message_id).finish()
            }
            Self::Rename { .. } => f.write_str("Rename"),
            Self::DeleteSession => f.write_str("DeleteSession"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_keeps_its_shape_on_disk() {
        let mode = SendMode::Queue;
        let (text, files) = ("hi".to_owned(), vec![]);
        let intent = Intent::SendMessage { message_id: Uuid::nil(), text, files, mode };
        let json = serde_json::to_value(&intent).expect("serialises");
        assert_eq!(
            json,
            serde_json::json!({"type": "sendMessage",
                "messageId": "00000000-0000-0000-0000-000000000000", "text": "hi"})
        );
        assert_eq!(serde_json::from_value::<Intent>(json).expect("it is one"), intent);
        assert!(!format!("{intent:?}").contains("hi\""));
        let intent = Intent::Fork { source: "s".into(), at_message_id: None };
        let json = serde_json::json!({"type": "forkSession", "source": "s"});
        assert_eq!(serde_json::from_value::<Intent>(json).expect("it is one"), intent);
    }
}
