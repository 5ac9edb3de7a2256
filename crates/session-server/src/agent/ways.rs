//! Ways that an endpoint and its model do not take, found by being refused.
//!
//! Endpoints refuse what they do not know: tools, `stream_options`, reasoning that is sent back. A refusal that names
//! something that was sent is answered by asking again without it. What was found is kept for the endpoint and the
//! model, so that the next run does not try again, and is forgotten after a week, because servers are updated.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;

/// The file with all findings, in the data folder.
const FILE: &str = "models.json";
/// Endpoints and models that are known at once.
const MAX_KNOWN: usize = 200;
/// Time that a finding holds.
const HOLDS: SignedDuration = SignedDuration::from_hours(24 * 7);

/// A way to ask that an endpoint wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// Calls without a signature get the one that says so, where a signature is asked for.
    AnySignature,
    /// Ids of calls have nine letters.
    ShortIds,
    /// No reasoning and nothing else that was given is sent back.
    NoReasoning,
    /// Every message with calls has reasoning, be it a space.
    AllReasoning,
    NoStreamOptions,
    NoStream,
    /// The system's words are the beginning of the first user's.
    NoSystem,
    /// The role `system` is called `developer`.
    Developer,
    /// A message that only calls has an empty text instead of none.
    EmptyText,
    NoTools,
    /// Pictures are told by their names.
    NoPictures,
}

/// The ways to ask one model.
pub(crate) type Ways = BTreeSet<Way>;

/// Parts of a request that can be refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) calls: bool,
    pub(crate) system: bool,
    pub(crate) pictures: bool,
}

/// The next way to try after a refusal; `None` when it names nothing that was sent and could be left out. `text` is
/// what the endpoint said, `tried` are the ways that are in use or did not help.
pub(crate) fn after(status: u16, text: &str, model: &str, sent: Sent, tried: &Ways) -> Option<Way> {
    let text = text.to_lowercase();
    let model = model.to_lowercase();
    let text = if model.len() > 3 { text.replace(&model, "") } else { text };
    let text = text.replace("upstream", "");
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let tools = says(&["tool", "function call", "function_call", "function-call", "functions"]);
    let may = match status {
        400 | 404 | 406 | 422 => true,
        // A server that lacks a template for tools says that it failed.
        500 | 501 => tools,
        _ => false,
    };
    if !may {
        return None;
    }
    let wants = says(&[
        "missing", "lack", "must", "requir", "need", "expected", "provide", "without", "absent",
    ]);
    let reasons =
        says(&["reasoning", "thinking", "extra_content", "provider_specific", "signature"]);
    let id = says(&["tool_call_id", "tool call id", "tool_calls", "tool_use.id", "call id"])
        && says(&["length", "pattern", "too long", "characters", "a-z"]);
    let refused: [(Way, bool); 13] = [
        (
            Way::NoPictures,
            sent.pictures && says(&["image", "picture", "vision", "multimodal", "multi-modal"]),
        ),
        (
            Way::AnySignature,
            sent.calls && says(&["thought_signature", "thought signature", "thoughtsignature"]),
        ),
        (Way::ShortIds, sent.calls && id),
        (Way::AllReasoning, sent.calls && reasons && wants),
        (Way::NoReasoning, reasons),
        (Way::NoStreamOptions, says(&["stream_options", "stream options", "include_usage"])),
        (Way::NoStream, says(&["stream"])),
        (Way::Developer, sent.system && says(&["developer"])),
        (Way::NoSystem, sent.system && says(&["system"])),
        (
            Way::EmptyText,
            sent.calls && says(&["content"]) && says(&["null", "none", "string", "nil"]),
        ),
        (Way::NoTools, tools),
        // A server of texts wants the content as one.
        (Way::NoPictures, sent.pictures && says(&["content"]) && says(&["string", "str type"])),
        // Something that is not named is too much.
        (
            Way::NoStreamOptions,
            says(&[
                "extra",
                "additional propert",
                "unrecognized",
                "unknown field",
                "unknown param",
                "unexpected field",
            ]),
        ),
    ];
    refused
        .into_iter()
        .find(|(way, is_meant)| *is_meant && !tried.contains(way))
        .map(|(way, _)| way)
}

