//! One prompt of an agent → the chunks of one run.
//!
//! ```text
//!   session/update ─▶ Turn::update ─┐
//!   request_permission ─▶ Turn::ask ─┼─▶ sections, calls, plans ─▶ AG-UI chunks (Turn::take)
//!   the prompt's answer ─▶ Turn::end ┘        ▲ Turn::elapse
//! ```
//!
//! - A run has one AG-UI id for its texts, whatever ids the agent gives: older readers start a message at each new id.
//! - A call is told when it begins, when it asks, when it runs and when it ends; what changes in between at most four
//!   times a second. Every call that was announced ends, also when its agent forgets it.
//! - What a call says and returns has a size (`caps`), paths of this host are written as from the working folder, and what
//!   the agent sends beside (`_meta`, whole outputs) is not told.
//! - Times are given in, so that the same words at the same times give the same chunks.
//! - An update that nobody knows is kept raw when it is small, and else by its name.

mod call;
mod output;
mod patch;

use std::{collections::HashMap, time::Duration};

use serde_json::{Map, Value, json};

use crate::caps::{cost, short, shrink};
use call::{Call, Without, named};
use output::PACE;

/// Bytes of one chunk of text; longer ones are cut into several.
const TEXT: usize = 64 << 10;
/// Calls of one turn, and of them those that are open at once. More are counted and not told.
const CALLS: (usize, usize) = (4_000, 200);
/// Options of one request, and what the words and the id of one may cost.
const OPTIONS: (usize, usize, usize) = (24, 400, 300);
/// Bytes of a picture that are kept.
const PICTURE: usize = 256 << 10;
/// What an update that nobody knows may cost.
const RAW: usize = 4 << 10;
/// Updates of one kind, of those that are kept one by one, in one turn.
const EACH: u32 = 100;
/// What the plans of a turn may cost, each time that one is told.
const PLAN: usize = 16 << 10;
/// Methods of signing in that are told, and what each may cost.
const METHODS: (usize, usize) = (12, 1_500);
/// Plans of one turn.
const PLANS: usize = 20;

/// The names of a turn in the session.
#[derive(Clone, Debug)]
pub struct Names {
    /// The session.
    pub thread: String,
    /// The run.
    pub run: String,
    /// The message that the run writes.
    pub message: String,
    /// Paths of this host.
    pub local: Local,
}

/// The folders of this host that nobody else is told.
#[derive(Clone, Debug, Default)]
pub struct Local {
    folder: String,
    home: String,
}

impl Local {
    /// The folder that the agent works in, and the home of who runs it.
    pub fn new(folder: &str, home: Option<&str>) -> Self {
        let clean = |path: &str| {
            let path = path.trim_end_matches(['/', '\\']);
            // The root is in every path.
            if path.len() < 3 { String::new() } else { path.to_owned() }
        };
        Self { folder: clean(folder), home: home.map(clean).unwrap_or_default() }
    }

    /// A path as from the working folder, or from home.
    fn path(&self, path: &str) -> String {
        self.text(path.strip_prefix("file://").unwrap_or(path))
    }

    /// A text with paths so.
    pub(crate) fn text(&self, text: &str) -> String {
        let text = replace(text, &self.folder, ".");
        let text = replace(&text, &self.home, "~");
        match text.strip_prefix("./") {
            Some(rest) if !rest.is_empty() => rest.to_owned(),
            _ => text,
        }
    }
}

/// Replaces a folder where its name ends.
fn replace(text: &str, folder: &str, with: &str) -> String {
    if folder.is_empty() || !text.contains(folder) {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(folder) {
        let behind = &rest[at + folder.len()..];
        let goes_on = behind
            .chars()
            .next()
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
        kept.push_str(&rest[..at]);
        kept.push_str(if goes_on { folder } else { with });
        rest = behind;
    }
    kept.push_str(rest);
    kept
}

/// What an option of a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grants {
    /// Yes, this time.
    Once,
    /// Yes, and the agent remembers it in its own way.
    Always,
    /// No, this time.
    NotOnce,
    /// No, and the agent remembers it.
    Never,
}

/// An option that the agent offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The id that the answer names.
    pub id: String,
    /// What it does; `None` for a kind that nobody knows.
    pub grants: Option<Grants>,
}

/// A request for permission, as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its id in the session.
    pub id: String,
    /// The options, in the agent's order.
    pub offers: Vec<Offer>,
}

