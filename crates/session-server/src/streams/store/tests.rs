//! The store without HTTP: snapshots, pages, forks, space, time and restarts.

use std::{
    collections::HashSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use durable_streams_server::{protocol::producer::ProducerHeaders, storage::StreamConfig};

use super::*;

const JSON: &str = "application/json";
const DEADLINE: Duration = Duration::from_secs(20);

fn open(folder: &Path) -> StreamStore {
    StreamStore::open(folder, StreamLimits::default()).unwrap()
}

fn create(store: &StreamStore, name: &str, content_type: &str) {
    let config = StreamConfig::new(content_type.to_owned());
    store
        .create(Create { name: name.to_owned(), config, items: Vec::new(), close: false })
        .unwrap();
}

fn batch(stream: &str, content_type: &str, items: Vec<Bytes>) -> Append {
    Append {
        stream: stream.to_owned(),
        items,
        content_type: content_type.to_owned(),
        producer: None,
        writer_seq: None,
        close: false,
        beyond: false,
    }
}

fn add(store: &StreamStore, stream: &str, items: &[&str]) -> Offset {
    let items = items.iter().map(|item| Bytes::copy_from_slice(item.as_bytes())).collect();
    let content_type = store.head(stream).unwrap().config.content_type;
    store.append(batch(stream, &content_type, items)).map(end).unwrap()
}

fn all(store: &StreamStore, stream: &str) -> Vec<Bytes> {
    let mut items = Vec::new();
    let mut offset = Offset::start();
    loop {
        let (mut page, _) = store.page(stream, &offset).unwrap();
        items.append(&mut page.messages);
        if page.at_tail {
            return items;
        }
        offset = page.next_offset;
    }
}

fn texts(store: &StreamStore, stream: &str) -> Vec<String> {
    let text = |item: Bytes| String::from_utf8(item.to_vec()).unwrap();
    all(store, stream).into_iter().map(text).collect()
}

fn fork(name: &str, source: &str, at: Option<Offset>, part: u64) -> Fork {
    Fork {
        name: name.to_owned(),
        source: source.to_owned(),
        at,
        part,
        config: StreamConfig::new("application/octet-stream".to_owned()),
        typed: false,
        body: Bytes::new(),
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::yield_now();
    }
}

#[test]
fn a_follower_of_a_busy_stream_sees_every_message_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    create(&store, "s", JSON);
    thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..50 {
                    add(store, "s", &[&format!("[{writer},{n}]"), &format!("[{writer},{n},2]")]);
                }
            });
        }
        let (mut seen, mut offset) = (Vec::new(), Offset::start());
        while seen.len() < 400 {
            let (page, _) = store.page("s", &offset).unwrap();
            seen.extend(page.messages);
            offset = page.next_offset;
        }
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 400);
        assert_eq!(seen, all(&store, "s"));
    });
}

#[test]
fn a_long_stream_comes_by_the_page_from_every_offset() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    create(&store, "s", JSON);
    let item = |n: usize| Bytes::from(format!("\"{n}{}\"", "x".repeat(n % 3000)));
    let mut ends = vec![Offset::start()];
    for n in (0..1500).step_by(10) {
        ends.push(end(store.append(batch("s", JSON, (n..n + 10).map(item).collect())).unwrap()));
    }
    for (batches, from) in ends.iter().enumerate() {
        let (mut at, mut n) = (from.clone(), batches * 10);
        loop {
            let (page, is_json) = store.page("s", &at).unwrap();
            assert!(is_json && (page.at_tail || !page.messages.is_empty()));
            let size: usize = page.messages.iter().map(Bytes::len).sum();
            assert!(size < PAGE_BYTES + 3010, "{size}");
            for message in page.messages {
                assert_eq!(message, item(n));
                n += 1;
            }
            at = page.next_offset;
            if page.at_tail {
                break;
            }
        }
        assert_eq!((n, &at), (1500, ends.last().unwrap()));
    }
    // What is no offset of this stream is not taken for one.
    let (seq, byte) = ends[3].parse_components().unwrap();
    for wrong in [Offset::new(seq, byte + 1), Offset::new(seq + 1, byte), Offset::new(9999, 9)] {
        assert!(matches!(store.page("s", &wrong), Err(Error::InvalidOffset(_))), "{wrong}");
    }
}

