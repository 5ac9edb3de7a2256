//! Parts as Gemini's API has them, of which several apps keep logs.

use serde_json::Value;

use crate::json::{is, list, named, text};
use crate::media;
use crate::model::Call;
use crate::text as words;
use crate::turns::{Of, Outcome, Turns};

/// The ends of calls that an app tells beside the parts.
pub(crate) enum Status<'a> {
    /// Nothing is told.
    Unknown,
    /// Its word for it.
    Told(&'a str),
}

/// Says text or parts.
pub(crate) fn content(content: &Value, turns: &mut Turns) {
    match content {
        Value::String(words) => turns.text(words),
        Value::Array(parts) => {
            parts.iter().for_each(|part| self::part(part, &Status::Unknown, turns))
        }
        Value::Object(_) => part(content, &Status::Unknown, turns),
        _ => {}
    }
}

/// Says one part.
pub(crate) fn part(part: &Value, status: &Status<'_>, turns: &mut Turns) {
    if let Value::String(words) = part {
        return turns.text(words);
    }
    if let Some(call) = part.get("functionCall") {
        turns.call(Call {
            id: named(call, "id").map(str::to_owned),
            name: text(call, "name").to_owned(),
            input: words::input_of(call.get("args")),
            ..Call::default()
        });
    } else if let Some(response) = part.get("functionResponse") {
        let value = response.get("response").unwrap_or(&Value::Null);
        let outcome = outcome(value, status);
        let (id, name) = (text(response, "id"), text(response, "name"));
        let of = if turns.has_call(id) { Of::Id(id) } else { Of::Name(name) };
        if !turns.result(&of, outcome) {
            turns.stray_result(name, value);
        }
    } else if let Some(data) = part.get("inlineData") {
        let name = named(data, "displayName");
        turns.file(media::encoded(text(data, "data"), named(data, "mimeType"), name));
    } else if let Some(data) = part.get("fileData") {
        let name = named(data, "displayName");
        turns.file(media::by_url(text(data, "fileUri"), named(data, "mimeType"), name));
    } else if let Some(words) = named(part, "text") {
        if is(part, "thought") { turns.reasoning(words) } else { turns.text(words) }
    }
}

/// How a call ended: `{output}` or `{error}`, and the app's word for it.
pub(crate) fn outcome(value: &Value, status: &Status<'_>) -> Outcome {
    let error = value.get("error").filter(|error| !error.is_null());
    let said = || words::error_of(error.unwrap_or(value));
    match status {
        Status::Told("cancelled" | "canceled" | "denied" | "rejected") => Outcome::denied(said()),
        Status::Told("error" | "failed") => Outcome::failed(said()),
        _ if error.is_some() => {
            let said = said();
            if said.starts_with("[Operation Cancelled]") {
                Outcome::denied(said)
            } else {
                Outcome::failed(said)
            }
        }
        _ => Outcome::of(value.get("output").unwrap_or(value), false),
    }
}

/// The parts of a list, or none.
pub(crate) fn parts(message: &Value) -> &[Value] {
    list(message, "parts")
}
