//! Logs out of bytes, and what must hold of any of them.

use std::collections::BTreeMap;
use std::fmt::Write;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use serde_json::Value;
use session_protocol::{ChangeSet, Message, MessageChange, Part, SessionFold};

/// The vocabulary of a dialect.
pub(crate) struct Dialect {
    /// Types of chunks, or of rows.
    pub(crate) kinds: &'static [&'static str],
    /// Fields that its chunks have.
    pub(crate) fields: &'static [&'static str],
    /// How an item is made of them.
    pub(crate) item: fn(&mut Unstructured<'_>, kind: &str, fields: &str) -> Result<String>,
}

const WORDS: &[&str] = &[
    r#""""#, r#""a""#, r#""b""#, r#""c1""#, r#""\ud83d""#, r#""\ude42""#, r#""{\"x\":1}""#, r#""{\"x\":""#, "\"\u{1f642}\"",
    r#""user""#, r#""assistant""#, r#""tool""#, r#""reasoning""#, r#""text""#, r#""tool-call""#, r#""tool-result""#,
    r#""interrupt""#, r#""approval_required""#, r#""approval-requested""#, r#""structured-output.start""#,
    r#""structured-output.complete""#, r#""resolved""#, r#""tool_calls""#, r#""stop""#, r#""started""#, r#""completed""#,
    r#""failed""#, r#""cancelled""#, r#""output-error""#, r#""2026-01-01T00:00:00Z""#, "null", "true", "false", "0", "7", "-1",
    "1.5", "1e300", "18446744073709551615",
];

/// A JSON value of the words and fields that mean something somewhere.
fn value(u: &mut Unstructured<'_>, fields: &[&str], depth: usize) -> Result<String> {
    Ok(match u.int_in_range(0..=9)? {
        8 if depth > 0 => {
            let mut items = Vec::new();
            for _ in 0..u.int_in_range(0..=3)? {
                items.push(value(u, fields, depth - 1)?);
            }
            format!("[{}]", items.join(","))
        }
        9 if depth > 0 => format!("{{{}}}", object(u, fields, depth - 1)?),
        _ => (*u.choose(WORDS)?).to_owned(),
    })
}

/// The fields of an object, without its braces.
pub(crate) fn object(u: &mut Unstructured<'_>, fields: &[&str], depth: usize) -> Result<String> {
    let mut out = String::new();
    for _ in 0..u.int_in_range(0..=5)? {
        let comma = if out.is_empty() { "" } else { "," };
        let _ = write!(out, "{comma}\"{}\":{}", u.choose(fields)?, value(u, fields, depth)?);
    }
    Ok(out)
}

