//! What tells the formats apart: the content of a file, never its name.
//!
//! A file that nothing tells apart is unknown and is not read as anything else.

use crate::Format;
use crate::db::Db;
use crate::formats::{aider, cherry};
use crate::shape::Shape;
use crate::source::HEAD;
use crate::tree::{Entry, Tree};

/// Bytes that are looked at once more, when the first ones say nothing.
const LONG_HEAD: u64 = 4 << 20;
/// Lines that are looked at.
const MAX_LINES: usize = 100;

/// The format of a file; `None` when it is unknown.
pub(crate) fn detect(tree: &Tree, entry: &Entry) -> Option<Format> {
    if entry.path.contains("IndexedDB/") && entry.path.ends_with("/CURRENT") {
        return Some(Format::CherryDirect);
    }
    let head = tree.head(entry, HEAD).ok()?;
    if head.starts_with(b"SQLite format 3\0") {
        return database(&Db::open(tree, entry).ok()?);
    }
    // A log that was being written when the power went ends in zeros; a binary file has some elsewhere.
    let end = head.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if head[..end.min(512)].contains(&0) {
        return None;
    }
    of_head(&head).or_else(|| {
        let long = head.len() as u64 >= HEAD;
        long.then(|| tree.head(entry, LONG_HEAD).ok()).flatten().and_then(|head| of_head(&head))
    })
}

fn database(db: &Db) -> Option<Format> {
    if db.has("session", &["id", "title"])
        && db.has("message", &["session_id", "data"])
        && db.has("part", &["message_id"])
    {
        Some(Format::OpenCode)
    } else if db.has("sessions", &["id"]) && db.has("messages", &["session_id", "content_json"]) {
        Some(Format::Goose)
    } else if db.has("threads", &["data_type", "data"]) {
        Some(Format::Zed)
    } else if db.has("cursorDiskKV", &["key", "value"]) {
        Some(Format::Cursor)
    } else if cherry::is_v2(db) {
        Some(Format::CherryV2)
    } else if db.has("threads", &["id", "data"]) && db.has("messages", &["thread_id", "data"]) {
        Some(Format::Jan)
    } else {
        None
    }
}

fn of_head(head: &[u8]) -> Option<Format> {
    let start = head.trim_ascii_start();
    match start.first()? {
        b'[' => value(&Shape::of(start)),
        b'{' => {
            let shape = Shape::of(start);
            // An object that is whole on its first line may be one file or the first of many lines.
            lines(start).or_else(|| value(&shape))
        }
        b'<' => takeout_page(head),
        _ => lines(start).or_else(|| text(head)),
    }
}

fn text(head: &[u8]) -> Option<Format> {
    let text = String::from_utf8_lossy(head);
    text.lines().any(|line| line.starts_with(aider::HEADER)).then_some(Format::Aider)
}

fn takeout_page(head: &[u8]) -> Option<Format> {
    let text = String::from_utf8_lossy(head);
    let is_log = text.contains("outer-cell") && (text.contains("Gemini") || text.contains("Bard"));
    is_log.then_some(Format::GeminiTakeout)
}

/// A JSON file: an array, or an object over several lines.
fn value(shape: &Shape) -> Option<Format> {
    let lists = ["", "[]/", "conversations/[]/", "chats/[]/", "data/[]/"];
    let any = |path: &str| lists.iter().any(|list| shape.has(&format!("{list}{path}")));
    let says = |path: &str, test: &dyn Fn(&str) -> bool| {
        lists.iter().any(|list| shape.says(&format!("{list}{path}"), test))
    };
    if says("format", &|text| text.starts_with("threadkeep.session/")) {
        return Some(Format::ThreadkeepJson);
    }
    if any("mapping/*/message/fragments") {
        return Some(Format::DeepSeek);
    }
    if any("mapping/*/message/author")
        || any("mapping") && (any("mapping/*/parent") || any("current_node"))
    {
        return Some(Format::ChatGpt);
    }
    if any("chat_messages") {
        return Some(Format::Claude);
    }
    if any("conversation") && any("responses") {
        return Some(Format::Grok);
    }
    let gemini = |text: &str| text.contains("Gemini") || text.contains("Bard");
    if shape.has("[]/header")
        && shape.has("[]/time")
        && (shape.says("[]/header", gemini) || shape.says("[]/products/[]", gemini))
    {
        return Some(Format::GeminiTakeout);
    }
    if any("chat/history")
        || any("history/messages")
        || any("history/currentId")
        || any("chat/messages")
    {
        return Some(Format::OpenWebUi);
    }
    if any("conversationId") && (any("messages") || any("messagesTree")) {
        return Some(Format::LibreChat);
    }
    if shape.has("indexedDB/topics")
        || shape.has("indexedDB/message_blocks")
        || shape.has("localStorage/persist:cherry-studio")
    {
        return Some(Format::CherryV1);
    }
    if shape.has("messages/[]/versions") || shape.has("messages/[]/currentlySelected") {
        return Some(Format::LmStudio);
    }
    if shape.has("requests")
        && (shape.has("responderUsername") || shape.has("requests/[]/response"))
    {
        return Some(Format::VsCodeCopilot);
    }
    if shape.has("chunkedPrompt/chunks") {
        return Some(Format::AiStudio);
    }
    if shape.has("sessionId") && shape.has("projectHash") {
        return Some(Format::GeminiCli);
    }
    if any("conv") && any("messages") && any("conv/currNode") {
        return Some(Format::LlamaCpp);
    }
    if shape.says("object", |text| text == "thread")
        && (shape.has("assistants") || shape.has("title"))
    {
        return Some(Format::Jan);
    }
    if shape.has("projectID") && shape.has("directory")
        || shape.has("sessionID") && (shape.has("messageID") || shape.has("role"))
    {
        return Some(Format::OpenCode);
    }
    if shape.has("[]/key") && shape.has("[]/headers/operation") || shape.has("[]/headers/control") {
        return Some(Format::Threadkeep);
    }
    messages(shape)
}

