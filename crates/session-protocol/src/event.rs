//! Decoding one stream item.
//!
//! Items come in several shapes (state envelopes, bare rows of the first writers, bare AG-UI and
//! AI SDK events, numbered records). The shape is decided per item; what none of them fits is
//! [`Event::Malformed`]. Nothing is dropped silently: the fold counts it (L9).

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chunk::is_ai_sdk;
use crate::row::Role;
use crate::text::{Str, json_text, lenient_value};

/// An item of the stream, decoded. Borrows from the item.
#[derive(Debug)]
pub enum Event<'a> {
    /// A chunk of a message, in an envelope or bare.
    Chunk(ChunkEvent<'a>),
    /// A presence row.
    Presence(RowEvent<'a>),
    /// An agent row.
    Agent(RowEvent<'a>),
    /// A row of an Electric entity stream (read only).
    Entity(RowEvent<'a>),
    /// A row of a type we do not know: kept by readers that want it, no effect here.
    Other(RowEvent<'a>),
    /// Something about the stream itself.
    Control(Control),
    /// An event of a stream without envelopes.
    Bare(BareEvent<'a>),
    /// An item of which nothing can be used.
    Malformed {
        /// The fault, without the item's contents.
        reason: &'static str,
        /// The item's transaction id, if that much could be read.
        txid: Option<Cow<'a, str>>,
    },
}

impl Event<'_> {
    /// The writer's transaction id, by which a sender knows its own event.
    pub fn txid(&self) -> Option<&str> {
        match self {
            Self::Chunk(chunk) => chunk.txid.as_deref(),
            Self::Presence(row) | Self::Agent(row) | Self::Entity(row) | Self::Other(row) => {
                row.txid.as_deref()
            }
            Self::Malformed { txid, .. } => txid.as_deref(),
            Self::Control(_) | Self::Bare(_) => None,
        }
    }
}

/// An operation on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// New; merges when the key exists.
    Insert,
    /// Merges; creates when the key is missing.
    Update,
    /// Inserts or updates it, which readers take for the same.
    Upsert,
    /// Gone; nothing happens when the key is missing.
    Delete,
}

impl Operation {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "insert" => Self::Insert,
            "update" => Self::Update,
            "upsert" => Self::Upsert,
            "delete" => Self::Delete,
            _ => return None,
        })
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

/// A row in an envelope.
pub struct RowEvent<'a> {
    /// The row's type.
    pub type_: Cow<'a, str>,
    /// The row's key: with the type, its identity.
    pub key: Cow<'a, str>,
    /// The operation on the row.
    pub operation: Operation,
    /// The new value (an object), `None` on delete.
    pub value: Option<&'a RawValue>,
    /// The writer's transaction id.
    pub txid: Option<Cow<'a, str>>,
}

impl fmt::Debug for RowEvent<'_> {
    // L11: a row's value is a person's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowEvent")
            .field("type", &self.type_)
            .field("key", &self.key)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// A chunk of a message.
pub struct ChunkEvent<'a> {
    /// The row's key, usually `<messageId>:<seq>`.
    pub key: Cow<'a, str>,
    /// The operation on the row.
    pub operation: Operation,
    /// The row's value as text, `None` on delete.
    pub raw: Option<&'a str>,
    /// The row's fields, all absent on delete.
    pub fields: ChunkFields<'a>,
    /// The writer's transaction id.
    pub txid: Option<Cow<'a, str>>,
    /// The run of the message's agent that begins with it, as its server says (`headers.run`).
    pub run: Option<RunMark>,
}

impl ChunkEvent<'_> {
    /// The message: the value's `messageId`, else the key up to its last colon.
    pub fn message_id(&self) -> &str {
        self.fields.message_id.as_deref().unwrap_or_else(|| split_key(&self.key).0)
    }

    /// The sequence number: the value's `seq`, else what stands behind the key's last colon.
    pub fn seq(&self) -> i64 {
        self.fields.seq.or_else(|| split_key(&self.key).1).unwrap_or(0)
    }
}

