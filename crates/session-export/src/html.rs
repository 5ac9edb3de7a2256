//! A session as one HTML page: no script, nothing that is fetched, readable in light and dark and on paper.
//!
//! Content is Markdown whose HTML is text, and is sanitised once more as the last step; every other field is escaped.

use std::collections::{HashMap, HashSet};

use pulldown_cmark::{CowStr, Event, Options as Extensions, Parser, Tag, TagEnd, html::push_html};
use session_protocol::{FilePart, Message, Part, Role, ToolCallPart};

use crate::markdown::{is_link, name, one_line, pretty, state};
use crate::{About, Options};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; font-src data:; \
    base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("page.css");

/// The session as one page.
pub fn html(about: &About, messages: &[Message], options: &Options) -> String {
    let title = escaped(&about.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"und\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
        <meta name=\"referrer\" content=\"no-referrer\">\n\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
        <meta name=\"color-scheme\" content=\"light dark\">\n\
        <meta name=\"generator\" content=\"Threadkeep {}\">\n\
        <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1 dir=\"auto\">{title}</h1>\n",
        env!("CARGO_PKG_VERSION"),
    );
    for message in messages {
        self::message(message, options, &mut out);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn message(message: &Message, options: &Options, out: &mut String) {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => "system",
    };
    out.push_str(&format!(
        "<article class=\"{role}\">\n<header><b dir=\"auto\">{}</b>",
        escaped(&name(message))
    ));
    if let Some(at) = &message.created_at {
        out.push_str(&format!(" <time datetime=\"{0}\">{0}</time>", escaped(at)));
    }
    if !message.is_complete {
        out.push_str(" <i>unfinished</i>");
    }
    out.push_str("</header>\n");
    for part in &message.parts {
        self::part(part, options, out);
    }
    if let Some(error) = &message.error {
        out.push_str(&format!("<p class=\"error\" dir=\"auto\">{}</p>\n", escaped(&error.message)));
    }
    out.push_str("</article>\n");
}

fn part(part: &Part, options: &Options, out: &mut String) {
    match part {
        Part::Text { text, .. } => {
            out.push_str(&format!("<div dir=\"auto\">{}</div>\n", rendered(text)))
        }
        Part::Reasoning { text, .. } if options.details => {
            out.push_str(&details(
                "Thoughts",
                &format!("<div dir=\"auto\">{}</div>", rendered(text)),
            ));
        }
        Part::ToolCall(call) if options.details => self::call(call, out),
        Part::File(file) => self::file(file, out),
        Part::Source(source) => {
            let title =
                source.title.as_deref().or(source.filename.as_deref()).or(source.url.as_deref());
            let title = escaped(title.unwrap_or("document"));
            match source.url.as_deref().filter(|url| is_link(url)) {
                Some(url) => out.push_str(&format!(
                    "<p class=\"source\"><a rel=\"noopener noreferrer nofollow\" href=\"{}\">{title}</a></p>\n",
                    escaped(url)
                )),
                None => out.push_str(&format!("<p class=\"source\">{title}</p>\n")),
            }
        }
        Part::StructuredOutput { raw, .. } => {
            out.push_str(&format!("<pre>{}</pre>\n", escaped(raw)))
        }
        Part::SteeringMessage { text, .. } => {
            out.push_str(&format!("<blockquote dir=\"auto\">{}</blockquote>\n", rendered(text)));
        }
        Part::Question(question) => {
            if let Some(message) = &question.message {
                out.push_str(&format!("<div dir=\"auto\">{}</div>\n", rendered(message)));
            }
        }
        Part::Data { name, .. } if name == "compaction" => {
            out.push_str("<p class=\"mark\">What is above was summed up here.</p>\n");
        }
        _ => {}
    }
}

fn details(summary: &str, inside: &str) -> String {
    format!("<details><summary>{}</summary>\n{inside}\n</details>\n", escaped(summary))
}

fn call(call: &ToolCallPart, out: &mut String) {
    let input = call.input.as_ref().map_or_else(|| call.arguments.clone(), pretty);
    let mut inside = format!("<pre>{}</pre>", escaped(&input));
    // What a tool gave is text, never HTML.
    if let Some(output) = &call.output {
        inside.push_str(&format!("\n<pre>{}</pre>", escaped(&pretty(output))));
    }
    if let Some(error) = &call.error {
        inside.push_str(&format!("\n<pre class=\"error\">{}</pre>", escaped(error)));
    }
    out.push_str(&details(&format!("{} ({})", one_line(&call.name), state(call)), &inside));
}

fn file(file: &FilePart, out: &mut String) {
    let name = escaped(file.filename.as_deref().or(file.media_type.as_deref()).unwrap_or("file"));
    let kinds = ["png", "jpeg", "gif", "webp", "avif"];
    let is_image =
        kinds.iter().any(|kind| file.url.starts_with(&format!("data:image/{kind};base64,")));
    let plain = |c: char| c.is_ascii_alphanumeric() || ":/;,+=-.".contains(c);
    if is_image && file.url.chars().all(plain) {
        out.push_str(&format!("<p><img alt=\"{name}\" src=\"{}\"></p>\n", file.url));
    } else {
        out.push_str(&format!("<p class=\"file\" dir=\"auto\">{name}</p>\n"));
    }
}

/// Text as HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => {}
            c => out.push(c),
        }
    }
    out
}

