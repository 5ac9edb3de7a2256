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
use uuid::Uuid;

use super::{
    Agent, RunRequest,
    agui::{AskFor, Writer},
    calls::{Call, CallNews, input},
    completions,
    dialogue::{Dialogue, Keepsake, KeptCall, ToldCall, Turn},
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
        data_dir: &Path,
        limits: Limits,
    ) -> Result<Self, ServerError> {
        let client = || {
            let none = redirect::Policy::none();
            Client::builder().redirect(none).connect_timeout(CONNECT).read_timeout(READ)
        };
        let http = http_client(client).map_err(ServerError::HttpClient)?;
        let findings = Findings::open(data_dir);
        Ok(Self { settings, http, notes: data_dir.join("notes"), limits, findings })
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
        let results = self.run_approved(&request, &notes, writer).await?;
        let asked = match &request.plan.cause {
            Cause::Reply { id } => Some(id.as_str()),
            Cause::Message { .. } | Cause::Again { .. } | Cause::Answers { .. } => None,
        };
        let owner = owner(&config);
        let mut dialogue = Dialogue::of(&request.history, &results, asked, &owner);
        // From here on the conversation is in memory as `dialogue` and as the body of one request.
        let told = request.history.bytes();
        let mut hold = request.history.into_hold();
        if let Some(hold) = &mut hold {
            hold.shrink_to(told.saturating_mul(2));
        }
        let mut room = self.limits.history_bytes;
        let mut usage: Option<Usage> = None;
        let tools = Tool::described();
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
            }
            writer.keep(Some(&calls[0].0), text_of(&keepsake, &mut room)?).await?;
            turn.given = answer.given;
            let mut asks = Vec::new();
            for ((id, call), given) in calls.into_iter().zip(keepsake.calls) {
                let input = call.input();
                let arguments = input.as_ref().map_or_else(|| "{}".to_owned(), Value::to_string);
                let (tool, is_half) = (Tool::by_name(&call.name), is_cut && !call.is_whole());
                let result = match (tool, input) {
                    // Half a call is never asked for and never runs, whatever its half means.
                    _ if is_half => Err(HALF.to_owned()),
                    (Some(tool), Some(input)) if tool.needs_approval() => {
                        let tool_name = call.name.clone();
                        asks.push(AskFor { tool_call_id: id.clone(), tool_name, input });
                        turn.calls.push(ToldCall {
                            id,
                            name: call.name,
                            arguments,
                            given,
                            result: None,
                        });
                        continue;
                    }
                    (Some(tool), Some(input)) => tool.run(&input, &notes).await,
                    (None, _) => Err("there is no such tool".to_owned()),
                    (_, None) => Err("the arguments are no JSON object".to_owned()),
                };
                let content = tell(&id, result, writer).await?;
                turn.calls.push(ToldCall {
                    id,
                    name: call.name,
                    arguments,
                    given,
                    result: Some(content),
                });
            }
            dialogue.assistant(turn);
            if !asks.is_empty() {
                return Ok(writer.ask_and_finish(&asks, used).await?);
            }
        }
        Err(Broken::Failed(Failure {
            code: "too_many_steps".to_owned(),
            message: "The model kept calling tools without an answer.".to_owned(),
        }))
    }

    /// Runs the tools that were approved since the last run; gives their results by call.
    async fn run_approved(
        &self,
        request: &RunRequest,
        notes: &Notes,
        writer: &mut Writer,
    ) -> Result<HashMap<String, String>, Stopped> {
        let mut results = HashMap::new();
        for call in request.history.tool_calls(&request.plan.message_id) {
            let approved =
                call.approval.as_ref().is_some_and(|approval| approval.approved == Some(true));
            if !approved || call.output.is_some() || call.error.is_some() {
                continue;
            }
            let input = call.input.clone().or_else(|| input(&call.arguments));
            let result = match (Tool::by_name(&call.name), input) {
                (Some(tool), Some(input)) => tool.run(&input, notes).await,
                _ => Err("there is no such tool".to_owned()),
            };
            let content = tell(&call.id, result, writer).await?;
            results.insert(call.id.clone(), content);
        }
        Ok(results)
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
async fn tell(
    id: &str,
    result: Result<String, String>,
    writer: &mut Writer,
) -> Result<String, Stopped> {
    match result {
        Ok(content) => {
            writer.tool_result(id, &content, false).await?;
            Ok(content)
        }
        Err(error) => {
            writer.tool_result(id, &error, true).await?;
            Ok(format!("Error: {error}"))
        }
    }
}

fn add(sum: Option<Usage>, more: Option<Usage>) -> Option<Usage> {
    let (Some(sum), Some(more)) = (sum, more) else { return sum.or(more) };
    Some(Usage {
        prompt_tokens: sum.prompt_tokens.saturating_add(more.prompt_tokens),
        completion_tokens: sum.completion_tokens.saturating_add(more.completion_tokens),
        total_tokens: sum.total_tokens.saturating_add(more.total_tokens),
    })
}
