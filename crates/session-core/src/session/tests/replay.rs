//! A session that comes back from the store after a crash at any point is what one full replay
//! gives (L2, L3), and what a feed gives is what the view has (L4).

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use session_protocol::SessionFold;

use super::{Window, chunk, commit, crash, open, opened, read_from, replay, shown, take_in};
use crate::session::state::Session;
use crate::view::PAGE;

/// An item of a log. Messages are few, so that items meet each other.
#[derive(Debug, Clone)]
enum Event {
    Say {
        message: u16,
    },
    Start {
        message: u16,
    },
    Text {
        message: u16,
        text: String,
    },
    Call {
        message: u16,
        call: u8,
    },
    Ask {
        message: u16,
        call: u8,
    },
    Answer {
        message: u16,
        call: u8,
        approved: bool,
    },
    Result {
        message: u16,
        call: u8,
    },
    Finish {
        message: u16,
    },
    /// The chunk before the last comes again.
    Repeat {
        message: u16,
    },
    /// A chunk comes after one with a greater number.
    Late {
        message: u16,
        text: String,
    },
    Delete {
        message: u16,
    },
    Agent {
        agent: u8,
    },
    Title {
        title: String,
    },
    Nonsense,
}

fn event() -> impl Strategy<Value = Event> {
    let message = 0..5u16;
    let call = 0..3u8;
    let text = "[a-zé ]{1,12}";
    prop_oneof![
        1 => message.clone().prop_map(|message| Event::Say { message: message + 10 }),
        2 => message.clone().prop_map(|message| Event::Start { message }),
        12 => (message.clone(), text).prop_map(|(message, text)| Event::Text { message, text }),
        // So long that its row is not rewritten for every chunk that follows.
        1 => message.clone().prop_map(|message| Event::Text { message, text: "word ".repeat(900) }),
        2 => (message.clone(), call.clone()).prop_map(|(message, call)| Event::Call { message, call }),
        2 => (message.clone(), call.clone()).prop_map(|(message, call)| Event::Ask { message, call }),
        2 => (message.clone(), call.clone(), any::<bool>())
            .prop_map(|(message, call, approved)| Event::Answer { message, call, approved }),
        2 => (message.clone(), call).prop_map(|(message, call)| Event::Result { message, call }),
        2 => message.clone().prop_map(|message| Event::Finish { message }),
        1 => message.clone().prop_map(|message| Event::Repeat { message }),
        1 => (message.clone(), text).prop_map(|(message, text)| Event::Late { message, text }),
        1 => message.prop_map(|message| Event::Delete { message }),
        1 => (0..3u8).prop_map(|agent| Event::Agent { agent }),
        1 => text.prop_map(|title| Event::Title { title }),
        1 => Just(Event::Nonsense),
    ]
}

/// Writes the events as a stream has them.
fn log(events: &[Event]) -> Vec<Bytes> {
    let mut seqs = [0u32; 256];
    let mut items = Vec::new();
    let mut titles = 100u16;
    for event in events {
        let mut next = |message: u16| {
            let seq = seqs[usize::from(message)];
            // Every fourth number is left out, for those that come late.
            seqs[usize::from(message)] = if seq % 4 == 2 { seq + 2 } else { seq + 1 };
            seq
        };
        let bot = |message, seq, value: Value| chunk(message, seq, "bot", "assistant", &value);
        let id = |message: u16, call: u8| format!("call{message}-{call}");
        let item = match event {
            Event::Say { message } => {
                let said = json!({"type": "whole-message", "message": {
                    "id": format!("m{message}"), "role": "user",
                    "parts": [{"type": "text", "content": "a question"}]}});
                chunk(*message, 0, "ana", "user", &said)
            }
            Event::Start { message } => {
                bot(*message, next(*message), json!({"type": "RUN_STARTED", "threadId": "t", "runId": "r"}))
            }
            Event::Text { message, text } => bot(
                *message,
                next(*message),
                json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "x", "delta": text}),
            ),
            Event::Call { message, call } => {
                let id = id(*message, *call);
                items.push(bot(
                    *message,
                    next(*message),
                    json!({"type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": "t"}),
                ));
                bot(
                    *message,
                    next(*message),
                    json!({"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": "{\"a\":1}"}),
                )
            }
            Event::Ask { message, call } => {
                let id = id(*message, *call);
                bot(
                    *message,
                    next(*message),
                    json!({"type": "CUSTOM", "name": "approval-requested", "value": {
                        "toolCallId": id, "toolName": "t", "input": {},
                        "approval": {"id": format!("approval_{id}"), "needsApproval": true}}}),
                )
            }
            Event::Answer { message, call, approved } => {
                let answer = json!({"type": "approval-response",
                    "approvalId": format!("approval_{}", id(*message, *call)), "approved": approved});
                chunk(*message, next(*message), "ana", "user", &answer)
            }
            Event::Result { message, call } => bot(
                *message,
                next(*message),
                json!({"type": "TOOL_CALL_RESULT", "toolCallId": id(*message, *call),
                    "content": "\"done\"", "messageId": "y", "role": "tool"}),
            ),
            Event::Finish { message } => {
                bot(*message, next(*message), json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}))
            }
            Event::Repeat { message } => {
                let prefix = format!("\"key\":\"m{message}:");
                let again = items.iter().rev().map(|item| String::from_utf8_lossy(item).into_owned());
                match again.filter(|item| item.contains(&prefix)).nth(1) {
                    Some(item) => Bytes::from(item),
                    None => continue,
                }
            }
            Event::Late { message, text } => {
                let seq = seqs[usize::from(*message)];
                if seq < 4 {
                    continue;
                }
                bot(
                    *message,
                    seq / 4 * 4 - 1,
                    json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "x", "delta": text}),
                )
            }
            Event::Delete { message } => {
                let seq = seqs[usize::from(*message)].saturating_sub(1);
                Bytes::from(
                    json!({"type": "chunk", "key": format!("m{message}:{seq}"),
                        "headers": {"operation": "delete"}})
                    .to_string(),
                )
            }
            Event::Agent { agent } => Bytes::from(
                json!({"type": "agent", "key": format!("a{agent}"), "headers": {"operation": "upsert"},
                    "value": {"agentId": format!("a{agent}"), "endpoint": "builtin:demo"}})
                .to_string(),
            ),
            Event::Title { title } => {
                titles = titles.wrapping_add(1).max(100);
                chunk(titles, 0, "ana", "user", &json!({"type": "config", "title": title}))
            }
            Event::Nonsense => Bytes::from_static(b"{\"what\": [1, 2"),
        };
        items.push(item);
    }
    items
}

