//! Speaks the adapter protocol of the Durable Streams client conformance suite: one JSON command a
//! line on stdin, one JSON result a line on stdout.
//!
//! The suite is the `client-conformance-tests` package of `durable-streams/durable-streams`. Build
//! this example and give its path to the suite's `--run`.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use durable_stream::{
    AppendOptions, Batch, Bytes, Client, CloseOptions, CreateOptions, Error, FollowOptions, Live,
    Offset, Producer, ProducerOptions, ProducerStamp, RetryPolicy, StreamHandle, Url,
};
use futures::StreamExt;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const OCTETS: &str = "application/octet-stream";

/// All commands in one shape: each uses some of the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Command {
    #[serde(rename = "type")]
    kind: String,
    server_url: String,
    path: String,
    headers: HashMap<String, String>,
    content_type: Option<String>,
    ttl_seconds: Option<u64>,
    expires_at: Option<String>,
    closed: bool,
    data: Option<String>,
    binary: bool,
    seq: Option<Value>,
    producer_id: Option<String>,
    producer_epoch: Option<u64>,
    producer_seq: Option<u64>,
    epoch: u64,
    auto_claim: bool,
    items: Vec<String>,
    max_in_flight: Option<usize>,
    offset: Option<String>,
    live: Value,
    timeout_ms: Option<u64>,
    max_chunks: Option<usize>,
    wait_for_up_to_date: bool,
    name: String,
    value_type: String,
    initial_value: Option<String>,
    target: Map<String, Value>,
    iteration_id: String,
    operation: Operation,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Operation {
    op: String,
    path: String,
    size: usize,
    count: usize,
    concurrency: usize,
    live: Option<String>,
    content_type: Option<String>,
    offset: Option<String>,
}

/// A value that is made anew for each request.
#[derive(Clone, Debug)]
enum Dynamic {
    Counter(u64),
    Timestamp,
    Token(String),
}

impl Dynamic {
    fn new(command: &Command) -> Self {
        match command.value_type.as_str() {
            "counter" => Self::Counter(0),
            "timestamp" => Self::Timestamp,
            _ => Self::Token(command.initial_value.clone().unwrap_or_default()),
        }
    }

    fn next(&mut self) -> String {
        match self {
            Self::Counter(count) => {
                *count += 1;
                count.to_string()
            }
            Self::Timestamp => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis()
                .to_string(),
            Self::Token(token) => token.clone(),
        }
    }
}

#[derive(Default)]
struct DynamicHeaders {
    values: HashMap<String, Dynamic>,
    /// Headers that the last request was sent with, by name.
    sent: HashMap<String, String>,
}

struct Failure {
    status: Option<u16>,
    code: &'static str,
    message: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotFound { .. } => "NOT_FOUND",
            Error::StreamClosed { .. } => "STREAM_CLOSED",
            Error::SequenceGap { .. } => "SEQUENCE_CONFLICT",
            Error::Conflict { .. } => "CONFLICT",
            Error::BadRequest { .. } => "INVALID_OFFSET",
            Error::Timeout { .. } => "TIMEOUT",
            Error::Connect { .. } | Error::Interrupted { .. } | Error::Request { .. } => {
                "NETWORK_ERROR"
            }
            Error::Body { .. } | Error::Sse { .. } | Error::Protocol { .. } => "PARSE_ERROR",
            Error::InvalidInput { .. } => "INVALID_ARGUMENT",
            _ if error.status().is_some() => "UNEXPECTED_STATUS",
            _ => "INTERNAL_ERROR",
        };
        let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        Self { status: error.status(), code, message: format!("{error}{cause}") }
    }
}

type Answer = Result<Value, Failure>;

