//! Links that lead into the app: `threadkeep://open?session=…` and `threadkeep://join?server=…`.
//!
//! A link comes from anywhere: it is read as hostile text. Reading it changes nothing and asks
//! nobody. Whoever follows one must ask the person first where its server is not one of theirs
//! ([`Link::leads_to_stranger`]), and sends it no token but the link's own (L16).

use std::fmt;

use url::Url;

use crate::endpoint::Secret;

const SCHEME: &str = "threadkeep";
const OPEN: &str = "open";
const JOIN: &str = "join";
/// Bytes of a link.
const MAX: usize = 4096;
/// Bytes of an id, an address or a token.
const MAX_VALUE: usize = 2048;

/// The place that a link leads to.
#[derive(Clone, PartialEq, Eq)]
pub enum Link {
    /// A session, and perhaps a message in it.
    Session {
        /// The address of its server; `None`: the server inside this computer.
        server: Option<Url>,
        /// The session's id there.
        session: String,
        /// The id of the message that is shown.
        message: Option<String>,
    },
    /// An invitation to a server.
    Invitation {
        /// The server's address.
        server: Url,
        /// The token that the invitation gives.
        token: Secret,
        /// The session that is opened first.
        session: Option<String>,
    },
}

impl fmt::Debug for Link {
    // L11: an invitation holds a token, and ids may hold words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session { .. } => "Link::Session",
            Self::Invitation { .. } => "Link::Invitation",
        })
    }
}

/// The reason why a text is no link that leads anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Another kind of link, or none.
    #[error(
        "This is no link of Threadkeep. Those begin with threadkeep://open or threadkeep://join."
    )]
    Foreign,
    /// Something that it must have is missing, there twice or too long.
    #[error("The link is damaged. Ask for it again.")]
    Damaged,
    /// A server that is not behind http or https, or an address with a name and password in it.
    #[error("The link's server is no address of a session server. Ask for it again.")]
    Server,
}

impl Link {
    /// Reads a link.
    ///
    /// # Errors
    ///
    /// It is none, or leads nowhere.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.len() > MAX {
            return Err(LinkError::Damaged);
        }
        let url = Url::parse(text).map_err(|_| LinkError::Foreign)?;
        // Some systems put a slash behind the name.
        if url.scheme() != SCHEME || !matches!(url.path(), "" | "/") {
            return Err(LinkError::Foreign);
        }
        // What a later version adds is not looked at.
        let one = |name: &str| {
            let mut values = url
                .query_pairs()
                .filter(|(own, _)| own == name)
                .map(|(_, value)| value.into_owned());
            match (values.next(), values.next()) {
                (Some(value), None) => id(value).map(Some),
                (None, _) => Ok(None),
                (Some(_), Some(_)) => Err(LinkError::Damaged),
            }
        };
        let server = one("server")?.map(|text| server(&text)).transpose()?;
        let leads = url.host_str().map(str::to_ascii_lowercase);
        match leads.as_deref() {
            Some(OPEN) => Ok(Self::Session {
                server,
                session: one("session")?.ok_or(LinkError::Damaged)?,
                message: one("message")?,
            }),
            Some(JOIN) => Ok(Self::Invitation {
                server: server.ok_or(LinkError::Damaged)?,
                token: Secret::new(one("token")?.ok_or(LinkError::Damaged)?),
                session: one("session")?,
            }),
            _ => Err(LinkError::Foreign),
        }
    }

    /// The server that it leads to; `None`: the one inside this computer.
    pub fn server(&self) -> Option<&Url> {
        match self {
            Self::Session { server, .. } => server.as_ref(),
            Self::Invitation { server, .. } => Some(server),
        }
    }

    /// Whether the server is none of these, so that the person is asked.
    pub fn leads_to_stranger<'a>(&self, mut known: impl Iterator<Item = &'a Url>) -> bool {
        let address = self.server().map(crate::address_of);
        address.is_some_and(|address| !known.any(|own| crate::address_of(own) == address))
    }
}

impl fmt::Display for Link {
    /// Writes the link as it is given to others. An invitation has its token in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, fields) = match self {
            Self::Session { server, session, message } => (
                OPEN,
                [
                    ("session", Some(session.as_str())),
                    ("message", message.as_deref()),
                    ("server", server.as_ref().map(Url::as_str)),
                ],
            ),
            Self::Invitation { server, token, session } => (
                JOIN,
                [
                    ("server", Some(server.as_str())),
                    ("session", session.as_deref()),
                    ("token", Some(token.expose())),
                ],
            ),
        };
        let mut url =
            Url::parse(&format!("{SCHEME}://{name}")).expect("a scheme and a name are a URL");
        let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        url.query_pairs_mut().extend_pairs(given);
        f.write_str(url.as_str())
    }
}

