//! Faces of agents: options and commands in their rows of the stream, and what people choose of them.
//!
//! The agent's word holds. What a person chose stands beside it (`wanted`) until the agent has heard of it; what is
//! really told to the agent is in the database, where nobody writes who may only write streams.

use serde_json::Value;
use session_protocol::AgentOption;

use super::Session;
use super::input::Choice;
use super::refusal::Refusal;
use crate::event;
use crate::run::Face;
use crate::store::Op;

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

/// Categories of options that change a model and no right (Agent Client Protocol, "Session Config Options").
const OF_MODELS: [&str; 3] = ["model", "model_config", "thought_level"];

impl Session {
    /// Writes what an agent shows of itself, when that is new. Agents that are not registered have no row.
    pub(super) fn face(&mut self, agent_id: &str, face: &Face) {
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

    /// Chooses something of an agent. Asking again changes nothing; with a `txid` the row is written again.
    ///
    /// # Errors
    ///
    /// There is no such agent, option or choice, or the caller may not choose it: what an agent asks about is for who
    /// decides, and that it asks nobody any more for the owner.
    pub(super) fn choose(&mut self, choice: &Choice) -> Result<(), Refusal> {
        let Choice { agent_id, option_id, value, txid, decides, owns } = choice;
        let old = self.book.agent(agent_id).ok_or(Refusal::OptionNotFound)?;
        let options = old.as_object().map(AgentOption::of_row).unwrap_or_default();
        let option = options.iter().find(|option| option.id == *option_id);
        let option = option.ok_or(Refusal::OptionNotFound)?;
        let chosen = option.choices.iter().find(|choice| choice.value == *value);
        let offers = match option.switch {
            true => ["true", "false"].contains(&value.as_str()),
            false => chosen.is_some(),
        };
        if !offers {
            return Err(Refusal::NoSuchChoice);
        }
        if option.category.as_deref() == Some("mode") && !decides {
            return Err(Refusal::ApproveNeeded);
        }
        // Nothing says what a switch does, and "ask first" may be one: only those of models are anybody's.
        let is_bold = option.switch
            && !option.category.as_deref().is_some_and(|kind| OF_MODELS.contains(&kind));
        if (is_bold || chosen.is_some_and(|choice| choice.never_asks)) && !owns {
            return Err(Refusal::OwnerNeeded);
        }
        let mut row = old.clone();
        for told in row.get_mut("options").and_then(Value::as_array_mut).into_iter().flatten() {
            if told.get("id").and_then(Value::as_str) == Some(option_id) {
                told["wanted"] = value.as_str().into();
            }
        }
        if row != *old || txid.is_some() {
            self.push(event::granted("agent", agent_id, &row, txid.as_deref()));
        }
        self.effects.before.push(Op::Choose {
            session_id: self.id.clone(),
            agent_id: agent_id.clone(),
            option_id: option_id.clone(),
            value: value.clone(),
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
