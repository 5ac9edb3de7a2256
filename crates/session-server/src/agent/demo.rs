//! The demo agent: shows everything a session can do, without key or network.
//!
//! - A greeting gets a short answer.
//! - A message with the word "long" gets a long one; a number in it says how many chunks.
//! - Anything else gets reasoning, Markdown, a harmless tool, and a tool that asks for approval and waits; a message
//!   with the word "two" gets two of them, and waits for both answers.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use session_protocol::Part;

use super::{
    Agent, RunRequest,
    agui::{AskFor, Writer},
};
use crate::run::{Cause, RunEnd, RunSink, Stopped, ToldAnswer};

const LONG_DEFAULT: usize = 400;
const LONG_MAX: usize = 100_000;
/// Bytes of a message in which words are looked for.
const MAX_TEXT: usize = 64 << 10;

const REASONING: &str = "The person wants to see how a durable session works. I will explain it in a few lines, \
    look at the clock, and then try something that needs permission.";

const ANSWER: &str = "# A durable session\n\n\
    Everything you see is in **one stream**: this text, my reasoning, the tools I call and what you decide. \
    Close the window in the middle of a word, and the rest is here when you come back.\n\n\
    - Text arrives *in pieces* and is kept as pieces.\n\
    - Tools show what they were given and what they returned.\n\
    - Some tools wait for your approval.\n\n\
    ```rust\n\
    fn main() {\n    println!(\"still here\");\n}\n\
    ```\n\n\
    | What | Where it lives |\n\
    | --- | --- |\n\
    | Messages | in the stream |\n\
    | Approvals | in the stream |\n\
    | Your draft | on this machine |\n\n\
    First, the time:\n";

/// The agent at `builtin:demo`.
pub(crate) struct Demo {
    pace: Duration,
}

impl Demo {
    pub(crate) fn new(pace: Duration) -> Self {
        Self { pace }
    }

    async fn pause(&self) {
        if self.pace.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(self.pace).await;
        }
    }

    async fn say(&self, writer: &mut Writer, text: &str, said: &mut Said) -> Result<(), Stopped> {
        for piece in pieces(unsaid(text, &mut said.words)) {
            writer.text(piece).await?;
            self.pause().await;
        }
        Ok(())
    }

    async fn think(&self, writer: &mut Writer, text: &str, said: &mut Said) -> Result<(), Stopped> {
        for piece in pieces(unsaid(text, &mut said.thoughts)) {
            writer.reasoning(piece).await?;
            self.pause().await;
        }
        Ok(())
    }

    async fn call(
        &self,
        writer: &mut Writer,
        id: &str,
        name: &str,
        input: &Value,
    ) -> Result<(), Stopped> {
        writer.tool_start(id, name).await?;
        for piece in pieces(&input.to_string()) {
            writer.tool_args(id, piece).await?;
            self.pause().await;
        }
        writer.tool_end(id, None).await
    }

    async fn turn(
        &self,
        request: &RunRequest,
        text: &str,
        mut said: Said,
        writer: &mut Writer,
    ) -> Result<(), Stopped> {
        writer.start().await?;
        let text = text.to_lowercase();
        if let Some(chunks) = long(&text) {
            for n in said.counted() + 1..=chunks {
                let end = if n % 20 == 0 { "\n\n" } else { " " };
                writer.text(&format!("word {n}{end}")).await?;
                self.pause().await;
            }
            return writer.finish("stop", None).await;
        }
        if is_greeting(&text) {
            self.say(
                writer,
                "Hello! I am the demo agent. Ask me anything to see tools and an approval.",
                &mut said,
            )
            .await?;
            return writer.finish("stop", None).await;
        }
        self.think(writer, REASONING, &mut said).await?;
        self.say(writer, ANSWER, &mut said).await?;
        let run = &request.plan.run_id;
        if !said.called {
            let clock = format!("call_clock_{run}");
            self.call(writer, &clock, "clock", &json!({"zone": "UTC"})).await?;
            let now = json!({"time": jiff::Timestamp::now().to_string()}).to_string();
            writer.tool_result(&clock, &now, false).await?;
        }
        self.say(
            writer,
            "That worked without asking. The next tool would delete a file, so I need your approval.",
            &mut said,
        )
        .await?;
        let files = ["/tmp/threadkeep-demo.txt", "/tmp/threadkeep-demo-2.txt"];
        let count = if words(&text).any(|word| word == "two") { 2 } else { 1 };
        let mut asks = Vec::new();
        for (n, file) in files.iter().take(count).enumerate() {
            let ask = AskFor {
                tool_call_id: format!("call_delete_{run}{}", if n == 0 { "" } else { "_2" }),
                tool_name: "delete_file".to_owned(),
                input: json!({"path": file}),
            };
            self.call(writer, &ask.tool_call_id, &ask.tool_name, &ask.input).await?;
            asks.push(ask);
        }
        writer.ask_and_finish(&asks, &[], None).await
    }

    async fn go_on(
        &self,
        request: &RunRequest,
        mut said: Said,
        writer: &mut Writer,
    ) -> Result<(), Stopped> {
        writer.start().await?;
        for answer in &request.answers {
            let ToldAnswer::Approval { tool_call_id: Some(call), approved, .. } = answer else {
                self.say(writer, "Thank you, I have the result.", &mut said).await?;
                continue;
            };
            if *approved {
                let result = json!({"deleted": true, "note": "a demo: no file was touched"});
                // Where it goes on, it has said so.
                if !request.plan.continues {
                    writer.tool_result(call, &result.to_string(), false).await?;
                }
            }
            let text = if *approved {
                "Thank you. The file is **deleted** (not really: this is a demo, and nothing was touched)."
            } else {
                "All right, you said **no**, so the file stays where it is."
            };
            said.words = tail(&said.words, text);
            self.say(writer, text, &mut said).await?;
        }
        writer.finish("stop", None).await
    }
}

