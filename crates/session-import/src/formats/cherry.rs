//! Cherry Studio: the JSON of its first version's backups, and the database of its second's.
//!
//! A message's content is in blocks by id. Several models' answers to one question are siblings by `askId`. Titles are in a
//! JSON string inside a JSON string; the keys of providers beside them are never looked at.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::Format;
use crate::dag::{Dag, Node};
use crate::db::{self, Db};
use crate::json::{self, is, list, named, text};
use crate::media;
use crate::model::{Branch, Call, Message};
use crate::sink::Stop;
use crate::source::{self, Input, MAX_OTHERS};
use crate::text as words;
use crate::time;
use crate::tree::{Entry, Tree};
use crate::turns::{COMPACTION, Head, Outcome, Turns};

/// Bytes of a backup's JSON, which must be joined in memory.
const MAX_BACKUP: u64 = 512 << 20;

/// Reads backups of the first version.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let bytes = input.tree.whole(&entry, MAX_BACKUP);
        let Some(backup) = bytes.ok().and_then(|bytes| json::parse(&bytes)) else {
            input.problem(&*entry.path, "it is not JSON, or too large");
            continue;
        };
        self::backup(input, &entry, &backup)?;
    }
    Ok(())
}

/// What is known of a topic beside its messages.
struct Topic {
    name: Option<String>,
    prompt: Option<String>,
    created: Value,
    updated: Value,
}

/// The names of topics, out of strings of JSON in strings of JSON. Nothing else of them is kept.
fn topics(backup: &Value) -> HashMap<String, Topic> {
    let unpacked = |value: &Value| match value {
        Value::String(text) => json::parse(text.as_bytes()).unwrap_or_default(),
        other => other.clone(),
    };
    let stored = backup.pointer("/localStorage/persist:cherry-studio").map(unpacked);
    let assistants = stored.as_ref().and_then(|stored| stored.get("assistants")).map(unpacked);
    let mut out = HashMap::new();
    let Some(assistants) = assistants else { return out };
    let default = assistants.get("defaultAssistant").into_iter();
    for assistant in list(&assistants, "assistants").iter().chain(default) {
        for topic in list(assistant, "topics") {
            let Some(id) = named(topic, "id") else { continue };
            let known = Topic {
                name: named(topic, "name").map(str::to_owned),
                prompt: named(topic, "prompt")
                    .or_else(|| named(assistant, "prompt"))
                    .map(str::to_owned),
                created: topic.get("createdAt").cloned().unwrap_or_default(),
                updated: topic.get("updatedAt").cloned().unwrap_or_default(),
            };
            out.insert(id.to_owned(), known);
        }
    }
    out
}

fn backup(input: &mut Input<'_>, entry: &Entry, backup: &Value) -> Result<(), Stop> {
    let known = topics(backup);
    let indexed = backup.get("indexedDB").unwrap_or(&Value::Null);
    let blocks: HashMap<&str, &Value> = list(indexed, "message_blocks")
        .iter()
        .filter_map(|block| Some((named(block, "id")?, block)))
        .collect();
    for (at, topic) in list(indexed, "topics").iter().enumerate() {
        let place = format!("{} topic {}", entry.path, at + 1);
        let mut rows = Vec::new();
        for row in list(topic, "messages") {
            if row.is_object() {
                rows.push(row);
            } else {
                input.problem(&*place, "a message that is none");
            }
        }
        let Some(messages) = topic.get("messages").and_then(Value::as_array) else {
            input.problem(&*place, "a conversation without messages");
            continue;
        };
        let (shown, others, leaf) = choose(&rows);
        let chosen = shown.len();
        let mut flaws = Vec::new();
        let told = |path: &[&Value], flaws: &mut Vec<&'static str>| {
            let mut turns = Turns::default();
            for row in path {
                say(row, &blocks, input.tree, &mut turns, flaws);
            }
            turns.finish()
        };
        let shown = told(&shown, &mut flaws);
        let other_messages: Vec<Vec<Message>> =
            others.iter().map(|path| told(path, &mut Vec::new()).messages).collect();
        for flaw in flaws {
            input.problem(&*place, flaw);
        }
        let id = named(topic, "id");
        let cleared = messages.iter().rposition(|row| text(row, "type") == "clear");
        let about = id.and_then(|id| known.get(id));
        let mut session = source::session(Format::CherryV1, id, &[&place], shown);
        session.context_from = cleared
            .and_then(|at| messages.get(at + 1))
            .and_then(|row| named(row, "id"))
            .map(str::to_owned);
        let created = about.and_then(|about| time::of(&about.created));
        let updated = about.and_then(|about| time::of(&about.updated));
        let session = session
            .titled(about.and_then(|about| about.name.as_deref()).or_else(|| named(topic, "name")))
            .dated(created, updated)
            .prompted(about.and_then(|about| about.prompt.as_deref()));
        let branch = Branch {
            leaf,
            why: "of several models' answers the selected one",
            other_leaves: rows.len() - chosen,
            continues: None,
        };
        input.session(Some(session.branched(branch, other_messages)))?;
    }
    Ok(())
}

