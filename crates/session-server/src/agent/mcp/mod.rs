//! Tools of tool servers (MCP), for the model agent.
//!
//! ```text
//!   run ─▶ offers: servers that are on ─▶ tools ─▶ rules
//!       ─▶ call: noted ─▶ connection (one per session and server) ─▶ result
//!                                      └─▶ questions: the run ends, and the next one answers them
//! ```
//!
//! - A session has a connection of its own to each server: what a server remembers of one session is not for another,
//!   and a question over stdio is about the one call that waits.
//! - A call is noted in the database before it is made (`table`). One that is noted and has no result in the log may
//!   have happened: it is said so, and made again only where the server is trusted and says that twice is the same as
//!   once.
//! - What a tool asks people is a question of the run, answered like every other. A server with a handshake waits for
//!   it in its open call, which is kept here; one without gives a state that is kept in the database.
//! - What a server says is hostile input: results are cut (`result`), and only names, words and results enter a stream.

mod connections;
mod result;
mod rules;
mod table;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use mcp::{Call, CallEvent, Elicitation, Error, Outcome, Tool};
use serde_json::{Map, Value, json};
use session_protocol::QuestionPart;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use self::{connections::Connections, table::Wants};
pub(crate) use self::{
    connections::Tested,
    result::Told,
    rules::digest,
    table::{Decision, StoredRule, Table},
};
use super::agui::{Question, Writer};
use crate::{
    config::{ToolServer, ToolServers},
    error::ServerError,
    run::Stopped,
    store::Store,
};

/// Time that a run waits for the tools of servers that are being started.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two words about how far a call is.
const PROGRESS: Duration = Duration::from_millis(500);
/// Letters of a tool's name that a model may be given.
const NAME: usize = 64;
/// Calls that wait for people, in all sessions.
const PARKED: usize = 256;
/// Times that a call is made again at its server's wish, without a question.
const AGAIN: usize = 5;

/// A tool that a session has.
#[derive(Clone)]
pub(crate) struct Offer {
    pub(crate) server: Arc<ToolServer>,
    pub(crate) tool: Arc<Tool>,
    pub(crate) digest: String,
    pub(crate) decision: Decision,
}

/// A server as a session sees it.
pub(crate) struct Seen {
    pub(crate) server: Arc<ToolServer>,
    pub(crate) is_on: bool,
    /// The server's tools, or why there are none; `None` while it is off or being started.
    pub(crate) tools: Option<Result<Vec<Offer>, String>>,
}

/// The tools that a run has, by the names that the model is given.
#[derive(Default)]
pub(crate) struct Offers(HashMap<String, Offer>);

impl Offers {
    pub(crate) fn get(&self, name: &str) -> Option<&Offer> {
        self.0.get(name)
    }

    /// The tools as chat completions want them described, behind those in `all`.
    pub(crate) fn describe(&self, all: &mut Vec<Value>) {
        let mut offers: Vec<_> = self.0.iter().collect();
        offers.sort_unstable_by_key(|(name, _)| *name);
        all.extend(offers.into_iter().map(|(name, offer)| {
            json!({"type": "function", "function": {
                "name": name, "description": offer.tool.description, "parameters": offer.tool.input_schema,
            }})
        }));
    }
}

/// The outcome of a call.
pub(crate) enum Ran {
    Told(Told),
    /// Questions to people, for which the call waits.
    Asks(Vec<Question>),
}

/// A call whose server waits for an answer in it.
struct Parked {
    call: Call,
    rpc: Value,
    question: String,
    since: Instant,
}

/// A call of a tool, and where it is made.
pub(crate) struct Calling<'a> {
    pub(crate) session_id: &'a str,
    pub(crate) call_id: &'a str,
    pub(crate) offer: &'a Offer,
    pub(crate) input: &'a Value,
}

/// The tool servers.
pub(crate) struct Mcp {
    settings: Arc<dyn ToolServers>,
    connections: Arc<Connections>,
    table: Table,
    parked: Mutex<HashMap<(String, String), Parked>>,
    results: PathBuf,
}

