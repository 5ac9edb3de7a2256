//! The model agent: any OpenAI-compatible endpoint, with tools.
//!
//! A run is a loop: ask the model, run the tools it calls, ask again with the results. A tool that needs approval ends
//! the run; the next one begins where it stopped, with what was decided.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use durable_stream::http_client;
use reqwest::{Client, redirect};
use serde_json::{Value, json};
use session_protocol::Role;
use uuid::Uuid;

use super::{
    Agent, RunRequest,
    agui::{AskFor, Writer},
    completions,
    pieces::{Failure, Piece, Usage},
    tools::{Notes, Tool},
};
use crate::{
    config::{Limits, ModelSettings},
    error::ServerError,
    history::{self, History},
    turns::{Cause, RunEnd, RunSink, Stopped},
};

/// A model that calls tools without end is stopped after this many answers.
const MAX_ROUNDS: usize = 12;
/// Bytes of the name or the id of a call.
const MAX_NAME: usize = 256;
const CONNECT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer. Large local models take minutes to begin.
const READ: Duration = Duration::from_secs(600);

/// The agent at `builtin:model`.
pub(crate) struct Model {
    settings: Arc<dyn ModelSettings>,
    http: Client,
    notes: PathBuf,
    limits: Limits,
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

/// A tool call as the model makes it.
#[derive(Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
    started: bool,
}

