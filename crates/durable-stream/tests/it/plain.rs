//! The plain path, against a real server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable_stream::{
    AppendOptions, Batch, Client, CloseOptions, CreateOptions, Error, FollowOptions, FollowState,
    Live, Offset, ProducerStamp, SseDecoder,
};
use futures::StreamExt;

use crate::support::{Server, json, next, read, within};

#[tokio::test]
async fn creates_appends_reads_and_deletes() {
    let server = Server::start().await;
    let stream = server.stream("plain");
    assert!(matches!(stream.head().await, Err(Error::NotFound { .. })));

    let ttl = Some(Duration::from_secs(900));
    let options = CreateOptions { ttl, ..CreateOptions::json() };
    let created = stream.create(options.clone()).await.unwrap();
    assert!(created.is_new);
    assert!(!stream.create(options).await.unwrap().is_new);

    let appended =
        stream.append(json(r#"[{"n":1},{"n":2.50}]"#), AppendOptions::default()).await.unwrap();
    assert!(!appended.duplicate);
    let head = stream.head().await.unwrap();
    assert_eq!(head.next_offset, appended.next_offset);
    assert_eq!(head.content_type.as_deref(), Some("application/json"));
    assert_eq!(head.ttl, ttl);
    assert!(!head.closed);

    let mut batches = stream.follow(Offset::Beginning, Live::No);
    let batch = next(&mut batches).await;
    assert_eq!(batch.items[0], r#"{"n":1}"#);
    assert_eq!(batch.items.len(), 2);
    assert_eq!(Some(batch.next_offset), appended.next_offset);
    assert!(batch.up_to_date && !batch.closed);
    assert!(within(batches.next()).await.is_none());

    stream.delete().await.unwrap();
    assert!(matches!(stream.head().await, Err(Error::NotFound { .. })));
    assert!(matches!(stream.delete().await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn follows_live_in_every_mode_until_the_stream_is_closed() {
    for live in [Live::Auto, Live::Sse, Live::LongPoll] {
        let server = Server::start().await;
        let stream = server.stream("live");
        stream.create(CreateOptions::json()).await.unwrap();
        stream.append(json("[1]"), AppendOptions::default()).await.unwrap();

        let mut batches = stream.follow(Offset::Beginning, live);
        let first = next(&mut batches).await;
        assert_eq!(first.items, ["1"]);
        assert!(first.up_to_date);

        stream.append(json("[2,3]"), AppendOptions::default()).await.unwrap();
        assert_eq!(read(&mut batches, 2).await, ["2", "3"], "{live:?}");
        let close = CloseOptions { body: json("[4]"), ..CloseOptions::default() };
        let closed = stream.close(close).await.unwrap();
        let last = next(&mut batches).await;
        assert_eq!(last.items, ["4"]);
        let last = if last.closed { last } else { next(&mut batches).await };
        assert!(last.closed && last.up_to_date);
        assert_eq!(Some(last.next_offset), closed.next_offset);
        assert!(within(batches.next()).await.is_none());
    }
}

#[tokio::test]
async fn goes_on_from_an_offset_and_from_now() {
    let server = Server::start().await;
    let stream = server.stream("offsets");
    stream.create(CreateOptions::json()).await.unwrap();
    let first = stream.append(json("[1]"), AppendOptions::default()).await.unwrap();
    stream.append(json("[2]"), AppendOptions::default()).await.unwrap();

    let mut rest = stream.follow(first.next_offset.unwrap(), Live::No);
    assert_eq!(next(&mut rest).await.items, ["2"]);

    let mut later = stream.follow(Offset::Now, Live::Auto);
    let nothing = next(&mut later).await;
    assert!(nothing.items.is_empty() && nothing.up_to_date);
    stream.append(json("[3]"), AppendOptions::default()).await.unwrap();
    assert_eq!(read(&mut later, 1).await, ["3"]);
}

#[tokio::test]
async fn follows_text_and_bytes() {
    let server = Server::start().await;
    let contents: [(&str, &[&[u8]]); 2] = [
        ("text/plain", &["žluťoučký\n".as_bytes(), "kůň 🐎\n\nend".as_bytes()]),
        ("application/octet-stream", &[&[0, 255, 10, 13], &[13, 10, 7, 128]]),
    ];
    for (content_type, pieces) in contents {
        for live in [Live::Sse, Live::LongPoll] {
            let stream = server.stream(&format!("{live:?}-{}", content_type.len()));
            let content_type = content_type.to_owned();
            let options = CreateOptions {
                content_type: Some(content_type.clone()),
                ..CreateOptions::default()
            };
            stream.create(options).await.unwrap();
            let mut batches = stream.follow(Offset::Beginning, live);
            assert!(next(&mut batches).await.up_to_date);
            let mut got = Vec::new();
            for piece in pieces {
                let options = AppendOptions::content_type(content_type.clone());
                stream.append(piece.to_vec().into(), options).await.unwrap();
            }
            let sent = pieces.concat();
            while got.len() < sent.len() {
                got.extend(next(&mut batches).await.items.concat());
            }
            assert_eq!(got, sent, "{content_type} {live:?}");
        }
    }
}

#[tokio::test]
async fn a_stamped_append_is_stored_once_and_a_replaced_producer_is_told() {
    let server = Server::start().await;
    let stream = server.stream("stamped");
    stream.create(CreateOptions::json()).await.unwrap();
    let stamped = |epoch, seq| {
        AppendOptions::default().stamped(ProducerStamp { id: "p".to_owned(), epoch, seq })
    };
    assert!(!stream.append(json("[1]"), stamped(0, 0)).await.unwrap().duplicate);
    assert!(stream.append(json("[1]"), stamped(0, 0)).await.unwrap().duplicate);
    let gap = stream.append(json("[3]"), stamped(0, 2)).await.unwrap_err();
    assert!(matches!(gap, Error::SequenceGap { expected: 1, received: 2, .. }), "{gap}");
    assert_eq!(stream.append(json("[2]"), stamped(4, 0)).await.unwrap().producer_epoch, Some(4));
    let fenced = stream.append(json("[3]"), stamped(0, 1)).await.unwrap_err();
    assert!(matches!(fenced, Error::Fenced { epoch: 4, .. }), "{fenced}");
    assert_eq!(read(&mut stream.follow(Offset::Beginning, Live::No), 2).await, ["1", "2"]);
}

#[tokio::test]
async fn a_closed_stream_takes_no_more() {
    let server = Server::start().await;
    let stream = server.stream("closed");
    stream.create(CreateOptions::json()).await.unwrap();
    let closed = stream.close(CloseOptions::default()).await.unwrap();
    assert_eq!(stream.close(CloseOptions::default()).await.unwrap(), closed);
    match stream.append(json("[1]"), AppendOptions::default()).await {
        Err(Error::StreamClosed { next_offset, .. }) => assert_eq!(next_offset, closed.next_offset),
        other => panic!("{other:?}"),
    }
    assert!(stream.head().await.unwrap().closed);
    assert!(next(&mut stream.follow(Offset::Beginning, Live::Auto)).await.closed);
}

#[tokio::test]
async fn forks_at_an_offset() {
    let server = Server::start().await;
    let source = server.stream("source");
    source.create(CreateOptions::json()).await.unwrap();
    let first = source.append(json("[1]"), AppendOptions::default()).await.unwrap();
    source.append(json("[2]"), AppendOptions::default()).await.unwrap();
    let options = CreateOptions {
        fork: Some(
            durable_stream::Fork::of(source.url()).at(first.next_offset.clone().unwrap(), 0),
        ),
        ..CreateOptions::json()
    };
    let forked_at = first.next_offset;
    let fork = server.stream("fork");
    let created = fork.create(options).await.unwrap();
    assert!(created.is_new);
    if server.is_foreign() && created.next_offset != forked_at {
        eprintln!("this server makes no forks");
        return;
    }
    fork.append(json("[9]"), AppendOptions::default()).await.unwrap();
    assert_eq!(read(&mut fork.follow(Offset::Beginning, Live::No), 2).await, ["1", "9"]);
    let elsewhere = "http://elsewhere.invalid/x".parse().unwrap();
    assert!(matches!(source.fork(elsewhere, None, 0).await, Err(Error::InvalidInput { .. })));
}

#[tokio::test]
async fn tells_what_it_is_doing() {
    let server = Server::start().await;
    let stream = server.stream("states");
    stream.create(CreateOptions::json()).await.unwrap();
    let states = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&states);
    let options = FollowOptions::new(Offset::Beginning, Live::Auto)
        .on_state(move |state| heard.lock().unwrap().push(state));
    let mut batches = stream.follow_with(options);
    assert!(next(&mut batches).await.up_to_date);
    stream.append(json("[1]"), AppendOptions::default()).await.unwrap();
    read(&mut batches, 1).await;
    let states = states.lock().unwrap().clone();
    assert_eq!(states, [FollowState::Connecting, FollowState::CatchingUp, FollowState::Live]);
}

#[tokio::test]
async fn a_stream_that_is_not_there_ends_the_reader() {
    let server = Server::start().await;
    let mut batches = server.stream("nowhere").follow(Offset::Beginning, Live::Auto);
    let error = within(batches.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }) && !error.is_retryable());
    assert_eq!((error.status(), error.code()), (Some(404), "not-found"));
    assert!(error.to_string().contains("nowhere"));
    assert!(within(batches.next()).await.is_none());
}

#[test]
fn nothing_prints_what_users_wrote() {
    let body = json("[\"hunter2\"]");
    let batch = Batch {
        items: vec![body.clone()],
        next_offset: Offset::Now,
        cursor: None,
        up_to_date: true,
        closed: false,
    };
    let create = CreateOptions { body: body.clone(), ..CreateOptions::json() };
    let close = CloseOptions { body: body.clone(), ..CloseOptions::default() };
    let mut decoder = SseDecoder::new(100, 100);
    let mut events = Vec::new();
    decoder.feed(b"data: hunter2\n\ndata: hunter2\ndata: hunter2", &mut events).unwrap();
    let stream =
        Client::new().stream("http://hunter2:hunter2@h/s?hunter2#hunter2".parse().unwrap());
    let printed = format!("{batch:?} {create:?} {close:?} {decoder:?} {events:?} {stream:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
}