impl fmt::Debug for ChunkEvent<'_> {
    // L11: the chunk is text of a conversation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkEvent")
            .field("key", &self.key)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// The mark of a run on its first row, in `headers.run`.
///
/// The chunks of a run alone do not tell where one ends and the next begins, because agents end a response more than
/// once, or not at all. Readers that do not know the mark ignore it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMark {
    /// The run.
    pub id: String,
    /// Number of agents that reacted to agents before it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub depth: u32,
    /// Number of answers that its agent is told: of those in the message, from the oldest that no run told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub told: usize,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Splits a key at its last colon: message ids may hold colons themselves.
pub fn split_key(key: &str) -> (&str, Option<i64>) {
    match key.rsplit_once(':') {
        Some((id, seq)) => match seq.parse() {
            Ok(seq) => (id, Some(seq)),
            Err(_) => (key, None),
        },
        None => (key, None),
    }
}

/// The fields of a chunk row. Every one may be absent in a partial update.
#[derive(Default)]
pub struct ChunkFields<'a> {
    /// The message.
    pub message_id: Option<Cow<'a, str>>,
    /// Who wrote it.
    pub actor_id: Option<Cow<'a, str>>,
    /// As what.
    pub role: Option<Role>,
    /// JSON text of the inner chunk.
    pub chunk: Option<Cow<'a, str>>,
    /// The row's place in the message.
    pub seq: Option<i64>,
    /// The server's time.
    pub created_at: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct TypedFields<'a> {
    #[serde(rename = "messageId", borrow, default)]
    message_id: Option<Str<'a>>,
    #[serde(rename = "actorId", borrow, default)]
    actor_id: Option<Str<'a>>,
    #[serde(rename = "actorType", borrow, default)]
    actor_type: Option<Str<'a>>,
    #[serde(borrow, default)]
    role: Option<Str<'a>>,
    #[serde(borrow, default)]
    chunk: Option<Str<'a>>,
    #[serde(default)]
    seq: Option<i64>,
    #[serde(rename = "createdAt", borrow, default)]
    created_at: Option<Str<'a>>,
}

fn role(role: Option<&str>, actor_type: Option<&str>) -> Option<Role> {
    match role {
        Some("user") => return Some(Role::User),
        Some("assistant") => return Some(Role::Assistant),
        Some("system") => return Some(Role::System),
        _ => {}
    }
    // Rows of the first writers have no role.
    match actor_type {
        Some("user") => Some(Role::User),
        Some("agent") => Some(Role::Assistant),
        _ => None,
    }
}

impl<'a> ChunkFields<'a> {
    /// Reads a row's value whose fields have the types they should have.
    fn typed(raw: &'a str) -> Option<Self> {
        // A sequence would be taken for a struct.
        let typed =
            raw.starts_with('{').then(|| serde_json::from_str::<TypedFields<'a>>(raw))?.ok()?;
        let role = role(
            typed.role.as_ref().map(|r| r.0.as_ref()),
            typed.actor_type.as_ref().map(|r| r.0.as_ref()),
        );
        Some(Self {
            message_id: typed.message_id.map(|s| s.0),
            actor_id: typed.actor_id.map(|s| s.0),
            role,
            chunk: typed.chunk.map(|s| s.0),
            seq: typed.seq,
            created_at: typed.created_at.map(|s| s.0),
        })
    }

    /// Reads a row's value; `None` when it is not an object.
    pub fn parse(raw: &'a str) -> Option<Self> {
        if let Some(fields) = Self::typed(raw) {
            return Some(fields);
        }
        // Sloppy: numbers for strings, an object for the chunk's text, lone surrogates.
        let Value::Object(map) = lenient_value(raw)? else { return None };
        let text = |name: &str| match map.get(name) {
            Some(Value::String(text)) => Some(Cow::Owned(text.clone())),
            Some(other @ (Value::Number(_) | Value::Object(_))) => {
                Some(Cow::Owned(other.to_string()))
            }
            _ => None,
        };
        #[expect(clippy::cast_possible_truncation, reason = "a saturating cast is what is meant")]
        let seq = map.get("seq").and_then(|n| n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)));
        Some(Self {
            message_id: text("messageId"),
            actor_id: text("actorId"),
            role: role(
                map.get("role").and_then(Value::as_str),
                map.get("actorType").and_then(Value::as_str),
            ),
            chunk: text("chunk"),
            seq,
            created_at: text("createdAt"),
        })
    }
}

