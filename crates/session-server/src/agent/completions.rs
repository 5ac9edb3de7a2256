//! One answer of an OpenAI-compatible chat-completions endpoint: how it is asked for and how it ends.
//!
//! What the answer says is read by `pieces`, whatever the content type: a server that does not stream answers with one
//! object, and some say of a stream that it is JSON. An answer that ends without a reason was cut off, with `[DONE]` or
//! without. Behind a reason little is waited for: the usage, mostly.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use reqwest::{Client, Response, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::{
    dialogue::{Dialogue, Messages},
    lenient,
    lines::AgentEvent,
    pieces::{Complete, Failure, Piece, Pieces, cut_off, malformed, too_large},
    reading::{Reading, Unreadable},
    ways::{Findings, Sent, Way, Ways, after},
};
use crate::{
    config::{Limits, ModelConfig},
    run::RunSink,
    ssrf,
};

/// Bytes of a provider's error answer that are looked at.
const MAX_ERROR: usize = 64 << 10;
/// Letters of a failure.
const MAX_MESSAGE: usize = 300;
/// Requests for one answer.
const MAX_ASKED: usize = 6;
/// Time in which something may follow behind the reason for the end.
const AFTER_END: Duration = Duration::from_secs(5);
/// Redirects within the provider's origin that are followed.
const REDIRECTS: usize = 5;

/// Asks for an answer, in the ways that are known of the endpoint and the model. What a refusal names is left out then,
/// and kept as a finding when that helped.
pub(crate) async fn ask(
    http: &Client,
    config: &ModelConfig,
    findings: &Findings,
    dialogue: &Dialogue,
    tools: &Value,
) -> Result<Response, Failure> {
    let known = findings.of(&config.base_url, &config.model);
    let (mut ways, mut tried) = (known.clone(), known.clone());
    let sent = Sent {
        calls: dialogue.has_calls(),
        system: dialogue.has_system(),
        pictures: dialogue.has_pictures(),
    };
    let mut last: Option<(Way, StatusCode, String)> = None;
    for asked in 1.. {
        let (status, text) = match post(http, config, &ways, dialogue, tools).await? {
            Ok(response) => {
                if ways != known {
                    findings.keep(&config.base_url, &config.model, &ways).await;
                }
                return Ok(response);
            }
            Err(refusal) => refusal,
        };
        // What changed nothing is no finding.
        if let Some((way, before, said)) = &last
            && (*before, said) == (status, &text)
        {
            ways.remove(way);
        }
        let next = after(status.as_u16(), &text, &config.model, sent, &tried);
        let Some(next) = next.filter(|_| asked < MAX_ASKED) else {
            return Err(refused(status, &text));
        };
        ways.insert(next);
        tried.insert(next);
        // One gives way to the other.
        match next {
            Way::AllReasoning => ways.remove(&Way::NoReasoning),
            Way::NoReasoning => ways.remove(&Way::AllReasoning),
            Way::NoSystem => ways.remove(&Way::Developer),
            _ => false,
        };
        last = Some((next, status, text));
    }
    unreachable!("the loop ends by itself")
}

type Attempt = Result<Response, (StatusCode, String)>;

async fn post(
    http: &Client,
    config: &ModelConfig,
    ways: &Ways,
    dialogue: &Dialogue,
    tools: &Value,
) -> Result<Attempt, Failure> {
    let has = |way| ways.contains(&way);
    let stream = !has(Way::NoStream);
    let asked = Asked {
        model: &config.model,
        messages: dialogue.messages(ways),
        stream,
        stream_options: (stream && !has(Way::NoStreamOptions))
            .then_some(StreamOptions { include_usage: true }),
        tools: Some(tools).filter(|_| !has(Way::NoTools)),
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
    text.truncate(MAX_ERROR);
    Ok(Err((status, String::from_utf8_lossy(&text).into_owned())))
}

/// The body of a request.
#[derive(Serialize)]
struct Asked<'a> {
    model: &'a str,
    messages: Messages<'a>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a Value>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// Posts to the provider. Redirects are followed within its origin only, by us: the conversation and the key are for
/// the server whose address a person typed, and for nobody that it names.
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
            .header(header::ACCEPT, "text/event-stream, application/json")
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
    let said = lenient::parse(text).and_then(|body| lenient::said(&body));
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
pub(crate) struct ModelAnswer {
    reading: Reading,
    /// Events that were read and not looked at.
    waiting: VecDeque<AgentEvent>,
    pieces: Pieces,
    over: bool,
}

impl ModelAnswer {
    pub(crate) fn new(response: Response, limits: &Limits, sink: RunSink) -> Self {
        Self {
            reading: Reading::new(response, limits, sink),
            waiting: VecDeque::new(),
            pieces: Pieces::new(limits.arguments_bytes),
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
            if let Some(event) = self.waiting.pop_front() {
                let pieces = self.pieces.read(&event)?;
                if self.pieces.is_finished() {
                    self.reading.end_within(AFTER_END);
                }
                return Ok(Some(pieces));
            }
            if self.over {
                return Ok(None);
            }
            match self.reading.next().await.map_err(unreadable)? {
                Some(events) => self.waiting.extend(events),
                None => {
                    self.over = true;
                    return self.end().map(Some);
                }
            }
        }
    }

    /// Pieces that were held until the answer was over. Rubbish in a complete answer cost only itself, unless it is an
    /// error.
    fn end(&mut self) -> Result<Vec<Piece>, Failure> {
        let words = self.reading.words().unwrap_or_default();
        let is_odd = !self.pieces.is_finished() && self.reading.dropped() > 0;
        if is_odd || (words.starts_with(['{', '[']) && words.to_lowercase().contains("error")) {
            return Err(no_answer(words));
        }
        self.pieces.finish()
    }

    /// The rest of the answer. To be called when it is complete.
    pub(crate) fn into_complete(self) -> Complete {
        self.pieces.into_complete()
    }
}

/// The failure of a server that sends no JSON but these words.
fn no_answer(words: &str) -> Failure {
    let mut failure = malformed();
    let words = words.trim();
    let is_telling = !words.starts_with(['{', '[']) || words.to_lowercase().contains("error");
    if is_telling && !words.is_empty() && !words.starts_with('<') {
        let said = format!("The model's server sent no answer but this: {words}");
        failure.message = said.chars().take(MAX_MESSAGE).collect();
    }
    failure
}

fn unreadable(error: Unreadable) -> Failure {
    match error {
        Unreadable::CutOff | Unreadable::Stopped => cut_off(),
        Unreadable::LongChunk | Unreadable::LongAnswer => too_large(),
    }
}