struct Adapter {
    http: reqwest::Client,
    base: String,
    content_types: HashMap<String, String>,
    dynamic_headers: Arc<Mutex<DynamicHeaders>>,
    dynamic_params: HashMap<String, Dynamic>,
    producers: HashMap<(String, String, u64), Producer>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let mut adapter = Adapter {
        http,
        base: String::new(),
        content_types: HashMap::new(),
        dynamic_headers: Arc::default(),
        dynamic_params: HashMap::new(),
        producers: HashMap::new(),
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut out = tokio::io::stdout();
    while let Some(line) = lines.next_line().await? {
        if line.trim().is_empty() {
            continue;
        }
        let command: Command = serde_json::from_str(&line)?;
        let kind = command.kind.clone();
        let mut result = match adapter.run(command).await {
            Ok(Value::Object(fields)) => {
                let mut result = Map::from_iter([
                    ("type".to_owned(), json!(kind)),
                    ("success".to_owned(), json!(true)),
                ]);
                result.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
                Value::Object(result)
            }
            Ok(_) => json!({ "type": kind, "success": true }),
            Err(failure) => {
                let mut result = json!({
                    "type": "error",
                    "success": false,
                    "commandType": kind,
                    "errorCode": failure.code,
                    "message": failure.message,
                });
                if let Some(status) = failure.status {
                    result["status"] = json!(status);
                }
                result
            }
        }
        .to_string();
        // The other side may take these for ends of lines.
        result = result.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
        result.push('\n');
        out.write_all(result.as_bytes()).await?;
        out.flush().await?;
        if kind == "shutdown" {
            break;
        }
    }
    Ok(())
}

impl Adapter {
    async fn run(&mut self, command: Command) -> Answer {
        match command.kind.as_str() {
            "init" => self.init(command),
            "create" => self.create(command).await,
            "connect" | "head" => self.head(command).await,
            "append" => self.append(command).await,
            "read" => self.read(command).await,
            "delete" => self.delete(command).await,
            "close" => self.close(command).await,
            "idempotent-append" => self.produce(command).await,
            "idempotent-append-batch" => self.produce_batch(command).await,
            "idempotent-close" => self.produce_close(command).await,
            "idempotent-detach" => self.detach(command).await,
            "set-dynamic-header" => {
                let mut headers = self.dynamic_headers.lock().expect("never poisoned");
                headers.values.insert(command.name.clone(), Dynamic::new(&command));
                Ok(Value::Null)
            }
            "set-dynamic-param" => {
                self.dynamic_params.insert(command.name.clone(), Dynamic::new(&command));
                Ok(Value::Null)
            }
            "clear-dynamic" => {
                *self.dynamic_headers.lock().expect("never poisoned") = DynamicHeaders::default();
                self.dynamic_params.clear();
                Ok(Value::Null)
            }
            "validate" => validate(&command.target),
            "benchmark" => self.benchmark(command).await,
            "shutdown" => Ok(Value::Null),
            other => Err(Failure {
                status: None,
                code: "NOT_SUPPORTED",
                message: format!("unknown command {other}"),
            }),
        }
    }

    fn init(&mut self, command: Command) -> Answer {
        self.base = command.server_url;
        self.content_types.clear();
        self.producers.clear();
        Ok(json!({
            "clientName": "durable-stream (Rust)",
            "clientVersion": env!("CARGO_PKG_VERSION"),
            "features": {
                "batching": true,
                "sse": true,
                "longPoll": true,
                "auto": true,
                "streaming": true,
                "dynamicHeaders": true,
                "retryOptions": true,
                "batchItems": true,
                "strictZeroValidation": true,
            },
        }))
    }

