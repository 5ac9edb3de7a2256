//! Why an agent of this computer could not answer, in one sentence that says what to do.

use acp::{Ended, RpcError, StartError};
use serde_json::{Value, json};

use crate::run::RunEnd;

/// Characters of an agent's own words that are shown.
const WORDS: usize = 300;

/// Why.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    /// The agent ended before it spoke.
    #[error(
        "{name} ended at once{code}. Run its command by hand on the server's computer to see why."
    )]
    AtOnce { name: String, code: String },
    /// The program speaks something else.
    #[error(
        "{name} does not speak the Agent Client Protocol. Check its command: most agents need a word such as acp or --acp."
    )]
    Foreign { name: String },
    #[error(
        "{name} speaks another version of the Agent Client Protocol. Update it, or this server."
    )]
    Version { name: String },
    #[error("{name} did not answer for {seconds} s and was ended. Send the message again.")]
    Silent { name: String, seconds: u64 },
    /// The agent wants a key or an account.
    #[error(
        "{name} wants you to sign in. Sign in with its own command in a terminal of the server's computer, or give its key, then send the message again."
    )]
    Login { name: String, methods: Vec<Value> },
    /// A choice that it does not have any more.
    #[error("{name} does not offer {value} any more. Choose something else.")]
    NotOffered { name: String, value: String },
    #[error("{name} refused: {said}")]
    Refused { name: String, said: String },
    /// The agent ended in the middle of an answer.
    #[error(
        "{name} ended in the middle of its answer{code}. What it was doing may have happened. Send a message to go on."
    )]
    Exited { name: String, code: String },
}

impl Failure {
    /// The end of a program before its first word.
    pub(super) fn at_once(name: &str, ended: &Ended) -> Self {
        Self::AtOnce { name: name.to_owned(), code: code(ended) }
    }

    pub(super) fn exited(name: &str, ended: &Ended) -> Self {
        Self::Exited { name: name.to_owned(), code: code(ended) }
    }

    /// The error that an agent answered instead of a result. Its words are shown, without the home of this computer's
    /// user.
    /// `methods` are its ways to sign in.
    pub(super) fn refused(name: &str, program: &str, error: &RpcError, methods: &[Value]) -> Self {
        if error.wants_login() {
            let methods = methods.iter().filter_map(|method| way(program, method)).collect();
            return Self::Login { name: name.to_owned(), methods };
        }
        let home = std::env::var("HOME").ok().filter(|home| home.len() > 3);
        let said = match home {
            Some(home) => error.said.replace(&home, "~"),
            None => error.said.clone(),
        };
        let said: String = said.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        let said = said.trim_end_matches('.');
        Self::Refused {
            name: name.to_owned(),
            said: format!("{said}. Check its settings and try again."),
        }
    }

    /// Whether the agent refused the prompt: what it was told with it, it does not know.
    pub(super) fn was_not_heard(&self) -> bool {
        matches!(self, Self::Login { .. } | Self::Refused { .. })
    }

    /// The end of the run. Codes are stable: pages and programs switch on them.
    pub(super) fn end(&self) -> RunEnd {
        let code = match self {
            Self::Start(StartError::NotFound(_)) => "acp_not_found",
            Self::Start(StartError::NotExecutable(_)) => "acp_not_executable",
            Self::Start(StartError::NoFolder(_)) => "acp_no_folder",
            Self::Start(StartError::Failed { .. }) => "acp_not_started",
            Self::AtOnce { .. } | Self::Exited { .. } => "acp_exited",
            Self::Foreign { .. } | Self::Version { .. } => "acp_protocol",
            Self::Silent { .. } => "acp_silent",
            Self::Login { .. } => "acp_auth_required",
            Self::Refused { .. } | Self::NotOffered { .. } => "acp_refused",
        };
        RunEnd::failed(code, self.to_string())
    }
}

/// A way to sign in, as people are told it: a login in a terminal has a command, with the agent's program by its name.
fn way(own: &str, method: &Value) -> Option<Value> {
    let text = |value: &Value, name: &str| {
        let text = value.get(name).and_then(Value::as_str).map(str::trim);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let id = text(method, "id")?;
    let mut way = json!({"name": text(method, "name").unwrap_or_else(|| id.clone()), "id": id});
    if let Some(description) = text(method, "description") {
        way["description"] = description.into();
    }
    // Older agents say it beside the protocol, under a name of their own.
    let beside = method.get("_meta").and_then(Value::as_object).into_iter().flatten();
    let mut beside = beside.map(|(_, value)| value).filter(|value| value.get("args").is_some());
    let terminal = match text(method, "type").as_deref() {
        Some("terminal") => Some(method),
        _ => beside.next(),
    };
    if let Some(terminal) = terminal {
        let program = text(terminal, "command").unwrap_or_else(|| own.to_owned());
        let program = program.rsplit(['/', '\\']).next().unwrap_or(own).to_owned();
        let args = terminal.get("args").and_then(Value::as_array).into_iter().flatten();
        let words =
            std::iter::once(program).chain(args.filter_map(Value::as_str).map(str::to_owned));
        way["command"] = words.collect::<Vec<_>>().join(" ").into();
    }
    Some(way)
}

fn code(ended: &Ended) -> String {
    match ended {
        Ended::Exited(Some(code)) => format!(" with code {code}"),
        Ended::Exited(None) | Ended::Silent => String::new(),
    }
}
