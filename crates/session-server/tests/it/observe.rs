//! What operators see: the OpenAPI document, probes and metrics.

use reqwest::Method;
use serde_json::{Value, json};

use crate::rig::Rig;

#[tokio::test]
async fn the_document_names_every_route_with_its_role_and_bodies() {
    let rig = Rig::new().await;
    let (status, document) = rig.get("/openapi.json").await;
    assert_eq!(status, 200);
    let send = &document["paths"]["/v1/sessions/{session}/messages"]["post"];
    assert_eq!((&send["x-role"], &send["x-all-sessions"]), (&json!("chat"), &json!(false)));
    let body = &send["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(body, "#/components/schemas/SendMessage");
    let fields = &document["components"]["schemas"]["SendMessage"]["properties"];
    for field in ["messageId", "content", "role", "actorId", "agent", "txid", "mode"] {
        assert!(fields.get(field).is_some(), "{field}");
    }
    assert_eq!(document["components"]["schemas"]["SendMessage"]["required"], json!(["content"]));
    for method in ["put", "post"] {
        let write = &document["paths"]["/v1/stream/sessions/{session}"][method]["requestBody"];
        let schema = &write["content"]["application/json"]["schema"];
        assert!(schema.get("type").is_none() && schema.get("items").is_none(), "{write}");
    }
    let text = document.to_string();
    for piece in text.split("#/components/schemas/").skip(1) {
        let name = piece.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name} is described");
    }
    let mut ids: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "operation ids are unique");
}

/// The value of a sample.
fn sample(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("{name} in {metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn requests_appends_runs_readers_and_sessions_are_counted() {
    let rig = Rig::new().await;
    let talk = rig.session("builtin:demo").await;
    talk.send("what can you do?").await;
    talk.until("an approval", |log| log.ended() == 1).await;
    rig.get("/nowhere/secret-name").await;
    let follow =
        rig.request(Method::GET, &format!("/v1/stream/sessions/{}?offset=-1&live=sse", talk.id));
    let follow = follow.send().await.unwrap();
    let text = rig.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let sent = r#"threadkeep_requests_total{method="POST",route="/v1/sessions/{session}/messages",status="200"}"#;
    assert_eq!(sample(&text, sent) as u32, 1);
    let lost = r#"threadkeep_requests_total{method="GET",route="none",status="404"}"#;
    assert_eq!(sample(&text, lost) as u32, 1);
    assert!(!text.contains("secret-name") && !text.contains(&talk.id));
    assert!(sample(&text, "threadkeep_events_total") > sample(&text, "threadkeep_appends_total"));
    assert_eq!(sample(&text, r#"threadkeep_runs_total{outcome="finished"}"#) as u32, 1);
    assert_eq!(sample(&text, "threadkeep_sessions ") as u32, 1);
    assert_eq!(sample(&text, "threadkeep_open_sessions ") as u32, 1);
    assert_eq!(sample(&text, "threadkeep_live_readers ") as u32, 1);
    drop(follow);
    let deadline = std::time::Instant::now() + crate::rig::DEADLINE;
    loop {
        let text = rig.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        if sample(&text, "threadkeep_live_readers ") as u32 == 0 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the reader is gone");
    }
}

#[tokio::test]
async fn a_server_whose_streams_are_out_of_reach_lives_but_is_not_ready() {
    let rig = Rig::new().await;
    for path in ["/health", "/healthz", "/health/live", "/health/ready", "/readyz"] {
        let (status, body) = rig.get(path).await;
        assert_eq!(status, 200, "{path}");
        assert!(body["timestamp"].is_string(), "{path}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = Rig::with(|config| {
        let url = format!("http://{closed}/v1/stream").parse().unwrap();
        config.streams = session_server::StreamsBackend::Remote(url);
    })
    .await;
    let (status, body): (_, Value) = rig.get("/readyz").await;
    assert_eq!(status, 503, "{body}");
    assert_eq!(rig.get("/health/ready").await.0, 503);
    assert_eq!(rig.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn probes_that_come_often_write_the_database_once_a_second() {
    let rig = Rig::new().await;
    let database = rusqlite::Connection::open(rig.dir.path().join("server.sqlite")).unwrap();
    let probed = || -> String {
        let last = "SELECT value FROM meta WHERE key = 'probe'";
        database.query_row(last, [], |row| row.get(0)).unwrap()
    };
    let began = std::time::Instant::now();
    let mut probes = std::collections::HashSet::new();
    for path in ["/readyz", "/health/ready"].into_iter().cycle().take(40) {
        let (one, other) = tokio::join!(rig.get(path), rig.get(path));
        assert_eq!((one.0.as_u16(), other.0.as_u16()), (200, 200));
        probes.insert(probed());
    }
    assert!(probes.len() as u64 <= began.elapsed().as_secs() + 1, "{probes:?}");
    // An outcome is not for ever.
    let again = async {
        while probes.contains(&probed()) {
            assert_eq!(rig.get("/readyz").await.0, 200);
        }
    };
    tokio::time::timeout(crate::rig::DEADLINE, again).await.expect("it is probed again");
}
