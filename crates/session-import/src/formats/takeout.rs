//! Gemini in Google Takeout: a log of activity, one exchange an entry, the newest first.
//!
//! There are no threads: each exchange is a session, unless `titleUrl` names its conversation. Answers are HTML.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom, Write};

use jiff::Timestamp;
use serde_json::Value;

use crate::Format;
use crate::html;
use crate::json::{self, Item, Items, list, named, text};
use crate::media;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::text as words;
use crate::time;
use crate::tree::Entry;
use crate::turns::{Head, Turns};

/// Bytes of an HTML log that is read.
const MAX_HTML: u64 = 512 << 20;
/// What begins the titles of prompts in English.
const PROMPTED: &str = "Prompted ";
/// What begins the titles of entries that are no prompts.
const NO_PROMPT: &[&str] = &[
    "Gave feedback",
    "Created Gemini Canvas",
    "Selected preferred draft",
    "Used an Assistant feature",
];

/// An exchange in the order of time.
struct Exchange {
    at: Option<Timestamp>,
    /// Which one it is of those with the same time.
    occurrence: usize,
    conversation: Option<String>,
    offset: u64,
    length: usize,
}

/// Reads the logs.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let head = input.tree.head(&entry, 1024).unwrap_or_default();
        if head.trim_ascii_start().starts_with(b"<") {
            read_html(input, &entry)?;
        } else if read_json(input, &entry)?.is_none() {
            input.problem(&*entry.path, "it cannot be unpacked");
        }
    }
    Ok(())
}

/// Puts the entries aside in a file and reads them in the order of time. `None` where a file cannot be read or made.
fn read_json(input: &mut Input<'_>, entry: &Entry) -> Result<Option<()>, Stop> {
    let (Ok(from), Ok(mut aside)) = (input.tree.read(entry), tempfile::tempfile()) else {
        return Ok(None);
    };
    let is_item = |value: &Value| value.get("header").is_some();
    let mut items = Items::new(from, &[], is_item);
    let (mut exchanges, mut end, mut seen) = (Vec::new(), 0, HashMap::new());
    while let Some(item) = items.next() {
        let value = match item {
            Item::Broken(reason) => {
                input.problem(format!("{} #{}", entry.path, items.count), reason);
                continue;
            }
            Item::Value(value) if is_ours(&value) => value,
            Item::Value(value) => {
                if !value.is_object() {
                    let place = format!("{} #{}", entry.path, items.count);
                    input.problem(place, "an entry that is none");
                }
                continue;
            }
        };
        let bytes = value.to_string().into_bytes();
        if aside.write_all(&bytes).is_err() {
            return Ok(None);
        }
        let at = time::at(&value, "time");
        let occurrence = seen.entry(at).or_insert(0);
        exchanges.push(Exchange {
            at,
            occurrence: *occurrence,
            conversation: conversation_of(&value),
            offset: end,
            length: bytes.len(),
        });
        *occurrence += 1;
        end += bytes.len() as u64;
    }
    exchanges.sort_by_key(|exchange| (exchange.at, exchange.occurrence));
    let mut groups: Vec<Vec<Exchange>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for exchange in exchanges {
        match exchange.conversation.as_ref().and_then(|id| known.get(id)) {
            Some(group) => groups[*group].push(exchange),
            None => {
                if let Some(id) = &exchange.conversation {
                    known.insert(id.clone(), groups.len());
                }
                groups.push(vec![exchange]);
            }
        }
    }
    for group in groups {
        let mut turns = Turns::default();
        for exchange in &group {
            let mut bytes = vec![0; exchange.length];
            let read = aside.seek(SeekFrom::Start(exchange.offset));
            if read.and_then(|_| aside.read_exact(&mut bytes)).is_err() {
                return Ok(None);
            }
            if let Some(value) = json::parse(&bytes) {
                say(input, entry, &value, exchange.at, &mut turns);
            }
        }
        let first = &group[0];
        let made = first.at.map_or_else(String::new, |at| at.to_string());
        let seed = [made.as_str(), &first.occurrence.to_string()];
        let id = first.conversation.as_deref();
        let session = source::session(Format::GeminiTakeout, id, &seed, turns.finish());
        input.session(Some(session))?;
    }
    Ok(Some(()))
}

