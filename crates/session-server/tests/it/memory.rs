//! Our own tool server, as an agent elsewhere uses it: by a client of tool servers, with a token.

use mcp::{Block, CallEvent, Client, Era, Outcome, Target};
use reqwest::Method;
use rpc_process::Pids;
use serde_json::{Value, json};
use session_server::{Auth, Secret, TokenRole, Tokens};

use crate::rig::{DEADLINE, Rig, answer};

struct World {
    rig: Rig,
    tokens: Tokens,
}

async fn world() -> World {
    let rig = Rig::with(|config| config.auth = Auth::Named(Some(Secret::new("owner")))).await;
    let tokens = Tokens::open(rig.dir.path()).unwrap();
    let world = World { rig, tokens };
    for (session, words) in
        [("tea", "We drink Darjeeling."), ("secret", "Nobody knows Darjeeling.")]
    {
        let body = json!({"content": words, "actorId": "ann"});
        world.owner(Method::PUT, &format!("/v1/sessions/{session}"), json!({})).await;
        world.owner(Method::POST, &format!("/v1/sessions/{session}/messages"), body).await;
    }
    world
}

impl World {
    async fn owner(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.rig.request(method, path).bearer_auth("owner").json(&body);
        let (status, body) = answer(request).await;
        assert!(status.is_success(), "{path} {status} {body}");
        body
    }

    async fn client(&self, role: TokenRole) -> Client {
        let only = ["tea".to_owned()];
        let name = format!("agent-{role}");
        let token = self.tokens.create(&name, role, Some(&only)).unwrap();
        let bearer = format!("Bearer {}", token.expose()).parse().unwrap();
        let headers = [(reqwest::header::AUTHORIZATION, bearer)].into_iter().collect();
        let url = format!("{}/mcp", self.rig.base).parse().unwrap();
        let pids = Pids::new(self.rig.dir.path().join("none"));
        let target = Target::Address { url, headers };
        let http = reqwest::Client::new();
        Client::connect(&target, &pids, &http, None).await.unwrap()
    }
}

async fn call(client: &Client, tool: &str, input: Value) -> (String, bool) {
    let mut call = client.call(tool, &input, None, None).unwrap();
    let over = async {
        loop {
            if let CallEvent::Done(over) = call.next().await {
                return over;
            }
        }
    };
    let over = tokio::time::timeout(DEADLINE, over).await.expect("in time");
    let Ok(Outcome::Done(result)) = over else { panic!("{over:?}") };
    let Some(Block::Text(text)) = result.blocks.first() else { panic!("words") };
    (text.clone(), result.is_error)
}

#[tokio::test]
async fn an_agent_lists_reads_and_searches_what_its_token_may_and_nothing_else() {
    let world = world().await;
    let client = world.client(TokenRole::View).await;
    assert_eq!(client.era(), Era::Legacy);
    assert_eq!(client.tools().await.unwrap().len(), 4);
    let (listed, _) = call(&client, "list_sessions", json!({})).await;
    assert!(listed.contains("tea") && !listed.contains("secret"), "{listed}");
    let (read, _) = call(&client, "read_session", json!({"session": "tea"})).await;
    assert_eq!(read, "ann: We drink Darjeeling.");
    let (found, _) = call(&client, "search", json!({"words": "darjeeling"})).await;
    assert!(found.contains("We drink") && !found.contains("Nobody"), "{found}");
    let (none, _) = call(&client, "search", json!({"words": "darjeeling coffee"})).await;
    assert_eq!(none, "Nothing was found.");
    for (tool, input) in [
        ("read_session", json!({"session": "secret"})),
        ("read_session", json!({"session": "no such"})),
        ("search", json!({"words": "x", "session": "secret"})),
        ("search", json!({})),
        ("ask_person", json!({"session": "tea", "question": "May I?"})),
    ] {
        let (why, failed) = call(&client, tool, input.clone()).await;
        assert!(failed && !why.contains("Nobody"), "{tool} {input} {why}");
    }
}

#[tokio::test]
async fn a_question_of_an_agent_waits_in_the_session_until_a_person_answers() {
    let world = world().await;
    let client = world.client(TokenRole::Manage).await;
    let asking =
        call(&client, "ask_person", json!({"session": "tea", "question": "Milk or lemon?"}));
    let answering = async {
        let asked = async {
            loop {
                let stream = world.owner(Method::GET, "/v1/stream/sessions/tea", json!({})).await;
                let items = stream.as_array().unwrap().clone();
                let seen = session_protocol::materialize(&items);
                if let Some(asked) = seen.pending_approvals.first() {
                    assert_eq!(asked.question.as_deref(), Some("Milk or lemon?"));
                    return asked.id.clone();
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let id = tokio::time::timeout(DEADLINE, asked).await.expect("it asks");
        let body = json!({"approved": true, "payload": "Lemon", "actorId": "bob"});
        world.owner(Method::POST, &format!("/v1/sessions/tea/approvals/{id}"), body).await;
    };
    let ((told, failed), ()) = tokio::join!(asking, answering);
    assert_eq!((told.as_str(), failed), ("bob answered: Lemon", false));
}