/// Markdown as HTML that runs and fetches nothing.
fn rendered(markdown: &str) -> String {
    let extensions =
        Extensions::ENABLE_TABLES | Extensions::ENABLE_STRIKETHROUGH | Extensions::ENABLE_TASKLISTS;
    let mut shown = Vec::new();
    let events = Parser::new_ext(markdown, extensions).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        // An image is fetched when it is shown: it becomes a link.
        Event::Start(Tag::Image { dest_url, .. }) => {
            let is_safe = is_link(&dest_url);
            shown.push(is_safe);
            if is_safe { Event::Start(link(dest_url)) } else { Event::Text(CowStr::Borrowed("")) }
        }
        Event::End(TagEnd::Image) => {
            if shown.pop() == Some(true) {
                Event::End(TagEnd::Link)
            } else {
                Event::Text(CowStr::Borrowed(""))
            }
        }
        Event::Start(Tag::Heading { level, id, classes, attrs }) => {
            Event::Start(Tag::Heading { level: below(level), id, classes, attrs })
        }
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(below(level))),
        other => other,
    });
    let mut out = String::new();
    push_html(&mut out, events);
    sanitised(&out)
}

fn link(url: CowStr<'_>) -> Tag<'_> {
    let link_type = pulldown_cmark::LinkType::Inline;
    Tag::Link { link_type, dest_url: url, title: CowStr::Borrowed(""), id: CowStr::Borrowed("") }
}

/// Two levels below: the page and the message have headings of their own.
fn below(level: pulldown_cmark::HeadingLevel) -> pulldown_cmark::HeadingLevel {
    use pulldown_cmark::HeadingLevel::{H1, H2, H3, H4, H5, H6};
    match level {
        H1 => H3,
        H2 => H4,
        H3 => H5,
        H4 | H5 | H6 => H6,
    }
}

fn sanitised(html: &str) -> String {
    ammonia::Builder::default()
        .rm_tags(["img", "map", "area"])
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .link_rel(Some("noopener noreferrer nofollow"))
        .generic_attributes(HashSet::new())
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href", "title"])),
            ("ol", HashSet::from(["start"])),
            ("th", HashSet::from(["align"])),
            ("td", HashSet::from(["align"])),
        ]))
        .clean(html)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_runs_and_fetches_nothing() {
        for text in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "[x](javascript:alert(1))",
            "![x](https://track.example/p.gif)",
            "![x](data:text/html,<script>1</script>)",
            "<style>*{background:url(https://x)}</style>",
            "<iframe srcdoc='<b>'></iframe>",
            "a\n\n<div onclick=\"x()\">b</div>",
            "[x](<https://a\" onclick=\"x>)",
        ] {
            let html = rendered(text);
            for bad in
                ["<script", "<img", "<style", "<iframe", "<div", "href=\"javascript", "href=\"data"]
            {
                assert!(!html.contains(bad), "{text} gives {html}");
            }
        }
        assert!(rendered("# A\n\n**b** `c`").contains("<h3>A</h3>"));
        assert_eq!(escaped("<a href='x'>\u{1b}\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
    }
}
