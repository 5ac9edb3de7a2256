//! Readers that read for ever, too much, too slowly, or not at all.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use session_server::{TokenRole, Tokens};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::lab::{ANN, Attack, EVE, MALLORY, OWNER};

/// How long attackers hold what they have.
const HOLD: Duration = Duration::from_secs(4);
/// A revoked token's reads end within two seconds; the third is for a busy machine.
const REVOKED: Duration = Duration::from_secs(3);

/// Queries that a parser, another one or both take for one that follows.
const SPELLINGS: [&str; 16] = [
    "offset=now&live=sse",
    "offset=now&live=long-poll",
    "offset=now&l%69ve=sse",
    "offset=now&%6cive=sse",
    "%6fffset=now&l%69v%65=long-poll",
    "offset=now&live=%73se",
    "offset=now&live=s%73e",
    "offset=now&live=long%2Dpoll",
    "live=sse&offset=now",
    "offset=now&&live=sse&",
    "offset=-1&offset=now&live=sse",
    "offset=now&live=long-poll&live=sse",
    "offset=now&x=%26live%3D&l%69ve=sse",
    "offset=n%6fw&+live=x&l%69ve=sse",
    "offset=now;live=sse&%6Cive=sse",
    "offset=now&LIVE=sse&l%49ve=x&%6C%69%76%65=sse",
];

/// A connection on which a request was sent.
async fn sent(a: &Attack, token: &str, target: &str, more: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(a.server.address).await?;
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

/// Everything that comes, until the end or this time.
async fn heard(stream: &mut TcpStream, until: Instant) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match timeout(left, stream.read_buf(&mut all)).await {
            Ok(Ok(0) | Err(_)) => return (all, true),
            Ok(Ok(_)) => {}
            Err(_) => return (all, false),
        }
    }
}

/// Reads that follow end with their token, however they are written.
pub async fn revoked_readers(mut a: Attack) {
    let room = a.room(&[]).await;
    a.say(ANN, &room, "before").await;
    let name = format!("reader-{}", a.dice.next());
    let token = a.new_token(&name, TokenRole::View, &room);
    let mut streams = Vec::new();
    let paths = ["sessions", "session%73"].map(|sessions| format!("/v1/stream/{sessions}/{room}"));
    let targets = paths.iter().flat_map(|path| SPELLINGS.map(|query| format!("{path}?{query}")));
    for target in targets {
        if let Ok(stream) = sent(&a, &token, &target, "Connection: close\r\n").await {
            streams.push((target, stream));
        }
    }
    // They are let in, or answered at once, before the token goes.
    let settled = Instant::now() + Duration::from_millis(300);
    let (mut reading, mut answered) = (Vec::new(), Vec::new());
    for (target, mut stream) in streams {
        let (answer, ended) = heard(&mut stream, settled).await;
        if ended {
            answered.push(String::from_utf8_lossy(&answer).chars().take(12).collect::<String>());
        } else {
            reading.push((target, stream));
        }
    }
    a.check(reading.len() >= 4, || format!("few readers follow, the others got {answered:?}"));
    let tokens = Tokens::open(&a.data()).unwrap();
    tokens.revoke(&name).unwrap();
    let deadline = Instant::now() + REVOKED;
    let mut late = Vec::new();
    for (target, mut stream) in reading {
        if !heard(&mut stream, deadline).await.1 {
            late.push((target, stream));
        }
    }
    a.say(ANN, &room, "nobody-else-reads-this").await;
    let deadline = Instant::now() + Duration::from_secs(1);
    for (target, mut stream) in late {
        let (bytes, _) = heard(&mut stream, deadline).await;
        let read = String::from_utf8_lossy(&bytes).contains("nobody-else-reads-this");
        let query = target.split('?').next_back().unwrap_or_default();
        a.found.add(format!("a revoked token follows by {query}, and read new words: {read}"));
    }
    a.tidy_up().await;
}

/// Requests that name two hosts.
pub async fn two_hosts(mut a: Attack) {
    let token = a.token(EVE).to_owned();
    for host in ["evil.example", "localhost", "127.0.0.1", ""] {
        let more = format!("Host: {host}\r\nConnection: close\r\n");
        let target = *a.dice.of(&["/v1/sessions/x", "/healthz"]);
        let Ok(mut stream) = sent(&a, &token, target, &more).await else { continue };
        let (answer, _) = heard(&mut stream, Instant::now() + HOLD).await;
        let answer = String::from_utf8_lossy(&answer);
        a.check(answer.starts_with("HTTP/1.1 400"), || {
            format!("two hosts (the second {host:?}) got {answer:.12}")
        });
    }
}

