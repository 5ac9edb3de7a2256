//! Who is let in, and what bad requests are told.

use reqwest::Method;
use serde_json::json;
use session_server::{Auth, Secret, ServerConfig, ServerError, start};

use crate::rig::{Rig, answer};

/// Headers of the stream protocol that clients or servers may send.
const PROTOCOL: [&str; 12] = [
    "Producer-Id",
    "Producer-Epoch",
    "Producer-Seq",
    "Producer-Expected-Seq",
    "Producer-Received-Seq",
    "Stream-Seq",
    "Stream-Closed",
    "Stream-TTL",
    "Stream-Expires-At",
    "Stream-Forked-From",
    "Stream-Fork-Offset",
    "Stream-Fork-Sub-Offset",
];

#[tokio::test]
async fn web_pages_cannot_use_a_server_without_a_token() {
    let rig = Rig::with(|config| {
        config.allowed_origins = vec!["http://localhost:5173".to_owned()];
    })
    .await;
    let host = |host: &str| rig.request(Method::GET, "/v1/sessions").header("host", host);
    assert_eq!(answer(host("evil.example")).await.0, 403, "a re-bound name");
    assert_eq!(answer(host("localhost")).await.0, 200);
    let origin = |origin: &str| {
        rig.request(Method::POST, "/v1/sessions/s/messages")
            .header("origin", origin)
            .header("content-type", "text/plain")
            .body(json!({"content": "x"}).to_string())
    };
    for bad in ["http://evil.example", "null", "http://localhost:5174", "https://localhost:5173"] {
        assert_eq!(answer(origin(bad)).await.0, 403, "{bad}");
    }
    assert_eq!(rig.get("/v1/sessions/s").await.0, 404, "nothing was written");
    assert_eq!(answer(origin("http://localhost:5173")).await.0, 200);
    assert_eq!(answer(origin(&rig.base)).await.0, 200, "its own page");
}

