//! The activity of each registered agent, for everybody to see: `status` in its row of the stream.
//!
//! `thinking` from the start of a run, `streaming` from its first word, `blocked` while a message of the agent waits
//! for a person, else `idle`. A row without a status is idle: an agent that was never called is written as upstream
//! writes it.

use serde_json::Value;

use super::Session;
use super::face::without_face;
use crate::event;

/// The activity of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    Idle,
    Thinking,
    Streaming,
    Blocked,
}

impl Activity {
    fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Thinking => "thinking",
            Self::Streaming => "streaming",
            Self::Blocked => "blocked",
        }
    }
}

impl Session {
    /// Writes what an agent does, when that is new. Agents that are not registered have no row.
    pub(super) fn show(&mut self, agent_id: &str, activity: Activity) {
        let Some(row) = self.book.agent(agent_id) else { return };
        let said = row.get("status").and_then(Value::as_str);
        if said.unwrap_or(Activity::Idle.word()) == activity.word() {
            return;
        }
        // What can be chosen of it is long, and readers merge.
        let mut row = without_face(row);
        row["status"] = activity.word().into();
        self.push(event::upsert("agent", agent_id, &row));
    }

    /// Writes what an agent does, whatever its row says.
    pub(super) fn show_now(&mut self, agent_id: &str) {
        let live = self.runs.values().find(|live| live.plan.agent_id == agent_id);
        match live.map(|live| live.streaming) {
            Some(true) => self.show(agent_id, Activity::Streaming),
            Some(false) => self.show(agent_id, Activity::Thinking),
            None => self.rest(agent_id),
        }
    }

    /// Writes what an agent does when it may have nothing to do any more.
    pub(super) fn rest(&mut self, agent_id: &str) {
        if self.runs.values().any(|live| live.plan.agent_id == agent_id) {
            return;
        }
        let blocked = self
            .book
            .messages()
            .any(|run| run.actor_id() == agent_id && self.book.is_waiting(run.message_id()));
        self.show(agent_id, if blocked { Activity::Blocked } else { Activity::Idle });
    }

    /// Writes what all agents do, as [`Self::rest`] does for one.
    pub(super) fn rest_all(&mut self) {
        let agents: Vec<String> = self.book.agents().map(|(id, _)| id.clone()).collect();
        for agent_id in agents {
            self.rest(&agent_id);
        }
    }
}
