//! `threadkeep export`: a session as a file.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use durable_stream::{Live, Offset};
use futures::TryStreamExt as _;
use serde_json::Value;
use session_export::{About, Choice, Found, Options};
use session_protocol::api::{PageQuery, SessionEntry};
use session_protocol::{Message, SessionFold};

use crate::foreign::clean;
use crate::remote::{Remote, ServerArgs};

/// Characters of a title that is made of words.
const TITLE: usize = 80;
/// Rows of a page of the list of sessions.
const PAGE: usize = 500;

/// Write a session, or all of them, as Markdown, HTML, JSON or as raw logs.
///
/// Secrets that have a known shape (keys of providers, tokens, private keys, passwords in
/// addresses) are hidden, and told on standard error; `--review` lists them with their ids, and
/// `--keep` and `--hide` decide each. Look at the result before you share it. The HTML page has no
/// script and fetches nothing. The raw log and the JSON can be imported again.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep export first-steps > first-steps.md\n  \
    threadkeep export first-steps --review\n  \
    threadkeep export first-steps --format html --out first-steps.html\n  \
    threadkeep export --all --since 2026-01-01 --out chats\n\n\
    Environment:\n  \
    THREADKEEP_TOKEN  the server's token, if it asks for one")]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    /// The session's name.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    session: Option<String>,

    /// Write every session that the token may see, each to a file of its own in the folder --out.
    #[arg(long, requires = "out")]
    all: bool,

    /// With --all: only what was last written on this day or later.
    #[arg(long, value_name = "YYYY-MM-DD", requires = "all")]
    since: Option<jiff::civil::Date>,

    /// With --all: only what was last written on this day or earlier.
    #[arg(long, value_name = "YYYY-MM-DD", requires = "all")]
    until: Option<jiff::civil::Date>,

    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    format: Form,

    /// Write to this file instead of standard output; it is there whole or not at all. With --all
    /// a folder.
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,

    /// List the secrets that were found, with their ids and the words around them, and write
    /// nothing.
    #[arg(long, conflicts_with = "out")]
    review: bool,

    /// Leave the secret with this id as it is. Repeatable.
    #[arg(long, value_name = "ID")]
    keep: Vec<String>,

    /// Hide the value with this id, which only looks like a secret. Repeatable.
    #[arg(long, value_name = "ID")]
    hide: Vec<String>,

    /// Leave all secrets as they are.
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

impl Form {
    /// The end of the name of its files.
    fn end(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Html => "html",
            Self::Json | Self::Raw => "json",
        }
    }
}

/// The way in which sessions are written.
struct Wanted {
    form: Form,
    options: Options,
    choice: Choice,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let session = args.session.clone().unwrap_or_else(|| "export".to_owned());
    let remote = Remote::new(args.server, &session)?;
    let ids = |given: Vec<String>| given.into_iter().collect::<BTreeSet<String>>();
    let wanted = Wanted {
        form: args.format,
        options: Options { details: !args.readable },
        choice: Choice { keep_all: args.with_secrets, keep: ids(args.keep), hide: ids(args.hide) },
    };
    if args.all {
        let folder = args.out.context("--all needs --out")?;
        return all(&remote, &wanted, &folder, args.since, args.until).await;
    }
    remote.check().await?;
    let written = write(&remote, remote.session(), None, &wanted).await?;
    if args.review {
        return review(&written.found);
    }
    tell(&written.found);
    match &args.out {
        Some(path) => tokio::task::block_in_place(|| put(path, &written.text)),
        None => {
            let mut out = io::stdout().lock();
            out.write_all(written.text.as_bytes()).context("cannot write the result")
        }
    }
}

/// A session in its form.
struct Written {
    about: About,
    /// When it began, as it says itself.
    day: Option<String>,
    text: String,
    found: Found,
}

/// Reads a session and writes it in its form.
async fn write(
    remote: &Remote,
    session: &str,
    title: Option<&str>,
    wanted: &Wanted,
) -> anyhow::Result<Written> {
    let mut fold = SessionFold::new(session);
    let mut items = Vec::new();
    let mut batches = remote.client().stream(session).follow(Offset::Beginning, Live::No);
    while let Some(batch) = batches.try_next().await.map_err(|error| remote.stream_error(&error))? {
        fold.apply(&batch.items, &mut ());
        if wanted.form == Form::Raw {
            items.extend(batch.items);
        }
    }
    let title = fold.title().or(title).map(str::to_owned);
    let messages: Vec<Message> = fold.into_messages().filter(|message| !message.hidden).collect();
    let day = messages.iter().find_map(|message| message.created_at.clone());
    let (messages, mut found) = session_export::without_secrets(&messages, &wanted.choice);
    let mut about = About {
        id: session.to_owned(),
        title: title.unwrap_or_else(|| first_words(&messages, session)),
    };
    let mut hides = |secret: &_, text: &str| found.take(secret, text, &wanted.choice);
    if let Some(hidden) = session_export::hidden(&about.title, &mut hides) {
        about.title = hidden;
    }
    let text = match wanted.form {
        Form::Markdown => session_export::markdown(&about, &messages, &wanted.options),
        Form::Html => session_export::html(&about, &messages, &wanted.options),
        Form::Json => {
            let json = session_export::json(&about, &messages);
            serde_json::to_string_pretty(&json).context("cannot write the result")? + "\n"
        }
        Form::Raw => raw(&items, &wanted.choice, &mut found)?,
    };
    Ok(Written { about, day, text, found })
}