impl Way {
    /// The finding for the person, in one sentence.
    fn said(self) -> &'static str {
        match self {
            Self::AnySignature => {
                "It wants signatures of calls; calls of other models get a blank one."
            }
            Self::ShortIds => "It takes only short ids of calls.",
            Self::NoReasoning => "It does not take its reasoning back.",
            Self::AllReasoning => "It wants its reasoning back with every call.",
            Self::NoStreamOptions => "It was asked not to count tokens, because it refuses that.",
            Self::NoStream => "It does not stream: its answers come whole.",
            Self::NoSystem => "It takes no system messages: they are told as a user's.",
            Self::Developer => "It takes system messages as a developer's.",
            Self::EmptyText => "It wants a text with every message.",
            Self::NoPictures => "It looks at no pictures: they are told by their names.",
            Self::NoTools => "It takes no tools: the model cannot look up the time or save notes.",
        }
    }
}

/// Findings about one endpoint and model.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    ways: Ways,
    found_at: Timestamp,
}

/// All that is known, by endpoint and model.
#[derive(Debug)]
pub(crate) struct Findings {
    path: PathBuf,
    known: Mutex<BTreeMap<String, Known>>,
}

impl Findings {
    /// Findings of earlier runs, from the data folder. A file that cannot be read counts as none: everything in it is
    /// found again.
    pub(crate) fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        Self { known: Mutex::new(read(&path)), path }
    }

    /// The ways to ask a model.
    pub(crate) fn of(&self, base_url: &Url, model: &str) -> Ways {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(&name(base_url, model)).map(current).unwrap_or_default()
    }

    /// Keeps what was found. A disk that does not take it costs one refused request at the next start.
    pub(crate) async fn keep(&self, base_url: &Url, model: &str, ways: &Ways) {
        let text = {
            let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            known.insert(
                name(base_url, model),
                Known { ways: ways.clone(), found_at: Timestamp::now() },
            );
            while known.len() > MAX_KNOWN {
                let oldest = known.iter().min_by_key(|(_, known)| known.found_at);
                let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { break };
                known.remove(&oldest);
            }
            serde_json::to_vec_pretty(&*known).expect("maps with string keys always serialise")
        };
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &text)).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::warn!("what a model's server refuses could not be kept");
        }
    }
}

fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    sqlite_line::owner_only(&new)?;
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn read(path: &Path) -> BTreeMap<String, Known> {
    fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn current(known: &Known) -> Ways {
    let is_old = Timestamp::now().duration_since(known.found_at) > HOLDS;
    if is_old { Ways::new() } else { known.ways.clone() }
}

/// An endpoint and its model, without what may be secret in an address.
fn name(base_url: &Url, model: &str) -> String {
    let path = base_url.path().trim_end_matches('/');
    format!("{}{path} {model}", base_url.origin().ascii_serialization())
}

/// Features that a server with this data folder found a model not to take, one sentence each.
///
/// Reads one small file. Nothing is asked.
pub fn model_findings(data_dir: &Path, base_url: &Url, model: &str) -> Vec<&'static str> {
    let known = read(&data_dir.join(FILE));
    let ways = known.get(&name(base_url, model)).map(current).unwrap_or_default();
    ways.into_iter().map(Way::said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Sent = Sent { calls: true, system: true, pictures: true };

    #[test]
    fn a_refusal_is_understood_however_it_is_said() {
        for (status, text, way) in [
            (
                400,
                r#"{"error":"registry.ollama.ai/library/gemma does not support tools"}"#,
                Some(Way::NoTools),
            ),
            (
                404,
                r#"{"error":{"message":"No endpoints found that support tool use","code":404}}"#,
                Some(Way::NoTools),
            ),
            (
                400,
                r#"{"message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"}"#,
                Some(Way::NoTools),
            ),
            (
                500,
                r#"{"error":{"code":500,"message":"tools param requires --jinja flag"}}"#,
                Some(Way::NoTools),
            ),
            (
                400,
                r#"{"error":{"message":"model does not support Function Calling"}}"#,
                Some(Way::NoTools),
            ),
            (
                422,
                r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#,
                Some(Way::NoStreamOptions),
            ),
            (
                400,
                r#"{"error":{"message":"Unrecognized request argument supplied: stream_options"}}"#,
                Some(Way::NoStreamOptions),
            ),
            (422, r#"{"detail":"extra fields not permitted"}"#, Some(Way::NoStreamOptions)),
            (
                400,
                r#"{"error":{"message":"Unsupported value: 'stream' does not support true with this model."}}"#,
                Some(Way::NoStream),
            ),
            (
                400,
                r#"{"error":{"message":"'messages.1' : for 'role:assistant' property 'reasoning_content' is unsupported"}}"#,
                Some(Way::NoReasoning),
            ),
            (
                400,
                r#"{"error":{"message":"thinking is enabled but reasoning_content is missing in assistant tool call message at index 2"}}"#,
                Some(Way::AllReasoning),
            ),
            (
                400,
                r#"[{"error":{"message":"Function call is missing a thought_signature in functionCall parts"}}]"#,
                Some(Way::AnySignature),
            ),
            (
                400,
                r#"{"message":"Tool call id was call_123 but must be a-z, A-Z, 0-9, with a length of 9."}"#,
                Some(Way::ShortIds),
            ),
            (400, r#"{"error":{"message":"System role not supported"}}"#, Some(Way::NoSystem)),
            (
                400,
                r#"{"error":{"message":"Unsupported value: 'messages[0].role' does not support 'system'"}}"#,
                Some(Way::NoSystem),
            ),
            (
                400,
                r#"{"error":{"message":"invalid type: null, expected a string: messages[1].content"}}"#,
                Some(Way::EmptyText),
            ),
            (400, r#"{"error":"invalid message content type: <nil>"}"#, Some(Way::EmptyText)),
            (
                400,
                r#"{"error":"Invalid 'content': 'content' field must be a string or an array of objects."}"#,
                Some(Way::EmptyText),
            ),
            (
                400,
                r#"{"error":{"message":"Upstream request failed: The reasoning_content in the thinking mode must be passed back to the API."}}"#,
                Some(Way::AllReasoning),
            ),
            (400, r#"{"error":{"message":"Upstream request failed"}}"#, None),
            (404, r#"{"error":{"message":"The model does not exist"}}"#, None),
            (404, r#"{"error":{"message":"model toolace-8b not found"}}"#, None),
            (400, r#"{"error":{"message":"the prompt is longer than the window"}}"#, None),
            (401, r#"{"error":{"message":"no tools for you"}}"#, None),
            (500, "<html>stream broken</html>", None),
            (400, "", None),
        ] {
            assert_eq!(after(status, text, "toolace-8b", ALL, &Ways::new()), way, "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_found_is_kept_for_a_week_and_holds_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let url: Url = "http://ann:s3cret@localhost:1/v1/?key=s3cret".parse().unwrap();
        let ways = Ways::from([Way::NoTools]);
        Findings::open(folder.path()).keep(&url, "m1", &ways).await;
        let path = folder.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        let again = Findings::open(folder.path());
        assert_eq!(again.of(&url, "m1"), ways);
        assert_eq!(again.of(&url, "m2"), Ways::new());
        assert_eq!(model_findings(folder.path(), &url, "m1"), [Way::NoTools.said()]);
        let year = Timestamp::now().strftime("%Y-").to_string();
        fs::write(&path, text.replace(&year, "2020-")).unwrap();
        assert_eq!(Findings::open(folder.path()).of(&url, "m1"), Ways::new());
        fs::write(&path, "{").unwrap();
        assert_eq!(model_findings(folder.path(), &url, "m1"), [""; 0]);
    }
}