impl Mcp {
    /// Ends what an earlier server left running.
    pub(crate) fn new(
        settings: Arc<dyn ToolServers>,
        data_dir: &Path,
        store: &Store,
    ) -> Result<Self, ServerError> {
        let folder = data_dir.join("mcp");
        Ok(Self {
            settings,
            connections: Arc::new(Connections::new(folder.join("running"))?),
            table: Table::of(store),
            parked: Mutex::default(),
            results: folder.join("results"),
        })
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// The servers, of two with one name the first.
    pub(crate) async fn servers(&self) -> Vec<Arc<ToolServer>> {
        let mut servers: Vec<Arc<ToolServer>> = Vec::new();
        for server in self.settings.load().await {
            if !servers.iter().any(|known| known.name == server.name) {
                servers.push(Arc::new(server));
            }
        }
        servers
    }

    /// The servers as a session sees them. Those that are on are started.
    pub(crate) async fn seen(&self, session_id: &str) -> Vec<Seen> {
        let servers = self.servers().await;
        if servers.is_empty() {
            return Vec::new();
        }
        let switched = self.table.switched(session_id).await.unwrap_or_default();
        let rules = self.table.rules_of(session_id).await;
        let seen = servers.into_iter().map(|server| {
            let is_on = switched.get(&server.name).copied().unwrap_or(server.is_on);
            let (connections, session) = (Arc::clone(&self.connections), session_id.to_owned());
            let rules = rules.as_deref().ok();
            async move {
                if !is_on {
                    return Seen { server, is_on, tools: None };
                }
                // A start goes on although the run does not wait for it.
                let starting = {
                    let server = Arc::clone(&server);
                    tokio::spawn(async move { connections.tools(&session, &server).await })
                };
                let tools = match timeout(PATIENCE, starting).await {
                    Ok(Ok(tools)) => Some(tools),
                    Ok(Err(_)) | Err(_) => None,
                };
                let tools = tools.map(|tools| {
                    let offer = |tool: &Arc<Tool>| {
                        let digest = digest(tool);
                        // A database that cannot be read allows nothing.
                        let decision = rules.map_or(Decision::Ask, |rules| {
                            rules::decide(rules, &server, tool, &digest)
                        });
                        Offer {
                            server: Arc::clone(&server),
                            tool: Arc::clone(tool),
                            digest,
                            decision,
                        }
                    };
                    tools.map(|tools| tools.iter().map(offer).collect())
                });
                Seen { server, is_on, tools }
            }
        });
        join_all(seen).await
    }

    /// The tools that a run in this session has. Those that are never to be called are not among them.
    pub(crate) async fn offers(&self, session_id: &str) -> Offers {
        let mut offers = HashMap::new();
        for seen in self.seen(session_id).await {
            for offer in seen.tools.and_then(Result::ok).unwrap_or_default() {
                if offer.decision != Decision::Never {
                    offers.insert(model_name(&seen.server.name, &offer.tool.name), offer);
                }
            }
        }
        Offers(offers)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Parked>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a tool, once.
    ///
    /// # Cancel safety
    ///
    /// A call that goes on is cancelled at its server; that it was begun is noted.
    pub(crate) async fn call(
        &self,
        calling: &Calling<'_>,
        writer: &mut Writer,
    ) -> Result<Ran, Stopped> {
        let Offer { server, tool, .. } = calling.offer;
        let noted =
            self.table.begin(calling.session_id, calling.call_id, &server.name, &tool.name).await;
        if noted.is_err() {
            return Ok(Ran::Told(Told::failed(
                "the server's database failed, and nothing was called; try again",
            )));
        }
        self.make(calling, None, None, writer).await
    }

    /// Goes on with a call that was begun before: with what people answered where it asked them something; else it may
    /// have happened, and is made again only where that does no harm. `None` when it was never begun.
    pub(crate) async fn resume(
        &self,
        calling: &Calling<'_>,
        answers: &HashMap<&str, &QuestionPart>,
        writer: &mut Writer,
    ) -> Result<Option<Ran>, Stopped> {
        let answer = |question: &str| answered(answers.get(question).copied());
        let key = (calling.session_id.to_owned(), calling.call_id.to_owned());
        let parked = self.lock().remove(&key);
        if let Some(Parked { call, rpc, question, .. }) = parked {
            call.answer(rpc, answer(&question));
            let driven = self.drive(calling, call, writer).await?;
            return Ok(Some(self.finish(calling, driven).await));
        }
        let unknown = Ok(Some(Ran::Told(Told::failed(UNKNOWN))));
        let wants = match self.table.begun(calling.session_id, calling.call_id).await {
            Err(_) => return unknown,
            Ok(None) => return Ok(None),
            Ok(Some(wants)) => wants,
        };
        let Some(wants) = wants else {
            if is_repeatable(calling.offer) {
                return self.make(calling, None, None, writer).await.map(Some);
            }
            return unknown;
        };
        let responses = wants.asks.iter().map(|(id, name)| (name.clone(), answer(id)));
        let responses: Map<String, Value> = responses.collect();
        // From here on it may have happened.
        if self.table.wants(calling.session_id, calling.call_id, None).await.is_err() {
            return unknown;
        }
        self.make(calling, wants.state, Some(responses), writer).await.map(Some)
    }

    /// Gives up calls of a session that wait for people where nobody is asked any more.
    pub(crate) fn give_up(&self, session_id: &str, is_decided: impl Fn(&str) -> bool) {
        self.lock()
            .retain(|(session, _), parked| session != session_id || !is_decided(&parked.question));
    }

    async fn make(
        &self,
        calling: &Calling<'_>,
        mut state: Option<String>,
        mut responses: Option<Map<String, Value>>,
        writer: &mut Writer,
    ) -> Result<Ran, Stopped> {
        let Offer { server, tool, .. } = calling.offer;
        let (mut again, mut failed) = (0, false);
        loop {
            let client = match self.connections.connect(calling.session_id, server).await {
                Ok(client) => client,
                Err(error) => return Ok(Ran::Told(Told::failed(&error))),
            };
            let call = client.call(&tool.name, calling.input, state.as_deref(), responses.clone());
            let driven = match call {
                Ok(call) => self.drive(calling, call, writer).await?,
                Err(error) => Driven::Over(Err(error)),
            };
            match driven {
                Driven::Over(Ok(Outcome::NeedsInput { asks, state: next }))
                    if asks.is_empty() && again < AGAIN =>
                {
                    (state, responses) = (next, None);
                    again += 1;
                }
                // Nothing was done, or it may be done twice.
                Driven::Over(Err(error))
                    if !failed
                        && (matches!(error, Error::Lost)
                            || error.is_unknown() && is_repeatable(calling.offer)) =>
                {
                    failed = true;
                }
                driven => return Ok(self.finish(calling, driven).await),
            }
        }
    }

    /// Hears a call until its end, or until it asks somebody something.
    async fn drive(
        &self,
        calling: &Calling<'_>,
        mut call: Call,
        writer: &mut Writer,
    ) -> Result<Driven, Stopped> {
        let mut told_at: Option<Instant> = None;
        loop {
            match call.next().await {
                CallEvent::Progress { progress, total, message } => {
                    if told_at.is_none_or(|at| at.elapsed() >= PROGRESS) {
                        told_at = Some(Instant::now());
                        let said = json!({"done": progress, "total": total, "message": message});
                        writer.progress(calling.call_id, &said).await?;
                    }
                }
                CallEvent::Asks { id: rpc, ask } => {
                    let question = question(calling.call_id, &ask);
                    let key = (calling.session_id.to_owned(), calling.call_id.to_owned());
                    let id = question.id.clone();
                    let parked = Parked { call, rpc, question: id, since: Instant::now() };
                    let mut all = self.lock();
                    if all.len() >= PARKED {
                        let oldest = all.iter().min_by_key(|(_, parked)| parked.since);
                        let oldest = oldest.map(|(key, _)| key.clone());
                        oldest.and_then(|key| all.remove(&key));
                    }
                    all.insert(key, parked);
                    return Ok(Driven::Parked(question));
                }
                CallEvent::Done(over) => return Ok(Driven::Over(over)),
            }
        }
    }

    async fn finish(&self, calling: &Calling<'_>, driven: Driven) -> Ran {
        match driven {
            Driven::Parked(question) => Ran::Asks(vec![question]),
            Driven::Over(Ok(Outcome::Done(result))) => {
                let folder =
                    self.results.join(&blake3::hash(calling.session_id.as_bytes()).to_hex()[..16]);
                Ran::Told(Told::of(result, folder, calling.call_id).await)
            }
            Driven::Over(Ok(Outcome::NeedsInput { asks, state })) => {
                if asks.is_empty() {
                    return Ran::Told(Told::failed("the tool wanted to be called again and again"));
                }
                let asks: Vec<(Question, String)> = asks
                    .into_iter()
                    .map(|(name, ask)| (question(calling.call_id, &ask), name))
                    .collect();
                let names = asks.iter().map(|(question, name)| (question.id.clone(), name.clone()));
                let wants = Wants { state, asks: names.collect() };
                let kept = self.table.wants(calling.session_id, calling.call_id, Some(wants)).await;
                match kept {
                    Ok(()) => Ran::Asks(asks.into_iter().map(|(question, _)| question).collect()),
                    Err(_) => Ran::Told(Told::failed("the server's database failed; try again")),
                }
            }
            Driven::Over(Err(error)) if error.is_unknown() => {
                Ran::Told(Told::failed(&format!("{error} {UNKNOWN}")))
            }
            Driven::Over(Err(error)) => Ran::Told(Told::failed(&error.to_string())),
        }
    }

    /// Connects to a server as it stands, and lists its tools.
    pub(crate) async fn test(&self, server: &ToolServer) -> Result<Tested, mcp::Unconnected> {
        self.connections.test(server).await
    }

    /// Ends every connection.
    pub(crate) async fn close(&self) {
        self.lock().clear();
        self.connections.close().await;
    }
}

enum Driven {
    Over(Result<Outcome, Error>),
    /// A call that waits for an answer and is kept.
    Parked(Question),
}

/// The words about a call of which nobody knows what became.
pub(crate) const UNKNOWN: &str =
    "Nobody knows whether the call was carried out: it may have happened. It was not made again.";

/// Whether a call may be made again although it may have happened.
fn is_repeatable(offer: &Offer) -> bool {
    let traits = offer.tool.traits;
    offer.server.is_trusted && (traits.idempotent || traits.read_only)
}

/// A question as the run asks it.
fn question(call_id: &str, ask: &Elicitation) -> Question {
    let mut message = ask.message.clone();
    if let Some(url) = &ask.url {
        message.push_str("\n\nThe tool asks you to open this page: ");
        message.push_str(url);
    }
    let id = format!("ask_{}", Uuid::new_v4().simple());
    Question { id, message, schema: ask.schema.clone(), about: call_id.to_owned() }
}

/// The answer that the server is told. Words are the value of the only field.
fn answered(question: Option<&QuestionPart>) -> Value {
    let accepted = question.filter(|question| question.approval.approved == Some(true));
    let Some(question) = accepted else { return Elicitation::answer(None) };
    let content = match &question.answer {
        Some(Value::Object(fields)) => fields.clone(),
        None | Some(Value::Null) => Map::new(),
        Some(word) => {
            let fields =
                question.response_schema.as_ref().and_then(|schema| schema.get("properties"));
            let only = fields.and_then(Value::as_object).filter(|fields| fields.len() == 1);
            let only = only.and_then(|fields| fields.iter().next());
            only.map(|(name, field)| (name.clone(), typed(word, field))).into_iter().collect()
        }
    };
    Elicitation::answer(Some(content))
}

/// A word as the type that a field has.
fn typed(word: &Value, field: &Value) -> Value {
    let kind = field.get("type").and_then(Value::as_str);
    let Some(text) = word.as_str().map(str::trim) else { return word.clone() };
    let read = match kind {
        Some("integer") => text.parse::<i64>().ok().map(Value::from),
        Some("number") => text.parse::<f64>().ok().map(Value::from),
        Some("boolean") => match text.to_lowercase().as_str() {
            "yes" | "true" => Some(true.into()),
            "no" | "false" => Some(false.into()),
            _ => None,
        },
        _ => None,
    };
    read.unwrap_or_else(|| word.clone())
}

/// The name by which a model calls a tool: letters, digits, `_` and `-`. One that had to be changed ends with a
/// digest, so that no two tools have one name.
pub(crate) fn model_name(server: &str, tool: &str) -> String {
    let name = format!("{server}__{tool}");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.len() <= NAME && name.chars().all(is_plain) {
        return name;
    }
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let digest = &blake3::hash(name.as_bytes()).to_hex()[..8];
    format!("{}_{digest}", &plain[..plain.len().min(NAME - 9)])
}

#[cfg(test)]
mod tests {
    use session_protocol::PartApproval;

    use super::*;

    #[test]
    fn a_model_can_call_tools_of_any_name_and_tell_them_apart() {
        assert_eq!(model_name("fs", "read_file"), "fs__read_file");
        let names = ["a.b", "a/b", "a b", "é", &"x".repeat(128), &format!("{}y", "x".repeat(127))];
        let named: Vec<String> = names.iter().map(|name| model_name("s", name)).collect();
        for (n, name) in named.iter().enumerate() {
            assert!(name.len() <= NAME, "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            assert!(!named[..n].contains(name), "{name}");
        }
    }

    #[test]
    fn what_a_person_answers_is_what_the_tool_is_told() {
        let asked = |approved: Option<bool>, answer: Value, schema: Value| QuestionPart {
            reason: String::new(),
            message: None,
            response_schema: Some(schema),
            expires_at: None,
            approval: PartApproval { id: "q".into(), approved, ..PartApproval::default() },
            answer: Some(answer),
            subagent: None,
        };
        let one = |kind: &str| json!({"type": "object", "properties": {"n": {"type": kind}}});
        for (question, told) in [
            (
                asked(Some(true), json!({"a": 1}), json!({})),
                json!({"action": "accept", "content": {"a": 1}}),
            ),
            (
                asked(Some(true), json!("7"), one("integer")),
                json!({"action": "accept", "content": {"n": 7}}),
            ),
            (
                asked(Some(true), json!("7"), one("string")),
                json!({"action": "accept", "content": {"n": "7"}}),
            ),
            (
                asked(Some(true), json!("yes"), one("boolean")),
                json!({"action": "accept", "content": {"n": true}}),
            ),
            (asked(Some(false), json!({"a": 1}), json!({})), json!({"action": "decline"})),
            (asked(None, Value::Null, json!({})), json!({"action": "decline"})),
        ] {
            assert_eq!(answered(Some(&question)), told);
        }
        assert_eq!(answered(None), json!({"action": "decline"}));
    }
}
