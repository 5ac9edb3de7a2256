//! Logs as a session proxy writes them: people, an agent's answers chunk by chunk, tool calls,
//! approvals, presence. The same seed gives the same bytes, here and in the JavaScript generator
//! that this one was written after, so that figures of both can be laid side by side.

use serde_json::{Value, json};

/// The agent's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Legacy TanStack chunks with only the new text.
    Delta,
    /// Legacy TanStack chunks with all text so far in each (bytes grow with the square).
    Accum,
    /// AG-UI.
    Agui,
}

/// The shape of a log to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// Chunks, at least.
    pub(crate) events: usize,
    /// Chunks of an answer, about.
    pub(crate) per: usize,
    /// Chunks of one more answer at the end that is not finished.
    pub(crate) long: usize,
    pub(crate) seed: u32,
}

impl Shape {
    pub(crate) fn new(kind: Kind, events: usize) -> Self {
        Self { kind, events, per: 200, long: 0, seed: 1 }
    }
}

const WORDS: &str = "the of and a to in is you that it he was for on are as with his they at be this have from or one had by word but not what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see number no way could people my than first water been call who oil its now find long down day did get come made may part naïve — “quoted” café 🙂 `code` **bold** \n- item";
const USERS: [&str; 3] = ["u-alice", "u-bob", "u-carol"];
/// 2026-01-05T09:00:00Z in milliseconds.
const START: i64 = 1_767_603_600_000;

/// Writes the items of a log, one JSON text each, into `sink`. Answers the id of the long message.
pub(crate) fn write(shape: Shape, sink: &mut dyn FnMut(&str)) -> Option<String> {
    let mut writer = Writer {
        shape,
        random: shape.seed,
        clock: START,
        chunks: 0,
        words: WORDS.split(' ').collect(),
        sink,
    };
    writer.log()
}

/// The items of a log.
pub(crate) fn items(shape: Shape) -> Vec<String> {
    let mut items = Vec::new();
    write(shape, &mut |item| items.push(item.to_owned()));
    items
}

/// One live chunk of text at the end of a message.
pub(crate) fn live_chunk(message: &str, seq: usize, text: &str) -> String {
    let chunk = json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "g", "delta": text});
    row(message, "agent-gpt", "assistant", &chunk, seq, &time(START + 20 * seq as i64), None)
}

/// The end of such a message.
pub(crate) fn finish(message: &str, seq: usize) -> String {
    let chunk = json!({"type": "RUN_FINISHED", "runId": "g", "threadId": "t"});
    row(message, "agent-gpt", "assistant", &chunk, seq, &time(START + 20 * seq as i64), None)
}