/// Writes every session to a file of its own. One that cannot be written costs itself.
async fn all(
    remote: &Remote,
    wanted: &Wanted,
    folder: &Path,
    since: Option<jiff::civil::Date>,
    until: Option<jiff::civil::Date>,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let is_wanted = |entry: &SessionEntry| {
        // Times are compared as text: both are written alike.
        let day = entry.last_activity_at.as_deref().or(entry.created_at.as_deref());
        let day = day.and_then(|at| at.get(..10)).unwrap_or_default();
        since.is_none_or(|since| day >= since.to_string().as_str())
            && until.is_none_or(|until| day <= until.to_string().as_str())
    };
    let (mut cursor, mut count, mut failed, mut found) = (None, 0, 0, Found::default());
    loop {
        let page = PageQuery { limit: Some(PAGE), cursor };
        let page = remote.granted(remote.client().sessions(&page).await)?;
        for entry in page.sessions.iter().filter(|entry| is_wanted(entry)) {
            let done = write(remote, &entry.session_id, entry.title.as_deref(), wanted).await;
            let done = done.and_then(|written| {
                let day = entry.created_at.as_deref().or(written.day.as_deref());
                let name = session_export::file_name(&written.about, day, wanted.form.end());
                tokio::task::block_in_place(|| put(&folder.join(name), &written.text))?;
                found.merge(written.found);
                Ok(())
            });
            match done {
                Ok(()) => count += 1,
                Err(error) => {
                    failed += 1;
                    eprintln!(
                        "threadkeep: {}: {}",
                        clean(&entry.session_id),
                        clean(&format!("{error:#}"))
                    );
                }
            }
            if io::stderr().is_terminal() {
                eprint!("\r{count} sessions");
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    tell(&found);
    eprintln!("{count} sessions written to {}", folder.display());
    if failed > 0 {
        bail!("{failed} sessions could not be written");
    }
    Ok(())
}

/// Lists what was found for a person to choose.
fn review(found: &Found) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for hit in found.hits() {
        let done = if hit.hidden { "hidden" } else { "kept" };
        let line = format!(
            "{}\t{done}\t{}\t{} x\t{}",
            hit.id,
            hit.kind,
            hit.count,
            clean(&hit.context).replace(['\t', '\n'], " ")
        );
        writeln!(out, "{line}").context("cannot write the result")?;
    }
    if found.hits().is_empty() {
        eprintln!("threadkeep: no secret of a known shape was found");
    }
    Ok(())
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
fn raw(items: &[impl AsRef<[u8]>], choice: &Choice, found: &mut Found) -> anyhow::Result<String> {
    let mut out = String::from("[");
    let mut fold = SessionFold::new("");
    for (at, item) in items.iter().enumerate() {
        let text = hidden(&String::from_utf8_lossy(item.as_ref()), choice);
        fold.apply([&text], &mut ());
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&text);
    }
    out.push_str("\n]\n");
    let messages: Vec<Message> = fold.into_messages().collect();
    let (_, left) = session_export::without_secrets(&messages, choice);
    if left.is_any_hidden() {
        tell(&left);
        bail!(
            "a secret is spread over several items of the log, where it cannot be hidden. Export another form, or keep \
            it by --keep or --with-secrets"
        );
    }
    // Messages that are not shown have some that the others have not.
    found.add_unknown(left);
    Ok(out)
}

/// An item with its secrets hidden, also in the chunk, which is JSON in a string.
fn hidden(item: &str, choice: &Choice) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(item) else { return item.to_owned() };
    let mut ignored = Found::default();
    let mut hides = |secret: &_, text: &str| ignored.take(secret, text, choice);
    let chunk = value.pointer("/value/chunk").and_then(Value::as_str);
    if let Some(mut chunk) = chunk.and_then(|chunk| serde_json::from_str::<Value>(chunk).ok()) {
        let before = chunk.clone();
        session_export::hide(&mut chunk, &mut hides);
        if chunk != before {
            value["value"]["chunk"] = chunk.to_string().into();
        }
    }
    session_export::hide(&mut value, &mut hides);
    if serde_json::from_str::<Value>(item).is_ok_and(|same| same == value) {
        return item.to_owned();
    }
    value.to_string()
}

/// Says what was found and what became of it.
fn tell(found: &Found) {
    for hit in found.hits() {
        let done = if hit.hidden { "hidden" } else { "left as it is" };
        let times = if hit.count > 1 { format!(", {} times", hit.count) } else { String::new() };
        eprintln!("threadkeep: {}, {}{times}: {done} (id {})", hit.kind, clean(&hit.shown), hit.id);
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
