//! Named tokens: made, listed and revoked on the command line, looked up by the server.
//!
//! Tokens are in the server's own database, which both sides open: a running server sees a new or
//! revoked token with the next request. A token is `tk_{id}_{secret}`. The id finds the row; of the
//! secret (256 random bits) only the BLAKE3 hash is kept, which is enough for a secret that nobody
//! can guess, and compared in constant time.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params,
};
use session_protocol::api::TokenRole;
use sqlite_line::Line;
use subtle::ConstantTimeEq;

use crate::{
    access::Grant,
    config::Secret,
    error::ServerError,
    event,
    names::{Looks, is_plain_id},
    store::{self, Store, StoreError},
};

/// A token that could not be made, listed or revoked. The text is one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The name is an actor's, so there is one token for each.
    #[error("there is a token named {0} already; revoke it first or choose another name")]
    NameTaken(String),
    /// The name looks like another's: people would take one for the other.
    #[error(
        "there is a token named {0}, which looks the same; revoke it first or choose another name"
    )]
    Confusable(String),
    /// The name is none that an actor of messages can have.
    #[error(
        "a token's name has 1 to 256 bytes in NFC, no slash, no control or invisible character and no white space \
         around it"
    )]
    Name,
    /// A listed session has a name that none can have.
    #[error(
        "a session's name has 1 to 256 bytes in NFC, no slash, no control or invisible character and no white space \
         around it"
    )]
    Session,
    /// A folder that no server has used, or another than was meant.
    #[error("there are no tokens in {0}; give the data folder of a server")]
    NoFolder(PathBuf),
    /// The database cannot be used.
    #[error("the server's database cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
    /// The database cannot be made or opened.
    #[error(transparent)]
    Open(#[from] ServerError),
}

/// A token as listed: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Name of the actor when the token is used.
    pub name: String,
    /// The right that the token gives.
    pub role: TokenRole,
    /// The only sessions it is for; `None` is all.
    pub sessions: Option<Vec<String>>,
    /// Time at which the token was made, RFC 3339.
    pub created_at: String,
}

/// The tokens of one data folder.
pub struct Tokens {
    connection: Connection,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)") // L11
    }
}

impl Tokens {
    /// Opens the tokens of a data folder, which is made (mode 0700) if it is not there. A server
    /// may be running on it.
    ///
    /// # Errors
    ///
    /// The folder or its database cannot be used.
    pub fn open(data_dir: &Path) -> Result<Self, TokenError> {
        store::private_folder(data_dir)
            .map_err(|source| ServerError::DataDir { path: data_dir.to_owned(), source })?;
        // The reserve is the server's to keep.
        Ok(Self { connection: store::open(data_dir, None)?.db })
    }

    /// Opens the tokens as [`open`](Self::open) does, and makes nothing where no server or token
    /// was before.
    ///
    /// # Errors
    ///
    /// There is no database in the folder, or it cannot be used.
    pub fn open_existing(data_dir: &Path) -> Result<Self, TokenError> {
        if !store::is_in(data_dir) {
            return Err(TokenError::NoFolder(data_dir.to_owned()));
        }
        Self::open(data_dir)
    }

