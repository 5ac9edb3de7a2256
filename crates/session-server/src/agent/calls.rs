//! The tool calls of one answer, put together from pieces.
//!
//! Servers number calls in many ways: all with 0, from 1, from -1, with words, not at all, anew in each chunk; and they
//! give ids once, in each piece, twice or never. So a number is only a name, and places go by first appearance. A new
//! id under a number that has one is a new call. A call without an id of its own is new when it has a name and the one
//! before is complete, or stands in the same list.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{lenient, lines::Brackets};

/// Calls of one answer; a model that makes more has lost its way.
const MAX_CALLS: usize = 128;
/// Bytes of a name.
const MAX_NAME: usize = 256;

/// Under this name of [`Call::extra`] is what came beside the call's name and arguments.
pub(crate) const FUNCTION: &str = "function";

/// A tool call as the model makes it.
#[derive(Default)]
pub(crate) struct Call {
    /// The id that the model gave it, which says nothing about other answers.
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) arguments: String,
    /// Fields that came with the call and go back with it: signatures, mostly.
    pub(crate) extra: Map<String, Value>,
    /// The number that the model's server gives the call.
    number: Option<String>,
    brackets: Brackets,
    half: Option<u32>,
    begun: bool,
}

/// News of a call at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallNews {
    /// A call whose name is known from now on.
    Begins { place: usize, name: String },
    /// More of its arguments.
    Goes { place: usize, arguments: String },
}

/// A piece of a call, as it came.
struct Piece {
    number: Option<String>,
    id: Option<String>,
    name: Option<String>,
    arguments: String,
    extra: Map<String, Value>,
}

/// The calls of an answer.
#[derive(Default)]
pub(crate) struct Calls {
    list: Vec<Call>,
    last: usize,
    bytes: usize,
}

impl Calls {
    /// The calls, with those that never got a name.
    pub(crate) fn into_list(self) -> Vec<Call> {
        self.list
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes that are held for them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the list of one chunk.
    pub(crate) fn take(&mut self, pieces: Value, news: &mut Vec<CallNews>) {
        let pieces = match pieces {
            Value::Array(pieces) => pieces,
            piece => vec![piece],
        };
        let mut named_before = false;
        for piece in pieces.into_iter().filter_map(Piece::of) {
            let apart = named_before && piece.name.is_some();
            named_before |= piece.name.is_some();
            let Some(place) = self.place(&piece, apart) else {
                continue;
            };
            self.last = place;
            self.add(place, piece, news);
        }
    }

    /// Says of every call with a name that it begins.
    pub(crate) fn flush(&mut self, news: &mut Vec<CallNews>) {
        for place in 0..self.list.len() {
            self.begin(place, news);
        }
    }

    fn place(&mut self, piece: &Piece, apart: bool) -> Option<usize> {
        let numbered = piece.number.as_ref().and_then(|number| {
            self.list.iter().rposition(|call| call.number.as_ref() == Some(number))
        });
        let known = piece
            .id
            .as_ref()
            .and_then(|id| self.list.iter().rposition(|call| call.id.as_ref() == Some(id)));
        let found = match (known, &piece.id) {
            // Two calls of one id under two numbers, or a number that goes on counting.
            (Some(known), _) if piece.number.is_some() && numbered != Some(known) => {
                Some(known).filter(|_| piece.name.is_none() || self.repeats(known, piece))
            }
            (Some(known), _) => Some(known),
            // An id that comes after its call.
            (None, Some(_)) => numbered
                .or_else(|| self.list.len().checked_sub(1).filter(|_| piece.number.is_none()))
                .filter(|at| self.list[*at].id.is_none()),
            (None, None) => numbered.or_else(|| {
                // Arguments that nothing names belong to the last call.
                let goes_on = piece.name.is_none() || piece.number.is_none();
                self.list.len().checked_sub(1).filter(|_| goes_on).map(|_| self.last)
            }),
        };
        match found {
            Some(at) if !self.is_another(at, piece, apart) => Some(at),
            _ if self.list.len() == MAX_CALLS => None,
            _ => {
                self.list.push(Call { number: piece.number.clone(), ..Call::default() });
                Some(self.list.len() - 1)
            }
        }
    }

    /// Whether a piece begins another call although it looks like more of this one.
    fn is_another(&self, at: usize, piece: &Piece, apart: bool) -> bool {
        let call = &self.list[at];
        let Some(name) = &piece.name else { return false };
        if call.name.is_empty() || self.repeats(at, piece) {
            return false;
        }
        let is_new = !piece.arguments.is_empty()
            && call.arguments.trim() != "{}"
            && call.brackets.are_closed()
            && call.input().is_some();
        apart || is_new || (!call.arguments.is_empty() && !same_name(&call.name, name))
    }

    /// Whether a piece says again all that is known of a call.
    fn repeats(&self, at: usize, piece: &Piece) -> bool {
        let call = &self.list[at];
        call.id.is_some()
            && call.id == piece.id
            && piece.name.as_ref().is_some_and(|name| same_name(&call.name, name))
            && !call.arguments.is_empty()
            && call.arguments == piece.arguments
    }

    fn add(&mut self, place: usize, piece: Piece, news: &mut Vec<CallNews>) {
        let repeats = self.repeats(place, &piece);
        let extra = piece.extra.iter().map(|(key, value)| key.len() + value.to_string().len());
        self.bytes += piece.arguments.len() + extra.sum::<usize>();
        let call = &mut self.list[place];
        if call.id.is_none() {
            call.id = piece.id;
        }
        call.extra.extend(piece.extra);
        if let Some(name) = piece.name.filter(|_| !call.begun) {
            // Said again, said from the beginning each time, or said in pieces.
            if name.starts_with(&call.name) {
                call.name = name;
            } else if call.name.len() < MAX_NAME {
                call.name.push_str(&name);
            }
        }
        let arguments = lenient::whole(piece.arguments, &mut call.half);
        if arguments.is_empty() || repeats {
            return;
        }
        call.brackets.read(&arguments);
        call.arguments.push_str(&arguments);
        if call.begun {
            news.push(CallNews::Goes { place, arguments });
        } else {
            self.begin(place, news);
        }
    }

    fn begin(&mut self, place: usize, news: &mut Vec<CallNews>) {
        let call = &mut self.list[place];
        if call.begun || call.name.is_empty() {
            return;
        }
        call.begun = true;
        call.name = clean(&call.name);
        news.push(CallNews::Begins { place, name: call.name.clone() });
        if !call.arguments.is_empty() {
            news.push(CallNews::Goes { place, arguments: call.arguments.clone() });
        }
    }
}

impl Call {
    /// The value that the arguments stand for; see [`input`].
    pub(crate) fn input(&self) -> Option<Value> {
        input(&self.arguments)
    }

