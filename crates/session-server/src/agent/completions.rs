//! One streamed answer of an OpenAI-compatible chat-completions endpoint.
//!
//! Providers differ: reasoning comes as `reasoning` or `reasoning_content`, parallel tool calls come interleaved by
//! `index` with their arguments split anywhere, usage comes in a last chunk without choices, and an error may come in
//! the middle with status 200. An answer that ends without `[DONE]` and without a finish reason was cut off.

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use reqwest::{Client, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use sse_stream::SseByteStream;

use crate::config::ModelConfig;

/// Bytes of a provider's error answer that are looked at.
const MAX_ERROR: usize = 64 << 10;
/// Bytes of one non-streamed answer.
const MAX_BODY: usize = 16 << 20;

/// Why a model's answer failed. The message is for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Failure {
    fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Reasoning(String),
    /// Part of the tool call at this place in the answer.
    Call {
        place: usize,
        id: Option<String>,
        name: Option<String>,
        arguments: String,
    },
    Finish(String),
    Usage(Usage),
}

/// Tokens, as the provider counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Usage {
    #[serde(default)]
    pub(crate) prompt_tokens: u64,
    #[serde(default)]
    pub(crate) completion_tokens: u64,
    #[serde(default)]
    pub(crate) total_tokens: u64,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, alias = "message")]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<Value>,
}

/// Asks for an answer. Without tools when the endpoint says that the model has none.
pub(crate) async fn ask(
    http: &Client,
    config: &ModelConfig,
    messages: &[Value],
    tools: &Value,
) -> Result<Response, Failure> {
    match post(http, config, messages, Some(tools)).await? {
        Ok(response) => Ok(response),
        Err((StatusCode::BAD_REQUEST, text)) if text.contains("tools") => {
            match post(http, config, messages, None).await? {
                Ok(response) => Ok(response),
                Err((status, text)) => Err(refused(status, &text)),
            }
        }
        Err((status, text)) => Err(refused(status, &text)),
    }
}

type Answered = Result<Response, (StatusCode, String)>;

async fn post(
    http: &Client,
    config: &ModelConfig,
    messages: &[Value],
    tools: Option<&Value>,
) -> Result<Answered, Failure> {
    let mut body = json!({
        "model": config.model, "messages": messages, "stream": true,
        "stream_options": {"include_usage": true},
    });
    if let Some(tools) = tools {
        body["tools"] = tools.clone();
    }
    let url = format!("{}/chat/completions", config.base_url.as_str().trim_end_matches('/'));
    let mut call = http.post(url).header(header::ACCEPT, "text/event-stream").json(&body);
    if let Some(key) = &config.api_key {
        call = call.bearer_auth(key.expose());
    }
    let response = call.send().await.map_err(|error| {
        if error.is_builder() {
            Failure::new("model_misconfigured", "The model's address or key cannot be used. Check them in Settings.")
        } else if error.is_timeout() {
            Failure::new("model_timeout", "The model did not answer in time.")
        } else {
            Failure::new(
                "model_unreachable",
                "The model's server could not be reached. Check that it runs and its address in Settings.",
            )
        }
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(Ok(response));
    }
    let mut text = Vec::new();
    let mut bytes = response.bytes_stream();
    while let Some(Ok(piece)) = bytes.next().await
        && text.len() < MAX_ERROR
    {
        text.extend_from_slice(&piece);
    }
    Ok(Err((status, String::from_utf8_lossy(&text).into_owned())))
}

fn refused(status: StatusCode, text: &str) -> Failure {
    let code = format!("model_http_{}", status.as_u16());
    let said = serde_json::from_str::<Value>(text).ok().and_then(|body| error_text(&body));
    let message = match (status, said) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
            "The model's server refused the API key. Check it in Settings.".to_owned()
        }
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            "The model's server says too many requests. Try again in a moment.".to_owned()
        }
        (_, Some(said)) => format!("The model's server answered {}: {said}", status.as_u16()),
        (_, None) => format!("The model's server answered with status {}.", status.as_u16()),
    };
    Failure::new(code, message)
}

