//! The model agent: any OpenAI-compatible endpoint, with tools.
//!
//! A run is a loop: ask the model, run the tools it calls, ask again with the results. A tool that needs approval ends
//! the run; the next one begins where it stopped, with what was decided.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use durable_stream::http_client;
use reqwest::{Client, redirect};
use serde_json::{Value, json};
use session_protocol::{Part, QuestionPart, ToolCallPart};
use uuid::Uuid;

use super::{
    Agent, RunRequest,
    agui::{AskFor, Question, Writer},
    calls::{Call, CallNews, input},
    completions,
    dialogue::{Dialogue, Keepsake, KeptCall, ToldCall, Turn},
    mcp::{Calling, Decision, Mcp, Offer, Offers, Ran, Told, UNKNOWN},
    pieces::{self, Complete, Failure, Piece, Usage},
    tools::{Notes, Tool},
    ways::Findings,
};
use crate::{
    config::{Limits, ModelConfig, ModelSettings},
    error::ServerError,
    run::{Cause, RunEnd, RunSink, Stopped},
};

/// A model that calls tools without end is stopped after this many answers.
const MAX_ROUNDS: usize = 12;
/// Bytes of an id that a model gives a call.
const MAX_ID: usize = 256;
const CONNECT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer. Large local models take minutes to begin.
const READ: Duration = Duration::from_secs(600);

/// The agent at `builtin:model`.
pub(crate) struct Model {
    settings: Arc<dyn ModelSettings>,
    mcp: Arc<Mcp>,
    http: Client,
    notes: PathBuf,
    limits: Limits,
    findings: Findings,
}

/// Why a run did not come to its end.
enum Broken {
    Stopped,
    Failed(Failure),
}

impl From<Stopped> for Broken {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Model {
    pub(crate) fn new(
        settings: Arc<dyn ModelSettings>,
        mcp: Arc<Mcp>,
        data_dir: &Path,
        limits: Limits,
    ) -> Result<Self, ServerError> {
        let client = || {
            let none = redirect::Policy::none();
            Client::builder().redirect(none).connect_timeout(CONNECT).read_timeout(READ)
        };
        let http = http_client(client).map_err(ServerError::HttpClient)?;
        let findings = Findings::open(data_dir);
        Ok(Self { settings, mcp, http, notes: data_dir.join("notes"), limits, findings })
    }

