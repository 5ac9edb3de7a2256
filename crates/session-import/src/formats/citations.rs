//! The marks of sources in ChatGPT's texts, and the sources.
//!
//! A mark is U+E200, a kind, arguments behind U+E202 each, U+E201. Places given as indices count in another unit or an
//! older text: only the marks themselves are looked for. Other private-use characters are icon fonts.

use serde_json::Value;

use crate::json::{list, named, text};
use crate::turns::Turns;

const BEGIN: char = '\u{e200}';
const END: char = '\u{e201}';
const NEXT: char = '\u{e202}';
/// Bytes of a mark that never ends.
const MAX_MARK: usize = 4_096;

/// The text without marks of sources; an entity leaves its name.
pub(crate) fn without_marks(words: &str, metadata: &Value) -> String {
    let references = list(metadata, "content_references");
    let mut words = without_private(words, references);
    for reference in references {
        // An exporter that dropped only the three characters left the rest.
        let bare: String = text(reference, "matched_text")
            .chars()
            .filter(|c| !matches!(*c, BEGIN | END | NEXT))
            .collect();
        let is_bare = bare.len() < text(reference, "matched_text").len();
        if is_bare && bare.trim().len() > 6 && words.contains(&bare) {
            let name = entity_name(reference).unwrap_or_default();
            words = cut(&words, &bare, &name);
        }
    }
    without_brackets(&words)
}

fn without_private(words: &str, references: &[Value]) -> String {
    if !words.contains([BEGIN, END, NEXT]) {
        return words.to_owned();
    }
    let mut out = String::with_capacity(words.len());
    let mut rest = words;
    while let Some(at) = rest.find(BEGIN) {
        out.push_str(&rest[..at]);
        let inside = &rest[at + BEGIN.len_utf8()..];
        let close = inside.find(END).filter(|end| *end < MAX_MARK);
        let (mark, behind) = match close {
            Some(end) => (&inside[..end], &inside[end + END.len_utf8()..]),
            // An answer that was cut off in the middle of a mark.
            None => {
                let end = inside.find(['\n', BEGIN]).unwrap_or(inside.len());
                (&inside[..end], &inside[end..])
            }
        };
        let whole = &rest[at..rest.len() - behind.len()];
        let mut pieces = mark.split(NEXT);
        let name = if pieces.next() == Some("entity") {
            let told = pieces.next().and_then(display_name);
            let known = references.iter().find(|known| text(known, "matched_text") == whole);
            told.or_else(|| known.and_then(entity_name)).unwrap_or_default()
        } else {
            String::new()
        };
        if name.is_empty() && out.ends_with(' ') {
            out.pop();
        }
        out.push_str(&name);
        rest = behind;
    }
    out.push_str(rest);
    out.replace([END, NEXT], "")
}

/// The name in the arguments of an entity: `["people","Name",0]`, or an object.
fn display_name(arguments: &str) -> Option<String> {
    let value: Value = serde_json::from_str(arguments).ok()?;
    let name = match &value {
        Value::Array(list) => list.get(1).and_then(Value::as_str),
        other => named(other, "name").or_else(|| named(other, "display_name")),
    };
    name.map(str::to_owned)
}

fn entity_name(reference: &Value) -> Option<String> {
    let is_entity = text(reference, "type").contains("entity");
    is_entity.then(|| named(reference, "name").map(str::to_owned)).flatten()
}

fn cut(words: &str, mark: &str, name: &str) -> String {
    if name.is_empty() {
        words.replace(&format!(" {mark}"), "").replace(mark, "")
    } else {
        words.replace(mark, name)
    }
}

/// The text without `【12†source】`, outside of code.
fn without_brackets(words: &str) -> String {
    if !words.contains('【') {
        return words.to_owned();
    }
    let mut out = String::with_capacity(words.len());
    let mut fenced = false;
    for line in words.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            out.push_str(line);
            continue;
        }
        // Inside a pair of backticks every second piece is code.
        let whole = line.matches('`').count().is_multiple_of(2);
        for (at, piece) in line.split_inclusive('`').enumerate() {
            if whole && at % 2 == 1 { out.push_str(piece) } else { brackets(piece, &mut out) }
        }
    }
    out
}

fn brackets(piece: &str, out: &mut String) {
    let mut rest = piece;
    while let Some(at) = rest.find('【') {
        let inside = &rest[at + '【'.len_utf8()..];
        let mark = inside.find('】').map(|end| &inside[..end]);
        let is_mark = mark.is_some_and(|mark| {
            let digits = mark.split('†').next().unwrap_or_default();
            mark.contains('†')
                && !digits.is_empty()
                && digits.chars().all(|c| c.is_ascii_digit() || c == ':')
        });
        match mark.filter(|_| is_mark) {
            Some(mark) => {
                out.push_str(&rest[..at]);
                if out.ends_with(' ') {
                    out.pop();
                }
                rest = &inside[mark.len() + '】'.len_utf8()..];
            }
            None => {
                let end = at + '【'.len_utf8();
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
    }
    out.push_str(rest);
}

/// Gives the sources that a node names, in order.
pub(crate) fn sources(metadata: &Value, turns: &mut Turns) {
    for reference in list(metadata, "content_references") {
        let kind = text(reference, "type");
        if kind.contains("entity") || kind.contains("image") || kind.contains("video") {
            continue;
        }
        if kind == "file" || kind == "hidden_file" {
            turns.document(named(reference, "name"), None);
            continue;
        }
        if let Some(url) = named(reference, "url") {
            turns.page(url, named(reference, "title"));
        }
        for item in list(reference, "items").iter().chain(list(reference, "sources")) {
            turns.page(text(item, "url"), named(item, "title"));
            for page in list(item, "supporting_websites") {
                turns.page(text(page, "url"), named(page, "title"));
            }
        }
        for url in list(reference, "safe_urls").iter().filter_map(Value::as_str) {
            turns.page(url, None);
        }
    }
    for citation in list(metadata, "citations") {
        let Some(about) = citation.get("metadata") else { continue };
        match named(about, "url") {
            Some(url) => turns.page(url, named(about, "title")),
            None => turns.document(named(about, "name").or_else(|| named(about, "title")), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_are_cut_wherever_indices_point() {
        let none = json!({});
        for (text, want) in [
            ("a \u{e200}cite\u{e202}turn0search0\u{e201}.", "a."),
            ("a \u{e200}cite\u{e202}turn0search0", "a"),
            ("a \u{e200}navlist\u{e202}T\u{e202}turn0news1\u{e201}\nb", "a\nb"),
            ("\u{e200}entity\u{e202}[\"city\",\"Oslo\",\"capital\"]\u{e201} is", "Oslo is"),
            ("\u{e200}entity\u{e202}{\"name\":\"Oslo\"}\u{e201} is", "Oslo is"),
            ("icon \u{e203} stays", "icon \u{e203} stays"),
            ("x 【12†source】.", "x."),
            ("x【4:0†file.pdf】 y", "x y"),
            ("`【12†source】` and 【注†意】", "`【12†source】` and 【注†意】"),
            ("```\n【12†source】\n```", "```\n【12†source】\n```"),
        ] {
            assert_eq!(without_marks(text, &none), want, "{text}");
        }
        let known = json!({"content_references": [
            {"matched_text": "\u{e200}cite\u{e202}turn0search0\u{e201}", "type": "webpage"}]});
        assert_eq!(without_marks("a citeturn0search0.", &known), "a.");
        assert_eq!(without_marks("a citeturn0search0.", &none), "a citeturn0search0.");
    }
}
