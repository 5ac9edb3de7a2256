//! What an agent shows of itself: what can be chosen of it, its commands, and its word for the session.
//!
//! Agents have three ways for one thing: config options, and before them modes and models. A reader is told options only,
//! and [`Face::request`] knows the way by which each is set. Where there are config options, the others are not looked at.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::{
    caps::{cost, short},
    turn::Local,
};

/// Options, choices of one of them, and commands that are kept.
const MOST: (usize, usize, usize) = (24, 200, 200);
/// Bytes of an id or a value: one that is longer is left out.
const ID: usize = 300;
/// What a name, a description of an option and one of a command may cost.
const WORDS: (usize, usize, usize) = (120, 240, 120);
/// What all options may cost, and all commands. Over that, descriptions are left out, and then choices.
const TOTAL: usize = 24 << 10;
/// What a title may cost.
const TITLE: usize = 120;

/// How an option is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Config,
    Mode,
    Model,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice {
    value: String,
    name: String,
    description: Option<String>,
    group: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Choosable {
    id: String,
    name: String,
    description: Option<String>,
    category: Option<String>,
    value: String,
    switch: bool,
    choices: Vec<Choice>,
    way: Way,
}

/// What an agent shows of itself in its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Face {
    options: Vec<Choosable>,
    commands: Vec<Value>,
    /// It has told commands, if only that there are none any more.
    has_commands: bool,
    title: Option<String>,
}

impl Face {
    /// Takes what stands in the answer to opening a session.
    pub fn opened(&mut self, answer: &Value) {
        if let Some(options) = answer.get("configOptions").and_then(Value::as_array) {
            self.options = options.iter().filter_map(config).take(MOST.0).collect();
            return;
        }
        let list = |of: &str, all: &str| answer.get(of)?.get(all)?.as_array();
        let current = |of: &str, id: &str| {
            let current = answer.get(of)?.get(id)?.as_str()?;
            Some(current.to_owned())
        };
        let choices = |all: &[Value], id: &str| -> Vec<Choice> {
            all.iter().filter_map(|one| choice(one, id, None)).take(MOST.1).collect()
        };
        let of = |id: &str, name: &str, value, choices, way| Choosable {
            id: id.to_owned(),
            name: name.to_owned(),
            description: None,
            category: Some(id.to_owned()),
            value,
            switch: false,
            choices,
            way,
        };
        if let (Some(all), Some(value)) =
            (list("modes", "availableModes"), current("modes", "currentModeId"))
        {
            self.put(of("mode", "Mode", value, choices(all, "id"), Way::Mode));
        }
        if let (Some(all), Some(value)) =
            (list("models", "availableModels"), current("models", "currentModelId"))
        {
            self.put(of("model", "Model", value, choices(all, "modelId"), Way::Model));
        }
    }

    fn put(&mut self, new: Choosable) {
        match self.options.iter_mut().find(|old| old.id == new.id) {
            Some(old) => *old = new,
            None => self.options.push(new),
        }
    }

    /// Takes the `update` of a `session/update`. Those that are about something else change nothing.
    pub fn update(&mut self, update: &Value) {
        match update.get("sessionUpdate").and_then(Value::as_str).unwrap_or_default() {
            "config_option_update" => self.opened(update),
            "current_mode_update" => {
                let Some(mode) = update.get("currentModeId").and_then(Value::as_str) else {
                    return;
                };
                let is_mode = |option: &&mut Choosable| option.category.as_deref() == Some("mode");
                let has = |option: &Choosable| option.choices.iter().any(|one| one.value == mode);
                if let Some(option) = self.options.iter_mut().filter(is_mode).find(|one| has(one)) {
                    mode.clone_into(&mut option.value);
                }
            }
            "available_commands_update" => {
                let all = update.get("availableCommands").and_then(Value::as_array);
                let all = all.into_iter().flatten().filter_map(command);
                self.commands = all.take(MOST.2).collect();
                self.has_commands = true;
            }
            "session_info_update" => match update.get("title") {
                Some(Value::String(title)) if !title.trim().is_empty() => {
                    self.title = Some(title.trim().to_owned());
                }
                Some(Value::Null) => self.title = None,
                _ => {}
            },
            _ => {}
        }
    }

