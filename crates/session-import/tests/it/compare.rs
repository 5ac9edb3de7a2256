//! Compares a report with what a case expects, by the rules of `tests/cases/README.md`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

/// Everything that is not as expected.
pub(crate) fn differences(expected: &Value, got: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if expected["format"] != got["format"] {
        wrong.push(format!("format: {} instead of {}", got["format"], expected["format"]));
    }
    if got["problems"].as_u64() < expected["problems"].as_u64() {
        wrong.push(format!("problems: {} of at least {}", got["problems"], expected["problems"]));
    }
    let whole = got.to_string();
    for absent in texts(&expected["absentAnywhere"]) {
        if whole.contains(Value::from(absent.clone()).to_string().trim_matches('"')) {
            wrong.push(format!("is there: {absent}"));
        }
    }
    let (want, have) = (array(&expected["sessions"]), array(&got["sessions"]));
    if want.len() != have.len() {
        wrong.push(format!("{} sessions instead of {}", have.len(), want.len()));
    }
    for (at, (want, have)) in want.iter().zip(have).enumerate() {
        session(want, have, &mut |text| wrong.push(format!("session {at}: {text}")));
    }
    wrong
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    array(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|_| {
        let date: DateTime = text.parse().expect("a case has times");
        date.to_zoned(TimeZone::system()).unwrap().timestamp()
    })
}

fn session(want: &Value, have: &Value, wrong: &mut dyn FnMut(String)) {
    let mut same = |field: &str| {
        if !want[field].is_null() && want[field] != have[field] {
            wrong(format!("{field}: {} instead of {}", have[field], want[field]));
        }
    };
    for field in [
        "sourceId",
        "compactions",
        "contextFrom",
        "systemPrompt",
        "workingDirectory",
        "interrupted",
        "touchedFiles",
    ] {
        same(field);
    }
    let also =
        want["titleMayBe"] == have["title"] || array(&want["titleMayBe"]).contains(&have["title"]);
    let any =
        want["title"].is_null() && have["title"].as_str().is_some_and(|title| !title.is_empty());
    if want["title"] != have["title"] && !also && !any {
        wrong(format!("title: {} instead of {}", have["title"], want["title"]));
    }
    match (want["createdAt"].as_str(), have["createdAt"].as_str()) {
        (None, None) => {}
        (Some(want), Some(have)) if instant(want) == instant(have) => {}
        (want, have) => wrong(format!("createdAt: {have:?} instead of {want:?}")),
    }
    if want["branch"].is_object() {
        for field in ["leaf", "otherLeaves", "continues"] {
            if want["branch"].get(field).is_some() && want["branch"][field] != have["branch"][field]
            {
                wrong(format!(
                    "branch.{field}: {} instead of {}",
                    have["branch"][field], want["branch"][field]
                ));
            }
        }
    }
    let mut shown = array(&have["messages"]).to_vec();
    for also in array(&want["also"]) {
        let at = shown.iter().position(|message| {
            message["role"] == also["role"]
                && text_of(message).trim() == also["text"].as_str().unwrap()
        });
        match at {
            Some(at) => drop(shown.remove(at)),
            None => wrong(format!("misses {}", also["text"])),
        }
    }
    messages(array(&want["messages"]), &shown, wrong);
    if want["otherBranch"].is_array() {
        messages(array(&want["otherBranch"]), array(&have["otherBranch"]), &mut |text| {
            wrong(format!("other branch: {text}"));
        });
    }
    let visible = visible(have);
    for absent in texts(&want["absent"]) {
        if visible.contains(&absent) {
            wrong(format!("shows {absent}"));
        }
    }
}

fn text_of(message: &Value) -> String {
    array(&message["parts"]).iter().filter_map(|part| part["text"].as_str()).collect()
}

/// Everything of the shown path that a person sees.
fn visible(session: &Value) -> String {
    let mut out = session["title"].to_string();
    for part in array(&session["messages"]).iter().flat_map(|message| array(&message["parts"])) {
        for field in ["text", "input", "output", "error", "title", "url", "filename"] {
            match &part[field] {
                Value::String(text) => out.push_str(text),
                Value::Null => {}
                other => out.push_str(&other.to_string()),
            }
            out.push('\n');
        }
    }
    out
}

