//! A session as Markdown, for people and for note apps.

use serde_json::Value;
use session_protocol::{Message, Part, Role, ToolCallPart};

use crate::{About, Options};

/// The session as one Markdown text.
pub fn markdown(about: &About, messages: &[Message], options: &Options) -> String {
    let mut out = String::from("---\n");
    let quoted = |text: &str| Value::from(text).to_string();
    let mut field = |name: &str, value: &str| out.push_str(&format!("{name}: {value}\n"));
    field("title", &quoted(&about.title));
    if let Some(created) = messages.iter().find_map(|message| message.created_at.as_deref()) {
        field("created", &quoted(created));
    }
    if let Some(updated) = messages.iter().rev().find_map(|message| message.created_at.as_deref()) {
        field("updated", &quoted(updated));
    }
    field("id", &quoted(&about.id));
    field("messages", &messages.len().to_string());
    field("exported_by", &quoted(concat!("Threadkeep ", env!("CARGO_PKG_VERSION"))));
    field("format_version", "1");
    out.push_str("---\n\n");
    out.push_str(&format!("# {}\n", words(&one_line(&about.title))));
    for message in messages {
        let time = message.created_at.as_deref().map(|at| format!(" — {at}")).unwrap_or_default();
        out.push_str(&format!("\n## {}{}\n", words(&one_line(&name(message))), words(&time)));
        if !message.is_complete {
            out.push_str("\n*(unfinished)*\n");
        }
        for part in &message.parts {
            self::part(part, options, &mut out);
        }
        if let Some(error) = &message.error {
            out.push_str(&format!("\n*Failed: {}*\n", words(&one_line(&error.message))));
        }
    }
    out
}

/// Who speaks, in words.
pub(crate) fn name(message: &Message) -> String {
    let role = match message.role {
        Role::User => "Person",
        Role::Assistant => "Assistant",
        Role::System => "System",
    };
    message.actor_id.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| role.to_owned())
}

pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn part(part: &Part, options: &Options, out: &mut String) {
    match part {
        Part::Text { text, .. } => out.push_str(&format!("\n{}\n", body(text))),
        Part::Reasoning { text, .. } if options.details => {
            out.push_str(&format!(
                "\n<details><summary>Thoughts</summary>\n\n{}\n\n</details>\n",
                body(text)
            ));
        }
        Part::ToolCall(call) if options.details => self::call(call, out),
        Part::File(file) => {
            let name = file.filename.as_deref().or(file.media_type.as_deref()).unwrap_or("file");
            out.push_str(&format!("\n*Attached: {}*\n", words(&one_line(name))));
        }
        Part::Source(source) => {
            let title = source.title.as_deref().or(source.filename.as_deref());
            match source.url.as_deref().filter(|url| is_link(url)) {
                Some(url) => {
                    let title = words(&one_line(title.unwrap_or(url))).replace(['[', ']'], "");
                    out.push_str(&format!(
                        "\n- [{title}](<{}>)\n",
                        url.replace(['<', '>', '\n'], "")
                    ));
                }
                None => out
                    .push_str(&format!("\n- {}\n", words(&one_line(title.unwrap_or("document"))))),
            }
        }
        Part::StructuredOutput { raw, .. } => out.push_str(&format!("\n{}\n", fenced("json", raw))),
        Part::SteeringMessage { text, .. } => {
            out.push_str(&format!("\n> {}\n", body(text).replace('\n', "\n> ")))
        }
        Part::Question(question) => {
            if let Some(message) = &question.message {
                out.push_str(&format!("\n{}\n", body(message)));
            }
        }
        Part::Data { name, .. } if name == "compaction" => {
            out.push_str("\n*(What is above was summed up here.)*\n")
        }
        _ => {}
    }
}

pub(crate) fn is_link(url: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| url.starts_with(scheme))
}

fn call(call: &ToolCallPart, out: &mut String) {
    let state = state(call);
    out.push_str(&format!(
        "\n<details><summary>{} ({state})</summary>\n\n",
        words(&one_line(&call.name))
    ));
    let input = call.input.as_ref().map_or_else(|| call.arguments.clone(), pretty);
    out.push_str(&fenced("json", &input));
    if let Some(output) = &call.output {
        out.push_str(&format!("\n\n{}", fenced("", &pretty(output))));
    }
    if let Some(error) = &call.error {
        out.push_str(&format!("\n\n{}", fenced("", error)));
    }
    out.push_str("\n\n</details>\n");
}

/// How a call ended, in one word.
pub(crate) fn state(call: &ToolCallPart) -> String {
    serde_json::to_value(call.state)
        .ok()
        .and_then(|state| state.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// JSON over several lines; a text as it is.
pub(crate) fn pretty(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

/// A block with a fence that is longer than any inside.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}", text.trim_end_matches('\n'))
}

/// Words in a line of ours: no Markdown of them is one.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// A person's or model's Markdown: its headings are below ours, HTML in it is text, and nothing in it is fetched.
fn body(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut fence: Option<(char, usize)> = None;
    for line in text.trim_end().split_inclusive('\n') {
        let trimmed = line.trim_start_matches(' ');
        let mark = trimmed.chars().next().filter(|c| matches!(c, '`' | '~'));
        let run = mark.map_or(0, |mark| trimmed.chars().take_while(|c| *c == mark).count());
        if let Some((open, length)) = fence {
            out.push_str(line);
            if mark == Some(open) && run >= length && trimmed[run..].trim().is_empty() {
                fence = None;
            }
            continue;
        }
        if let Some(mark) = mark.filter(|_| run >= 3) {
            fence = Some((mark, run));
            out.push_str(line);
            continue;
        }
        let level = trimmed.chars().take_while(|c| *c == '#').count();
        let rest = if (1..=6).contains(&level) && trimmed[level..].starts_with([' ', '\t', '\n']) {
            out.push_str(&"#".repeat((level + 2).min(6)));
            &trimmed[level..]
        } else {
            line
        };
        inline(rest, &mut out);
    }
    if let Some((mark, length)) = fence {
        // What follows is no code.
        out.push('\n');
        out.extend(std::iter::repeat_n(mark, length));
    }
    out
}

fn inline(line: &str, out: &mut String) {
    let code = line.matches('`').count().is_multiple_of(2);
    for (at, piece) in line.split('`').enumerate() {
        if at > 0 {
            out.push('`');
        }
        if code && at % 2 == 1 {
            out.push_str(piece);
        } else {
            let piece = piece.replace('<', "&lt;").replace("[[", "\\[\\[").replace("![", "\\![");
            out.push_str(&piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_cannot_be_taken_for_the_outline_or_for_html() {
        assert_eq!(body("# Big\n## Less"), "### Big\n#### Less");
        assert_eq!(
            body("a <script> [[x]] ![y](http://z)"),
            "a &lt;script> \\[\\[x]] \\![y](http://z)"
        );
        assert_eq!(body("`<b>`\n```\n# <b>\n```"), "`<b>`\n```\n# <b>\n```");
        assert_eq!(body("```\nnever closed"), "```\nnever closed\n```");
        assert_eq!(fenced("", "a ``` b"), "````\na ``` b\n````");
    }
}
