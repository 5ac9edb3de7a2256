//! One streamed answer of an OpenAI-compatible chat-completions endpoint.
//!
//! Providers differ: reasoning comes as `reasoning` or `reasoning_content`, parallel tool calls come interleaved by
//! `index` with their arguments split anywhere, usage comes in a last chunk without choices, and an error may come in
//! the middle with status 200. An answer that ends without `[DONE]` and without a finish reason was cut off.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::StreamExt;
use reqwest::{Client, Response, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::{
    pieces::{Failure, Piece, Pieces, error_text, malformed},
    reading::{Reading, Unreadable},
};
use crate::{
    config::{Limits, ModelConfig},
    ssrf,
    turns::RunSink,
};

/// Bytes of a provider's error answer that are looked at.
const MAX_ERROR: usize = 64 << 10;
/// Redirects within the provider's origin that are followed.
const REDIRECTS: usize = 5;

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
    let asked = Asked {
        model: &config.model,
        messages,
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        tools,
    };
    let body = serde_json::to_vec(&asked).expect("maps with string keys always serialise");
    let response = send(http, config, body.into()).await?;
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

/// The body of a request.
#[derive(Serialize)]
struct Asked<'a> {
    model: &'a str,
    messages: &'a [Value],
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a Value>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// Posts to the provider. Redirects are followed within its origin only, by us: the conversation and the key are for the
/// server whose address a person typed, and for nobody that it names.
async fn send(http: &Client, config: &ModelConfig, body: Bytes) -> Result<Response, Failure> {
    let redirected = || {
        Failure::new(
            "model_redirected",
            "The model's server sends requests on to another address, which was not asked. If that is where the model \
             is now, enter its address in Settings.",
        )
    };
    let url = format!("{}/chat/completions", config.base_url.as_str().trim_end_matches('/'));
    let mut url = Url::parse(&url).map_err(|_| misconfigured())?;
    let own = url.origin();
    for _ in 0..=REDIRECTS {
        let mut call = http
            .post(url.clone())
            .header(header::ACCEPT, "text/event-stream")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.clone());
        if let Some(key) = &config.api_key {
            call = call.bearer_auth(key.expose());
        }
        let response = call.send().await.map_err(|error| unreached(&error))?;
        if !ssrf::is_moved(&response) {
            return Ok(response);
        }
        url = ssrf::moved_to(&response, &url)
            .filter(|next| next.origin() == own)
            .ok_or_else(redirected)?;
    }
    Err(redirected())
}

fn misconfigured() -> Failure {
    Failure::new(
        "model_misconfigured",
        "The model's address or key cannot be used. Check them in Settings.",
    )
}

fn unreached(error: &reqwest::Error) -> Failure {
    if error.is_builder() {
        misconfigured()
    } else if error.is_timeout() {
        Failure::new("model_timeout", "The model did not answer in time.")
    } else if durable_stream::lacks_certificates(error) {
        Failure::new("no_certificates", durable_stream::NO_CERTIFICATES)
    } else {
        Failure::new(
            "model_unreachable",
            "The model's server could not be reached. Check that it runs and its address in Settings.",
        )
    }
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

/// An answer, read piece by piece.
pub(crate) struct Answer {
    source: Source,
    /// Chunks that were read and not looked at.
    waiting: VecDeque<String>,
    pieces: Pieces,
    over: bool,
}

/// Where the chunks come from.
enum Source {
    Events(Reading),
    /// A server that does not stream answers with one object.
    Whole(Option<Reading>),
}

impl Answer {
    pub(crate) fn new(response: Response, limits: &Limits, sink: RunSink) -> Self {
        let json = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/json"));
        let reading = Reading::new(response, limits, sink);
        Self {
            source: if json { Source::Whole(Some(reading)) } else { Source::Events(reading) },
            waiting: VecDeque::new(),
            pieces: Pieces::default(),
            over: false,
        }
    }

    /// The next pieces, or `None` when the answer is complete.
    ///
    /// # Errors
    ///
    /// The provider reported an error, sent what is no JSON or too much of it, or was cut off.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Piece>>, Failure> {
        loop {
            if let Some(chunk) = self.waiting.pop_front() {
                return self.pieces.read(&chunk).map(Some);
            }
            if self.over {
                return if self.pieces.finished { Ok(None) } else { Err(cut_off()) };
            }
            self.read().await?;
        }
    }

    /// Reads chunks that wait then, or learns that there are none.
    async fn read(&mut self) -> Result<(), Failure> {
        match &mut self.source {
            Source::Whole(reading) => {
                let Some(reading) = reading.take() else {
                    self.over = true;
                    return Ok(());
                };
                let whole = reading.whole().await.map_err(unreadable)?;
                self.waiting.extend(Some(whole).filter(|whole| !whole.trim().is_empty()));
            }
            Source::Events(reading) => match reading.next().await.map_err(unreadable)? {
                Some(chunks) => self.waiting.extend(chunks),
                None if reading.rubbish() > 0 => return Err(malformed()),
                None => {
                    self.pieces.finished |= reading.is_done();
                    self.over = true;
                }
            },
        }
        Ok(())
    }
}

fn unreadable(error: Unreadable) -> Failure {
    match error {
        Unreadable::CutOff | Unreadable::Stopped => cut_off(),
        Unreadable::LongChunk | Unreadable::LongAnswer => too_large(),
    }
}

/// The failure of a model that says more than it may.
pub(crate) fn too_large() -> Failure {
    Failure::new(
        "too_large",
        "The model's server sent more than an answer may have. Ask for less at a time.",
    )
}

fn cut_off() -> Failure {
    Failure::new("model_truncated", "The model's answer was cut off before its end.")
}
