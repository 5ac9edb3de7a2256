//! Requests, and what is made of each answer: against a server that says exactly this.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable_stream::{
    AppendOptions, Client, CloseOptions, CreateOptions, Error, Follow, FollowOptions, FollowState,
    HeaderError, HeaderProvider, Limits, Live, Nudge, Offset, ProducerStamp, RetryPolicy,
    StreamHandle, Timeouts,
};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::scripted::{
    Script, end, events, part, poll_ended, reply, silent_after, status, tail, with,
};
use crate::support::{client, eager, json, next, read, within};

fn stream(script: &Script) -> StreamHandle {
    client().stream(script.url.clone())
}

async fn error(batches: &mut Follow) -> Error {
    within(batches.next()).await.expect("there is an error").expect_err("it is one")
}

fn timeouts(set: impl FnOnce(&mut Timeouts)) -> Timeouts {
    let mut timeouts = Timeouts::default();
    set(&mut timeouts);
    timeouts
}

#[tokio::test]
async fn catches_up_without_live_and_goes_live_only_when_up_to_date() {
    let script = Script::start([
        part("[1]", "a"),
        with(tail("[2]", "b"), "stream-cursor", "c1"),
        events(concat!(
            "event: data\ndata: [3]\n\nevent: control\n",
            "data: {\"streamNextOffset\":\"c\",\"streamCursor\":\"c2\",\"upToDate\":true}\n\n"
        )),
        events("event: control\ndata: {\"streamNextOffset\":\"c\",\"streamClosed\":true}\n\n"),
    ])
    .await;
    let mut url = script.url.clone();
    url.set_query(Some("z=1&offset=evil&a=2"));
    let mut batches = client().stream(url).follow(Offset::Beginning, Live::Auto);
    assert!(!next(&mut batches).await.up_to_date);
    assert_eq!(next(&mut batches).await.cursor.as_deref(), Some("c1"));
    let third = next(&mut batches).await;
    assert_eq!((third.items, third.cursor.as_deref()), (vec![json("3")], Some("c2")));
    assert!(next(&mut batches).await.closed);
    assert!(within(batches.next()).await.is_none());

    let asked = script.asked();
    let queries: Vec<&str> = asked.iter().map(|asked| asked.query()).collect();
    assert_eq!(
        queries,
        [
            "a=2&offset=-1&z=1",
            "a=2&offset=a&z=1",
            "a=2&cursor=c1&live=sse&offset=b&z=1",
            "a=2&cursor=c2&live=sse&offset=c&z=1",
        ]
    );
    assert_eq!(asked[2].header("accept"), Some("text/event-stream"));
    assert_eq!(asked[2].header("accept-encoding"), Some("identity"));
    assert!(asked[0].header("accept-encoding").unwrap().contains("br"));
}

#[tokio::test]
async fn long_polls_where_event_streams_are_refused() {
    for refusal in [status(400), status(405), status(406), status(501), tail("[]", "a")] {
        let script =
            Script::start([tail("[1]", "a"), refusal, poll_ended("a"), end("[2]", "b")]).await;
        let mut batches = stream(&script).follow(Offset::Beginning, Live::Auto);
        assert_eq!(next(&mut batches).await.items, ["1"]);
        let last = next(&mut batches).await;
        assert!(last.items == ["2"] && last.closed);
        assert_eq!(script.asked()[3].query(), "live=long-poll&offset=a");
    }
    let script = Script::start([tail("[1]", "a"), tail("[]", "a")]).await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::Sse);
    next(&mut batches).await;
    assert!(matches!(error(&mut batches).await, Error::Protocol { .. }));
}

#[tokio::test]
async fn long_polls_where_event_streams_are_held_back() {
    let script = Script::start([tail("[1]", "a"), silent_after(""), end("[2]", "b")]).await;
    let timeouts = timeouts(|timeouts| timeouts.sse_first_event = Duration::from_millis(50));
    let client = eager().timeouts(timeouts).build().unwrap();
    let mut batches = client.stream(script.url.clone()).follow(Offset::Beginning, Live::Auto);
    assert_eq!(read(&mut batches, 2).await, ["1", "2"]);
    assert_eq!(script.asked()[2].query(), "live=long-poll&offset=a");
}

