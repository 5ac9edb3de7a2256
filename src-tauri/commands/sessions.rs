//! Sessions: open, page back, search, create, rename, delete.

use super::State;
use crate::error::Answer;
use session_core::{CreateSession, Direction, Page, SearchPage, SearchRequest, SessionView};
use session_protocol::AgentSpec;
use uuid::Uuid;

#[tauri::command]
pub(crate) async fn show_session(
    host: State<'_>,
    session_id: Option<String>,
    around: Option<String>,
) -> Answer<()> {
    host.show(session_id, around);
    Ok(())
}

#[tauri::command]
pub(crate) async fn page_after(host: State<'_>, session_id: String, limit: usize) -> Answer<()> {
    // The page may show another session by now.
    if host.shown_session().as_deref() == Some(&session_id) {
        host.feed.page(Direction::After, limit);
    }
    Ok(())
}

#[tauri::command]
pub(crate) async fn open_session(host: State<'_>, session_id: String) -> Answer<SessionView> {
    Ok(host.engine.open_session(&session_id).await?)
}

#[tauri::command]
pub(crate) async fn page_before(
    host: State<'_>,
    session_id: String,
    before: String,
    limit: usize,
) -> Answer<Page> {
    Ok(host.engine.page_before(&session_id, &before, limit.min(500)).await?)
}

#[tauri::command]
pub(crate) async fn search(host: State<'_>, request: SearchRequest) -> Answer<SearchPage> {
    Ok(host.engine.search(request).await?)
}

#[tauri::command]
pub(crate) async fn create_session(
    host: State<'_>,
    id: Uuid,
    server: String,
    title: Option<String>,
    agents: Vec<AgentSpec>,
) -> Answer<String> {
    let session = CreateSession { server, title, agents };
    host.settings.set_last_server(&session.server);
    Ok(host.engine.create_session_as(id, session).await?)
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
        host.show(None, None);
    }
    host.engine.delete_session(&session_id).await?;
    Ok(())
}

#[tauri::command]
pub(crate) async fn mark_read(host: State<'_>, session_id: String) -> Answer<()> {
    host.engine.mark_read(&session_id).await?;
    Ok(())
}
