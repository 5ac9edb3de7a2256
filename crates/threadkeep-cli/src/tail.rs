//! `threadkeep tail`: a session on the terminal, as it grows.

use std::collections::{HashMap, HashSet};
use std::io::{self, IsTerminal, Write};

use anyhow::bail;
use durable_stream::{FollowOptions, FollowState, Live, Offset};
use futures::TryStreamExt;
use session_protocol::{FinishReason, Message, Part, Role, SessionFold, ToolCallPart, ToolState};

use crate::foreign::{clean, clean_json, clean_words};
use crate::remote::{Remote, ServerArgs};

/// Follow a session and print it as it grows.
///
/// What was said so far is printed first. Answers appear as they are written. With --json every
/// message is one line of JSON, printed when it is complete. Ctrl-C ends it; the session goes on.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep tail first-steps\n  \
    threadkeep tail --no-follow --json first-steps | jq .message.parts\n\n\
    Environment:\n  \
    THREADKEEP_TOKEN  the server's token, if it asks for one")]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    /// The session's name.
    session: String,

    /// Print one line of JSON for each message and each approval that waits.
    #[arg(long)]
    json: bool,

    /// Print what there is, and end.
    #[arg(long)]
    no_follow: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let remote = Remote::new(args.server, &args.session)?;
    remote.check().await?;
    let until = if args.no_follow { Until::CaughtUp } else { Until::Closed };
    let transcript = if args.json { Transcript::json() } else { Transcript::text(&remote) };
    tokio::select! {
        result = transcript.follow(&remote, until) => result,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

/// The moment at which following stops.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Everything there is was printed.
    CaughtUp,
    /// The answer is complete or waits for an approval.
    Answered,
    /// Never, unless the stream is closed.
    Closed,
}

/// A session that is being printed.
pub(crate) struct Transcript {
    fold: SessionFold,
    json: bool,
    /// The message up to and with which nothing is printed.
    after: Option<String>,
    progress: HashMap<String, Progress>,
    announced: HashSet<String>,
    /// The cursor is not at the start of a line.
    open_line: bool,
    hint: String,
}

/// The part of a message that was printed.
#[derive(Default)]
struct Progress {
    begun: bool,
    part: usize,
    bytes: usize,
    done: bool,
}

impl Transcript {
    /// Prints plain text.
    pub(crate) fn text(remote: &Remote) -> Self {
        Self { hint: format!("threadkeep approve {}", remote.session()), ..Self::json() }.plain()
    }

    fn plain(self) -> Self {
        Self { json: false, ..self }
    }

    /// Prints lines of JSON.
    pub(crate) fn json() -> Self {
        Self {
            fold: SessionFold::new(""),
            json: true,
            after: None,
            progress: HashMap::new(),
            announced: HashSet::new(),
            open_line: false,
            hint: String::new(),
        }
    }

    /// Prints only what comes after a message.
    pub(crate) fn after(self, message_id: String) -> Self {
        Self { after: Some(message_id), ..self }
    }

    /// Follows the session and prints it.
    pub(crate) async fn follow(mut self, remote: &Remote, until: Until) -> anyhow::Result<()> {
        let live = if until == Until::CaughtUp { Live::No } else { Live::Auto };
        let base = remote.base().to_string();
        let options = FollowOptions::new(Offset::Beginning, live).on_state(move |state| {
            if let FollowState::Retrying { attempt: 1, .. } = state {
                eprintln!("threadkeep: {base} cannot be reached now; trying again by itself");
            }
        });
        let mut batches = remote.stream().follow_with(options);
        while let Some(batch) =
            batches.try_next().await.map_err(|error| remote.stream_error(&error))?
        {
            self.fold.apply(&batch.items, &mut ());
            // What is history already is printed in one go.
            if batch.up_to_date || batch.closed || self.open_line {
                let printed = self.print(&mut io::stdout().lock());
                if closed_pipe(printed)? {
                    return Ok(());
                }
                if until == Until::Answered && self.is_answered() {
                    break;
                }
            }
        }
        let mut out = io::stdout().lock();
        closed_pipe(self.end_line(&mut out).and_then(|()| out.flush()))?;
        if until == Until::Answered && self.failed() {
            bail!("the answer failed; `threadkeep tail` shows what there is of it");
        }
        Ok(())
    }

