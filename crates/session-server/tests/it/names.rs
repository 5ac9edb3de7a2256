//! What people, agents and sessions are called, and what others may call themselves.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use session_server::{Auth, Secret, TokenRole, Tokens};

use crate::rig::{Rig, answer};

struct World {
    rig: Rig,
    tokens: Tokens,
}

impl World {
    /// A server with named tokens; the owner's is `owner`.
    async fn new() -> Self {
        let rig = Rig::with(|config| config.auth = Auth::Named(Some(Secret::new("owner")))).await;
        let tokens = Tokens::open(rig.dir.path()).unwrap();
        Self { rig, tokens }
    }

    fn token(&self, name: &str, role: TokenRole) -> String {
        self.tokens.create(name, role, None).unwrap().expose().to_owned()
    }

    async fn call(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        answer(self.rig.request(method, path).bearer_auth(token).json(&body)).await
    }

    async fn login(&self, token: &str, mut body: Value) -> (u16, Value) {
        body["actorId"] = "whoever".into();
        let (status, body) = self.call(token, Method::POST, "/v1/sessions/s/login", body).await;
        (status.as_u16(), body)
    }

    /// The last row of this type in session `s`.
    async fn last(&self, kind: &str) -> Value {
        let path = "/v1/stream/sessions/s";
        let (status, items) = self.call("owner", Method::GET, path, json!(null)).await;
        assert_eq!(status, 200);
        let items = items.as_array().unwrap();
        items.iter().rfind(|item| item["type"] == kind).unwrap()["value"].clone()
    }
}

#[tokio::test]
async fn who_has_a_token_is_called_by_its_name_whatever_he_claims() {
    let world = World::new().await;
    let ann = world.token("ann", TokenRole::Chat);
    let claim = json!({"deviceId": "d", "name": "The Owner"});
    assert_eq!(world.login(&ann, claim).await.0, 200);
    let row = world.last("presence").await;
    assert_eq!(
        (&row["actorId"], &row["name"], &row["claimedName"]),
        (&json!("ann"), &json!("ann"), &json!("The Owner"))
    );
    let leave = json!({"deviceId": "d", "actorId": "x"});
    world.call(&ann, Method::POST, "/v1/sessions/s/logout", leave).await;
    let row = world.last("presence").await;
    assert_eq!((&row["status"], &row["name"]), (&json!("offline"), &json!("ann")));
    // What is not claimed any more is gone, also where readers merge.
    assert_eq!(world.login(&ann, json!({"deviceId": "d", "name": "ann"})).await.0, 200);
    let row = world.last("presence").await;
    assert_eq!((&row["name"], row.get("claimedName")), (&json!("ann"), Some(&json!(null))));
    assert_eq!(world.login(&ann, json!({"deviceId": "e"})).await.0, 200);
    let row = world.last("presence").await;
    assert_eq!((&row["name"], row.get("claimedName")), (&json!("ann"), None));
    // The owner acts for anybody.
    let body = json!({"deviceId": "d", "name": "Carl"});
    assert_eq!(world.login("owner", body).await.0, 200);
    let row = world.last("presence").await;
    assert_eq!((&row["name"], row.get("claimedName")), (&json!("Carl"), None));
}

#[tokio::test]
async fn a_name_that_is_kept_is_short_and_can_be_seen() {
    let world = World::new().await;
    let ann = world.token("ann", TokenRole::Manage);
    for name in ["x".repeat(257), "x".repeat(3 << 20), "a\u{202e}b".into(), "a\u{3164}".into()] {
        for token in ["owner", &ann] {
            let (status, body) = world.login(token, json!({"deviceId": "d", "name": name})).await;
            assert_eq!((status, &body["code"]), (400, &json!("INVALID_REQUEST")), "{body}");
            assert!(body["details"].as_str().unwrap().contains("256"), "{body}");
            let agents = json!({"agents": [{"id": "a", "name": name, "endpoint": "builtin:demo"}]});
            let (status, body) = world.call(token, Method::PUT, "/v1/sessions/s", agents).await;
            assert_eq!((status.as_u16(), &body["code"]), (400, &json!("INVALID_REQUEST")));
        }
    }
    for device in ["x".repeat(257), "a\nb".into(), String::new()] {
        assert_eq!(world.login(&ann, json!({"deviceId": device})).await.0, 400);
    }
    let kept = json!({"deviceId": "d", "name": "x".repeat(256)});
    assert_eq!(world.login("owner", kept).await.0, 200);
    assert_eq!(world.login("owner", json!({"deviceId": "d", "name": "❤\u{fe0f}"})).await.0, 200);
}

