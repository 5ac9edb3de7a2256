//! Named tokens: who may do what, and under which name.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use session_server::{Auth, TokenRole, Tokens};

use crate::{
    fake::{Fake, sse},
    rig::{Rig, answer},
};

/// A server with named tokens, and the owner's token `owner`.
async fn rig() -> (Rig, Tokens) {
    let rig = Rig::with(|config| {
        config.auth = Auth::Named(Some(session_server::Secret::new("owner")));
    })
    .await;
    let tokens = Tokens::open(rig.dir.path()).unwrap();
    (rig, tokens)
}

async fn call(
    rig: &Rig,
    token: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    answer(rig.request(method, path).bearer_auth(token).json(&body)).await
}

async fn items(rig: &Rig, session: &str) -> Vec<Value> {
    let path = format!("/v1/stream/sessions/{session}");
    let (status, body) = call(rig, "owner", Method::GET, &path, json!(null)).await;
    assert_eq!(status, 200);
    body.as_array().unwrap().clone()
}

#[tokio::test]
async fn tokens_come_and_go_while_the_server_runs() {
    let (rig, tokens) = rig().await;
    let ann = tokens.create("ann", TokenRole::Chat, None).unwrap();
    let hello = json!({"content": "hello"});
    let say = || call(&rig, ann.expose(), Method::POST, "/v1/sessions/s/messages", hello.clone());
    assert_eq!(say().await.0, 200);
    assert!(tokens.revoke("ann").unwrap());
    let (status, body) = say().await;
    assert_eq!((status.as_u16(), &body["code"]), (401, &json!("UNAUTHORIZED")));
    assert_eq!(items(&rig, "s").await.len(), 1);
}

#[tokio::test]
async fn who_writes_is_the_token_whatever_the_request_says() {
    let (rig, tokens) = rig().await;
    let ann = tokens.create("ann", TokenRole::Manage, None).unwrap();
    let ann = ann.expose();
    let as_bob = |path: &str, body: Value| {
        let request = rig.request(Method::POST, &format!("/v1/sessions/s{path}"));
        answer(request.bearer_auth(ann).header("x-actor-id", "bob").json(&body))
    };
    let chunk = json!({"messageId": "m", "actorId": "bob", "chunk": {"type": "x"}});
    for (path, body) in [
        ("/messages", json!({"content": "hello", "actorId": "bob", "actorType": "agent"})),
        ("/login", json!({"actorId": "bob", "deviceId": "d"})),
        ("/chunks", chunk.clone()),
        ("/chunks/batch", json!({"chunks": [chunk]})),
        ("/logout", json!({"actorId": "bob", "deviceId": "d"})),
    ] {
        let (status, body) = as_bob(path, body).await;
        assert_eq!(status, 200, "{path} {body}");
        assert!(!body.to_string().contains("bob"), "{path} {body}");
    }
    let title = rig.request(Method::PATCH, "/v1/sessions/s").bearer_auth(ann);
    assert_eq!(answer(title.json(&json!({"title": "t", "actorId": "bob"}))).await.0, 200);
    let items = items(&rig, "s").await;
    assert_eq!(items.len(), 7);
    for item in items {
        assert_eq!(item["value"]["actorId"], "ann", "{item}");
    }
    // The owner's token acts under any name.
    let body = json!({"content": "hello", "actorId": "carl"});
    assert_eq!(call(&rig, "owner", Method::POST, "/v1/sessions/t/messages", body).await.0, 200);
    assert_eq!(self::items(&rig, "t").await[0]["value"]["actorId"], "carl");
}

