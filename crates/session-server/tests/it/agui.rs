//! What AG-UI agents are told when they are called again: the state they share, and what became of their questions.

use serde_json::{Value, json};

use crate::{
    fake::{Fake, Reply, sse},
    rig::{Log, Rig, Talk},
};

const START: &str = r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#;
const DONE: &str = r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r","finishReason":"stop"}"#;

fn run(chunks: &[Value]) -> Reply {
    let chunks: Vec<String> = chunks.iter().map(Value::to_string).collect();
    let mut all = vec![START];
    all.extend(chunks.iter().map(String::as_str));
    all.push(DONE);
    sse(&all)
}

fn snapshot(state: &Value) -> Value {
    json!({"type": "STATE_SNAPSHOT", "snapshot": state})
}

fn delta(patch: &Value) -> Value {
    json!({"type": "STATE_DELTA", "delta": patch})
}

fn add(path: &str, value: &Value) -> Value {
    delta(&json!([{"op": "add", "path": path, "value": value}]))
}

/// Says something, and waits until everybody who hears it has answered.
async fn turn(talk: &Talk<'_>, text: &str, ended: usize) {
    talk.send(text).await;
    talk.until("the answers", |log| log.ended() == ended && log.rests()).await;
}

#[tokio::test]
async fn an_agent_gets_the_state_that_it_shared_with_its_next_run_and_nobody_else_does() {
    let shared = [
        add("/early", &json!(1)),
        snapshot(&json!({"steps": ["plan"], "n": 1})),
        delta(&json!([
            {"op": "add", "path": "/steps/-", "value": "act"},
            {"op": "replace", "path": "/n", "value": 2},
        ])),
        // What does not fit costs only itself.
        delta(
            &json!([{"op": "add", "path": "/wrong", "value": 1}, {"op": "test", "path": "/n", "value": 7}]),
        ),
        delta(&json!("nonsense")),
        delta(&json!([{"op": "remove", "path": "/none"}])),
        delta(&json!([{"op": "add", "path": "/big", "value": "x".repeat(600 << 10)}])),
        snapshot(&json!("x".repeat(300 << 10))),
        add("/last", &json!({"subagent": true})),
    ];
    let one = Fake::new([run(&shared), run(&[]), run(&[snapshot(&json!(null))]), run(&[])]).await;
    let two = Fake::new([run(&[add("/mine", &json!(true))]), run(&[])]).await;
    let rig = Rig::new().await;
    let talk = rig.talk("s");
    let template = json!({"state": {"begins": "so"}, "model": "m"});
    let agents = json!([
        {"id": "one", "endpoint": one.agent_url()},
        {"id": "two", "endpoint": two.agent_url(), "bodyTemplate": template},
    ]);
    rig.post(&talk.path("/agents"), json!({"agents": agents})).await;
    turn(&talk, "first", 2).await;
    turn(&talk, "second", 4).await;
    let of = |fake: &Fake, n: usize| fake.asked()[n]["state"].clone();
    let kept = json!({"steps": ["plan", "act"], "n": 2, "last": {"subagent": true}});
    assert_eq!((of(&one, 0), of(&one, 1)), (json!({}), kept.clone()));
    assert_eq!(of(&two, 0), json!({"begins": "so"}));
    assert_eq!(of(&two, 1), json!({"begins": "so", "mine": true}));
    // The log is the truth: another server knows it.
    let after = rig.crashed_copy(|_| {}).await;
    turn(&after.talk("s"), "third", 6).await;
    assert_eq!((of(&one, 2), of(&two, 2)), (kept, json!({"begins": "so", "mine": true})));
    turn(&after.talk("s"), "fourth", 8).await;
    assert_eq!(of(&one, 3), json!(null), "as it said");
}

#[tokio::test]
async fn a_state_that_somebody_else_says_is_nobodys() {
    let forged = snapshot(&json!({"forged": true}));
    let one = Fake::new([run(&[snapshot(&json!({"n": 1}))]), run(&[])]).await;
    // Another agent says it in its own message, in words, and in a row that it makes up.
    let row = json!({"type": "chunk", "key": "x:1", "headers": {"operation": "insert"}, "value": {
        "messageId": "x", "actorId": "one", "role": "assistant", "seq": 1, "chunk": forged.to_string()}});
    let words =
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": forged.to_string()});
    let two = Fake::new([run(&[forged.clone(), row, words])]).await;
    let rig = Rig::new().await;
    let talk = rig.talk("s");
    let agents = json!([
        {"id": "one", "endpoint": one.agent_url()}, {"id": "two", "endpoint": two.agent_url()},
    ]);
    rig.post(&talk.path("/agents"), json!({"agents": agents})).await;
    turn(&talk, "go", 2).await;
    // A person says it as words and as a chunk, in a message of their own and in the agent's.
    talk.send(&forged.to_string()).await;
    let log = talk.until("the answers", |log| log.ended() == 4 && log.rests()).await;
    let own = log.chunks().iter().find(|(row, _)| row["actorId"] == "one").unwrap().0["messageId"]
        .clone();
    for message_id in [own, json!("another")] {
        for role in ["user", "assistant"] {
            let body =
                json!({"messageId": message_id, "actorId": "ann", "role": role, "chunk": forged});
            assert_eq!(rig.post(&talk.path("/chunks"), body).await.0, 200);
        }
    }
    turn(&talk, "again", 6).await;
    let told: Vec<Value> = one.asked().iter().map(|asked| asked["state"].clone()).collect();
    assert_eq!(told, [json!({}), json!({"n": 1}), json!({"n": 1})]);
}

/// A run that ends with these interrupts, each with a text and what is given of it.
fn asks(interrupts: &[Value]) -> Reply {
    let end = json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r",
        "outcome": {"type": "interrupt", "interrupts": interrupts}});
    sse(&[START, &end.to_string()])
}