    /// Whether an answer after the message asked about ended in an error.
    fn failed(&self) -> bool {
        let mut messages = self.fold.messages();
        let asked = |message: &&Message| self.after.as_ref().is_none_or(|id| *id != message.id);
        messages.by_ref().skip_while(asked).any(|message| message.error.is_some())
    }

    /// Whether the answer is complete, or waits for a person.
    fn is_answered(&self) -> bool {
        if !self.fold.pending_approvals(jiff::Timestamp::now()).is_empty() {
            return true;
        }
        let mut answers = self.wanted().filter(|message| message.role == Role::Assistant);
        let mut last = None;
        let complete = answers.all(|message| {
            last = Some(message);
            message.is_complete
        });
        // An answer that ended with tool calls goes on by itself.
        complete && last.is_some_and(|last| last.finish_reason != Some(FinishReason::ToolCalls))
    }

    /// The messages to be printed, in order.
    fn wanted(&self) -> impl Iterator<Item = &Message> {
        let after = self.after.as_ref().map(|id| self.fold.message(id).map(|m| m.position));
        self.fold.messages().filter(move |message| {
            !message.hidden
                && match after {
                    None => true,
                    Some(position) => position.is_some_and(|position| message.position > position),
                }
        })
    }

    /// Prints what is new. Messages that are written at the same time come one after the other.
    fn print(&mut self, out: &mut impl Write) -> io::Result<()> {
        let ids: Vec<String> = self.wanted().map(|message| message.id.clone()).collect();
        let complete = |id: &String| self.fold.message(id).is_some_and(|m| m.is_complete);
        let last_complete = ids.iter().rposition(complete);
        for (n, id) in ids.iter().enumerate() {
            let mut progress = self.progress.remove(id).unwrap_or_default();
            if !progress.done {
                let Some(message) = self.fold.message(id).cloned() else { continue };
                if !self.json {
                    self.print_message(out, &message, &mut progress)?;
                } else if message.is_complete {
                    line(out, "message", &serde_json::to_value(&message)?)?;
                }
                progress.done = message.is_complete;
            }
            // One that was broken off and overtaken is not waited for.
            let wait = !progress.done && last_complete.is_none_or(|last| n > last);
            self.progress.insert(id.clone(), progress);
            if wait && !self.json {
                break;
            }
        }
        for approval in self.fold.pending_approvals(jiff::Timestamp::now()) {
            if self.announced.insert(approval.id.clone()) {
                if self.json {
                    line(out, "approval", &serde_json::to_value(&approval)?)?;
                } else {
                    self.end_line(out)?;
                    let input = approval.input.map(|input| input.to_string()).unwrap_or_default();
                    let (tool, id) = (clean(&approval.tool_name), clean(&approval.id));
                    writeln!(out, "  ! waits for approval: {tool} {}", clean(&input))?;
                    writeln!(out, "    {} {id}   (or with --deny)", self.hint)?;
                    for option in approval.options.iter().flatten() {
                        let (option_id, name) = (clean(&option.option_id), clean(&option.name));
                        writeln!(out, "      --option {option_id}   {name}")?;
                    }
                }
            }
        }
        out.flush()
    }