    /// The agent's word for the session, on one line; `None` for a word that says nothing, such as *New session*.
    pub fn title(&self, local: &Local) -> Option<String> {
        let title = self.title.as_deref()?;
        let line: Vec<&str> = title.split_whitespace().collect();
        let title = short(&local.text(&line.join(" ")), TITLE);
        let plain = title.to_lowercase();
        let says_nothing = ["new session", "new chat", "untitled", "new conversation"]
            .iter()
            .any(|nothing| plain.starts_with(nothing));
        (!says_nothing).then_some(title)
    }

    /// Ids of the options with their values.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|option| (option.id.as_str(), option.value.as_str()))
    }

    /// The request that sets an option: method and parameters. `None` where there is no such option or choice.
    pub fn request(&self, session: &str, id: &str, value: &str) -> Option<(&'static str, Value)> {
        let option = self.options.iter().find(|option| option.id == id)?;
        let known = match option.switch {
            true => ["true", "false"].contains(&value),
            false => option.choices.iter().any(|choice| choice.value == value),
        };
        if !known {
            return None;
        }
        Some(match option.way {
            Way::Config if option.switch => (
                "session/set_config_option",
                json!({"sessionId": session, "configId": id, "type": "boolean", "value": value == "true"}),
            ),
            Way::Config => (
                "session/set_config_option",
                json!({"sessionId": session, "configId": id, "value": value}),
            ),
            Way::Mode => ("session/set_mode", json!({"sessionId": session, "modeId": value})),
            Way::Model => ("session/set_model", json!({"sessionId": session, "modelId": value})),
        })
    }

    /// The agent has set an option; its answer says what holds now.
    pub fn set(&mut self, id: &str, value: &str, answer: &Value) {
        if answer.get("configOptions").is_some_and(Value::is_array) {
            return self.opened(answer);
        }
        if let Some(option) = self.options.iter_mut().find(|option| option.id == id) {
            value.clone_into(&mut option.value);
        }
    }

    /// What readers are told: `options` and `commands`, as far as the agent has said them, with their sizes, and paths of this host as from the folder.
    pub fn fields(&self, local: &Local) -> Value {
        let mut left = TOTAL;
        let options: Vec<Value> =
            self.options.iter().map(|one| row(one, local, &mut left)).collect();
        let mut left = TOTAL;
        let mut commands = Vec::new();
        for one in &self.commands {
            let mut command = one.clone();
            if let Some(text) = one.get("description").and_then(Value::as_str) {
                command["description"] = short(&local.text(text), WORDS.2).into();
            }
            let size = cost(&command.to_string());
            if size > left {
                break;
            }
            left -= size;
            commands.push(command);
        }
        let mut fields = json!({});
        if !options.is_empty() {
            fields["options"] = options.into();
        }
        if self.has_commands {
            fields["commands"] = commands.into();
        }
        fields
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// An id or a value, as it came: another one would mean something else.
fn id(value: &Value, name: &str) -> Option<String> {
    let id = value.get(name).and_then(Value::as_str)?;
    (!id.is_empty() && id.len() <= ID).then(|| id.to_owned())
}

fn choice(one: &Value, name: &str, group: Option<&str>) -> Option<Choice> {
    let value = id(one, name)?;
    Some(Choice {
        name: short(text(one, "name").unwrap_or(&value), WORDS.0),
        description: text(one, "description").map(str::to_owned),
        group: group.map(|group| short(group, WORDS.0)),
        value,
    })
}

/// A config option. Types that nobody knows are left out.
fn config(one: &Value) -> Option<Choosable> {
    let option = |value, switch, choices| {
        let id = id(one, "id")?;
        Some(Choosable {
            name: short(text(one, "name").unwrap_or(&id), WORDS.0),
            description: text(one, "description").map(str::to_owned),
            category: text(one, "category").map(|category| short(category, WORDS.0)),
            way: Way::Config,
            id,
            value,
            switch,
            choices,
        })
    };
    match one.get("type").and_then(Value::as_str).unwrap_or("select") {
        "boolean" => option(one.get("currentValue")?.as_bool()?.to_string(), true, Vec::new()),
        "select" => {
            let mut choices = Vec::new();
            for entry in one.get("options")?.as_array()? {
                match entry.get("options").and_then(Value::as_array) {
                    Some(group) => {
                        let heading = text(entry, "name").or(text(entry, "group"));
                        choices
                            .extend(group.iter().filter_map(|one| choice(one, "value", heading)));
                    }
                    None => choices.extend(choice(entry, "value", None)),
                }
            }
            let mut seen = HashSet::new();
            choices.retain(|choice: &Choice| seen.insert(choice.value.clone()));
            choices.truncate(MOST.1);
            option(id(one, "currentValue").unwrap_or_default(), false, choices)
        }
        _ => None,
    }
}

fn command(one: &Value) -> Option<Value> {
    let name = text(one, "name")?.trim_start_matches('/');
    if name.is_empty() || name.len() > 100 || name.chars().any(char::is_whitespace) {
        return None;
    }
    let mut command = json!({ "name": name });
    if let Some(description) = text(one, "description") {
        command["description"] = short(description, 4 * WORDS.2).into();
    }
    if let Some(hint) = one.get("input").and_then(|input| text(input, "hint")) {
        command["hint"] = short(hint, WORDS.0).into();
    }
    Some(command)
}

fn row(option: &Choosable, local: &Local, left: &mut usize) -> Value {
    let mut row = json!({"id": option.id, "name": option.name, "value": option.value});
    let words =
        |text: &Option<String>| text.as_deref().map(|text| short(&local.text(text), WORDS.1));
    if let Some(description) = words(&option.description) {
        row["description"] = description.into();
    }
    if let Some(category) = &option.category {
        row["category"] = category.clone().into();
    }
    if option.switch {
        row["switch"] = true.into();
        return row;
    }
    let mut choices = Vec::new();
    for choice in &option.choices {
        let mut told = json!({"value": choice.value, "name": choice.name});
        if let Some(group) = &choice.group {
            told["group"] = group.clone().into();
        }
        if never_asks(option, choice) {
            told["neverAsks"] = true.into();
        }
        let size = cost(&told.to_string());
        // What holds is always told.
        if size > *left && choice.value != option.value {
            continue;
        }
        *left = left.saturating_sub(size);
        // The first half of the room has words for everybody.
        if let Some(description) = words(&choice.description).filter(|_| *left > TOTAL / 2) {
            *left = left.saturating_sub(cost(&description));
            told["description"] = description.into();
        }
        choices.push(told);
    }
    row["choices"] = choices.into();
    row
}

/// Whether the agent asks nobody any more with this choice, by what it calls it: agents have no word of the protocol for
/// that. Where words leave a doubt, it does.
fn never_asks(option: &Choosable, choice: &Choice) -> bool {
    const WORDS: [&str; 16] = [
        "bypass",
        "yolo",
        "fullaccess",
        "dangerous",
        "neverask",
        "dontask",
        "donotask",
        "noapproval",
        "unrestricted",
        "fullauto",
        "autopilot",
        "allowall",
        "approveall",
        "skippermission",
        "alwaysapprove",
        "autoapprovesall",
    ];
    const KINDS: [&str; 3] = ["model", "model_config", "thought_level"];
    if option.category.as_deref().is_some_and(|category| KINDS.contains(&category)) {
        return false;
    }
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let said = [Some(&choice.value), Some(&choice.name), choice.description.as_ref()];
    said.into_iter().flatten().any(|said| {
        let said = plain(said);
        WORDS.iter().any(|word| said.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(face: &Face) -> Value {
        face.fields(&Local::new("/srv/it", Some("/home/ann")))
    }

    #[test]
    fn modes_and_models_are_options_where_there_are_no_others() {
        let mut face = Face::default();
        let opened = json!({
            "modes": {"currentModeId": "default", "availableModes": [{"id": "default", "name": "Default"}, {"id": "yolo", "name": "YOLO"}]},
            "models": {"currentModelId": "m1", "availableModels": [{"modelId": "m1", "name": "One"}]},
        });
        face.opened(&opened);
        let fields = told(&face);
        assert_eq!(fields["options"][0]["id"], "mode");
        assert_eq!(fields["options"][0]["choices"][1]["neverAsks"], true);
        assert_eq!(fields["options"][1]["category"], "model");
        assert_eq!(
            face.request("s", "mode", "yolo"),
            Some(("session/set_mode", json!({"sessionId": "s", "modeId": "yolo"})))
        );
        assert_eq!(face.request("s", "mode", "nosuch"), None);
        face.set("mode", "yolo", &json!({}));
        face.update(&json!({"sessionUpdate": "current_mode_update", "currentModeId": "default"}));
        assert_eq!(face.values().next(), Some(("mode", "default")));
        let mut both = opened;
        both["configOptions"] = json!([{"id": "mode", "name": "Mode", "category": "mode", "type": "select",
            "currentValue": "a", "options": [{"group": "g", "name": "Group", "options": [{"value": "a", "name": "A"}]}]},
            {"id": "fast", "name": "Fast", "type": "boolean", "currentValue": true},
            {"id": "new", "type": "slider", "currentValue": 3}]);
        face.opened(&both);
        let fields = told(&face);
        assert_eq!(fields["options"].as_array().map(Vec::len), Some(2));
        assert_eq!(fields["options"][0]["choices"][0]["group"], "Group");
        assert_eq!(
            face.request("s", "fast", "false"),
            Some((
                "session/set_config_option",
                json!({"sessionId": "s", "configId": "fast", "type": "boolean", "value": false})
            ))
        );
    }

    #[test]
    fn what_asks_nobody_is_known_by_its_words() {
        let option = Choosable {
            id: "mode".into(),
            name: "Mode".into(),
            description: None,
            category: Some("mode".into()),
            value: String::new(),
            switch: false,
            choices: Vec::new(),
            way: Way::Config,
        };
        let asks = |value: &str, name: &str, description: &str| {
            let choice = Choice {
                value: value.into(),
                name: name.into(),
                description: Some(description.into()),
                group: None,
            };
            !never_asks(&option, &choice)
        };
        for (value, name, description) in [
            ("bypassPermissions", "Bypass", ""),
            ("yolo", "YOLO", "Auto-approves all tools"),
            ("agent-full-access", "Full access", "Unrestricted access to the internet"),
            ("dontAsk", "Don't Ask", ""),
            ("full-auto", "Auto", ""),
        ] {
            assert!(!asks(value, name, description), "{value}");
        }
        for (value, name, description) in [
            ("default", "Default", "Prompts for approval"),
            ("plan", "Plan", "Read-only mode"),
            ("acceptEdits", "Accept Edits", "Auto-accept file edit operations"),
            ("auto-edit", "Auto Edit", "Auto-approves edit tools"),
            ("read-only", "Read-only", "Requires approval to edit files and access the internet."),
        ] {
            assert!(asks(value, name, description), "{value}");
        }
    }

    #[test]
    fn what_is_shown_has_a_size_and_no_path_of_this_host() {
        let words = "\"".repeat(2_000);
        let choices: Vec<Value> = (0..5_000)
            .map(|n| json!({"value": n.to_string(), "name": words, "description": words}))
            .collect();
        let mut face = Face::default();
        face.opened(&json!({"configOptions": (0..100).map(|n| json!({"id": n.to_string(), "type": "select",
            "currentValue": "199", "description": "in /home/ann/x", "options": choices})).collect::<Vec<_>>()}));
        let commands: Vec<Value> = (0..5_000)
            .map(|n| json!({"name": format!("c{n}"), "description": format!("/srv/it/{words}")}))
            .collect();
        face.update(
            &json!({"sessionUpdate": "available_commands_update", "availableCommands": commands}),
        );
        let fields = told(&face);
        assert!(cost(&fields.to_string()) < 3 * TOTAL, "{}", cost(&fields.to_string()));
        assert_eq!(fields["options"][0]["description"], "in ~/x");
        assert!(!fields.to_string().contains("/srv/it"));
        let last = fields["options"][23]["choices"].as_array().expect("it has some");
        assert!(last.iter().any(|choice| choice["value"] == "199"), "what holds is told");
    }

    #[test]
    fn a_title_is_one_line_that_says_something() {
        let mut face = Face::default();
        for (title, wanted) in [
            ("Fix\n the  bug", Some("Fix the bug")),
            ("New session - 2026-11-27T10:00:00Z", None),
            ("  ", None),
        ] {
            face.title = None;
            face.update(&json!({"sessionUpdate": "session_info_update", "title": title}));
            assert_eq!(face.title(&Local::default()).as_deref(), wanted);
        }
    }
}