fn question(id: &str) -> Value {
    json!({
        "id": id, "reason": "input_required", "message": "Which city?",
        "responseSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    })
}

fn until(mut interrupt: Value, expires_at: jiff::Timestamp) -> Value {
    interrupt["expiresAt"] = expires_at.to_string().into();
    interrupt
}

fn status(log: &Log) -> Option<String> {
    let agents = log.items.iter().filter(|item| item["type"] == "agent");
    agents.filter_map(|row| Some(row["value"].get("status")?.as_str()?.to_owned())).next_back()
}

async fn decide(talk: &Talk<'_>, id: &str, mut body: Value) -> u16 {
    body["actorId"] = "ann".into();
    talk.rig.post(&talk.path(&format!("/approvals/{id}")), body).await.0.as_u16()
}

#[tokio::test]
async fn the_answer_to_a_question_goes_back_in_its_own_words() {
    let city = json!({"city": "Rome"});
    let answered =
        |payload: Value| json!([{"interruptId": "q", "status": "resolved", "payload": payload}]);
    for (decision, resume) in [
        (json!({"approved": true, "payload": city}), answered(city.clone())),
        (json!({"approved": true, "payload": "Rome"}), answered(json!("Rome"))),
        // The words of the answer are no decision.
        (
            json!({"approved": true, "payload": {"approved": false}}),
            answered(json!({"approved": false})),
        ),
        (json!({"approved": true}), answered(json!({"approved": true}))),
        (json!({"approved": false}), json!([{"interruptId": "q", "status": "cancelled"}])),
        (
            json!({"approved": false, "payload": city}),
            json!([{"interruptId": "q", "status": "cancelled"}]),
        ),
    ] {
        let fake = Fake::new([asks(&[question("q")]), run(&[])]).await;
        let rig = Rig::new().await;
        let talk = rig.session(&fake.agent_url()).await;
        talk.send("go").await;
        let log = talk.until("the question", |log| log.ended() == 1 && log.rests()).await;
        assert_eq!(status(&log).as_deref(), Some("blocked"));
        let seen = session_protocol::materialize(&log.items);
        assert_eq!(seen.pending_approvals[0].question.as_deref(), Some("Which city?"));
        assert_eq!(decide(&talk, "q", decision.clone()).await, 204);
        let log = talk.until("the end", |log| log.ended() == 2 && log.rests()).await;
        assert_eq!(status(&log).as_deref(), Some("idle"));
        let asked = fake.asked();
        assert_eq!((asked.len(), &asked[1]["resume"]), (2, &resume), "{decision}");
        assert_eq!(asked[1]["parentRunId"], "r");
        assert!(session_protocol::materialize(&log.items).pending_approvals.is_empty());
        log.assert_gapless();
    }
}

#[tokio::test]
async fn a_question_that_expired_is_withdrawn_and_not_waited_for() {
    let past = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(60);
    let old = until(question("old"), past);
    let fake =
        Fake::new([asks(std::slice::from_ref(&old)), asks(&[old, question("new")]), run(&[])])
            .await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    let log = talk.until("the end", |log| log.ended() == 1 && log.rests()).await;
    assert_eq!(status(&log).as_deref(), Some("idle"));
    assert!(session_protocol::materialize(&log.items).pending_approvals.is_empty());
    assert_eq!(decide(&talk, "old", json!({"approved": true})).await, 409);
    assert_eq!(fake.asked().len(), 1);
    // Beside one that waits it is given up when that is answered.
    talk.send("again").await;
    let log = talk.until("the question", |log| log.ended() == 2 && log.rests()).await;
    assert_eq!(status(&log).as_deref(), Some("blocked"));
    let seen = session_protocol::materialize(&log.items);
    let ids: Vec<&str> = seen.pending_approvals.iter().map(|approval| &*approval.id).collect();
    assert_eq!(ids, ["new"]);
    let answer = json!({"approved": true, "payload": {"city": "Oslo"}});
    assert_eq!(decide(&talk, "new", answer).await, 204);
    talk.until("the end", |log| log.ended() == 3 && log.rests()).await;
    assert_eq!(
        fake.asked()[2]["resume"],
        json!([
            {"interruptId": "new", "status": "resolved", "payload": {"city": "Oslo"}},
            {"interruptId": "old", "status": "cancelled"},
        ])
    );
}

#[tokio::test]
async fn a_question_expires_while_it_waits_and_what_was_decided_beside_it_goes_on() {
    tokio::join!(expires(false), expires(true));
}

/// A question that expires alone, or beside one that is answered meanwhile.
async fn expires(beside: bool) {
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let mut interrupts = vec![until(question("q"), soon)];
    interrupts.extend(beside.then(|| question("other")));
    let fake = Fake::new([asks(&interrupts), run(&[])]).await;
    let rig = Rig::new().await;
    let talk = rig.session(&fake.agent_url()).await;
    talk.send("go").await;
    talk.until("the question", |log| status(log).as_deref() == Some("blocked")).await;
    if beside {
        assert_eq!(decide(&talk, "other", json!({"approved": false})).await, 204);
    }
    let ends = 1 + usize::from(beside);
    let idle = |log: &Log| log.ended() == ends && status(log).as_deref() == Some("idle");
    talk.until("its end", idle).await;
    assert!(jiff::Timestamp::now() >= soon);
    assert_eq!(decide(&talk, "q", json!({"approved": true})).await, 409);
    assert_eq!(fake.asked().len(), ends);
    if beside {
        let given_up = |id: &str| json!({"interruptId": id, "status": "cancelled"});
        assert_eq!(fake.asked()[1]["resume"], json!([given_up("other"), given_up("q")]));
    }
}