fn messages(want: &[Value], have: &[Value], wrong: &mut dyn FnMut(String)) {
    if want.len() != have.len() {
        wrong(format!("{} messages instead of {}", have.len(), want.len()));
    }
    for (at, (want, have)) in want.iter().zip(have).enumerate() {
        if want["role"] != have["role"] {
            wrong(format!("message {at}: {} instead of {}", have["role"], want["role"]));
        }
        if want["id"].is_string() && want["id"] != have["id"] {
            wrong(format!("message {at}: id {} instead of {}", have["id"], want["id"]));
        }
        let (want, have) = (array(&want["parts"]), array(&have["parts"]));
        for text in parts(want, have) {
            wrong(format!("message {at}: {text}"));
        }
    }
}

fn is_ordered(part: &Value) -> bool {
    matches!(part["type"].as_str(), Some("text" | "reasoning" | "tool-call"))
}

/// Text, thoughts and calls in order, neighbours of one type joined.
fn joined(parts: &[Value]) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for part in parts.iter().filter(|part| is_ordered(part)) {
        let last = out.last_mut().filter(|last| {
            last["type"] == part["type"] && last["text"].is_string() && part["text"].is_string()
        });
        match last {
            Some(last) => {
                let (before, next) =
                    (last["text"].as_str().unwrap(), part["text"].as_str().unwrap());
                let text = format!("{}\n\n{}", before.trim(), next.trim());
                last["text"] = text.into();
            }
            None => out.push(part.clone()),
        }
    }
    out
}

/// A text in which it does not matter whether neighbours are joined by a blank line or by nothing.
fn squeezed(text: &str) -> String {
    text.replace("\r\n", "\n").replace("\n\n", "").trim().to_owned()
}

fn parts(want: &[Value], have: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let (ordered, got) = (joined(want), joined(have));
    if ordered.len() != got.len() {
        wrong.push(format!("parts {got:?} instead of {ordered:?}"));
    }
    for (want, have) in ordered.iter().zip(&got) {
        let same = want["type"] == have["type"]
            && match want["type"].as_str() {
                Some("tool-call") => is_call(want, have),
                _ => is_text(want, have),
            };
        if !same {
            wrong.push(format!("{have} instead of {want}"));
        }
    }
    let mut left: Vec<&Value> = have.iter().filter(|part| !is_ordered(part)).collect();
    for want in want.iter().filter(|part| !is_ordered(part)) {
        match left.iter().position(|have| is_piece(want, have)) {
            Some(at) => drop(left.remove(at)),
            None => wrong.push(format!("misses {want} in {left:?}")),
        }
    }
    left.retain(|part| part["type"] != "data");
    if !left.is_empty() {
        wrong.push(format!("too much: {left:?}"));
    }
    wrong
}

fn is_text(want: &Value, have: &Value) -> bool {
    let have = have["text"].as_str().unwrap_or_default();
    if let Some(want) = want["text"].as_str() {
        return squeezed(want) == squeezed(have);
    }
    let mut rest = have;
    texts(&want["contains"]).iter().all(|piece| match rest.find(piece.as_str()) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

fn is_call(want: &Value, have: &Value) -> bool {
    let same = |field: &str| want.get(field).is_none_or(|value| *value == have[field]);
    let error = want["error"].as_str();
    same("name")
        && same("input")
        && same("state")
        && same("output")
        && error.is_none_or(|error| have["error"].as_str().is_some_and(|have| have.contains(error)))
}

fn is_piece(want: &Value, have: &Value) -> bool {
    let fields = want.as_object().unwrap();
    fields.iter().all(|(field, want)| match (field.as_str(), want.as_str()) {
        ("mediaType", Some("image/*")) => {
            have["mediaType"].as_str().is_some_and(|kind| kind.starts_with("image/"))
        }
        _ => *want == have[field],
    })
}