/// Something about the stream itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Drop everything before.
    Reset,
    /// A snapshot begins; no effect.
    SnapshotStart,
    /// A snapshot ends; no effect.
    SnapshotEnd,
    /// An unknown word; no effect.
    Unknown,
}

/// An event of a stream without envelopes.
pub enum BareEvent<'a> {
    /// An AG-UI event of a stream that holds the whole session.
    Agui(&'a str),
    /// An AI SDK chunk of a stream that holds one generation.
    AiSdk(&'a str),
    /// A numbered record around an AG-UI event: `{v: 1, seq, chunk}`.
    Numbered {
        /// Counted per run from 1; what is not greater than the last is a repetition.
        seq: i64,
        /// The AG-UI event.
        chunk: &'a str,
    },
}

impl fmt::Debug for BareEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agui(_) => f.write_str("Agui"),
            Self::AiSdk(_) => f.write_str("AiSdk"),
            Self::Numbered { seq, .. } => write!(f, "Numbered({seq})"),
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow, default)]
    type_: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    headers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    v: Option<&'a RawValue>,
    #[serde(borrow, default)]
    seq: Option<&'a RawValue>,
    #[serde(borrow, default)]
    chunk: Option<&'a RawValue>,
    #[serde(rename = "messageId", borrow, default)]
    message_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Headers<'a> {
    #[serde(borrow, default)]
    operation: Option<Str<'a>>,
    #[serde(borrow, default)]
    control: Option<Str<'a>>,
    #[serde(borrow, default)]
    txid: Option<Str<'a>>,
    #[serde(borrow, default)]
    run: Option<&'a RawValue>,
}

impl Headers<'_> {
    /// Somebody else may mean something else by the name: a run has an id.
    fn run_mark(&self) -> Option<RunMark> {
        #[derive(Deserialize)]
        struct Mark<'a> {
            #[serde(borrow)]
            id: Str<'a>,
            #[serde(borrow, default)]
            depth: Option<&'a RawValue>,
            #[serde(borrow, default)]
            told: Option<&'a RawValue>,
        }
        let mark = serde_json::from_str::<Mark<'_>>(self.run?.get()).ok()?;
        let number = |raw: Option<&RawValue>| raw.and_then(|raw| raw.get().parse().ok());
        let depth = number(mark.depth).and_then(|n: u64| u32::try_from(n).ok());
        let told = number(mark.told).and_then(|n: u64| usize::try_from(n).ok());
        let (depth, told) = (depth.unwrap_or(0), told.unwrap_or(0));
        Some(RunMark { id: mark.id.0.into_owned(), depth, told }).filter(|mark| !mark.id.is_empty())
    }
}

/// Headers whose fields are not all strings.
fn sloppy_headers(raw: &str) -> Option<Headers<'_>> {
    let Value::Object(map) = lenient_value(raw)? else { return None };
    let text =
        |name: &str| map.get(name).and_then(Value::as_str).map(|s| Str(Cow::Owned(s.to_owned())));
    let (operation, control, txid) = (text("operation"), text("control"), text("txid"));
    Some(Headers { operation, control, txid, run: None })
}

fn malformed(reason: &'static str) -> Event<'static> {
    Event::Malformed { reason, txid: None }
}

/// Decodes one item. Never fails.
pub fn decode(item: &[u8]) -> Event<'_> {
    let Ok(text) = std::str::from_utf8(item) else { return malformed("not UTF-8") };
    let text = text.trim();
    if !text.starts_with('{') {
        return malformed("not an object");
    }
    if let Some(chunk) = usual_chunk(text) {
        return Event::Chunk(chunk);
    }
    let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else {
        return malformed("not JSON");
    };
    match envelope.headers {
        Some(headers) => enveloped(&envelope, headers.get()),
        None => bare(&envelope, text),
    }
}