type Rows<'a> = Vec<&'a Value>;

/// Of several answers to one question the useful one, else the selected one, else the last; and the other paths, of which
/// there are at most 32.
fn choose<'a>(rows: &[&'a Value]) -> (Rows<'a>, Vec<Rows<'a>>, Option<String>) {
    let asked = |row: &Value| {
        (text(row, "role") == "assistant").then(|| named(row, "askId")).flatten().map(str::to_owned)
    };
    let mut answers: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        if let Some(ask) = asked(row) {
            answers.entry(ask).or_default().push(at);
        }
    }
    let mut is_shown = vec![true; rows.len()];
    for group in answers.values() {
        let by = |field| group.iter().rev().find(|at| is(rows[**at], field)).copied();
        let chosen = by("useful").or_else(|| by("foldSelected")).or(group.last().copied());
        group.iter().filter(|at| Some(**at) != chosen).for_each(|at| is_shown[*at] = false);
    }
    let shown: Rows<'a> = (0..rows.len()).filter(|at| is_shown[*at]).map(|at| rows[at]).collect();
    let mut others = Vec::new();
    for (at, row) in rows.iter().enumerate().filter(|(at, _)| !is_shown[*at]).take(MAX_OTHERS) {
        let ask = asked(row);
        let before = (0..at).filter(|before| is_shown[*before] && asked(rows[*before]) != ask);
        others.push(before.map(|at| rows[at]).chain([*row]).collect());
    }
    let leaf = shown.iter().rev().find(|row| text(row, "type") != "clear");
    let leaf = leaf.and_then(|row| named(row, "id")).map(str::to_owned);
    (shown, others, leaf)
}

fn say(
    row: &Value,
    blocks: &HashMap<&str, &Value>,
    tree: &Tree,
    turns: &mut Turns,
    flaws: &mut Vec<&'static str>,
) {
    if text(row, "type") == "clear" {
        turns.mark("clear", json!({}));
        return;
    }
    if !begin(row, turns) {
        return;
    }
    let ids = list(row, "blocks");
    if ids.is_empty() {
        turns.text(text(row, "content"));
    }
    for id in ids {
        match id.as_str().and_then(|id| blocks.get(id)) {
            Some(block) => self::block(block, tree, turns),
            None => flaws.push("a block of a message is missing"),
        }
    }
}

/// Begins the entry of a row. `false` where it is nobody's.
fn begin(row: &Value, turns: &mut Turns) -> bool {
    let at = time::at(row, "createdAt").or_else(|| time::at(row, "created_at"));
    let head = Head::new(named(row, "id"), at);
    match text(row, "role") {
        "user" => turns.user(head),
        "assistant" => {
            let model = row.pointer("/model/name").and_then(Value::as_str);
            let model = model.or_else(|| named(row, "modelId")).or_else(|| named(row, "model_id"));
            turns.assistant(head.by(model));
        }
        _ => return false,
    }
    true
}

