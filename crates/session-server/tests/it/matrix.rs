//! Every route of the OpenAPI document, asked by everybody who should not: a new route cannot be forgotten, because the
//! document is made from the routes.

use reqwest::Method;
use serde_json::{Value, json};
use session_server::{Auth, Secret, TokenRole, Tokens};
use uuid::Uuid;

use crate::rig::{Rig, answer};

/// One operation of the document.
struct Operation {
    method: Method,
    path: String,
    /// `nobody`, `any`, a role, or `owner`.
    needs: String,
    /// Tokens for listed sessions may not use it at all.
    all_sessions: bool,
}

impl Operation {
    /// The path, in a session.
    fn at(&self, session: &str) -> String {
        let mut path = self.path.replace("{session}", session);
        while let (Some(open), Some(close)) = (path.find('{'), path.find('}')) {
            path.replace_range(open..=close, "x");
        }
        path
    }

    fn role(&self) -> Option<TokenRole> {
        self.needs.parse().ok()
    }

    fn in_session(&self) -> bool {
        self.path.contains("{session}")
    }
}

struct World {
    rig: Rig,
    tokens: Tokens,
    operations: Vec<Operation>,
}

async fn world() -> World {
    let rig = Rig::with(|config| config.auth = Auth::Named(Some(Secret::new("owner")))).await;
    let tokens = Tokens::open(rig.dir.path()).unwrap();
    let request = rig.request(Method::GET, "/openapi.json").bearer_auth("owner");
    let (status, document) = answer(request).await;
    assert_eq!(status, 200);
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                needs: operation["x-role"].as_str().unwrap().to_owned(),
                all_sessions: operation["x-all-sessions"].as_bool().unwrap(),
            });
        }
    }
    // The rest of the mount is the protocol's, not ours to describe.
    for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
        let path = "/v1/stream/{path}".to_owned();
        operations.push(Operation { method, path, needs: "manage".to_owned(), all_sessions: true });
    }
    assert!(operations.len() > 30, "{}", operations.len());
    World { rig, tokens, operations }
}

impl World {
    async fn ask(&self, operation: &Operation, session: &str, token: Option<&str>) -> (u16, Value) {
        let mut request = self.rig.request(operation.method.clone(), &operation.at(session));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if operation.method != Method::GET {
            // Wrong as a body of any route, so that nothing happens where it is let through.
            request = request.header("content-type", "application/json").body("[");
        }
        let (status, body) = answer(request).await;
        (status.as_u16(), body)
    }

    fn token(&self, role: TokenRole, sessions: Option<&[String]>) -> String {
        let name = Uuid::new_v4().to_string();
        self.tokens.create(&name, role, sessions).unwrap().expose().to_owned()
    }
}

fn is_problem(body: &Value, status: u16) -> bool {
    let text = |field: &str| body[field].is_string();
    ["error", "type", "title", "detail", "code"].iter().all(|field| text(field))
        && body["status"] == status
}

#[tokio::test]
async fn without_a_valid_token_every_route_but_the_probes_says_401() {
    let world = world().await;
    let revoked = world.token(TokenRole::Manage, None);
    for info in world.tokens.list().unwrap() {
        world.tokens.revoke(&info.name).unwrap();
    }
    for operation in &world.operations {
        for token in [None, Some("wrong"), Some("owner2"), Some("tk_a_b"), Some(revoked.as_str())] {
            let (status, body) = world.ask(operation, "s", token).await;
            let at = format!("{} {} {token:?}: {status} {body}", operation.method, operation.path);
            if operation.needs == "nobody" {
                assert!(status < 400, "{at}");
            } else {
                assert_eq!(status, 401, "{at}");
                assert!(is_problem(&body, 401), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn a_role_that_is_too_low_says_403_and_one_that_is_enough_does_not() {
    let world = world().await;
    for role in TokenRole::ALL {
        let token = world.token(role, None);
        for operation in &world.operations {
            let (status, body) = world.ask(operation, "s", Some(&token)).await;
            let at = format!("{role} {} {}: {status} {body}", operation.method, operation.path);
            assert!(status < 500, "{at}");
            let is_owners = operation.needs == "owner";
            if is_owners || operation.role().is_some_and(|needed| needed > role) {
                let code = if is_owners { "OWNER_NEEDED" } else { "ROLE_TOO_LOW" };
                assert_eq!((status, &body["code"]), (403, &json!(code)), "{at}");
                assert!(is_problem(&body, 403), "{at}");
            } else {
                assert!(status != 401 && status != 403, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_for_another_session_says_403_whether_the_session_exists_or_not() {
    let world = world().await;
    let made = world.rig.request(Method::PUT, "/v1/sessions/hidden").bearer_auth("owner");
    assert_eq!(answer(made).await.0, 200);
    let token = world.token(TokenRole::Manage, Some(&["mine".to_owned()]));
    for operation in &world.operations {
        for session in ["hidden", "absent", "mine%2F..%2Fhidden", "..%2Fmine"] {
            let (status, body) = world.ask(operation, session, Some(&token)).await;
            let at = format!("{} {} {session}: {status} {body}", operation.method, operation.path);
            if operation.in_session() || operation.all_sessions {
                assert_eq!((status, &body["code"]), (403, &json!("SESSION_REFUSED")), "{at}");
            } else if operation.needs == "owner" {
                assert_eq!((status, &body["code"]), (403, &json!("OWNER_NEEDED")), "{at}");
            } else {
                // The body is wrong where one is read.
                assert!(
                    status < 400 || (status == 400 && operation.method == Method::POST),
                    "{at}"
                );
                assert!(!body.to_string().contains("hidden"), "{at}");
            }
        }
        if operation.in_session() {
            let (status, body) = world.ask(operation, "mine", Some(&token)).await;
            assert!(status != 403, "{} {}: {status} {body}", operation.method, operation.path);
        }
    }
}