/// A row of a chunk; sometimes repeated, late, changed or deleted.
pub(crate) fn row(u: &mut Unstructured<'_>, chunk: &str) -> Result<String> {
    let message = u.choose(&["m", "n", "o"])?;
    let seq = u.int_in_range(0..=12)?;
    let role = if *message == "o" { "user" } else { "assistant" };
    let operation = *u.choose(&["insert", "insert", "insert", "insert", "upsert", "update", "delete"])?;
    let chunk = Value::String(chunk.to_owned());
    Ok(if operation == "delete" {
        format!(r#"{{"type":"chunk","key":"{message}:{seq}","headers":{{"operation":"delete"}}}}"#)
    } else {
        format!(
            r#"{{"type":"chunk","key":"{message}:{seq}","value":{{"messageId":"{message}","actorId":"k","role":"{role}","chunk":{chunk},"seq":{seq},"createdAt":"2026-03-01T10:00:{seq:02}Z"}},"headers":{{"operation":"{operation}"}}}}"#
        )
    })
}

/// A chunk in a row, or bare.
pub(crate) fn chunk(u: &mut Unstructured<'_>, kind: &str, fields: &str) -> Result<String> {
    let comma = if fields.is_empty() { "" } else { "," };
    let chunk = format!(r#"{{"type":"{kind}"{comma}{fields}}}"#);
    Ok(match u.int_in_range(0..=9)? {
        8 => chunk,
        9 => format!(r#"{{"v":1,"seq":{},"chunk":{chunk}}}"#, u.int_in_range(0..=20)?),
        _ => row(u, &chunk)?,
    })
}

/// Folds a log of the dialect in every way that must not matter.
pub(crate) fn check(dialect: &Dialect, bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let mut items: Vec<String> = Vec::new();
    while !u.is_empty() && items.len() < 64 {
        let made = (|| -> Result<String> {
            if !items.is_empty() && u.ratio(1, 12)? {
                return Ok(u.choose(&items)?.clone());
            }
            let kind = *u.choose(dialect.kinds)?;
            let fields = object(&mut u, dialect.fields, 3)?;
            (dialect.item)(&mut u, kind, &fields)
        })();
        match made {
            Ok(item) => items.push(item),
            Err(_) => break,
        }
    }
    laws(&items);
}

/// L3 and L4: item by item is the same as all at once, and following the changes gives the messages.
pub(crate) fn laws<T: AsRef<[u8]>>(items: &[T]) {
    let mut whole = SessionFold::new("s");
    whole.apply(items, &mut ());
    let mut single = SessionFold::new("s");
    let mut replica = BTreeMap::new();
    for item in items {
        let changes = single.apply([item], &mut ());
        follow(&mut replica, &changes, &single);
    }
    let right: Vec<&Message> = whole.messages().collect();
    assert_eq!(single.messages().collect::<Vec<_>>(), right);
    assert_eq!(replica.values().collect::<Vec<_>>().len(), right.len());
    for message in right {
        let followed = &replica[&message.id];
        // The time of the last chunk and the tokens are not told chunk by chunk.
        assert_eq!(followed.parts, message.parts);
        assert_eq!((followed.is_complete, followed.hidden), (message.is_complete, message.hidden));
        assert_eq!(followed.error, message.error);
    }
    assert_eq!(single.approvals(), whole.approvals());
    assert_eq!(single.tool_calls(), whole.tool_calls());
    assert_eq!(single.incomplete(), whole.incomplete());
    assert_eq!(single.skipped(), whole.skipped());
    assert_eq!(single.state(), whole.state());
    let restored = SessionFold::restore("s", &whole.state());
    assert_eq!(restored.state(), whole.state());
}

fn follow(replica: &mut BTreeMap<String, Message>, changes: &ChangeSet, fold: &SessionFold) {
    if changes.reset {
        replica.clear();
    }
    for change in &changes.messages {
        let id = change.id();
        let Some(message) = fold.message(id) else {
            replica.remove(id);
            continue;
        };
        match change {
            MessageChange::Inserted { .. } | MessageChange::Replaced { .. } => {
                replica.insert(id.to_owned(), message.clone());
            }
            MessageChange::Removed { .. } => {
                replica.remove(id);
            }
            MessageChange::AppendText { part, text, .. } => {
                let copy = replica.get_mut(id).expect("inserted before");
                match &mut copy.parts[*part] {
                    Part::Text { text: so_far, .. } | Part::Reasoning { text: so_far, .. } => so_far.push_str(text),
                    Part::ToolCall(call) => call.arguments.push_str(text),
                    Part::StructuredOutput { raw, .. } => raw.push_str(text),
                    _ => panic!("text for a part that has none"),
                }
            }
            MessageChange::SetPart { part, .. } => {
                let copy = replica.get_mut(id).expect("inserted before");
                let value = message.parts[*part].clone();
                if *part == copy.parts.len() { copy.parts.push(value) } else { copy.parts[*part] = value }
            }
            MessageChange::Meta { .. } => {
                let copy = replica.get_mut(id).expect("inserted before");
                let parts = std::mem::take(&mut copy.parts);
                *copy = Message { parts, ..message.clone() };
            }
        }
    }
}