#[tokio::test]
async fn long_polls_after_three_event_streams_that_were_cut_at_once() {
    let cut = || [tail("[]", "a"), events("event: data\ndata: [2]\n\n")];
    let script = Script::start([tail("[1]", "a"), events("")]).await;
    for answer in [cut(), cut()].into_iter().flatten().chain([tail("[]", "a"), end("[2]", "b")]) {
        script.then(answer);
    }
    let mut batches = stream(&script).follow(Offset::Beginning, Live::Auto);
    assert_eq!(read(&mut batches, 2).await, ["1", "2"]);
    assert_eq!(script.asked().last().unwrap().query(), "live=long-poll&offset=a");
}

#[tokio::test]
async fn text_is_long_polled_since_event_streams_do_not_carry_it_exactly() {
    let text = |body, next| with(tail(body, next), "content-type", "text/plain; charset=utf-8");
    let script =
        Script::start([text("a\r\n b", "a"), with(text("c", "b"), "stream-closed", "true")]).await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::Auto);
    assert_eq!(read(&mut batches, 2).await.concat(), b"a\r\n bc");
    assert_eq!(script.asked()[1].query(), "live=long-poll&offset=a");
}

#[tokio::test]
async fn data_without_its_control_event_comes_again() {
    let script = Script::start([
        tail("[1]", "a"),
        events(concat!(
            "event: data\ndata: [2]\n\nevent: control\ndata: {\"streamNextOffset\":\"b\"}\n\n",
            "event: data\ndata: [3]\n\n"
        )),
        events("event: data\ndata: [3]\n\nevent: control\ndata: {\"streamNextOffset\":\"c\"}\n\n"),
    ])
    .await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::Sse);
    assert_eq!(read(&mut batches, 3).await, ["1", "2", "3"]);
    assert_eq!(script.asked()[2].query(), "live=sse&offset=b");
}

#[tokio::test]
async fn data_that_does_not_move_the_offset_was_sent_before() {
    let script = Script::start([
        tail("[1]", "a"),
        events(concat!(
            "event: data\ndata: [2]\n\nevent: control\ndata: {\"streamNextOffset\":\"b\"}\n\n",
            "event: data\ndata: [2]\n\nevent: control\ndata: {\"streamNextOffset\":\"b\"}\n\n",
            "event: data\ndata: [3]\n\nevent: control\ndata: {\"streamNextOffset\":\"c\"}\n\n"
        )),
    ])
    .await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::Sse);
    assert_eq!(read(&mut batches, 3).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn closed_is_only_exactly_true_and_the_body_comes_first() {
    let script = Script::start([
        with(tail("[1]", "a"), "stream-closed", "yes"),
        with(tail("[2]", "b"), "stream-closed", "TRUE"),
    ])
    .await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::LongPoll);
    assert!(!next(&mut batches).await.closed);
    let last = next(&mut batches).await;
    assert!(last.closed && last.items == ["2"]);
}

#[tokio::test]
async fn works_behind_a_proxy_that_loses_headers() {
    let bare = |body: &'static str| {
        reply(200).header("content-type", "application/json").body(body.into()).unwrap()
    };
    let lost = || reply(204).body(axum::body::Body::empty()).unwrap();
    let script =
        Script::start([part("[1]", "a"), bare("[]"), lost(), lost(), end("[2]", "b")]).await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::LongPoll);
    assert_eq!(read(&mut batches, 2).await, ["1", "2"]);
    assert!(script.asked()[4].query().ends_with("offset=a"));

    let script = Script::start([bare("[1]")]).await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::No);
    assert!(matches!(error(&mut batches).await, Error::Protocol { .. }));
}

#[tokio::test]
async fn does_not_read_the_same_place_for_ever() {
    let script = Script::start([part("[1]", "a"), part("[1]", "a")]).await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::No);
    next(&mut batches).await;
    assert!(matches!(error(&mut batches).await, Error::Protocol { .. }));
    for sentinel in ["-1", "now"] {
        let script = Script::start([tail("[1]", sentinel)]).await;
        let mut batches = stream(&script).follow(Offset::At("x".to_owned()), Live::No);
        assert!(matches!(error(&mut batches).await, Error::Protocol { .. }));
    }
}