/// A chunk row as nearly all writers lay it out: type, key, value, headers, and nothing else.
///
/// It is read in one pass, where the general way below looks at a value twice. What does not fit goes
/// that way: both halves must be whole JSON objects, so there is no other reading of the text.
fn usual_chunk(text: &str) -> Option<ChunkEvent<'_>> {
    const HEADERS: &str = r#"},"headers":{"#;
    const INSERTED: &str = r#","headers":{"operation":"insert"}}"#;
    let rest = text.strip_prefix(r#"{"type":"chunk","key":""#)?;
    let key = &rest[..rest.find(['"', '\\'])?];
    let rest = rest[key.len()..].strip_prefix(r#"","value":"#)?;
    if key.is_empty() {
        return None;
    }
    let key = Cow::Borrowed(key);
    // Of nearly all rows nothing more is said than that they are new.
    if let Some(value) = rest.strip_suffix(INSERTED) {
        let fields = ChunkFields::typed(value)?;
        let (operation, raw) = (Operation::Insert, Some(value));
        return Some(ChunkEvent { key, operation, raw, fields, txid: None, run: None });
    }
    let end = rest.rfind(HEADERS)?;
    let (value, headers) = rest.split_at(end + 1);
    let headers = headers.strip_prefix(&HEADERS[1..HEADERS.len() - 1])?.strip_suffix('}')?;
    let headers = serde_json::from_str::<Headers<'_>>(headers).ok()?;
    let operation = Operation::parse(&headers.operation.as_ref()?.0)?;
    if headers.control.is_some() || operation == Operation::Delete {
        return None;
    }
    let fields = ChunkFields::typed(value)?;
    let run = headers.run_mark();
    let txid = headers.txid.map(|txid| txid.0);
    Some(ChunkEvent { key, operation, raw: Some(value), fields, txid, run })
}

/// True for the types of rows of an entity stream that make messages.
fn is_entity_type(type_: &str) -> bool {
    matches!(
        type_,
        "run"
            | "step"
            | "text"
            | "text_delta"
            | "tool_call"
            | "reasoning"
            | "reasoning_delta"
            | "error"
            | "inbox"
    )
}

fn enveloped<'a>(envelope: &Envelope<'a>, headers: &'a str) -> Event<'a> {
    let headers = match serde_json::from_str::<Headers<'a>>(headers) {
        Ok(headers) => headers,
        Err(_) => match sloppy_headers(headers) {
            Some(headers) => headers,
            None => return malformed("headers are not an object"),
        },
    };
    let run = headers.run_mark();
    let txid = headers.txid.map(|s| s.0);
    if let Some(control) = headers.control {
        return Event::Control(match control.0.as_ref() {
            "reset" => Control::Reset,
            "snapshot-start" => Control::SnapshotStart,
            "snapshot-end" => Control::SnapshotEnd,
            _ => Control::Unknown,
        });
    }
    let Some(operation) = headers.operation.as_ref().and_then(|word| Operation::parse(&word.0))
    else {
        return Event::Malformed { reason: "no known operation", txid };
    };
    let Some(type_) = envelope.type_.and_then(|raw| json_text(raw.get())) else {
        return Event::Malformed { reason: "no type", txid };
    };
    let key = match envelope.key.map(RawValue::get) {
        Some(raw) => match json_text(raw) {
            Some(key) => key,
            // Writers may use numbers; they are kept as they are written.
            None if raw.starts_with(|c: char| c.is_ascii_digit() || c == '-') => Cow::Borrowed(raw),
            None => return Event::Malformed { reason: "key is not a string", txid },
        },
        None => return Event::Malformed { reason: "no key", txid },
    };
    if type_.is_empty() || key.is_empty() {
        return Event::Malformed { reason: "empty type or key", txid };
    }
    let known = matches!(type_.as_ref(), "chunk" | "presence" | "agent");
    let entity = !known && is_entity_type(&type_);
    let is_object = envelope.value.is_some_and(|raw| raw.get().starts_with('{'));
    if (known || entity) && operation != Operation::Delete && !is_object {
        return Event::Malformed { reason: "value is not an object", txid };
    }
    let value = if operation == Operation::Delete { None } else { envelope.value };
    if type_ == "chunk" {
        let fields = match value {
            Some(raw) => match ChunkFields::parse(raw.get()) {
                Some(fields) => fields,
                None => return Event::Malformed { reason: "value is not JSON", txid },
            },
            None => ChunkFields::default(),
        };
        return Event::Chunk(ChunkEvent {
            key,
            operation,
            raw: value.map(RawValue::get),
            fields,
            txid,
            run,
        });
    }
    let row = RowEvent { type_, key, operation, value, txid };
    match row.type_.as_ref() {
        "presence" => Event::Presence(row),
        "agent" => Event::Agent(row),
        _ if entity => Event::Entity(row),
        _ => Event::Other(row),
    }
}