#[test]
fn forks_read_through_their_sources_also_when_those_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    create(&store, "a", JSON);
    let first = add(&store, "a", &["1", "2", "3"]);
    add(&store, "a", &["4"]);
    store.fork(fork("b", "a", Some(first.clone()), 0)).unwrap();
    add(&store, "b", &["5"]);
    let end_of_b = add(&store, "b", &["6", "7"]);
    // In the middle of a batch that the source's source owns, in one of its own, and at its tail.
    store.fork(fork("c", "b", Some(Offset::new(0, 0)), 2)).unwrap();
    store.fork(fork("d", "b", Some(first.clone()), 2)).unwrap();
    store.fork(fork("e", "b", None, 0)).unwrap();
    add(&store, "a", &["8"]);
    add(&store, "c", &["9"]);
    for run in 0..2 {
        assert_eq!(texts(&store, "a"), ["1", "2", "3", "4", "8"], "{run}");
        assert_eq!(texts(&store, "b"), ["1", "2", "3", "5", "6", "7"], "{run}");
        assert_eq!(texts(&store, "c"), ["1", "2", "9"], "{run}");
        assert_eq!(texts(&store, "d"), ["1", "2", "3", "5", "6"], "{run}");
        assert_eq!(store.head("e").unwrap().next_offset, end_of_b, "{run}");
        drop(store);
        store = open(dir.path());
    }
    // The same request again is no error, another one is.
    let status = |made: Result<Created, Error>| made.map(|made| made.status);
    use durable_streams_server::storage::CreateStreamResult::AlreadyExists;
    assert_eq!(status(store.fork(fork("d", "b", Some(first.clone()), 2))).unwrap(), AlreadyExists);
    assert_eq!(status(store.fork(fork("e", "b", None, 0))).unwrap(), AlreadyExists);
    assert!(matches!(
        status(store.fork(fork("d", "b", Some(first.clone()), 1))),
        Err(Error::ConfigMismatch)
    ));
    assert!(matches!(
        status(store.fork(fork("f", "b", Some(first.clone()), 4))),
        Err(Error::ForkOffsetBeyondTail)
    ));
    // Deleted sources stay readable through forks, and their names stay taken.
    store.delete("a").unwrap();
    store.delete("b").unwrap();
    assert!(matches!(store.page("b", &Offset::start()), Err(Error::StreamGone(_))));
    assert!(matches!(
        status(store.fork(fork("f", "b", None, 0))),
        Err(Error::ForkFromTombstone(_))
    ));
    assert_eq!(texts(&store, "d"), ["1", "2", "3", "5", "6"]);
    for name in ["c", "d", "e"] {
        assert!(matches!(store.page("a", &Offset::start()), Err(Error::StreamGone(_))));
        store.delete(name).unwrap();
    }
    // With the last fork they are gone too.
    assert!(matches!(store.page("a", &Offset::start()), Err(Error::NotFound(_))));
    create(&store, "a", JSON);
    assert!(all(&store, "a").is_empty());
}

#[test]
fn a_fork_of_bytes_may_begin_inside_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    create(&store, "s", "text/plain");
    let first = add(&store, "s", &["first"]);
    add(&store, "s", &["second"]);
    let mut wanted = fork("f", "s", Some(first.clone()), 3);
    wanted.body = Bytes::from_static(b"!");
    store.fork(wanted).unwrap();
    assert_eq!(texts(&store, "f"), ["first", "sec", "!"]);
    assert!(matches!(store.fork(fork("g", "s", Some(first), 7)), Err(Error::ForkOffsetBeyondTail)));
}

#[test]
fn a_restart_keeps_producers_ends_and_closed_streams() {
    let dir = tempfile::tempdir().unwrap();
    let stamped = |epoch, seq, close| Append {
        producer: Some(ProducerHeaders { id: "p".to_owned(), epoch, seq }),
        writer_seq: Some(format!("{epoch}-{seq}")),
        close,
        ..batch("s", JSON, vec![Bytes::from(format!("[{epoch},{seq}]"))])
    };
    let store = open(dir.path());
    create(&store, "s", JSON);
    store.append(stamped(1, 0, false)).unwrap();
    let tail = end(store.append(stamped(1, 1, false)).unwrap());
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.head("s").unwrap().next_offset, tail);
    let repeated = store.append(stamped(1, 0, false)).unwrap();
    assert!(matches!(repeated, ProducerAppendResult::Duplicate { epoch: 1, seq: 1, .. }));
    let gap = store.append(stamped(1, 3, false));
    assert!(matches!(gap, Err(Error::SequenceGap { expected: 2, actual: 3 })));
    assert!(matches!(store.append(stamped(0, 5, false)), Err(Error::EpochFenced { .. })));
    assert!(matches!(store.append(stamped(2, 1, false)), Err(Error::InvalidProducerState(_))));
    store.append(stamped(2, 0, true)).unwrap();
    drop(store);
    let store = open(dir.path());
    assert!(store.head("s").unwrap().closed);
    let repeated = store.append(stamped(2, 0, true)).unwrap();
    assert!(matches!(repeated, ProducerAppendResult::Duplicate { closed: true, .. }));
    assert!(matches!(store.append(stamped(2, 1, false)), Err(Error::StreamClosed)));
    assert_eq!(texts(&store, "s"), ["[1,0]", "[1,1]", "[2,0]"]);
}