    /// The value that the arguments stand for, when they are no JSON object themselves.
    pub(crate) fn meant(&self) -> Option<Value> {
        let plain = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(&self.arguments);
        if plain.is_ok() { None } else { self.input() }
    }

    /// Whether its arguments are all there, when its answer was cut off.
    pub(crate) fn is_whole(&self) -> bool {
        self.brackets.are_closed() && self.input().is_some()
    }
}

/// Arguments as an object. Nothing and `null` are an empty one; an object that was said twice, or behind an empty one,
/// counts once; JSON in a string of JSON is read. `None` when there is none.
pub(crate) fn input(arguments: &str) -> Option<Value> {
    unwrapped(arguments, 3)
}

fn unwrapped(arguments: &str, depth: usize) -> Option<Value> {
    let arguments = arguments.trim();
    if arguments.is_empty() {
        return Some(Value::Object(Map::new()));
    }
    match lenient::parse(arguments) {
        Some(Value::Null) => return Some(Value::Object(Map::new())),
        Some(Value::String(inner)) if depth > 0 => return unwrapped(&inner, depth - 1),
        Some(found) => return Some(found).filter(Value::is_object),
        None => {}
    }
    let mut found: Option<Value> = None;
    for value in serde_json::Deserializer::from_str(arguments).into_iter::<Value>() {
        let value = value.ok()?;
        let is_empty = value.as_object().is_some_and(Map::is_empty) || value.is_null();
        match &found {
            Some(known) if is_empty || *known == value => {}
            Some(known) if known.as_object().is_some_and(|known| !known.is_empty()) => return None,
            _ => found = Some(if value.is_null() { Value::Object(Map::new()) } else { value }),
        }
    }
    found.filter(Value::is_object)
}

fn same_name(known: &str, name: &str) -> bool {
    clean(known) == clean(name)
}

/// A name without the marks of templates that leak into it. One that is no name is not kept in full length.
fn clean(name: &str) -> String {
    let name = name.split("<|").next().unwrap_or_default().trim();
    let name = name.strip_prefix("functions.").unwrap_or(name);
    name[..name.floor_char_boundary(MAX_NAME)].to_owned()
}

impl Piece {
    fn of(piece: Value) -> Option<Self> {
        let Value::Object(mut fields) = piece else { return None };
        let number = fields.shift_remove("index").and_then(name_of);
        let id = fields.shift_remove("id").and_then(name_of);
        fields.shift_remove("type");
        let function = fields.shift_remove("function");
        // Some have the name and the arguments beside the id.
        let (mut inner, mut extra) = match function {
            Some(Value::Object(inner)) => (inner, fields),
            Some(Value::String(name)) => {
                fields.insert("name".to_owned(), name.into());
                (fields, Map::new())
            }
            _ => (fields, Map::new()),
        };
        let name = match inner.shift_remove("name") {
            Some(Value::String(name)) => Some(name).filter(|name| !name.trim().is_empty()),
            _ => None,
        };
        let arguments = ["arguments", "input", "parameters"]
            .iter()
            .find_map(|key| inner.shift_remove(*key).filter(|value| !value.is_null()));
        let arguments = match arguments {
            Some(Value::String(text)) => text,
            Some(Value::Bool(_) | Value::Number(_)) | None => String::new(),
            Some(value) => value.to_string(),
        };
        inner.shift_remove("parsed_arguments");
        inner.retain(|_, value| !value.is_null());
        extra.retain(|_, value| !value.is_null());
        if !inner.is_empty() {
            extra.insert(FUNCTION.to_owned(), inner.into());
        }
        Some(Self { number, id, name, arguments, extra })
    }
}

/// A number or a word as a name.
fn name_of(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Names and inputs of the calls that come in these lists.
    fn read(lists: impl IntoIterator<Item = Value>) -> Vec<(String, Option<Value>)> {
        let (mut calls, mut news) = (Calls::default(), Vec::new());
        for list in lists {
            calls.take(list, &mut news);
        }
        calls.flush(&mut news);
        let told = |place: usize| -> String {
            let goes = news.iter().filter_map(|news| match news {
                CallNews::Goes { place: at, arguments } if *at == place => Some(&**arguments),
                _ => None,
            });
            goes.collect()
        };
        let list = calls.into_list();
        for (place, call) in list.iter().enumerate().filter(|(_, call)| call.begun) {
            assert_eq!(told(place), call.arguments);
        }
        list.into_iter()
            .filter(|call| call.begun)
            .map(|call| (call.name.clone(), call.input()))
            .collect()
    }

    fn f(name: &str, arguments: &str) -> Value {
        json!({"name": name, "arguments": arguments})
    }

    #[test]
    fn two_calls_are_told_apart_however_they_are_numbered() {
        let (a, b) = (r#"{"zone":"A"}"#, r#"{"zone":"B"}"#);
        let two = [
            ("t".to_owned(), Some(json!({"zone": "A"}))),
            ("t".to_owned(), Some(json!({"zone": "B"}))),
        ];
        let cases: Vec<(&str, Vec<Value>)> = vec![
            (
                "all 0, whole",
                vec![
                    json!([{"index": 0, "id": "x", "function": f("t", a)}]),
                    json!([{"index": 0, "id": "y", "function": f("t", b)}]),
                ],
            ),
            (
                "all 0, in one list",
                vec![json!([
                    {"index": 0, "id": "x", "function": f("t", a)}, {"index": 0, "id": "y", "function": f("t", b)}
                ])],
            ),
            (
                "all 0, ids on each piece, woven",
                vec![
                    json!([{"index": 0, "id": "x", "function": f("t", "{\"zo")}]),
                    json!([{"index": 0, "id": "y", "function": f("t", "{\"zone\":")}]),
                    json!([{"index": 0, "id": "x", "function": {"arguments": "ne\":\"A\"}"}}]),
                    json!([{"index": 0, "id": "y", "function": {"arguments": "\"B\"}"}}]),
                ],
            ),
            (
                "all 0, no ids",
                vec![
                    json!([{"index": 0, "function": f("t", a)}]),
                    json!([{"index": 0, "function": f("t", b)}]),
                ],
            ),
            (
                "all 0, no ids, one list",
                vec![
                    json!([{"index": 0, "function": f("t", a)}, {"index": 0, "function": f("t", b)}]),
                ],
            ),
            (
                "from 1",
                vec![
                    json!([{"index": 1, "id": "x", "function": f("t", "")}]),
                    json!([{"index": 1, "function": {"arguments": a}}]),
                    json!([{"index": 2, "id": "y", "function": f("t", "")}]),
                    json!([{"index": 2, "function": {"arguments": b}}]),
                ],
            ),
            (
                "woven by number",
                vec![
                    json!([{"index": 5, "id": "x", "function": f("t", "{\"zone\":")}, {"index": 9, "id": "y", "function": f("t", "{")}]),
                    json!([{"index": 9, "function": {"arguments": "\"zone\":\"B\"}"}}, {"index": 5, "function": {"arguments": "\"A\"}"}}]),
                ],
            ),
            (
                "negative and text",
                vec![
                    json!([{"index": -1, "id": "x", "function": f("t", "{\"zone\":")}]),
                    json!([{"index": -1, "function": {"arguments": "\"A\"}"}}]),
                    json!([{"index": "1", "id": "y", "function": f("t", "{\"zone\":")}]),
                    json!([{"index": "1", "function": {"arguments": "\"B\"}"}}]),
                ],
            ),
            (
                "no numbers",
                vec![
                    json!([{"id": "x", "function": f("t", "{\"zone\":")}]),
                    json!([{"function": {"arguments": "\"A\"}"}}]),
                    json!([{"id": "y", "function": f("t", "")}]),
                    json!([{"id": "", "function": {"arguments": b}}]),
                ],
            ),
            (
                "null everything",
                vec![
                    json!([null, {"index": null, "id": null, "type": null, "function": f("t", a)}]),
                    json!([{"index": null, "id": null, "function": f("t", b)}]),
                ],
            ),
            (
                "one id twice",
                vec![
                    json!([{"index": 0, "id": "x", "function": f("t", a)}]),
                    json!([{"index": 1, "id": "x", "function": f("t", b)}]),
                ],
            ),
            (
                "a number for each piece",
                vec![
                    json!([{"index": 0, "id": "x", "function": f("t", "")}]),
                    json!([{"index": 1, "id": "x", "function": {"arguments": a}}]),
                    json!([{"index": 2, "id": "y", "function": f("t", "")}]),
                    json!([{"index": 3, "function": {"arguments": b}}]),
                ],
            ),
            (
                "all in each piece",
                vec![
                    json!([{"index": 0, "id": "x", "function": f("t", "{\"zone\":")}]),
                    json!([{"index": 0, "id": "x", "function": f("t", "\"A\"}")}]),
                    json!([{"index": 1, "id": "y", "function": f("t", "{\"zone\":")}]),
                    json!([{"index": 1, "id": "y", "function": f("t", "\"B\"}")}]),
                ],
            ),
            (
                "said twice",
                vec![
                    json!([{"index": 0, "id": "x", "function": f("t", a)}, {"index": 1, "id": "y", "function": f("t", b)}]),
                    json!([{"index": 0, "id": "x", "function": f("t", a)}, {"index": 1, "id": "y", "function": f("t", b)}]),
                ],
            ),
            (
                "objects",
                vec![
                    json!([{"index": 0, "id": "x", "function": {"name": "t", "arguments": {"zone": "A"}}}]),
                    json!({"index": 1, "id": "y", "name": "t", "input": {"zone": "B"}}),
                ],
            ),
        ];
        for (what, lists) in cases {
            assert_eq!(read(lists), two, "{what}");
        }
    }

    #[test]
    fn one_call_is_one_however_it_is_cut() {
        let whole = [("current_time".to_owned(), Some(json!({"zone": "A"})))];
        let cases: Vec<Vec<Value>> = vec![
            vec![
                json!([{"index": 0, "id": "x", "function": f("current_", "")}]),
                json!([{"index": 0, "function": f("time", "")}]),
                json!([{"index": 0, "function": {"arguments": r#"{"zone":"A"}"#}}]),
            ],
            vec![
                json!([{"index": 0, "function": {"name": "current_time"}}]),
                json!([{"index": 0, "id": "x", "function": {"arguments": r#"{"zone":"A"}"#}}]),
            ],
            vec![
                json!([{"index": 0, "id": "x", "function": f("current_time", "{}")}]),
                json!([{"index": 0, "function": {"arguments": r#"{"zone":"A"}"#}}]),
            ],
            vec![
                json!([{"index": 0, "function": {"arguments": r#"{"zone":"#}}]),
                json!([{"index": 0, "id": "x", "function": f("functions.current_time", "\"A\"}")}]),
            ],
            vec![
                json!([{"index": 0, "id": "x", "function": f("current_time<|channel|>commentary", r#""{\"zone\":\"A\"}""#)}]),
            ],
        ];
        for lists in cases {
            assert_eq!(read(lists.clone()), whole, "{lists:?}");
        }
        for nothing in [json!(null), json!("null"), json!(""), json!(" "), json!({}), json!("{}")] {
            let list =
                json!([{"index": 0, "id": "x", "function": {"name": "t", "arguments": nothing}}]);
            assert_eq!(read([list]), [("t".to_owned(), Some(json!({})))]);
        }
        for half in ["{", "{\"a\":", "[1]", "7", "{}}", "{\"a\":1}{\"a\":2}"] {
            assert_eq!(
                read([json!([{"id": "x", "function": f("t", half)}])]),
                [("t".to_owned(), None)],
                "{half}"
            );
        }
    }

    #[test]
    fn what_else_a_call_has_is_kept() {
        let mut calls = Calls::default();
        let signature = json!({"google": {"thought_signature": "c2ln"}});
        calls.take(json!([{"index": 0, "id": "x", "type": "function", "extra_content": signature, "odd": null,
            "function": {"name": "t", "arguments": "{}", "thought_signature": "s"}}]), &mut Vec::new());
        let extra = Value::Object(calls.into_list().remove(0).extra);
        assert_eq!(
            extra,
            json!({"extra_content": signature, "function": {"thought_signature": "s"}})
        );
    }
}