    fn print_message(
        &mut self,
        out: &mut impl Write,
        message: &Message,
        progress: &mut Progress,
    ) -> io::Result<()> {
        if !progress.begun {
            progress.begun = true;
            self.end_line(out)?;
            let who = message.actor_id.as_deref().unwrap_or(match message.role {
                Role::User => "user",
                Role::Assistant => "agent",
                Role::System => "system",
            });
            let (bold, plain) =
                if io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            writeln!(out, "{bold}{}{plain}", clean(who))?;
        }
        while let Some(part) = message.parts.get(progress.part) {
            let is_last = progress.part + 1 == message.parts.len();
            let finished = !is_last || message.is_complete;
            match part {
                Part::Text { text, subagent: None, .. } => self.grow(out, text, "", progress)?,
                Part::Text { text, .. } => self.grow(out, text, "  (subagent) ", progress)?,
                Part::Reasoning { text, .. } => self.grow(out, text, "  (thinks) ", progress)?,
                Part::ToolCall(call) if finished || is_settled(call) => {
                    self.end_line(out)?;
                    print_call(out, call)?;
                }
                Part::ToolCall(_) => {}
                Part::File(file) => writeln!(out, "  [file] {}", clean(&file.url))?,
                Part::Source(source) => {
                    let what = source.title.as_deref().or(source.url.as_deref());
                    writeln!(out, "  [source] {}", clean(what.unwrap_or(&source.id)))?;
                }
                Part::Data { name, .. } => writeln!(out, "  [data] {}", clean(name))?,
                Part::StructuredOutput { raw, .. } => self.grow(out, raw, "", progress)?,
                Part::SteeringMessage { text, .. } => writeln!(out, "  [told] {}", clean(text))?,
                Part::Subagent(subagent) => {
                    writeln!(out, "  [subagent] {}", clean(&subagent.name))?
                }
                Part::Activity(card) => writeln!(out, "  [card] {}", clean(&card.kind))?,
                Part::Question(question) => {
                    let asked = question.message.as_deref().unwrap_or(&question.reason);
                    writeln!(out, "  [question] {}", clean(asked))?;
                }
                Part::StepStart => {}
            }
            let settled = matches!(part, Part::ToolCall(call) if is_settled(call));
            if !finished && !settled {
                break;
            }
            self.end_line(out)?;
            progress.part += 1;
            progress.bytes = 0;
        }
        if message.is_complete {
            self.end_line(out)?;
            if message.refused > 0 {
                let times = message.refused;
                writeln!(
                    out,
                    "  ! this agent tried to speak or decide for people ({times} times); that was left out"
                )?;
            }
            if let Some(error) = &message.error {
                writeln!(out, "  ! failed: {}", clean(&error.message))?;
            } else if message.stopped.is_some() {
                writeln!(out, "  (stopped)")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// Prints what a text has more than was printed.
    fn grow(
        &mut self,
        out: &mut impl Write,
        text: &str,
        intro: &str,
        progress: &mut Progress,
    ) -> io::Result<()> {
        // A message that was folded anew may have become another text.
        let new = text.get(progress.bytes..).unwrap_or_default();
        if new.is_empty() {
            return Ok(());
        }
        if progress.bytes == 0 {
            self.end_line(out)?;
            write!(out, "{intro}")?;
        }
        let before = text.get(..progress.bytes).and_then(|printed| printed.chars().next_back());
        let shown = clean_words(before, new);
        write!(out, "{shown}")?;
        self.open_line = !shown.ends_with('\n');
        progress.bytes = text.len();
        Ok(())
    }

    fn end_line(&mut self, out: &mut impl Write) -> io::Result<()> {
        if std::mem::take(&mut self.open_line) { writeln!(out) } else { Ok(()) }
    }
}

/// Whether nothing more will happen to a call, as far as a reader cares.
fn is_settled(call: &ToolCallPart) -> bool {
    matches!(call.state, ToolState::Done | ToolState::Failed | ToolState::Denied)
}

fn print_call(out: &mut impl Write, call: &ToolCallPart) -> io::Result<()> {
    let name = clean(&call.name);
    writeln!(out, "  [tool] {name} {}", clean(&call.arguments))?;
    let result = match call.state {
        ToolState::Denied => "denied".to_owned(),
        _ => match (&call.error, &call.output) {
            (Some(error), _) => format!("failed: {error}"),
            (None, Some(output)) => output.to_string(),
            (None, None) => return Ok(()),
        },
    };
    writeln!(out, "    -> {}", clean(&result))
}

fn line(out: &mut impl Write, kind: &str, value: &serde_json::Value) -> io::Result<()> {
    let json = serde_json::json!({ "type": kind, kind: value }).to_string();
    writeln!(out, "{}", clean_json(&json))
}

/// A reader that has had enough (`| head`) is no error.
fn closed_pipe(result: io::Result<()>) -> anyhow::Result<bool> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(false),
    }
}