#[tokio::test]
async fn reads_json_lines() {
    let lines = with(end("{\"a\":1}\n{\"a\":2}\n", "a"), "content-type", "application/x-ndjson");
    let script = Script::start([lines]).await;
    let batch = next(&mut stream(&script).follow(Offset::Beginning, Live::Auto)).await;
    assert_eq!(batch.items, [r#"{"a":1}"#, r#"{"a":2}"#]);
}

/// As ursula answers: lines, and pages that end where a count of bytes says.
fn lines(body: &'static str, next: &str) -> axum::response::Response {
    with(part(body, next), "content-type", "application/x-ndjson")
}

#[tokio::test]
async fn a_page_that_ends_inside_an_item_is_no_place_to_go_on_from() {
    let script = Script::start([
        lines("{\"a\":1}\n", "a"),
        lines("{\"b\":", "b"),
        status(500),
        lines("{\"b\":", "b"),
        lines("2", "c"),
        with(lines("}\n{\"c\":3}\n", "d"), "stream-up-to-date", "true"),
        with(
            events(concat!(
                "event: data\ndata:{\"d\":4}\ndata:\n\nevent: control\ndata:{\"streamNextOffset\":\"e\"}\n\n",
                "event: data\ndata:{\"e\":\n\nevent: control\ndata:{\"streamNextOffset\":\"f\"}\n\n",
            )),
            "stream-data-content-type",
            "application/x-ndjson",
        ),
        with(
            events(concat!(
                "event: data\ndata:{\"e\":\n\nevent: control\ndata:{\"streamNextOffset\":\"f\"}\n\n",
                "event: data\ndata:5}\ndata:\n\n",
                "event: control\ndata:{\"streamNextOffset\":\"g\",\"streamClosed\":true}\n\n",
            )),
            "stream-data-content-type",
            "application/x-ndjson",
        ),
    ])
    .await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::Sse);
    let mut got = Vec::new();
    while let Some(batch) = within(batches.next()).await {
        let batch = batch.unwrap();
        let items: Vec<String> =
            batch.items.iter().map(|item| String::from_utf8(item.to_vec()).unwrap()).collect();
        got.push((items.join(" "), batch.next_offset.to_string()));
    }
    let expected =
        [("{\"a\":1}", "a"), ("{\"b\":2} {\"c\":3}", "d"), ("{\"d\":4}", "e"), ("{\"e\":5}", "g")];
    assert_eq!(got, expected.map(|(items, next)| (items.to_owned(), next.to_owned())));
    let asked = script.asked();
    let queries: Vec<&str> = asked.iter().map(|asked| asked.query()).collect();
    let expected = ["-1", "a", "b", "a", "b", "c", "d", "e"];
    assert!(
        queries.iter().zip(expected).all(|(query, offset)| query.ends_with(offset)),
        "{queries:?}"
    );
}

#[tokio::test]
async fn decompresses() {
    const GZIP: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 139, 174, 86, 202, 83, 178, 50, 172, 213, 49, 138, 5, 0,
        250, 174, 253, 102, 11, 0, 0, 0,
    ];
    const BROTLI: &[u8] = &[11, 5, 128, 91, 123, 34, 110, 34, 58, 49, 125, 44, 50, 93, 3];
    for (encoding, body) in [("gzip", GZIP), ("br", BROTLI)] {
        let mut answer = with(end("", "a"), "content-encoding", encoding);
        *answer.body_mut() = axum::body::Body::from(body);
        let script = Script::start([answer]).await;
        let batch = next(&mut stream(&script).follow(Offset::Beginning, Live::Auto)).await;
        assert_eq!(batch.items, [r#"{"n":1}"#, "2"], "{encoding}");
    }
}

#[tokio::test]
async fn every_status_is_an_error_of_its_own() {
    let cases = [
        (400, "bad-request", false),
        (401, "unauthorized", false),
        (403, "forbidden", false),
        (404, "not-found", false),
        (409, "conflict", false),
        (410, "gone", false),
        (413, "too-large", false),
        (418, "unexpected-status", false),
        (304, "unexpected-status", false),
        (501, "unexpected-status", false),
        (408, "unavailable", true),
        (429, "rate-limited", true),
        (500, "unavailable", true),
        (502, "unavailable", true),
        (503, "unavailable", true),
        (504, "unavailable", true),
    ];
    for (number, code, retryable) in cases {
        let script = Script::start([status(number)]).await;
        let client = eager().retry(RetryPolicy::none()).build().unwrap();
        let mut url = script.url.clone();
        url.set_query(Some("token=hunter2"));
        let _ = url.set_password(Some("hunter2"));
        let error = client.stream(url).head().await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), (code, retryable), "{number}");
        assert_eq!(error.status(), Some(number));
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter2") && !text.contains("secret text"), "{text}");
        assert!(text.contains("/s"), "{text}");
    }
}

