//! What endpoints are known to send, by endpoint: relatives of `tests/cases`. The table in ARCHITECTURE.md says which is
//! whose.

use serde_json::{Value, json};

use crate::cases::{
    Case, Guard, Stage, alternate, no_stream_options, no_tools, reasoning_echo, thought_signature,
};

const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";

/// A case of one question.
fn case(name: &str, replies: Vec<(u16, &str, String)>, expect: Value) -> Case {
    let replies = replies
        .into_iter()
        .map(|(status, kind, body)| (status, kind.to_owned(), body.into_bytes()));
    Case {
        name: name.to_owned(),
        say: vec!["Hello".to_owned()],
        guards: Vec::new(),
        replies: replies.collect(),
        expect,
        cuts: &[0, 1],
    }
}

fn chunk(choice: &Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m1", "choices": [choice]})
}

fn delta(delta: &Value) -> Value {
    chunk(&json!({"index": 0, "delta": delta, "finish_reason": null}))
}

fn end(reason: &str) -> Value {
    chunk(&json!({"index": 0, "delta": {}, "finish_reason": reason}))
}

fn say(text: &str) -> Value {
    delta(&json!({"content": text}))
}

fn call(index: &Value, id: &Value, name: &str, arguments: &Value) -> Value {
    delta(
        &json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]}),
    )
}

/// Events and `[DONE]`.
fn stream(chunks: &[Value]) -> (u16, &'static str, String) {
    let body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    (200, SSE, format!("{body}data: [DONE]\n\n"))
}

fn told(text: &str) -> (u16, &'static str, String) {
    stream(&[say(text), end("stop")])
}

fn body(kind: &'static str, body: impl Into<String>) -> (u16, &'static str, String) {
    (200, kind, body.into())
}

const TOKYO: &str = r#"{"zone":"Asia/Tokyo"}"#;

fn in_tokyo() -> Value {
    json!([["current_time", {"zone": "Asia/Tokyo"}, "done"]])
}

#[tokio::test]
async fn an_odd_field_costs_only_itself() {
    let stage = Stage::new().await;
    let odd = [
        ("a number as content", json!({"content": 7}), "7Hi."),
        (
            "content of parts",
            json!({"content": ["a", {"type": "text", "text": "b"}, {"type": "image_url", "image_url": {"url": "x"}}, null, 3]}),
            "ab3Hi.",
        ),
        ("a part as content", json!({"content": {"type": "text", "text": {"value": "a"}}}), "aHi."),
        (
            "null everywhere",
            json!({"role": null, "content": null, "refusal": null, "tool_calls": null, "function_call": null, "reasoning": null, "audio": null}),
            "Hi.",
        ),
        (
            "calls that are none",
            json!({"content": "a", "tool_calls": [null, 7, "x", {}, []]}),
            "aHi.",
        ),
        ("calls that are no list", json!({"content": "a", "tool_calls": "none"}), "aHi."),
        (
            "reasoning that is none",
            json!({"content": "a", "reasoning": {"effort": 3}, "reasoning_content": 4}),
            "aHi.",
        ),
    ];
    for (name, odd, text) in odd {
        let case = case(
            name,
            vec![stream(&[delta(&odd), say("Hi."), end("stop")])],
            json!({"text": text, "error": null}),
        );
        stage.model(case).await;
    }
    let deep = format!("{}{}", "[".repeat(400), "]".repeat(400));
    for (name, text) in [
        ("choices of other kinds", format!("data: {{\"choices\":null}}\n\ndata: {{\"choices\":7}}\n\ndata: {{\"choices\":[null,7]}}\n\ndata: {}\n\ndata: {}\n\n", say("Hi."), end("stop"))),
        ("a choice without a list", "data: {\"choices\":{\"delta\":{\"content\":\"Hi.\"},\"finish_reason\":\"stop\"}}\n\n".to_owned()),
        ("a delta of text", "data: {\"choices\":[{\"delta\":\"Hi.\",\"finish_reason\":\"stop\"}]}\n\n".to_owned()),
        ("a field nested too deeply", format!("data: {{\"odd\":{deep},\"choices\":[{{\"delta\":{{\"content\":\"Hi.\",\"odd\":{deep}}},\"finish_reason\":\"stop\"}}]}}\n\n")),
        ("numbers that are none", "data: {\"choices\":[{\"logprobs\":NaN,\"delta\":{\"content\":\"Hi.\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":-Infinity}}\n\n".to_owned()),
        ("a field twice", "data: {\"choices\":[],\"choices\":[{\"delta\":{\"content\":\"Hi.\"},\"finish_reason\":\"stop\"}]}\n\n".to_owned()),
        ("a broken chunk", format!("data: {}\n\ndata: {{\"choices\":[{{\"delta\":\n\ndata: {}\n\n", say("Hi."), end("stop"))),
        ("words between", format!("data: {}\n\ndata: ping\n\nkeep-alive\n\ndata: {}\n\n", say("Hi."), end("stop"))),
        (
            "odd numbers of the choice",
            format!(
                "data: {}\n\ndata: {}\n\ndata: {}\n\n",
                chunk(&json!({"index": 0, "delta": {"content": "H"}})),
                chunk(&json!({"index": -1, "delta": {"content": "i"}})),
                chunk(&json!({"index": "x", "delta": {"content": "."}, "finish_reason": "stop"}))
            ),
        ),
        ("choices of another number", format!("data: {}\n\ndata: {}\n\ndata: {}\n\n", chunk(&json!({"index": 1, "delta": {"content": "Hi."}})), chunk(&json!({"index": 2, "delta": {"content": "other"}})), chunk(&json!({"index": 1, "finish_reason": "stop"})))),
    ] {
        stage.model(case(name, vec![body(SSE, text)], json!({"text": "Hi.", "error": null}))).await;
    }
    let halves = "data: {\"choices\":[{\"delta\":{\"content\":\"a\\ud83d\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\\ude00b\\ud83d\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\\udc00\\udc00c\"},\"finish_reason\":\"stop\"}]}\n\n";
    stage
        .model(case(
            "halves of characters",
            vec![body(SSE, halves)],
            json!({"text": "a😀b🐀\u{fffd}c", "error": null}),
        ))
        .await;
}