#[tokio::test]
async fn what_is_kept_of_an_agent_is_bounded() {
    let world = World::new().await;
    let agent = |more: Value| {
        let mut agent = json!({"id": "a", "endpoint": "builtin:demo"});
        agent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"agents": [agent]})
    };
    let many: serde_json::Map<String, Value> =
        (0..2000).map(|n| (format!("x-header-{n}"), json!("value"))).collect();
    for (more, expected) in [
        (json!({"bodyTemplate": {"text": "x".repeat(60 << 10)}}), 200),
        (json!({"bodyTemplate": {"text": "x".repeat(64 << 10)}}), 400),
        (json!({"headers": {"x-key": "x".repeat(30 << 10)}}), 200),
        (json!({"headers": {"x-key": "x".repeat(33 << 10)}}), 400),
        (json!({"headers": many}), 400),
        (json!({"endpoint": format!("http://127.0.0.1/{}", "x".repeat(2048))}), 400),
    ] {
        let (status, body) = world.call("owner", Method::PUT, "/v1/sessions/s", agent(more)).await;
        assert_eq!(status, expected, "{body}");
    }
}

#[tokio::test]
async fn nobody_brings_an_agent_under_a_name_that_people_take_for_somebody() {
    let world = World::new().await;
    let ann = world.token("ann", TokenRole::Chat);
    let bob = world.token("bob", TokenRole::View);
    drop(bob); // it was never here, but it is known
    let carl = json!({"actorId": "carl", "deviceId": "d", "name": "Carl Jones"});
    assert_eq!(world.call("owner", Method::POST, "/v1/sessions/s/login", carl).await.0, 200);
    let demo = |id: &str, name: Option<&str>| {
        let mut agent = json!({"id": id, "endpoint": "builtin:demo"});
        if let Some(name) = name {
            agent["name"] = name.into();
        }
        agent
    };
    for agent in [
        demo("bob", None),
        demo("b\u{43e}b", None),
        demo("Bob", None),
        demo("helper", Some("bob")),
        demo("helper", Some("B\u{43e}b")),
        demo("ann", None),
        demo("carl", None),
        demo("c\u{430}rl", None),
        demo("helper", Some("Carl Jones")),
        demo("helper", Some("Carl\u{200d} Jones")),
    ] {
        for (method, path, body) in [
            (Method::PUT, "/v1/sessions/s", json!({"agents": [agent]})),
            (Method::POST, "/v1/sessions/s/messages", json!({"content": "x", "agent": agent})),
            (
                Method::POST,
                "/v1/sessions/s/login",
                json!({"actorId": "ann", "deviceId": "d", "defaultAgents": [agent]}),
            ),
        ] {
            let (status, body) = world.call(&ann, method, path, body).await;
            let found = (status.as_u16(), &body["code"]);
            assert_eq!(found, (409, &json!("ACTOR_EXISTS")), "{path} {agent}");
        }
    }
    // The rest is a guest, and says so; who manages makes it an agent of the session.
    let guest = json!({"agents": [demo("helper", Some("Helper"))]});
    let path = "/v1/sessions/s";
    assert_eq!(world.call(&ann, Method::PUT, path, guest.clone()).await.0, 200);
    assert_eq!(world.last("agent").await["guest"], true);
    let (_, agents) = world.call(&ann, Method::GET, &format!("{path}/agents"), json!(null)).await;
    assert_eq!(agents["agents"][0]["guest"], true);
    assert_eq!(world.call("owner", Method::PUT, path, guest).await.0, 200);
    let (_, agents) = world.call(&ann, Method::GET, &format!("{path}/agents"), json!(null)).await;
    assert_eq!(agents["agents"][0].get("guest"), None);
    // What is there by the owner's will stays, whoever brings it again.
    let known = json!({"agents": [demo("bob", None)]});
    assert_eq!(world.call("owner", Method::PUT, path, known.clone()).await.0, 200);
    assert_eq!(world.call(&ann, Method::PUT, path, known).await.0, 200);
}

