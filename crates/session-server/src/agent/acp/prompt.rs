//! The prompt of an agent: the message that it answers, and what was said since it was told something last.
//!
//! The agent remembers only its own session. Others' words come with their names, the newest that fit.

use serde_json::{Value, json};
use session_protocol::{Message, Role};

use crate::{
    history,
    run::{Cause, RunPlan},
};

/// Bytes of what others said.
const OTHERS: usize = 32 << 10;
/// Bytes of one message of them.
const EACH: usize = 8 << 10;
/// Bytes of the end of an answer that was cut off.
const LAST_WORDS: usize = 200;

/// The blocks of a prompt. `messages` end with the one to be answered; `told` is the last one that the agent knows, and
/// where it knows none it gets the conversation.
pub(super) fn blocks(messages: &[Message], plan: &RunPlan, told: Option<&str>) -> Vec<Value> {
    let Some((last, before)) = messages.split_last() else {
        return vec![text("Go on.")];
    };
    let is_own = |message: &Message| message.actor_id.as_deref() == Some(plan.agent_id.as_str());
    let known = told.and_then(|id| before.iter().position(|message| message.id == id));
    let since = &before[known.map_or(0, |at| at + 1)..];
    let knows = told.is_some();
    let others = said(since.iter().filter(|message| !(knows && is_own(message))));
    let mut context = Vec::new();
    if !others.is_empty() {
        let begin =
            if knows { "Said here since your last turn:" } else { "The conversation so far:" };
        context.push(text(&format!("[{begin}]\n{others}[End]")));
    }
    if let Some(cut) = since
        .iter()
        .rfind(|message| is_own(message))
        .filter(|own| knows && (own.error.is_some() || own.stopped.is_some()))
    {
        let words = cut.plain_text();
        let end = &words[words.ceil_char_boundary(words.len().saturating_sub(LAST_WORDS))..];
        context.push(text(&if end.trim().is_empty() {
            "[Your last answer was cut off before its first word.]".to_owned()
        } else {
            format!("[Your last answer was cut off. People have read it up to: …{end}]")
        }));
    }
    let words = match &plan.cause {
        Cause::Answers { .. } => "Go on.".to_owned(),
        _ => history::words_of(last),
    };
    let name = last.actor_id.as_deref().filter(|_| matches!(plan.cause, Cause::Reply { .. }));
    let words = match name {
        Some(name) => format!("{name}: {words}"),
        None => words,
    };
    // A command stands at the beginning, or it is none.
    if words.starts_with('/') {
        context.insert(0, text(&words));
    } else {
        context.push(text(&words));
    }
    context
}

fn text(words: &str) -> Value {
    json!({"type": "text", "text": words})
}

fn said<'a>(messages: impl DoubleEndedIterator<Item = &'a Message>) -> String {
    let mut kept = Vec::new();
    let mut left = OTHERS;
    for message in messages.rev() {
        let words = history::words_of(message);
        if words.trim().is_empty() {
            continue;
        }
        let name = message.actor_id.as_deref().unwrap_or(match message.role {
            Role::User => "somebody",
            _ => "an agent",
        });
        let cut = &words[..words.floor_char_boundary(EACH)];
        let mark = if cut.len() < words.len() { "…" } else { "" };
        let line = format!("{name}: {cut}{mark}\n");
        if line.len() > left {
            kept.push("…\n".to_owned());
            break;
        }
        left -= line.len();
        kept.push(line);
    }
    kept.reverse();
    kept.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, actor: &str, words: &str) -> Message {
        let chunk = json!({"type": "whole-message", "message": {"id": id, "role": "user", "parts": [{"type": "text", "content": words}]}});
        let row = json!({"type": "chunk", "key": format!("{id}:0"), "headers": {"operation": "insert"}, "value": {
            "messageId": id, "actorId": actor, "role": "user", "seq": 0, "chunk": chunk.to_string(),
            "createdAt": "2026-03-01T10:00:00.000Z"}});
        let mut fold = session_protocol::SessionFold::new("s");
        fold.apply([row.to_string()], &mut ());
        fold.message(id).cloned().expect("it is there")
    }

    fn told(messages: &[Message], known: Option<&str>) -> Vec<String> {
        let last = messages.last().expect("there is one").id.clone();
        let plan = RunPlan::new("it", Cause::Message { id: last }, None);
        let words = |block: Value| block["text"].as_str().unwrap_or_default().to_owned();
        blocks(messages, &plan, known).into_iter().map(words).collect()
    }

    #[test]
    fn an_agent_is_told_what_others_said_since_with_their_names() {
        let all = [
            message("1", "ann", "first"),
            message("2", "it", "own"),
            message("3", "bob", "hm"),
            message("4", "ann", "now?"),
        ];
        assert_eq!(
            told(&all, Some("1")),
            ["[Said here since your last turn:]\nbob: hm\n[End]", "now?"]
        );
        assert_eq!(told(&all, Some("3")), ["now?"]);
        assert_eq!(
            told(&all, None)[0],
            "[The conversation so far:]\nann: first\nit: own\nbob: hm\n[End]"
        );
        assert_eq!(told(&all, Some("gone"))[1], "now?");
    }

    #[test]
    fn a_command_stands_first_and_what_is_long_is_bounded() {
        let long = "x".repeat(100_000);
        let mut all: Vec<Message> =
            (0..50).map(|n| message(&n.to_string(), "bob", &long)).collect();
        all.push(message("last", "ann", "/compact"));
        let told = told(&all, None);
        assert_eq!(told[0], "/compact");
        assert!(told[1].len() < 40_000, "{}", told[1].len());
    }
}