/// Whether an entry is an exchange with Gemini.
fn is_ours(value: &Value) -> bool {
    let is_gemini = |name: &str| name.contains("Gemini") || name.contains("Bard");
    let title = text(value, "title");
    let is_product = is_gemini(text(value, "header"))
        || list(value, "products").iter().filter_map(Value::as_str).any(is_gemini);
    let has_answer = ["safeHtmlItem", "details", "userInteractions"]
        .iter()
        .any(|field| !list(value, field).is_empty());
    is_product
        && !NO_PROMPT.iter().any(|begin| title.starts_with(begin))
        && (has_answer || title.starts_with(PROMPTED))
}

/// The conversation that an entry's address names.
fn conversation_of(value: &Value) -> Option<String> {
    let (_, path) = named(value, "titleUrl")?.split_once("gemini.google.com/")?;
    let path = path.split(['?', '#']).next()?;
    let mut parts = path.split('/').skip_while(|part| *part != "app" && *part != "gem");
    let id = match parts.next()? {
        "app" => parts.next()?,
        _ => parts.nth(1)?,
    };
    (id.len() >= 6).then(|| id.to_owned())
}

fn say(input: &Input<'_>, entry: &Entry, value: &Value, at: Option<Timestamp>, turns: &mut Turns) {
    let detail = |name: &str| {
        let found = list(value, "details").iter().find(|detail| text(detail, "name") == name);
        found.and_then(|detail| named(detail, "value"))
    };
    let title = text(value, "title");
    turns.user(Head::new(None, at));
    let interactions = list(value, "userInteractions");
    if let Some(prompt) = detail("Request") {
        turns.text(prompt);
    } else if interactions.is_empty() {
        turns.text(title.strip_prefix(PROMPTED).unwrap_or(title));
    }
    let attached = list(value, "attachedFiles").iter().chain(value.get("imageFile"));
    for file in attached {
        let name = file.as_str().or_else(|| named(file, "name")).unwrap_or_default();
        if !name.is_empty() {
            let name = media::base_name(name);
            let beside = input.tree.named(name).find(|other| other.folder() == entry.folder());
            let bytes = beside.and_then(|e| input.tree.whole(e, media::MAX_FILE as u64).ok());
            turns.file(match bytes {
                Some(bytes) => media::of_bytes(Some(name), None, bytes),
                None => media::missing(Some(name), None),
            });
        }
    }
    let answer = || Head::new(None, at.map(time::just_after));
    turns.assistant(answer());
    for item in list(value, "safeHtmlItem") {
        turns.text(&html::to_markdown(text(item, "html")));
    }
    if let Some(response) = detail("Response") {
        turns.text(response);
    }
    for interaction in interactions {
        let inner = interaction.get("userInteraction").unwrap_or(interaction);
        turns.user(Head::new(None, at));
        turns.text(&inside(inner.get("request")));
        turns.assistant(answer());
        turns.text(&inside(inner.get("response")));
    }
}

/// The words in JSON that is written in a string.
fn inside(value: Option<&Value>) -> String {
    let value = match value {
        Some(Value::String(text)) => words::json_or_text(text),
        Some(other) => other.clone(),
        None => return String::new(),
    };
    match &value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().map(|part| inside(Some(part))).collect::<Vec<_>>().join("\n\n")
        }
        other => {
            let fields = ["text", "prompt", "query", "content", "parts", "value", "candidates"];
            fields
                .iter()
                .find_map(|field| other.get(*field))
                .map_or_else(String::new, |found| inside(Some(found)))
        }
    }
}

