//! Google AI Studio: prompts as Google Drive keeps them, a file each.

use serde_json::Value;

use super::gemini_parts::{self, Status};
use crate::Format;
use crate::json::{self, is, list, named, text};
use crate::media;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::time;
use crate::turns::{Head, Turns};

/// Bytes of one prompt.
const MAX_FILE: u64 = 256 << 20;

/// Reads the prompts.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let bytes = input.tree.whole(&entry, MAX_FILE);
        let Some(value) = bytes.ok().and_then(|bytes| json::parse(&bytes)) else {
            input.problem(&*entry.path, "it is not JSON, or too large");
            continue;
        };
        let chunks = value.pointer("/chunkedPrompt/chunks").and_then(Value::as_array);
        let chunks = chunks.map(Vec::as_slice).unwrap_or_default();
        let model = value.pointer("/runSettings/model").and_then(Value::as_str);
        let mut turns = Turns::default();
        // Each file of a prompt is a chunk of its own beside the prompt's words.
        let mut asked = None;
        for chunk in chunks {
            let head = Head::new(None, time::at(chunk, "createTime"));
            let speaks = named(chunk, "text").is_some();
            if text(chunk, "role") != "user" {
                turns.assistant(head.by(model));
                asked = None;
            } else if asked.is_none_or(|spoke| spoke && speaks) {
                turns.user(head);
                asked = Some(speaks);
            } else {
                asked = asked.map(|spoke| spoke || speaks);
            }
            say(chunk, &mut turns);
        }
        let system = value.get("systemInstruction").unwrap_or(&Value::Null);
        let parts: Vec<&str> =
            list(system, "parts").iter().map(|part| text(part, "text")).collect();
        let prompt = named(system, "text").map_or_else(|| parts.join("\n"), str::to_owned);
        let first = chunks.first().map_or_else(String::new, Value::to_string);
        let session = source::session(Format::AiStudio, None, &[&first], turns.finish());
        input.session(Some(session.prompted(Some(&prompt))))?;
    }
    Ok(())
}

fn say(chunk: &Value, turns: &mut Turns) {
    if is(chunk, "isThought") {
        turns.reasoning(text(chunk, "text"));
    } else if let Some(words) = named(chunk, "text") {
        turns.text(words);
    } else {
        for part in gemini_parts::parts(chunk) {
            gemini_parts::part(part, &Status::Unknown, turns);
        }
    }
    if let Some(data) = chunk.get("inlineFile").or_else(|| chunk.get("inlineImage")) {
        turns.file(media::encoded(text(data, "data"), named(data, "mimeType"), None));
    }
    for (kind, media_type) in
        [("driveDocument", None), ("driveImage", Some("image/*")), ("driveVideo", Some("video/*"))]
    {
        if chunk.get(kind).is_some() {
            turns.file(media::missing(None, media_type));
        }
    }
}
