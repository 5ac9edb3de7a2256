//! The conversation as a chat-completions endpoint is told it.
//!
//! Templates of models want turns: so the system speaks once and first, neighbouring messages of one role are one
//! message, and a person begins. Every call has a result, because endpoints insist on it. What another agent asked is
//! told as a user's words: an assistant does not answer itself.
//!
//! What a model gave goes back to it: the ids of its calls, their signatures, and its reasoning with what it called
//! then, under the names that it came with; see [`Keepsake`].

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};
use session_protocol::Role;

use super::{
    calls::FUNCTION,
    pieces::{self, Given},
    ways::{Way, Ways},
};
use crate::history::{self, History};

/// Data that a model gave with one answer, as the log keeps it: opaque to others, by AG-UI's
/// `REASONING_ENCRYPTED_VALUE`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Keepsake {
    /// A digest of the endpoint and the model: nobody else gets it.
    #[serde(rename = "for")]
    pub(crate) owner: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) extra: Map<String, Value>,
    /// Of each call of the answer, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) calls: Vec<KeptCall>,
}

/// Data that a model gave with a call.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptCall {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) extra: Map<String, Value>,
}

/// A call with its result.
#[derive(Clone)]
pub(crate) struct ToldCall {
    /// The call's id in the session.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
    pub(crate) given: KeptCall,
    pub(crate) result: Option<String>,
}

/// A turn of the model.
#[derive(Clone, Default)]
pub(crate) struct Turn {
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) given: Given,
    pub(crate) calls: Vec<ToldCall>,
}

/// Words of people, and pictures that they attached, as `data:` URLs.
#[derive(Clone, Default)]
struct Said {
    text: String,
    pictures: Vec<String>,
}

#[derive(Clone)]
enum Told {
    User(Said),
    Assistant(Turn),
}

/// A conversation.
#[derive(Clone, Default)]
pub(crate) struct Dialogue {
    system: String,
    told: Vec<Told>,
}

impl Dialogue {
    /// The session as it was until now. `results` are of calls that this run carried out, `asked` is the message of
    /// another agent that is answered, `owner` whose keepsakes are given back.
    pub(crate) fn of(
        history: &History,
        results: &HashMap<String, String>,
        asked: Option<&str>,
        owner: &str,
    ) -> Self {
        let mut dialogue = Self::default();
        if let Some(note) = history.note() {
            join(&mut dialogue.system, note);
        }
        for message in &history.messages {
            match message.role {
                Role::System => join(&mut dialogue.system, &message.plain_text()),
                Role::User => {
                    dialogue.user(&history::words_of(message));
                    dialogue.show(history::pictures(message));
                }
                Role::Assistant if asked == Some(message.id.as_str()) => {
                    dialogue.user(&message.plain_text());
                }
                Role::Assistant => {
                    let keepsake = |entity: &str| {
                        let kept = history.keepsake(&message.id, entity)?;
                        let kept: Keepsake = serde_json::from_str(kept).ok()?;
                        (kept.owner == owner).then_some(kept)
                    };
                    for turn in history::turns(message) {
                        dialogue.past(turn, &message.id, results, keepsake);
                    }
                }
            }
        }
        dialogue
    }

    fn past(
        &mut self,
        said: history::HistoryTurn<'_>,
        message_id: &str,
        results: &HashMap<String, String>,
        keepsake: impl Fn(&str) -> Option<Keepsake>,
    ) {
        let mut turn = Turn { text: said.text, reasoning: said.reasoning, ..Turn::default() };
        let mut given = Vec::new().into_iter();
        if said.calls.is_empty()
            && let Some(kept) = keepsake(message_id)
        {
            turn.given = Given { field: kept.field, extra: kept.extra };
        }
        for call in said.calls {
            // Each answer has a keepsake, at its first call.
            if let Some(kept) = keepsake(&call.id) {
                if !turn.calls.is_empty() {
                    self.assistant(std::mem::take(&mut turn));
                }
                turn.given = Given { field: kept.field, extra: kept.extra };
                given = kept.calls.into_iter();
            }
            let result = results.get(&call.id).cloned().or_else(|| history::result_text(call));
            turn.calls.push(ToldCall {
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: history::arguments(call),
                given: given.next().unwrap_or_default(),
                result,
            });
        }
        self.assistant(turn);
    }

    fn user(&mut self, text: &str) {
        match self.told.last_mut() {
            Some(Told::User(before)) => join(&mut before.text, text),
            _ => self.told.push(Told::User(Said { text: text.to_owned(), ..Said::default() })),
        }
    }