/// The HTML form, which has prompts only, and dates in words.
fn read_html(input: &mut Input<'_>, entry: &Entry) -> Result<(), Stop> {
    let Ok(bytes) = input.tree.whole(entry, MAX_HTML) else {
        input.problem(&*entry.path, "it is too large");
        return Ok(());
    };
    let page = String::from_utf8_lossy(&bytes);
    let mut cells: Vec<(Option<Timestamp>, String)> = Vec::new();
    // In other languages nothing tells prompts from the rest: all of it is kept.
    let is_english = page.contains(PROMPTED);
    for cell in page.split("outer-cell").skip(1) {
        let header = cell.split("header-cell").nth(1).and_then(|h| h.split("</div>").next());
        let header = header.map(|h| html::plain(&format!("<p {h}")));
        if !header.is_some_and(|name| name.contains("Gemini") || name.contains("Bard")) {
            continue;
        }
        let Some(content) = cell.split("content-cell").nth(1) else { continue };
        let content = content.split_once('>').map_or(content, |(_, inside)| inside);
        let content = content.split("</div>").next().unwrap_or_default();
        let lines: Vec<String> = content
            .split("<br")
            .map(|line| line.trim_start_matches(['/', ' ']).trim_start_matches('>'))
            .map(|line| html::plain(line).replace(['\u{a0}', '\u{202f}'], " "))
            .filter(|line| !line.trim().is_empty())
            .collect();
        let Some(date) =
            lines.iter().rposition(|line| date_in_words(line).is_some() || looks_dated(line))
        else {
            continue;
        };
        let said = lines[..date].join("\n");
        let said = said.trim();
        match said.strip_prefix(PROMPTED).or((!is_english).then_some(said)) {
            Some(prompt) => cells.push((date_in_words(&lines[date]), prompt.to_owned())),
            None => continue,
        }
    }
    cells.reverse();
    cells.sort_by_key(|(at, _)| *at);
    let mut seen: HashMap<Option<Timestamp>, usize> = HashMap::new();
    for (at, prompt) in cells {
        let occurrence = seen.entry(at).or_insert(0);
        let mut turns = Turns::default();
        turns.user(Head::new(None, at));
        turns.text(&prompt);
        let made = at.map_or_else(|| prompt.clone(), |at| at.to_string());
        let seed = [made.as_str(), &occurrence.to_string()];
        *occurrence += 1;
        let session = source::session(Format::GeminiTakeout, None, &seed, turns.finish());
        input.session(Some(session))?;
    }
    Ok(())
}

fn looks_dated(line: &str) -> bool {
    line.contains("GMT") || line.contains("UTC") || line.matches(':').count() >= 2
}

/// `May 3, 2026, 12:00:00 PM GMT+2:00` or `3 May 2026, 12:00:00 GMT+2`, in English.
fn date_in_words(line: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = line.trim().split([' ', ',']).filter(|word| !word.is_empty());
    let (mut month, mut day) = (words.next()?, words.next()?);
    if day.starts_with(|c: char| c.is_alphabetic()) {
        std::mem::swap(&mut month, &mut day);
    }
    let month = MONTHS.iter().position(|name| month.starts_with(name))? + 1;
    let day: u8 = day.parse().ok()?;
    let year: u16 = words.next()?.parse().ok()?;
    let clock = words.next()?;
    let mut parts = clock.split(':').map(|part| part.parse::<u32>().ok());
    let (mut hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().flatten().unwrap_or(0);
    let mut zone = words.next().unwrap_or("UTC");
    if matches!(zone, "AM" | "PM") {
        hour = hour % 12 + if zone == "PM" { 12 } else { 0 };
        zone = words.next().unwrap_or("UTC");
    }
    let offset = match zone.strip_prefix("GMT").filter(|rest| !rest.is_empty()) {
        Some(rest) => {
            let (sign, rest) = rest.split_at_checked(1)?;
            let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
            format!("{sign}{:02}:{:02}", hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?)
        }
        None => "+00:00".to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{offset}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_words_is_read() {
        let want: Timestamp = "2026-05-03T10:00:05Z".parse().unwrap();
        assert_eq!(date_in_words("May 3, 2026, 12:00:05 PM GMT+2:00"), Some(want));
        assert_eq!(date_in_words("May 3, 2026, 10:00:05 AM UTC"), Some(want));
        assert_eq!(date_in_words("3 May 2026, 12:00:05 GMT+2"), Some(want));
        for none in ["3. Mai 2026", "May 3, 2026, 12:00:05 PM GMT\u{2212}2", "May", ""] {
            assert_eq!(date_in_words(none), None);
        }
    }
}
