//! What attackers have: tokens, sessions, agents, and a list of what they got away with.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use session_protocol::SessionFold;
use session_server::{TokenRole, Tokens};
use uuid::Uuid;

use super::hooks::{Hook, Hooks};
use super::server::Server;

/// Nothing that an honest server does takes this long, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Who acts. The owner may do everything; the others have a named token each.
pub const OWNER: &str = "owner";
pub const ANN: &str = "ann";
pub const MALLORY: &str = "mallory";
pub const EVE: &str = "eve";
const NAMED: [(&str, TokenRole); 5] = [
    ("hanna", TokenRole::Approve),
    (ANN, TokenRole::Approve),
    (MALLORY, TokenRole::Chat),
    (EVE, TokenRole::View),
    ("victor", TokenRole::Chat),
];

pub struct Lab {
    pub server: Arc<Server>,
    pub base: String,
    pub http: Client,
    pub hooks: Hooks,
    /// Answers that no request should get.
    pub faults: Found,
    tokens: HashMap<String, String>,
}

/// What an attack got away with.
#[derive(Clone, Default)]
pub struct Found(Arc<Mutex<Vec<String>>>);

impl Found {
    pub fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// One attack under way.
pub struct Attack {
    pub lab: Arc<Lab>,
    pub dice: Dice,
    pub found: Found,
    rooms: Arc<Mutex<Vec<String>>>,
}

impl Deref for Attack {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

/// What a request got; the status is 0 when it got nothing.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub body: Value,
}

impl Got {
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Refused for what it is, not because the server is busy.
    pub fn is_refused(&self) -> bool {
        (400..500).contains(&self.status) && self.status != 429
    }
}

impl Lab {
    pub fn new(server: Arc<Server>, hooks: Hooks, owner: String) -> Self {
        let tokens = Tokens::open(&server.folder.join("data")).unwrap();
        let made = NAMED.map(|(name, role)| {
            (name.to_owned(), tokens.create(name, role, None).unwrap().expose().to_owned())
        });
        let mut tokens = HashMap::from(made);
        tokens.insert(OWNER.to_owned(), owner);
        let base = format!("http://{}", server.address);
        let http = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { server, base, http, hooks, faults: Found::default(), tokens }
    }

    pub fn data(&self) -> PathBuf {
        self.server.folder.join("data")
    }

    pub fn token(&self, who: &str) -> &str {
        &self.tokens[who]
    }

    /// Makes a token for one session; gives its secret.
    pub fn new_token(&self, name: &str, role: TokenRole, session: &str) -> String {
        let tokens = Tokens::open(&self.data()).unwrap();
        let only = [session.to_owned()];
        tokens.create(name, role, Some(&only)).unwrap().expose().to_owned()
    }

    pub async fn ask(&self, who: &str, method: Method, path: &str, body: Value) -> Got {
        self.ask_with(self.token(who), method, path, body.to_string()).await
    }