/// The text in an error object, at most a few lines of it.
fn error_text(body: &Value) -> Option<String> {
    let error = body.get("error").unwrap_or(body);
    let text = error.get("message").unwrap_or(error).as_str()?;
    Some(text.chars().take(300).collect())
}

/// An answer, read piece by piece.
pub(crate) struct Answer {
    events: BoxStream<'static, Result<Option<String>, Failure>>,
    tools_seen: usize,
    last_id: Option<String>,
    finished: bool,
    over: bool,
}

impl Answer {
    pub(crate) fn new(response: Response) -> Self {
        let json = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/json"));
        let events = if json {
            // A server that does not stream answers with one object.
            futures::stream::once(whole(response)).map_ok(Some).boxed()
        } else {
            SseByteStream::new(response.bytes_stream())
                .map_ok(|event| event.data)
                .map_err(|_| cut_off())
                .boxed()
        };
        Self { events, tools_seen: 0, last_id: None, finished: false, over: false }
    }

    /// The next pieces, or `None` when the answer is complete.
    ///
    /// # Errors
    ///
    /// The provider reported an error, sent what is no JSON, or was cut off.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Piece>>, Failure> {
        while !self.over {
            let Some(event) = self.events.next().await else { break };
            let Some(data) = event? else { continue };
            match data.trim() {
                "" => {}
                "[DONE]" => (self.finished, self.over) = (true, true),
                data => return self.pieces(data).map(Some),
            }
        }
        self.over = true;
        if self.finished { Ok(None) } else { Err(cut_off()) }
    }

    fn pieces(&mut self, data: &str) -> Result<Vec<Piece>, Failure> {
        let chunk: Chunk = serde_json::from_str(data).map_err(|_| {
            Failure::new("model_malformed", "The model's server sent something that is no answer.")
        })?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            let said = error_text(&json!({"error": error}));
            return Err(Failure::new(
                "model_error",
                said.unwrap_or_else(|| "The model reported an error.".to_owned()),
            ));
        }
        let mut pieces = Vec::new();
        for choice in chunk.choices.into_iter().flatten() {
            if let Some(delta) = choice.delta {
                self.delta(delta, &mut pieces);
            }
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.finished = true;
                pieces.push(Piece::Finish(reason));
            }
        }
        pieces.extend(chunk.usage.map(Piece::Usage));
        Ok(pieces)
    }

    fn delta(&mut self, delta: Delta, pieces: &mut Vec<Piece>) {
        let reasoning = delta
            .reasoning_content
            .or_else(|| delta.reasoning.as_ref().and_then(Value::as_str).map(str::to_owned));
        let some = |text: &String| !text.is_empty();
        pieces.extend(reasoning.filter(some).map(Piece::Reasoning));
        pieces.extend(delta.content.filter(some).map(Piece::Text));
        pieces.extend(delta.refusal.filter(some).map(Piece::Text));
        for call in delta.tool_calls.into_iter().flatten() {
            let id = call.id.filter(some);
            // Without an index, a new id is a new call and no id is more of the last one.
            let place = call.index.unwrap_or_else(|| match &id {
                Some(id) if self.last_id.as_ref() != Some(id) => self.tools_seen,
                _ => self.tools_seen.saturating_sub(1),
            });
            self.tools_seen = self.tools_seen.max(place + 1);
            if id.is_some() {
                self.last_id.clone_from(&id);
            }
            let function = call.function;
            let (name, arguments) =
                function.map_or((None, None), |function| (function.name, function.arguments));
            let arguments = match arguments {
                Some(Value::String(text)) => text,
                Some(Value::Null) | None => String::new(),
                Some(object) => object.to_string(),
            };
            pieces.push(Piece::Call { place, id, name: name.filter(some), arguments });
        }
    }
}

async fn whole(response: Response) -> Result<String, Failure> {
    let mut text = Vec::new();
    let mut bytes = response.bytes_stream();
    while let Some(piece) = bytes.next().await {
        text.extend_from_slice(&piece.map_err(|_| cut_off())?);
        if text.len() > MAX_BODY {
            return Err(Failure::new("model_malformed", "The model's answer is too large."));
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn cut_off() -> Failure {
    Failure::new("model_truncated", "The model's answer was cut off before its end.")
}