/// How a turn ends.
#[derive(Clone, Debug)]
pub enum End {
    /// The agent answered the prompt: `stopReason`, and `usage` where it tells it.
    Answered(Value),
    /// It was stopped by a person; who did says so in the session.
    Stopped,
    /// The agent failed or is gone. Whoever runs it says so in the session.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    None,
    Text,
    Thought,
}

#[derive(Debug, Default)]
struct Plan {
    value: Value,
    dirty: bool,
}

/// A turn that goes on.
#[derive(Debug)]
pub struct Turn {
    names: Names,
    out: Vec<Value>,
    section: Section,
    texts: u32,
    thoughts: u32,
    /// The agent's id of its last text.
    text_id: Option<String>,
    calls: Vec<Call>,
    by_id: HashMap<String, usize>,
    /// Calls that have not ended.
    open: Vec<usize>,
    asks: HashMap<String, usize>,
    asked: u32,
    plans: Vec<(String, Plan)>,
    plan_at: Option<Duration>,
    usage: Option<Value>,
    kept: HashMap<&'static str, u32>,
    left_out: u64,
    /// A person said no to something.
    refused: bool,
    ended: bool,
}

impl Turn {
    /// Begins a turn.
    pub fn new(names: Names) -> Self {
        let begun = json!({"type": "RUN_STARTED", "threadId": names.thread, "runId": names.run});
        Self {
            names,
            out: vec![begun],
            section: Section::None,
            texts: 0,
            thoughts: 0,
            text_id: None,
            calls: Vec::new(),
            by_id: HashMap::new(),
            open: Vec::new(),
            asks: HashMap::new(),
            asked: 0,
            plans: Vec::new(),
            plan_at: None,
            usage: None,
            kept: HashMap::new(),
            left_out: 0,
            refused: false,
            ended: false,
        }
    }

