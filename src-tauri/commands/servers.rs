//! Session servers: check, join, rename, sign in again, forget.

use super::State;
use crate::error::{CommandError, CommandResult};
use crate::keychain::{self, Name};
use crate::server;
use session_core::{Endpoint, NoToken, ServerCheck};
use std::sync::Arc;
use tauri::Url;

/// Asks what answers at an address, and what the token may do there.
#[tauri::command]
pub(crate) async fn check_server(url: String, token: Option<String>) -> CommandResult<ServerCheck> {
    Ok(session_core::check_server(&endpoint(&url, token)?).await)
}

/// Joins a server and answers with its id. What does not answer as a server is not joined.
#[tauri::command]
pub(crate) async fn join_server(
    host: State<'_>,
    url: String,
    name: String,
    token: Option<String>,
) -> CommandResult<String> {
    let endpoint = endpoint(&url, token.clone())?;
    let check = session_core::check_server(&endpoint).await;
    if !check.ok {
        return Err(CommandError::new("server-not-joined", check.message));
    }
    let id = host.engine.join_server(&endpoint.base_url, &name).await?;
    // The token is used from here on also when no keychain can keep it.
    host.engine.connect(&id, Some(endpoint))?;
    host.settings.set_last_server(&id);
    keep_token(&id, token).await?;
    Ok(id)
}

#[tauri::command]
pub(crate) async fn rename_server(host: State<'_>, id: String, name: String) -> CommandResult<()> {
    Ok(host.engine.rename_server(&id, &name).await?)
}

/// Signs in again, with another token or with none.
#[tauri::command]
pub(crate) async fn set_server_token(
    host: State<'_>,
    id: String,
    token: Option<String>,
) -> CommandResult<()> {
    keep_token(&id, token).await?;
    server::connect(&host, &id).await;
    Ok(())
}

/// Number of wishes that wait for a server.
#[tauri::command]
pub(crate) async fn count_unsent(host: State<'_>, id: String) -> CommandResult<u32> {
    Ok(host.engine.unsent(&id).await?)
}

#[tauri::command]
pub(crate) async fn forget_server(
    host: State<'_>,
    id: String,
    keep_sessions: bool,
) -> CommandResult<()> {
    host.engine.forget_server(&id, keep_sessions).await?;
    keep_token(&id, None).await.or_else(|error| match error.code.as_str() {
        "keychain-missing" => Ok(()), // there is none to forget
        _ => Err(error),
    })
}

async fn keep_token(id: &str, token: Option<String>) -> CommandResult<()> {
    let token = token.filter(|token| !token.is_empty());
    match keychain::write(Name::ServerToken(id.to_owned()), token.clone()).await {
        // A server without a token needs no keychain.
        Err(keychain::KeychainError::Missing) if token.is_none() => Ok(()),
        kept => Ok(kept?),
    }
}

fn endpoint(url: &str, token: Option<String>) -> CommandResult<Endpoint> {
    let bad = || {
        CommandError::new(
            "bad-url",
            "The server address is not a web address. Write it like https://chat.example.org.",
        )
    };
    let base_url = Url::parse(url.trim()).map_err(|_| bad())?;
    if !matches!(base_url.scheme(), "http" | "https") || base_url.host_str().is_none() {
        return Err(bad());
    }
    let token = match token.filter(|token| !token.is_empty()) {
        Some(token) => server::provider(token),
        None => Arc::new(NoToken),
    };
    Ok(Endpoint { base_url, token })
}