    pub async fn ask_with(&self, token: &str, method: Method, path: &str, body: String) -> Got {
        let call = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(token);
        let call = call.header("content-type", "application/json").body(body);
        let again = call.try_clone().expect("its body is in memory");
        let mut answer = call.send().await;
        if answer.as_ref().is_err_and(|error| !error.is_timeout()) {
            answer = again.send().await; // a connection of before a restart
        }
        let Ok(answer) = answer else { return Got { status: 0, body: Value::Null } };
        let status = answer.status().as_u16();
        if status >= 500 && !matches!(status, 503 | 507) {
            self.faults.add(format!("{path:.60} got {status}"));
        }
        let body = answer.bytes().await.unwrap_or_default();
        Got { status, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    pub async fn post(&self, who: &str, session: &str, rest: &str, body: Value) -> Got {
        self.ask(who, Method::POST, &format!("/v1/sessions/{session}{rest}"), body).await
    }

    /// Writes rows directly into a session's stream.
    pub async fn append(&self, who: &str, session: &str, rows: &Value) -> Got {
        let path = format!("/v1/stream/sessions/{session}");
        self.ask(who, Method::POST, &path, rows.clone()).await
    }

    pub async fn items(&self, session: &str) -> Vec<Value> {
        let (mut items, mut offset) = (Vec::new(), "-1".to_owned());
        loop {
            let url = format!("{}/v1/stream/sessions/{session}?offset={offset}", self.base);
            let call = self.http.get(url).bearer_auth(self.token(OWNER)).send().await;
            let Ok(answer) = call else { return items };
            let header = |name| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
            let (next, end) = (header("stream-next-offset"), header("stream-up-to-date"));
            items.extend(answer.json::<Vec<Value>>().await.unwrap_or_default());
            match next {
                Some(next) if end.is_none() => offset = next,
                _ => return items,
            }
        }
    }

    pub async fn folded(&self, session: &str) -> SessionFold {
        let mut fold = SessionFold::new(session);
        fold.apply(self.items(session).await.iter().map(Value::to_string), &mut ());
        fold
    }

    /// Waits until the session is so; false when it is not in time.
    pub async fn until(&self, session: &str, so: impl Fn(&SessionFold) -> bool) -> bool {
        until(|| async { so(&self.folded(session).await) }).await
    }
}

/// Asks until something is so; false when it is not in time.
pub async fn until<F: Future<Output = bool>>(mut so: impl FnMut() -> F) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if so().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    false
}

/// A `chunk` row as it stands in a stream.
pub fn row(message: &str, seq: u64, actor: &str, role: &str, chunk: &Value) -> Value {
    json!({"type": "chunk", "key": format!("{message}:{seq}"), "headers": {"operation": "insert"},
        "value": {"messageId": message, "actorId": actor, "role": role, "seq": seq,
            "chunk": chunk.to_string(), "createdAt": "2026-01-01T00:00:00.000Z"}})
}

impl Attack {
    pub fn new(lab: &Arc<Lab>, dice: Dice, found: &Found) -> Self {
        Self { lab: Arc::clone(lab), dice, found: found.clone(), rooms: Arc::default() }
    }

    pub fn id(&mut self) -> String {
        Uuid::from_u64_pair(self.dice.next(), self.dice.next()).to_string()
    }

    /// Another attacker of the same attack.
    pub fn split(&mut self) -> Self {
        let (lab, found) = (Arc::clone(&self.lab), self.found.clone());
        Self { lab, dice: Dice(self.dice.next()), found, rooms: Arc::clone(&self.rooms) }
    }

    /// A session with these agents, which react to being mentioned.
    pub async fn room(&mut self, agents: &[(&str, &str)]) -> String {
        let session = self.id();
        let agents: Vec<Value> = agents
            .iter()
            .map(|(id, url)| json!({"id": id, "endpoint": url, "triggers": "mentions"}))
            .collect();
        let path = format!("/v1/sessions/{session}");
        self.ask(OWNER, Method::PUT, &path, json!({"agents": agents})).await;
        self.keep(&session);
        session
    }

    /// The session is deleted when the attack is over.
    pub fn keep(&self, session: &str) {
        self.rooms.lock().unwrap().push(session.to_owned());
    }

    /// Says something, until it is taken; gives the message's id.
    pub async fn say(&mut self, who: &str, session: &str, text: &str) -> String {
        let id = self.id();
        let body = json!({"messageId": id, "content": text});
        let said = until(|| async {
            let got = self.post(who, session, "/messages", body.clone()).await;
            got.is_ok()
        });
        if !said.await {
            self.found.add("a person's message was not taken");
        }
        id
    }

    /// Waits until the agent was asked so many times.
    pub async fn asked(&self, agent: &Hook, times: usize) -> bool {
        until(|| async { agent.asked.lock().unwrap().len() >= times }).await
    }

    /// Every session can be deleted, whatever was done to it.
    pub async fn tidy_up(&self) {
        let rooms = std::mem::take(&mut *self.rooms.lock().unwrap());
        for room in rooms {
            let path = format!("/v1/sessions/{room}");
            let gone = until(|| async {
                let got = self.ask(OWNER, Method::DELETE, &path, Value::Null).await;
                matches!(got.status, 204 | 404)
            });
            if !gone.await {
                self.found.add("a session could not be deleted");
            }
        }
    }

    /// Notes what did not hold.
    pub fn check(&self, held: bool, what: impl FnOnce() -> String) {
        if !held {
            self.found.add(what());
        }
    }
}

/// SplitMix64: good enough to be unfair.
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
