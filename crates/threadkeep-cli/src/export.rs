//! `threadkeep export`: a session as a file.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use durable_stream::{Live, Offset};
use futures::TryStreamExt as _;
use serde_json::Value;
use session_export::{About, Found, Options, Secret};
use session_protocol::{Message, SessionFold};

use crate::foreign::clean;
use crate::remote::{Remote, ServerArgs};

/// Characters of a title that is made of words.
const TITLE: usize = 80;

/// Write a session as Markdown, HTML, JSON or as its raw log.
///
/// Secrets that have a known shape (keys of providers, tokens, private keys, passwords in
/// addresses) are hidden, and told on standard error; look at the result before you share it. The
/// HTML page has no script and fetches nothing. The raw log and the JSON can be imported again.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep export first-steps > first-steps.md\n  \
    threadkeep export first-steps --format html --out first-steps.html\n\n\
    Environment:\n  \
    THREADKEEP_TOKEN  the server's token, if it asks for one")]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    /// The session's name.
    session: String,

    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    format: Form,

    /// Write to this file instead of standard output; it is there whole or not at all.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Leave secrets as they are.
    #[arg(long)]
    with_secrets: bool,

    /// Leave out thoughts and calls of tools (Markdown and HTML).
    #[arg(long)]
    readable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Markdown,
    Html,
    Json,
    Raw,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let remote = Remote::new(args.server, &args.session)?;
    remote.check().await?;
    let mut fold = SessionFold::new(remote.session());
    let mut items = Vec::new();
    let mut batches = remote.stream().follow(Offset::Beginning, Live::No);
    while let Some(batch) = batches.try_next().await.map_err(|error| remote.stream_error(&error))? {
        fold.apply(&batch.items, &mut ());
        if args.format == Form::Raw {
            items.extend(batch.items);
        }
    }
    let title = fold.title().map(str::to_owned);
    let messages: Vec<Message> = fold.into_messages().filter(|message| !message.hidden).collect();
    let (messages, mut found) = session_export::without_secrets(&messages, args.with_secrets);
    let mut about = About {
        id: remote.session().to_owned(),
        title: title.unwrap_or_else(|| first_words(&messages, remote.session())),
    };
    if !args.with_secrets
        && let Some(hidden) = session_export::hidden(&about.title, &mut |_, _| {})
    {
        about.title = hidden;
    }
    let options = Options { details: !args.readable };
    let text = match args.format {
        Form::Markdown => session_export::markdown(&about, &messages, &options),
        Form::Html => session_export::html(&about, &messages, &options),
        Form::Json => {
            let json = session_export::json(&about, &messages);
            serde_json::to_string_pretty(&json).context("cannot write the result")? + "\n"
        }
        Form::Raw => raw(&items, args.with_secrets, &mut found)?,
    };
    tell(&found);
    match &args.out {
        Some(path) => tokio::task::block_in_place(|| put(path, &text)),
        None => io::stdout().lock().write_all(text.as_bytes()).context("cannot write the result"),
    }
}

/// The first line that somebody said.
fn first_words(messages: &[Message], session: &str) -> String {
    let words = messages.iter().map(Message::plain_text).find(|words| !words.trim().is_empty());
    let words = words.unwrap_or_default();
    let line = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or(session);
    line.chars().take(TITLE).collect()
}

/// The items of the stream as one JSON array. A secret that is spread over several items cannot be
/// hidden in any of them.
fn raw(
    items: &[impl AsRef<[u8]>],
    with_secrets: bool,
    found: &mut Found,
) -> anyhow::Result<String> {
    let mut out = String::from("[");
    let mut fold = SessionFold::new("");
    for (at, item) in items.iter().enumerate() {
        let text = String::from_utf8_lossy(item.as_ref());
        let text = if with_secrets { text.into_owned() } else { hidden(&text) };
        fold.apply([&text], &mut ());
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&text);
    }
    out.push_str("\n]\n");
    if !with_secrets {
        let messages: Vec<Message> = fold.into_messages().collect();
        let (_, left) = session_export::without_secrets(&messages, false);
        if left.keys().any(|(_, _, hidden)| *hidden) {
            tell(&left);
            bail!(
                "a secret is spread over several items of the log, where it cannot be hidden. Export another form, or \
                use --with-secrets"
            );
        }
        // What was found in the messages was hidden in the items.
        for ((kind, shown, _), count) in left {
            found.entry((kind, shown, false)).or_insert(count);
        }
    }
    Ok(out)
}

/// An item with its secrets hidden, also in the chunk, which is JSON in a string.
fn hidden(item: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(item) else { return item.to_owned() };
    let mut ignore = |_: &Secret, _: &str| {};
    let chunk = value.pointer("/value/chunk").and_then(Value::as_str);
    if let Some(mut chunk) = chunk.and_then(|chunk| serde_json::from_str::<Value>(chunk).ok()) {
        let before = chunk.clone();
        session_export::hide(&mut chunk, &mut ignore);
        if chunk != before {
            value["value"]["chunk"] = chunk.to_string().into();
        }
    }
    let before = value.clone();
    session_export::hide(&mut value, &mut ignore);
    if value == before && serde_json::from_str::<Value>(item).is_ok_and(|same| same == value) {
        return item.to_owned();
    }
    value.to_string()
}

/// Says what was found and what became of it.
fn tell(found: &Found) {
    for ((kind, shown, hidden), count) in found {
        let done = if *hidden { "hidden" } else { "left as it is" };
        let times = if *count > 1 { format!(", {count} times") } else { String::new() };
        eprintln!("threadkeep: {kind}, {}{times}: {done}", clean(shown));
    }
}

/// Writes a file whole or not at all.
fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().with_context(|| format!("{shown} is no file name"))?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.part", std::process::id()));
    let temporary = folder.unwrap_or_else(|| Path::new(".")).join(temporary);
    let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        std::fs::remove_file(&temporary).ok(); // it may not be there
    }
    written.with_context(|| format!("cannot write {shown}"))
}