#[tokio::test]
async fn retries_until_it_succeeds_and_no_longer_than_allowed() {
    let script = Script::start([500, 502, 503, 504, 429].map(status)).await;
    script.then(poll_ended("a"));
    stream(&script).delete().await.unwrap();
    assert_eq!(script.asked().len(), 6);

    let script = Script::start([500; 9].map(status)).await;
    let policy =
        RetryPolicy::new(Some(3), Duration::from_millis(1), Duration::from_millis(1), 1.0).unwrap();
    let client = eager().retry(policy).follow_retry(policy).build().unwrap();
    let stream = client.stream(script.url.clone());
    assert_eq!(stream.head().await.unwrap_err().status(), Some(500));
    assert_eq!(script.asked().len(), 4);
    assert_eq!(error(&mut stream.follow(Offset::Beginning, Live::No)).await.status(), Some(500));
    assert_eq!(script.asked().len(), 8);
}

#[tokio::test]
async fn retry_after_is_told_and_kept_and_a_nudge_ends_the_wait() {
    let script = Script::start([with(status(503), "retry-after", "3000"), end("[1]", "a")]).await;
    let nudge = Nudge::new();
    let states = Arc::new(Mutex::new(Vec::new()));
    let (heard, waker) = (Arc::clone(&states), nudge.clone());
    let options =
        FollowOptions::new(Offset::Beginning, Live::Auto).nudge(nudge).on_state(move |state| {
            if let FollowState::Retrying { .. } = &state {
                waker.wake();
            }
            heard.lock().unwrap().push(state);
        });
    let mut batches = stream(&script).follow_with(options);
    assert!(next(&mut batches).await.closed);
    let states = states.lock().unwrap();
    let FollowState::Retrying { attempt, delay, cause_code, status, .. } = &states[1] else {
        panic!("{states:?}");
    };
    assert_eq!((*attempt, *cause_code, *status), (1, "unavailable", Some(503)));
    assert_eq!(*delay, Duration::from_secs(3000));
}

