//! Encryption of what agents are sent: their headers and body templates hold keys of people.
//!
//! XChaCha20-Poly1305 with a random nonce; the session and the agent are authenticated with it, so that a sealed text
//! cannot be moved to another agent. The key comes from whoever starts the server (a keychain), else from a file of its
//! owner only, beside the database: a copy of the database alone opens nothing.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rusqlite::{Connection, params};

use crate::{config::Secret, error::ServerError};

const FILE: &str = "server.key";
/// Begins every sealed text; JSON cannot begin so.
const MARK: &str = "sealed1:";
const NONCE: usize = 24;
const CONTEXT: &str = "threadkeep session-server 2026 agents of a session";

/// Seals texts with one key.
#[derive(Clone)]
pub(crate) struct Seal(XChaCha20Poly1305);

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)") // L11
    }
}

impl Seal {
    fn new(key: &str) -> Self {
        // The key is random: a fast derivation is enough, and gives the length from any text.
        Self(XChaCha20Poly1305::new(&Key::from(blake3::derive_key(CONTEXT, key.as_bytes()))))
    }

    /// Seals an agent's text for the place where it is kept.
    pub(crate) fn seal(&self, session_id: &str, agent_id: &str, text: &str) -> String {
        let nonce = rand::random::<[u8; NONCE]>();
        let (place, msg) = (place(session_id, agent_id), text.as_bytes());
        let sealed = self
            .0
            .encrypt(&XNonce::from(nonce), Payload { msg, aad: &place })
            .expect("encrypting in memory cannot fail");
        format!("{MARK}{}", BASE64.encode([&nonce[..], &sealed].concat()))
    }

    /// The text again; `None` when it was sealed with another key, for another place, or damaged.
    pub(crate) fn open(&self, session_id: &str, agent_id: &str, sealed: &str) -> Option<String> {
        let bytes = BASE64.decode(sealed.strip_prefix(MARK)?).ok()?;
        let (nonce, msg) = bytes.split_first_chunk::<NONCE>()?;
        let place = place(session_id, agent_id);
        let text = self.0.decrypt(&XNonce::from(*nonce), Payload { msg, aad: &place }).ok()?;
        String::from_utf8(text).ok()
    }
}

fn place(session_id: &str, agent_id: &str) -> Vec<u8> {
    // Ids have no control characters.
    format!("{session_id}\0{agent_id}").into_bytes()
}

/// The seal of a data folder, with all rows of `db` under it: those that were written in clear by earlier versions, or
/// under the folder's key before `given` was, are sealed again.
pub(crate) fn prepare(
    folder: &Path,
    given: Option<&Secret>,
    db: &mut Connection,
) -> Result<Seal, ServerError> {
    let path = folder.join(FILE);
    let failed = |source| ServerError::DataDir { path: path.clone(), source };
    let earlier = match given {
        Some(_) => read(&path).map_err(failed)?,
        None => None,
    };
    let seal = match given {
        Some(key) => Seal::new(key.expose()),
        None => match read(&path).map_err(failed)? {
            Some(key) => Seal::new(&key),
            None => Seal::new(&make(&path).map_err(failed)?),
        },
    };
    let earlier = earlier.map(|key| Seal::new(&key));
    reseal(db, &seal, earlier.as_ref())
        .map_err(|error| ServerError::StoreFailed(error.to_string()))?;
    if earlier.is_some() {
        fs::remove_file(&path).map_err(failed)?;
    }
    Ok(seal)
}

fn reseal(db: &mut Connection, seal: &Seal, earlier: Option<&Seal>) -> rusqlite::Result<()> {
    let tx = db.transaction()?;
    let mut changed = 0;
    // Programs of this computer are sealed in the place of their name.
    let tables = [("agents", "session_id, agent_id"), ("acp_commands", "'', name")];
    for (table, place) in tables {
        let mut all = tx.prepare(&format!("SELECT rowid, {place}, spec FROM {table}"))?;
        let mut change = tx.prepare(&format!("UPDATE {table} SET spec = ?1 WHERE rowid = ?2"))?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            let (session, agent): (String, String) = (row.get(1)?, row.get(2)?);
            let kept: String = row.get(3)?;
            let clear = if kept.starts_with(MARK) {
                earlier.and_then(|earlier| earlier.open(&session, &agent, &kept))
            } else {
                Some(kept)
            };
            if let Some(clear) = clear {
                change
                    .execute(params![seal.seal(&session, &agent, &clear), row.get::<_, i64>(0)?])?;
                changed += 1;
            }
        }
    }
    tx.commit()?;
    if changed > 0 {
        // Neither free pages nor the log keep what was there in clear.
        db.execute_batch("VACUUM")?;
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        tracing::info!(changed, "agents' headers are encrypted now");
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let mut file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    #[cfg(unix)]
    tighten(&file)?;
    let mut key = String::new();
    file.read_to_string(&mut key)?;
    if key.trim().len() < 32 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the key is damaged; restore it, or move it away and enter agents' headers again",
        ));
    }
    Ok(Some(key.trim().to_owned()))
}

/// Takes from others what a backup or a copy may have given them.
#[cfg(unix)]
fn tighten(key: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if key.metadata()?.permissions().mode() & 0o177 == 0 {
        return Ok(());
    }
    match key.set_permissions(fs::Permissions::from_mode(0o600)) {
        Ok(()) => tracing::warn!("others could read {FILE}; now only its owner can"),
        Err(error) => tracing::warn!(%error, "others can read {FILE}; that cannot be changed"),
    }
    Ok(())
}

/// Makes the key in a file that is its owner's from the beginning and complete when it has its name.
fn make(path: &Path) -> io::Result<String> {
    let key = BASE64.encode(rand::random::<[u8; 32]>());
    let draft = path.with_extension("key.new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(key.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_with_its_key_in_its_place_only() {
        let (seal, other) = (Seal::new("a key"), Seal::new("another"));
        let sealed = seal.seal("s", "a", "hush");
        assert_eq!(seal.open("s", "a", &sealed).as_deref(), Some("hush"));
        assert_ne!(sealed, seal.seal("s", "a", "hush"), "the nonce is new each time");
        assert_eq!(seal.open("s", "b", &sealed), None);
        assert_eq!(other.open("s", "a", &sealed), None);
        for damaged in [&sealed[..sealed.len() - 2], MARK, "", "{}", "sealed1:!"] {
            assert_eq!(seal.open("s", "a", damaged), None);
        }
    }
}