/// A session with some large messages.
async fn large(a: &mut Attack, messages: usize) -> String {
    let room = a.room(&[]).await;
    let words = "x".repeat(3_900_000);
    for _ in 0..messages {
        let body = json!({"messageId": a.id(), "content": words});
        a.post(MALLORY, &room, "/messages", body).await;
    }
    room
}

/// Readers over HTTP/1 that take nothing, or a byte now and then.
pub async fn readers_that_do_not_read(mut a: Attack) {
    let room = large(&mut a, 1).await;
    let count = 100 + a.dice.below(300);
    let dribble = a.dice.below(2) == 0;
    let (token, more) = (a.token(EVE).to_owned(), "X-Actor-Id: eve\r\n");
    let queries = ["offset=-1", "offset=-1&live=sse", "offset=-1&live=long-poll"];
    let target = format!("/v1/stream/sessions/{room}?{}", a.dice.of(&queries));
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.extend(sent(&a, &token, &target, more).await.ok());
    }
    let end = Instant::now() + HOLD;
    while Instant::now() < end {
        for stream in streams.iter_mut().filter(|_| dribble) {
            timeout(Duration::from_millis(1), stream.read_u8()).await.ok();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    a.tidy_up().await;
}

/// Readers over HTTP/2 whose window is zero: all that was asked for stays in the server.
pub async fn readers_without_a_window(mut a: Attack) {
    let room = large(&mut a, 1).await;
    let token = a.token(EVE).to_owned();
    let uri = format!("{}/v1/stream/sessions/{room}?offset=-1", a.base);
    let mut readers = JoinSet::new();
    for _ in 0..2 + a.dice.below(4) {
        let (address, token, uri) = (a.server.address, token.clone(), uri.clone());
        readers.spawn(async move {
            let stream = TcpStream::connect(address).await.ok()?;
            let mut client = h2::client::Builder::new();
            let (mut send, connection) =
                client.initial_window_size(0).handshake::<_, &'static [u8]>(stream).await.ok()?;
            tokio::spawn(connection);
            let mut answers = Vec::new();
            for _ in 0..200 {
                let request =
                    http::Request::get(&uri).header("authorization", format!("Bearer {token}"));
                let ready = timeout(HOLD, send.clone().ready()).await;
                let Ok(Ok(ready)) = ready else { break };
                send = ready;
                let (answer, _) = send.send_request(request.body(()).unwrap(), true).ok()?;
                answers.push(tokio::spawn(answer));
            }
            tokio::time::sleep(HOLD).await;
            Some(answers.len())
        });
    }
    while readers.join_next().await.is_some() {}
    a.tidy_up().await;
}

/// Whoever may see one session lists all the time, and people's messages stay fast.
pub async fn listing_all_the_time(mut a: Attack) {
    let room = a.room(&[]).await;
    let name = format!("lister-{}", a.dice.next());
    let token = a.new_token(&name, TokenRole::View, &room);
    let mut listers = JoinSet::new();
    for _ in 0..8 {
        let (lab, token) = (a.lab.clone(), token.clone());
        listers.spawn(async move {
            loop {
                lab.ask_with(&token, Method::GET, "/v1/sessions", String::new()).await;
            }
        });
    }
    let busy = median_of_messages(&mut a, &room).await;
    drop(listers);
    let quiet = median_of_messages(&mut a, &room).await;
    // Other attacks, or other programs, may make everything slow.
    a.check(busy < Duration::from_millis(100).max(4 * quiet), || {
        format!("half of a person's messages took {busy:?}, and {quiet:?} when nobody lists")
    });
    Tokens::open(&a.data()).unwrap().revoke(&name).unwrap();
    a.tidy_up().await;
}

/// What half of a person's messages take less than.
async fn median_of_messages(a: &mut Attack, room: &str) -> Duration {
    let mut took = Vec::new();
    let end = Instant::now() + HOLD / 2;
    while Instant::now() < end {
        let asked = Instant::now();
        let body = json!({"messageId": a.id(), "content": "hello"});
        let got = a.post(ANN, room, "/messages", body).await;
        took.push(if got.is_ok() { asked.elapsed() } else { HOLD });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    took.sort();
    took[took.len() / 2]
}

/// Sessions to have many of; made once.
pub async fn fill_the_list(a: &mut Attack, count: usize) {
    let names: Vec<String> = (0..count).map(|_| a.id()).collect();
    let mut makers = JoinSet::new();
    for names in names.chunks(count.div_ceil(64)) {
        let (lab, names) = (a.lab.clone(), names.to_vec());
        makers.spawn(async move {
            for name in names {
                let path = format!("/v1/stream/sessions/{name}");
                while lab.ask(OWNER, Method::PUT, &path, Value::Null).await.status == 429 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
    }
    while makers.join_next().await.is_some() {}
}
