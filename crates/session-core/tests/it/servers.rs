//! L16: what a person writes is only ever sent to the server that its session belongs to, and a
//! token only to the origin it was given for.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reqwest::Client;
use serde_json::json;
use serde_json::value::RawValue;
use session_core::{
    Actor, Address, ConnectionState, DeliveryState, Endpoint, Engine, EngineConfig, Inherit,
    Inherited, Limits, NewSession, Secret, THIS_COMPUTER,
};
use session_protocol::{Role, SessionFold};
use session_server::{Auth, RunningServer};
use url::Url;
use uuid::Uuid;

use crate::faulty::{Fate, Way};
use crate::support::{Home, Random, Window, engine_in, eventually, text, there};

/// A server with a token of its own, on a way that notes what it is asked with.
struct Recorded {
    server: RunningServer,
    token: &'static str,
    way: Way,
    /// Every token that came, by its header; empty: none.
    tokens: Arc<Mutex<HashSet<String>>>,
}

impl Recorded {
    async fn start(home: &Home, token: &'static str) -> Self {
        let server = home
            .server_with(|config| {
                config.data_dir = home.path(token);
                config.auth = Auth::Token(session_server::Secret::new(token));
            })
            .await;
        let tokens = Arc::default();
        let addr = server.addr;
        let way = Way::to(addr, |_| Fate::Pass).await;
        let new = Self { server, token, way, tokens };
        new.decide(|_| Fate::Pass);
        new
    }

    /// Decides the fate of requests from now on; all are noted.
    fn decide(&self, mut fate: impl FnMut(bool) -> Fate + Send + 'static) {
        let tokens = Arc::clone(&self.tokens);
        self.way.decide(move |asked| {
            let token = asked.head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
            });
            tokens.lock().expect("no test panics here").insert(token.unwrap_or_default());
            fate(asked.is_stream())
        });
    }

    fn endpoint(&self) -> Endpoint {
        let token = self.token;
        Endpoint { base_url: self.way.url(), token: Arc::new(move || Some(Secret::new(token))) }
    }

    async fn join(&self, engine: &Engine) -> String {
        let id = engine.join_server(&self.way.url(), "").await.expect("it is joined");
        engine.connect(&id, Some(self.endpoint())).expect("TLS works here");
        id
    }

    async fn put(&self, session: &str) {
        let url = self.server.base_url().join(&format!("v1/sessions/{session}")).expect("a URL");
        let request = Client::new().put(url).bearer_auth(self.token).json(&json!({}));
        assert!(request.send().await.expect("the server answers").status().is_success());
    }

    /// Words of people in a session, in order. Empty when there is no such session.
    async fn said(&self, session: &str) -> Vec<String> {
        let path = format!("v1/stream/sessions/{session}?offset=-1");
        let url = self.server.base_url().join(&path).expect("a URL");
        let request = Client::new().get(url).bearer_auth(self.token);
        let answer = request.send().await.expect("the server answers");
        let items: Vec<Box<RawValue>> = answer.json().await.unwrap_or_default();
        let items: Vec<Bytes> =
            items.iter().map(|item| Bytes::copy_from_slice(item.get().as_bytes())).collect();
        let mut fold = SessionFold::new(session);
        fold.apply(&items, &mut ());
        let messages = fold.messages().filter(|message| message.role == Role::User);
        messages.map(|message| text(&message.clone().into())).collect()
    }
}

fn on(server: &str) -> NewSession {
    NewSession { server: server.to_owned(), ..NewSession::default() }
}

