//! The address of a session: its server, and the id that it has there.
//!
//! One id on two servers is two sessions. So a session is known on this machine by both, written
//! `SERVER/SESSION`, in every table, command, diff and file. Only what goes to the server itself
//! has the second half alone (L16).

use std::fmt;

use url::Url;

/// The id of the session server inside this computer, which is always there.
pub const THIS_COMPUTER: &str = "local";

/// A session's server and its id there. The text form is the session's id on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// The server's id in [`Engine::servers`](crate::Engine::servers). It has no slash.
    pub server: String,
    /// The session's id on that server.
    pub session: String,
}

impl Address {
    /// The address of a session.
    pub fn new(server: &str, session: &str) -> Self {
        Self { server: server.to_owned(), session: session.to_owned() }
    }

    /// Reads the text form. `None` when a half is missing.
    pub fn parse(text: &str) -> Option<Self> {
        let (server, session) = text.split_once('/')?;
        (!server.is_empty() && !session.is_empty()).then(|| Self::new(server, session))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server, self.session)
    }
}

/// The address by which servers are told apart: without what does not say where they are.
pub fn address_of(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written_whatever_the_sessions_id_is() {
        for session in ["s", "a/b", "/", " ", "sessions/ü#1"] {
            let address = Address::new("local", session);
            assert_eq!(Address::parse(&address.to_string()), Some(address));
        }
        for text in ["", "s", "/s", "local/"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
