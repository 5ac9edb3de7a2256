//! Sessions: list, show, move on in, search, create, rename, delete.

use super::State;
use crate::error::CommandResult;
use session_core::{
    Direction, DiskUse, FirstMessage, ListQuery, NewSession, SaidPage, SearchPage, SearchRequest,
};
use session_protocol::{AgentSpec, FilePart};
use uuid::Uuid;

/// Chooses the head of the list of sessions that the page wants.
#[tauri::command]
pub(crate) async fn list_sessions(host: State<'_>, query: ListQuery) -> CommandResult<()> {
    host.feed.list(query);
    Ok(())
}

#[tauri::command]
pub(crate) async fn show_session(
    host: State<'_>,
    session_id: Option<String>,
    around: Option<String>,
) -> CommandResult<()> {
    Ok(host.show(session_id, around)?)
}

/// Shows the beginning of the session that the window shows.
#[tauri::command]
pub(crate) async fn show_start(host: State<'_>, session_id: String) -> CommandResult<()> {
    // The window may show another session by now.
    if host.shown_session().as_deref() == Some(&session_id) {
        host.show_start(session_id)?;
    }
    Ok(())
}

#[tauri::command]
pub(crate) async fn page(
    host: State<'_>,
    session_id: String,
    direction: Direction,
) -> CommandResult<()> {
    // The window may show another session by now.
    if host.shown_session().as_deref() == Some(&session_id) {
        host.feed.page(direction);
    }
    Ok(())
}

#[tauri::command]
pub(crate) async fn search(host: State<'_>, request: SearchRequest) -> CommandResult<SearchPage> {
    Ok(host.engine.search(request).await?)
}

/// The message that a session begins with.
#[derive(serde::Deserialize)]
pub(crate) struct First {
    id: Uuid,
    text: String,
    files: Vec<FilePart>,
}

#[tauri::command]
pub(crate) async fn create_session(
    host: State<'_>,
    id: Uuid,
    server: String,
    title: Option<String>,
    agents: Vec<AgentSpec>,
    first: Option<First>,
) -> CommandResult<String> {
    let first = first.map(|First { id, text, files }| FirstMessage { id, text, files });
    let session = NewSession { server, title, agents, first };
    host.settings.set_last_server(&session.server);
    Ok(host.engine.create_session_as(id, session).await?)
}

/// Makes a copy of a session that ends at a message.
#[tauri::command]
pub(crate) async fn fork_session(
    host: State<'_>,
    id: Uuid,
    session_id: String,
    at_message_id: Option<String>,
) -> CommandResult<String> {
    Ok(host.engine.fork_session(id, &session_id, at_message_id.as_deref()).await?)
}

/// Number of the sessions that take most of the disk that are named.
const LARGEST: usize = 5;

/// Reads the state that an agent shares with the people of a session.
#[tauri::command]
pub(crate) async fn shared_state(
    host: State<'_>,
    session_id: String,
    agent_id: String,
) -> CommandResult<Option<serde_json::Value>> {
    Ok(host.engine.shared_state(&session_id, &agent_id).await?)
}

/// Reads what was said in a session, by the page.
#[tauri::command]
pub(crate) async fn said(
    host: State<'_>,
    session_id: String,
    from: u64,
) -> CommandResult<SaidPage> {
    Ok(host.engine.said(&session_id, from).await?)
}

/// Bytes of the disk that the sessions take.
#[tauri::command]
pub(crate) async fn disk_use(host: State<'_>) -> CommandResult<DiskUse> {
    Ok(host.engine.disk_use(LARGEST).await?)
}

#[tauri::command]
pub(crate) async fn rename_session(
    host: State<'_>,
    session_id: String,
    title: String,
) -> CommandResult<()> {
    host.engine.rename_session(&session_id, &title).await?;
    Ok(())
}

#[tauri::command]
pub(crate) async fn delete_session(host: State<'_>, session_id: String) -> CommandResult<()> {
    if host.shown_session().as_deref() == Some(&session_id) {
        host.show(None, None)?;
    }
    host.engine.delete_session(&session_id).await?;
    Ok(())
}

/// Keeps what is here of a session that its server does not have any more.
#[tauri::command]
pub(crate) async fn keep_copy(host: State<'_>, session_id: String) -> CommandResult<()> {
    Ok(host.engine.keep_copy(&session_id).await?)
}

#[tauri::command]
pub(crate) async fn mark_read(host: State<'_>, session_id: String) -> CommandResult<()> {
    host.engine.mark_read(&session_id).await?;
    Ok(())
}
