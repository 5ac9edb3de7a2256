//! Formats that no case shows: AI Studio, llama.cpp, Copilot's command line, Cursor, Cherry Studio 2, Jan on phones, the
//! HTML of Takeout; and databases that are being written, packed or damaged.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::hostile::zip_of;
use crate::import::{report, report_of};
use crate::variants::{jsonl, session, told};

/// A database that these statements made.
fn database(path: &std::path::Path, sql: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

/// What is read of a database that these statements made.
fn read(sql: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bin");
    database(&path, sql).close().unwrap();
    report(&path)
}

#[test]
fn ai_studio_is_read() {
    let prompt = json!({"runSettings": {"model": "models/gemini-3"}, "systemInstruction": {"text": "Be short."}, "chunkedPrompt": {"chunks": [
        {"role": "user", "text": "Q", "tokenCount": 1},
        {"role": "user", "driveImage": {"id": "1"}},
        {"role": "model", "text": "hm", "isThought": true},
        {"role": "model", "text": "A", "tokenCount": 1},
    ], "pendingInputs": [{"role": "user", "text": "not sent"}]}});
    let read = session("My prompt", &prompt.to_string());
    assert_eq!(told(&read), ["user: Q [file]", "assistant: (hm) A"]);
    assert_eq!((&read["systemPrompt"], &read["title"]), (&json!("Be short."), &json!("Q")));
}

#[test]
fn llama_cpp_is_read_as_json_as_lines_and_packed() {
    let conv =
        json!({"id": "c", "name": "N", "currNode": "3", "lastModified": 1_767_225_600_000_u64});
    let message = |id: &str, parent: Value, role: &str, kind: &str, text: &str| json!({"id": id, "convId": "c", "type": kind, "role": role, "parent": parent, "children": [], "content": text, "timestamp": 1_767_225_600_000_u64});
    let messages = [
        message("0", Value::Null, "system", "root", ""),
        message("1", json!("0"), "user", "text", "Q"),
        message("2", json!("1"), "assistant", "text", "other"),
        message("3", json!("1"), "assistant", "text", "<think>t</think>A"),
    ];
    let want = ["user: Q", "assistant: (t) A"];
    let whole = json!({"conv": conv, "messages": messages}).to_string();
    let list = json!([{"conv": conv, "messages": messages}]).to_string();
    let lines = jsonl(&[&[conv.clone()][..], &messages].concat());
    for text in [&whole, &list, &lines] {
        let packed = report_of("x", &zip_of(&[("conversation.jsonl", text.as_bytes())]));
        assert_eq!(packed, report_of("x", text.as_bytes()));
        let read = session("x", text);
        assert_eq!(
            (told(&read), read["branch"]["otherLeaves"].as_u64()),
            (want.map(str::to_owned).to_vec(), Some(1))
        );
    }
}

#[test]
fn copilots_command_line_is_read() {
    let event = |kind: &str, data: Value| json!({"type": kind, "id": kind, "timestamp": "2026-01-01T00:00:00Z", "data": data});
    let rows = jsonl(&[
        event(
            "session.start",
            json!({"sessionId": "s", "startTime": "2026-01-01T00:00:00Z", "context": {"cwd": "/w"}}),
        ),
        event("user.message", json!({"content": "Q"})),
        event(
            "assistant.message",
            json!({"content": "Look", "toolRequests": [{"toolCallId": "1", "name": "bash", "arguments": {"command": "ls"}}]}),
        ),
        event("tool.execution_start", json!({"toolCallId": "1", "toolName": "bash"})),
        event(
            "tool.execution_complete",
            json!({"toolCallId": "1", "success": true, "result": {"content": "a.txt"}}),
        ),
        event("assistant.message", json!({"content": "Done"})),
    ]);
    let read = session("events.jsonl", &rows);
    assert_eq!(told(&read), ["user: Q", "assistant: Look bash=done Done"]);
    assert_eq!((&read["sourceId"], &read["workingDirectory"]), (&json!("s"), &json!("/w")));
}

#[test]
fn cursor_is_read_by_its_headers_and_without_them_in_the_order_of_writing() {
    let with = json!({"name": "N", "createdAt": 1_767_225_600_000_u64, "fullConversationHeadersOnly": [{"bubbleId": "b", "type": 1}, {"bubbleId": "a", "type": 2}, {"bubbleId": "gone", "type": 1}]});
    let put = |key: &str, value: &Value| {
        format!(
            "INSERT INTO cursorDiskKV VALUES ('{key}', '{}');",
            value.to_string().replace('\'', "''")
        )
    };
    let tool = json!({"type": 2, "text": "", "toolFormerData": {"toolCallId": "t", "name": "run", "rawArgs": "{\"a\":1}", "status": "completed", "result": "\"ok\""}});
    let sql = ["CREATE TABLE ItemTable (key TEXT, value BLOB); CREATE TABLE cursorDiskKV (key TEXT UNIQUE, value BLOB);".to_owned(),
        put("composerData:c1", &with),
        put("bubbleId:c1:a", &json!({"type": 2, "text": "A", "thinking": {"text": "t"}})),
        put("bubbleId:c1:b", &json!({"type": 1, "text": "Q"})),
        put("composerData:c2", &json!({"name": "", "createdAt": 1_767_225_600_000_u64, "fullConversationHeadersOnly": []})),
        put("bubbleId:c2:z", &json!({"type": 1, "text": "First"})),
        put("bubbleId:c2:y", &tool),
        put("bubbleId:c20:x", &json!({"type": 1, "text": "of another"})),
        "INSERT INTO cursorDiskKV VALUES ('composerData:c3', 'not json');".to_owned(),
    ].concat();
    let report = read(&sql);
    assert_eq!(report["format"], "cursor");
    assert_eq!(told(&report["sessions"][0]), ["user: Q", "assistant: (t) A"]);
    assert_eq!(told(&report["sessions"][1]), ["user: First", "assistant: run=done"]);
    assert_eq!(report["problems"], 2);
}

#[test]
fn cherrys_second_version_is_read_under_either_spelling_of_its_columns() {
    let block = |kind: &str, text: &str| {
        json!({"blocks": [{"id": "x", "type": kind, "content": text}]}).to_string()
    };
    let parts =
        json!({"parts": [{"type": "reasoning", "text": "t"}, {"type": "text", "text": "A"}]})
            .to_string();
    let sql = format!(
        "CREATE TABLE topic (id TEXT, name TEXT, active_node_id TEXT, created_at INTEGER, updated_at INTEGER, deleted_at INTEGER);
        CREATE TABLE message (id TEXT, parent_id TEXT, topic_id TEXT, role TEXT, data TEXT, status TEXT, siblings_group_id INTEGER, model_id TEXT, created_at INTEGER, deleted_at INTEGER);
        INSERT INTO topic VALUES ('t', 'T', 'a2', 1767225600000, 1767225600000, NULL), ('gone', 'G', NULL, 1767225600000, 1767225600000, 1767225600000);
        INSERT INTO message VALUES ('u', NULL, 't', 'user', '{}', 'success', 0, NULL, 1767225600000, NULL),
            ('a1', 'u', 't', 'assistant', '{}', 'success', 1, 'm1', 1767225601000, NULL),
            ('a2', 'u', 't', 'assistant', '{parts}', 'success', 1, 'm2', 1767225602000, NULL),
            ('a3', 'u', 't', 'assistant', '{}', 'success', 1, 'm2', 1767225603000, 1767225604000),
            ('g', NULL, 'gone', 'user', '{}', 'success', 0, NULL, 1767225600000, NULL);",
        block("main_text", "Q"), block("main_text", "other"), block("main_text", "deleted"), block("main_text", "gone"),
    );
    let camel = [
        "active_node_id",
        "created_at",
        "updated_at",
        "deleted_at",
        "parent_id",
        "topic_id",
        "model_id",
    ]
    .iter()
    .fold(sql.clone(), |sql, name| {
        let mut words = name.split('_');
        let first = words.next().unwrap().to_owned();
        let camel = words.fold(first, |all, word| all + &word[..1].to_uppercase() + &word[1..]);
        sql.replace(name, &camel)
    });
    for sql in [sql, camel] {
        let report = read(&sql);
        assert_eq!(
            (&report["format"], &report["problems"]),
            (&json!("cherry-v2"), &json!(0)),
            "{report}"
        );
        assert_eq!(report["sessions"].as_array().unwrap().len(), 1);
        let read = &report["sessions"][0];
        assert_eq!(told(read), ["user: Q", "assistant: (t) A"]);
        assert_eq!((&read["title"], &read["branch"]["otherLeaves"]), (&json!("T"), &json!(1)));
    }
}

#[test]
fn jan_on_a_phone_is_read() {
    let message = |role: &str, text: &str| {
        json!({"id": text, "object": "thread.message", "thread_id": "t", "role": role, "content": [{"type": "text", "text": {"value": text, "annotations": []}}], "created_at": 1_767_225_600}).to_string()
    };
    let sql = format!(
        "CREATE TABLE threads (id TEXT PRIMARY KEY, data TEXT NOT NULL, created_at INTEGER);
        CREATE TABLE messages (id TEXT PRIMARY KEY, thread_id TEXT NOT NULL, data TEXT NOT NULL, created_at INTEGER);
        INSERT INTO threads VALUES ('t', '{}', 1767225600);
        INSERT INTO messages VALUES ('1', 't', '{}', 1), ('2', 't', '{}', 2), ('3', 't', 'torn', 3);",
        json!({"id": "t", "title": "T", "updated": 1_767_225_600}), message("user", "Q"), message("assistant", "A"),
    );
    let report = read(&sql);
    assert_eq!((&report["format"], &report["problems"]), (&json!("jan"), &json!(1)));
    assert_eq!(told(&report["sessions"][0]), ["user: Q", "assistant: A"]);
    assert_eq!(report["sessions"][0]["title"], "T");
}

#[test]
fn takeouts_page_is_read_in_whatever_language_it_is() {
    let cell = |product: &str, lines: &[&str]| {
        format!(
            "<div class=\"outer-cell mdl-cell\"><div class=\"mdl-grid\"><div class=\"header-cell mdl-cell\"><p class=\"mdl-typography--title\">{product}<br></p></div><div class=\"content-cell mdl-cell mdl-typography--body-1\">{}</div><div class=\"content-cell mdl-cell\"></div></div></div>",
            lines.join("<br>")
        )
    };
    let page = |cells: &[String]| {
        format!(
            "<html><head><title>My Activity History</title></head><body>{}</body></html>",
            cells.concat()
        )
    };
    let english = page(&[
        cell(
            "Gemini Apps",
            &["Prompted\u{a0}Second &amp; last", "May 3, 2026, 12:00:05\u{202f}PM GMT+2:00"],
        ),
        cell("Gemini Apps", &["Gave feedback", "May 3, 2026, 12:00:04\u{202f}PM GMT+2:00"]),
        cell("YouTube", &["Watched a film", "May 3, 2026, 12:00:03\u{202f}PM GMT+2:00"]),
        cell("Gemini Apps", &["Prompted First<script>x</script>", "3 May 2026, 12:00:00 GMT+2"]),
    ]);
    let report = report_of("x", english.as_bytes());
    assert_eq!(report["format"], "gemini-takeout");
    let said: Vec<Vec<String>> = report["sessions"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(said, [["user: First"], ["user: Second & last"]]);
    assert_eq!(report["sessions"][1]["createdAt"], "2026-05-03T10:00:05Z");
    let german = page(&[cell(
        "Gemini-Apps",
        &["Eingegebener Prompt: Wie spät?", "3. Mai 2026, 12:00:05 MESZ"],
    )]);
    let report = report_of("x", german.as_bytes());
    assert_eq!(told(&report["sessions"][0]), ["user: Eingegebener Prompt: Wie spät?"]);
    // A zone that is no number is no reason to fall.
    let odd = english.replace("GMT+2:00", "GMT\u{2212}2").replace("GMT+2", "GMT\u{e9}");
    assert_eq!(report_of("x", odd.as_bytes())["sessions"].as_array().unwrap().len(), 2);
}

const GOOSE: &str = "CREATE TABLE sessions (id TEXT PRIMARY KEY, name TEXT, description TEXT, session_type TEXT, working_dir TEXT, created_at TIMESTAMP, updated_at TIMESTAMP);
    CREATE TABLE messages (id INTEGER PRIMARY KEY, message_id TEXT, session_id TEXT, role TEXT, content_json TEXT, created_timestamp INTEGER, metadata_json TEXT);
    INSERT INTO sessions VALUES ('s', 'N', '', 'user', '/w', '2026-01-01 00:00:00', '2026-01-01 00:00:00');
    INSERT INTO messages VALUES (1, 'm1', 's', 'user', '[{\"type\":\"text\",\"text\":\"Q\"}]', 1767225600, '{}');";

#[test]
fn a_database_that_its_app_is_writing_is_read_with_what_is_only_in_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let app = database(
        &path,
        &format!("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; {GOOSE}"),
    );
    // A transaction that is not finished.
    app.execute_batch("BEGIN IMMEDIATE; INSERT INTO messages VALUES (2, 'm2', 's', 'user', '[{\"type\":\"text\",\"text\":\"later\"}]', 1767225601, '{}');").unwrap();
    assert!(std::fs::metadata(folder.path().join("sessions.db-wal")).unwrap().len() > 0);
    for path in [path.clone(), folder.path().to_owned()] {
        let report = report(&path);
        assert_eq!(
            (&report["format"], &report["problems"]),
            (&json!("goose"), &json!(0)),
            "{report}"
        );
        assert_eq!(told(&report["sessions"][0]), ["user: Q"]);
    }
    // The same as it would be copied into a zip.
    let bytes = |end: &str| std::fs::read(folder.path().join(format!("sessions.db{end}"))).unwrap();
    let zip = zip_of(&[("g/sessions.db", &bytes("")), ("g/sessions.db-wal", &bytes("-wal"))]);
    assert_eq!(told(&report_of("x", &zip)["sessions"][0]), ["user: Q"]);
    app.execute_batch("COMMIT").unwrap();
    assert_eq!(told(&report(&path)["sessions"][0]), ["user: Q", "user: later"]);
}

#[test]
fn a_row_that_is_broken_costs_itself() {
    let more = "INSERT INTO messages VALUES (2, 'm2', 's', 'assistant', '[{\"type\":\"text\"', 1767225601, '{}'), (3, NULL, 's', 'assistant', '[{\"type\":\"text\",\"text\":\"A\"}]', 1767225602, NULL), (4, 'm4', 's', 'user', x'00ff', 1767225603, 'no');";
    let report = read(&format!("{GOOSE}{more}"));
    assert_eq!(told(&report["sessions"][0]), ["user: Q", "assistant: A"]);
    assert_eq!(report["problems"], 2);
    // Another program's tables of the same names are not taken for them.
    assert_eq!(
        read("CREATE TABLE sessions (id TEXT); CREATE TABLE messages (id TEXT, body TEXT);")["format"],
        "unknown"
    );
    assert_eq!(
        read(
            "CREATE TABLE x (cursorDiskKV TEXT); CREATE VIEW cursorDiskKV AS SELECT 1 AS key, 2 AS value;"
        )["format"],
        "unknown"
    );
}
