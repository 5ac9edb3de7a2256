//! Honest people in the middle of it: they talk all the time, and each message is answered once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use session_protocol::{Role, SessionFold};
use uuid::Uuid;

use super::lab::{Found, Lab, OWNER};

const HANNA: &str = "hanna";
/// An answer takes a quarter of a second by itself.
const ANSWER: Duration = Duration::from_secs(30);
/// A new session now and then, so that none becomes a burden of its own.
const MESSAGES: usize = 30;

#[derive(Default)]
pub struct Honest {
    pub messages: AtomicUsize,
    pub slowest_ms: AtomicUsize,
    stop: AtomicBool,
}

impl Honest {
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub async fn talk(self: Arc<Self>, lab: Arc<Lab>, found: Found) {
        while !self.stop.load(Ordering::SeqCst) {
            let session = Uuid::new_v4().to_string();
            let agents = json!({"agents": [{"id": "demo", "endpoint": "builtin:demo"}]});
            let path = format!("/v1/sessions/{session}");
            if !ask(&lab, OWNER, Method::PUT, &path, &agents).await {
                found.add("an honest session could not be made");
                continue;
            }
            for said in 1..=MESSAGES {
                let body = json!({"messageId": Uuid::new_v4(), "content": "hello there"});
                let asked = Instant::now();
                let taken =
                    ask(&lab, HANNA, Method::POST, &format!("{path}/messages"), &body).await;
                if !taken || !answered(&lab, &session, said, asked + ANSWER).await {
                    found.add(format!("an honest message was not answered (taken: {taken})"));
                    break;
                }
                let took = usize::try_from(asked.elapsed().as_millis()).unwrap();
                self.slowest_ms.fetch_max(took, Ordering::SeqCst);
                self.messages.fetch_add(1, Ordering::SeqCst);
            }
            let fold = lab.folded(&session).await;
            let count = |role| fold.messages().filter(|message| message.role == role).count();
            if count(Role::Assistant) > count(Role::User) {
                found.add("an honest message was answered twice");
            }
            ask(&lab, OWNER, Method::DELETE, &path, &json!({})).await;
        }
    }
}

/// Asks with the same ids until there is an answer that says yes.
async fn ask(lab: &Lab, who: &str, method: Method, path: &str, body: &serde_json::Value) -> bool {
    let deadline = Instant::now() + ANSWER;
    while Instant::now() < deadline {
        if lab.ask(who, method.clone(), path, body.clone()).await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

async fn answered(lab: &Lab, session: &str, said: usize, deadline: Instant) -> bool {
    let answers = |fold: &SessionFold| {
        let agents = fold.messages().filter(|message| message.role == Role::Assistant);
        agents.filter(|message| message.is_complete).count()
    };
    while Instant::now() < deadline {
        if answers(&lab.folded(session).await) >= said {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    false
}