#[async_trait]
impl Agent for Demo {
    async fn run(&self, mut request: RunRequest, out: RunSink) -> RunEnd {
        let mut writer = Writer::new(&request, out);
        let said = Said::of(&request);
        // It answers for minutes, and nothing else of the conversation matters to it.
        let mut text = std::mem::take(&mut request.history).last_user_text();
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.shrink_to_fit();
        // Being stopped is no failure: the session has written so already.
        let _stopped = match request.plan.cause {
            Cause::Message { .. } | Cause::Again { .. } | Cause::Reply { .. } => {
                self.turn(&request, &text, said, &mut writer).await
            }
            Cause::Answers { .. } => self.go_on(&request, said, &mut writer).await,
        };
        RunEnd::Finished
    }
}

/// The part of its answer that the log has already, when it goes on with one.
#[derive(Default)]
struct Said {
    words: String,
    thoughts: String,
    /// Whether it looked at the clock.
    called: bool,
}

impl Said {
    fn of(request: &RunRequest) -> Self {
        let mut said = Self::default();
        let own = request.history.message(&request.plan.message_id);
        for part in own.filter(|_| request.plan.continues).into_iter().flat_map(|own| &own.parts) {
            match part {
                Part::Text { text, .. } => said.words.push_str(text),
                Part::Reasoning { text, .. } => said.thoughts.push_str(text),
                Part::ToolCall(_) => said.called = true,
                _ => {}
            }
        }
        said
    }

    /// The number that a long answer had counted to.
    fn counted(&self) -> usize {
        words(&self.words).filter_map(|word| word.parse().ok()).last().unwrap_or(0)
    }
}

/// The longest end of `words` that `text` begins with.
fn tail(words: &str, text: &str) -> String {
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]).rev();
    let same = ends.into_iter().find(|at| words.ends_with(&text[..*at])).unwrap_or(0);
    text[..same].to_owned()
}

/// The part of `text` that is not in `said`, of which it takes what it finds.
fn unsaid<'a>(text: &'a str, said: &mut String) -> &'a str {
    let same = text.bytes().zip(said.bytes()).take_while(|(a, b)| a == b).count();
    let same = text.floor_char_boundary(same);
    said.drain(..said.floor_char_boundary(same));
    &text[same..]
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Number of chunks that a message asks for with the word "long".
fn long(text: &str) -> Option<usize> {
    words(text).any(|word| word == "long").then_some(())?;
    let number = text.split(|c: char| !c.is_ascii_digit()).find_map(|n| n.parse::<usize>().ok());
    Some(number.unwrap_or(LONG_DEFAULT).clamp(1, LONG_MAX))
}

fn is_greeting(text: &str) -> bool {
    let words: Vec<&str> = words(text).collect();
    words.len() <= 3
        && matches!(
            words.first(),
            Some(&("hello" | "hi" | "hey" | "hallo" | "thanks" | "thank" | "bye" | "ping"))
        )
}

/// Cuts text after spaces and line ends, about two words to a piece.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = rest
            .char_indices()
            .find(|(at, c)| *at >= 6 && c.is_whitespace())
            .map_or(rest.len(), |(at, c)| at + c.len_utf8());
        let (piece, left) = rest.split_at(at);
        rest = left;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_says_how_many_chunks() {
        assert_eq!(long("a long 40 please"), Some(40));
        assert_eq!(long("long"), Some(LONG_DEFAULT));
        assert_eq!(long("along the way"), None);
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let mut said = "# A durable".to_owned();
        assert_eq!(unsaid("# A durable session", &mut said), " session");
        assert_eq!(said, "");
        let mut said = "onetw".to_owned();
        assert_eq!((unsaid("one", &mut said), unsaid("two", &mut said)), ("", "o"));
        assert_eq!(tail("before. Thank y", "Thank you"), "Thank y");
        assert_eq!(tail("before.", "Thank you"), "");
    }

    #[test]
    fn only_short_greetings_are_greetings() {
        assert!(is_greeting("hello!"));
        assert!(is_greeting("hi there"));
        assert!(!is_greeting("hello, please delete all of my files"));
        assert!(!is_greeting("what is this"));
    }

    #[test]
    fn pieces_are_the_whole_text() {
        assert_eq!(pieces(ANSWER).collect::<String>(), ANSWER);
        assert!(pieces(ANSWER).count() > 50);
    }
}