fn time(millis: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(millis).expect("a time of our own");
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn row(
    message: &str,
    actor: &str,
    role: &str,
    chunk: &Value,
    seq: usize,
    at: &str,
    txid: Option<&str>,
) -> String {
    let chunk = Value::String(chunk.to_string());
    let txid = txid.map(|txid| format!(r#""txid":"{txid}","#)).unwrap_or_default();
    format!(
        r#"{{"type":"chunk","key":"{message}:{seq}","value":{{"messageId":"{message}","actorId":"{actor}","role":"{role}","chunk":{chunk},"seq":{seq},"createdAt":"{at}"}},"headers":{{{txid}"operation":"insert"}}}}"#
    )
}

struct Writer<'a> {
    shape: Shape,
    random: u32,
    clock: i64,
    chunks: usize,
    words: Vec<&'static str>,
    sink: &'a mut dyn FnMut(&str),
}

impl Writer<'_> {
    /// Mulberry32: a number from 0 to below 1.
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x6d2b_79f5);
        let s = self.random;
        let mut t = (s ^ (s >> 15)).wrapping_mul(1 | s);
        t = t.wrapping_add((t ^ (t >> 7)).wrapping_mul(61 | t)) ^ t;
        f64::from(t ^ (t >> 14)) / 4_294_967_296.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random() * limit as f64) as usize
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(b"0123456789abcdef"[self.below(16)])).collect()
    }

    fn uuid(&mut self) -> String {
        let (a, b, c) = (self.hex(8), self.hex(4), self.hex(3));
        let (d, e) = (self.hex(3), self.hex(12));
        format!("{a}-{b}-4{c}-a{d}-{e}")
    }

    /// Five to twenty UTF-16 units of words, never half a character.
    fn delta(&mut self) -> String {
        let limit = 5 + self.below(16);
        let mut words = String::new();
        let mut units = 0;
        while units < limit {
            let at = self.below(self.words.len());
            let word = self.words[at];
            words.push_str(word);
            words.push(' ');
            units += word.encode_utf16().count() + 1;
        }
        let mut units = 0;
        words
            .chars()
            .take_while(|c| {
                units += c.len_utf16();
                units <= limit
            })
            .collect()
    }

    fn now(&mut self, millis: i64) -> String {
        self.clock += millis;
        time(self.clock)
    }

    fn chunk(
        &mut self,
        (message, actor, role): (&str, &str, &str),
        chunk: &Value,
        seq: usize,
        txid: Option<&str>,
    ) {
        self.chunks += 1;
        let at = self.now(20);
        (self.sink)(&row(message, actor, role, chunk, seq, &at, txid));
    }

    fn presence(&mut self, actor: &str, status: &str, name: &str) {
        let at = self.now(20);
        (self.sink)(&format!(
            r#"{{"type":"presence","key":"{actor}","value":{{"actorId":"{actor}","actorType":"user","name":"{name}","status":"{status}","lastSeenAt":"{at}"}},"headers":{{"operation":"upsert"}}}}"#
        ));
    }

    fn person(&mut self) {
        let id = self.uuid();
        let actor = USERS[self.below(3)];
        let text: String = (0..12).map(|_| self.delta()).collect();
        let at = self.now(1);
        let parts = json!([{"type": "text", "content": text}]);
        let message = json!({"id": id, "role": "user", "parts": parts, "createdAt": at});
        let txid = self.uuid();
        let chunk = json!({"type": "user-message", "message": message});
        self.chunk((&id, actor, "user"), &chunk, 0, Some(&txid));
    }

    fn log(&mut self) -> Option<String> {
        for (i, user) in USERS.into_iter().enumerate() {
            self.presence(user, "online", &format!("User {i}"));
        }
        (self.sink)(
            r#"{"type":"agent","key":"agent-gpt","value":{"agentId":"agent-gpt","name":"GPT","endpoint":"http://127.0.0.1:4010/legacy","triggers":"user-messages"},"headers":{"operation":"upsert"}}"#,
        );
        while self.chunks < self.shape.events {
            self.person();
            let left = self.shape.events.saturating_sub(self.chunks);
            let wanted = (self.shape.per as f64 * (0.5 + self.random()) + 0.5).floor() as usize;
            let n = left.min(wanted.max(5));
            if n > 0 {
                let (tool, approval) = (self.random() < 0.3, self.random() < 0.1);
                Answer::begin(self, n.max(2), tool, approval).write(true);
            }
            if self.random() < 0.3 {
                let user = USERS[self.below(3)];
                let status = ["online", "away", "offline"][self.below(3)];
                self.presence(user, status, "User");
            }
            self.clock += 4000;
        }
        (self.shape.long > 0).then(|| {
            self.person();
            let long = self.shape.long + 1;
            Answer::begin(self, long, false, false).write(false)
        })
    }
}

/// One answer of the agent.
struct Answer<'a, 'b> {
    log: &'a mut Writer<'b>,
    id: String,
    generation: String,
    seq: usize,
    chunks: usize,
    tool_at: Option<usize>,
    approval_at: Option<usize>,
}

impl<'a, 'b> Answer<'a, 'b> {
    fn begin(log: &'a mut Writer<'b>, chunks: usize, tool: bool, approval: bool) -> Self {
        let id = log.uuid();
        let generation = format!("chatcmpl-{}", log.hex(10));
        let at = |share: f64| (chunks as f64 * share).floor() as usize;
        Self {
            log,
            id,
            generation,
            seq: 0,
            chunks,
            tool_at: tool.then(|| at(0.3)),
            approval_at: approval.then(|| at(0.8)),
        }
    }

    fn put(&mut self, chunk: &Value) {
        let id = std::mem::take(&mut self.id);
        self.log.chunk((&id, "agent-gpt", "assistant"), chunk, self.seq, None);
        self.id = id;
        self.seq += 1;
    }

    /// An AG-UI event.
    fn event(&mut self, mut event: Value) {
        event["timestamp"] = json!(self.log.clock);
        self.put(&event);
    }

    /// A legacy chunk.
    fn legacy(&mut self, mut chunk: Value) {
        chunk["id"] = json!(self.generation);
        chunk["model"] = json!("gpt-5.1");
        chunk["timestamp"] = json!(self.log.clock);
        self.put(&chunk);
    }