/// Events between two batches.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    Commit,
    /// The process dies, with or without its last commit.
    Crash {
        committed: bool,
    },
    /// A window opens the session.
    Look,
    /// Nobody looks any more.
    LookAway,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        3 => Just(Between::Nothing),
        3 => Just(Between::Commit),
        1 => any::<bool>().prop_map(|committed| Between::Crash { committed }),
        1 => Just(Between::Look),
        1 => Just(Between::LookAway),
    ]
}

fn check(
    session: &mut Session,
    window: Option<&mut Window>,
    truth: &SessionFold,
) -> Result<(), TestCaseError> {
    let opened = opened(session);
    prop_assert_eq!(&opened, &shown(truth), "what opens");
    prop_assert_eq!(
        session.fold.pending_approvals(jiff::Timestamp::UNIX_EPOCH),
        truth.pending_approvals(jiff::Timestamp::UNIX_EPOCH)
    );
    session.complete_fold();
    prop_assert_eq!(
        session.fold.pending_approvals(jiff::Timestamp::UNIX_EPOCH),
        truth.pending_approvals(jiff::Timestamp::UNIX_EPOCH)
    );
    prop_assert_eq!(session.fold.approvals(), truth.approvals());
    prop_assert_eq!(session.fold.agents(), truth.agents());
    prop_assert_eq!(session.fold.title(), truth.title());
    prop_assert_eq!(session.fold.skipped(), truth.skipped());
    if let Some(window) = window {
        window.pull(session);
        let from = window.items.len().saturating_sub(PAGE);
        prop_assert_eq!(&window.items[from..], &opened[..], "the window that followed along");
    }
    Ok(())
}

async fn run(events: &[Event], steps: &[(usize, Between)]) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let log = log(events);
    let mut session = open(dir.path()).await;
    let mut steps = steps.iter().cycle();
    let mut window = None;
    while read_from(&session) < log.len() {
        let (size, between) = *steps.next().unwrap_or(&(1, Between::Nothing));
        let from = read_from(&session);
        let to = (from + size).min(log.len());
        take_in(&mut session, &log, from, to);
        match between {
            Between::Nothing => {}
            Between::Commit => commit(&mut session).await,
            Between::Crash { committed } => {
                if committed {
                    commit(&mut session).await;
                } else if from == 0 {
                    // Or it would begin at the start for ever.
                    continue;
                }
                crash(session);
                window = None;
                session = open(dir.path()).await;
                if !committed {
                    let at = read_from(&session);
                    take_in(&mut session, &log, at, to);
                    commit(&mut session).await;
                }
            }
            Between::Look => {
                let new = Window::new();
                new.show(&mut session, None);
                window = Some(new);
            }
            Between::LookAway => window = None,
        }
        let at = read_from(&session);
        check(&mut session, window.as_mut(), &replay(&log[..at]))?;
    }
    let truth = replay(&log);
    commit(&mut session).await;
    check(&mut session, window.as_mut(), &truth)?;
    // The last batch once more (L3), and all from the disk alone.
    let last = log.len().saturating_sub(3);
    take_in(&mut session, &log, last, log.len());
    check(&mut session, window.as_mut(), &truth_after_repeat(&log, last))?;
    commit(&mut session).await;
    crash(session);
    let mut session = open(dir.path()).await;
    check(&mut session, None, &truth_after_repeat(&log, last))
}

/// A delete that comes again takes away again what was written after it: the log as it was read.
fn truth_after_repeat(log: &[Bytes], last: usize) -> SessionFold {
    let mut fold = replay(log);
    fold.apply(&log[last..], &mut ());
    fold
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_session_is_what_one_full_replay_gives_whatever_dies_in_between(
        events in proptest::collection::vec(event(), 1..60),
        steps in proptest::collection::vec((1..9usize, between()), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        runtime.block_on(run(&events, &steps))?;
    }
}
