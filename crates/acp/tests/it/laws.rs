//! What holds of a turn whatever an agent says, and when.

use acp::{End, Turn};
use proptest::prelude::*;
use serde_json::{Value, json};
use session_protocol::{ApprovalStatus, Part, ToolState};

use super::support::{Session, answered, at, calls, turn};

fn update(turn: &mut Turn, now: u64, update: &Value) {
    turn.update(update, at(now));
}

#[test]
fn a_command_with_1_3_mb_of_output_costs_at_most_100_kb_and_four_events_a_second() {
    let all: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    let begin = json!({"sessionUpdate": "tool_call", "toolCallId": "c", "title": "seq 1 200000",
        "kind": "execute", "status": "in_progress", "rawInput": {"command": "seq 1 200000"}});
    let whole = |text: &str, status: &str| {
        json!({"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": status,
        "content": [{"type": "content", "content": {"type": "text", "text": text}}]})
    };
    let bit = |text: &str| {
        json!({"sessionUpdate": "tool_call_update", "toolCallId": "c",
        "_meta": {"terminal_output": {"terminal_id": "c", "data": text}}})
    };
    type Said = Vec<(u64, Value)>;
    let pieces = |size: usize| (0..all.len()).step_by(size).map(move |at| (at, (at + size)));
    let cases: [(&str, Said); 4] = [
        ("one line", vec![(5, whole(&all, "completed"))]),
        (
            "all of it again and again",
            (1..=40)
                .map(|n| {
                    (
                        n * 20,
                        whole(
                            &all[..all.len() / 40 * usize::try_from(n).expect("small")],
                            "in_progress",
                        ),
                    )
                })
                .collect(),
        ),
        (
            "a window over its end",
            pieces(40_000)
                .enumerate()
                .map(|(n, (_, to))| {
                    let to = to.min(all.len());
                    (n as u64 * 100, whole(&all[to.saturating_sub(35_000)..to], "in_progress"))
                })
                .collect(),
        ),
        (
            "bit by bit for an hour",
            pieces(2_000)
                .enumerate()
                .map(|(n, (from, to))| (n as u64 * 5_000, bit(&all[from..to.min(all.len())])))
                .collect(),
        ),
    ];
    for (name, said) in cases {
        let (mut session, mut turn) = (Session::new(), turn("m"));
        let mut when = Vec::new();
        let mut told = |session: &mut Session, turn: &mut Turn, now: u64| {
            let before = session.events;
            session.take("m", turn);
            when.extend(std::iter::repeat_n(now, session.events - before));
        };
        update(&mut turn, 0, &begin);
        told(&mut session, &mut turn, 0);
        let begun = session.events;
        let mut last = 0;
        for (now, said) in &said {
            while let Some(due) = turn.due().filter(|due| *due < at(*now)) {
                turn.elapse(due);
                told(&mut session, &mut turn, u64::try_from(due.as_millis()).expect("small"));
            }
            update(&mut turn, *now, said);
            told(&mut session, &mut turn, *now);
            last = *now;
        }
        let going = session.events;
        turn.end(&answered(), at(last + 1));
        told(&mut session, &mut turn, last + 1);
        assert!(session.bytes <= 100_000, "{name}: {} bytes", session.bytes);
        let most = when[begun..going]
            .iter()
            .map(|from| {
                when[begun..going].iter().filter(|at| (*from..*from + 1000).contains(*at)).count()
            })
            .max()
            .unwrap_or_default();
        assert!(most <= 4 || name == "one line", "{name}: {most} events in a second");
        let output = calls(session.message("m"))
            .next()
            .and_then(|call| call.output.clone())
            .expect("it has a result");
        let output = output.as_str().map_or_else(|| output.to_string(), str::to_owned);
        assert!(
            output.contains("199"),
            "{name}: the end is there: {}",
            &output[output.len() - 40..]
        );
    }
}

#[test]
fn ten_thousand_updates_cost_ten_times_a_thousand() {
    let time = |count: u32| {
        let mut turn = turn("m");
        let started = std::time::Instant::now();
        for n in 0..count {
            let said = json!({"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "in_progress",
                "_meta": {"terminal_output": {"data": format!("line {n}\n")}}});
            turn.update(&said, at(u64::from(n)));
            turn.take();
        }
        started.elapsed()
    };
    time(1_000);
    let (few, many) = (time(2_000), time(20_000));
    assert!(many < few * 40, "{few:?} and {many:?}");
}