#[tokio::test]
async fn a_token_for_listed_sessions_sees_and_makes_no_other() {
    let (rig, tokens) = rig().await;
    for session in ["mine", "other"] {
        let path = format!("/v1/sessions/{session}");
        assert_eq!(call(&rig, "owner", Method::PUT, &path, json!({})).await.0, 200);
    }
    let new = uuid::Uuid::new_v4().to_string();
    let only = ["mine".to_owned(), new.clone()];
    let token = tokens.create("ann", TokenRole::Manage, Some(&only)).unwrap();
    let token = token.expose();
    let (_, body) = call(&rig, token, Method::GET, "/v1/sessions", json!(null)).await;
    let listed: Vec<_> =
        body["sessions"].as_array().unwrap().iter().map(|row| &row["sessionId"]).collect();
    assert_eq!(listed, ["mine"]);
    for path in ["/v1/sessions/other", "/v1/sessions/none", "/v1/stream/sessions/other"] {
        let (status, body) = call(&rig, token, Method::GET, path, json!(null)).await;
        assert_eq!((status.as_u16(), &body["code"]), (403, &json!("SESSION_REFUSED")), "{path}");
    }
    let path = "/v1/stream/elsewhere";
    assert_eq!(call(&rig, token, Method::PUT, path, json!([])).await.0, 403);
    let steal = rig.request(Method::PUT, &format!("/v1/stream/sessions/{new}"));
    let steal = steal.header("stream-forked-from", "/v1/stream/sessions/other");
    let steal = steal.header("content-type", "application/json").bearer_auth(token);
    assert_eq!(answer(steal).await.0, 403);
    // Copies are sessions too.
    let fork = |body| call(&rig, token, Method::POST, "/v1/sessions/mine/fork", body);
    assert_eq!(fork(json!({})).await.0, 403);
    assert_eq!(fork(json!({"newSessionId": uuid::Uuid::new_v4()})).await.0, 403);
    assert_eq!(fork(json!({"newSessionId": new})).await.0, 201);
}

#[tokio::test]
async fn only_manage_makes_the_server_call_an_address() {
    let (rig, tokens) = rig().await;
    let chat = tokens.create("ann", TokenRole::Chat, None).unwrap();
    let spec = |endpoint: &str| json!({"id": "a", "endpoint": endpoint});
    for (endpoint, expected) in [("http://127.0.0.1:9/", 403), ("builtin:demo", 200)] {
        for (method, path, body) in [
            (Method::PUT, "", json!({"agents": [spec(endpoint)]})),
            (Method::POST, "/messages", json!({"content": "hi", "agent": spec(endpoint)})),
            (
                Method::POST,
                "/login",
                json!({"actorId": "ann", "deviceId": "d", "defaultAgents": [spec(endpoint)]}),
            ),
        ] {
            let path = format!("/v1/sessions/s{path}");
            let (status, body) = call(&rig, chat.expose(), method, &path, body).await;
            assert_eq!(status, expected, "{path} {body}");
        }
    }
}

#[tokio::test]
async fn streams_are_written_directly_by_manage_only_and_the_session_goes_on_from_there() {
    let (rig, tokens) = rig().await;
    let stream = "/v1/stream/sessions/s";
    let row = |seq: u32| {
        json!([{"type": "chunk", "key": format!("m:{seq}"), "headers": {"operation": "insert"}, "value": {
            "messageId": "m", "actorId": "host", "role": "assistant", "seq": seq,
            "chunk": json!({"type": "TEXT_MESSAGE_CONTENT", "delta": "a"}).to_string(),
            "createdAt": "2026-01-01T00:00:00.000Z"}}])
    };
    for role in [TokenRole::View, TokenRole::Chat, TokenRole::Approve] {
        let token = tokens.create(role.as_str(), role, None).unwrap();
        for method in [Method::PUT, Method::POST, Method::DELETE] {
            let (status, body) = call(&rig, token.expose(), method, stream, row(0)).await;
            assert_eq!((status.as_u16(), &body["code"]), (403, &json!("ROLE_TOO_LOW")), "{role}");
        }
    }
    let token = tokens.create("root", TokenRole::Manage, None).unwrap();
    let token = token.expose();
    assert_eq!(call(&rig, token, Method::GET, "/v1/sessions/s", json!(null)).await.0, 404);
    assert_eq!(call(&rig, token, Method::PUT, stream, json!([])).await.0, 201);
    let chunk = json!({"messageId": "m", "actorId": "host", "chunk": {"type": "TEXT_MESSAGE_CONTENT", "delta": "b"}});
    let write = || call(&rig, token, Method::POST, "/v1/sessions/s/chunks", chunk.clone());
    assert_eq!(write().await.0, 200);
    assert_eq!(call(&rig, token, Method::POST, stream, row(1)).await.0, 204);
    assert_eq!(write().await.0, 200);
    let keys: Vec<_> = items(&rig, "s").await.iter().map(|item| item["key"].clone()).collect();
    assert_eq!(keys, ["m:0", "m:1", "m:2"]);
    assert_eq!(call(&rig, token, Method::DELETE, stream, json!(null)).await.0, 204);
    assert_eq!(call(&rig, token, Method::DELETE, stream, json!(null)).await.0, 404);
    let (_, body) = call(&rig, token, Method::GET, "/v1/sessions", json!(null)).await;
    assert_eq!(body["sessions"], json!([]));
    let other = "/v1/stream/notes/of/mine";
    assert_eq!(call(&rig, token, Method::PUT, other, json!([1])).await.0, 201);
    assert_eq!(call(&rig, token, Method::GET, other, json!(null)).await.1, json!([1]));
}