    /// The stream at a path; also the dynamic parameters its requests carry.
    fn stream(
        &mut self,
        path: &str,
        headers: &HashMap<String, String>,
    ) -> Result<(StreamHandle, HashMap<String, String>), Failure> {
        let mut url = Url::parse(&format!("{}{path}", self.base)).map_err(|error| Failure {
            status: None,
            code: "INVALID_ARGUMENT",
            message: error.to_string(),
        })?;
        let params: HashMap<String, String> = self
            .dynamic_params
            .iter_mut()
            .map(|(name, value)| (name.clone(), value.next()))
            .collect();
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(&params);
        }
        let dynamic = Arc::clone(&self.dynamic_headers);
        let fixed = header_map(headers);
        let provider = move || {
            let mut dynamic = dynamic.lock().expect("never poisoned");
            let made: HashMap<String, String> = dynamic
                .values
                .iter_mut()
                .map(|(name, value)| (name.clone(), value.next()))
                .collect();
            let mut headers = header_map(&made);
            dynamic.sent = made;
            headers.extend(fixed.clone());
            headers
        };
        let retry =
            RetryPolicy::new(Some(5), Duration::from_millis(100), Duration::from_secs(1), 2.0)?;
        let client = Client::builder()
            .http(self.http.clone())
            .header_provider(provider)
            .retry(retry)
            .follow_retry(retry)
            .build()?;
        Ok((client.stream(url), params))
    }

    fn content_type(&self, path: &str) -> String {
        self.content_types.get(path).cloned().unwrap_or_else(|| OCTETS.to_owned())
    }

    fn headers_sent(&self) -> Value {
        let sent = &self.dynamic_headers.lock().expect("never poisoned").sent;
        if sent.is_empty() { Value::Null } else { json!(sent) }
    }

    async fn create(&mut self, command: Command) -> Answer {
        let (stream, _) = self.stream(&command.path, &command.headers)?;
        let content_type = command.content_type.unwrap_or_else(|| OCTETS.to_owned());
        let created = stream
            .create(CreateOptions {
                content_type: Some(content_type.clone()),
                ttl: command.ttl_seconds.map(Duration::from_secs),
                expires_at: command.expires_at,
                closed: command.closed,
                body: command.data.unwrap_or_default().into(),
                fork: None,
            })
            .await?;
        self.content_types.insert(command.path, content_type);
        let status = if created.is_new { 201 } else { 200 };
        Ok(json!({ "status": status, "offset": created.next_offset }))
    }

    async fn head(&mut self, command: Command) -> Answer {
        let (stream, _) = self.stream(&command.path, &command.headers)?;
        let head = stream.head().await?;
        if let Some(content_type) = &head.content_type {
            self.content_types.insert(command.path, content_type.clone());
        }
        Ok(json!({
            "status": 200,
            "offset": head.next_offset,
            "contentType": head.content_type,
            "ttlSeconds": head.ttl.map(|ttl| ttl.as_secs()),
            "expiresAt": head.expires_at,
            "streamClosed": head.closed,
        }))
    }

    async fn append(&mut self, command: Command) -> Answer {
        let (stream, params) = self.stream(&command.path, &command.headers)?;
        let content_type = self.content_type(&command.path);
        let data = command.data.unwrap_or_default();
        let body = if command.binary {
            Bytes::from(STANDARD.decode(data).unwrap_or_default())
        } else {
            body_of(&content_type, &data)
        };
        let producer = command.producer_id.map(|id| ProducerStamp {
            id,
            epoch: command.producer_epoch.unwrap_or_default(),
            seq: command.producer_seq.unwrap_or_default(),
        });
        let seq =
            command.seq.map(|seq| seq.as_str().map_or_else(|| seq.to_string(), str::to_owned));
        // The suite wants plain appends to be repeated after a 500.
        let options =
            AppendOptions { content_type, seq, producer, close: false, at_least_once: true };
        let sequenced = options.seq.is_some();
        let appended = stream.append(body, options).await.map_err(|error| match error {
            // The server does not say which conflict it is; this is the one an append can run into.
            error @ Error::Conflict { .. } if sequenced => {
                Failure { code: "SEQUENCE_CONFLICT", ..Failure::from(error) }
            }
            error => error.into(),
        })?;
        Ok(json!({
            "status": if appended.duplicate { 204 } else { 200 },
            "offset": appended.next_offset,
            "duplicate": appended.duplicate,
            "producerEpoch": appended.producer_epoch,
            "producerSeq": appended.producer_seq,
            "headersSent": self.headers_sent(),
            "paramsSent": if params.is_empty() { Value::Null } else { json!(params) },
        }))
    }