fn bare<'a>(envelope: &Envelope<'a>, text: &'a str) -> Event<'a> {
    if let (Some(v), Some(chunk)) = (envelope.v, envelope.chunk)
        && v.get() == "1"
        && chunk.get().starts_with('{')
    {
        let Some(seq) = envelope.seq.and_then(|raw| raw.get().parse().ok()) else {
            return malformed("numbered record without a number");
        };
        return Event::Bare(BareEvent::Numbered { seq, chunk: chunk.get() });
    }
    if envelope.message_id.is_some_and(|raw| raw.get().starts_with('"'))
        && envelope.chunk.is_some_and(|raw| raw.get().starts_with('"'))
    {
        let Some(fields) = ChunkFields::parse(text) else { return malformed("not a chunk row") };
        let key = format!(
            "{}:{}",
            fields.message_id.as_deref().unwrap_or_default(),
            fields.seq.unwrap_or_default()
        );
        return Event::Chunk(ChunkEvent {
            key: Cow::Owned(key),
            operation: Operation::Insert,
            raw: Some(text),
            fields,
            txid: None,
            run: None,
        });
    }
    let Some(type_) = envelope.type_.and_then(|raw| json_text(raw.get())) else {
        return malformed("no headers and no type");
    };
    if is_upper_snake(&type_) {
        return Event::Bare(BareEvent::Agui(text));
    }
    if is_ai_sdk(&type_) {
        return Event::Bare(BareEvent::AiSdk(text));
    }
    malformed("no headers and an unknown type")
}

