//! Cursor: conversations ("composers") and their bubbles in a table of keys and values. It is documented nowhere.

use std::collections::HashSet;

use serde_json::Value;

use crate::Format;
use crate::db::{self, Db, Rows};
use crate::json::{list, named, text};
use crate::model::{Branch, Call};
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{Head, Outcome, Turns};

/// Reads the databases.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    let mut done = HashSet::new();
    for entry in input.entries.clone() {
        db::read(input, &entry, &mut |input, db| database(input, &entry, db, &mut done))?;
    }
    Ok(())
}

fn database(input: &mut Input<'_>, entry: &Entry, db: &Db, done: &mut HashSet<String>) -> Rows {
    let composers = db.connection.prepare(
        "SELECT key, value FROM cursorDiskKV WHERE key >= 'composerData:' AND key < 'composerData;' ORDER BY key",
    );
    let bubble = db.connection.prepare("SELECT value FROM cursorDiskKV WHERE key = ?1");
    let bubbles = db
        .connection
        .prepare("SELECT key, value FROM cursorDiskKV WHERE key >= ?1 AND key < ?2 ORDER BY rowid");
    let (Ok(mut composers), Ok(mut bubble), Ok(mut bubbles)) = (composers, bubble, bubbles) else {
        return Ok(None);
    };
    db::each(&mut composers, [], &mut |row| {
        let key = db::text(row, "key");
        let id = key.trim_start_matches("composerData:");
        let Some(about) = db::value(row, "value").filter(Value::is_object) else {
            if !db::bytes(row, "value").is_empty() {
                input.problem(format!("{} conversation {id}", entry.path), "it is not JSON");
            }
            return Ok(Some(()));
        };
        if !done.insert(id.to_owned()) {
            return Ok(Some(()));
        }
        let mut turns = Turns::default();
        for inline in list(&about, "conversation") {
            say(inline, text(inline, "bubbleId"), &mut turns);
        }
        let headers = list(&about, "fullConversationHeadersOnly");
        for header in headers {
            let own = text(header, "bubbleId");
            let stored = bubble
                .query_row([format!("bubbleId:{id}:{own}")], |row| Ok(db::value(row, "value")));
            match stored.ok().flatten() {
                Some(value) => say(&value, own, &mut turns),
                None => input.problem(
                    format!("{} bubble {own}", entry.path),
                    "a message is missing or broken",
                ),
            }
        }
        let mut whole = Some(());
        if headers.is_empty() && list(&about, "conversation").is_empty() {
            // Newer ones keep their headers elsewhere: bubbles stand in the order in which they were written.
            let (from, upto) = (format!("bubbleId:{id}:"), format!("bubbleId:{id};"));
            whole = db::each(&mut bubbles, [&from, &upto], &mut |row| {
                if let Some(value) = db::value(row, "value").filter(Value::is_object) {
                    let key = db::text(row, "key");
                    say(&value, key.trim_start_matches(&from), &mut turns);
                }
                Ok(Some(()))
            })?;
        }
        let mut session = source::session(Format::Cursor, Some(id), &[], turns.finish())
            .titled(named(&about, "name"))
            .dated(time::at(&about, "createdAt"), time::at(&about, "lastUpdatedAt"));
        if let Some(origin) = named(&about, "forkedFromComposerId") {
            let why = "the order of its headers";
            let continues = Some(origin.to_owned());
            session = session
                .branched(Branch { leaf: None, why, other_leaves: 0, continues }, Vec::new());
        }
        input.session(Some(session))?;
        Ok(whole)
    })
}

fn say(bubble: &Value, id: &str, turns: &mut Turns) {
    let head = Head::new(Some(id), time::at(bubble, "createdAt"));
    if bubble.get("type").and_then(Value::as_i64) == Some(1) {
        turns.user(head);
        turns.text(text(bubble, "text"));
        return;
    }
    turns.assistant(head);
    match bubble.get("thinking") {
        Some(Value::String(words)) => turns.reasoning(words),
        Some(thinking) => turns.reasoning(text(thinking, "text")),
        None => {}
    }
    turns.text(text(bubble, "text"));
    let Some(tool) = bubble.get("toolFormerData").filter(|tool| named(tool, "name").is_some())
    else {
        return;
    };
    let result = tool.get("result").filter(|result| !result.is_null());
    let error = tool.get("error").filter(|error| !error.is_null());
    let outcome = match (text(tool, "status"), text(tool, "userDecision")) {
        (_, "rejected") | ("cancelled", _) => {
            Some(Outcome::denied(error.map(words::error_of).unwrap_or_default()))
        }
        ("error", _) => {
            Some(Outcome::failed(error.or(result).map(words::error_of).unwrap_or_default()))
        }
        ("completed", _) => Some(Outcome::done(match result {
            Some(Value::String(text)) => words::json_or_text(text),
            other => other.cloned().unwrap_or_default(),
        })),
        _ => None,
    };
    let input = tool.get("rawArgs").or_else(|| tool.get("params"));
    let call = Call {
        id: named(tool, "toolCallId").map(str::to_owned),
        name: text(tool, "name").to_owned(),
        input: words::input_of(input),
        ..Call::default()
    };
    turns.call_with(call, outcome);
}
