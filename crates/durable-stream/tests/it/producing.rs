//! Producers: what they send, and what they do when they are refused.

use std::time::Duration;

use axum::response::Response;
use durable_stream::{
    CreateOptions, Error, Live, Offset, Pending, Producer, ProducerOptions, Receipt,
};
use futures::FutureExt;

use crate::scripted::{Script, reply, status, with};
use crate::support::{Server, client, json, read, within};

fn stored() -> Response {
    reply(200).header("stream-next-offset", "a").body(axum::body::Body::empty()).unwrap()
}

fn fenced(epoch: u64) -> Response {
    with(status(403), "producer-epoch", &epoch.to_string())
}

fn gap(expected: u64, received: u64) -> Response {
    let answer = with(status(409), "producer-expected-seq", &expected.to_string());
    with(answer, "producer-received-seq", &received.to_string())
}

/// Sends only when told to.
fn lazy() -> ProducerOptions {
    ProducerOptions { linger: Duration::from_secs(3600), ..ProducerOptions::new("p") }
}

fn start(script: &Script, options: ProducerOptions) -> Producer {
    client().stream(script.url.clone()).producer(options).unwrap()
}

async fn append_all(producer: &Producer, items: &[&'static str]) -> Vec<Pending> {
    let mut pending = Vec::new();
    for item in items {
        pending.push(within(producer.append(*item)).await.unwrap());
    }
    pending
}

async fn receipts(pending: Vec<Pending>) -> Vec<Result<Receipt, Error>> {
    within(futures::future::join_all(pending)).await
}

/// Epoch, number and body of each request.
fn sent(script: &Script) -> Vec<(u64, u64, String)> {
    let number = |text: Option<&str>| text.unwrap().parse().unwrap();
    script
        .asked()
        .iter()
        .map(|asked| {
            assert_eq!(asked.header("producer-id"), Some("p"));
            let body = String::from_utf8(asked.body.to_vec()).unwrap();
            (number(asked.header("producer-epoch")), number(asked.header("producer-seq")), body)
        })
        .collect()
}

fn batch(epoch: u64, seq: u64, body: &str) -> (u64, u64, String) {
    (epoch, seq, body.to_owned())
}

#[tokio::test]
async fn items_share_a_batch_until_it_is_due() {
    let script = Script::start([stored(), stored()]).await;
    let producer =
        start(&script, ProducerOptions { epoch: 3, first_seq: 7, max_batch_items: 3, ..lazy() });
    let pending = append_all(&producer, &["1", "{\"a\":2}", "[3]", "4"]).await;
    within(producer.flush()).await.unwrap();
    assert_eq!(sent(&script), [batch(3, 7, "[1,{\"a\":2},[3]]"), batch(3, 8, "[4]")]);
    let seqs: Vec<u64> =
        receipts(pending).await.into_iter().map(|receipt| receipt.unwrap().seq).collect();
    assert_eq!(seqs, [7, 7, 7, 8]);
    let position = within(producer.detach()).await.unwrap();
    assert_eq!((position.epoch, position.next_seq), (3, 9));
}

#[tokio::test]
async fn the_first_batch_of_an_epoch_goes_alone() {
    let script = Script::start([]).await;
    let options =
        ProducerOptions { max_batch_items: 1, linger: Duration::ZERO, ..ProducerOptions::new("p") };
    let producer = start(&script, options);
    script.then(stored());
    (0..3).for_each(|_| script.then(stored()));
    let pending = append_all(&producer, &["1", "2", "3", "4"]).await;
    assert!(receipts(pending).await.iter().all(Result::is_ok));
    let mut sent = sent(&script);
    assert_eq!(sent[0], batch(0, 0, "[1]"));
    sent.sort();
    let all: Vec<_> = (0..4).map(|seq| batch(0, seq, &format!("[{}]", seq + 1))).collect();
    assert_eq!(sent, all);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_cut() {
    let script = Script::start([status(413), stored(), stored(), stored()]).await;
    let producer = start(&script, lazy());
    let pending = append_all(&producer, &["1", "2", "3"]).await;
    within(producer.flush()).await.unwrap();
    assert!(receipts(pending).await.iter().all(Result::is_ok));
    let mut sent = sent(&script);
    assert_eq!(sent.remove(0), batch(0, 0, "[1,2,3]"));
    sent.sort();
    assert_eq!(sent, [batch(0, 0, "[1]"), batch(0, 1, "[2]"), batch(0, 2, "[3]")]);
}

#[tokio::test]
async fn a_failure_ends_the_producer_and_is_told_once() {
    let script = Script::start([status(413)]).await;
    let producer = start(&script, ProducerOptions { max_batch_items: 1, ..lazy() });
    let pending = append_all(&producer, &["1", "2"]).await;
    let receipts = receipts(pending).await;
    assert!(matches!(receipts[0], Err(Error::TooLarge { .. })));
    assert!(matches!(receipts[1], Err(Error::ProducerStopped { code: "too-large" })));
    let later = append_all(&producer, &["3"]).await.remove(0);
    assert!(matches!(within(later).await, Err(Error::ProducerStopped { code: "too-large" })));
    let flushed = within(producer.flush()).await;
    assert!(matches!(flushed, Err(Error::ProducerStopped { .. })));
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test]
async fn a_failure_that_nobody_waited_for_is_told_by_flush() {
    let script = Script::start([status(400)]).await;
    let producer = start(&script, lazy());
    drop(append_all(&producer, &["1", "2"]).await);
    let error = within(producer.flush()).await.unwrap_err();
    assert!(matches!(error, Error::BadRequest { .. }), "{error}");
}

#[tokio::test]
async fn a_replaced_producer_stops_or_claims() {
    let script = Script::start([fenced(5)]).await;
    let producer = start(&script, lazy());
    let pending = append_all(&producer, &["1"]).await;
    within(producer.flush()).await.unwrap_err();
    assert!(matches!(receipts(pending).await[0], Err(Error::Fenced { epoch: 5, .. })));

    let script = Script::start([fenced(5), fenced(8), stored()]).await;
    let producer = start(&script, ProducerOptions { auto_claim: true, first_seq: 4, ..lazy() });
    let pending = append_all(&producer, &["1"]).await;
    within(producer.flush()).await.unwrap();
    let receipt = receipts(pending).await.remove(0).unwrap();
    assert_eq!((receipt.epoch, receipt.seq), (9, 0));
    assert_eq!(sent(&script), [batch(0, 4, "[1]"), batch(6, 0, "[1]"), batch(9, 0, "[1]")]);
}

#[tokio::test]
async fn a_batch_that_may_be_stored_is_not_sent_in_a_new_epoch() {
    let script = Script::start([status(502), fenced(5), stored()]).await;
    let producer = start(&script, ProducerOptions { auto_claim: true, ..lazy() });
    let pending = append_all(&producer, &["1"]).await;
    within(producer.flush()).await.unwrap_err();
    assert!(matches!(receipts(pending).await[0], Err(Error::Fenced { .. })));
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test]
async fn two_that_claim_do_not_go_on_for_ever() {
    let script = Script::start((0..20).map(|claim| fenced(claim * 2 + 1))).await;
    let producer = start(&script, ProducerOptions { auto_claim: true, ..lazy() });
    let pending = append_all(&producer, &["1"]).await;
    within(producer.flush()).await.unwrap_err();
    assert!(matches!(receipts(pending).await[0], Err(Error::Fenced { .. })));
    assert!(script.asked().len() < 10);
}

#[tokio::test]
async fn a_gap_that_no_other_batch_explains_is_an_error() {
    let script = Script::start([gap(2, 4)]).await;
    let producer = start(&script, ProducerOptions { first_seq: 4, ..lazy() });
    let pending = append_all(&producer, &["1"]).await;
    within(producer.flush()).await.unwrap_err();
    let error = receipts(pending).await.remove(0).unwrap_err();
    assert!(matches!(error, Error::SequenceGap { expected: 2, received: 4, .. }));
}

#[tokio::test]
async fn a_retry_sends_the_identical_request() {
    let script = Script::start([500, 502, 429].map(status)).await;
    script.then(with(stored(), "stream-next-offset", "z"));
    let producer = start(&script, lazy());
    let pending = append_all(&producer, &["1", "2"]).await;
    within(producer.flush()).await.unwrap();
    assert_eq!(receipts(pending).await[0].as_ref().unwrap().next_offset, Some(Offset::from("z")));
    assert_eq!(sent(&script), vec![batch(0, 0, "[1,2]"); 4]);
}

#[tokio::test]
async fn an_append_waits_while_too_much_is_under_way() {
    let script = Script::start([stored(), stored()]).await;
    let producer = start(&script, ProducerOptions { max_pending_bytes: 3, ..lazy() });
    let first = append_all(&producer, &["11"]).await.remove(0);
    let mut second = Box::pin(producer.append("22"));
    assert!(second.as_mut().now_or_never().is_none());
    within(producer.flush()).await.unwrap();
    within(first).await.unwrap();
    let second = within(second).await.unwrap();
    within(producer.flush()).await.unwrap();
    within(second).await.unwrap();
}

#[tokio::test]
async fn an_item_that_is_not_json_harms_no_other() {
    let script = Script::start([stored()]).await;
    let producer = start(&script, lazy());
    for item in ["", "1,2", "{", "[1"] {
        assert!(matches!(producer.append(item).await, Err(Error::InvalidInput { .. })), "{item}");
    }
    let pending = append_all(&producer, &["1"]).await;
    within(producer.flush()).await.unwrap();
    assert!(receipts(pending).await[0].is_ok());
}

#[tokio::test]
async fn closes_after_all_items_and_only_once() {
    let server = Server::start().await;
    let stream = server.stream("closing");
    stream.create(CreateOptions::json()).await.unwrap();
    let producer = stream.producer(lazy()).unwrap();
    drop(append_all(&producer, &["1", "2"]).await);
    let closed = within(producer.close(Some(json("3")))).await.unwrap();
    assert_eq!(within(producer.close(None)).await.unwrap(), closed);
    let late = append_all(&producer, &["4"]).await.remove(0);
    assert!(matches!(within(late).await, Err(Error::ProducerStopped { .. })));
    assert_eq!(read(&mut stream.follow(Offset::Beginning, Live::No), 3).await, ["1", "2", "3"]);
    assert!(stream.head().await.unwrap().closed);

    let other = stream.producer(ProducerOptions::new("other")).unwrap();
    assert!(matches!(within(other.close(None)).await, Err(Error::StreamClosed { .. })));
}

#[tokio::test]
async fn another_run_goes_on_where_the_last_ended() {
    let server = Server::start().await;
    let stream = server.stream("runs");
    stream.create(CreateOptions::json()).await.unwrap();
    let first = stream.producer(lazy()).unwrap();
    drop(append_all(&first, &["1"]).await);
    let position = within(first.detach()).await.unwrap();
    assert!(matches!(first.append("9").await, Err(Error::ProducerStopped { .. })));

    let options = ProducerOptions { epoch: position.epoch, first_seq: position.next_seq, ..lazy() };
    let second = stream.producer(options).unwrap();
    drop(append_all(&second, &["2"]).await);
    within(second.flush()).await.unwrap();
    assert_eq!(read(&mut stream.follow(Offset::Beginning, Live::No), 2).await, ["1", "2"]);
}

#[tokio::test]
async fn what_was_appended_is_sent_although_the_producer_is_dropped() {
    let server = Server::start().await;
    let stream = server.stream("dropped");
    stream.create(CreateOptions::json()).await.unwrap();
    let producer = stream.producer(lazy()).unwrap();
    drop(append_all(&producer, &["1", "2"]).await);
    drop(producer);
    assert_eq!(read(&mut stream.follow(Offset::Beginning, Live::Auto), 2).await, ["1", "2"]);
}