#[test]
fn a_changed_id_begins_a_paragraph_and_a_repeated_one_goes_on() {
    let (mut session, mut turn) = (Session::new(), turn("m"));
    let say = |text: &str, id: Option<&str>| json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}, "messageId": id});
    for (text, id) in
        [("a", Some("1")), ("b", Some("1")), ("", Some("2")), ("c", Some("2")), ("d", None)]
    {
        update(&mut turn, 0, &say(text, id));
    }
    turn.end(&answered(), at(1));
    session.take("m", &mut turn);
    assert_eq!(session.message("m").plain_text(), "ab\n\ncd");
}

#[test]
fn unknown_updates_are_kept_small_and_counted() {
    let (mut session, mut turn) = (Session::new(), turn("m"));
    for n in 0..10_000 {
        update(
            &mut turn,
            n,
            &json!({"sessionUpdate": "hologram", "n": n, "text": "x".repeat(if n == 0 { 10_000 } else { 10 })}),
        );
    }
    session.take("m", &mut turn);
    assert!(session.bytes < 60_000, "{}", session.bytes);
    assert_eq!(turn.left_out(), 9_900);
}

#[test]
fn a_call_that_asks_twice_or_after_its_end_asks_as_another_one() {
    let (mut session, mut turn) = (Session::new(), turn("m"));
    let ask = json!({"toolCall": {"toolCallId": "c", "title": "rm", "rawInput": {"command": "rm"}},
        "options": [{"optionId": "y", "name": "Yes", "kind": "allow_once"}, {"optionId": "n", "name": "No", "kind": "reject_once"}]});
    let first = turn.ask(&ask, at(0));
    let second = turn.ask(&ask, at(1));
    session.take("m", &mut turn);
    assert_ne!(first.id, second.id);
    assert_eq!(
        session.fold.pending_approvals("2026-03-01T10:00:00Z".parse().expect("a time")).len(),
        2
    );
    session.answer("m", &mut turn, &first, true);
    update(
        &mut turn,
        2,
        &json!({"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "completed"}),
    );
    let third = turn.ask(&ask, at(3));
    session.answer("m", &mut turn, &second, false);
    session.answer("m", &mut turn, &third, false);
    turn.end(&answered(), at(4));
    session.take("m", &mut turn);
    let states: Vec<ToolState> = calls(session.message("m")).map(|call| call.state).collect();
    assert_eq!(states, [ToolState::Done, ToolState::Denied, ToolState::Denied]);
}

/// What an agent may do next.
#[derive(Clone, Debug)]
enum Step {
    Update(Value),
    Ask(Value),
    Answer { nth: usize, allowed: bool },
    Wait,
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,20}",
        Just("/project/src/a.rs".to_owned()),
        Just("\u{1b}[31mred\u{1b}[0m \u{1b}]0;".to_owned()),
        Just("\"\\\n".repeat(50)),
        Just("long ".repeat(3_000)),
        Just(String::new()),
    ]
}

fn block() -> impl Strategy<Value = Value> {
    prop_oneof![
        words().prop_map(|text| json!({"type": "content", "content": {"type": "text", "text": text}})),
        (words(), words()).prop_map(|(old, new)| json!({"type": "diff", "path": "/project/a", "oldText": old, "newText": new})),
        Just(json!({"type": "terminal", "terminalId": "t"})),
        Just(json!({"type": "content", "content": {"type": "image", "mimeType": "image/png", "data": "AAAA"}})),
        Just(json!(7)),
    ]
}

fn call() -> impl Strategy<Value = Value> {
    let status = prop_oneof![
        Just("pending"),
        Just("in_progress"),
        Just("completed"),
        Just("failed"),
        Just("odd")
    ];
    let some = |value: BoxedStrategy<Value>| proptest::option::of(value);
    (
        0..4_u8,
        proptest::option::of(status),
        some(words().prop_map(|text| json!({"command": text})).boxed()),
        some(proptest::collection::vec(block(), 0..3).prop_map(Value::from).boxed()),
        some(words().prop_map(Value::from).boxed()),
        some(words().prop_map(|text| json!({"terminal_output": {"data": text}})).boxed()),
        any::<bool>(),
    )
        .prop_map(|(id, status, input, content, title, meta, first)| {
            let mut update = json!({"toolCallId": format!("c{id}"),
                "sessionUpdate": if first { "tool_call" } else { "tool_call_update" }});
            let fields = [
                ("rawInput", input),
                ("content", content),
                ("title", title),
                ("_meta", meta),
                ("status", status.map(Value::from)),
            ];
            for (name, value) in fields {
                if let Some(value) = value {
                    update[name] = value;
                }
            }
            update
        })
}