#[tokio::test]
async fn readers_end_with_their_token_and_no_others() {
    let (rig, tokens) = rig().await;
    let ann = tokens.create("ann", TokenRole::Chat, None).unwrap();
    let bob = tokens.create("bob", TokenRole::View, None).unwrap();
    let hello = json!({"content": "hello"});
    let path = "/v1/sessions/s/messages";
    assert_eq!(call(&rig, ann.expose(), Method::POST, path, hello.clone()).await.0, 200);
    let follow = |token: &session_server::Secret, live: &str| {
        let path = format!("/v1/stream/sessions/s?offset=now&live={live}");
        rig.request(Method::GET, &path).bearer_auth(token.expose()).send()
    };
    let mut anns = follow(&ann, "sse").await.unwrap();
    let mut bobs = follow(&bob, "sse").await.unwrap();
    // Both have begun: each is told where the stream is.
    assert!(anns.chunk().await.unwrap().is_some() && bobs.chunk().await.unwrap().is_some());
    let (polled, revoked) =
        tokio::join!(follow(&ann, "long-poll"), async { tokens.revoke("ann").unwrap() });
    assert!(revoked);
    assert_eq!(polled.unwrap().status(), 401, "a poll that waits is answered");
    while anns.chunk().await.unwrap().is_some() {}
    assert_eq!(follow(&ann, "sse").await.unwrap().status(), 401);
    assert_eq!(call(&rig, "owner", Method::POST, path, hello).await.0, 200);
    let mut heard = String::new();
    while !heard.contains("hello") {
        heard += std::str::from_utf8(&bobs.chunk().await.unwrap().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn who_only_chats_cannot_put_an_agent_in_the_place_of_another() {
    let (rig, tokens) = rig().await;
    let fake = Fake::new([sse(&[r#"{"type":"done","finishReason":"stop"}"#])]).await;
    let chat = tokens.create("ann", TokenRole::Chat, None).unwrap();
    let chat = chat.expose();
    let agent = json!({"id": "kermit", "endpoint": fake.agent_url(), "headers": {"x-key": "hush"}});
    let body = json!({"agents": [agent]});
    assert_eq!(call(&rig, "owner", Method::POST, "/v1/sessions/s/agents", body).await.0, 200);
    let guest = json!({"id": "kermit", "endpoint": "builtin:demo"});
    let agents = json!({"agents": [guest]});
    for (method, path, body) in [
        (Method::PUT, "/v1/sessions/s", agents.clone()),
        (Method::POST, "/v1/sessions/s/messages", json!({"content": "x", "agent": guest})),
    ] {
        let (status, body) = call(&rig, chat, method, path, body).await;
        assert_eq!((status.as_u16(), &body["code"]), (409, &json!("AGENT_EXISTS")), "{path}");
    }
    let login = json!({"actorId": "ann", "deviceId": "d", "defaultAgents": [guest]});
    assert_eq!(call(&rig, chat, Method::POST, "/v1/sessions/s/login", login).await.0, 200);
    // A manager's own guest does not replace it either.
    let body = json!({"content": "x", "agent": guest});
    assert_eq!(call(&rig, "owner", Method::POST, "/v1/sessions/s/messages", body).await.0, 200);
    let hello = json!({"content": "hello"});
    assert_eq!(call(&rig, chat, Method::POST, "/v1/sessions/s/messages", hello).await.0, 200);
    let asked = async {
        while fake.asked().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::rig::DEADLINE, asked).await.expect("it is still the webhook");
    assert!(fake.asked_headers().iter().all(|headers| headers["x-key"] == "hush"));
    // Nor does an agent speak as a person who is here.
    let person = json!({"content": "x", "agent": {"id": "ann", "endpoint": "builtin:demo"}});
    let (status, body) = call(&rig, chat, Method::POST, "/v1/sessions/s/messages", person).await;
    assert_eq!((status.as_u16(), &body["code"]), (409, &json!("ACTOR_EXISTS")));
}

#[tokio::test]
async fn a_fork_does_not_take_over_what_somebody_made() {
    let (rig, tokens) = rig().await;
    let chat = tokens.create("ann", TokenRole::Chat, None).unwrap();
    let chat = chat.expose();
    let hello = json!({"content": "hello"});
    assert_eq!(call(&rig, chat, Method::POST, "/v1/sessions/s/messages", hello).await.0, 200);
    let made = uuid::Uuid::new_v4().to_string();
    let agents = json!({"agents": [{"id": "kermit", "endpoint": "builtin:demo"}]});
    let path = format!("/v1/sessions/{made}");
    assert_eq!(call(&rig, "owner", Method::PUT, &path, agents).await.0, 200);
    let fork = json!({"newSessionId": made});
    assert_eq!(call(&rig, chat, Method::POST, "/v1/sessions/s/fork", fork.clone()).await.0, 409);
    let (_, body) = call(&rig, chat, Method::GET, &format!("{path}/agents"), json!(null)).await;
    assert_eq!(body["agents"][0]["id"], "kermit");
    assert_eq!(call(&rig, "owner", Method::POST, "/v1/sessions/s/fork", fork).await.0, 201);
}

#[tokio::test]
async fn a_path_that_is_no_text_is_a_mistake_whoever_asks() {
    let (rig, tokens) = rig().await;
    let low = tokens.create("low", TokenRole::View, None).unwrap();
    let only = ["mine".to_owned()];
    let mine = tokens.create("mine", TokenRole::Manage, Some(&only)).unwrap();
    for token in ["owner", low.expose(), mine.expose()] {
        for path in [
            "/v1/sessions/%ff",
            "/v1/sessions/%zz",
            "/v1/sessions/mine%",
            "/v1/sessions/mine/agents/%C3",
            "/v1/stream/sessions/%ff",
            "/v1/stream/notes/%ff",
        ] {
            let method = if path.contains("agents") { Method::DELETE } else { Method::GET };
            let (status, body) = call(&rig, token, method, path, json!(null)).await;
            assert_eq!((status.as_u16(), &body["code"]), (400, &json!("INVALID_ID")), "{path}");
        }
        assert_eq!(call(&rig, token, Method::GET, "/nowhere/%ff", json!(null)).await.0, 404);
    }
    assert_eq!(call(&rig, "wrong", Method::GET, "/v1/sessions/%ff", json!(null)).await.0, 401);
}

#[tokio::test]
async fn a_token_is_told_what_it_allows() {
    let (rig, tokens) = rig().await;
    let ann = tokens.create("ann", TokenRole::Chat, Some(&["s".to_owned()])).unwrap();
    let me = |token| call(&rig, token, Method::GET, "/v1/me", json!(null));
    assert_eq!(me("owner").await, (StatusCode::OK, json!({"role": "manage"})));
    let told = json!({"name": "ann", "role": "chat", "sessions": ["s"]});
    assert_eq!(me(ann.expose()).await, (StatusCode::OK, told));
    assert_eq!(me("none").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_a_server_tells_its_sessions() {
    let (rig, _) = rig().await;
    for session in ["one", "b c"] {
        let path = format!("/v1/sessions/{}", session.replace(' ', "%20"));
        assert!(call(&rig, "owner", Method::PUT, &path, json!({})).await.0.is_success());
    }
    let copy = rig.copied_files();
    let stored = session_server::stored_sessions(copy.path()).unwrap();
    assert_eq!(stored, ["one", "b c"].map(str::to_owned).into());
    let empty = tempfile::tempdir().unwrap();
    assert!(session_server::stored_sessions(empty.path()).unwrap().is_empty());
}