    async fn turn(
        &self,
        request: RunRequest,
        out: &RunSink,
        writer: &mut Writer,
    ) -> Result<(), Broken> {
        writer.start().await?;
        let config = self
            .settings
            .load()
            .await
            .map_err(|message| Failure { code: "model_not_configured".to_owned(), message })?;
        let notes = Notes::of(&self.notes, &request.session_id);
        let offers = self.mcp.offers(&request.session_id).await;
        let (mut results, asks) = self.go_on(&request, &offers, &notes, writer).await?;
        if !asks.is_empty() {
            return Ok(writer.ask_and_finish(&[], &asks, None).await?);
        }
        self.settle(&request, &mut results).await;
        let asked = match &request.plan.cause {
            Cause::Reply { id } => Some(id.as_str()),
            Cause::Message { .. } | Cause::Again { .. } | Cause::Answers { .. } => None,
        };
        let owner = owner(&config);
        let session_id = request.session_id.clone();
        let mut dialogue = Dialogue::of(&request.history, &results, asked, &owner);
        if request.plan.continues {
            dialogue.go_on();
        }
        // From here on the conversation is in memory as `dialogue` and as the body of one request.
        let told = request.history.bytes();
        let mut hold = request.history.into_hold();
        if let Some(hold) = &mut hold {
            hold.shrink_to(told.saturating_mul(2));
        }
        let mut room = self.limits.history_bytes;
        let mut usage: Option<Usage> = None;
        let mut tools = Tool::described();
        offers.describe(&mut tools);
        let tools = Value::Array(tools);
        for _ in 0..MAX_ROUNDS {
            let response =
                completions::ask(&self.http, &config, &self.findings, &dialogue, &tools).await?;
            let answer = completions::ModelAnswer::new(response, &self.limits, out.clone());
            let (mut turn, ids, answer) = listen(answer, &mut room, writer).await?;
            usage = add(usage, answer.usage);
            let used = usage.map(|usage| {
                json!({
                    "promptTokens": usage.prompt_tokens,
                    "completionTokens": usage.completion_tokens,
                    "totalTokens": usage.total_tokens,
                })
            });
            let is_cut = answer.is_cut();
            let calls =
                ids.into_iter().zip(answer.calls).filter_map(|(id, call)| Some((id?, call)));
            let calls: Vec<(String, Call)> = calls.collect();
            let keepsake = Keepsake {
                owner: owner.clone(),
                field: answer.given.field.clone(),
                extra: answer.given.extra.clone(),
                calls: calls.iter().map(|(_, call)| kept(call)).collect(),
            };
            if calls.is_empty() {
                if !keepsake.extra.is_empty() {
                    writer.keep(None, text_of(&keepsake, &mut room)?).await?;
                }
                // It says that it calls and does not.
                let reason = if answer.reason == "tool_calls" { "stop" } else { &answer.reason };
                return Ok(writer.finish(reason, used).await?);
            }
            for (id, call) in &calls {
                writer.tool_end(id, call.meant().as_ref()).await?;
                if let Some(offer) = offers.get(&call.name) {
                    writer.tool_info(id, info(offer)).await?;
                }
            }
            writer.keep(Some(&calls[0].0), text_of(&keepsake, &mut room)?).await?;
            turn.given = answer.given;
            let (mut asks, mut questions) = (Vec::new(), Vec::new());
            for ((id, call), given) in calls.into_iter().zip(keepsake.calls) {
                let input = call.input();
                let arguments = input.as_ref().map_or_else(|| "{}".to_owned(), Value::to_string);
                let tool = Tool::by_name(&call.name);
                let offer = offers.get(&call.name).filter(|_| tool.is_none());
                let asks_first = tool.is_some_and(Tool::needs_approval)
                    || offer.is_some_and(|offer| offer.decision != Decision::Allow);
                let result = match input {
                    // Half a call is never asked for and never runs, whatever its half means.
                    _ if is_cut && !call.is_whole() => Some(Told::failed(HALF)),
                    _ if tool.is_none() && offer.is_none() => Some(Told::failed(NO_TOOL)),
                    None => Some(Told::failed("the arguments are no JSON object")),
                    Some(input) if asks_first => {
                        let tool_name = call.name.clone();
                        asks.push(AskFor { tool_call_id: id.clone(), tool_name, input });
                        None
                    }
                    Some(input) => match (tool, offer) {
                        (Some(tool), _) => Some(plain(tool.run(&input, &notes).await)),
                        (None, Some(offer)) => {
                            let session_id = &session_id;
                            let calling =
                                Calling { session_id, call_id: &id, offer, input: &input };
                            match self.mcp.call(&calling, writer).await? {
                                Ran::Told(told) => Some(told),
                                Ran::Asks(asks) => {
                                    questions.extend(asks);
                                    None
                                }
                            }
                        }
                        (None, None) => Some(Told::failed(NO_TOOL)),
                    },
                };
                let result = match result {
                    Some(result) => {
                        let content = tell(&id, result, writer).await?;
                        spend(&mut room, content.len())?;
                        Some(content)
                    }
                    None => None,
                };
                turn.calls.push(ToldCall { id, name: call.name, arguments, given, result });
            }
            dialogue.assistant(turn);
            if !asks.is_empty() || !questions.is_empty() {
                return Ok(writer.ask_and_finish(&asks, &questions, used).await?);
            }
        }
        Err(Broken::Failed(Failure {
            code: "too_many_steps".to_owned(),
            message: "The model kept calling tools without an answer.".to_owned(),
        }))
    }