fn step() -> impl Strategy<Value = Step> {
    let text = |kind: &'static str| {
        (words(), proptest::option::of("[12]")).prop_map(move |(text, id)| {
            Step::Update(json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}, "messageId": id}))
        })
    };
    let options = json!([{"optionId": "y", "kind": "allow_once", "name": "Yes"}, {"optionId": "a", "kind": "allow_always"},
        {"optionId": "n", "kind": "reject_once"}, {"optionId": 7}, {"kind": "allow_once"}]);
    prop_oneof![
        4 => text("agent_message_chunk"),
        1 => text("agent_thought_chunk"),
        1 => text("user_message_chunk"),
        6 => call().prop_map(Step::Update),
        2 => call().prop_map(move |call| Step::Ask(json!({"toolCall": call, "options": options}))),
        2 => (0..3_usize, any::<bool>()).prop_map(|(nth, allowed)| Step::Answer { nth, allowed }),
        1 => words().prop_map(|text| Step::Update(json!({"sessionUpdate": "plan", "entries": [{"content": text}]}))),
        1 => words().prop_map(|text| Step::Update(json!({"sessionUpdate": "hologram", "text": text}))),
        1 => Just(Step::Update(json!({"sessionUpdate": "plan_update", "plan": {"planId": "p", "content": "# a"}}))),
        1 => Just(Step::Update(json!({"sessionUpdate": ["odd"], "toolCallId": 3}))),
        2 => Just(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any order of updates, cut at any place: every call that was announced ended, no request is open, no text is there
    /// twice, and the session is bounded by what was said.
    #[test]
    fn whatever_is_said_every_call_ends_and_nothing_is_said_twice(
        steps in proptest::collection::vec((step(), 0..400_u64), 0..60),
        how in 0..3_u8,
    ) {
        let (mut session, mut turn) = (Session::new(), turn("m"));
        let (mut now, mut open, mut said, mut text) = (0, Vec::new(), 0, String::new());
        for (step, later) in &steps {
            now += later;
            match step {
                Step::Update(update) => {
                    said += update.to_string().len();
                    if update["sessionUpdate"] == "agent_message_chunk" {
                        text.push_str(update["content"]["text"].as_str().unwrap_or_default());
                    }
                    turn.update(update, at(now));
                }
                Step::Ask(params) => {
                    said += params.to_string().len();
                    let ask = turn.ask(params, at(now));
                    prop_assert_eq!(ask.offers.len(), 3);
                    open.push(ask);
                }
                Step::Answer { nth, allowed } if !open.is_empty() => {
                    let ask = open.remove(nth % open.len());
                    session.answer("m", &mut turn, &ask, *allowed);
                }
                Step::Answer { .. } => {}
                Step::Wait => turn.elapse(at(now)),
            }
            session.take("m", &mut turn);
        }
        for ask in open {
            session.answer("m", &mut turn, &ask, false);
        }
        let end = match how { 0 => answered(), 1 => End::Lost, _ => End::Answered(json!({"stopReason": "cancelled"})) };
        turn.end(&end, at(now));
        turn.update(&json!({"sessionUpdate": "agent_message_chunk", "content": {"text": "late"}}), at(now));
        session.take("m", &mut turn);
        let message = session.message("m");
        for call in calls(message) {
            let over = matches!(call.state, ToolState::Done | ToolState::Failed | ToolState::Denied);
            prop_assert!(over, "{} is {:?}", call.id, call.state);
        }
        let pending = session.fold.approvals().into_iter().filter(|approval| approval.status == ApprovalStatus::Pending);
        prop_assert_eq!(pending.count(), 0);
        let there: String = message.parts.iter().filter_map(|part| match part {
            Part::Text { text, .. } => Some(text.as_str()),
            _ => None,
        }).collect();
        prop_assert_eq!(there.replace("\n\n", "").replace('\n', ""), text.replace("\n\n", "").replace('\n', ""));
        prop_assert!(session.bytes <= 2_000 + 8 * said + 800 * session.events, "{} of {said}", session.bytes);
        prop_assert!(session.events <= 4 + 14 * (steps.len() + 1), "{} events", session.events);
    }
}
