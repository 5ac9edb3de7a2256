//! Grok's export: `prod-grok-backend.json`, conversations with responses that name their parents.

use serde_json::Value;

use crate::Format;
use crate::dag::{Dag, Node};
use crate::json::{list, named, text};
use crate::media;
use crate::sink::Stop;
use crate::source::{self, Input, Listing, Made};
use crate::time;
use crate::tree::Tree;
use crate::turns::{Head, Told, Turns};

const LISTING: Listing = Listing {
    lists: &["conversations"],
    marker: &["responses"],
    is_item: |value| value.get("conversation").is_some() && value.get("responses").is_some(),
    stamp: |value| {
        let about = value.get("conversation")?;
        let size = list(value, "responses").len();
        Some((named(about, "id")?.to_owned(), time::at(about, "modify_time"), size))
    },
};

/// Reads the conversations.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    let tree = input.tree;
    source::conversations(input, &LISTING, &mut |value, _, _| conversation(value, tree))
}

fn conversation(value: &Value, tree: &Tree) -> Made {
    let about = value.get("conversation").filter(|about| about.is_object());
    let Some((about, responses)) = about.zip(value.get("responses").and_then(Value::as_array))
    else {
        return Err("a conversation without messages");
    };
    let responses: Vec<&Value> = responses
        .iter()
        .map(|one| one.get("response").unwrap_or(one))
        .filter(|r| r.is_object())
        .collect();
    let id = |at: usize| {
        named(responses[at], "_id").map_or_else(|| format!("response {at}"), str::to_owned)
    };
    let linked = responses.iter().any(|one| named(one, "parent_response_id").is_some());
    let nodes = responses.iter().enumerate().map(|(at, one)| Node {
        id: id(at),
        parent: match named(one, "parent_response_id") {
            Some(parent) => Some(parent.to_owned()),
            None if linked => None,
            None => at.checked_sub(1).map(id),
        },
        at: time::at(one, "create_time"),
        shows: true,
    });
    let dag = Dag::new(nodes.collect());
    let Some(paths) = source::paths(&dag, None, &id) else { return Ok(None) };
    let told = |path: &[usize]| -> Told {
        let mut turns = Turns::default();
        for at in path {
            say(responses[*at], &id(*at), tree, &mut turns);
        }
        turns.finish()
    };
    let others = paths.others.iter().map(|path| told(path).messages).collect();
    let seed = [text(about, "title"), &id(0)];
    let session = source::session(Format::Grok, named(about, "id"), &seed, told(&paths.shown));
    let (created, updated) = (time::at(about, "create_time"), time::at(about, "modify_time"));
    let session = session.titled(named(about, "title")).dated(created, updated);
    Ok(Some(session.branched(paths.branch, others)))
}

fn say(response: &Value, id: &str, tree: &Tree, turns: &mut Turns) {
    let head = Head::new(Some(id), time::at(response, "create_time"));
    // Anything but a human is the assistant: its name, or a model's, in any case.
    if text(response, "sender").eq_ignore_ascii_case("human") {
        turns.user(head);
    } else {
        turns.assistant(head.by(named(response, "model")));
        turns.reasoning(text(response, "thinking_trace"));
        for trace in list(response, "agent_thinking_traces") {
            let words = trace
                .as_str()
                .or_else(|| named(trace, "thinking_trace"))
                .or_else(|| named(trace, "text"));
            turns.reasoning(words.unwrap_or_default());
        }
    }
    turns.text(text(response, "message"));
    for file in list(response, "file_attachments") {
        let name = named(file, "file_name").or_else(|| named(file, "name"));
        let kind = named(file, "file_mime_type").or_else(|| named(file, "mime_type"));
        // What was uploaded lies beside, in a folder with its id.
        let own =
            file.as_str().or_else(|| named(file, "file_metadata_id")).or_else(|| named(file, "id"));
        let beside = own.and_then(|id| {
            tree.named("content").find(|entry| entry.folder().rsplit('/').next() == Some(id))
        });
        let bytes = beside.and_then(|entry| tree.whole(entry, media::MAX_FILE as u64).ok());
        turns.file(match bytes {
            Some(bytes) => media::of_bytes(name, kind, bytes),
            None => media::missing(name, kind),
        });
    }
    for url in list(response, "generated_image_urls").iter().filter_map(Value::as_str) {
        turns.file(media::by_url(url, Some("image/*"), None));
    }
    for field in ["cited_web_search_results", "web_search_results"] {
        for page in list(response, field) {
            turns.page(text(page, "url"), named(page, "title"));
        }
        if !list(response, field).is_empty() {
            break;
        }
    }
    let error = response.get("error").filter(|error| !error.is_null());
    if let Some(error) = error {
        turns.data("error", error.clone());
    }
}