    /// Runs the tools that were approved since the last run, and goes on with those that asked something; gives their
    /// results by call, and what is asked now.
    async fn go_on(
        &self,
        request: &RunRequest,
        offers: &Offers,
        notes: &Notes,
        writer: &mut Writer,
    ) -> Result<(HashMap<String, String>, Vec<Question>), Stopped> {
        let message_id = &request.plan.message_id;
        let questions: HashMap<&str, &QuestionPart> =
            request.history.questions(message_id).map(|q| (q.approval.id.as_str(), q)).collect();
        let (mut results, mut asks) = (HashMap::new(), Vec::new());
        for call in request.history.tool_calls(message_id) {
            let approved = call.approval.as_ref().and_then(|approval| approval.approved);
            if approved == Some(false) || call.output.is_some() || call.error.is_some() {
                continue;
            }
            let input = call.input.clone().or_else(|| input(&call.arguments)).unwrap_or_default();
            let told = match (Tool::by_name(&call.name), offers.get(&call.name)) {
                (Some(tool), _) if approved == Some(true) => {
                    Some(plain(tool.run(&input, notes).await))
                }
                (None, Some(offer)) => {
                    let session_id = &request.session_id;
                    let calling = Calling { session_id, call_id: &call.id, offer, input: &input };
                    let resumed = self.mcp.resume(&calling, &questions, writer).await?;
                    let ran = match resumed {
                        Some(ran) => Some(ran),
                        // What was allowed is what is called.
                        None if approved == Some(true) && is_another(call, offer) => {
                            Some(Ran::Told(Told::failed(ANOTHER)))
                        }
                        None if approved == Some(true) => {
                            Some(self.mcp.call(&calling, writer).await?)
                        }
                        None => None,
                    };
                    match ran {
                        Some(Ran::Told(told)) => Some(told),
                        Some(Ran::Asks(more)) => {
                            asks.extend(more);
                            None
                        }
                        None => None,
                    }
                }
                (None, None) if approved == Some(true) => Some(Told::failed(NO_TOOL)),
                _ => None,
            };
            if let Some(told) = told {
                results.insert(call.id.clone(), tell(&call.id, told, writer).await?);
            }
        }
        Ok((results, asks))
    }

