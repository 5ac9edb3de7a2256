//! Who reacts to a message: agents that listen to everything or to people, and agents that it mentions.
//!
//! An agent is mentioned by `@` and its id or its name, in any case. Agents may react to agents; how often in a row is
//! limited, and an agent that waits for its turn anyway is not asked twice: it gets the newest message.

use serde_json::Value;

use super::Session;
use crate::run::{Cause, RunPlan};

/// Bytes of words of a run, and of words before it, that others hear: who is to react is mentioned before that.
pub(super) const MAX_HEARD: usize = 1 << 20;

/// Words of an agent in the message of a run before that run, where another agent may want to hear them. What it says
/// meanwhile is in the book.
#[derive(Default)]
pub(super) struct Hearing {
    before: String,
}

impl Hearing {
    pub(super) fn before(&mut self, mut text: String) {
        text.truncate(text.floor_char_boundary(MAX_HEARD));
        self.before = text;
    }

    /// Takes over what was said so far in a run that goes on, from a book that is given up.
    pub(super) fn keep(&mut self, said: &str) {
        self.before.push('\n');
        self.before.push_str(said);
        self.before.truncate(self.before.floor_char_boundary(2 * MAX_HEARD));
    }

    /// All that was heard, with what was said in the run.
    pub(super) fn take(&mut self, said: &str) -> String {
        self.keep(said);
        std::mem::take(&mut self.before)
    }
}

impl Session {
    /// Agents that a person's message wakes, in the order of their registration.
    pub(super) fn listeners(&self, text: &str) -> Vec<String> {
        let text = Mentions::of(text);
        let agents = self.book.agents().filter(|(id, fields)| {
            matches!(triggers(fields), "all" | "user-messages") || text.name(id, fields)
        });
        agents.map(|(id, _)| id.clone()).collect()
    }

    /// Whether another agent may react to what this run says.
    pub(super) fn may_be_heard(&self, plan: &RunPlan) -> bool {
        plan.depth < self.surroundings.agent_depth
            && self.book.agents().any(|(id, _)| *id != plan.agent_id)
    }

    /// Wakes the agents that react to what another agent said.
    pub(super) fn pass_on(&mut self, plan: &RunPlan, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let text = Mentions::of(text);
        let listeners = self.book.agents().filter(|(id, fields)| {
            **id != plan.agent_id && (triggers(fields) == "all" || text.name(id, fields))
        });
        let listeners: Vec<String> = listeners.map(|(id, _)| id.clone()).collect();
        for agent_id in listeners {
            let depth = plan.depth + 1;
            let cause = Cause::Reply { id: plan.message_id.clone() };
            let waiting = self.queued.iter_mut().find(|queued| {
                queued.agent_id == agent_id && matches!(queued.cause, Cause::Reply { .. })
            });
            if let Some(waiting) = waiting {
                (waiting.cause, waiting.depth) = (cause, depth);
                let plan = waiting.clone();
                self.store_plan(plan);
            } else {
                let new = self.new_run(&agent_id, cause, plan.asked_by.as_deref());
                self.plan(RunPlan { depth, ..new });
            }
        }
    }
}

fn triggers(fields: &Value) -> &str {
    fields.get("triggers").and_then(Value::as_str).unwrap_or("user-messages")
}

/// Places of a text that are looked at: nobody means more people than that.
const MAX_MENTIONS: usize = 1000;

/// A text and where it may mention somebody.
struct Mentions {
    text: String,
    at: Vec<usize>,
}

impl Mentions {
    fn of(text: &str) -> Self {
        let text = text.to_lowercase();
        let at = text.match_indices('@').map(|(at, _)| at).take(MAX_MENTIONS).collect();
        Self { text, at }
    }

    /// Whether it mentions this agent, by id or name.
    fn name(&self, id: &str, fields: &Value) -> bool {
        let name = fields.get("name").and_then(Value::as_str);
        [Some(id), name].into_iter().flatten().any(|name| self.mention(name))
    }

    /// Whether `@name` stands in the text as a word of its own: not in an e-mail address, not as part of a longer name.
    fn mention(&self, name: &str) -> bool {
        if name.trim().is_empty() {
            return false;
        }
        let name = name.to_lowercase();
        let word = |c: char| c.is_alphanumeric() || c == '_';
        self.at.iter().any(|&at| {
            let before = self.text[..at].chars().next_back();
            let Some(rest) = self.text[at + 1..].strip_prefix(&*name) else { return false };
            let mut after = rest.chars();
            let ended = match after.next() {
                None => true,
                // `@ann-marie` is not `@ann`; `@ann-` is.
                Some('-' | '.') => !after.next().is_some_and(word),
                Some(c) => !word(c),
            };
            ended && !before.is_some_and(|c| word(c) || c == '.' || c == '-')
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_a_word_of_its_own() {
        for (text, name) in [
            ("@kermit", "kermit"),
            ("hey @Kermit, look", "kermit"),
            ("(@kermit)", "kermit"),
            ("ask @Miss Piggy.", "miss piggy"),
            ("@ann-", "ann"),
            ("thanks @ann.", "ann"),
            ("@José?", "JOSÉ"),
        ] {
            assert!(Mentions::of(text).mention(name), "{text}");
        }
        for (text, name) in [
            ("kermit", "kermit"),
            ("me@kermit.example", "kermit"),
            ("@kermitage", "kermit"),
            ("@ann-marie", "ann"),
            ("@ann.example", "ann"),
            ("@", ""),
            ("@ ", " "),
        ] {
            assert!(!Mentions::of(text).mention(name), "{text}");
        }
    }
}