/// An id, or a damaged link.
fn id(text: String) -> Result<String, LinkError> {
    let fits =
        !text.trim().is_empty() && text.len() <= MAX_VALUE && !text.chars().any(char::is_control);
    if fits { Ok(text) } else { Err(LinkError::Damaged) }
}

/// The address of a server.
fn server(text: &str) -> Result<Url, LinkError> {
    let url = Url::parse(text).ok().filter(|url| {
        let anonymous = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && anonymous
    });
    let mut url = url.ok_or(LinkError::Server)?;
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_link_is_read_as_it_was_written_whatever_the_ids_are(
            session in "[^\\p{C}]{0,20}[!-~]", message in proptest::option::of("[!-~ü安]{1,20}"), local: bool, token in "[!-~]{1,40}",
        ) {
            let server = Url::parse("https://team.example:8443/base/").unwrap();
            let link = Link::Session { server: (!local).then(|| server.clone()), session: session.clone(), message };
            prop_assert!(Link::parse(&link.to_string()).unwrap() == link);
            let link = Link::Invitation { server, token: Secret::new(token.clone()), session: Some(session) };
            prop_assert!(Link::parse(&link.to_string()).unwrap() == link);
            let shown = format!("{link:?}");
            prop_assert!(token.len() < 5 || !shown.contains(&token), "a token is shown");
        }

        #[test]
        fn any_text_is_a_link_or_an_error(text in "(threadkeep://(open|join|x)[/?]?)?[ -~]{0,60}") {
            if let Ok(link) = Link::parse(&text) {
                prop_assert!(Link::parse(&link.to_string()).unwrap() == link);
            }
        }
    }

    #[test]
    fn what_is_no_link_or_leads_nowhere_is_told() {
        use LinkError::{Damaged, Foreign, Server};
        let long = format!("threadkeep://open?session={}", "x".repeat(5000));
        for (text, error) in [
            ("", Foreign),
            ("https://team.example/?session=s", Foreign),
            ("threadkeep:open?session=s", Foreign),
            ("threadkeep://run?command=rm", Foreign),
            ("threadkeep://open/etc/passwd?session=s", Foreign),
            ("threadkeep://open", Damaged),
            ("threadkeep://open?session=", Damaged),
            ("threadkeep://open?session=a&session=b", Damaged),
            ("threadkeep://open?session=a%0Ab", Damaged),
            ("threadkeep://join?server=https%3A%2F%2Fa.example", Damaged),
            ("threadkeep://join?token=t", Damaged),
            (&long, Damaged),
            ("threadkeep://open?session=s&server=file%3A%2F%2F%2Fetc", Server),
            ("threadkeep://open?session=s&server=javascript%3Aalert(1)", Server),
            ("threadkeep://open?session=s&server=https%3A%2F%2Fme%3Apw%40a.example", Server),
        ] {
            assert_eq!(Link::parse(text), Err(error), "{text}");
        }
        // As a browser or a shell hands it over.
        for text in ["threadkeep://open/?session=s", " threadkeep://OPEN?session=s&later=1 \n"] {
            let want = Link::Session { server: None, session: "s".to_owned(), message: None };
            assert!(Link::parse(text) == Ok(want), "{text}");
        }
    }

    #[test]
    fn a_server_that_is_not_known_is_a_stranger() {
        let known = [Url::parse("https://team.example/").unwrap()];
        for (server, stranger) in [
            ("https%3A%2F%2Fteam.example", false),
            ("https%3A%2F%2Fteam.example%2F%3Fx%3D1", false),
            ("http%3A%2F%2Fteam.example", true),
            ("https%3A%2F%2Fteam.example.evil.example", true),
            ("https%3A%2F%2Fteam.example%3A8443", true),
        ] {
            let link =
                Link::parse(&format!("threadkeep://open?session=s&server={server}")).unwrap();
            assert_eq!(link.leads_to_stranger(known.iter()), stranger, "{server}");
        }
        assert!(
            !Link::parse("threadkeep://open?session=s").unwrap().leads_to_stranger(known.iter())
        );
    }
}