    /// Forgets calls that have a result in the log, and says of the others that they may have happened. Calls whose
    /// questions were decided without a run, by a stop, are given up.
    async fn settle(&self, request: &RunRequest, results: &mut HashMap<String, String>) {
        let session_id = &request.session_id;
        let Ok(begun) = self.mcp.table().all_begun(session_id).await else { return };
        if begun.is_empty() {
            return;
        }
        let parts = request.history.messages.iter().flat_map(|message| &message.parts);
        let (mut calls, mut questions) = (HashMap::new(), HashMap::new());
        for part in parts {
            match part {
                Part::ToolCall(call) => {
                    calls.insert(call.id.as_str(), call);
                }
                Part::Question(question) => {
                    questions.insert(question.approval.id.as_str(), question);
                }
                _ => {}
            }
        }
        let mut settled = Vec::new();
        for id in begun {
            match calls.get(id.as_str()) {
                Some(call) if call.output.is_some() || call.error.is_some() => settled.push(id),
                Some(_) => {
                    results.entry(id).or_insert_with(|| format!("Error: {UNKNOWN}"));
                }
                None => {}
            }
        }
        self.mcp.give_up(session_id, |question| {
            questions.get(question).is_some_and(|question| question.approval.approved.is_some())
        });
        self.mcp.table().forget(session_id, settled).await.ok(); // the next run forgets them
    }
}

#[async_trait]
impl Agent for Model {
    async fn run(&self, request: RunRequest, out: RunSink) -> RunEnd {
        let mut writer = Writer::new(&request, out.clone());
        match self.turn(request, &out, &mut writer).await {
            Ok(()) | Err(Broken::Stopped) => RunEnd::Finished,
            Err(Broken::Failed(Failure { code, message })) => RunEnd::failed(code, message),
        }
    }
}

/// Hears an answer to its end and writes what it says. Gives what was said, the id in the session of each call that got
/// a name, and the rest of the answer.
async fn listen(
    mut answer: completions::ModelAnswer,
    room: &mut usize,
    writer: &mut Writer,
) -> Result<(Turn, Vec<Option<String>>, Complete), Broken> {
    let mut turn = Turn::default();
    // Where the text since the last reasoning begins.
    let mut since = 0;
    let mut ids: Vec<Option<String>> = Vec::new();
    while let Some(pieces) = answer.next().await? {
        for piece in pieces {
            match piece {
                Piece::Text(delta) => {
                    spend(room, delta.len())?;
                    turn.text.push_str(&delta);
                    writer.text(&delta).await?;
                }
                Piece::Reasoning(delta) => {
                    spend(room, delta.len())?;
                    turn.reasoning.push_str(&delta);
                    since = turn.text.len();
                    writer.reasoning(&delta).await?;
                }
                Piece::Rethought => {
                    turn.reasoning.push_str(&turn.text.split_off(since));
                    writer.rethink().await?;
                }
                Piece::Call(CallNews::Begins { place, name }) => {
                    // What a person approves is what runs, so an id is one call's in a whole session. Models number
                    // their calls from zero in every answer, or give two of them one id.
                    let id = format!("call_{}", Uuid::new_v4().simple());
                    writer.tool_start(&id, &name).await?;
                    ids.resize(ids.len().max(place + 1), None);
                    ids[place] = Some(id);
                }
                Piece::Call(CallNews::Goes { place, arguments }) => {
                    spend(room, arguments.len())?;
                    if let Some(Some(id)) = ids.get(place) {
                        writer.tool_args(id, &arguments).await?;
                    }
                }
            }
        }
    }
    let answer = answer.into_complete();
    ids.resize(answer.calls.len(), None);
    Ok((turn, ids, answer))
}

const NO_TOOL: &str = "there is no such tool";
/// The error of a call of a tool that changed after it was allowed.
const ANOTHER: &str = "the tool has changed since the call was allowed, and was not called; call it again to ask anew";
/// The error of half a call.
const HALF: &str =
    "the call was cut off by the limit of the answer and was not carried out; say it shorter";

/// A digest of the endpoint and the model, by which what they gave is told from what others gave.
fn owner(config: &ModelConfig) -> String {
    let mut digest = blake3::Hasher::new();
    digest
        .update(config.base_url.as_str().as_bytes())
        .update(b"\n")
        .update(config.model.as_bytes());
    digest.finalize().to_hex()[..16].to_owned()
}

fn kept(call: &Call) -> KeptCall {
    KeptCall { id: call.id.clone().filter(|id| id.len() <= MAX_ID), extra: call.extra.clone() }
}

fn text_of(keepsake: &Keepsake, room: &mut usize) -> Result<String, Failure> {
    let text = serde_json::to_string(keepsake).expect("maps with string keys always serialise");
    spend(room, text.len())?;
    Ok(text)
}

/// Takes from what a model may still say in a run, which it is given back with each request.
fn spend(room: &mut usize, bytes: usize) -> Result<(), Failure> {
    *room = room.checked_sub(bytes).ok_or_else(pieces::too_large)?;
    Ok(())
}

/// Writes a tool's result; gives the text that the model is told.
async fn tell(id: &str, told: Told, writer: &mut Writer) -> Result<String, Stopped> {
    writer.tool_result(id, &told.shown, told.failed).await?;
    Ok(if told.failed { format!("Error: {}", told.words) } else { told.words })
}

fn plain(result: Result<String, String>) -> Told {
    match result {
        Ok(words) => Told { shown: words.clone(), words, failed: false },
        Err(why) => Told::failed(&why),
    }
}

/// The words of the log about a call of a tool server.
fn info(offer: &Offer) -> Value {
    let traits = offer.tool.traits;
    let mut info = json!({
        "server": offer.server.name, "tool": offer.tool.name, "digest": offer.digest,
        "traits": {
            "readOnly": traits.read_only, "destructive": traits.destructive,
            "idempotent": traits.idempotent, "openWorld": traits.open_world,
        },
    });
    if let Some(title) = &offer.tool.title {
        info["title"] = title.clone().into();
    }
    if offer.decision == Decision::Changed {
        info["changed"] = true.into();
    }
    info
}

/// Whether the tool is not what it was when the call was allowed.
fn is_another(call: &ToolCallPart, offer: &Offer) -> bool {
    let digest = call.details.as_ref().and_then(|details| details.get("digest")?.as_str());
    digest.is_some_and(|digest| digest != offer.digest)
}

fn add(sum: Option<Usage>, more: Option<Usage>) -> Option<Usage> {
    let (Some(sum), Some(more)) = (sum, more) else { return sum.or(more) };
    Some(Usage {
        prompt_tokens: sum.prompt_tokens.saturating_add(more.prompt_tokens),
        completion_tokens: sum.completion_tokens.saturating_add(more.completion_tokens),
        total_tokens: sum.total_tokens.saturating_add(more.total_tokens),
    })
}