fn is_upper_snake(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_split_at_its_last_colon() {
        assert_eq!(split_key("2026-01-01T10:00:00Z:3"), ("2026-01-01T10:00:00Z", Some(3)));
        assert_eq!(split_key("m"), ("m", None));
        assert_eq!(split_key("m:x"), ("m:x", None));
    }

    #[test]
    fn shapes_are_told_apart() {
        let bare_row =
            br#"{"sessionId":"s","messageId":"u","actorType":"user","chunk":"{}","seq":2}"#;
        match decode(bare_row) {
            Event::Chunk(chunk) => {
                assert_eq!(chunk.key, "u:2");
                assert_eq!(chunk.fields.role, Some(Role::User));
            }
            other => panic!("a bare row: {other:?}"),
        }
        assert!(matches!(
            decode(br#"{"v":1,"seq":4,"chunk":{"type":"RUN_STARTED"}}"#),
            Event::Bare(BareEvent::Numbered { seq: 4, .. })
        ));
        assert!(matches!(decode(br#"{"type":"RUN_STARTED"}"#), Event::Bare(BareEvent::Agui(_))));
        assert!(matches!(
            decode(br#"{"type":"data-x","data":1}"#),
            Event::Bare(BareEvent::AiSdk(_))
        ));
        assert!(matches!(
            decode(br#"{"headers":{"control":"reset"}}"#),
            Event::Control(Control::Reset)
        ));
        for bad in [
            &b"null"[..],
            b"[]",
            b"{",
            b"\xff",
            br#"{"type":"chunk","key":"a:0","value":null,"headers":{"operation":"insert"}}"#,
            br#"{"type":"chunk","key":"a:0","value":{},"headers":{"operation":"frob"}}"#,
            br#"{"type":"chunk","value":{},"headers":{"operation":"insert"}}"#,
            br#"{"hello":1}"#,
        ] {
            assert!(matches!(decode(bad), Event::Malformed { .. }));
        }
    }

    /// Whatever the layout, an item says the same.
    #[test]
    fn the_usual_layout_is_only_a_shortcut() {
        let value = r#"{"messageId":"m","chunk":"{\"a\":\"},\\\"headers\\\":{\"}","seq":1}"#;
        let usual = [
            format!(
                r#"{{"type":"chunk","key":"m:1","value":{value},"headers":{{"operation":"insert"}}}}"#
            ),
            format!(
                r#"{{"type":"chunk","key":"m:1","value":{value},"headers":{{"txid":"t","operation":"insert"}}}}"#
            ),
            format!(
                r#"{{"type":"chunk","key":"m:1","value":{value},"headers":{{"operation":"upsert","x":{{"headers":{{}}}}}}}}"#
            ),
        ];
        for item in &usual {
            assert!(usual_chunk(item).is_some(), "{item}");
        }
        let others = [
            format!(
                r#"{{"type":"chunk","key":"m\u003a1","value":{value},"headers":{{"operation":"insert"}}}}"#
            ),
            format!(
                r#"{{"type":"chunk","key":"m:1","value":{value},"x":{{}},"headers":{{"operation":"insert"}}}}"#
            ),
            format!(
                r#"{{"headers":{{"operation":"insert"}},"type":"chunk","key":"m:1","value":{value}}}"#
            ),
            format!(
                r#"{{"type":"chunk","key":"m:1","value":{value},"headers":{{"x":{{}},"headers":{{"operation":"delete"}},"operation":"insert"}}}}"#
            ),
            format!(
                r#"{{"type":"chunk","key":"m:1","value":{value},"headers":{{"operation":"insert"}},"old_value":{{}}}}"#
            ),
        ];
        for item in &others {
            assert!(usual_chunk(item).is_none(), "{item}");
        }
        for item in usual.iter().chain(&others) {
            let Event::Chunk(chunk) = decode(item.as_bytes()) else { panic!("a chunk: {item}") };
            assert_eq!((chunk.message_id(), chunk.seq(), chunk.raw), ("m", 1, Some(value)));
            assert_eq!(&*chunk.key, "m:1");
        }
        let deleted = r#"{"type":"chunk","key":"m:1","value":{},"headers":{"operation":"delete"}}"#;
        assert!(matches!(decode(deleted.as_bytes()), Event::Chunk(c) if c.raw.is_none()));
    }

    #[test]
    fn sloppy_fields_are_read_anyway() {
        let fields = ChunkFields::parse(
            r#"{"messageId":"m","actorId":7,"seq":1.0,"chunk":{"type":"done"}}"#,
        )
        .expect("an object");
        assert_eq!(fields.actor_id.as_deref(), Some("7"));
        assert_eq!(fields.seq, Some(1));
        assert_eq!(fields.chunk.as_deref(), Some(r#"{"type":"done"}"#));
        let fields = ChunkFields::parse(r#"{"messageId":"m","chunk":"a\ud83d"}"#).expect("object");
        assert_eq!(fields.chunk.as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn debug_of_events_hides_text() {
        let item = br#"{"type":"chunk","key":"m:0","value":{"messageId":"m","chunk":"hush"},"headers":{"operation":"insert"}}"#;
        assert!(!format!("{:?}", decode(item)).contains("hush"));
    }
}