#[tokio::test]
async fn a_manager_of_some_sessions_takes_nobodys_name_either() {
    let world = World::new().await;
    world.token("bob", TokenRole::View);
    let only = ["s".to_owned()];
    let some = world.tokens.create("ann", TokenRole::Manage, Some(&only)).unwrap();
    let register = |id: &str| json!({"agents": [{"id": id, "endpoint": "builtin:demo"}]});
    let path = "/v1/sessions/s/agents";
    let (status, body) = world.call(some.expose(), Method::POST, path, register("bob")).await;
    assert_eq!((status.as_u16(), &body["code"]), (409, &json!("ACTOR_EXISTS")));
    let own = world.call(some.expose(), Method::POST, path, register("ann")).await;
    assert_eq!(own.0, 200, "its own agent");
    let all = world.token("root", TokenRole::Manage);
    assert_eq!(world.call(&all, Method::POST, path, register("bob")).await.0, 200);
}

#[tokio::test]
async fn sessions_have_one_spelling_and_old_ones_can_be_read_and_deleted() {
    let world = World::new().await;
    let token = world.token("ann", TokenRole::Manage);
    for bad in ["e%CC%81", "a%C2%ADb", "a%E3%85%A4", "%CC%81a", "a%E2%80%AE"] {
        for (method, path) in [
            (Method::PUT, format!("/v1/sessions/{bad}")),
            (Method::POST, format!("/v1/sessions/{bad}/messages")),
            (Method::POST, format!("/v1/sessions/{bad}/login")),
            (Method::PUT, format!("/v1/stream/sessions/{bad}")),
            (Method::POST, format!("/v1/stream/sessions/{bad}")),
            (Method::PUT, format!("/v1/stream/sessions%2F{bad}")),
            (Method::PUT, format!("/v1/stream/%73essions/{bad}")),
        ] {
            let body = json!({"content": "x", "actorId": "x", "deviceId": "d"});
            let (status, body) = world.call(&token, method.clone(), &path, body).await;
            let found = (status.as_u16(), &body["code"]);
            assert_eq!(found, (400, &json!("INVALID_ID")), "{method} {path}");
            assert!(body["details"].as_str().unwrap().contains("NFC"), "{body}");
        }
        for path in [format!("/v1/sessions/{bad}"), format!("/v1/stream/sessions/{bad}")] {
            assert_eq!(world.call(&token, Method::GET, &path, json!(null)).await.0, 404, "{path}");
        }
    }
    let path = "/v1/sessions/%C3%A9";
    assert_eq!(world.call(&token, Method::PUT, path, json!({})).await.0, 200);
    assert_eq!(world.call(&token, Method::DELETE, path, json!(null)).await.0, 204);
}

#[tokio::test]
async fn a_session_from_when_ids_were_free_is_read_and_deleted_under_its_name() {
    use session_server::StreamsBackend;
    // Another server's streams, where such an id is nothing special.
    let streams = Rig::new().await;
    let rig = Rig::with(|config| {
        let url = format!("{}/v1/stream/old", streams.base).parse().unwrap();
        config.streams = StreamsBackend::Remote(url);
    })
    .await;
    let old = "/v1/stream/old/sessions/e%CC%81";
    let made = streams.request(Method::PUT, old).header("content-type", "application/json");
    assert_eq!(made.send().await.unwrap().status(), 201);
    assert_eq!(rig.get("/v1/sessions/e%CC%81").await.0, 200);
    assert_eq!(rig.get("/v1/stream/sessions/e%CC%81").await.0, 200);
    assert_eq!(rig.call(Method::PUT, "/v1/sessions/e%CC%81", json!({})).await.0, 400);
    assert_eq!(rig.call(Method::DELETE, "/v1/sessions/e%CC%81", json!(null)).await.0, 204);
    assert_eq!(rig.get("/v1/sessions/e%CC%81").await.0, 404);
}