    /// The chunks since the last time.
    pub fn take(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.out)
    }

    /// Number of updates that were not told: unknown ones that are too many, calls over the limit.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Says something in the agent's place, as a paragraph of its own.
    pub fn remark(&mut self, text: &str) {
        self.enter(Section::None);
        self.say(text);
        self.text_id = Some(String::new());
    }

    /// Takes the `update` of a `session/update`. Nothing is taken behind the end.
    pub fn update(&mut self, update: &Value, now: Duration) {
        if self.ended {
            self.left_out += 1;
            return;
        }
        let content = update.get("content").unwrap_or(&Value::Null);
        match update.get("sessionUpdate").and_then(Value::as_str).unwrap_or_default() {
            "agent_message_chunk" => {
                self.message(content, update.get("messageId").and_then(Value::as_str))
            }
            "agent_thought_chunk" => self.thought(content),
            // It is in the session already, by who said it.
            "user_message_chunk" => {}
            "tool_call" | "tool_call_update" => {
                let id = update.get("toolCallId").and_then(Value::as_str).unwrap_or_default();
                if let Some(at) = self.call(id) {
                    self.take_call(at, update, now);
                }
            }
            "plan" => {
                let entries = update.get("entries").cloned().unwrap_or_default();
                self.plan("main", "entries", &entries);
            }
            "plan_update" => {
                let plan = update.get("plan").unwrap_or(&Value::Null);
                let id = plan.get("planId").and_then(Value::as_str).unwrap_or("main").to_owned();
                match (plan.get("entries"), plan.get("content")) {
                    (Some(entries), _) => self.plan(&id, "entries", entries),
                    (None, Some(text)) => self.plan(&id, "markdown", text),
                    (None, None) => {}
                }
            }
            "plan_removed" => {
                let id = update.get("planId").and_then(Value::as_str).unwrap_or("main").to_owned();
                self.plan(&id, "removed", &Value::Bool(true));
            }
            "usage_update" => self.usage = Some(update.clone()),
            "notice" => self.keep("acp.notice", update, &["severity", "title", "description"]),
            "compaction_update" => {
                self.keep(
                    "acp.compaction",
                    update,
                    &["compactionId", "status", "summary", "error"],
                );
            }
            // The session's own, and not said in an answer.
            "available_commands_update"
            | "current_mode_update"
            | "config_option_update"
            | "session_info_update"
            | "compaction_summary_chunk" => {}
            name => {
                let name = short(name, 100);
                let small = cost(&update.to_string()) <= RAW;
                if self.counts("acp.raw") {
                    let mut value = json!({"update": name});
                    if small {
                        value["raw"] = shrink(update, RAW, &|text| self.names.local.text(text));
                    }
                    self.custom("acp.raw", &value);
                }
            }
        }
        self.elapse(now);
    }

    /// Takes the parameters of a `session/request_permission`. The request is told before this returns; it is answered
    /// by [`answered`](Self::answered), and by nothing else.
    pub fn ask(&mut self, params: &Value, now: Duration) -> Ask {
        self.asked += 1;
        let id = format!("{}:{}", self.names.run, self.asked);
        let none = Value::Null;
        let told = params.get("toolCall").unwrap_or(&none);
        let call_id = told.get("toolCallId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let at = match self.call(&call_id) {
            // A call that ended does not ask, and one that asks does not ask twice: it is another one.
            Some(at)
                if !self.calls[at].ended && !self.asks.values().any(|asking| *asking == at) =>
            {
                at
            }
            _ => self.new_call(&format!("{call_id}#{}", self.asked)),
        };
        self.enter(Section::None);
        let call = &mut self.calls[at];
        call.take(told, &self.names.local);
        let message = &self.names.message;
        call.start(message, &mut self.out);
        call.ready(&mut self.out);
        call.tell(now, &mut self.out);
        let (offers, told) = offers(params.get("options"));
        let mut value = json!({
            "toolCallId": call.id, "toolName": call.name(), "input": call.input().cloned().unwrap_or_else(|| json!({})),
            "approval": {"id": id, "needsApproval": true}, "options": told,
        });
        for (name, text) in [("title", call.title()), ("kind", call.kind())] {
            if let Some(text) = text {
                value[name] = text.into();
            }
        }
        self.custom("approval-requested", &value);
        self.asks.insert(id.clone(), at);
        Ask { id, offers }
    }

    /// A request was answered, withdrawn or has lapsed: `allowed` is what its agent is told.
    pub fn answered(&mut self, ask: &str, allowed: bool) {
        if let Some(at) = self.asks.remove(ask)
            && let Some(call) = self.calls.get_mut(at)
        {
            call.refused |= !allowed;
            self.refused |= !allowed;
        }
    }

    /// When something is to be said although the agent says nothing.
    pub fn due(&self) -> Option<Duration> {
        if self.ended {
            return None;
        }
        let plan = self.plans.iter().any(|(_, plan)| plan.dirty);
        let plan = plan.then(|| self.plan_at.map_or(Duration::ZERO, |at| at + PACE));
        self.open.iter().filter_map(|at| self.calls[*at].due()).chain(plan).min()
    }

    /// Says what is due.
    pub fn elapse(&mut self, now: Duration) {
        if self.ended || self.due().is_none_or(|at| at > now) {
            return;
        }
        for at in &self.open {
            let call = &mut self.calls[*at];
            call.elapse(now, &mut self.out);
        }
        if self.plan_at.is_none_or(|at| at + PACE <= now) {
            self.tell_plans(now);
        }
    }

    /// Ends the turn: what is open is ended, and nothing is taken any more.
    pub fn end(&mut self, end: &End, now: Duration) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.enter(Section::None);
        let reason = match end {
            End::Answered(answer) => {
                answer.get("stopReason").and_then(Value::as_str).unwrap_or("end_turn")
            }
            End::Stopped => "cancelled",
            End::Lost => "lost",
        };
        let without = match end {
            End::Lost => Without::Lost,
            _ if reason == "cancelled" => Without::Stopped,
            _ => Without::Ended,
        };
        for at in std::mem::take(&mut self.open) {
            self.calls[at].end(without, now, &self.names.message, &mut self.out);
        }
        self.tell_plans(now);
        if let Some(usage) = self.usage.take() {
            self.keep("acp.usage", &usage, &["used", "size", "cost"]);
        }
        let End::Answered(answer) = end else { return };
        let finish = match reason {
            "max_tokens" | "max_turn_requests" => "length",
            // Somebody said no, and the agent ends for that: it did as it was told.
            "refusal" | "cancelled" if self.refused => "stop",
            "refusal" => "content_filter",
            "cancelled" => {
                self.out.push(json!({
                    "type": "RUN_ERROR", "runId": self.names.run, "code": "cancelled",
                    "message": "The agent gave up this answer. Send the message again to retry.",
                }));
                return;
            }
            _ => "stop",
        };
        let mut chunk = json!({
            "type": "RUN_FINISHED", "threadId": self.names.thread, "runId": self.names.run, "finishReason": finish,
        });
        if let Some(usage) = answer.get("usage").and_then(usage) {
            chunk["usage"] = usage;
        }
        self.out.push(chunk);
    }

    fn enter(&mut self, section: Section) {
        if self.section == section {
            return;
        }
        let id = &self.names.message;
        let step = |kind: &str, n: u32| {
            let name = format!("{}:{n}", self.names.run);
            json!({"type": kind, "stepName": name, "stepId": name})
        };
        match self.section {
            Section::None => {}
            Section::Text => self.out.push(json!({"type": "TEXT_MESSAGE_END", "messageId": id})),
            Section::Thought => {
                self.out.push(json!({"type": "REASONING_MESSAGE_END", "messageId": id}));
                self.out.push(step("STEP_FINISHED", self.thoughts));
            }
        }
        match section {
            Section::None => {}
            Section::Text => {
                // The number tells it from what the message began with: the same words again are no repetition.
                self.texts += 1;
                self.out.push(json!({
                    "type": "TEXT_MESSAGE_START", "messageId": id, "role": "assistant",
                    "metadata": {"part": self.texts},
                }));
            }
            Section::Thought => {
                self.thoughts += 1;
                self.out.push(step("STEP_STARTED", self.thoughts));
                self.out
                    .push(json!({"type": "REASONING_MESSAGE_START", "messageId": id, "role": "reasoning"}));
            }
        }
        self.section = section;
    }

    fn message(&mut self, content: &Value, id: Option<&str>) {
        let Some(text) = content.get("text").and_then(Value::as_str) else {
            return self.file(content);
        };
        if text.is_empty() {
            return;
        }
        // Another message of the agent without anything in between begins with a blank line.
        let id = id.map(|id| short(id, 200));
        let other = id.is_some() && self.text_id.is_some() && id != self.text_id;
        let between = if other && self.section == Section::Text { "\n\n" } else { "" };
        self.text_id = id.or(self.text_id.take());
        self.say(between);
        self.say(text);
    }

    fn say(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.enter(Section::Text);
        self.pieces("TEXT_MESSAGE_CONTENT", text);
    }

    fn thought(&mut self, content: &Value) {
        let text = content.get("text").and_then(Value::as_str).unwrap_or_default();
        if !text.is_empty() {
            self.enter(Section::Thought);
            self.pieces("REASONING_MESSAGE_CONTENT", text);
        }
    }

    fn pieces(&mut self, kind: &str, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(rest.floor_char_boundary(TEXT.min(rest.len())));
            self.out.push(json!({"type": kind, "messageId": self.names.message, "delta": piece}));
            rest = left;
        }
    }

    /// A block that is no text: a small picture as it is, others by name, type and size.
    fn file(&mut self, block: &Value) {
        let text = |name: &str| block.get(name).and_then(Value::as_str);
        let inner = block.get("resource").unwrap_or(block);
        if let Some(said) = inner.get("text").and_then(Value::as_str) {
            return self.say(&short(said, TEXT));
        }
        let media = inner.get("mimeType").and_then(Value::as_str).unwrap_or_default();
        let data = text("data").filter(|data| data.len() <= PICTURE && media.starts_with("image/"));
        let link =
            text("uri").filter(|uri| uri.starts_with("https://") || uri.starts_with("http://"));
        let url = data
            .map(|data| format!("data:{media};base64,{data}"))
            .or(link.map(|link| short(link, 2_000)));
        let Some(words) = named(block, &self.names.local) else { return };
        if !self.counts("acp.file") {
            return;
        }
        self.enter(Section::None);
        let mut value = json!({"name": words});
        if !media.is_empty() {
            value["mimeType"] = short(media, 100).into();
        }
        if let Some(url) = url {
            value["url"] = url.into();
        }
        self.custom("acp.file", &value);
    }

    fn call(&mut self, id: &str) -> Option<usize> {
        if let Some(at) = self.by_id.get(id) {
            return Some(*at);
        }
        if id.is_empty() || self.calls.len() >= CALLS.0 || self.open.len() >= CALLS.1 {
            self.left_out += 1;
            return None;
        }
        Some(self.new_call(id))
    }

    fn new_call(&mut self, id: &str) -> usize {
        let at = self.calls.len();
        self.calls.push(Call::new(format!("{}:{}", self.names.run, short(id, 150))));
        self.by_id.insert(id.to_owned(), at);
        self.open.push(at);
        at
    }

    fn take_call(&mut self, at: usize, update: &Value, now: Duration) {
        if self.calls[at].ended {
            return; // what is said of it later changes nothing
        }
        let begins = !self.calls[at].begun();
        if begins {
            self.enter(Section::None);
        }
        let asks = self.asks.values().any(|asking| *asking == at);
        let call = &mut self.calls[at];
        call.take(update, &self.names.local);
        call.start(&self.names.message, &mut self.out);
        if call.runs() {
            call.ready(&mut self.out);
        }
        if begins {
            call.tell(now, &mut self.out);
        }
        // A request that is open outranks any status.
        if call.is_over() && !asks {
            call.end(Without::Ended, now, &self.names.message, &mut self.out);
            self.open.retain(|open| *open != at);
        }
    }

    fn plan(&mut self, id: &str, name: &str, what: &Value) {
        let local = |text: &str| self.names.local.text(text);
        let id = short(id, 100);
        let value = json!({"planId": id, name: shrink(what, PLAN, &local)});
        let at = match self.plans.iter().position(|(known, _)| *known == id) {
            Some(at) => at,
            None if self.plans.len() < PLANS => {
                self.plans.push((id, Plan::default()));
                self.plans.len() - 1
            }
            None => {
                self.left_out += 1;
                return;
            }
        };
        let plan = &mut self.plans[at].1;
        plan.dirty |= plan.value != value;
        plan.value = value;
    }

    fn tell_plans(&mut self, now: Duration) {
        let dirty = self.plans.iter_mut().filter(|(_, plan)| plan.dirty);
        let told: Vec<Value> = dirty
            .map(|(_, plan)| {
                plan.dirty = false;
                plan.value.clone()
            })
            .collect();
        for value in told {
            self.plan_at = Some(now);
            self.custom("acp.plan", &value);
        }
    }

    /// Keeps some fields of an update as an event of their own.
    fn keep(&mut self, name: &'static str, update: &Value, fields: &[&str]) {
        if !self.counts(name) {
            return;
        }
        let given = fields.iter().filter_map(|field| Some((field, update.get(*field)?)));
        let given = given.filter(|(_, value)| !value.is_null());
        let value: Map<String, Value> = given
            .map(|(field, value)| {
                ((*field).to_owned(), shrink(value, RAW, &|text| self.names.local.text(text)))
            })
            .collect();
        self.custom(name, &value.into());
    }

    /// Whether one more of these may be told.
    fn counts(&mut self, name: &'static str) -> bool {
        let count = self.kept.entry(name).or_default();
        *count += 1;
        let may = *count <= EACH;
        self.left_out += u64::from(!may);
        may
    }

    fn custom(&mut self, name: &str, value: &Value) {
        self.out.push(json!({"type": "CUSTOM", "name": name, "value": value}));
    }
}