#[tokio::test]
async fn the_clients_nudge_ends_the_wait_of_a_request() {
    let script = Script::start([with(status(429), "retry-after", "3000"), poll_ended("a")]).await;
    let client = client();
    let stream = client.stream(script.url.clone());
    let delete = tokio::spawn(async move { stream.delete().await });
    while script.asked().is_empty() || !delete.is_finished() {
        client.nudge().wake();
        tokio::task::yield_now().await;
    }
    within(delete).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reconnect_leaves_a_connection_that_says_nothing() {
    let control = "event: control\ndata: {\"streamNextOffset\":\"a\",\"upToDate\":true}\n\n";
    let script = Script::start([tail("[1]", "a"), silent_after(control), end("[2]", "b")]).await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::Auto);
    let nudge = batches.nudge();
    next(&mut batches).await;
    let rest = tokio::spawn(async move { next(&mut batches).await });
    within(async {
        while script.asked().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    nudge.reconnect();
    assert_eq!(within(rest).await.unwrap().items, ["2"]);
    assert_eq!(script.asked()[2].query(), "offset=a");
}

#[tokio::test]
async fn a_reconnect_during_a_wait_gives_event_streams_another_chance() {
    let script = Script::start([
        tail("[1]", "a"),
        status(405),
        with(status(503), "retry-after", "3000"),
        tail("[]", "a"),
        events("event: data\ndata: [2]\n\nevent: control\ndata: {\"streamNextOffset\":\"b\"}\n\n"),
    ])
    .await;
    let nudge = Nudge::new();
    let waker = nudge.clone();
    let options =
        FollowOptions::new(Offset::Beginning, Live::Auto).nudge(nudge).on_state(move |state| {
            if let FollowState::Retrying { .. } = &state {
                waker.reconnect();
            }
        });
    let mut batches = stream(&script).follow_with(options);
    assert_eq!(read(&mut batches, 2).await, ["1", "2"]);
    let asked = script.asked();
    let queries: Vec<&str> = asked.iter().map(|asked| asked.query()).collect();
    let polled = "live=long-poll&offset=a";
    let events = "live=sse&offset=a";
    assert_eq!(queries[..5], ["offset=-1", events, polled, "offset=a", events]);
}

#[tokio::test]
async fn a_silent_server_is_left_after_the_time_that_is_allowed() {
    let control = "event: control\ndata: {\"streamNextOffset\":\"a\",\"upToDate\":true}\n\n";
    let script = Script::start([tail("[1]", "a"), silent_after(control), end("[2]", "b")]).await;
    let timeouts = timeouts(|timeouts| timeouts.sse_idle = Duration::from_millis(50));
    let client = eager().timeouts(timeouts).build().unwrap();
    let mut batches = client.stream(script.url.clone()).follow(Offset::Beginning, Live::Sse);
    assert_eq!(read(&mut batches, 2).await, ["1", "2"]);
}

#[tokio::test]
async fn no_more_is_taken_than_the_limits_allow() {
    let mut limits = Limits::default();
    (limits.body, limits.items, limits.sse_line, limits.sse_event) = (10, 3, 100, 150);
    let client = eager().limits(limits).build().unwrap();
    let follow =
        |script: &Script| client.stream(script.url.clone()).follow(Offset::Beginning, Live::Sse);

    for body in ["[1,2,3,4,5,6]", "[1,2,3,4]"] {
        let script = Script::start([tail(body, "a")]).await;
        assert!(matches!(error(&mut follow(&script)).await, Error::Body { .. }));
    }

    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>("xxxxxxxx"));
    let body = axum::body::Body::from_stream(endless);
    let endless = || reply(200).header("stream-next-offset", "a");
    let script = Script::start([endless().body(body).unwrap()]).await;
    assert!(matches!(error(&mut follow(&script)).await, Error::Body { .. }));

    let long_line = futures::stream::repeat_with(|| Ok::<_, std::io::Error>("data: xxxxxxx"));
    let many_lines = futures::stream::repeat_with(|| Ok::<_, std::io::Error>("data: xxxxxxx\n"));
    let many_events =
        futures::stream::repeat_with(|| Ok::<_, std::io::Error>("event: data\ndata: [1]\n\n"));
    for stream in [long_line.boxed(), many_lines.boxed(), many_events.boxed()] {
        let body = axum::body::Body::from_stream(stream);
        let events = reply(200).header("content-type", "text/event-stream").body(body).unwrap();
        let script = Script::start([tail("[]", "a"), events]).await;
        let mut batches = follow(&script);
        next(&mut batches).await;
        assert!(matches!(error(&mut batches).await, Error::Sse { .. } | Error::Body { .. }));
    }
}

#[tokio::test]
async fn a_damaged_answer_ends_the_reader() {
    for (body, base64) in [("[1,", false), ("[1}", false), ("AAE", true)] {
        let text = format!(
            "event: data\ndata: {body}\n\nevent: control\ndata: {{\"streamNextOffset\":\"b\"}}\n\n"
        );
        let mut live = events(Box::leak(text.into_boxed_str()));
        let mut first = tail("[]", "a");
        if base64 {
            live = with(live, "stream-sse-data-encoding", "base64");
            first = with(first, "content-type", "application/octet-stream");
        }
        let script = Script::start([first, live]).await;
        let mut batches = stream(&script).follow(Offset::At("x".to_owned()), Live::Sse);
        next(&mut batches).await;
        assert!(matches!(error(&mut batches).await, Error::Body { .. }), "{body}");
    }
    let script = Script::start([tail("[1,", "a")]).await;
    let error = error(&mut stream(&script).follow(Offset::Beginning, Live::No)).await;
    assert!(matches!(error, Error::Body { .. }) && !error.is_retryable());
}

#[tokio::test]
async fn what_was_committed_before_a_damaged_event_is_delivered_before_the_error() {
    let script = Script::start([
        tail("[1]", "a"),
        events(concat!(
            "event: data\ndata: [2]\n\nevent: control\ndata: {\"streamNextOffset\":\"b\"}\n\n",
            "event: data\ndata: [3]\n\nevent: control\ndata: {}\n\n"
        )),
    ])
    .await;
    let mut batches = stream(&script).follow(Offset::Beginning, Live::Sse);
    assert_eq!(read(&mut batches, 2).await, ["1", "2"]);
    assert!(matches!(error(&mut batches).await, Error::Sse { .. }));
    assert!(within(batches.next()).await.is_none());
}

#[tokio::test]
async fn a_plain_append_is_repeated_only_if_it_surely_was_not_stored() {
    let script = Script::start([with(status(429), "retry-after", "0"), poll_ended("a")]).await;
    stream(&script).append(json("[1]"), AppendOptions::default()).await.unwrap();
    assert_eq!(script.asked().len(), 2);

    let script = Script::start([status(500), poll_ended("a")]).await;
    let error = stream(&script).append(json("[1]"), AppendOptions::default()).await.unwrap_err();
    assert!(error.outcome_unknown() && error.is_retryable());
    assert_eq!(script.asked().len(), 1);

    let stamp = ProducerStamp { id: "p".to_owned(), epoch: 0, seq: 7 };
    for options in [
        AppendOptions::default().stamped(stamp),
        AppendOptions { at_least_once: true, ..AppendOptions::default() },
    ] {
        let script = Script::start([status(500), poll_ended("a")]).await;
        stream(&script).append(json("[1]"), options).await.unwrap();
        let asked = script.asked();
        assert_eq!((&asked[0].headers, &asked[0].body), (&asked[1].headers, &asked[1].body));
    }
}

#[tokio::test]
async fn says_all_that_was_asked_for() {
    let created =
        || reply(201).header("stream-next-offset", "a").body(axum::body::Body::empty()).unwrap();
    let script = Script::start([created(), created(), poll_ended("a"), poll_ended("a")]).await;
    let handle = stream(&script);
    let options = CreateOptions {
        ttl: Some(Duration::from_millis(3_599_001)),
        closed: true,
        body: json("[1]"),
        ..CreateOptions::json()
    };
    handle.create(options).await.unwrap();
    handle.fork(script.url.join("/f").unwrap(), Some(Offset::from("b")), 3).await.unwrap();
    let options = AppendOptions { seq: Some("s9".to_owned()), ..AppendOptions::default() };
    handle.append(json("[1]"), options).await.unwrap();
    handle.close(CloseOptions::default()).await.unwrap();

    let asked = script.asked();
    let header = |index: usize, name| asked[index].header(name);
    assert_eq!(asked[0].method, "PUT");
    assert_eq!(header(0, "content-type"), Some("application/json"));
    assert_eq!(header(0, "stream-ttl"), Some("3600"));
    assert_eq!(header(0, "stream-closed"), Some("true"));
    assert_eq!(asked[0].body, "[1]");
    assert_eq!(asked[1].uri.path(), "/f");
    assert_eq!(header(1, "stream-forked-from"), Some("/s"));
    assert_eq!(header(1, "stream-fork-offset"), Some("b"));
    assert_eq!(header(1, "stream-fork-sub-offset"), Some("3"));
    assert_eq!(header(1, "content-type"), None);
    assert_eq!(header(2, "stream-seq"), Some("s9"));
    assert_eq!((header(3, "stream-closed"), header(3, "content-type")), (Some("true"), None));
}

fn redirect(status: u16, to: &str) -> axum::response::Response {
    with(reply(status).body(axum::body::Body::empty()).unwrap(), "location", to)
}

fn with_token() -> durable_stream::ClientBuilder {
    eager().header("authorization", "Bearer hunter2").unwrap()
}

#[tokio::test]
async fn a_redirect_is_followed_with_body_and_credentials_on_one_origin() {
    for number in [307, 308] {
        let script = Script::start([redirect(number, "/moved?x=1"), poll_ended("a")]).await;
        let client = with_token().build().unwrap();
        client
            .stream(script.url.clone())
            .append(json("[1]"), AppendOptions::default())
            .await
            .unwrap();
        let asked = script.asked();
        assert_eq!(
            (asked[1].uri.to_string().as_str(), &asked[1].body),
            ("/moved?x=1", &json("[1]"))
        );
        assert_eq!(asked[1].header("authorization"), Some("Bearer hunter2"));
        assert_eq!(asked[1].header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn a_redirect_to_another_origin_gets_no_credentials_unless_it_is_trusted() {
    for trusted in [false, true] {
        let leader = Script::start([poll_ended("a")]).await;
        let follower = Script::start([redirect(307, leader.url.as_str())]).await;
        let mut builder = with_token();
        if trusted {
            builder = builder.trust_origin(&leader.url);
        }
        let stream = builder.build().unwrap().stream(follower.url.clone());
        stream.append(json("[1]"), AppendOptions::default()).await.unwrap();
        let asked = leader.asked();
        assert_eq!(asked[0].body, "[1]");
        assert_eq!(asked[0].header("authorization"), trusted.then_some("Bearer hunter2"));
    }
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_good_is_an_error() {
    let nowhere = reply(307).body(axum::body::Body::empty()).unwrap();
    for answer in [nowhere, redirect(307, "ftp://h/x"), redirect(307, "http://")] {
        let script = Script::start([answer]).await;
        let error = stream(&script).delete().await.unwrap_err();
        assert!(matches!(error, Error::Redirect { .. }), "{error}");
    }
    let script = Script::start((0..9).map(|_| redirect(307, "/s"))).await;
    assert!(matches!(stream(&script).head().await, Err(Error::Redirect { .. })));
    // A write is not turned into a read.
    let script = Script::start([redirect(302, "/s"), poll_ended("a")]).await;
    let error = stream(&script).append(json("[1]"), AppendOptions::default()).await.unwrap_err();
    assert_eq!(error.status(), Some(302));
}

#[tokio::test]
async fn headers_are_made_for_each_attempt() {
    let script =
        Script::start([status(500), tail("[1]", "a"), poll_ended("a"), end("[2]", "b")]).await;
    let count = AtomicU32::new(0);
    let provider = move || {
        let token = format!("Bearer {}", count.fetch_add(1, Ordering::Relaxed));
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&token).unwrap())])
    };
    let client = with_token().header_provider(provider).build().unwrap();
    let mut batches = client.stream(script.url.clone()).follow(Offset::Beginning, Live::LongPoll);
    assert_eq!(read(&mut batches, 2).await, ["1", "2"]);
    let tokens: Vec<_> = script
        .asked()
        .iter()
        .map(|asked| asked.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(tokens, ["Bearer 0", "Bearer 1", "Bearer 2", "Bearer 3"]);
    assert!(!format!("{client:?}").contains("Bearer"));
}

struct Locked(AtomicU32);

impl HeaderProvider for Locked {
    fn headers(&self) -> BoxFuture<'_, Result<HeaderMap, HeaderError>> {
        let left = self.0.fetch_sub(1, Ordering::Relaxed);
        async move { if left == 1 { Err(HeaderError::Permanent) } else { Err(HeaderError::Temporary) } }.boxed()
    }
}

#[tokio::test]
async fn without_headers_nothing_is_sent() {
    let script = Script::start([]).await;
    let client = eager().header_provider(Locked(AtomicU32::new(3))).build().unwrap();
    let error = client.stream(script.url.clone()).head().await.unwrap_err();
    assert!(matches!(error, Error::Headers { source: HeaderError::Permanent, .. }));
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_succeeds() {
    let script = Script::start([status(502), status(404)]).await;
    stream(&script).delete().await.unwrap();
    let script = Script::start([status(404)]).await;
    assert!(matches!(stream(&script).delete().await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn nobody_there_is_retryable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/s", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let client = eager().retry(RetryPolicy::none()).build().unwrap();
    let error = client.stream(url).head().await.unwrap_err();
    assert!(
        matches!(error, Error::Connect { .. }) && error.is_retryable() && !error.outcome_unknown()
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn contradictions_are_not_sent() {
    let stream = Client::new().stream("http://127.0.0.1:1/s".parse().unwrap());
    let both = CreateOptions {
        ttl: Some(Duration::from_secs(1)),
        expires_at: Some("2030-01-01T00:00:00Z".to_owned()),
        ..CreateOptions::json()
    };
    assert!(matches!(stream.create(both).await, Err(Error::InvalidInput { .. })));
    let empty = stream.append(json(""), AppendOptions::default()).await;
    assert!(matches!(empty, Err(Error::InvalidInput { .. })));
    for (id, epoch) in [("", 0), ("p", 1 << 53), ("p\n", 0)] {
        let stamp = ProducerStamp { id: id.to_owned(), epoch, seq: 0 };
        let result = stream.append(json("[1]"), AppendOptions::default().stamped(stamp)).await;
        assert!(matches!(result, Err(Error::InvalidInput { .. })));
    }
}
