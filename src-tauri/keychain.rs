//! Keys and tokens, in the operating system's keychain and nowhere else (L11).
//!
//! On Linux this is the Secret Service (GNOME Keyring, KWallet, KeePassXC). Calls block on D-Bus,
//! so they run on a blocking thread. The store is chosen once per process: a keychain that starts
//! later is seen after a restart of the app, and the message says so.

use host_link::{KEYCHAIN_SERVICE, MODEL_KEY};
use thiserror::Error;

/// Name of a secret in the keychain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// The model endpoint's API key.
    ModelKey,
    /// The bearer token of a session server that the person joined, by its id.
    ServerToken(String),
    /// The token of the one server that an earlier version knew.
    TokenBefore,
}

impl Name {
    fn user(&self) -> String {
        match self {
            Self::ModelKey => MODEL_KEY.to_owned(),
            Self::ServerToken(server) => format!("server-token:{server}"),
            Self::TokenBefore => "server-token".to_owned(),
        }
    }
}

/// The reason why the keychain did not do what was asked.
#[derive(Debug, Error)]
pub(crate) enum KeychainError {
    /// No keychain runs here.
    #[error(
        "No keychain was found on this computer, so the key is not kept and is used only until the agents of this computer \
         end. Start one (for example GNOME Keyring or KWallet), then restart Threadkeep."
    )]
    Missing,
    /// The keychain refused.
    #[error("The keychain refused. Unlock it, then try again.")]
    Refused,
}

impl KeychainError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Missing => "keychain-missing",
            Self::Refused => "keychain-refused",
        }
    }
}

/// Reads a secret; `None` when there is none, or when the store is locked (the Secret Service
/// answers both in the same way).
///
/// # Errors
/// [`KeychainError`].
///
/// # Cancel safety
/// Dropping the future leaves the read to end on its thread, without effect.
pub(crate) async fn read(name: Name) -> Result<Option<String>, KeychainError> {
    on_thread(move || match entry(&name)?.get_password() {
        Ok(secret) => Ok(Some(secret)),
        Err(keyring::Error::NoEntry) => Ok(None),
        Err(error) => Err(refused(&error)),
    })
    .await
}

/// Writes a secret, or removes it when `secret` is `None`.
///
/// # Errors
/// [`KeychainError`].
///
/// # Cancel safety
/// Dropping the future does not stop a write that has begun.
pub(crate) async fn write(name: Name, secret: Option<String>) -> Result<(), KeychainError> {
    on_thread(move || {
        let entry = entry(&name)?;
        let done = match &secret {
            Some(secret) => entry.set_password(secret),
            None => entry.delete_credential(),
        };
        match done {
            Ok(()) | Err(keyring::Error::NoEntry) => Ok(()),
            Err(error) => Err(refused(&error)),
        }
    })
    .await
}

async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeychainError> + Send + 'static,
) -> Result<T, KeychainError> {
    tauri::async_runtime::spawn_blocking(work).await.unwrap_or(Err(KeychainError::Refused))
}

fn entry(name: &Name) -> Result<keyring::Entry, KeychainError> {
    keyring::Entry::new(KEYCHAIN_SERVICE, &name.user()).map_err(|_| KeychainError::Missing)
}

fn refused(error: &keyring::Error) -> KeychainError {
    // The variant only: an error may quote what was stored.
    let kind = match error {
        keyring::Error::NoStorageAccess(_) => "no access",
        keyring::Error::PlatformFailure(_) => "platform failure",
        _ => "other",
    };
    tracing::warn!(kind, "the keychain refused");
    KeychainError::Refused
}