    async fn read(&mut self, command: Command) -> Answer {
        let (stream, params) = self.stream(&command.path, &command.headers)?;
        let is_json = self.content_type(&command.path).starts_with("application/json");
        let live = match &command.live {
            Value::Bool(true) => Live::Auto,
            Value::String(mode) if mode == "sse" => Live::Sse,
            Value::String(mode) if mode == "long-poll" => Live::LongPoll,
            _ => Live::No,
        };
        let mut offset = command.offset.map(Offset::from).unwrap_or_default();
        let deadline = Duration::from_millis(command.timeout_ms.unwrap_or(5000));
        let deadline = tokio::time::Instant::now() + deadline;
        let mut batches = stream.follow_with(FollowOptions::new(offset.clone(), live));
        let mut chunks = Vec::new();
        let (mut up_to_date, mut closed, mut cursor) = (false, false, None);
        loop {
            let Ok(next) = tokio::time::timeout_at(deadline, batches.next()).await else {
                // Nothing came: everything has been read.
                up_to_date = true;
                break;
            };
            let Some(batch) = next.transpose()? else { break };
            if !batch.items.is_empty() {
                chunks.push(chunk(&batch, is_json));
            }
            offset = batch.next_offset;
            up_to_date = batch.up_to_date;
            closed = batch.closed;
            cursor = batch.cursor;
            let enough = chunks.len() >= command.max_chunks.unwrap_or(100);
            if live != Live::No && (enough || command.wait_for_up_to_date && up_to_date) {
                break;
            }
        }
        let waited = live == Live::LongPoll && chunks.is_empty();
        Ok(json!({
            "status": if waited { 204 } else { 200 },
            "chunks": chunks,
            "offset": offset,
            "upToDate": up_to_date,
            "streamClosed": closed,
            "cursor": cursor,
            "headersSent": self.headers_sent(),
            "paramsSent": if params.is_empty() { Value::Null } else { json!(params) },
        }))
    }

    async fn delete(&mut self, command: Command) -> Answer {
        let (stream, _) = self.stream(&command.path, &command.headers)?;
        stream.delete().await?;
        self.content_types.remove(&command.path);
        Ok(json!({ "status": 200 }))
    }

    async fn close(&mut self, command: Command) -> Answer {
        let (stream, _) = self.stream(&command.path, &command.headers)?;
        let content_type = command.content_type.unwrap_or_else(|| self.content_type(&command.path));
        let body = command.data.map(|data| body_of(&content_type, &data)).unwrap_or_default();
        let options = CloseOptions { body, content_type: Some(content_type), producer: None };
        let closed = stream.close(options).await?;
        Ok(json!({ "finalOffset": closed.next_offset }))
    }

    /// The producer that all commands mean which name it.
    fn producer(&mut self, command: &Command) -> Result<Producer, Failure> {
        let id = command.producer_id.clone().unwrap_or_default();
        let key = (command.path.clone(), id.clone(), command.epoch);
        if let Some(producer) = self.producers.get(&key) {
            return Ok(producer.clone());
        }
        let (stream, _) = self.stream(&command.path, &command.headers)?;
        let producer = stream.producer(ProducerOptions {
            epoch: command.epoch,
            auto_claim: command.auto_claim,
            content_type: self.content_type(&command.path),
            linger: Duration::ZERO,
            max_in_flight: 1,
            ..ProducerOptions::new(id)
        })?;
        self.producers.insert(key, producer.clone());
        Ok(producer)
    }

    async fn produce(&mut self, command: Command) -> Answer {
        let producer = self.producer(&command)?;
        let receipt = producer.append(command.data.unwrap_or_default()).await?.await?;
        Ok(json!({
            "status": 200,
            "offset": receipt.next_offset,
            "duplicate": receipt.duplicate,
            "producerSeq": receipt.seq,
        }))
    }