#[tokio::test]
async fn listed_origins_get_cors_and_others_do_not() {
    let rig = Rig::with(|config| {
        config.auth = Auth::Token(Secret::new("t0ken"));
        config.allowed_origins = vec!["https://app.example".to_owned()];
    })
    .await;
    let preflight = |origin: &str| {
        rig.request(Method::OPTIONS, "/v1/stream/sessions/s")
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .send()
    };
    let allowed = preflight("https://app.example").await.unwrap();
    assert_eq!(allowed.status(), 204);
    let headers = allowed.headers();
    assert_eq!(headers["access-control-allow-origin"], "https://app.example");
    let listed = |name: &str| -> Vec<String> {
        let text = headers[name].to_str().unwrap().to_ascii_lowercase();
        text.split(',').map(|name| name.trim().to_owned()).collect()
    };
    let (sent, shown) =
        (listed("access-control-allow-headers"), listed("access-control-expose-headers"));
    for name in PROTOCOL {
        assert!(shown.contains(&name.to_ascii_lowercase()), "{name} is not to be read");
        assert!(sent.contains(&name.to_ascii_lowercase()), "{name} is not to be sent");
    }
    for name in ["last-event-id", "if-none-match", "cache-control", "authorization"] {
        assert!(sent.contains(&name.to_owned()), "{name} is not to be sent");
    }
    for name in ["stream-next-offset", "stream-cursor", "stream-up-to-date", "etag", "location"] {
        assert!(shown.contains(&name.to_owned()), "{name} is not to be read");
    }
    assert!(headers.get("access-control-allow-credentials").is_none());
    let other = preflight("https://evil.example").await.unwrap();
    assert_eq!(other.status(), 403);
    assert!(other.headers().get("access-control-allow-origin").is_none());
    // The embedded stream router does not add its own.
    let read = |request: reqwest::RequestBuilder| request.bearer_auth("t0ken").send();
    let stream = || rig.request(Method::GET, "/v1/stream/sessions/s");
    let allowed = read(stream().header("origin", "https://app.example")).await.unwrap();
    assert_eq!(allowed.headers().get_all("access-control-allow-origin").iter().count(), 1);
    let plain = read(stream()).await.unwrap();
    assert!(plain.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[tokio::test]
async fn a_token_is_asked_for_everywhere_but_health() {
    let rig = Rig::with(|config| config.auth = Auth::Token(Secret::new("t0ken"))).await;
    for (method, path) in [
        (Method::GET, "/v1/sessions"),
        (Method::PUT, "/v1/sessions/s"),
        (Method::POST, "/v1/sessions/s/messages"),
        (Method::GET, "/v1/stream/sessions/s"),
        (Method::GET, "/nowhere"),
    ] {
        for token in [None, Some("wrong"), Some("t0ken2"), Some("")] {
            let mut request = rig.request(method.clone(), path);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let (status, body) = answer(request).await;
            assert_eq!(status, 401, "{method} {path} {token:?}");
            assert_eq!(body["code"], "UNAUTHORIZED");
        }
    }
    assert_eq!(rig.get("/health").await.0, 200);
    let right = rig.request(Method::GET, "/v1/sessions").bearer_auth("t0ken");
    assert_eq!(answer(right).await.0, 200);
}

#[tokio::test]
async fn web_pages_cannot_reach_a_loopback_server_with_a_token_either_unless_allowed() {
    let rig = Rig::with(|config| {
        config.auth = Auth::Token(Secret::new("t0ken"));
        config.allowed_hosts = vec!["sessions.example".to_owned()];
        config.allowed_origins = vec!["https://app.example".to_owned()];
    })
    .await;
    let ask = async |rig: &Rig, path: &str, header: &str, value: &str| {
        let request = rig.request(Method::GET, path).bearer_auth("t0ken").header(header, value);
        let (status, body) = answer(request).await;
        (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
    };
    for path in ["/v1/sessions", "/healthz"] {
        let host = ask(&rig, path, "host", "evil.example").await;
        assert_eq!(host, (403, "HOST_REFUSED".to_owned()));
        let origin = ask(&rig, path, "origin", "https://evil.example").await;
        assert_eq!(origin, (403, "ORIGIN_REFUSED".to_owned()));
        assert_eq!(ask(&rig, path, "host", "sessions.example:443").await.0, 200);
        assert_eq!(ask(&rig, path, "origin", "https://app.example").await.0, 200);
    }
    // Elsewhere the token is what keeps others out, and names are the operator's business.
    let mut open = Rig::with(|config| {
        config.auth = Auth::Token(Secret::new("t0ken"));
        config.listen = "0.0.0.0:0".parse().unwrap();
    })
    .await;
    open.base = format!("http://127.0.0.1:{}", open.server.addr.port());
    assert_eq!(ask(&open, "/v1/sessions", "host", "sessions.example").await.0, 200);
    assert_eq!(ask(&open, "/v1/sessions", "origin", "https://evil.example").await.0, 200);
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let rig = Rig::new().await;
    let raw = |path: &str, body: &str| {
        let body = body.to_owned();
        answer(
            rig.request(Method::POST, path).header("content-type", "application/json").body(body),
        )
    };
    for (path, body) in [
        ("/v1/sessions/s/messages", "{"),
        ("/v1/sessions/s/messages", "{}"),
        ("/v1/sessions/s/messages", r#"{"content":5}"#),
        ("/v1/sessions/s/messages", r#"{"content":"x","messageId":"not-a-uuid"}"#),
        ("/v1/sessions/s/messages", r#"{"content":"x","txid":"not-a-uuid"}"#),
        ("/v1/sessions/s/agents", r#"{"agents":[{"id":"a","endpoint":"nope"}]}"#),
        ("/v1/sessions/s/agents", r#"{"agents":[{"id":"","endpoint":"builtin:demo"}]}"#),
        ("/v1/sessions/s/approvals/a", r#"{"approved":"yes"}"#),
        ("/v1/sessions/s/tool-results", r"[]"),
        ("/v1/sessions/s/stop", "{{"),
    ] {
        let (status, body) = raw(path, body).await;
        assert_eq!(status, 400, "{path}");
        for field in ["error", "type", "title", "status", "detail", "code"] {
            assert!(body.get(field).is_some(), "{path}: {body}");
        }
    }
    for session in ["a%2Fb", "%20a", "a%20", "a%E2%80%8Bb", "%E2%80%AEa", "a%EF%BB%BF"] {
        let path = format!("/v1/sessions/{session}/messages");
        let (status, body) = raw(&path, r#"{"content":"x"}"#).await;
        assert_eq!((status.as_u16(), &body["code"]), (400, &json!("INVALID_ID")), "{session}");
    }
    assert_eq!(rig.get("/v1/sessions").await.1["sessions"], json!([]), "nothing was made");
    let large = format!(r#"{{"content":"{}"}}"#, "x".repeat(5 << 20));
    assert_eq!(raw("/v1/sessions/s/messages", &large).await.0, 413);
    assert_eq!(rig.get("/nowhere").await.1["code"], "NOT_FOUND");
    assert_eq!(rig.call(Method::PATCH, "/v1/stream/sessions/s", json!([])).await.0, 405);
    assert_eq!(rig.get("/v1/stream/sessions/s?offset=nonsense").await.0, 400);
}

#[tokio::test]
async fn unsafe_or_impossible_starts_are_refused_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new().await;
    let config = |change: fn(&mut ServerConfig)| {
        let mut config = crate::rig::config(dir.path());
        change(&mut config);
        config
    };
    let open = config(|config| config.listen = "0.0.0.0:0".parse().unwrap());
    assert!(matches!(start(open).await, Err(ServerError::OpenToTheNetwork(_))));
    let any = config(|config| config.allowed_origins = vec!["*".to_owned()]);
    assert!(matches!(start(any).await, Err(ServerError::AnyOriginWithoutToken)));
    let mut taken = config(|_| {});
    taken.listen = rig.server.addr;
    let error = start(taken).await.unwrap_err();
    assert!(error.to_string().contains("already in use"), "{error}");
    let same = crate::rig::config(rig.dir.path());
    assert!(matches!(start(same).await, Err(ServerError::DataDirInUse(_))));
}