    /// Adds pictures to what was said last.
    fn show<'a>(&mut self, pictures: impl Iterator<Item = &'a str>) {
        if let Some(Told::User(said)) = self.told.last_mut() {
            said.pictures.extend(pictures.map(str::to_owned));
        }
    }

    /// Asks for the rest of an answer that was cut off, where the last words are the model's. Few endpoints go on with
    /// an answer by themselves, and every one hears its user.
    pub(crate) fn go_on(&mut self) {
        let begun = |told: &Told| matches!(told, Told::Assistant(turn) if turn.calls.is_empty() && !turn.text.trim().is_empty());
        if self.told.last().is_some_and(begun) {
            self.user(
                "[Your answer was cut off here. Go on exactly where it ends: repeat nothing of it, and say nothing about this.]",
            );
        }
    }

    /// Adds a turn of the model.
    pub(crate) fn assistant(&mut self, turn: Turn) {
        match self.told.last_mut() {
            Some(Told::Assistant(before)) if before.calls.is_empty() => {
                join(&mut before.text, &turn.text);
                join(&mut before.reasoning, &turn.reasoning);
                before.calls = turn.calls;
                if turn.given != Given::default() {
                    before.given = turn.given;
                }
            }
            _ => self.told.push(Told::Assistant(turn)),
        }
    }

    fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.told.iter().filter_map(|told| match told {
            Told::Assistant(turn) => Some(turn),
            Told::User(_) => None,
        })
    }

    pub(crate) fn has_calls(&self) -> bool {
        self.turns().any(|turn| !turn.calls.is_empty())
    }

    pub(crate) fn has_pictures(&self) -> bool {
        self.told.iter().any(|told| matches!(told, Told::User(said) if !said.pictures.is_empty()))
    }

    pub(crate) fn has_system(&self) -> bool {
        !self.system.is_empty()
    }

    /// The messages as an endpoint with these ways wants them.
    pub(crate) fn messages<'a>(&'a self, ways: &'a Ways) -> Messages<'a> {
        let dialogue = if ways.contains(&Way::NoTools) && self.has_calls() {
            Cow::Owned(self.without_calls())
        } else {
            Cow::Borrowed(self)
        };
        Messages { dialogue, ways }
    }

    /// The dialogue with its calls and results as words, for models that know no calls.
    fn without_calls(&self) -> Self {
        let mut plain = Self { system: self.system.clone(), told: Vec::new() };
        for told in &self.told {
            match told {
                Told::User(said) => {
                    plain.user(&said.text);
                    plain.show(said.pictures.iter().map(String::as_str));
                }
                Told::Assistant(turn) => {
                    let mut text = turn.text.clone();
                    for call in &turn.calls {
                        let ToldCall { name, arguments, .. } = call;
                        join(&mut text, &format!("[{name} {arguments}: {}]", call.result()));
                    }
                    plain.assistant(Turn { text, ..Turn::default() });
                }
            }
        }
        plain
    }
}

impl ToldCall {
    fn result(&self) -> &str {
        self.result.as_deref().unwrap_or("No result: the call was not carried out.")
    }
}

/// Adds words to words, apart.
fn join(before: &mut String, text: &str) {
    if !before.is_empty() && !text.is_empty() {
        before.push_str("\n\n");
    }
    before.push_str(text);
}

/// A dialogue as the `messages` of a request, made one by one while they are written.
pub(crate) struct Messages<'a> {
    dialogue: Cow<'a, Dialogue>,
    ways: &'a Ways,
}

/// The first words of a conversation that an assistant would begin.
const BEFORE: &str = "(The conversation goes on.)";

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Dialogue { system, told } = &*self.dialogue;
        let has = |way| self.ways.contains(&way);
        let mut before = String::new();
        let mut first = None;
        if !system.is_empty() {
            if has(Way::NoSystem) {
                before.clone_from(system);
            } else {
                let role = if has(Way::Developer) { "developer" } else { "system" };
                first = Some(json!({"role": role, "content": system}));
            }
        }
        let begins = matches!(told.first(), Some(Told::User(_)));
        if !begins && !told.is_empty() && before.is_empty() {
            before = BEFORE.to_owned();
        }
        let opening = (!begins && !before.is_empty())
            .then(|| json!({"role": "user", "content": std::mem::take(&mut before)}));
        let ids = self.ids();
        let messages = told.iter().flat_map(|told| match told {
            Told::User(said) => {
                let mut words = std::mem::take(&mut before);
                join(&mut words, &said.text);
                if said.pictures.is_empty() || has(Way::NoPictures) {
                    return vec![json!({"role": "user", "content": words})];
                }
                let words = (!words.is_empty()).then(|| json!({"type": "text", "text": words}));
                let pictures = said
                    .pictures
                    .iter()
                    .map(|url| json!({"type": "image_url", "image_url": {"url": url}}));
                let content: Vec<Value> = words.into_iter().chain(pictures).collect();
                vec![json!({"role": "user", "content": content})]
            }
            Told::Assistant(turn) => self.turn(turn, &ids),
        });
        serializer.collect_seq(first.into_iter().chain(opening).chain(messages))
    }
}