#[test]
fn a_full_store_refuses_what_does_not_fit_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let limits = StreamLimits { total_bytes: Some(1 << 20), ..StreamLimits::default() };
    let store = StreamStore::open(dir.path(), limits).unwrap();
    create(&store, "large", JSON);
    create(&store, "small", JSON);
    let block = || vec![Bytes::from(format!("\"{}\"", "x".repeat(100_000)))];
    let mut stored = 0;
    let refused = loop {
        match store.append(batch("large", JSON, block())) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::InsufficientStorage(_)), "{refused}");
    assert!((5..=10).contains(&stored), "{stored}");
    // In one commit with appends that do not fit, those that fit are stored.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| store.append(batch("large", JSON, block())).unwrap_err());
            scope.spawn(|| add(&store, "small", &["1"]));
        }
    });
    assert_eq!(all(&store, "large").len(), stored);
    assert_eq!(texts(&store, "small"), ["1"; 4]);
    store.delete("large").unwrap();
    wait("room", || store.append(batch("small", JSON, block())).is_ok());
}

#[test]
fn deleting_gives_the_space_back_and_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let size = || {
        let length = |name: &str| dir.path().join(name).metadata().map_or(0, |data| data.len());
        length("streams.sqlite") + length("streams.sqlite-wal")
    };
    create(&store, "kept", JSON);
    create(&store, "s", JSON);
    let item = Bytes::from(format!("\"{}\"", "x".repeat(1000)));
    for _ in 0..20 {
        store.append(batch("s", JSON, vec![item.clone(); 1000])).unwrap();
    }
    assert!(size() > 20_000_000);
    store.delete("s").unwrap();
    assert!(matches!(store.head("s"), Err(Error::NotFound(_))));
    add(&store, "kept", &["1"]);
    // A store that is closed in the middle goes on later.
    drop(store);
    let store = open(dir.path());
    wait("the file to shrink", || size() < 500_000);
    assert_eq!(texts(&store, "kept"), ["1"]);
}

#[test]
fn streams_expire_by_themselves_and_live_as_long_as_they_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let in_use = StreamConfig::new(JSON.to_owned()).with_ttl(1);
    let started = Instant::now();
    for (name, ttl) in [("used", 1), ("unused", 1), ("long", 1000)] {
        let until = chrono::Utc::now() + chrono::Duration::seconds(ttl);
        let ttl = u64::try_from(ttl).unwrap();
        let config = in_use.clone().with_ttl(ttl).with_expires_at(until);
        let items = vec![Bytes::from_static(b"1")];
        store.create(Create { name: name.to_owned(), config, items, close: false }).unwrap();
    }
    store.fork(fork("fork", "unused", None, 0)).unwrap();
    let rows = || {
        store
            .read(|db| Ok(db.query_row("SELECT count(*) FROM streams", [], |row| row.get(0))?))
            .unwrap_or(0)
    };
    assert_eq!(rows(), 4);
    // Nobody asks for the others: the writer removes them when their time has come.
    let mut left: i64 = 4;
    wait("the unused to go", || {
        store.page("used", &Offset::now()).unwrap();
        left = rows();
        left == 2
    });
    assert!(started.elapsed() >= Duration::from_secs(1));
    let names = store.list().unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names, ["long", "used"]);
}

#[test]
fn a_panicking_job_ends_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    create(&store, "s", JSON);
    let failed = store.write_blocking(grows(0), |tx| -> Result<(), Stop> {
        tx.db.execute("DELETE FROM streams", [])?;
        panic!("on purpose");
    });
    assert!(failed.is_err());
    add(&store, "s", &["1"]);
}

#[test]
fn a_retired_stream_gives_its_name_back_and_keeps_what_its_forks_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    create(&store, "old", JSON);
    add(&store, "old", &["1", "2", "3"]);
    store.fork(fork("first", "old", Some(Offset::start()), 1)).unwrap();
    store.fork(fork("second", "old", Some(Offset::start()), 2)).unwrap();
    runtime.block_on(store.retire("old")).unwrap();
    assert!(matches!(store.head("old"), Err(Error::NotFound(_))));
    create(&store, "old", JSON);
    add(&store, "old", &["new"]);
    assert_eq!(texts(&store, "old"), ["new"]);
    assert_eq!(
        (texts(&store, "first"), texts(&store, "second")),
        (vec!["1".to_owned()], vec!["1".to_owned(), "2".to_owned()])
    );
    add(&store, "second", &["4"]);
    let messages = || {
        let count = |db: &Connection| {
            db.query_row("SELECT count(*) FROM messages", [], |row| row.get::<_, u64>(0))
        };
        store.read(|db| Ok(count(db)?)).unwrap()
    };
    wait("the third message of the old stream is gone", || messages() == 4);
    // The last fork takes the rest along.
    runtime.block_on(store.retire("first")).unwrap();
    runtime.block_on(store.retire("second")).unwrap();
    wait("only the new stream is left", || messages() == 1);
}
