//! Aider: one Markdown file for a repository, with runs that begin with a header.

use std::collections::HashMap;

use crate::Format;
use crate::json::Lines;
use crate::sink::Stop;
use crate::source::{self, Input};
use crate::time;
use crate::turns::{Head, Turns};

/// What begins a run.
pub(crate) const HEADER: &str = "# aider chat started at ";

/// Reads the runs.
pub(crate) fn read(input: &mut Input<'_>) -> Result<(), Stop> {
    let mut seen: HashMap<(String, String), usize> = HashMap::new();
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let Ok(from) = input.tree.read(&entry) else {
            input.problem(&*entry.path, "it cannot be unpacked");
            continue;
        };
        let mut run: Option<Run> = None;
        let mut next_number = 1;
        for line in Lines::new(from) {
            let Some(bytes) = line.bytes else {
                input.problem(
                    format!("{} line {}", entry.path, line.number),
                    "a line that is too long",
                );
                continue;
            };
            let text = String::from_utf8_lossy(&bytes);
            let blank = line.number - next_number;
            next_number = line.number + 1;
            if let Some(date) = text.strip_prefix(HEADER)
                && run.as_ref().is_none_or(|run| run.fence.is_none() || time::local(date).is_some())
            {
                if let Some(run) = run.take() {
                    input.session(run.session(&mut seen))?;
                }
                run = Some(Run::new(date.trim()));
            } else if let Some(run) = &mut run {
                run.line(&text, blank);
            }
        }
        if let Some(run) = run {
            input.session(run.session(&mut seen))?;
        }
    }
    Ok(())
}

/// A run, line by line.
struct Run {
    date: String,
    turns: Turns,
    /// The lines of the prompt or answer so far.
    lines: String,
    in_prompt: bool,
    first_prompt: Option<String>,
    fence: Option<String>,
    touched: Vec<String>,
}

impl Run {
    fn new(date: &str) -> Self {
        Self {
            date: date.to_owned(),
            turns: Turns::default(),
            lines: String::new(),
            in_prompt: false,
            first_prompt: None,
            fence: None,
            touched: Vec::new(),
        }
    }

    /// Takes a line, with the number of empty ones before it.
    fn line(&mut self, line: &str, blank: usize) {
        let marker = line.trim_start();
        if let Some(fence) = &self.fence {
            let ends = marker.starts_with(fence.as_str())
                && marker.trim_start_matches(&fence[..1]).trim().is_empty();
            self.answer(line, blank);
            if ends {
                self.fence = None;
            }
            return;
        }
        let ticks = marker.chars().take_while(|c| *c == '`').count();
        let waves = marker.chars().take_while(|c| *c == '~').count();
        if let Some(prompt) =
            line.strip_prefix("####").filter(|rest| rest.is_empty() || rest.starts_with(' '))
        {
            if !self.in_prompt || blank > 0 {
                self.flush();
                self.in_prompt = true;
            } else {
                self.lines.push('\n');
            }
            self.lines.push_str(prompt.trim());
        } else if line == ">" || line.starts_with("> ") {
            self.note(line.trim_start_matches('>').trim());
        } else {
            if ticks >= 3 {
                self.fence = Some("`".repeat(ticks));
            } else if waves >= 3 {
                self.fence = Some("~".repeat(waves));
            }
            self.answer(line, blank);
        }
    }

    fn answer(&mut self, line: &str, blank: usize) {
        if self.in_prompt {
            self.flush();
        }
        if !self.lines.is_empty() {
            self.lines.push_str(&"\n".repeat(blank + 1));
        }
        self.lines.push_str(line);
    }

    /// A note of the program: what it did to files. It is no speech.
    fn note(&mut self, note: &str) {
        self.flush();
        if let Some(file) = note.strip_prefix("Applied edit to ")
            && !self.touched.iter().any(|known| known == file)
        {
            self.touched.push(file.to_owned());
        }
    }

    fn flush(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if std::mem::take(&mut self.in_prompt) {
            self.turns.user(Head::new(None, None));
            self.turns.text(&lines);
            self.first_prompt.get_or_insert(lines);
        } else if self.first_prompt.is_some() {
            self.turns.assistant(Head::default());
            self.turns.text(&lines);
        }
    }

    fn session(mut self, seen: &mut HashMap<(String, String), usize>) -> Option<crate::Session> {
        self.flush();
        let first = self.first_prompt?;
        let occurrence = seen.entry((self.date.clone(), first.clone())).or_insert(0);
        let seed = [self.date.as_str(), &first, &occurrence.to_string()];
        *occurrence += 1;
        let mut session = source::session(Format::Aider, None, &seed, self.turns.finish());
        session = session.dated(time::local(&self.date), None);
        session.touched_files = self.touched;
        Some(session)
    }
}
