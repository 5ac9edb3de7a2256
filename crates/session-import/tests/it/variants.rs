//! Variants of each format that no case shows: what an app wrote earlier or writes elsewhere, and what is
//! easily read wrong.

use serde_json::{Value, json};

use crate::import::report_of;

pub(crate) fn session(name: &str, bytes: &str) -> Value {
    let report = report_of(name, bytes.as_bytes());
    assert_eq!(report["sessions"].as_array().map(Vec::len), Some(1), "{report}");
    report["sessions"][0].clone()
}

pub(crate) fn jsonl(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// The parts of all messages as short words: `user: text`, `assistant: reasoning tool-call`.
pub(crate) fn told(session: &Value) -> Vec<String> {
    let messages = session["messages"].as_array().unwrap();
    let part = |part: &Value| match part["type"].as_str().unwrap() {
        "text" => part["text"].as_str().unwrap().to_owned(),
        "reasoning" => format!("({})", part["text"].as_str().unwrap()),
        "tool-call" => {
            format!("{}={}", part["name"].as_str().unwrap(), part["state"].as_str().unwrap())
        }
        "file" => format!("[{}]", part["filename"].as_str().unwrap_or("file")),
        "source" => {
            format!("<{}>", part["url"].as_str().or(part["filename"].as_str()).unwrap_or(""))
        }
        kind => format!("{kind}:{}", part["name"].as_str().unwrap_or("")),
    };
    let line = |message: &Value| {
        let parts: Vec<String> = message["parts"].as_array().unwrap().iter().map(part).collect();
        format!("{}: {}", message["role"].as_str().unwrap(), parts.join(" "))
    };
    messages.iter().map(line).collect()
}

fn node(id: &str, parent: Option<&str>, role: &str, content: Value, more: Value) -> Value {
    let mut message = json!({
        "id": id, "author": {"role": role, "name": null}, "content": content, "create_time": 1772359200.0,
        "recipient": "all", "metadata": {},
    });
    for (name, value) in more.as_object().unwrap() {
        message[name] = value.clone();
    }
    json!({"id": id, "parent": parent, "message": message})
}

fn said(words: &str) -> Value {
    json!({"content_type": "text", "parts": [words]})
}

fn chatgpt(nodes: &[Value]) -> Value {
    let mapping: serde_json::Map<String, Value> =
        nodes.iter().map(|node| (node["id"].as_str().unwrap().to_owned(), node.clone())).collect();
    let current = nodes.last().unwrap()["id"].clone();
    json!({"conversation_id": "c", "title": "T", "create_time": 1772359200.5, "current_node": current, "mapping": mapping})
}

#[test]
fn chatgpt_nodes_of_every_kind_are_what_they_are() {
    let chat = chatgpt(&[
        node(
            "p",
            None,
            "user",
            json!({"content_type": "model_editable_context", "text": "hidden"}),
            json!({}),
        ),
        node("u", Some("p"), "user", said("Ask"), json!({})),
        node(
            "a",
            Some("u"),
            "assistant",
            json!({"content_type": "code", "language": "python", "text": "1+1"}),
            json!({}),
        ),
        node("b", Some("a"), "assistant", said("{\"to\": \"x\"}"), json!({"recipient": "bio"})),
        node(
            "c",
            Some("b"),
            "tool",
            said("Saved"),
            json!({"author": {"role": "tool", "name": "bio"}}),
        ),
        node(
            "d",
            Some("c"),
            "assistant",
            json!({"content_type": "text", "parts": ["thinking aloud"]}),
            json!({"channel": "analysis"}),
        ),
        node(
            "e",
            Some("d"),
            "tool",
            json!({"content_type": "tether_quote", "url": "https://a.example", "title": "A", "text": "scraped"}),
            json!({"author": {"role": "tool", "name": "browser"}}),
        ),
        node("f", Some("e"), "assistant", said("Done"), json!({})),
    ]);
    let session = session("x", &json!({"conversations": [chat]}).to_string());
    assert_eq!(
        told(&session),
        [
            "user: Ask",
            "assistant: ```python\n1+1\n``` bio=done (thinking aloud) Done <https://a.example>",
        ]
    );
    assert_eq!(session["createdAt"], "2026-03-01T10:00:00Z");
}

#[test]
fn chatgpt_circles_and_orphans_end() {
    let mut chat = chatgpt(&[
        node("a", Some("b"), "user", said("A"), json!({})),
        node("b", Some("a"), "assistant", said("B"), json!({})),
    ]);
    assert_eq!(told(&session("x.json", &json!([chat]).to_string())), ["user: A", "assistant: B"]);
    chat = chatgpt(&[node("a", Some("nowhere"), "user", said("A"), json!({}))]);
    assert_eq!(told(&session("x.json", &json!([chat]).to_string())), ["user: A"]);
}

#[test]
fn of_two_copies_the_one_that_changed_last_is_read() {
    let mut old = chatgpt(&[node("a", None, "user", said("Old"), json!({}))]);
    let mut new = chatgpt(&[node("a", None, "user", said("New"), json!({}))]);
    (old["update_time"], new["update_time"]) = (json!(1.0), json!(2.0));
    for chats in [json!([old, new]), json!([new, old])] {
        assert_eq!(told(&session("x", &chats.to_string())), ["user: New"]);
    }
}

#[test]
fn deepseek_and_grok_are_told_apart_and_read() {
    let deepseek = json!([{"id": "d", "title": "D", "inserted_at": "2026-01-01T00:00:00Z", "mapping": {
        "root": {"id": "root", "parent": null, "message": null},
        "1": {"id": "1", "parent": "root", "message": {"inserted_at": "2026-01-01T00:00:01Z", "fragments": [{"type": "REQUEST", "content": "Q"}]}},
        "2": {"id": "2", "parent": "1", "message": {"inserted_at": "2026-01-01T00:00:02Z", "fragments": [{"type": "THINK", "content": "t"}, {"type": "RESPONSE", "content": "A"}]}},
    }}]);
    let report = report_of("x", deepseek.to_string().as_bytes());
    assert_eq!(report["format"], "deepseek");
    assert_eq!(told(&report["sessions"][0]), ["user: Q", "assistant: (t) A"]);

    let response = |id: &str, parent: Option<&str>, sender: &str, message: &str, at: &str| {
        json!({"response": {"_id": id, "parent_response_id": parent, "sender": sender, "message": message,
            "create_time": {"$date": {"$numberLong": at}}}})
    };
    let grok = json!({"conversations": [{"conversation": {"id": "g", "title": "G", "create_time": "2026-01-01T00:00:00Z"}, "responses": [
        response("1", None, "human", "Q", "1767225600000"),
        response("2", Some("1"), "ASSISTANT", "old", "1767225601000"),
        response("3", Some("1"), "grok-4", "new", "1767225602000"),
    ]}], "projects": []});
    let report = report_of("x", grok.to_string().as_bytes());
    assert_eq!(report["format"], "grok");
    assert_eq!(told(&report["sessions"][0]), ["user: Q", "assistant: new"]);
    assert_eq!(report["sessions"][0]["branch"]["otherLeaves"], 1);
}

#[test]
fn claude_versions_are_joined_by_parents_in_whatever_order_they_lie() {
    let message = |id: &str, parent: &str, sender: &str, text: &str, at: u32| {
        json!({"uuid": id, "parent_message_uuid": parent, "sender": sender, "text": "", "created_at": format!("2026-01-01T00:00:{at:02}Z"),
            "content": [{"type": "text", "text": text}]})
    };
    let root = "00000000-0000-4000-8000-000000000000";
    let rows = [
        message("4", "3", "assistant", "A2", 4),
        message("1", root, "human", "Q", 1),
        message("3", "2", "human", "Q2", 3),
        message("2", "1", "assistant", "A", 2),
        message("2b", "1", "assistant", "other", 9),
    ];
    // A browser extension saves one chat, which points at its leaf.
    let mut chat =
        json!({"uuid": "c", "name": "N", "current_leaf_message_uuid": "4", "chat_messages": rows});
    let all = ["user: Q", "assistant: A", "user: Q2", "assistant: A2"];
    assert_eq!(told(&session("x", &chat.to_string())), all);
    chat["current_leaf_message_uuid"] = Value::Null;
    assert_eq!(told(&session("x", &json!([chat]).to_string())), ["user: Q", "assistant: other"]);
}

#[test]
fn librechat_is_read_flat_and_as_a_tree_and_several_in_one_file() {
    let message = |id: &str, parent: &str, user: bool, text: &str| json!({"messageId": id, "parentMessageId": parent, "isCreatedByUser": user, "text": text, "createdAt": "2026-01-01T00:00:00Z"});
    let root = "00000000-0000-0000-0000-000000000000";
    let flat = json!({"conversationId": "a", "recursive": false, "messages": [message("2", "1", false, "A"), message("1", root, true, "Q")]});
    assert_eq!(told(&session("x", &flat.to_string())), ["user: Q", "assistant: A"]);
    let mut tree = message("1", root, true, "Q");
    tree["children"] = json!([message("2", "1", false, "A")]);
    let tree = json!({"conversationId": "b", "messagesTree": [tree]});
    let report = report_of("x", format!("{flat}\n{tree}").as_bytes());
    assert_eq!(report["sessions"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(told(&report["sessions"][1]), ["user: Q", "assistant: A"]);
}

#[test]
fn an_aborted_or_refused_call_is_told_from_a_failed_one() {
    let entry = |id: &str, parent: Option<&str>, kind: &str, content: Value, more: Value| {
        let mut row = json!({"type": kind, "uuid": id, "parentUuid": parent, "sessionId": "s", "timestamp": "2026-01-01T00:00:00Z",
            "message": {"role": kind, "content": content}});
        for (name, value) in more.as_object().unwrap() {
            row[name] = value.clone();
        }
        row
    };
    let call = |id: &str| json!([{"type": "tool_use", "id": id, "name": "Bash", "input": {}}]);
    let result = |id: &str, text: &str| json!([{"type": "tool_result", "tool_use_id": id, "is_error": true, "content": text}]);
    let rows = jsonl(&[
        entry("u", None, "user", json!("Go"), json!({})),
        entry("a", Some("u"), "assistant", call("1"), json!({})),
        entry(
            "r",
            Some("a"),
            "user",
            result("1", "The user doesn't want to proceed with this tool use."),
            json!({}),
        ),
        entry("b", Some("r"), "assistant", call("2"), json!({})),
        entry("q", Some("b"), "user", result("2", "exit 1"), json!({})),
        entry("c", Some("q"), "assistant", call("3"), json!({})),
    ]);
    assert_eq!(
        told(&session("x", &rows)),
        ["user: Go", "assistant: Bash=denied Bash=failed Bash=ready"]
    );
}

#[test]
fn claude_code_snapshots_that_grow_are_said_once_and_context_is_not() {
    let answer = |id: &str, parent: &str, content: Value| {
        json!({"type": "assistant", "uuid": id, "parentUuid": parent, "sessionId": "s", "timestamp": "2026-01-01T00:00:00Z",
            "message": {"id": "m", "role": "assistant", "model": "x", "content": content}})
    };
    let user = |id: &str, parent: Option<&str>, text: &str| {
        json!({"type": "user", "uuid": id, "parentUuid": parent, "sessionId": "s", "timestamp": "2026-01-01T00:00:00Z",
            "message": {"role": "user", "content": text}})
    };
    let rows = jsonl(&[
        user(
            "u",
            None,
            "<system-reminder>no</system-reminder>\n<ide_selection>no</ide_selection>Fix it",
        ),
        answer("a", "u", json!([{"type": "text", "text": "Look"}])),
        answer(
            "b",
            "a",
            json!([{"type": "text", "text": "Looking now"}, {"type": "tool_use", "id": "t", "name": "Read", "input": {}}]),
        ),
        user("n", Some("b"), "<task-notification>no</task-notification>"),
    ]);
    let read = session("x", &rows);
    assert_eq!(told(&read), ["user: Fix it", "assistant: Looking now Read=ready"]);
    assert_eq!(read["title"], "Fix it");
}

#[test]
fn a_copy_of_a_claude_code_session_says_what_it_continues() {
    let folder = tempfile::tempdir().unwrap();
    let row = |session: &str, id: &str, parent: Option<&str>, text: &str, at: &str| json!({"type": "user", "uuid": id, "parentUuid": parent, "sessionId": session, "timestamp": at, "message": {"role": "user", "content": text}});
    let own = ["5d0c0000-0000-4000-8000-0000000000a1", "5d0c0000-0000-4000-8000-0000000000a0"];
    let log = |session: &str, last: &str, at: &str| {
        jsonl(&[
            row(session, "1", None, "One", "2026-01-01T00:00:00Z"),
            row(session, last, Some("1"), last, at),
        ])
    };
    std::fs::write(
        folder.path().join(format!("{}.jsonl", own[0])),
        log(own[0], "first", "2026-01-01T00:00:05Z"),
    )
    .unwrap();
    std::fs::write(
        folder.path().join(format!("{}.jsonl", own[1])),
        log(own[1], "later", "2026-01-02T00:00:00Z"),
    )
    .unwrap();
    let report = crate::import::report(folder.path());
    let continues: Vec<&Value> = report["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["branch"]["continues"])
        .collect();
    assert_eq!(continues, [&json!(own[0]), &Value::Null], "{report}");
}

#[test]
fn codex_is_read_from_whatever_a_version_wrote() {
    let line = |kind: &str, payload: Value| json!({"timestamp": "2026-01-01T00:00:00Z", "type": kind, "payload": payload});
    let meta =
        line("session_meta", json!({"id": "s", "cwd": "/w", "timestamp": "2026-01-01T00:00:00Z"}));
    let item = |role: &str, text: &str| {
        line(
            "response_item",
            json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}),
        )
    };
    let completed = |kind: &str, text: &str| {
        line(
            "event_msg",
            json!({"type": "item_completed", "item": {"type": kind, "content": [{"type": "Text", "text": text}]}}),
        )
    };
    let want = ["user: Q", "assistant: A"];
    for rows in [
        vec![meta.clone(), item("user", "Q"), item("assistant", "A")],
        vec![
            meta.clone(),
            line("event_msg", json!({"type": "user_message", "message": "Q"})),
            line("event_msg", json!({"type": "agent_message", "message": "A"})),
        ],
        vec![meta.clone(), completed("UserMessage", "Q"), completed("AgentMessage", "A")],
        vec![
            meta.clone(),
            item("user", "# Context from my IDE setup:\n\n## My request for Codex:\nQ"),
            item("assistant", "A"),
        ],
        vec![
            json!({"id": "s", "timestamp": "2026-01-01T00:00:00Z", "instructions": null}),
            json!({"record_type": "state"}),
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Q"}]}),
            json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A"}]}),
        ],
    ] {
        let report = report_of("x", jsonl(&rows).as_bytes());
        assert_eq!(report["format"], "codex");
        assert_eq!(told(&report["sessions"][0]), want, "{report}");
    }
    let call = |id: &str, output: Value| {
        [
            line(
                "response_item",
                json!({"type": "function_call", "name": "sh", "arguments": "{}", "call_id": id}),
            ),
            line(
                "response_item",
                json!({"type": "function_call_output", "call_id": id, "output": output}),
            ),
        ]
    };
    let mut rows = vec![meta, item("user", "Q")];
    rows.extend(call("1", json!("Wall time: 1\nProcess exited with code 2\nOutput:\nno")));
    rows.extend(call("2", json!("exec command rejected by user")));
    rows.extend(call("3", json!([{"type": "input_text", "text": "ok"}])));
    assert_eq!(
        told(&session("x", &jsonl(&rows))),
        ["user: Q", "assistant: sh=failed sh=denied sh=done"]
    );
}

#[test]
fn a_packed_log_is_read_as_it_is() {
    let rows = jsonl(&[
        json!({"timestamp": "2026-01-01T00:00:00Z", "type": "session_meta", "payload": {"id": "s"}}),
        json!({"timestamp": "2026-01-01T00:00:00Z", "type": "event_msg", "payload": {"type": "user_message", "message": "Q"}}),
    ]);
    let packed = zstd::encode_all(rows.as_bytes(), 3).unwrap();
    assert_eq!(told(&report_of("x.zst", &packed)["sessions"][0]), ["user: Q"]);
}

#[test]
fn gemini_cli_checkpoints_and_the_earlier_form_are_read() {
    let message = |id: &str, kind: &str, text: &str| json!({"id": id, "type": kind, "content": text, "timestamp": "2026-01-01T00:00:00Z"});
    let meta = json!({"sessionId": "s", "projectHash": "h", "startTime": "2026-01-01T00:00:00Z"});
    let rows = jsonl(&[
        meta.clone(),
        message("1", "user", "gone"),
        json!({"$set": {"messages": [message("2", "user", "Q")]}}),
        message("3", "gemini", "A"),
    ]);
    assert_eq!(told(&session("x", &rows)), ["user: Q", "assistant: A"]);
    let rows = jsonl(&[
        meta.clone(),
        message("1", "user", "gone"),
        json!({"$rewindTo": "unknown"}),
        message("2", "user", "Q"),
    ]);
    assert_eq!(told(&session("x", &rows)), ["user: Q"]);
    let mut whole = meta;
    whole["messages"] = json!([message("1", "user", "Q")]);
    for text in [whole.to_string(), serde_json::to_string_pretty(&whole).unwrap()] {
        assert_eq!(told(&session("x", &text)), ["user: Q"]);
    }
    // After a resume both lie there.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("session-a.json"), whole.to_string()).unwrap();
    std::fs::write(
        folder.path().join("session-a.jsonl"),
        jsonl(&[json!({"sessionId": "s", "projectHash": "h"}), message("2", "gemini", "A")]),
    )
    .unwrap();
    let report = crate::import::report(folder.path());
    assert_eq!(report["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(told(&report["sessions"][0]), ["user: Q", "assistant: A"]);
}

#[test]
fn opencodes_files_are_read_as_its_database_is() {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, value: Value| {
        let path = folder.path().join("storage").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value.to_string()).unwrap();
    };
    put(
        "session/p/ses_1.json",
        json!({"id": "ses_1", "projectID": "p", "directory": "/w", "title": "T", "time": {"created": 1767225600000_i64}}),
    );
    put(
        "message/ses_1/msg_1.json",
        json!({"id": "msg_1", "sessionID": "ses_1", "role": "user", "time": {"created": 1767225600000_i64}}),
    );
    put(
        "message/ses_1/msg_2.json",
        json!({"id": "msg_2", "sessionID": "ses_1", "role": "assistant", "time": {"created": 1767225601000_i64}}),
    );
    put(
        "part/msg_1/prt_1.json",
        json!({"id": "prt_1", "messageID": "msg_1", "sessionID": "ses_1", "type": "text", "text": "Q"}),
    );
    put(
        "part/msg_2/prt_2.json",
        json!({"id": "prt_2", "messageID": "msg_2", "sessionID": "ses_1", "type": "tool", "tool": "invalid", "callID": "c", "state": {"status": "completed", "input": {}, "output": "bad"}}),
    );
    let report = crate::import::report(folder.path());
    assert_eq!(
        (report["format"].as_str(), report["problems"].as_u64()),
        (Some("opencode"), Some(0))
    );
    assert_eq!(told(&report["sessions"][0]), ["user: Q", "assistant: invalid=failed"]);
}

#[test]
fn openai_lines_of_every_kind_are_conversations() {
    let rows = jsonl(&[
        json!({"input": [{"role": "user", "content": "Q"}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "ok"}]}),
        json!({"messages": [{"role": "user", "content": "<think>a person's</think>"}, {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}}, {"role": "function", "name": "f", "content": "ok"}]}),
    ]);
    let report = report_of("x", rows.as_bytes());
    assert_eq!(report["format"], "openai-jsonl");
    assert_eq!(told(&report["sessions"][0]), ["user: Q", "assistant: f=done"]);
    let second = ["user: <think>a person's</think>", "assistant: f=done"];
    assert_eq!(told(&report["sessions"][1]), second);
    let plain = json!([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]);
    assert_eq!(told(&session("x", &plain.to_string())), ["user: Q", "assistant: A"]);
}

#[test]
fn what_is_unknown_is_not_read_as_anything() {
    for bytes in [
        &b"just a text\nof two lines"[..],
        b"{\"a\":1}",
        b"[1,2,3]",
        b"",
        b"{",
        b"# A heading\n",
        b"\x00\x01\x02",
        b"[{\"title\":\"x\",\"body\":\"y\"}]",
    ] {
        let report = report_of("conversations.json", bytes);
        assert_eq!(report, json!({"format": "unknown", "sessions": [], "problems": 0}));
    }
}

#[test]
fn characters_that_are_none_cost_only_themselves() {
    let text = r#"[{"role":"user","content":"a\ud83d b\u0000 c\r\nd"},{"role":"assistant","content":"\ud83d\ude00"}]"#;
    assert_eq!(told(&session("x", text)), ["user: a\u{fffd} b c\nd", "assistant: \u{1f600}"]);
}

#[test]
fn claude_code_goes_on_over_a_compaction_that_names_nothing() {
    let entry = |id: &str, parent: Option<&str>, kind: &str, more: Value| {
        let mut row = json!({"type": kind, "uuid": id, "parentUuid": parent, "sessionId": "s", "timestamp": "2026-01-01T00:00:00Z"});
        for (name, value) in more.as_object().unwrap() {
            row[name] = value.clone();
        }
        row
    };
    let user = |text: &str| json!({"message": {"role": "user", "content": text}});
    let mut summary = user("This session is being continued");
    summary["isCompactSummary"] = json!(true);
    let rows = jsonl(&[
        entry("u", None, "user", user("Before")),
        entry("b", None, "system", json!({"subtype": "compact_boundary"})),
        entry("c", Some("b"), "user", summary),
        entry("v", Some("c"), "user", user("After")),
    ]);
    let read = session("x", &rows);
    assert_eq!(told(&read), ["user: Before data:compaction", "user: After"]);
    assert_eq!((read["compactions"].as_u64(), read["contextFrom"].as_str()), (Some(1), Some("c")));
}

#[test]
fn cherrys_packed_backup_has_its_files_and_names_what_only_cherry_reads() {
    let backup = json!({"version": 5, "localStorage": {}, "indexedDB": {
        "topics": [{"id": "t", "messages": [{"id": "m", "role": "user", "createdAt": "2026-01-01T00:00:00Z", "blocks": ["b", "f"]}]}],
        "message_blocks": [
            {"id": "b", "type": "main_text", "content": "Q"},
            {"id": "f", "type": "file", "file": {"id": "ff", "ext": ".txt", "origin_name": "a.txt"}}]}});
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in
        [("data.json", backup.to_string()), ("Data/Files/ff.txt", "inside".to_owned())]
    {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, bytes.as_bytes()).unwrap();
    }
    let report = report_of("x", &zip.finish().unwrap().into_inner());
    assert_eq!(
        (report["format"].as_str(), report["problems"].as_u64()),
        (Some("cherry-v1"), Some(0))
    );
    assert_eq!(report["sessions"][0]["messages"][0]["parts"][1]["content"], "inside");

    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("IndexedDB/file__0.indexeddb.leveldb");
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::write(inside.join("CURRENT"), "MANIFEST-000001\n").unwrap();
    let report = crate::import::report(folder.path());
    assert_eq!(
        (report["format"].as_str(), report["problems"].as_u64()),
        (Some("cherry-direct"), Some(1))
    );
}

#[test]
fn thoughts_and_calls_in_tags_are_told_apart_only_where_they_are_tags() {
    let chat = |content: &str| {
        json!({"history": {"currentId": "a", "messages": {
            "u": {"id": "u", "parentId": null, "role": "user", "content": "Q", "timestamp": 1767225600},
            "a": {"id": "a", "parentId": "u", "role": "assistant", "content": content, "timestamp": 1767225601}}}})
        .to_string()
    };
    for (content, want) in [
        (
            "<details type=\"reasoning\" done=\"true\">\n<summary>x</summary>\n&gt; a &amp; b\n</details>\nSaid",
            "(a & b) Said",
        ),
        (
            "<details type=\"tool_calls\" done=\"false\" name=\"f\" arguments=\"&quot;{}&quot;\">\n</details>",
            "f=ready",
        ),
        (
            "<details>\n<summary>mine</summary>\n</details>",
            "<details>\n<summary>mine</summary>\n</details>",
        ),
        ("```\n<details type=\"reasoning\">\n```", "```\n<details type=\"reasoning\">\n```"),
        ("<think>t</think>Said", "(t) Said"),
    ] {
        assert_eq!(told(&session("x", &chat(content)))[1], format!("assistant: {want}"));
    }
}
