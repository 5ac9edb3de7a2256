//! What the words of an agent may cost in a stream.
//!
//! A chunk is JSON inside JSON: a quote is four bytes there, a control character up to seven. So sizes are counted as they
//! are written, not as they are said.

use serde_json::Value;

/// Marks that something was left out.
pub(crate) const CUT: char = '…';

/// Bytes of a character in a stream.
pub(crate) fn width(c: char) -> usize {
    match c {
        '"' | '\\' => 4,
        '\n' | '\r' | '\t' => 3,
        c if c < ' ' => 7,
        c => c.len_utf8(),
    }
}

/// Bytes of a text in a stream.
pub(crate) fn cost(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// The beginning of a text that costs no more than `limit`.
pub(crate) fn head(text: &str, limit: usize) -> &str {
    let mut spent = 0;
    let end = text.char_indices().find(|(_, c)| {
        spent += width(*c);
        spent > limit
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// The end of a text that costs no more than `limit`.
pub(crate) fn tail(text: &str, limit: usize) -> &str {
    let mut spent = 0;
    let begin = text.char_indices().rev().find(|(_, c)| {
        spent += width(*c);
        spent > limit
    });
    begin.map_or(text, |(at, c)| &text[at + c.len_utf8()..])
}

/// A text of at most `limit`, with a mark where it was cut.
pub(crate) fn short(text: &str, limit: usize) -> String {
    let kept = head(text, limit);
    if kept.len() == text.len() { kept.to_owned() } else { format!("{kept}{CUT}") }
}

/// Beginning and end of a text that is too long: a third and two thirds.
pub(crate) fn middle_out(text: &str, limit: usize) -> String {
    if text.len() <= limit && cost(text) <= limit {
        return text.to_owned();
    }
    let (begin, end) = (head(text, limit / 3), tail(text, limit / 3 * 2));
    if begin.len() + end.len() >= text.len() {
        return text.to_owned();
    }
    let left_out = text.len() - begin.len() - end.len();
    format!("{begin}\n{CUT} {left_out} bytes are left out {CUT}\n{end}")
}

/// A value that costs no more than about `limit`: long texts and lists are cut, what is too deep is left out.
pub(crate) fn shrink(value: &Value, limit: usize, change: &impl Fn(&str) -> String) -> Value {
    fn go(value: &Value, left: &mut usize, depth: u32, change: &impl Fn(&str) -> String) -> Value {
        const EACH: usize = 8;
        *left = left.saturating_sub(EACH);
        match value {
            Value::String(text) => {
                // What is looked at is bounded, too.
                let text = head(text, left.saturating_mul(2).max(EACH));
                let text = short(&change(text), *left);
                *left = left.saturating_sub(cost(&text));
                text.into()
            }
            _ if depth > 24 => Value::String(CUT.into()),
            Value::Array(items) => {
                let mut kept = Vec::new();
                for item in items {
                    if *left <= EACH {
                        kept.push(Value::String(CUT.into()));
                        break;
                    }
                    kept.push(go(item, left, depth + 1, change));
                }
                kept.into()
            }
            Value::Object(fields) => {
                let mut kept = serde_json::Map::new();
                for (name, value) in fields {
                    let size = cost(name) + EACH;
                    if *left <= size {
                        kept.insert(CUT.into(), Value::Null);
                        break;
                    }
                    *left -= size;
                    kept.insert(name.clone(), go(value, left, depth + 1, change));
                }
                kept.into()
            }
            other => other.clone(),
        }
    }
    let mut left = limit;
    go(value, &mut left, 0, change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_texts_cost_is_what_it_takes_in_a_row() {
        for text in ["plain", "a \"quote\" and \\", "line\nline\ttab\r", "\u{1b}[31mred", "ä€😀"]
        {
            let inner = json!({ "t": text }).to_string();
            let row = Value::String(inner).to_string();
            let empty = Value::String(json!({ "t": "" }).to_string()).to_string();
            let real = row.len() - empty.len();
            assert!(cost(text) >= real && cost(text) <= real + 4 * text.len(), "{text:?} {real}");
        }
    }

    #[test]
    fn cut_texts_are_within_their_limits_whatever_is_in_them() {
        let text = "ä\"\n".repeat(1000);
        for limit in [0, 1, 5, 100, 1000] {
            assert!(cost(head(&text, limit)) <= limit);
            assert!(cost(tail(&text, limit)) <= limit);
            assert!(cost(&middle_out(&text, limit)) <= limit + 60);
        }
        assert_eq!(middle_out("all of it", 100), "all of it");
    }

    #[test]
    fn a_value_is_cut_to_its_size() {
        let value = json!({"a": "x".repeat(10_000), "b": vec![1; 5000], "c": {"d": "e"}});
        let small = shrink(&value, 500, &str::to_owned);
        assert!(small.to_string().len() < 1200, "{}", small.to_string().len());
        assert_eq!(shrink(&json!({"a": [1, "b"]}), 500, &str::to_owned), json!({"a": [1, "b"]}));
    }
}
