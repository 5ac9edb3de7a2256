//! A session's raw log, as a stream gives it: folded as every reader folds it.

use serde_json::Value;
use session_protocol::{
    Message as Folded, Part as FoldedPart, Role as FoldedRole, SessionFold, SourceKind, ToolState,
};

use crate::Format;
use crate::json::{Item, Items};
use crate::media;
use crate::model::Call;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::time;
use crate::tree::{Entry, Tree};
use crate::turns::{COMPACTION, Head, Outcome, Turns};

/// Items that are folded at once.
const AT_ONCE: usize = 1024;

/// Reads the logs.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let Ok(from) = input.tree.read(&entry) else {
            input.problem(&*entry.path, "it cannot be unpacked");
            continue;
        };
        let session = fold(input, &entry, from);
        input.session(Some(session))?;
    }
    Ok(())
}

/// Whether an item is part of the conversation.
fn is_talk(item: &Value) -> bool {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
    item.is_object()
        && !matches!(kind, "" | "agent" | "agents" | "presence" | "session" | "run" | "fork")
}

/// Hands on the items of a log that are part of the conversation.
pub(crate) fn raw_items(
    tree: &Tree,
    entry: &Entry,
    take: &mut dyn FnMut(&str, String) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let Ok(from) = tree.read(entry) else { return Ok(()) };
    let mut key = None;
    for item in Items::new(from, &[], |value| value.get("type").is_some()) {
        let Item::Value(value) = item else { continue };
        if is_talk(&value) {
            let text = value.to_string();
            let key = key.get_or_insert_with(|| source::hash(&[Format::Threadkeep.name(), &text]));
            take(key, text)?;
        }
    }
    Ok(())
}

fn fold(input: &mut Input<'_>, entry: &Entry, from: Box<dyn std::io::BufRead>) -> crate::Session {
    let mut fold = SessionFold::new("");
    let mut items = Items::new(from, &[], |value| value.get("type").is_some());
    let (mut waiting, mut first, mut title) = (Vec::new(), None, None);
    while let Some(item) = items.next() {
        match item {
            Item::Value(value) => {
                if value.get("type").and_then(Value::as_str) == Some("session") {
                    let named = value.pointer("/value/title").and_then(Value::as_str);
                    title = named.map(str::to_owned).or(title);
                }
                if !is_talk(&value) {
                    continue;
                }
                let text = value.to_string();
                first.get_or_insert_with(|| text.clone());
                waiting.push(text);
                if waiting.len() >= AT_ONCE {
                    fold.apply(waiting.drain(..), &mut ());
                }
            }
            Item::Broken(reason) => {
                input.problem(format!("{} #{}", entry.path, items.count), reason)
            }
        }
    }
    fold.apply(waiting.drain(..), &mut ());
    let mut turns = Turns::default();
    for message in fold.messages().filter(|message| !message.hidden) {
        say(message, &mut turns);
    }
    let seed = first.unwrap_or_default();
    source::session(Format::Threadkeep, None, &[&seed], turns.finish()).titled(title.as_deref())
}

fn say(message: &Folded, turns: &mut Turns) {
    let at = message.created_at.as_ref().and_then(|at| time::of(&Value::String(at.clone())));
    let head = Head::new(Some(message.shown_id()), at);
    match message.role {
        FoldedRole::User => turns.user(head),
        FoldedRole::Assistant => turns.assistant(head.by(message.actor_id.as_deref())),
        FoldedRole::System => return,
    }
    for part in &message.parts {
        self::part(part, turns);
    }
}

fn part(part: &FoldedPart, turns: &mut Turns) {
    match part {
        FoldedPart::Text { text, .. } => turns.text(text),
        FoldedPart::Reasoning { text, .. } => turns.reasoning(text),
        FoldedPart::File(file) => {
            turns.file(media::by_url(
                &file.url,
                file.media_type.as_deref(),
                file.filename.as_deref(),
            ));
        }
        FoldedPart::Source(source) => match (source.kind, &source.url) {
            (SourceKind::Url, Some(url)) => turns.page(url, source.title.as_deref()),
            _ => turns.document(source.filename.as_deref(), source.title.as_deref()),
        },
        FoldedPart::ToolCall(call) => {
            let error = || call.error.clone().unwrap_or_default();
            let outcome = match call.state {
                ToolState::Done => Some(Outcome::done(call.output.clone().unwrap_or_default())),
                ToolState::Failed => Some(Outcome::failed(error())),
                ToolState::Denied => Some(Outcome::denied(error())),
                _ => None,
            };
            let input = call.input.clone().unwrap_or_else(|| Value::String(call.arguments.clone()));
            let made = Call {
                id: Some(call.id.clone()),
                name: call.name.clone(),
                input,
                ..Call::default()
            };
            turns.call_with(made, outcome);
        }
        FoldedPart::Data { name, data, .. } if name == COMPACTION => {
            turns.mark(COMPACTION, data.clone())
        }
        FoldedPart::Data { name, data, .. } => turns.data(name, data.clone()),
        FoldedPart::StepStart => {}
        other => {
            if let Ok(value) = serde_json::to_value(other) {
                turns.data("part", value);
            }
        }
    }
}