fn block(block: &Value, tree: &Tree, turns: &mut Turns) {
    let content = text(block, "content");
    match text(block, "type") {
        "main_text" | "text" => {
            turns.text_with_thoughts(if content.is_empty() { text(block, "text") } else { content })
        }
        "thinking" | "reasoning" => {
            turns.reasoning(if content.is_empty() { text(block, "text") } else { content })
        }
        "code" => turns.text(&words::fenced(text(block, "language"), content)),
        "tool" => tool(block, turns),
        "image" | "video" | "file" => turns.file(file(block, tree)),
        "citation" => citation(block, turns),
        "compact" => turns.mark(COMPACTION, json!({"summary": content})),
        "error" => turns.data("error", block.get("error").cloned().unwrap_or_default()),
        "unknown" | "" => {}
        kind => turns.data(kind, json!({"content": content})),
    }
}

fn tool(block: &Value, turns: &mut Turns) {
    let raw = block.pointer("/metadata/rawMcpToolResponse").unwrap_or(&Value::Null);
    let response = raw.get("response").filter(|response| !response.is_null());
    let content = block.get("content").filter(|content| !content.is_null());
    let result = response.or(content);
    let failed = response.is_some_and(|response| is(response, "isError"));
    let outcome = match (text(raw, "status"), result) {
        ("cancelled" | "denied", result) => {
            Some(Outcome::denied(result.map(words::error_of).unwrap_or_default()))
        }
        ("error", result) => Some(Outcome::failed(result.map(words::error_of).unwrap_or_default())),
        ("pending" | "invoking" | "streaming", _) | (_, None) => None,
        (_, Some(result)) => Some(Outcome::of(result, failed)),
    };
    let tool = raw.get("tool").unwrap_or(&Value::Null);
    let id = named(block, "toolId").or_else(|| named(raw, "id"));
    let call = Call {
        id: id.map(str::to_owned),
        name: named(block, "toolName")
            .or_else(|| named(tool, "name"))
            .unwrap_or_default()
            .to_owned(),
        input: words::input_of(block.get("arguments").or_else(|| raw.get("arguments"))),
        ..Call::default()
    };
    turns.call_with(call, outcome);
}

/// The file of a block: its bytes are in the backup under its id, never at its path.
fn file(block: &Value, tree: &Tree) -> crate::model::File {
    let kind = match text(block, "type") {
        "image" => Some("image/*"),
        "video" => Some("video/*"),
        _ => None,
    };
    let Some(file) = block.get("file").filter(|file| file.is_object()) else {
        return media::by_url(text(block, "url"), kind, None);
    };
    let name = named(file, "origin_name").or_else(|| named(file, "name"));
    let own = format!("{}{}", text(file, "id"), text(file, "ext"));
    let entry = tree.named(&own).find(|entry| entry.path.contains("Files/"));
    let kind = name.and_then(media::type_of_name).or(kind);
    match entry.and_then(|entry| tree.whole(entry, media::MAX_FILE as u64).ok()) {
        Some(bytes) => media::of_bytes(name, kind, bytes),
        None => media::missing(name, kind),
    }
}

fn citation(block: &Value, turns: &mut Turns) {
    let response = block.get("response").unwrap_or(&Value::Null);
    let results = response.get("results").unwrap_or(&Value::Null);
    let results = results.as_array().or_else(|| results.get("results").and_then(Value::as_array));
    for result in results.into_iter().flatten() {
        let url = named(result, "url").or_else(|| named(result, "link"));
        turns.page(url.unwrap_or_default(), named(result, "title"));
    }
    for chunk in
        response.pointer("/results/groundingChunks").and_then(Value::as_array).into_iter().flatten()
    {
        let web = chunk.get("web").unwrap_or(&Value::Null);
        turns.page(text(web, "uri"), named(web, "title"));
    }
    for known in list(block, "knowledge") {
        let url = named(known, "sourceUrl").unwrap_or_default();
        if url.starts_with("http") {
            turns.page(url, named(known, "title"));
        } else {
            turns.document(Some(media::base_name(url)), named(known, "title"));
        }
    }
}

/// Says that a backup holds no JSON.
pub(crate) fn read_direct(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        input.problem(
            entry.path,
            "a direct backup of Cherry Studio, which only it can read: make a backup of the earlier kind",
        );
    }
    Ok(())
}

/// Reads databases of the second version, by the columns that they have.
pub(crate) fn read_v2(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        db::read(input, &entry, &mut |input, db| database(input, &entry, db))?;
    }
    Ok(())
}