#[tokio::test]
async fn an_answer_is_read_however_it_is_framed() {
    let stage = Stage::new().await;
    let (a, b, c) = (say("One "), say("two."), end("stop"));
    let whole = json!({"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "One two."}, "finish_reason": "stop"}]});
    for (name, kind, text) in [
        ("single lines", SSE, format!("data: {a}\ndata: {b}\ndata: {c}\ndata: [DONE]")),
        (
            "CRLF, comments, no space",
            SSE,
            format!(
                ": OPENROUTER PROCESSING\r\n\r\ndata:{a}\r\n\r\n:\r\ndata:{b}\r\n\r\ndata:{c}\r\n\r\n"
            ),
        ),
        ("lone CR and a BOM", SSE, format!("\u{feff}data: {a}\r\rdata: {b}\r\rdata: {c}\r\r")),
        ("lines of JSON", "application/x-ndjson", format!("{a}\n{b}\n{c}\n")),
        (
            "a stream that says it is JSON",
            JSON,
            format!("data: {a}\n\ndata: {b}\n\ndata: {c}\n\ndata: [DONE]\n\n"),
        ),
        ("a list of chunks", JSON, json!([a, b, c]).to_string()),
        ("no stream", JSON, whole.to_string()),
        ("no stream, laid out", "text/plain", serde_json::to_string_pretty(&whole).unwrap()),
        ("no stream in one event", SSE, format!("data: {whole}\n\ndata: [DONE]\n\n")),
        (
            "no reason in a whole message",
            JSON,
            json!({"choices": [{"message": {"content": "One two."}}]}).to_string(),
        ),
        (
            "events of names",
            SSE,
            format!(
                "event: chunk\nid: 1\nretry: 5\ndata: {a}\n\nevent: chunk\ndata: {b}\n\ndata: {c}\n\n"
            ),
        ),
        (
            "[DONE] twice, and more behind it",
            SSE,
            format!(
                "data: {a}\n\ndata: {b}\n\ndata: {c}\n\ndata: [DONE]\n\ndata: [DONE]\n\ndata: {}\n\n",
                json!({"choices": []})
            ),
        ),
        ("[DONE] in a text", SSE, format!("data: {}\n\ndata: {c}\n\n", say("One two."))),
        (
            "deltas and the whole at last",
            SSE,
            format!("data: {a}\n\ndata: {b}\n\ndata: {c}\n\ndata: {whole}\n\n"),
        ),
        (
            "whole messages that grow",
            SSE,
            ["One ", "One two", "One two."]
                .map(|text| format!("data: {}\n\n", chunk(&json!({"message": {"content": text}}))))
                .concat()
                + &format!("data: {c}\n\n"),
        ),
        (
            "old completions",
            SSE,
            format!("data: {}\n\ndata: {c}\n\n", chunk(&json!({"text": "One two."}))),
        ),
    ] {
        stage
            .model(case(name, vec![body(kind, text)], json!({"text": "One two.", "error": null})))
            .await;
    }
}

#[tokio::test]
async fn an_error_in_any_shape_ends_the_answer_with_its_words() {
    let stage = Stage::new().await;
    let half = format!("data: {}\n\n", say("Half "));
    let ended = format!("{half}data: {}\n\n", end("stop"));
    for (name, text) in [
        (
            "an error field",
            format!("{half}error: {{\"message\":\"no window\"}}\n\ndata: [DONE]\n\n"),
        ),
        ("an error field of words", format!("{half}error: no window\n\n")),
        ("an error event", format!("{half}event: error\ndata: {{\"message\":\"no window\"}}\n\n")),
        ("an error event of words", format!("{half}event: error\ndata: no window\n\n")),
        (
            "an error behind the end",
            format!("{ended}data: {{\"error\":{{\"message\":\"no window\"}}}}\n\n"),
        ),
        (
            "an object that is an error",
            format!(
                "{half}data: {{\"object\":\"error\",\"message\":\"no window\",\"code\":40303}}\n\n"
            ),
        ),
        (
            "a type that is an error",
            format!(
                "{half}data: {{\"type\":\"error\",\"error\":{{\"type\":\"overloaded_error\",\"message\":\"no window\"}}}}\n\n"
            ),
        ),
        ("a text", format!("{half}data: {{\"error\":\"no window\"}}\n\n")),
        (
            "a flag beside words",
            format!("{half}data: {{\"error\":true,\"message\":\"no window\"}}\n\n"),
        ),
        (
            "a name beside words",
            format!("{half}data: {{\"error\":\"bad_request\",\"message\":\"no window\"}}\n\n"),
        ),
        ("a bare line", format!("{half}{{\"error\":{{\"message\":\"no window\"}}}}\n")),
        (
            "bare lines",
            format!("{half}{{\n  \"error\": {{\n    \"message\": \"no window\"\n  }}\n}}\n"),
        ),
        (
            "a list",
            format!(
                "{half}[{{\"error\":{{\"code\":400,\"message\":\"no window\",\"status\":\"INVALID_ARGUMENT\"}}}}]\n"
            ),
        ),
        (
            "a list in an event",
            format!("{half}data: [{{\"error\":{{\"message\":\"no window\"}}}}]\n\n"),
        ),
        (
            "details",
            format!(
                "{half}data: {{\"detail\":[{{\"loc\":[\"body\"],\"msg\":\"no window\"}}]}}\n\n"
            ),
        ),
        (
            "a code and words",
            format!(
                "{half}data: {{\"code\":\"InvalidParameter\",\"message\":\"no window\",\"request_id\":\"1\"}}\n\n"
            ),
        ),
        (
            "an error in a choice",
            format!(
                "{half}data: {}\n\n",
                chunk(
                    &json!({"index": 0, "delta": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": "no window"}})
                )
            ),
        ),
        (
            "JSON in the words",
            format!(
                "{half}data: {{\"error\":{{\"message\":\"{{\\\"error\\\":{{\\\"message\\\":\\\"no window\\\"}}}}\"}}}}\n\n"
            ),
        ),
        (
            "what is behind a router",
            format!(
                "{half}data: {{\"error\":{{\"message\":\"Provider returned error\",\"metadata\":{{\"raw\":\"no window\"}}}},\"choices\":[]}}\n\n"
            ),
        ),
        (
            "a state that is none",
            format!(
                "{half}data: {{\"choices\":null,\"base_resp\":{{\"status_code\":1004,\"status_msg\":\"no window\"}}}}\n\n"
            ),
        ),
        ("words for an answer", "no window".to_owned()),
        ("words in an event", format!("{half}data: no window\n\n")),
        (
            "an abort with words",
            format!(
                "{half}data: {}\n\n",
                chunk(
                    &json!({"index": 0, "delta": {}, "finish_reason": {"type": "abort", "message": "no window"}})
                )
            ),
        ),
    ] {
        stage.model(case(name, vec![body(SSE, text)], json!({"error_has": "no window"}))).await;
    }
    for (name, text) in [
        ("JSON with status 200", r#"{"error":{"message":"no window"}}"#),
        ("a message", r#"{"message":"no window"}"#),
        ("details", r#"{"detail":"no window"}"#),
        ("no success", r#"{"success":false,"msg":"no window"}"#),
        ("a list", r#"[{"error":{"message":"no window"}}]"#),
        ("errors", r#"{"errors":[{"message":"no window"}]}"#),
    ] {
        stage.model(case(name, vec![body(JSON, text)], json!({"error_has": "no window"}))).await;
    }
    for (name, text) in [
        ("[DONE] in a text", format!("{half}data: [DONE]\n\n")),
        ("an end in a text", half.clone()),
        ("nothing", String::new()),
        ("only [DONE]", "data: [DONE]\n\n".to_owned()),
        ("an end in a chunk", format!("{half}data: {{\"choices\":[{{\"delta\":{{\"cont")),
        ("a page", "<html><body>Sign in</body></html>".to_owned()),
        ("an error without words", format!("{half}data: {{\"error\":{{\"code\":500}}}}\n\n")),
        ("an end that is an error", format!("{half}data: {}\n\n", end("error"))),
        (
            "an end for want of machines",
            format!("{half}data: {}\n\n", end("insufficient_system_resource")),
        ),
        ("an error event of nothing", format!("{half}event: error\n\n")),
        (
            "a call and no reason",
            format!(
                "data: {}\n\ndata: [DONE]\n\n",
                call(
                    &json!(0),
                    &json!("x"),
                    "save_note",
                    &json!("{\"title\":\"a\",\"text\":\"b\"}")
                )
            ),
        ),
    ] {
        stage
            .model(case(name, vec![body(SSE, text)], json!({"error_has": "", "no_approval": true})))
            .await;
    }
}

#[tokio::test]
async fn what_says_that_there_is_no_error_is_none() {
    let stage = Stage::new().await;
    for (name, more) in [
        ("null", json!({"error": null})),
        ("empty", json!({"error": ""})),
        ("nothing in it", json!({"error": {}})),
        ("false", json!({"error": false, "errors": [], "message": null})),
        (
            "zero",
            json!({"code": 0, "error_code": 0, "base_resp": {"status_code": 0, "status_msg": ""}}),
        ),
    ] {
        let mut hi = say("Hi.");
        hi.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let case = case(
            name,
            vec![stream(&[hi, end("stop"), more])],
            json!({"text": "Hi.", "error": null}),
        );
        stage.model(case).await;
    }
}

#[tokio::test]
async fn half_a_call_is_never_asked_for_and_never_runs() {
    let stage = Stage::new().await;
    let whole = json!({"title": "a", "text": "b"});
    for (name, arguments, reason) in [
        ("no arguments", "", "length"),
        ("half of them", "{\"title\":\"a\",\"te", "length"),
        ("an empty object", "{", "max_tokens"),
        ("a filter", "{\"title\":", "content_filter"),
        ("a full window", "{\"title\":\"a\"", "model_context_window_exceeded"),
    ] {
        let cut = stream(&[
            call(&json!(0), &json!("x"), "save_note", &json!(arguments)),
            end(reason),
            end("tool_calls"),
        ]);
        let expect = json!({"text": "Again.", "no_approval": true, "error": null, "requests": 2});
        let seen = stage.model(case(name, vec![cut, told("Again.")], expect)).await;
        let told = seen.asked[1]["messages"][2]["content"].as_str().unwrap();
        assert!(told.contains("cut off"), "{told}");
    }
    // One that is whole before the end is asked for.
    let cut = stream(&[
        call(&json!(0), &json!("x"), "save_note", &json!(whole.to_string())),
        end("length"),
    ]);
    stage.model(case("a whole one", vec![cut], json!({"asks_for": ["save_note", whole]}))).await;
    // Half of the arguments behind a usual reason is an error that the model is told.
    let half = stream(&[
        call(&json!(0), &json!("x"), "save_note", &json!("{\"title\":")),
        end("tool_calls"),
    ]);
    stage
        .model(case(
            "broken",
            vec![half, told("Again.")],
            json!({"text": "Again.", "no_approval": true}),
        ))
        .await;
}

#[tokio::test]
async fn arguments_mean_what_they_can_only_mean() {
    let stage = Stage::new().await;
    for (name, arguments, input) in [
        ("null", json!("null"), json!({})),
        ("nothing", json!(""), json!({})),
        ("no field", Value::Null, json!({})),
        ("an object", json!({"zone": "Asia/Tokyo"}), json!({"zone": "Asia/Tokyo"})),
        ("JSON in JSON", json!(json!(TOKYO).to_string()), json!({"zone": "Asia/Tokyo"})),
        ("twice", json!(format!("{TOKYO}{TOKYO}")), json!({"zone": "Asia/Tokyo"})),
        ("behind an empty one", json!(format!("{{}}{TOKYO}")), json!({"zone": "Asia/Tokyo"})),
    ] {
        let asked =
            stream(&[call(&json!(0), &json!("x"), "current_time", &arguments), end("tool_calls")]);
        let expect =
            json!({"tools": [["current_time", input, "done"]], "text": "Told.", "error": null});
        let seen = stage.model(case(name, vec![asked, told("Told.")], expect)).await;
        let sent = seen.asked[1]["messages"][1]["tool_calls"][0]["function"]["arguments"]
            .as_str()
            .unwrap();
        assert_eq!(serde_json::from_str::<Value>(sent).unwrap(), input, "{name}");
    }
}

#[tokio::test]
async fn ids_of_calls_are_unique_in_the_session_and_the_models_own_go_back() {
    let stage = Stage::new().await;
    let once = |id: &Value| {
        stream(&[call(&json!(0), id, "current_time", &json!(TOKYO)), end("tool_calls")])
    };
    for id in [json!("call_0"), json!(""), Value::Null, json!(0), json!("functions.current_time:0")]
    {
        let mut case = case(
            &format!("id {id}"),
            vec![once(&id), once(&id), told("a"), once(&id), told("b")],
            json!({"text": "ab", "unique_call_ids_asked": true, "error": null, "requests": 5}),
        );
        case.say.push("Again".to_owned());
        stage.model(case).await;
    }
    let mut case = case(
        "its own",
        vec![once(&json!("current_time:0")), told("a"), told("b")],
        json!({"text": "ab"}),
    );
    case.say.push("Again".to_owned());
    let seen = stage.model(case).await;
    for asked in &seen.asked[1..] {
        assert_eq!(asked["messages"][1]["tool_calls"][0]["id"], "current_time:0");
        assert_eq!(asked["messages"][2]["tool_call_id"], "current_time:0");
    }
}

#[tokio::test]
async fn usage_is_the_last_of_an_answer_and_answers_add_up() {
    let stage = Stage::new().await;
    let used = |usage: Value| json!({"choices": [], "usage": usage});
    let count = |p: u64, c: u64, t: u64| json!({"promptTokens": p, "completionTokens": c, "totalTokens": t});
    for (name, chunks, want) in [
        (
            "at last",
            vec![
                say("a"),
                end("stop"),
                used(json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})),
            ],
            count(3, 2, 5),
        ),
        (
            "null in every chunk",
            vec![
                used(Value::Null),
                say("a"),
                end("stop"),
                used(json!({"prompt_tokens": 3, "completion_tokens": 2})),
            ],
            count(3, 2, 5),
        ),
        (
            "texts and fractions",
            vec![
                say("a"),
                end("stop"),
                used(json!({"prompt_tokens": "3", "completion_tokens": 2.0, "total_tokens": null})),
            ],
            count(3, 2, 5),
        ),
        (
            "negative and odd",
            vec![
                say("a"),
                end("stop"),
                used(
                    json!({"prompt_tokens": -3, "completion_tokens": 2, "total_tokens": [], "prompt_tokens_details": null}),
                ),
            ],
            count(0, 2, 2),
        ),
        (
            "nothing behind it",
            vec![
                say("a"),
                used(json!({"prompt_tokens": 3, "completion_tokens": 2})),
                end("stop"),
                used(json!({"prompt_tokens": 0, "completion_tokens": 0})),
            ],
            count(3, 2, 5),
        ),
        (
            "other names",
            vec![say("a"), end("stop"), used(json!({"input_tokens": 3, "output_tokens": 2}))],
            count(3, 2, 5),
        ),
        (
            "in the choice",
            vec![
                say("a"),
                chunk(
                    &json!({"index": 0, "delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}),
                ),
            ],
            count(3, 2, 5),
        ),
        (
            "Groq's",
            vec![
                say("a"),
                end("stop"),
                json!({"choices": [], "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}}),
            ],
            count(3, 2, 5),
        ),
        (
            "in parts",
            vec![
                used(json!({"prompt_tokens": 3, "completion_tokens": 1})),
                say("a"),
                used(json!({"completion_tokens": 2})),
                end("stop"),
            ],
            count(3, 2, 5),
        ),
    ] {
        stage
            .model(case(
                name,
                vec![stream(&chunks)],
                json!({"text": "a", "usage": want, "error": null}),
            ))
            .await;
    }
    let usage = used(json!({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}));
    let asked = stream(&[
        usage.clone(),
        call(&json!(0), &json!("x"), "current_time", &json!("{}")),
        end("tool_calls"),
        usage.clone(),
    ]);
    let answered = stream(&[say("a"), usage.clone(), end("stop"), usage]);
    stage
        .model(case("two answers", vec![asked, answered], json!({"usage": count(20, 2, 22)})))
        .await;
}

#[tokio::test]
async fn thoughts_in_tags_are_reasoning() {
    let stage = Stage::new().await;
    for (name, parts, text, reasoning) in [
        (
            "cut in the tags",
            vec!["<thi", "nk>\nCo", "unt.\n</th", "ink>\n\nSeven."],
            "Seven.",
            "Count.",
        ),
        ("thinking", vec!["<thinking>Count.</thinking>Seven."], "Seven.", "Count."),
        (
            "reasoning",
            vec!["\n<reasoning>", "Count.", "</reasoning>", "Seven."],
            "Seven.",
            "Count.",
        ),
        ("no opening tag", vec!["Count.", "\n</th", "ink>\n\n", "Seven."], "Seven.", "Count."),
        ("nothing thought", vec!["<think>\n\n</think>\n\nSeven."], "Seven.", ""),
        (
            "talked about",
            vec!["Use `<think>` and ", "`</think>`."],
            "Use `<think>` and `</think>`.",
            "",
        ),
        (
            "in code",
            vec!["So:\n```\n<think>\n</think>\n```"],
            "So:\n```\n<think>\n</think>\n```",
            "",
        ),
        ("capital", vec!["<THINK>Count.</THINK>Seven."], "Seven.", "Count."),
        (
            "in the middle",
            vec!["First.\n<think>\nCount.\n</think>\nSeven."],
            "First.\nSeven.",
            "Count.",
        ),
        ("no closing tag", vec!["<think>Count."], "", "Count."),
    ] {
        let mut chunks: Vec<Value> = parts.into_iter().map(say).collect();
        chunks.push(end("stop"));
        stage
            .model(case(
                name,
                vec![stream(&chunks)],
                json!({"text": text, "reasoning": reasoning, "error": null}),
            ))
            .await;
    }
}

#[tokio::test]
async fn a_thought_without_an_opening_tag_before_a_call_goes_back_as_a_thought() {
    let stage = Stage::new().await;
    let asked = stream(&[
        say("I need it."),
        say("\n</think>\n"),
        call(&json!(0), &json!("x"), "current_time", &json!(TOKYO)),
        end("tool_calls"),
    ]);
    let expect =
        json!({"text": "Noon.", "reasoning": "I need it.", "tools": in_tokyo(), "strip": true});
    let mut case = case("tags", vec![asked, told("Noon."), told("")], expect);
    case.say.push("And?".to_owned());
    let seen = stage.model(case).await;
    for asked in &seen.asked[1..] {
        assert_eq!(asked["messages"][1]["content"], "<think>\nI need it.\n</think>\n\n");
    }
}

#[tokio::test]
async fn reasoning_comes_in_any_field() {
    let stage = Stage::new().await;
    for (name, thought) in [
        ("DeepSeek", json!({"content": null, "reasoning_content": "Hm."})),
        (
            "OpenRouter",
            json!({"content": "", "reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "index": 0}]}),
        ),
        (
            "details alone",
            json!({"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm.", "index": 0}]}),
        ),
        ("empty beside", json!({"reasoning_content": "", "reasoning": "Hm."})),
        ("both", json!({"reasoning_content": "Hm.", "reasoning": "Hm."})),
        ("Ollama", json!({"content": "", "thinking": "Hm."})),
        ("an object", json!({"reasoning": {"content": "Hm."}})),
        (
            "Mistral",
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}),
        ),
        (
            "LiteLLM",
            json!({"reasoning_content": "Hm.", "thinking_blocks": [{"type": "thinking", "thinking": "Hm."}]}),
        ),
    ] {
        let answer = stream(&[delta(&thought), say("Seven."), end("stop")]);
        stage
            .model(case(
                name,
                vec![answer],
                json!({"text": "Seven.", "reasoning": "Hm.", "error": null}),
            ))
            .await;
    }
}

#[tokio::test]
async fn reasoning_goes_back_with_each_call_also_in_the_next_run() {
    let stage = Stage::new().await;
    let ask = |thought: &str| {
        stream(&[
            delta(&json!({"reasoning_content": thought})),
            call(&json!(0), &json!("c"), "current_time", &json!(TOKYO)),
            end("tool_calls"),
        ])
    };
    let expect =
        json!({"text": "Noon.Later.", "reasoning": "First.Second.", "error": null, "requests": 4});
    let mut case = case(
        "two rounds and another run",
        vec![ask("First."), ask("Second."), told("Noon."), told("Later.")],
        expect,
    );
    case.say.push("And now?".to_owned());
    let seen = stage.guarded(&[reasoning_echo, alternate], case).await;
    let told: Vec<&Value> = seen.asked[3]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|m| m["role"] == "assistant")
        .collect();
    assert_eq!(told[0]["reasoning_content"], "First.");
    assert_eq!(told[1]["reasoning_content"], "Second.");
    assert_eq!(told[2].get("reasoning_content"), None);
}

#[tokio::test]
async fn an_endpoint_that_wants_reasoning_with_calls_that_had_none_gets_some() {
    let stage = Stage::new().await;
    let ask =
        stream(&[call(&json!(0), &json!("c"), "current_time", &json!(TOKYO)), end("tool_calls")]);
    let case =
        case("none given", vec![ask, told("Noon.")], json!({"text": "Noon.", "error": null}));
    let seen = stage.guarded(&[reasoning_echo], case).await;
    assert_eq!(seen.asked[2]["messages"][1]["reasoning_content"], " ");
}

#[tokio::test]
async fn signatures_and_details_go_back_as_they_came() {
    let stage = Stage::new().await;
    let signature = json!({"google": {"thought_signature": "c2lnbmF0dXJl"}});
    let calls: Vec<Value> = ["a", "b"]
        .map(|id| {
            json!({"index": 0, "id": id, "type": "function", "extra_content": signature,
        "function": {"name": "current_time", "arguments": TOKYO}})
        })
        .into();
    let ask = || {
        stream(&[
            delta(&json!({"tool_calls": calls[..1]})),
            delta(&json!({"tool_calls": calls[1..]})),
            end("stop"),
        ])
    };
    let mut gemini = case(
        "Gemini",
        vec![ask(), told("a"), told("b")],
        json!({"text": "ab", "error": null, "requests": 3}),
    );
    gemini.say.push("And?".to_owned());
    stage.guarded(&[thought_signature], gemini).await;

    let details = [
        json!([{"type": "reasoning.text", "text": "I ", "index": 0, "format": "x", "signature": null}]),
        json!([{"type": "reasoning.text", "text": "think.", "index": 0, "signature": "s"}]),
        json!([{"type": "reasoning.encrypted", "data": "ZW5j", "index": 1, "id": "r"}]),
    ];
    let mut chunks: Vec<Value> =
        details.iter().map(|details| delta(&json!({"reasoning_details": details}))).collect();
    chunks.extend([call(&json!(0), &json!("c"), "current_time", &json!(TOKYO)), end("tool_calls")]);
    let mut router = case(
        "OpenRouter",
        vec![stream(&chunks), told("a"), told("b")],
        json!({"text": "ab", "reasoning": "I think."}),
    );
    router.say.push("And?".to_owned());
    let seen = stage.model(router).await;
    for asked in &seen.asked[1..] {
        assert_eq!(
            asked["messages"][1]["reasoning_details"],
            json!([
                {"type": "reasoning.text", "text": "I think.", "index": 0, "format": "x", "signature": "s"},
                {"type": "reasoning.encrypted", "data": "ZW5j", "index": 1, "id": "r"},
            ])
        );
    }
}

fn refuses_null(body: &Value) -> Option<(u16, Value)> {
    let null =
        body["messages"].as_array().unwrap().iter().any(|message| message["content"].is_null());
    null.then(|| {
        (422, json!({"detail": "messages[1].content: invalid type: null, expected a string"}))
    })
}

fn refuses_long_ids(body: &Value) -> Option<(u16, Value)> {
    let long = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .any(|message| message["tool_call_id"].as_str().is_some_and(|id| id.len() != 9));
    long.then(|| (400, json!({"message": "Tool call id was call_ but must be a-z, A-Z, 0-9, with a length of 9.", "type": "invalid_request_error"})))
}

fn refuses_streams(body: &Value) -> Option<(u16, Value)> {
    let error = json!({"error": {"message": "Unsupported value: 'stream' does not support true with this model.", "param": "stream"}});
    (body["stream"] == true).then_some((400, error))
}

fn refuses_reasoning(body: &Value) -> Option<(u16, Value)> {
    let sent = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .any(|message| message.get("reasoning_content").is_some());
    let error = json!({"error": {"message": "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property 'reasoning_content' is unsupported)]"}});
    sent.then_some((400, error))
}

#[tokio::test]
async fn what_is_refused_is_left_out_and_not_sent_in_the_next_run() {
    let stage = Stage::new().await;
    let text = json!({"text": "Hi.", "error": null});
    let hi = || vec![told("Hi.")];
    // Each cut is a run of its own: only the first one is refused.
    let seen = stage.guarded(&[no_tools], case("tools", hi(), text.clone())).await;
    assert_eq!(seen.asked.len(), 2);
    let seen =
        stage.guarded(&[no_stream_options], case("stream_options", hi(), text.clone())).await;
    assert!(seen.asked[1].get("stream_options").is_none() && seen.asked[1].get("tools").is_some());
    let seen =
        stage.guarded(&[no_tools, no_stream_options], case("both", hi(), text.clone())).await;
    assert_eq!(seen.asked.len(), 3);
    let whole = body(
        JSON,
        json!({"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]}).to_string(),
    );
    stage.guarded(&[refuses_streams], case("streams", vec![whole], text.clone())).await;
    let mut twice =
        case("tools, in the next run", vec![told("a"), told("b")], json!({"text": "ab"}));
    twice.say.push("And?".to_owned());
    assert_eq!(stage.guarded(&[no_tools], twice).await.asked.len(), 3);

    let ask = || {
        stream(&[
            delta(&json!({"reasoning_content": "Hm."})),
            call(&json!(0), &json!("call_12345678"), "current_time", &json!(TOKYO)),
            end("tool_calls"),
        ])
    };
    let expect = json!({"text": "Noon.", "tools": in_tokyo(), "error": null});
    for (name, guard) in [
        ("null", refuses_null as Guard),
        ("ids", refuses_long_ids),
        ("reasoning", refuses_reasoning),
    ] {
        stage.guarded(&[guard], case(name, vec![ask(), told("Noon.")], expect.clone())).await;
    }
    let refusal = (400, JSON, json!({"error": {"message": "the prompt is too long"}}).to_string());
    stage
        .model(case(
            "nothing that was sent",
            vec![refusal],
            json!({"error_has": "too long", "requests": 1}),
        ))
        .await;
    let refusal = (
        400,
        JSON,
        json!({"error": {"message": "tools and streams are too hot today"}}).to_string(),
    );
    stage.model(case("whatever is left out", vec![refusal], json!({"error_has": "too hot"}))).await;
}

#[tokio::test]
async fn messages_take_turns_whatever_was_said() {
    let stage = Stage::new().await;
    let refused = || (503, JSON, json!({"error": {"message": "loading model"}}).to_string());
    let mut case = case(
        "two refusals",
        vec![refused(), refused(), told("Third time.")],
        json!({"text": "Third time.", "last_error": null}),
    );
    case.say = ["First", "Second", "Third"].map(str::to_owned).into();
    let seen = stage.guarded(&[alternate], case).await;
    let last = seen.asked.last().unwrap();
    assert_eq!(last["messages"], json!([{"role": "user", "content": "First\n\nSecond\n\nThird"}]));
}

#[tokio::test]
async fn an_agents_error_without_a_type_is_one() {
    let stage = Stage::new().await;
    let word = r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"Half "}"#;
    for (name, kind, text) in [
        ("a whole body", JSON, r#"{"error":"no window"}"#.to_owned()),
        ("an object", JSON, r#"{"error":{"message":"no window","code":1}}"#.to_owned()),
        (
            "laid out",
            JSON,
            "{\n  \"error\": {\n    \"message\": \"no window\"\n  }\n}\n".to_owned(),
        ),
        ("details", JSON, r#"{"detail":"no window"}"#.to_owned()),
        ("a message", JSON, r#"{"statusCode":500,"message":"no window"}"#.to_owned()),
        ("a list", JSON, r#"[{"error":"no window"}]"#.to_owned()),
        (
            "an object that is one",
            SSE,
            "data: {\"object\":\"error\",\"message\":\"no window\"}\n\n".to_owned(),
        ),
        (
            "an event",
            SSE,
            format!("data: {word}\n\nevent: error\ndata: {{\"message\":\"no window\"}}\n\n"),
        ),
        ("an event of words", SSE, format!("data: {word}\n\nevent: error\ndata: no window\n\n")),
        ("a field", SSE, format!("data: {word}\n\nerror: {{\"message\":\"no window\"}}\n\n")),
        (
            "behind words",
            SSE,
            format!("data: {word}\n\ndata: {{\"error\":\"no window\"}}\n\ndata: [DONE]\n\n"),
        ),
        (
            "a kind of error",
            JSON,
            r#"{"type":"authentication_error","message":"no window"}"#.to_owned(),
        ),
        (
            "a problem of HTTP",
            "application/problem+json",
            r#"{"type":"about:blank","title":"No","status":401,"detail":"no window"}"#.to_owned(),
        ),
        (
            "an error with details",
            SSE,
            "data: {\"type\":\"error\",\"detail\":\"no window\"}\n\n".to_owned(),
        ),
        (
            "with a type",
            SSE,
            format!(
                "data: {word}\n\nevent: error\ndata: {{\"type\":\"RUN_ERROR\",\"message\":\"no window\"}}\n\n"
            ),
        ),
    ] {
        stage.webhook(case(name, vec![body(kind, text)], json!({"error_has": "no window"}))).await;
    }
}

#[tokio::test]
async fn an_agents_answer_is_read_however_it_is_framed() {
    let stage = Stage::new().await;
    let chunks = [
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"One "}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"two."}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","finishReason":"stop"}"#,
    ];
    let all =
        |before: &str, after: &str| chunks.map(|chunk| format!("{before}{chunk}{after}")).concat();
    for (name, kind, text) in [
        ("events", SSE, all("data: ", "\n\n")),
        ("single lines", SSE, all("data:", "\n") + "data: [DONE]\n"),
        ("CRLF and names", SSE, all("event: message\r\ndata: ", "\r\n\r\n")),
        ("lone CR and a BOM", SSE, format!("\u{feff}{}", all("data: ", "\r\r"))),
        ("lines of JSON", "application/x-ndjson", all("", "\n")),
        ("a list", JSON, format!("[{}]", chunks.join(","))),
        ("on one line", "text/plain", all("", "")),
        (
            "laid out",
            SSE,
            chunks
                .map(|chunk| chunk.replace(',', ",\ndata: "))
                .map(|chunk| format!("data: {chunk}\n\n"))
                .concat(),
        ),
        ("comments and [DONE] between", SSE, all(": ping\n\ndata: ", "\n\n") + "data: [DONE]\n\n"),
    ] {
        stage
            .webhook(case(name, vec![body(kind, text)], json!({"text": "One two.", "error": null})))
            .await;
    }
}

#[test]
fn the_table_of_endpoints_names_tests_that_exist() {
    let text = include_str!("../../../../ARCHITECTURE.md");
    let table = text.split("<!-- endpoints -->").nth(1).unwrap();
    let table = table.split("<!-- /endpoints -->").next().unwrap();
    let sources = [include_str!("quirks.rs"), include_str!("cases.rs")].concat();
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && line.contains("`")) {
        let tests = row.rsplit('|').nth(1).unwrap();
        for name in tests.split('`').skip(1).step_by(2) {
            named += 1;
            assert!(sources.contains(&format!("fn {name}(")), "{name}");
        }
    }
    assert!(named > 15, "{named}");
}
