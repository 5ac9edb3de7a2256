//! Sessions: list, show, move on in, search, create, rename, delete.

use super::State;
use crate::error::Answer;
use session_core::{
    CreateSession, Direction, DiskUse, FirstMessage, ListQuery, SaidPage, SearchPage, SearchRequest,
};
use session_protocol::AgentSpec;
use uuid::Uuid;

/// Chooses the head of the list of sessions that the page wants.
#[tauri::command]
pub(crate) async fn list_sessions(host: State<'_>, query: ListQuery) -> Answer<()> {
    host.feed.list(query);
    Ok(())
}

#[tauri::command]
pub(crate) async fn show_session(
    host: State<'_>,
    session_id: Option<String>,
    around: Option<String>,
) -> Answer<()> {
    Ok(host.show(session_id, around)?)
}

#[tauri::command]
pub(crate) async fn page(host: State<'_>, session_id: String, direction: Direction) -> Answer<()> {
    // The window may show another session by now.
    if host.shown_session().as_deref() == Some(&session_id) {
        host.feed.page(direction);
    }
    Ok(())
}

#[tauri::command]
pub(crate) async fn search(host: State<'_>, request: SearchRequest) -> Answer<SearchPage> {
    Ok(host.engine.search(request).await?)
}

/// The message that a session begins with.
#[derive(serde::Deserialize)]
pub(crate) struct First {
    id: Uuid,
    text: String,
}

#[tauri::command]
pub(crate) async fn create_session(
    host: State<'_>,
    id: Uuid,
    server: String,
    title: Option<String>,
    agents: Vec<AgentSpec>,
    first: Option<First>,
) -> Answer<String> {
    let first = first.map(|First { id, text }| FirstMessage { id, text });
    let session = CreateSession { server, title, agents, first };
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
) -> Answer<String> {
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
) -> Answer<Option<serde_json::Value>> {
    Ok(host.engine.shared_state(&session_id, &agent_id).await?)
}

/// Reads what was said in a session, by the page.
#[tauri::command]
pub(crate) async fn said(host: State<'_>, session_id: String, from: u64) -> Answer<SaidPage> {
    Ok(host.engine.said(&session_id, from).await?)
}

/// Bytes of the disk that the sessions take.
#[tauri::command]
pub(crate) async fn disk_use(host: State<'_>) -> Answer<DiskUse> {
    Ok(host.engine.disk_use(LARGEST).await?)
}

#[tauri::command]
pub(crate) async fn rename_session(
    host: State<'_>,
    session_id: String,
    title: String,
) -> Answer<()> {
    host.engine.rename_session(&session_id, &title).await?;
    Ok(())
}

#[tauri::command]
pub(crate) async fn delete_session(host: State<'_>, session_id: String) -> Answer<()> {
    if host.shown_session().as_deref() == Some(&session_id) {
        host.show(None, None)?;
    }
    host.engine.delete_session(&session_id).await?;
    Ok(())
}

/// Keeps what is here of a session that its server does not have any more.
#[tauri::command]
pub(crate) async fn keep_copy(host: State<'_>, session_id: String) -> Answer<()> {
    Ok(host.engine.keep_copy(&session_id).await?)
}

#[tauri::command]
pub(crate) async fn mark_read(host: State<'_>, session_id: String) -> Answer<()> {
    host.engine.mark_read(&session_id).await?;
    Ok(())
}