/// The columns of a table under the names that they have there: `created_at` or `createdAt`.
struct Columns(Vec<String>);

impl Columns {
    /// The name of a column; `NULL` where there is no such column.
    fn of(&self, name: &str) -> &str {
        let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
        let wanted = plain(name);
        self.0.iter().find(|own| plain(own) == wanted).map_or("NULL", String::as_str)
    }

    /// `SELECT` of columns under our names, of rows that were not deleted.
    fn select(&self, table: &str, names: &[&str]) -> String {
        let columns: Vec<String> =
            names.iter().map(|name| format!("{} AS {name}", self.of(name))).collect();
        format!(
            "SELECT {} FROM {table} WHERE {} IS NULL",
            columns.join(", "),
            self.of("deleted_at")
        )
    }
}

/// Whether a database is one of the second version: whatever the case of its columns.
pub(crate) fn is_v2(db: &Db) -> bool {
    let has = |table: &str, names: &[&str]| {
        let columns = Columns(db.columns(table));
        names.iter().all(|name| columns.of(name) != "NULL")
    };
    has("topic", &["id"]) && has("message", &["id", "topic_id", "role", "data"])
}

fn database(input: &mut Input<'_>, entry: &Entry, db: &Db) -> db::Rows {
    let (topics, messages) = (Columns(db.columns("topic")), Columns(db.columns("message")));
    let fields = ["id", "name", "active_node_id", "created_at", "updated_at"];
    let sql = topics.select("topic", &fields) + " ORDER BY rowid";
    let Ok(mut topics) = db.connection.prepare(&sql) else { return Ok(None) };
    let fields = ["id", "parent_id", "role", "created_at", "model_id", "data"];
    let (topic, created) = (messages.of("topic_id"), messages.of("created_at"));
    let sql = messages.select("message", &fields)
        + &format!(" AND {topic} = ?1 ORDER BY {created}, rowid");
    let Ok(mut messages) = db.connection.prepare(&sql) else { return Ok(None) };
    db::each(&mut topics, [], &mut |topic| {
        let id = db::text(topic, "id");
        let mut found: Vec<Value> = Vec::new();
        let whole = db::each(&mut messages, [&id], &mut |row| {
            let own = db::text(row, "id");
            match db::value(row, "data") {
                Some(data) => found.push(json!({
                    "id": own, "parent": db::text(row, "parent_id"),
                    "role": db::text(row, "role"), "createdAt": db::plain(row, "created_at"),
                    "modelId": db::text(row, "model_id"), "data": data,
                })),
                None => {
                    input.problem(format!("{} message {own}", entry.path), "it is not JSON");
                }
            }
            Ok(Some(()))
        })?;
        let node = |row: &Value| Node {
            id: text(row, "id").to_owned(),
            parent: named(row, "parent").map(str::to_owned),
            at: time::at(row, "createdAt"),
            shows: matches!(text(row, "role"), "user" | "assistant"),
        };
        let dag = Dag::new(found.iter().map(node).collect());
        let active = dag.find(&db::text(topic, "active_node_id")).map(|at| (at, "active_node_id"));
        let id_of = |at: usize| text(&found[at], "id").to_owned();
        let Some(paths) = source::paths(&dag, active, &id_of) else { return Ok(whole) };
        let told = |path: &[usize]| {
            let mut turns = Turns::default();
            for at in path {
                let row = &found[*at];
                if begin(row, &mut turns) {
                    let data = &row["data"];
                    for block in list(data, "blocks").iter().chain(list(data, "parts")) {
                        self::block(block, input.tree, &mut turns);
                    }
                }
            }
            turns.finish()
        };
        let others = paths.others.iter().map(|path| told(path).messages).collect();
        let session = source::session(Format::CherryV2, Some(&id), &[], told(&paths.shown));
        let created = time::of(&db::plain(topic, "created_at"));
        let session = session
            .titled(db::named(topic, "name").as_deref())
            .dated(created, time::of(&db::plain(topic, "updated_at")))
            .branched(paths.branch, others);
        input.session(Some(session))?;
        Ok(whole)
    })
}
