//! `threadkeep import`: chats of other apps, and raw logs, as sessions of a server.
//!
//! Every conversation has an id of its own there, made of what tells it apart at its source.
//! Importing again adds what is new and writes anew what has changed; what people have said since,
//! and a title that they gave, stays.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use durable_stream::{AppendOptions, Bytes, CreateOptions, Live, Offset};
use futures::TryStreamExt as _;
use serde_json::value::RawValue;
use session_core::ClientError;
use session_import::{Format, Import, Problem, Report, Row, Session, Sink, Stop};
use session_protocol::api::{CreateSession, WriteChunk, WriteChunks};
use session_protocol::{Message, Role, SessionFold};
use session_server::hides;
use tokio::sync::mpsc;

use crate::foreign::clean;
use crate::remote::{Remote, ServerArgs};

/// Conversations that are read ahead of those that are being written.
const AHEAD: usize = 2;
/// Bytes of one append of a raw log.
const PIECE: usize = 512 << 10;
/// Problems that are told one by one.
const TOLD: usize = 20;
/// Time between two words about the progress.
const PACE: Duration = Duration::from_secs(1);
/// Number of times that a request is sent that the server has no time for.
const TRIES: u32 = 5;

/// Import chats of other apps, histories of local agents, and exported sessions.
///
/// PATH is a file, a folder or a zip. What it is is found out by what is in it: exports of ChatGPT,
/// Claude, Gemini, Grok, DeepSeek, Open WebUI, LibreChat, Jan, Cherry Studio, LM Studio and Zed,
/// histories of Claude Code, Codex, Gemini CLI, Qwen Code, OpenCode, Goose, Aider, Copilot and
/// Cursor, lists of messages, and `threadkeep export`. Each conversation becomes a session;
/// importing again brings what is new. One that cannot be read costs only itself.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep import --dry-run conversations.zip\n  \
    threadkeep import ~/.claude/projects\n\n\
    Environment:\n  \
    THREADKEEP_TOKEN  the server's token, if it asks for one")]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    /// File or folder to import.
    path: PathBuf,

    /// Read everything and write nothing.
    #[arg(long)]
    dry_run: bool,

    /// Print what was read as JSON; only with --dry-run.
    #[arg(long, requires = "dry_run")]
    json: bool,

    /// Import paths that their app does not show as sessions of their own, too.
    #[arg(long)]
    branches: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let Args { server, path, dry_run, json, branches } = args;
    let import = tokio::task::spawn_blocking(move || Import::open(&path)).await??;
    if dry_run && json {
        return tokio::task::spawn_blocking(move || print(&import, branches)).await?;
    }
    if import.format().is_none() {
        bail!(
            "nothing in there is a chat that can be read. `threadkeep help import` says what can"
        );
    }
    if dry_run {
        return tokio::task::spawn_blocking(move || list(&import)).await?;
    }
    let mut done = Done::default();
    let remote = Remote::new(server, "import")?;
    if import.formats().contains(&Format::Threadkeep) {
        return raw(import, &remote, &mut done).await;
    }
    write(import, &remote, branches, &mut done).await
}

/// Prints what a dry run found.
fn print(import: &Import, branches: bool) -> anyhow::Result<()> {
    let out = BufWriter::new(io::stdout().lock());
    let mut report =
        Report::begin(out, import.format(), branches).context("cannot write the result")?;
    import.read(&mut report).ok(); // that it stopped is an error of the report
    let problems = report.end().context("cannot write the result")?;
    tell(&problems);
    Ok(())
}

/// Lists what a dry run found, a line each.
fn list(import: &Import) -> anyhow::Result<()> {
    let mut lines = Lines { problems: Vec::new(), count: 0 };
    import.read(&mut lines).ok(); // nobody reads on
    tell(&lines.problems);
    eprintln!("{}", summed(import, lines.count, lines.problems.len()));
    Ok(())
}

fn summed(import: &Import, sessions: usize, problems: usize) -> String {
    let label = import.format().map_or("unknown", Format::label);
    format!("{label}: {sessions} conversations, {problems} items that cannot be read")
}

struct Lines {
    problems: Vec<Problem>,
    count: usize,
}

