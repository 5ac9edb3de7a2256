//! One request, one answer: under ids that are asked twice, and wishes that come twice or late.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use session_protocol::SessionFold;

use super::hooks::{Hook, resumed, text, waits};
use super::lab::{ANN, Attack, OWNER, until};

/// An agent that always asks under the same ids: when it is called, and so many times more when it
/// goes on.
fn asks(a: &Attack, call: &str, approval: Option<&str>, again: usize) -> Hook {
    let (call, approval) = (call.to_owned(), approval.map(str::to_owned));
    let went_on = AtomicUsize::new(0);
    a.hooks.says(move |body| match resumed(body) {
        Some(_) if went_on.fetch_add(1, Ordering::SeqCst) % (again + 1) == again => text("thanks"),
        _ => waits(&call, approval.as_deref()),
    })
}

fn complete(fold: &SessionFold, messages: usize) -> bool {
    fold.messages().count() == messages && fold.incomplete().is_empty()
}

/// Two agents ask under one id: an answer has to name one.
pub async fn one_id_for_two(mut a: Attack) {
    let call = format!("call-{}", a.dice.next());
    let approval = (a.dice.below(2) == 0).then(|| format!("approval_{call}"));
    let (first, second) =
        (asks(&a, &call, approval.as_deref(), 0), asks(&a, &call, approval.as_deref(), 0));
    let room = a.room(&[("first", &first.url), ("second", &second.url)]).await;
    a.say(ANN, &room, "@first go").await;
    a.until(&room, |fold| complete(fold, 2)).await;
    a.say(ANN, &room, "@second go").await;
    if !a.until(&room, |fold| complete(fold, 4)).await {
        return a.found.add("two agents did not come to ask");
    }
    let fold = a.folded(&room).await;
    let of = |agent: &str| {
        let mut messages = fold.messages();
        messages.find(|m| m.actor_id.as_deref() == Some(agent)).map(|m| m.id.clone()).unwrap()
    };
    let (of_first, of_second) = (of("first"), of("second"));
    let answer = |named: Option<&str>| {
        let mut body = match &approval {
            Some(_) => json!({"approved": true}),
            None => json!({"toolCallId": call, "output": "real"}),
        };
        if let Some(named) = named {
            body["messageId"] = named.into();
        }
        body
    };
    let path =
        approval.as_ref().map_or("/tool-results".to_owned(), |id| format!("/approvals/{id}"));
    let got = a.post(ANN, &room, &path, answer(None)).await;
    let said = got.body.to_string();
    a.check(got.status == 409 && said.contains(&of_first) && said.contains(&of_second), || {
        format!("an answer that two requests could mean got {}", got.status)
    });
    let got = a.post(ANN, &room, &path, answer(Some(&of_first))).await;
    a.check(got.status == 204, || format!("an answer to a named request got {}", got.status));
    a.check(a.asked(&first, 2).await, || "the named request was not told its answer".to_owned());
    a.until(&room, |fold| fold.incomplete().is_empty()).await;
    a.check(second.asked.lock().unwrap().len() == 1, || {
        "another agent was told an answer that was not for it".to_owned()
    });
    let got = a.post(ANN, &room, &path, answer(None)).await;
    a.check(got.status == 204, || format!("an answer to what is left open got {}", got.status));
    a.check(a.asked(&second, 2).await, || "204, and nothing was done".to_owned());
    a.tidy_up().await;
}

/// The same ids in a later run, in the same message or in another, are a new request.
pub async fn one_id_again(mut a: Attack) {
    let call = format!("call-{}", a.dice.next());
    let approval = (a.dice.below(2) == 0).then(|| format!("approval_{call}"));
    let again = a.dice.below(2);
    let agent = asks(&a, &call, approval.as_deref(), again);
    let room = a.room(&[("agent", &agent.url)]).await;
    let path =
        approval.as_ref().map_or("/tool-results".to_owned(), |id| format!("/approvals/{id}"));
    let mut requests = 0;
    for message in 0..2 {
        a.say(ANN, &room, "@agent go").await;
        for n in 0..=again {
            requests += 1;
            let asked = || async {
                let asked =
                    |item: &&Value| item["value"]["chunk"].to_string().contains("interrupts");
                a.items(&room).await.iter().filter(asked).count() == requests
            };
            let asked = until(asked).await;
            a.until(&room, |fold| fold.incomplete().is_empty()).await;
            let body = match &approval {
                Some(_) => json!({"approved": true}),
                None => json!({"toolCallId": call, "output": format!("output {requests}")}),
            };
            let got = a.post(ANN, &room, &path, body).await;
            let told = a.asked(&agent, message + 1 + requests).await;
            if !(asked && got.status == 204 && told) {
                return a.found.add(format!(
                    "request {n} ({path}) of message {message} under one id was made: {asked}, its answer got {}, \
                     its agent was told: {told}",
                    got.status
                ));
            }
        }
        a.until(&room, |fold| complete(fold, 2 * (message + 1))).await;
    }
    a.tidy_up().await;
}

/// One txid for two things: the second is refused, or done.
pub async fn one_txid_for_two(mut a: Attack) {
    let ids = [a.dice.next(), a.dice.next()].map(|n| format!("call-{n}"));
    let agents = ids.each_ref().map(|id| asks(&a, id, Some(&format!("approval_{id}")), 0));
    let room = a.room(&[("first", &agents[0].url), ("second", &agents[1].url)]).await;
    a.say(ANN, &room, "@first @second go").await;
    a.until(&room, |fold| {
        fold.pending_approvals(jiff::Timestamp::now()).len() == 2 && fold.incomplete().is_empty()
    })
    .await;
    let txid = a.id();
    for (n, (id, agent)) in ids.iter().zip(&agents).enumerate() {
        let body = json!({"approved": n == 0, "txid": txid});
        let got = a.post(ANN, &room, &format!("/approvals/approval_{id}"), body).await;
        a.check(!got.is_ok() || a.asked(agent, 2).await, || {
            format!("answer {n} of one txid got {}, and nothing was done", got.status)
        });
    }
    a.tidy_up().await;
}

/// A message that is sent again behind a clearing or a delete does nothing.
pub async fn late_repeats(mut a: Attack) {
    let agent = a.hooks.says(|_| text("hello"));
    let room = a.room(&[("agent", &agent.url)]).await;
    let body = json!({"messageId": a.id(), "txid": a.id(), "content": "@agent hello"});
    a.post(ANN, &room, "/messages", body.clone()).await;
    a.until(&room, |fold| complete(fold, 2)).await;
    let deleted = a.dice.below(2) == 0;
    if deleted {
        a.ask(OWNER, Method::DELETE, &format!("/v1/sessions/{room}"), Value::Null).await;
    } else {
        a.post(OWNER, &room, "/reset", json!({})).await;
    }
    let got = a.post(ANN, &room, "/messages", body).await;
    let fold = a.folded(&room).await;
    a.check(fold.messages().count() == 0, || {
        format!("a repeated message got {} and came back (deleted: {deleted})", got.status)
    });
    a.check(agent.asked.lock().unwrap().len() == 1, || "the agent was called again".to_owned());
    a.tidy_up().await;
}