/// Lists of messages with a role.
fn messages(shape: &Shape) -> Option<Format> {
    for list in ["[]", "messages/[]", "[]/messages/[]"] {
        let has = |path: &str| shape.has(&format!("{list}/{path}"));
        if !has("role") {
            continue;
        }
        if has("parts/[]/type") {
            let by = |field: &str| has(&format!("parts/[]/{field}"));
            let ours = has("actorId") && has("isComplete");
            return Some(match by("content") && !by("text") && !ours {
                true => Format::TanStackAi,
                false => Format::AiSdk,
            });
        }
        if has("toolInvocations")
            || has("experimental_attachments")
            || has("parts")
            || has("id") && has("createdAt")
        {
            return Some(Format::AiSdk);
        }
        if has("content") || has("tool_calls") {
            return Some(Format::OpenAiJsonl);
        }
    }
    None
}

/// A file with an object a line.
fn lines(head: &[u8]) -> Option<Format> {
    let mut whole = 0;
    let shapes: Vec<Shape> = head
        .split(|byte| *byte == b'\n')
        .filter(|line| line.first() == Some(&b'{') && line.trim_ascii().len() > 1)
        .take(MAX_LINES)
        .map(Shape::of)
        .inspect(|shape| whole += usize::from(shape.whole))
        .collect();
    if shapes.is_empty() || whole == 0 && shapes.len() > 1 {
        return None;
    }
    shapes.iter().find_map(line).or_else(|| {
        // A line alone may be any JSON object.
        let several = shapes.len() > 1;
        shapes.iter().find_map(|shape| conversation_line(shape, several))
    })
}

fn line(shape: &Shape) -> Option<Format> {
    let kind = |test: &dyn Fn(&str) -> bool| shape.says("type", test);
    if shape.says("object", |text| text == "thread.message") {
        return Some(Format::Jan);
    }
    if shape.has("payload") && shape.has("timestamp") && shape.has("type")
        || shape.has("record_type")
        || shape.has("id") && shape.has("timestamp") && shape.has("instructions")
    {
        return Some(Format::Codex);
    }
    if shape.has("uuid")
        && shape.has("sessionId")
        && (shape.has("message/parts") || shape.has("systemPayload"))
    {
        return Some(Format::QwenCode);
    }
    let is_claude = shape.has("sessionId")
        && shape.has("type")
        && (shape.has("parentUuid") || shape.has("message/content"))
        || shape.has("leafUuid") && kind(&|text| text == "summary")
        || shape.has("snapshot") && kind(&|text| text == "file-history-snapshot");
    if is_claude {
        return Some(Format::ClaudeCode);
    }
    if shape.has("sessionId") && shape.has("projectHash")
        || shape.has("$rewindTo")
        || shape.has("$set")
    {
        return Some(Format::GeminiCli);
    }
    if shape.has("kind")
        && (shape.has("v/requests")
            || shape.has("v/responderUsername")
            || shape.has("k/[]") && shape.has("kind"))
    {
        return Some(Format::VsCodeCopilot);
    }
    if shape.has("data")
        && kind(&|text| text.starts_with("session.start") || text == "user.message")
    {
        return Some(Format::CopilotCli);
    }
    if shape.has("currNode") && !shape.has("messages") && !shape.has("conv") {
        return Some(Format::LlamaCpp);
    }
    let goose =
        shape.has("working_dir") && (shape.has("message_count") || shape.has("description"));
    (goose && !shape.has("messages")).then_some(Format::Goose)
}

/// A line that is a conversation, or a message, of its own.
fn conversation_line(shape: &Shape, several: bool) -> Option<Format> {
    if let Some(known) = value_line(shape) {
        return Some(known);
    }
    let has_messages = ["messages/[]/role", "body/messages/[]/role", "body/input", "input/[]/role"];
    let is_pair = shape.has("prompt") && shape.has("completion");
    let is_message = several && shape.has("role") && shape.has("content");
    let is_ours = has_messages.iter().any(|path| shape.has(path)) || is_pair || is_message;
    is_ours.then_some(Format::OpenAiJsonl)
}

/// An object of another format that is whole on one line.
fn value_line(shape: &Shape) -> Option<Format> {
    value(shape).filter(|format| !matches!(format, Format::OpenAiJsonl))
}