impl Sink for Lines {
    fn session(&mut self, session: Session) -> Result<(), Stop> {
        self.count += 1;
        let at = session.created_at.map_or_else(String::new, |at| at.to_string());
        let line = format!("{at}\t{}\t{}", session.messages.len(), clean(&session.title));
        writeln!(io::stdout().lock(), "{line}").map_err(|_| Stop)
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

/// Says what could not be read: where and why, not what.
fn tell(problems: &[Problem]) {
    for problem in problems.iter().take(TOLD) {
        eprintln!("threadkeep: {}: {}", clean(&problem.place), problem.reason);
    }
    if problems.len() > TOLD {
        eprintln!("threadkeep: and {} more items that cannot be read", problems.len() - TOLD);
    }
}

/// Numbers of conversations by what became of them.
#[derive(Default)]
struct Done {
    new: usize,
    changed: usize,
    same: usize,
    told: Option<Instant>,
}

impl Done {
    fn count(&self) -> usize {
        self.new + self.changed + self.same
    }

    fn tell(&mut self) {
        let now = Instant::now();
        let is_due = self.told.is_none_or(|told| now.duration_since(told) >= PACE);
        if is_due && io::stderr().is_terminal() {
            self.told = Some(now);
            eprint!("\r{} conversations", self.count());
        }
    }

    fn end(&self, problems: &[Problem]) -> anyhow::Result<()> {
        if self.told.is_some() {
            eprintln!();
        }
        tell(problems);
        if self.count() == 0 {
            bail!("no conversation could be imported");
        }
        eprintln!(
            "{} conversations: {} new, {} changed, {} as they were; {} items could not be read",
            self.count(),
            self.new,
            self.changed,
            self.same,
            problems.len()
        );
        Ok(())
    }
}

/// Sessions on their way from the reader, which blocks, to the writer.
struct Queue {
    sessions: mpsc::Sender<Session>,
    problems: Vec<Problem>,
}

impl Sink for Queue {
    fn session(&mut self, session: Session) -> Result<(), Stop> {
        self.sessions.blocking_send(session).map_err(|_| Stop)
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

async fn write(
    import: Import,
    remote: &Remote,
    branches: bool,
    done: &mut Done,
) -> anyhow::Result<()> {
    let (sessions, mut ready) = mpsc::channel(AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        let mut queue = Queue { sessions, problems: Vec::new() };
        import.read(&mut queue).ok(); // the writer failed, and says so
        queue.problems
    });
    let mut cut = Vec::new();
    while let Some(session) = ready.recv().await {
        let (rows, too_large) = session_import::rows(&session);
        if too_large {
            cut.push(Problem {
                place: session.title.clone(),
                reason: "a message or one of its files is too large and was cut",
            });
        }
        let id = id_of(&session.key, 0);
        if !put(remote, &id, &session.title, &rows, done).await? {
            let place = session.source_id.clone().unwrap_or(id);
            cut.push(Problem { place, reason: "the server does not take all of it" });
        }
        for which in (0..session.others.len()).filter(|_| branches) {
            let (rows, _) = session_import::other_rows(&session, which);
            let title = format!("{} ({})", session.title, which + 2);
            put(remote, &id_of(&session.key, which + 1), &title, &rows, done).await?;
        }
        done.tell();
    }
    let mut problems = reader.await?;
    problems.append(&mut cut);
    done.end(&problems)
}

/// The id of an imported session. `which`: the path, 0 for the shown one.
fn id_of(key: &str, which: usize) -> String {
    let end = if which == 0 { String::new() } else { format!("-{which}") };
    format!("import-{}{end}", &key[..key.len().min(24)])
}

/// Brings a session up to the rows of a conversation. `false`: the server does not take it.
async fn put(
    remote: &Remote,
    id: &str,
    title: &str,
    rows: &[Row],
    done: &mut Done,
) -> anyhow::Result<bool> {
    let known = there(remote, id).await?;
    let wanted: Vec<(&Row, Vec<String>)> = rows
        .iter()
        .map(|row| (row, wanted(remote, row, known.as_ref())))
        .filter(|(_, chunks)| !chunks.is_empty())
        .collect();
    let title = visible(title);
    if known.is_none() {
        let body = CreateSession { title: Some(title.clone()), agents: Vec::new() };
        if !taken(remote, again(|| remote.client().create(id, &body)).await)? {
            return Ok(false);
        }
    }
    let (is_new, is_same) = (known.is_none(), wanted.is_empty());
    let mut whole = true;
    for (row, chunks) in wanted {
        let chunks = chunks.into_iter().map(|text| chunk(remote, row, text));
        let body = WriteChunks { chunks: chunks.collect::<anyhow::Result<_>>()? };
        whole &= taken(remote, again(|| remote.client().write_chunks(id, &body)).await)?;
    }
    match (is_new, is_same) {
        (true, _) => done.new += 1,
        (false, true) => done.same += 1,
        (false, false) => done.changed += 1,
    }
    println!("{id}\t{}", clean(&title));
    Ok(whole)
}

/// Whether the server took what was sent; `false` when that itself is what it does not take.
fn taken(remote: &Remote, answer: Result<(), ClientError>) -> anyhow::Result<bool> {
    match answer {
        Err(ClientError::Refused { status, .. })
            if matches!(status.as_u16(), 400 | 409 | 413 | 422) =>
        {
            Ok(false)
        }
        answer => remote.granted(answer).map(|()| true),
    }
}

/// A title without what cannot be seen, which no server takes.
fn visible(title: &str) -> String {
    let shown: String = title.chars().filter(|c| !c.is_control() && !hides(*c)).collect();
    let shown = shown.trim();
    if shown.is_empty() { "Imported session".to_owned() } else { shown.to_owned() }
}

fn role_of(row: &Row) -> Role {
    match row.role {
        session_import::Role::User => Role::User,
        session_import::Role::Assistant => Role::Assistant,
    }
}

fn actor_of<'a>(remote: &'a Remote, row: &'a Row) -> &'a str {
    match row.role {
        session_import::Role::User => remote.actor(),
        session_import::Role::Assistant => row.author.as_deref().unwrap_or("assistant"),
    }
}

fn chunk(remote: &Remote, row: &Row, chunk: String) -> anyhow::Result<WriteChunk> {
    Ok(WriteChunk {
        message_id: row.message_id.clone(),
        actor_id: actor_of(remote, row).to_owned(),
        role: Some(role_of(row)),
        chunk: RawValue::from_string(chunk).context("a row is no JSON")?,
        txid: None,
    })
}

/// The chunks that bring a row into a session; none when its message says the same already.
fn wanted(remote: &Remote, row: &Row, known: Option<&SessionFold>) -> Vec<String> {
    let Some(there) = known.and_then(|fold| fold.message(&row.message_id)) else {
        return vec![Row::OPEN.to_owned(), row.whole()];
    };
    let mut fold = SessionFold::new("");
    for (seq, chunk) in [Row::OPEN.to_owned(), row.whole()].into_iter().enumerate() {
        let item = serde_json::json!({
            "type": "chunk", "key": format!("{}:{seq}", row.message_id),
            "value": {
                "messageId": row.message_id, "actorId": actor_of(remote, row), "role": role_of(row),
                "seq": seq, "createdAt": "2026-01-01T00:00:00Z", "chunk": chunk,
            },
            "headers": {"operation": "insert"},
        });
        fold.apply([item.to_string()], &mut ());
    }
    let says = |message: &Message| (message.role, message.parts.clone());
    let same = fold.message(&row.message_id).is_some_and(|wanted| says(wanted) == says(there));
    if same { Vec::new() } else { vec![row.whole()] }
}

/// The session as it is on the server; `None` when there is none.
async fn there(remote: &Remote, id: &str) -> anyhow::Result<Option<SessionFold>> {
    match again(|| remote.client().find(id)).await {
        Ok(()) => {}
        Err(ClientError::Refused { status, .. }) if status.as_u16() == 404 => return Ok(None),
        Err(error) => remote.granted(Err(error))?,
    }
    let mut fold = SessionFold::new(id);
    let mut batches = remote.client().stream(id).follow(Offset::Beginning, Live::No);
    while let Some(batch) = batches.try_next().await.map_err(|error| remote.stream_error(&error))? {
        fold.apply(&batch.items, &mut ());
    }
    Ok(Some(fold))
}

/// Sends a request again as long as the server has no time for it.
async fn again<T, F: Future<Output = Result<T, ClientError>>>(
    send: impl Fn() -> F,
) -> Result<T, ClientError> {
    let mut tries = 0;
    loop {
        match send().await {
            Err(ClientError::Refused { status, retry_after: Some(pause), .. })
                if matches!(status.as_u16(), 429 | 503) && tries < TRIES =>
            {
                tries += 1;
                tokio::time::sleep(pause.min(Duration::from_secs(30))).await;
            }
            answer => return answer,
        }
    }
}

/// Writes the items of raw logs, each into a stream of its own, and makes sessions of them.
async fn raw(import: Import, remote: &Remote, done: &mut Done) -> anyhow::Result<()> {
    let (items, mut ready) = mpsc::channel::<(String, String)>(1024);
    let reader = tokio::task::spawn_blocking(move || {
        import
            .raw_items(&mut |key, item| {
                items.blocking_send((key.to_owned(), item)).map_err(|_| Stop)
            })
            .ok();
    });
    let mut log: Option<Log> = None;
    while let Some((key, item)) = ready.recv().await {
        let id = id_of(&key, 0);
        if log.as_ref().is_none_or(|log| log.id != id) {
            if let Some(log) = log.take() {
                log.end(remote, done).await?;
            }
            log = Some(Log::begin(remote, id).await?);
        }
        if let Some(log) = &mut log {
            log.take(remote, &item).await?;
        }
    }
    if let Some(log) = log {
        log.end(remote, done).await?;
    }
    reader.await?;
    done.end(&[])
}

/// A stream that a raw log is copied into.
struct Log {
    id: String,
    is_new: bool,
    /// Items that the stream holds already.
    held: usize,
    written: usize,
    piece: String,
    fold: SessionFold,
}

impl Log {
    async fn begin(remote: &Remote, id: String) -> anyhow::Result<Self> {
        let stream = remote.client().stream(&id);
        let created = stream.create(CreateOptions::json()).await;
        let is_new = created.map_err(|error| remote.stream_error(&error))?.is_new;
        let mut held = 0;
        if !is_new {
            let mut batches = stream.follow(Offset::Beginning, Live::No);
            while let Some(batch) =
                batches.try_next().await.map_err(|error| remote.stream_error(&error))?
            {
                held += batch.items.len();
            }
        }
        let fold = SessionFold::new(&id);
        Ok(Self { id, is_new, held, written: 0, piece: String::new(), fold })
    }

    async fn take(&mut self, remote: &Remote, item: &str) -> anyhow::Result<()> {
        self.fold.apply([item], &mut ());
        if self.held > 0 {
            self.held -= 1; // an import that was interrupted, or a session that went on
            return Ok(());
        }
        self.written += 1;
        self.piece.push(if self.piece.is_empty() { '[' } else { ',' });
        self.piece.push_str(item);
        if self.piece.len() >= PIECE { self.flush(remote).await } else { Ok(()) }
    }

    async fn flush(&mut self, remote: &Remote) -> anyhow::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let body = std::mem::take(&mut self.piece) + "]";
        let stream = remote.client().stream(&self.id);
        let written = stream.append(Bytes::from(body), AppendOptions::default()).await;
        written.map(drop).map_err(|error| remote.stream_error(&error))
    }

    async fn end(mut self, remote: &Remote, done: &mut Done) -> anyhow::Result<()> {
        self.flush(remote).await?;
        let first = self.fold.messages().find(|message| message.role == Role::User);
        let words = first.map(Message::plain_text).unwrap_or_default();
        let line = words.lines().map(str::trim).find(|line| !line.is_empty());
        let title: String = line.unwrap_or("Imported session").chars().take(80).collect();
        // A title is only for a session that is new: its people may have given it another one.
        let body = CreateSession { title: self.is_new.then(|| title.clone()), agents: Vec::new() };
        remote.granted(again(|| remote.client().create(&self.id, &body)).await)?;
        match (self.is_new, self.written) {
            (true, _) => done.new += 1,
            (false, 0) => done.same += 1,
            (false, _) => done.changed += 1,
        }
        println!("{}\t{}", self.id, clean(&title));
        Ok(())
    }
}