impl Model {
    pub(crate) fn new(
        settings: Arc<dyn ModelSettings>,
        notes: PathBuf,
        limits: Limits,
    ) -> Result<Self, ServerError> {
        let client = || {
            let none = redirect::Policy::none();
            Client::builder().redirect(none).connect_timeout(CONNECT).read_timeout(READ)
        };
        let http = http_client(client).map_err(ServerError::HttpClient)?;
        Ok(Self { settings, http, notes, limits })
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
        let mut messages = conversation(&request.history, &results, asked);
        let mut taken = request.history.call_ids();
        // From here on the conversation is in memory as `messages` and as the body of one request.
        let told = request.history.bytes();
        let mut hold = request.history.into_hold();
        if let Some(hold) = &mut hold {
            hold.shrink_to(told.saturating_mul(2));
        }
        let mut room = self.limits.history_bytes;
        let mut usage: Option<Usage> = None;
        for _ in 0..MAX_ROUNDS {
            let tools = Tool::described();
            let response = completions::ask(&self.http, &config, &messages, &tools).await?;
            let mut calls: Vec<Call> = Vec::new();
            let mut text = String::new();
            let mut reason = String::new();
            let mut answer = completions::Answer::new(response, &self.limits, out.clone());
            while let Some(pieces) = answer.next().await? {
                for piece in pieces {
                    match piece {
                        Piece::Text(delta) => {
                            spend(&mut room, delta.len())?;
                            text.push_str(&delta);
                            writer.text(&delta).await?;
                        }
                        Piece::Reasoning(delta) => writer.reasoning(&delta).await?,
                        Piece::Call { place, id, name, arguments } => {
                            spend(&mut room, arguments.len())?;
                            let call = at(&mut calls, place);
                            if call.arguments.len() + arguments.len() > self.limits.arguments_bytes
                            {
                                return Err(completions::too_large().into());
                            }
                            take_call(call, id, name, &arguments, &mut taken, writer).await?;
                        }
                        Piece::Finish(why) => reason = why,
                        Piece::Usage(counted) => usage = Some(add(usage, counted)),
                    }
                }
            }
            calls.retain(|call| call.started);
            let used = usage.map(|usage| {
                json!({
                    "promptTokens": usage.prompt_tokens,
                    "completionTokens": usage.completion_tokens,
                    "totalTokens": usage.total_tokens,
                })
            });
            if calls.is_empty() {
                let reason = if reason.is_empty() { "stop" } else { &reason };
                return Ok(writer.finish(reason, used).await?);
            }
            for call in &calls {
                writer.tool_end(&call.id).await?;
            }
            messages.push(json!({
                "role": "assistant",
                "content": if text.is_empty() { Value::Null } else { text.into() },
                "tool_calls": calls.iter().map(|call| described(&call.id, &call.name, &call.arguments)).collect::<Vec<_>>(),
            }));
            let mut asks = Vec::new();
            for call in calls {
                let input = parse(&call.arguments);
                match (Tool::by_name(&call.name), input) {
                    (Some(tool), Some(input)) if tool.needs_approval() => {
                        asks.push(AskFor { tool_call_id: call.id, tool_name: call.name, input })
                    }
                    (tool, input) => {
                        let result = match (tool, input) {
                            (Some(tool), Some(input)) => tool.run(&input, &notes).await,
                            (None, _) => Err("there is no such tool".to_owned()),
                            (_, None) => Err("the arguments are no JSON object".to_owned()),
                        };
                        let content = tell(&call.id, result, writer).await?;
                        messages.push(tool_message(&call.id, &content));
                    }
                }
            }
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
            let input = call.input.clone().or_else(|| parse(&call.arguments));
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

/// The call at a place of the answer, made if it is new.
fn at(calls: &mut Vec<Call>, place: usize) -> &mut Call {
    // A provider that skips numbers must not make us allocate them all.
    let place = place.min(calls.len()).min(127);
    if place == calls.len() {
        calls.push(Call::default());
    }
    &mut calls[place]
}

/// Takes from what a model may still say in a run, which it is given back with each request.
fn spend(room: &mut usize, bytes: usize) -> Result<(), Failure> {
    *room = room.checked_sub(bytes).ok_or_else(completions::too_large)?;
    Ok(())
}

async fn take_call(
    call: &mut Call,
    id: Option<String>,
    name: Option<String>,
    arguments: &str,
    taken: &mut HashSet<String>,
    writer: &mut Writer,
) -> Result<(), Stopped> {
    if let (Some(id), false) = (id, call.started) {
        call.id = id;
    }
    if let (Some(name), false) = (name, call.started) {
        call.name = clipped(name);
    }
    call.arguments.push_str(arguments);
    if call.started {
        return if arguments.is_empty() {
            Ok(())
        } else {
            writer.tool_args(&call.id, arguments).await
        };
    }
    if call.name.is_empty() {
        return Ok(());
    }
    // Some servers number calls from zero in every answer, or give two calls of an answer one id; in a session an id
    // must be unique, because what a person approves is what runs.
    if !(8..=MAX_NAME).contains(&call.id.len()) || taken.contains(&call.id) {
        call.id = format!("call_{}", Uuid::new_v4().simple());
    }
    taken.insert(call.id.clone());
    call.started = true;
    writer.tool_start(&call.id, &call.name).await?;
    if call.arguments.is_empty() {
        Ok(())
    } else {
        writer.tool_args(&call.id, &call.arguments).await
    }
}

/// A name that is no name is not kept in full length.
fn clipped(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(MAX_NAME));
    name
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

fn parse(arguments: &str) -> Option<Value> {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    serde_json::from_str::<Value>(arguments).ok().filter(Value::is_object)
}

fn add(sum: Option<Usage>, more: Usage) -> Usage {
    let sum = sum.unwrap_or(Usage { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 });
    Usage {
        prompt_tokens: sum.prompt_tokens.saturating_add(more.prompt_tokens),
        completion_tokens: sum.completion_tokens.saturating_add(more.completion_tokens),
        total_tokens: sum.total_tokens.saturating_add(more.total_tokens),
    }
}

fn described(id: &str, name: &str, arguments: &str) -> Value {
    let arguments =
        if parse(arguments).is_some() && !arguments.trim().is_empty() { arguments } else { "{}" };
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn tool_message(id: &str, content: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": content})
}

/// The session as chat messages. Every tool call gets a result, because endpoints insist on it. What another agent
/// `asked` is told as a user's words: an assistant does not answer itself.
fn conversation(
    history: &History,
    results: &HashMap<String, String>,
    asked: Option<&str>,
) -> Vec<Value> {
    let mut out = Vec::new();
    out.extend(history.note().map(|note| json!({"role": "system", "content": note})));
    for message in &history.messages {
        let role = match message.role {
            Role::User => "user",
            Role::System => "system",
            Role::Assistant if asked == Some(message.id.as_str()) => "user",
            Role::Assistant => {
                for turn in history::turns(message) {
                    let mut said = json!({
                        "role": "assistant",
                        "content": if turn.text.is_empty() { Value::Null } else { turn.text.into() },
                    });
                    if !turn.calls.is_empty() {
                        let calls = turn
                            .calls
                            .iter()
                            .map(|call| described(&call.id, &call.name, &history::arguments(call)));
                        said["tool_calls"] = calls.collect();
                    }
                    out.push(said);
                    for call in turn.calls {
                        let content = results
                            .get(&call.id)
                            .cloned()
                            .or_else(|| history::result_text(call))
                            .unwrap_or_else(|| {
                                "No result: the call was not carried out.".to_owned()
                            });
                        out.push(tool_message(&call.id, &content));
                    }
                }
                continue;
            }
        };
        out.push(json!({"role": role, "content": message.plain_text()}));
    }
    out
}
