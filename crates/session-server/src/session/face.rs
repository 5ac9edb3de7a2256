//! What an agent shows of itself: options and commands in its row of the stream, and what people choose of them.
//!
//! The agent's word holds. What a person chose stands beside it (`wanted`) until the agent has heard of it; what is really
//! told to the agent is in the database, where nobody writes who may only write streams.

use serde_json::Value;
use session_protocol::AgentOption;

use super::Session;
use crate::{
    event,
    problem::{Problem, ProblemCode},
    run::Face,
    store::Op,
};

/// Fields of an agent's row that it fills itself.
const FACE: [&str; 2] = ["options", "commands"];
/// Bytes of a title.
const TITLE: usize = 512;
/// Whose word a title is that no person gave.
const SERVER: &str = "server";

/// A row of an agent without what it says of itself.
pub(super) fn without_face(row: &Value) -> Value {
    let mut row = row.clone();
    if let Some(fields) = row.as_object_mut() {
        FACE.iter().for_each(|name| drop(fields.shift_remove(*name)));
    }
    row
}

impl Session {
    /// Writes what an agent shows of itself, when that is new. Agents that are not registered have no row.
    pub(crate) fn face(&mut self, agent_id: &str, face: &Face) {
        let Some(old) = self.book.agent(agent_id) else { return };
        let known = old.as_object().map(AgentOption::of_row).unwrap_or_default();
        let mut row = old.clone();
        for name in FACE {
            // What is not said stays as it was.
            let Some(mut field) = face.fields.get(name).filter(|field| field.is_array()).cloned()
            else {
                continue;
            };
            for option in field.as_array_mut().into_iter().flatten().filter(|_| name == "options") {
                let text = |name: &str| option.get(name).and_then(Value::as_str);
                let wanted = known.iter().find(|old| Some(old.id.as_str()) == text("id"));
                let wanted = wanted.and_then(|old| Some((old.id.clone(), old.wanted.clone()?)));
                let Some(choice) = wanted else { continue };
                if text("value") != Some(&*choice.1) && !face.told.contains(&choice) {
                    option["wanted"] = choice.1.into();
                }
            }
            let is_empty = field.as_array().is_none_or(Vec::is_empty);
            if !is_empty || row.get(name).is_some() {
                row[name] = field;
            }
        }
        if row != *old {
            self.push(event::upsert("agent", agent_id, &row));
        }
    }

    /// Chooses something of an agent. Asking again changes nothing; with a `txid` the row that says so is written again.
    /// `may` says whether the caller may choose this.
    ///
    /// # Errors
    ///
    /// There is no such agent, option or choice, or the caller may not choose it.
    pub(crate) fn choose(
        &mut self,
        agent_id: &str,
        option_id: &str,
        value: &str,
        txid: Option<&str>,
        may: impl FnOnce(&AgentOption, &str) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let unknown = |what: &str| {
            Problem::not_found(ProblemCode::NotFound, "Not found").details(what.to_owned())
        };
        let Some(old) = self.book.agent(agent_id) else {
            return Err(unknown("the session has no such agent"));
        };
        let options = old.as_object().map(AgentOption::of_row).unwrap_or_default();
        let Some(option) = options.iter().find(|option| option.id == option_id) else {
            return Err(unknown("the agent offers no such option"));
        };
        let offers = match option.switch {
            true => ["true", "false"].contains(&value),
            false => option.choices.iter().any(|choice| choice.value == value),
        };
        if !offers {
            return Err(Problem::bad_request("value: the option has no such choice"));
        }
        may(option, value)?;
        let mut row = old.clone();
        for told in row.get_mut("options").and_then(Value::as_array_mut).into_iter().flatten() {
            if told.get("id").and_then(Value::as_str) == Some(option_id) {
                told["wanted"] = value.into();
            }
        }
        if row != *old || txid.is_some() {
            self.push(event::granted("agent", agent_id, &row, txid));
        }
        self.batch.before.push(Op::Choose {
            session_id: self.id.clone(),
            agent_id: agent_id.to_owned(),
            option_id: option_id.to_owned(),
            value: value.to_owned(),
        });
        Ok(())
    }

    /// Gives the session the title that its agent has for it, while nobody has named it.
    pub(super) fn suggest_title(&mut self, title: &str) {
        if self.book.title().is_none() {
            self.rename(&title[..title.floor_char_boundary(TITLE)], SERVER, None);
        }
    }
}