    async fn produce_batch(&mut self, command: Command) -> Answer {
        let (stream, _) = self.stream(&command.path, &command.headers)?;
        let max_in_flight = command.max_in_flight.unwrap_or(1);
        let id = command.producer_id.unwrap_or_default();
        let options = ProducerOptions {
            epoch: command.epoch,
            auto_claim: command.auto_claim,
            content_type: self.content_type(&command.path),
            max_in_flight,
            ..ProducerOptions::new(id)
        };
        // Several at a time only show with small batches.
        let options = match max_in_flight {
            0 | 1 => ProducerOptions { linger: Duration::from_secs(1), ..options },
            _ => ProducerOptions { linger: Duration::ZERO, max_batch_bytes: 1, ..options },
        };
        let producer = stream.producer(options)?;
        let mut receipts = Vec::new();
        for item in command.items {
            receipts.push(producer.append(item).await?);
        }
        let flushed = producer.flush().await;
        let receipts: Result<Vec<_>, Error> =
            futures::future::join_all(receipts).await.into_iter().collect();
        let last = receipts?.last().map(|receipt| receipt.seq);
        flushed?;
        producer.detach().await?;
        Ok(json!({ "status": 200, "producerSeq": last }))
    }

    async fn produce_close(&mut self, command: Command) -> Answer {
        let producer = self.producer(&command)?;
        let closed = producer.close(command.data.map(Bytes::from)).await?;
        Ok(json!({ "status": 200, "finalOffset": closed.next_offset }))
    }

    async fn detach(&mut self, command: Command) -> Answer {
        let producer = self.producer(&command)?;
        producer.detach().await?;
        self.producers.remove(&(
            command.path,
            command.producer_id.unwrap_or_default(),
            command.epoch,
        ));
        Ok(json!({ "status": 200 }))
    }

    async fn benchmark(&mut self, command: Command) -> Answer {
        let operation = command.operation;
        let started = Instant::now();
        let (bytes, messages) = self.measure(&operation).await?;
        let elapsed = started.elapsed();
        let rate = |amount: usize| amount as f64 / elapsed.as_secs_f64();
        Ok(json!({
            "iterationId": command.iteration_id,
            "durationNs": elapsed.as_nanos().to_string(),
            "metrics": {
                "bytesTransferred": bytes,
                "messagesProcessed": messages,
                "opsPerSecond": rate(messages),
                "bytesPerSecond": rate(bytes),
            },
        }))
    }

    /// Does what is to be timed. Bytes and messages that went over the wire.
    async fn measure(&mut self, operation: &Operation) -> Result<(usize, usize), Failure> {
        let (stream, _) = self.stream(&operation.path, &HashMap::new())?;
        let content_type =
            operation.content_type.clone().unwrap_or_else(|| self.content_type(&operation.path));
        let payload = Bytes::from(vec![42; operation.size]);
        let create = || CreateOptions {
            content_type: Some(content_type.clone()),
            ..CreateOptions::default()
        };
        match operation.op.as_str() {
            "append" => {
                stream.append(payload, AppendOptions::content_type(content_type)).await?;
                Ok((operation.size, 1))
            }
            "create" => {
                stream.create(create()).await?;
                Ok((0, 1))
            }
            "roundtrip" => {
                stream.create(create()).await?;
                let live = if operation.live.as_deref() == Some("sse") {
                    Live::Sse
                } else {
                    Live::LongPoll
                };
                let mut batches = stream.follow(Offset::Beginning, live);
                let read = async {
                    let mut bytes = 0;
                    while bytes == 0 {
                        let Some(batch) = batches.next().await.transpose()? else { break };
                        bytes += batch.items.iter().map(Bytes::len).sum::<usize>();
                    }
                    Ok::<usize, Error>(bytes)
                };
                let append =
                    stream.append(payload, AppendOptions::content_type(content_type.clone()));
                let (bytes, _) = futures::future::try_join(read, append).await?;
                Ok((operation.size + bytes, 2))
            }
            "throughput_append" => {
                // The stream may be there already.
                let _ = stream.create(create()).await;
                let producer = stream.producer(ProducerOptions {
                    content_type,
                    linger: Duration::ZERO,
                    max_in_flight: operation.concurrency.max(1),
                    ..ProducerOptions::new("benchmark")
                })?;
                for _ in 0..operation.count {
                    drop(producer.append(payload.clone()).await?);
                }
                producer.flush().await?;
                Ok((operation.count * operation.size, operation.count))
            }
            _ => {
                let from = operation.offset.clone().map(Offset::from).unwrap_or_default();
                let mut batches = stream.follow(from, Live::No);
                let (mut bytes, mut messages) = (0, 0);
                while let Some(batch) = batches.next().await.transpose()? {
                    bytes += batch.items.iter().map(Bytes::len).sum::<usize>();
                    messages += batch.items.len();
                }
                Ok((bytes, messages))
            }
        }
    }
}

