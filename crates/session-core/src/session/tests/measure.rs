//! Costs of a session, in figures: run by hand, in a release build.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{commit, crash, open, take_in};
use crate::search::{self, SearchRequest};

const WORDS: &str = "the of and a to in is you that it he was for on are as with his they at be this \
    have from or one had by word but not what all were we when your can said there use an each which \
    she do how their if will up other about out many then them these so some her would make like him \
    into time has look two more write go see number no way could people my than first water been call \
    who oil its now find long down day did get come made may part naïve — quoted café 🙂 code bold item";

struct Log {
    state: u64,
    words: Vec<&'static str>,
    message: u32,
    items: Vec<Bytes>,
}

impl Log {
    fn new() -> Self {
        Self { state: 7, words: WORDS.split_whitespace().collect(), message: 0, items: vec![] }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.state >> 33) % below
    }

    fn text(&mut self, words: usize) -> String {
        let count = self.words.len() as u64;
        let mut text = String::new();
        for _ in 0..words {
            let word = self.random(count) as usize;
            text.push_str(self.words[word]);
            text.push(' ');
        }
        text
    }

    fn chunk(&mut self, id: &str, actor: &str, role: &str, seq: usize, chunk: &serde_json::Value) {
        let value = json!({"messageId": id, "actorId": actor, "role": role, "seq": seq,
            "chunk": chunk.to_string(), "createdAt": "2026-01-05T09:00:00.000Z"});
        let item = json!({"type": "chunk", "key": format!("{id}:{seq}"), "value": value,
            "headers": {"operation": "insert"}});
        self.items.push(Bytes::from(item.to_string()));
    }

    /// A question and its answer of about `per` chunks.
    fn turn(&mut self, per: usize) {
        self.message += 1;
        let (question, answer) =
            (format!("q-{:032}", self.message), format!("a-{:032}", self.message));
        let said = json!({"type": "whole-message", "message": {"id": question, "role": "user",
            "parts": [{"type": "text", "content": self.text(30)}]}});
        self.chunk(&question, "ana", "user", 0, &said);
        let call = format!("call_{}", self.message);
        for seq in 0..per {
            let chunk = match (seq, per - seq) {
                (0, _) => json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r"}),
                (_, 1) => json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}),
                (20, _) if self.message.is_multiple_of(3) => json!({"type": "TOOL_CALL_START",
                    "toolCallId": call, "toolCallName": "get_weather"}),
                (21, _) if self.message.is_multiple_of(10) => json!({"type": "CUSTOM",
                    "name": "approval-requested", "value": {"toolCallId": call,
                    "toolName": "get_weather", "input": {},
                    "approval": {"id": format!("approval_{call}"), "needsApproval": true}}}),
                (22, _) if self.message.is_multiple_of(10) => json!({"type": "approval-response",
                    "approvalId": format!("approval_{call}"), "approved": true}),
                _ => json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "x",
                    "delta": self.text(3)}),
            };
            self.chunk(&answer, "bot", "assistant", seq, &chunk);
        }
    }
}

/// Processor time of all threads, which a busy machine does not change much.
fn processor() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0) / 1024
}

#[tokio::test]
#[ignore = "figures, not a test: cargo test --release -p session-core --lib -- --ignored --nocapture measure"]
async fn measure() {
    for chunks in [1_000usize, 100_000, 1_000_000] {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let mut session = open(dir.path()).await;
        let mut log = Log::new();
        let mut spent = Duration::ZERO;
        let before = resident();
        let mut done = 0;
        while done < chunks {
            log.items.clear();
            for _ in 0..5 {
                log.turn(199);
            }
            if done + 1000 == chunks {
                let text = json!({"type": "whole-message", "message": {"id": "rare", "role": "user",
                    "parts": [{"type": "text", "content": "xylophone 天気予報"}]}});
                log.chunk("rare", "ana", "user", 0, &text);
            }
            let started = processor();
            let items = log.items.clone();
            take_in(&mut session, &items, 0, items.len());
            session.keeping.edit_head(|head| head.offset = None);
            commit(&mut session).await;
            spent += processor() - started;
            done += 1000;
        }
        eprintln!(
            "{chunks} chunks: in {:?} ({:.1} µs each), resident {} MB (before {before})",
            spent,
            spent.as_secs_f64() * 1e6 / chunks as f64,
            resident(),
        );
        crash(session);
        let sizes =
            rusqlite::Connection::open(dir.path().join("threadkeep.db")).expect("a database");
        for table in ["messages", "segments", "rows", "search_data"] {
            let bytes: i64 = sizes
                .query_row("SELECT sum(pgsize) FROM dbstat WHERE name = ?1", [table], |row| {
                    Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0))
                })
                .unwrap_or(-1);
            eprintln!("  {table}: {:.1} MB", bytes as f64 / 1e6);
        }
        drop(sizes);
        for round in 0..3 {
            let started = processor();
            let mut session = open(dir.path()).await;
            let engine = processor() - started;
            let started = processor();
            let items = super::opened(&mut session);
            let window = processor() - started;
            let started = processor();
            let again = crate::session::state::Session::restore(&session.shared, super::ID);
            let restore = processor() - started;
            drop(again);
            eprintln!(
                "  open {round}: {} items, store {engine:?}, restore {restore:?}, window {window:?}, resident {} MB",
                items.len(),
                resident()
            );
            if round == 2 {
                let words = [
                    "xylophone",
                    "天気",
                    "people",
                    "the",
                    "th",
                    "would like",
                    "eopl",
                    "ylopho",
                    "\"people my\"",
                    "people my water",
                    "a",
                ];
                for query in words {
                    let request = SearchRequest {
                        query: query.to_owned(),
                        session_id: None,
                        offset: 0,
                        limit: 50,
                    };
                    let mut best = Duration::MAX;
                    let mut total = 0;
                    for _ in 0..3 {
                        let started = processor();
                        total = search::run(&session.shared.store, &request).expect("found").total;
                        best = best.min(processor() - started);
                    }
                    eprintln!("  search {query}: {total} in {best:?}");
                }
            }
            crash(session);
        }
    }
}
