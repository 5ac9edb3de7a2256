//! What five agents said, replayed: `tests/captures` holds their words, `tests/captures/expected` what a reader sees.
//!
//! `EXPECT=write cargo test -p acp` writes the expectations anew; they are read before they are kept.

use std::{collections::HashMap, fs, path::Path};

use acp::{Ask, End, Turn};
use serde_json::{Value, json};
use session_protocol::{ApprovalStatus, Message, Part, ToolState};

use super::support::{Session, at, calls, turn};

struct Line {
    t: u64,
    dir: String,
    msg: Value,
}

fn capture(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).expect("it is there");
    let lines =
        text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a capture is JSON"));
    lines
        .map(|line| Line {
            t: line["t"].as_u64().unwrap_or_default(),
            dir: line["dir"].as_str().unwrap_or_default().to_owned(),
            msg: line["msg"].clone(),
        })
        .collect()
}

struct Going {
    message: String,
    request: Value,
    turn: Turn,
    asks: HashMap<String, Ask>,
}

/// Plays a capture as the server does: one turn after the other, updates outside of turns left out.
fn play(lines: &[Line]) -> (Session, Vec<String>) {
    let mut session = Session::new();
    let (mut going, mut waiting, mut messages): (Option<Going>, Vec<Value>, Vec<String>) =
        (None, Vec::new(), Vec::new());
    let mut begin =
        |request: &Value, session: &mut Session, going: &mut Option<Going>, now: u64| {
            let message = format!("m{}", messages.len());
            messages.push(message.clone());
            let mut turn = turn(&message);
            turn.elapse(at(now));
            session.take(&message, &mut turn);
            *going = Some(Going { message, request: request.clone(), turn, asks: HashMap::new() });
        };
    for Line { t, dir, msg } in lines {
        let (method, id) = (msg["method"].as_str(), &msg["id"]);
        match (dir.as_str(), method) {
            ("c→a", Some("session/prompt")) if going.is_some() => waiting.push(id.clone()),
            ("c→a", Some("session/prompt")) => begin(id, &mut session, &mut going, *t),
            ("c→a", None) => {
                let Some(Going { message, turn, asks, .. }) = &mut going else { continue };
                if let Some(ask) = asks.remove(&id.to_string()) {
                    let chosen = msg["result"]["outcome"]["optionId"].as_str().unwrap_or_default();
                    let allowed = ask.offers.iter().any(|offer| {
                        offer.id == chosen
                            && matches!(offer.grants, Some(acp::Grants::Once | acp::Grants::Always))
                    });
                    session.answer(message, turn, &ask, allowed);
                }
            }
            ("a→c", Some("session/update")) => {
                let Some(Going { message, turn, .. }) = &mut going else { continue };
                turn.update(&msg["params"]["update"], at(*t));
                session.take(message, turn);
            }
            ("a→c", Some("session/request_permission")) => {
                let Some(Going { message, turn, asks, .. }) = &mut going else { continue };
                let ask = turn.ask(&msg["params"], at(*t));
                session.take(message, turn);
                asks.insert(id.to_string(), ask);
            }
            ("a→c", None) => {
                let Some(mut ended) = going.take_if(|going| going.request == *id) else {
                    waiting.retain(|waits| waits != id);
                    continue;
                };
                let end = if msg.get("error").is_some() {
                    End::Lost
                } else {
                    End::Answered(msg["result"].clone())
                };
                finish(&mut session, &mut ended, &end, *t);
                if !waiting.is_empty() {
                    begin(&waiting.remove(0), &mut session, &mut going, *t);
                }
            }
            _ => {}
        }
    }
    if let Some(mut ended) = going {
        let t = lines.last().map_or(0, |line| line.t);
        finish(&mut session, &mut ended, &End::Lost, t);
    }
    (session, messages)
}

fn finish(session: &mut Session, ended: &mut Going, end: &End, t: u64) {
    let Going { message, turn, asks, .. } = ended;
    for ask in std::mem::take(asks).into_values() {
        session.answer(message, turn, &ask, false);
    }
    turn.end(end, at(t));
    session.take(message, turn);
    if matches!(end, End::Lost) {
        session.write(
            message,
            "assistant",
            &json!({"type": "RUN_ERROR", "message": "lost", "code": "acp_exited"}),
        );
    }
}

/// A message as a few lines.
fn told(message: &Message) -> String {
    let mut lines = vec![format!(
        "{} {:?}{}",
        message.id,
        message.finish_reason,
        message.error.as_ref().map(|error| format!(" {:?}", error.code)).unwrap_or_default()
    )];
    let short = |text: &str| {
        let cut = text.chars().take(160).collect::<String>();
        format!("{cut:?} ({} characters)", text.chars().count())
    };
    for part in &message.parts {
        lines.push(match part {
            Part::Text { text, .. } => format!("  text {}", short(text)),
            Part::Reasoning { text, .. } => format!("  thought {}", short(text)),
            Part::ToolCall(call) => format!(
                "  call {} {} {:?} {:?} input {} output {}{}",
                call.name,
                call.id,
                call.title,
                call.state,
                short(&call.arguments),
                short(
                    &call
                        .output
                        .as_ref()
                        .map(|output| output
                            .as_str()
                            .map_or_else(|| output.to_string(), str::to_owned))
                        .unwrap_or_default()
                ),
                call.approval
                    .as_ref()
                    .map(|approval| format!(" asked: {:?}", approval.approved))
                    .unwrap_or_default(),
            ),
            other => format!("  {other:?}"),
        });
    }
    lines.join("\n")
}

#[test]
fn every_recorded_agent_reads_as_expected_with_every_call_ended_and_nothing_open() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("it is there").flatten().map(|file| file.path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "jsonl"));
    files.sort();
    assert!(files.len() > 30, "{}", files.len());
    let mut wrong = Vec::new();
    for path in &files {
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let lines = capture(path);
        let (session, messages) = play(&lines);
        let mut seen = Vec::new();
        for id in &messages {
            let message = session.message(id);
            assert!(message.is_complete, "{name}: {id} is complete");
            for call in calls(message) {
                let over =
                    matches!(call.state, ToolState::Done | ToolState::Failed | ToolState::Denied);
                assert!(over, "{name}: {} is {:?}", call.id, call.state);
            }
            seen.push(told(message));
        }
        let open = session
            .fold
            .approvals()
            .into_iter()
            .filter(|approval| approval.status == ApprovalStatus::Pending)
            .count();
        assert_eq!(open, 0, "{name}: requests are open");
        // The same words at the same times give the same session.
        let (again, _) = play(&lines);
        assert_eq!((again.bytes, again.events), (session.bytes, session.events), "{name}");
        let seen = format!("{}\n", seen.join("\n"));
        let stream: String = seen.clone();
        let paths =
            ["/home/user", "/project/", "/project\\"].iter().find_map(|path| stream.find(path));
        assert_eq!(
            paths.map(|at| &stream[at.saturating_sub(200)..at + 8]),
            None,
            "{name}: paths of the host"
        );
        let expected = folder.join("expected").join(format!("{name}.txt"));
        if std::env::var("EXPECT").is_ok_and(|how| how == "write") {
            fs::create_dir_all(folder.join("expected")).expect("it is made");
            fs::write(&expected, &seen).expect("it is written");
        }
        if fs::read_to_string(&expected).unwrap_or_default() != seen {
            wrong.push(format!("{name}:\n{seen}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