fn header_map(headers: &HashMap<String, String>) -> HeaderMap {
    headers
        .iter()
        .filter_map(|(name, value)| {
            Some((
                HeaderName::from_bytes(name.as_bytes()).ok()?,
                HeaderValue::from_str(value).ok()?,
            ))
        })
        .collect()
}

/// One item as the body of an append.
fn body_of(content_type: &str, data: &str) -> Bytes {
    if content_type.starts_with("application/json") && !data.is_empty() {
        format!("[{data}]").into()
    } else {
        data.to_owned().into()
    }
}

fn chunk(batch: &Batch, is_json: bool) -> Value {
    let data = if is_json {
        [b"[", batch.items.join(&b","[..]).as_slice(), b"]"].concat()
    } else {
        batch.items.concat()
    };
    match String::from_utf8(data) {
        Ok(text) => json!({ "data": text, "offset": batch.next_offset }),
        Err(error) => json!({
            "data": STANDARD.encode(error.as_bytes()),
            "binary": true,
            "offset": batch.next_offset,
        }),
    }
}

fn validate(target: &Map<String, Value>) -> Answer {
    let refuse = |what: &str| Failure {
        status: None,
        code: "INVALID_ARGUMENT",
        message: format!("invalid {what}"),
    };
    // Numbers that the types of the library cannot even express are refused here.
    let natural = |name: &'static str, default: u64| match target.get(name) {
        None => Ok(default),
        Some(value) => value.as_u64().ok_or_else(|| refuse(name)),
    };
    let blame = |name: &'static str| {
        move |error: Error| Failure { message: format!("{name}: {error}"), ..Failure::from(error) }
    };
    if target.get("target").and_then(Value::as_str) == Some("retry-options") {
        let retries = u32::try_from(natural("maxRetries", 3)?).map_err(|_| refuse("maxRetries"))?;
        let initial = Duration::from_millis(natural("initialDelayMs", 100)?);
        let max = Duration::from_millis(natural("maxDelayMs", 60_000)?);
        let multiplier = target.get("multiplier").and_then(Value::as_f64).unwrap_or(2.0);
        RetryPolicy::new(Some(retries), initial, initial.max(max), 1.0)
            .map_err(blame("initialDelayMs"))?;
        RetryPolicy::new(Some(retries), initial, max, 1.0).map_err(blame("maxDelayMs"))?;
        RetryPolicy::new(Some(retries), initial, max, multiplier).map_err(blame("multiplier"))?;
        return Ok(Value::Null);
    }
    let size = |name, default| {
        natural(name, default).map(|size| usize::try_from(size).unwrap_or(usize::MAX))
    };
    let id = target.get("producerId").map_or("test-producer", |id| id.as_str().unwrap_or_default());
    let options = ProducerOptions { epoch: natural("epoch", 0)?, ..ProducerOptions::new(id) };
    options.validate().map_err(blame("producerId or epoch"))?;
    let options = ProducerOptions { max_batch_bytes: size("maxBatchBytes", 1 << 20)?, ..options };
    options.validate().map_err(blame("maxBatchBytes"))?;
    let options = ProducerOptions { max_batch_items: size("maxBatchItems", 1000)?, ..options };
    options.validate().map_err(blame("maxBatchItems"))?;
    Ok(Value::Null)
}