impl Messages<'_> {
    /// The ids that calls are told under: the model's own where they are unique in the conversation.
    fn ids(&self) -> HashMap<&str, String> {
        let calls = || self.dialogue.turns().flat_map(|turn| &turn.calls);
        let mut taken: HashSet<&str> = calls().map(|call| call.id.as_str()).collect();
        calls()
            .map(|call| {
                let given = call.given.id.as_deref().filter(|id| taken.insert(id));
                let id = given.unwrap_or(&call.id);
                let id = if self.ways.contains(&Way::ShortIds) { short(id) } else { id.to_owned() };
                (call.id.as_str(), id)
            })
            .collect()
    }

    fn turn(&self, turn: &Turn, ids: &HashMap<&str, String>) -> Vec<Value> {
        let has = |way| self.ways.contains(&way);
        let mut message = Map::new();
        let mut text = Cow::Borrowed(&*turn.text);
        let calls = !turn.calls.is_empty();
        let field = turn.given.field.as_deref();
        let mut content = None;
        message.insert("role".to_owned(), "assistant".into());
        message.insert("content".to_owned(), Value::Null);
        if calls && !has(Way::NoReasoning) {
            let reasoning = match &*turn.reasoning {
                "" if has(Way::AllReasoning) => " ",
                reasoning => reasoning,
            };
            let field =
                if has(Way::AllReasoning) { field.or(Some("reasoning_content")) } else { field };
            match field {
                _ if reasoning.is_empty() => {}
                Some(pieces::TAGS) => {
                    text = Cow::Owned(format!("<think>\n{reasoning}\n</think>\n\n{text}"));
                }
                Some("content") => {
                    let thought = json!({"type": "thinking", "thinking": [{"type": "text", "text": reasoning}]});
                    let said = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
                    content = Some(std::iter::once(thought).chain(said).collect());
                }
                None | Some("reasoning_details") => {}
                Some(field) => {
                    message.insert(field.to_owned(), reasoning.into());
                }
            }
        }
        if !has(Way::NoReasoning) {
            message.extend(turn.given.extra.clone());
        }
        let nothing = if calls && !has(Way::EmptyText) { Value::Null } else { "".into() };
        let words = if text.is_empty() { nothing } else { text.into() };
        message.insert("content".to_owned(), content.unwrap_or(words));
        if calls {
            let calls = turn.calls.iter().map(|call| self.call(call, &ids[&*call.id]));
            message.insert("tool_calls".to_owned(), calls.collect());
        }
        let mut out = vec![Value::Object(message)];
        out.extend(turn.calls.iter().map(|call| {
            json!({"role": "tool", "tool_call_id": ids[&*call.id], "content": call.result()})
        }));
        out
    }

    fn call(&self, call: &ToldCall, id: &str) -> Value {
        let has = |way| self.ways.contains(&way);
        let mut told = Map::new();
        if !has(Way::NoReasoning) {
            told.extend(call.given.extra.clone());
        }
        if has(Way::AnySignature)
            && !told.keys().any(|key| key.contains("signature") || key == "extra_content")
        {
            // What the provider's documentation says to send with calls that it did not make.
            let none = "skip_thought_signature_validator";
            told.insert("extra_content".to_owned(), json!({"google": {"thought_signature": none}}));
        }
        let mut function = match told.shift_remove(FUNCTION) {
            Some(Value::Object(function)) => function,
            _ => Map::new(),
        };
        function.insert("name".to_owned(), call.name.clone().into());
        function.insert("arguments".to_owned(), call.arguments.clone().into());
        for (key, value) in
            [("id", id.into()), ("type", "function".into()), (FUNCTION, function.into())]
        {
            told.insert(key.to_owned(), value);
        }
        Value::Object(told)
    }
}

/// An id of nine letters and digits, the same for the same id.
fn short(id: &str) -> String {
    let is_short = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_short { id.to_owned() } else { blake3::hash(id.as_bytes()).to_hex()[..9].to_owned() }
}
