//! Writes a session as Markdown, HTML or JSON, and finds the secrets in it.
//!
//! All forms are made of the folded messages, so that they say what a window shows. Secrets are hidden in the messages
//! before any form is made of them ([`without_secrets`]): nothing that comes later can forget one. Nothing that is written
//! runs or is fetched when it is opened.

mod choice;
mod html;
mod markdown;
mod name;
mod secrets;

use serde_json::{Value, json};
use session_protocol::Message;

pub use choice::{Choice, Found, Hit};
pub use html::html;
pub use markdown::markdown;
pub use name::file_name;
pub use secrets::{Secret, find, hidden, hide, shown};

/// The name of the JSON form.
pub const FORMAT: &str = "threadkeep.session/1";

/// What is known of a session beside its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its id.
    pub id: String,
    /// Its title, or its first words.
    pub title: String,
}

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Thoughts and calls of tools are there, folded.
    pub details: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { details: true }
    }
}

/// The messages with their secrets hidden as `choice` says, and what was found.
pub fn without_secrets(messages: &[Message], choice: &Choice) -> (Vec<Message>, Found) {
    let mut found = Found::default();
    let hidden = messages.iter().map(|message| {
        let mut value = serde_json::to_value(message).expect("a message is JSON");
        hide(&mut value, &mut |secret, text| found.take(secret, text, choice));
        // A hidden secret leaves a string a string, so this is the same kind of message.
        serde_json::from_value(value).expect("it was a message")
    });
    let hidden = hidden.collect();
    (hidden, found)
}

/// The session as JSON: the messages as the fold gives them, under [`FORMAT`].
pub fn json(about: &About, messages: &[Message]) -> Value {
    json!({
        "format": FORMAT,
        "id": about.id,
        "title": about.title,
        "createdAt": messages.iter().find_map(|message| message.created_at.as_deref()),
        "updatedAt": messages.iter().rev().find_map(|message| message.created_at.as_deref()),
        "exportedBy": concat!("Threadkeep ", env!("CARGO_PKG_VERSION")),
        "messages": messages,
    })
}