/// Whether every session of an engine has sent what it had to.
async fn all_sent(engine: &Engine, servers: &[String]) -> Option<()> {
    engine.nudge();
    for server in servers {
        if engine.unsent(server).await.expect("it can be counted") > 0 {
            return None;
        }
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_word_arrives_once_at_its_own_server_whatever_is_joined_left_or_out_of_reach() {
    for seed in 0..6 {
        let home = Home::new();
        let mut random = Random::new(seed);
        let servers = [
            Recorded::start(&home, "token-a").await,
            Recorded::start(&home, "token-b").await,
            Recorded::start(&home, "token-c").await,
        ];
        let mut engine = home.engine();
        let mut ids = Vec::new();
        // The first is known as this computer, which has no address that is kept.
        engine.connect(THIS_COMPUTER, Some(servers[0].endpoint())).expect("TLS works here");
        ids.push(THIS_COMPUTER.to_owned());
        for server in &servers[1..] {
            ids.push(server.join(&engine).await);
        }
        // One id on all of them, and a session of its own on each.
        let mut sessions = Vec::new();
        for (server, id) in servers.iter().zip(&ids) {
            server.put("shared").await;
            sessions.push(Address::new(id, "shared").to_string());
            sessions.push(engine.create_session(on(id)).await.expect("it is saved"));
        }
        eventually("the shared ones are listed", async || {
            engine.nudge();
            let known = engine.sessions();
            sessions.iter().all(|id| known.iter().any(|one| one.id == *id)).then_some(())
        })
        .await;

        let mut written: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut forgotten = HashSet::new();
        for n in 0..60 {
            let at = random.below(3) as usize;
            match random.below(12) {
                0 => engine.connect(&ids[at], None).unwrap_or_default(),
                1 | 2 if !forgotten.contains(&at) => {
                    engine.connect(&ids[at], Some(servers[at].endpoint())).expect("TLS works here");
                }
                3 => {
                    let mut fates = Random::new(seed * 1000 + n);
                    servers[at].decide(move |is_stream| match fates.below(4) {
                        0 => Fate::Refused(503),
                        1 => Fate::Lost,
                        2 if !is_stream => Fate::AnswerLost,
                        _ => Fate::Pass,
                    });
                }
                4 => servers[at].decide(|_| Fate::Pass),
                5 if at > 0 && forgotten.insert(at) => {
                    engine.forget_server(&ids[at], true).await.expect("it is saved");
                }
                6 if forgotten.remove(&at) => {
                    assert_eq!(servers[at].join(&engine).await, ids[at], "its sessions are here");
                }
                7 => {
                    engine.close().await;
                    engine = home.engine();
                    for (at, id) in ids.iter().enumerate().filter(|(at, _)| !forgotten.contains(at))
                    {
                        engine.connect(id, Some(servers[at].endpoint())).expect("TLS works here");
                    }
                }
                _ => {
                    let session = &sessions[2 * at + random.below(2) as usize];
                    let text = format!("{n} for {session}");
                    match engine.send_message(session, &text).await {
                        Ok(_) => written.entry(session.clone()).or_default().push(text),
                        Err(error) => {
                            assert!(forgotten.contains(&at), "seed {seed}: {error}");
                        }
                    }
                }
            }
        }
        for (at, server) in servers.iter().enumerate() {
            server.decide(|_| Fate::Pass);
            if forgotten.contains(&at) {
                server.join(&engine).await;
            } else {
                engine.connect(&ids[at], Some(server.endpoint())).expect("TLS works here");
            }
        }
        eventually("everything is sent", async || all_sent(&engine, &ids).await).await;
        for session in &sessions {
            let address = Address::parse(session).expect("it says where it is");
            let at = ids.iter().position(|id| *id == address.server).expect("it is one of them");
            let said = servers[at].said(&address.session).await;
            let expected = written.remove(session).unwrap_or_default();
            assert_eq!(said, expected, "seed {seed}, {session}");
        }
        for server in &servers {
            let tokens = server.tokens.lock().expect("no test panics here").clone();
            let own = HashSet::from([format!("Bearer {}", server.token)]);
            assert_eq!(tokens, own, "seed {seed}");
        }
        for session in sessions.iter().skip(1).step_by(2) {
            for (server, id) in servers.iter().zip(&ids) {
                let elsewhere = !session.starts_with(&format!("{id}/"));
                assert!(!elsewhere || server.said(&there(session)).await.is_empty(), "seed {seed}");
            }
        }
        engine.close().await;
    }
}

/// A database as the version before several servers left it: made by this one and taken back.
fn take_back(home: &Home) {
    let file = rusqlite::Connection::open(home.database()).expect("it is a database");
    file.execute_batch(include_str!("before_servers.sql")).expect("it can be taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_database_opens_with_all_that_it_has_and_nothing_of_it_reaches_another_server() {
    let home = Home::new();
    let here = Recorded::start(&home, "here").await;
    let away = Recorded::start(&home, "away").await;
    let engine = home.engine();
    engine.connect(THIS_COMPUTER, Some(here.endpoint())).expect("TLS works here");
    let mine = engine.create_session(on(THIS_COMPUTER)).await.expect("it is saved");
    engine.send_message(&mine, "said here").await.expect("it is saved");
    let ids = [THIS_COMPUTER.to_owned()];
    eventually("it is sent", async || all_sent(&engine, &ids).await).await;
    engine.connect(THIS_COMPUTER, None).expect("there is nothing to set up");
    engine.save_draft(&mine, "half a thought").await.expect("it is saved");
    // As the version before did it: another server, and everything goes there.
    engine.connect(THIS_COMPUTER, Some(away.endpoint())).expect("TLS works here");
    let theirs = engine.create_session(on(THIS_COMPUTER)).await.expect("it is saved");
    away.put("listed").await;
    eventually("the list of the other", async || {
        engine.nudge();
        engine.sessions().iter().any(|one| one.id.ends_with("/listed")).then_some(())
    })
    .await;
    engine.connect(THIS_COMPUTER, None).expect("there is nothing to set up");
    eventually("it is not looked for any more", async || {
        engine.send_message(&mine, "private").await.ok()
    })
    .await;
    engine.send_message(&theirs, "for the others").await.expect("it is saved");
    let copy = engine.fork_session(Uuid::new_v4(), &mine, None).await.map_err(|error| error.code());
    engine.close().await;
    take_back(&home);
    let private_before = away.said(&there(&mine)).await;

    let (url, has) = (away.way.url(), there(&mine));
    let (asked, counts) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(())));
    let count = Arc::clone(&asked);
    let inherit = Inherit::new(move || {
        let _one = counts.lock().expect("no test panics here");
        *count.lock().expect("no test panics here") += 1;
        // As somebody typed it.
        let url = Some(format!("{}?from=mail#top", url.as_str().replace("http:", "HTTP:")));
        Inherited { url, here: HashSet::from([has.clone()]) }
    });
    let open = |inherit: &Inherit| {
        let actor = Actor { id: "ana".to_owned(), name: "Ana".to_owned() };
        let data_dir = home.path("engine");
        let (device_id, inherit) = ("laptop".to_owned(), inherit.clone());
        let config = EngineConfig { data_dir, actor, device_id, inherit };
        Engine::open_with(config, Limits::default()).expect("the engine opens")
    };
    let engine = open(&inherit);
    let servers = engine.servers().borrow().clone();
    assert_eq!(servers.len(), 2);
    let joined = servers[1].id.clone();
    let find = |session: &str| {
        let found: Vec<_> =
            engine.sessions().into_iter().filter(|one| there(&one.id) == there(session)).collect();
        assert_eq!(found.len(), 1, "{session}");
        found[0].clone()
    };
    assert_eq!(find(&mine).id, mine);
    assert_eq!(find(&mine).draft.as_deref(), Some("half a thought"));
    assert_eq!(find(&theirs).id, Address::new(&joined, &there(&theirs)).to_string());
    assert_eq!(find("x/listed").id, Address::new(&joined, "listed").to_string());
    if let Ok(copy) = &copy {
        assert_eq!(find(copy).parent_id.as_deref(), Some(mine.as_str()));
    }
    // First only the other: what is for this computer waits.
    engine.connect(&joined, Some(away.endpoint())).expect("TLS works here");
    let only = [joined.clone()];
    eventually("its own is sent", async || all_sent(&engine, &only).await).await;
    assert_eq!(away.said(&there(&theirs)).await, ["for the others"]);
    assert_eq!(away.said(&there(&mine)).await, private_before);
    engine.connect(THIS_COMPUTER, Some(here.endpoint())).expect("TLS works here");
    eventually("and this", async || all_sent(&engine, &ids).await).await;
    assert_eq!(here.said(&there(&mine)).await, ["said here", "private"]);
    assert!(here.said(&there(&theirs)).await.is_empty());
    engine.close().await;
    let engine = open(&inherit);
    assert_eq!(*asked.lock().expect("no test panics here"), 1, "once for each database");
    assert_eq!(engine.servers().borrow().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_or_refuses_delays_no_other() {
    let home = Home::new();
    let good = Recorded::start(&home, "good").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent_url: Url =
        format!("http://{}/", silent.local_addr().expect("it is bound")).parse().expect("a URL");
    let strict = Recorded::start(&home, "strict").await;
    let engine = home.engine();
    let hangs = engine.join_server(&silent_url, "Silent").await.expect("it is joined");
    engine.connect(&hangs, Some(Endpoint::open(silent_url))).expect("TLS works here");
    let refuses = engine.join_server(&strict.way.url(), "Strict").await.expect("it is joined");
    let wrong = Endpoint::open(strict.way.url());
    engine.connect(&refuses, Some(wrong)).expect("TLS works here");
    let id = good.join(&engine).await;
    // More to send than may be followed, on both of those that do not answer.
    for server in [&hangs, &refuses] {
        for _ in 0..30 {
            let session = engine.create_session(on(server)).await.expect("it is saved");
            engine.send_message(&session, "hello?").await.expect("it is saved");
        }
    }
    let session = engine.create_session(on(&id)).await.expect("it is saved");
    engine.send_message(&session, "hello").await.expect("it is saved");
    let ids = [id.clone()];
    eventually("the good one has it", async || all_sent(&engine, &ids).await).await;
    let mut window = Window::of(engine.feed());
    window
        .until("each says how it stands", |w| {
            let state = |id: &str| {
                let server = w.servers.iter().find(|server| server.id == id);
                server.map(|server| server.connection.state)
            };
            state(&id) == Some(ConnectionState::Live)
                && state(&refuses) == Some(ConnectionState::Refused)
                && state(&hangs) == Some(ConnectionState::Connecting)
                && state(THIS_COMPUTER) == Some(ConnectionState::Offline)
        })
        .await;
    assert_eq!(engine.unsent(&hangs).await.expect("it can be counted"), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_server_gets_nothing_and_its_sessions_are_kept_or_deleted_as_asked() {
    let home = Home::new();
    let server = Recorded::start(&home, "token").await;
    let engine = home.engine();
    let id = server.join(&engine).await;
    let session = engine.create_session(on(&id)).await.expect("it is saved");
    engine.send_message(&session, "delivered").await.expect("it is saved");
    let ids = [id.clone()];
    eventually("it is sent", async || all_sent(&engine, &ids).await).await;
    engine.connect(&id, None).expect("there is nothing to set up");
    engine.send_message(&session, "waiting").await.expect("it is saved");
    assert_eq!(engine.unsent(&id).await.expect("it can be counted"), 1);

    let mut window = Window::open(&engine, &session);
    engine.forget_server(&id, true).await.expect("it is saved");
    window.until("it can be read", |w| w.items.len() == 2 && w.meta().read_only).await;
    window.until("it is said", |w| w.servers.iter().any(|one| one.id == id && one.forgotten)).await;
    let error = engine.send_message(&session, "more").await.expect_err("it is read only");
    assert_eq!(error.code(), "not-possible");
    let error = engine.connect(&id, Some(server.endpoint())).expect_err("it was forgotten");
    assert_eq!(error.code(), "unknown-server");
    drop(window);
    engine.close().await;

    let engine = home.engine();
    assert_eq!(engine.sessions().len(), 1, "also after a restart");
    let error = engine.send_message(&session, "more").await.expect_err("it is read only");
    assert_eq!(error.code(), "not-possible");
    engine.forget_server(&id, false).await.expect("it is saved");
    assert_eq!(engine.unsent(&id).await.expect("it can be counted"), 0);
    eventually("it is gone", async || engine.sessions().is_empty().then_some(())).await;
    let error = engine.feed().show(Some(session.clone())).expect_err("it is gone");
    assert_eq!(error.code(), "unknown-session");
    engine.close().await;
    let engine = home.engine();
    assert_eq!((engine.sessions().len(), engine.servers().borrow().len()), (0, 1));
    assert_eq!(server.said(&there(&session)).await, ["delivered"], "the server was told nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_address_of_a_server_is_joined_and_only_once() {
    let home = Home::new();
    let engine = engine_in(&home.path("engine"));
    for address in ["ftp://example.org", "file:///etc/passwd", "http://me:secret@example.org"] {
        let url: Url = address.parse().expect("a URL");
        let error = engine.join_server(&url, "").await.expect_err(address);
        assert_eq!(error.code(), "not-possible");
        assert!(!error.to_string().contains("secret"));
    }
    let url: Url = "http://example.org:4000/base/?x=1#y".parse().expect("a URL");
    let id = engine.join_server(&url, " ").await.expect("it is joined");
    let known = |id: &str| {
        let servers = engine.servers().borrow().clone();
        servers.iter().find(|server| server.id == id).cloned()
    };
    eventually("it is listed", async || known(&id)).await;
    let server = known(&id).expect("it is listed");
    assert_eq!(server.name, "example.org:4000");
    assert_eq!(server.url.as_deref(), Some("http://example.org:4000/base"));
    let error = engine.join_server(&url, "again").await.expect_err("it is there");
    assert_eq!(error.code(), "not-possible");
    // Its token would go to somebody else.
    let other = Endpoint::open("http://example.org:4001/base".parse().expect("a URL"));
    assert_eq!(engine.connect(&id, Some(other)).expect_err("elsewhere").code(), "not-possible");
    engine.rename_server(&id, "Ours").await.expect("it is saved");
    eventually("its name", async || known(&id).filter(|server| server.name == "Ours")).await;
    assert_eq!(
        engine.forget_server(THIS_COMPUTER, false).await.expect_err("always there").code(),
        "not-possible"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_sends_elsewhere_gets_no_words_there() {
    let home = Home::new();
    let (server, other) =
        (Recorded::start(&home, "own").await, Recorded::start(&home, "other").await);
    let elsewhere = other.way.url().socket_addrs(|| None).expect("it has one")[0];
    server.decide(move |_| Fate::SentTo(elsewhere));
    let engine = home.engine();
    engine.connect(THIS_COMPUTER, Some(server.endpoint())).expect("TLS works here");
    let (session, mut window) = Window::begin(&engine).await;
    engine.send_message(&session, "for one server only").await.expect("it is saved");
    window
        .until("it is refused", |w| {
            w.meta.as_ref().is_some_and(|meta| {
                meta.outbox.iter().any(|entry| entry.state == DeliveryState::Wedged)
            })
        })
        .await;
    eventually("it was asked for everything", async || {
        (server.tokens.lock().expect("no test panics here").len() == 1).then_some(())
    })
    .await;
    assert!(other.tokens.lock().expect("no test panics here").is_empty(), "it was never asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_says_is_ones_own_also_under_the_name_of_a_token() {
    let home = Home::new();
    let named = Auth::Named(Some(session_server::Secret::new("owner")));
    let server = home.server_with(|config| config.auth = named).await;
    let tokens = session_server::Tokens::open(&home.path("server")).expect("the database is there");
    let token = tokens.create("ann", session_server::TokenRole::Manage, None).expect("it is made");
    let token = token.expose().to_owned();
    let engine = home.engine();
    let id = engine.join_server(&server.base_url(), "").await.expect("it is joined");
    let endpoint = Endpoint {
        base_url: server.base_url(),
        token: Arc::new(move || Some(Secret::new(token.clone()))),
    };
    engine.connect(&id, Some(endpoint)).expect("TLS works here");
    let session = engine.create_session(on(&id)).await.expect("it is saved");
    let mut window = Window::open(&engine, &session);
    window
        .until("it is known who we are", |w| {
            w.servers.iter().any(|server| server.id == id && server.me.as_deref() == Some("ann"))
        })
        .await;
    engine.send_message(&session, "hello").await.expect("it is saved");
    window.until("it is there", |w| w.is_settled() && w.items.len() == 1).await;
    assert_eq!(window.items[0].meta.actor_id.as_deref(), Some("ann"));
    drop(window);
    engine.close().await;
    let engine = home.engine();
    let listed = engine.sessions();
    assert_eq!(listed.iter().map(|one| one.unread).collect::<Vec<_>>(), [0], "also offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_went_away_is_known_as_soon_as_one_of_its_sessions_knows() {
    let home = Home::new();
    let (server, engine) = home.start().await;
    let (_session, mut window) = Window::begin(&engine).await;
    window
        .until("both are live", |w| {
            let state = w.meta.as_ref().map(|meta| meta.connection.state);
            state == Some(ConnectionState::Live) && w.here().state == ConnectionState::Live
        })
        .await;
    server.shutdown().await;
    // Its list is asked for four times a minute.
    let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(8);
    let known = window.until("the server is away", |w| w.here().state == ConnectionState::Retrying);
    tokio::time::timeout_at(soon, known).await.expect("not by the list alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_on_two_servers_is_two_sessions_with_a_history_each() {
    let home = Home::new();
    let one = Recorded::start(&home, "one").await;
    let other = Recorded::start(&home, "other").await;
    let engine = home.engine();
    let mut sessions = Vec::new();
    for server in [&one, &other] {
        server.put("same").await;
        let session = Address::new(&server.join(&engine).await, "same").to_string();
        eventually("it is listed", async || {
            engine.nudge();
            engine.sessions().iter().any(|known| known.id == session).then_some(())
        })
        .await;
        for n in 0..3 {
            let text = format!("{n} for {}", server.token);
            engine.send_message(&session, &text).await.expect("it is saved");
        }
        sessions.push(session);
    }
    for (session, server) in sessions.iter().zip([&one, &other]) {
        let own = (0..3).map(|n| format!("{n} for {}", server.token)).collect::<Vec<_>>();
        let mut window = Window::open(&engine, session);
        window.until("its own history", |w| w.is_settled() && w.texts() == own).await;
        assert_eq!(server.said("same").await, own);
    }
    engine.save_draft(&sessions[0], "half a thought").await.expect("it is saved");
    engine.delete_session(&sessions[0]).await.expect("it is saved");
    eventually("it is deleted there", async || one.said("same").await.is_empty().then_some(()))
        .await;
    eventually("it is gone from the list, and only it", async || {
        let left: Vec<_> = engine.sessions().into_iter().map(|known| known.id).collect();
        (left == sessions[1..]).then_some(())
    })
    .await;
    assert_eq!(other.said("same").await.len(), 3);
}