/// The chunk that says that an agent wants somebody to sign in, and by which methods: each with its `id` and `name`, and
/// where it has them its `description` and the `command` for a terminal.
pub fn sign_in(title: &str, description: &str, methods: &[Value], local: &Local) -> Value {
    let methods = methods.iter().take(METHODS.0);
    let methods = methods.map(|method| shrink(method, METHODS.1, &|text| local.text(text)));
    json!({"type": "CUSTOM", "name": "acp.notice", "value": {
        "severity": "warning", "title": title, "description": description,
        "signIn": {"methods": methods.collect::<Vec<_>>()},
    }})
}

/// The options of a request: for who answers, and as they are told.
fn offers(options: Option<&Value>) -> (Vec<Offer>, Vec<Value>) {
    let (most, words, id) = OPTIONS;
    let all = options.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let read = all.iter().filter_map(|option| {
        let text = |name: &str| option.get(name).and_then(Value::as_str).unwrap_or_default();
        let (option_id, kind) = (text("optionId"), text("kind"));
        // An id that was cut would be another one.
        if option_id.is_empty() || cost(option_id) > id {
            return None;
        }
        let grants = match kind {
            "allow_once" => Some(Grants::Once),
            "allow_always" => Some(Grants::Always),
            "reject_once" => Some(Grants::NotOnce),
            "reject_always" => Some(Grants::Never),
            _ => None,
        };
        let name = if text("name").is_empty() { option_id } else { text("name") };
        let told =
            json!({"optionId": option_id, "name": short(name, words), "kind": short(kind, 40)});
        Some((Offer { id: option_id.to_owned(), grants }, told))
    });
    read.take(most).unzip()
}

/// The tokens of a turn, in AG-UI's names.
fn usage(usage: &Value) -> Option<Value> {
    let mut told = Map::new();
    for (from, to) in [
        ("inputTokens", "inputTokens"),
        ("outputTokens", "outputTokens"),
        ("totalTokens", "totalTokens"),
        ("thoughtTokens", "reasoningTokens"),
        ("cachedReadTokens", "cachedInputTokens"),
        ("cachedWriteTokens", "cacheWriteInputTokens"),
    ] {
        if let Some(count) = usage.get(from).and_then(Value::as_u64) {
            told.insert(to.to_owned(), count.into());
        }
    }
    (!told.is_empty()).then(|| json!([told]))
}