    fn write(mut self, finish: bool) -> String {
        let agui = self.log.shape.kind == Kind::Agui;
        let generation = self.generation.clone();
        let text_start =
            json!({"type": "TEXT_MESSAGE_START", "messageId": generation, "role": "assistant"});
        let text_end = json!({"type": "TEXT_MESSAGE_END", "messageId": generation});
        if agui {
            self.event(json!({"type": "RUN_STARTED", "runId": generation, "threadId": "t"}));
            self.event(text_start);
        }
        let (mut so_far, mut approval) = (String::new(), None);
        while self.seq < self.chunks - 1 {
            if self.tool_at.take_if(|at| self.seq >= *at).is_some() {
                self.call(false);
                continue;
            }
            if self.approval_at.take_if(|at| self.seq >= *at).is_some() {
                approval = Some(self.call(true));
                continue;
            }
            let delta = self.log.delta();
            if agui {
                self.event(json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": generation, "delta": delta}));
                continue;
            }
            so_far.push_str(&delta);
            let accum = self.log.shape.kind == Kind::Accum;
            let content = if accum { so_far.as_str() } else { "" };
            self.legacy(
                json!({"type": "content", "delta": delta, "content": content, "role": "assistant"}),
            );
        }
        if finish {
            let n = self.chunks;
            let usage = json!({"promptTokens": 400, "completionTokens": n, "totalTokens": 400 + n});
            if agui {
                self.event(text_end);
                self.event(json!({"type": "RUN_FINISHED", "runId": generation, "threadId": "t", "finishReason": "stop", "usage": usage}));
            } else {
                self.legacy(json!({"type": "done", "finishReason": "stop", "usage": usage}));
            }
        }
        if let Some(approval) = approval
            && self.log.random() < 0.8
        {
            let id = self.log.uuid();
            let approved = self.log.random() < 0.7;
            let answer =
                json!({"type": "approval-response", "approvalId": approval, "approved": approved});
            let txid = self.log.uuid();
            self.log.chunk((&id, USERS[0], "user"), &answer, 0, Some(&txid));
        }
        self.id
    }

    /// A tool call in the middle of the text; answers the approval it asks for.
    fn call(&mut self, approval: bool) -> String {
        let call = format!("call_{}", self.log.hex(12));
        let (name, input) = if approval {
            ("delete_file", json!({"path": format!("/data/{}", self.log.hex(6))}))
        } else {
            ("get_weather", json!({"city": "Oslo", "unit": "c", "days": 3}))
        };
        let arguments = input.to_string();
        let (first, second) = arguments.split_at(arguments.len() / 2);
        let approval_id = format!("approval_{call}");
        let asked = json!({"id": approval_id, "needsApproval": true});
        if self.log.shape.kind == Kind::Agui {
            let generation = self.generation.clone();
            self.event(json!({"type": "TEXT_MESSAGE_END", "messageId": generation}));
            self.event(json!({"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": name, "toolName": name, "index": 0}));
            self.event(json!({"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": first}));
            self.event(json!({"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": second}));
            self.event(json!({"type": "TOOL_CALL_END", "toolCallId": call, "toolCallName": name, "toolName": name, "input": input}));
            if approval {
                let value = json!({"toolCallId": call, "toolName": name, "input": input, "approval": asked});
                self.event(json!({"type": "CUSTOM", "name": "approval-requested", "value": value}));
            } else {
                self.event(json!({"type": "TOOL_CALL_RESULT", "messageId": format!("r{call}"), "toolCallId": call, "content": "{\"temp\":-3}", "role": "tool"}));
            }
            self.event(
                json!({"type": "TEXT_MESSAGE_START", "messageId": generation, "role": "assistant"}),
            );
        } else {
            let fragment = |name: &str, arguments: &str| json!({"type": "tool_call", "index": 0, "toolCall": {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}}});
            let (named, rest) = (fragment(name, first), fragment("", second));
            self.legacy(named);
            self.legacy(rest);
            if approval {
                self.legacy(json!({"type": "approval-requested", "toolCallId": call, "toolName": name, "input": input, "approval": asked}));
            } else {
                self.legacy(
                    json!({"type": "tool_result", "toolCallId": call, "content": "{\"temp\":-3}"}),
                );
            }
        }
        approval_id
    }
}