    /// Makes a token. It is given once and cannot be read again.
    ///
    /// # Errors
    ///
    /// The name is taken, looks like one that is, or cannot be one, a session's name cannot be one,
    /// or the database failed.
    pub fn create(
        &self,
        name: &str,
        role: TokenRole,
        sessions: Option<&[String]>,
    ) -> Result<Secret, TokenError> {
        if !is_plain_id(name) {
            return Err(TokenError::Name);
        }
        if !sessions.unwrap_or_default().iter().all(|id| is_plain_id(id)) {
            return Err(TokenError::Session);
        }
        let looks = Looks::of(name);
        let only = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let like = |known: &String| known != name && looks.like(&Looks::of(known));
        if let Some(known) = self.names()?.into_iter().find(like) {
            return Err(TokenError::Confusable(known));
        }
        let id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 6]>()).replace('_', "-");
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let sessions = sessions.map(|ids| serde_json::json!(ids).to_string());
        let made = self.connection.execute(
            "INSERT INTO tokens (id, name, role, sessions, hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![id, name, role.as_str(), sessions, hash(&secret).as_slice(), event::now()],
        );
        match made.and_then(|_| only.commit()) {
            Ok(()) => Ok(Secret::new(format!("tk_{id}_{secret}"))),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Err(TokenError::NameTaken(name.to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// All tokens, oldest first.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn list(&self) -> Result<Vec<TokenInfo>, TokenError> {
        let mut query = self
            .connection
            .prepare("SELECT id, name, role, sessions, created_at FROM tokens ORDER BY rowid")?;
        let rows = query.query_map([], |row| {
            let Grant { name, role, sessions, .. } = grant(row, 0)?;
            Ok(TokenInfo { name, role, sessions, created_at: row.get(4)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Ends a token. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn revoke(&self, name: &str) -> Result<bool, TokenError> {
        Ok(self.connection.execute("DELETE FROM tokens WHERE name = ?1", [name])? > 0)
    }

    fn names(&self) -> rusqlite::Result<Vec<String>> {
        names(&self.connection)
    }
}

/// The tokens as a running server reads them. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct KnownTokens(Line);

impl KnownTokens {
    pub(crate) fn of(store: &Store) -> Self {
        Self(store.line().clone())
    }

    /// The names of all tokens.
    pub(crate) async fn names(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.0.read_soon(names).await?)
    }

    /// Ids whose tokens have been revoked.
    pub(crate) async fn revoked(&self, mut ids: Vec<String>) -> Result<Vec<String>, StoreError> {
        let look = move |db: &Connection| {
            let mut known = db.prepare_cached("SELECT 1 FROM tokens WHERE id = ?1")?;
            // A database that fails says nothing about a token: it is looked at again.
            ids.retain(|id| matches!(known.exists([id]), Ok(false)));
            Ok(ids)
        };
        Ok(self.0.read_soon(look).await?)
    }

    /// The grant of a token, or `None` when the text is no token.
    pub(crate) async fn find(&self, token: String) -> Result<Option<Grant>, StoreError> {
        Ok(self.0.read_soon(move |db| find(db, &token)).await?)
    }
}

fn names(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached("SELECT name FROM tokens")?.query_map([], |row| row.get(0))?.collect()
}

fn find(db: &Connection, token: &str) -> rusqlite::Result<Option<Grant>> {
    let mut parts = token.splitn(3, '_');
    let (Some("tk"), Some(id), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
        return Ok(None);
    };
    let found = db
        .prepare_cached("SELECT hash, id, name, role, sessions FROM tokens WHERE id = ?1")?
        .query_row([id], |row| {
            let known: Vec<u8> = row.get(0)?;
            Ok((known, grant(row, 1)?))
        })
        .optional()?;
    Ok(found.and_then(|(known, grant)| {
        bool::from(known.as_slice().ct_eq(&hash(secret))).then_some(grant)
    }))
}

/// The hash by which secrets are kept and compared, so that comparing takes the same time whatever
/// was sent.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

/// The columns id, name, role and sessions, from `first` on.
fn grant(row: &Row<'_>, first: usize) -> rusqlite::Result<Grant> {
    let bad = |column| {
        rusqlite::Error::InvalidColumnType(column, "tokens".to_owned(), rusqlite::types::Type::Text)
    };
    let (role, sessions) = (first + 2, first + 3);
    Ok(Grant {
        token_id: row.get(first)?,
        name: row.get(first + 1)?,
        role: row.get::<_, String>(role)?.parse().map_err(|_| bad(role))?,
        sessions: row
            .get::<_, Option<String>>(sessions)?
            .map(|ids| serde_json::from_str(&ids))
            .transpose()
            .map_err(|_| bad(sessions))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_until_it_is_revoked_and_only_whole() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        let only = ["a".to_owned()];
        let token = tokens.create("ann", TokenRole::Chat, Some(&only)).unwrap();
        let other = tokens.create("bob", TokenRole::Manage, None).unwrap();
        let server = Tokens::open(dir.path()).unwrap();
        let found = find(&server.connection, token.expose()).unwrap().unwrap();
        let id = token.expose().split('_').nth(1).unwrap();
        let (token_id, name) = (id.to_owned(), "ann".to_owned());
        let sessions = Some(only.to_vec());
        assert_eq!(found, Grant { token_id, name, role: TokenRole::Chat, sessions });
        let secret = other.expose().splitn(3, '_').nth(2).unwrap();
        for wrong in ["", "tk", "tk__", &format!("tk_{id}_"), &format!("tk_{id}_{secret}")] {
            assert_eq!(find(&server.connection, wrong).unwrap(), None, "{wrong}");
        }
        assert!(matches!(
            tokens.create("ann", TokenRole::View, None),
            Err(TokenError::NameTaken(_))
        ));
        assert!(tokens.revoke("ann").unwrap() && !tokens.revoke("ann").unwrap());
        assert_eq!(find(&server.connection, token.expose()).unwrap(), None);
        assert_eq!(tokens.list().unwrap().len(), 1);
        let secret = token.expose().splitn(3, '_').nth(2).unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
    }

    #[test]
    fn names_that_cannot_act_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        for name in [
            "",
            "a/b",
            "a\nb",
            " ann",
            "ann ",
            "ann\u{3000}",
            "a\u{200b}nn",
            "ann\u{200f}",
            "\u{202e}nna",
            "\u{2066}ann\u{2069}",
            "an\u{2060}n",
            "\u{feff}ann",
            "a\u{ad}nn",
            "ann\u{3164}",
            "e\u{301}va",
        ] {
            let refused = tokens.create(name, TokenRole::View, None);
            assert!(matches!(refused, Err(TokenError::Name)), "{name:?}");
            let sessions = [name.to_owned()];
            let refused = tokens.create("a", TokenRole::View, Some(&sessions));
            assert!(matches!(refused, Err(TokenError::Session)), "{name:?}");
        }
        for name in ["Ann Lee", "Zoë", "安娜", "🦀"] {
            tokens.create(name, TokenRole::View, Some(&[name.to_owned()])).unwrap();
        }
    }

    #[test]
    fn a_name_that_looks_like_another_is_refused_until_that_one_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        tokens.create("ann", TokenRole::View, None).unwrap();
        for name in ["\u{430}nn", "Ann", "an\u{578}"] {
            let refused = tokens.create(name, TokenRole::View, None);
            assert!(
                matches!(&refused, Err(TokenError::Confusable(known)) if known == "ann"),
                "{name}"
            );
        }
        tokens.revoke("ann").unwrap();
        tokens.create("\u{430}nn", TokenRole::View, None).unwrap();
    }

    #[test]
    fn what_is_not_there_is_not_made_by_looking() {
        let dir = tempfile::tempdir().unwrap();
        for folder in [dir.path().to_owned(), dir.path().join("absent")] {
            let opened = Tokens::open_existing(&folder);
            assert!(matches!(opened, Err(TokenError::NoFolder(_))), "{folder:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        Tokens::open(dir.path()).unwrap();
        assert_eq!(Tokens::open_existing(dir.path()).unwrap().list().unwrap(), []);
    }
}
