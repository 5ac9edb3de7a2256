//! Acts of a person in a session. Each is in the outbox, on disk, before it is answered.

use super::State;
use crate::error::CommandResult;
use session_protocol::FilePart;
use session_protocol::api::SendMode;
use uuid::Uuid;

#[tauri::command]
pub(crate) async fn send_message(
    host: State<'_>,
    session_id: String,
    message_id: Uuid,
    text: String,
    files: Vec<FilePart>,
    mode: Option<SendMode>,
) -> CommandResult<String> {
    let mode = mode.unwrap_or_default();
    Ok(host.engine.send_message_as(&session_id, message_id, &text, mode, files).await?)
}

#[tauri::command]
pub(crate) async fn respond_approval(
    host: State<'_>,
    session_id: String,
    message_id: String,
    approval_id: String,
    approved: bool,
    payload: Option<serde_json::Value>,
    option_id: Option<String>,
) -> CommandResult<String> {
    let engine = &host.engine;
    let answered = engine.respond_approval(
        &session_id,
        &message_id,
        &approval_id,
        approved,
        payload,
        option_id,
    );
    Ok(answered.await?)
}

/// Has a message of a person answered again.
#[tauri::command]
pub(crate) async fn regenerate(
    host: State<'_>,
    session_id: String,
    message_id: String,
) -> CommandResult<String> {
    Ok(host.engine.regenerate(&session_id, &message_id).await?)
}

/// Chooses something of an agent: its mode, its model.
#[tauri::command]
pub(crate) async fn set_agent_option(
    host: State<'_>,
    session_id: String,
    agent_id: String,
    option_id: String,
    value: String,
) -> CommandResult<String> {
    Ok(host.engine.set_agent_option(&session_id, &agent_id, &option_id, &value).await?)
}

#[tauri::command]
pub(crate) async fn stop_run(host: State<'_>, session_id: String) -> CommandResult<String> {
    Ok(host.engine.stop(&session_id).await?)
}

#[tauri::command]
pub(crate) async fn retry_entry(host: State<'_>, entry_id: String) -> CommandResult<()> {
    Ok(host.engine.retry_entry(&entry_id).await?)
}

#[tauri::command]
pub(crate) async fn edit_entry(
    host: State<'_>,
    entry_id: String,
    text: String,
) -> CommandResult<()> {
    Ok(host.engine.edit_entry(&entry_id, &text).await?)
}

#[tauri::command]
pub(crate) async fn discard_entry(host: State<'_>, entry_id: String) -> CommandResult<()> {
    Ok(host.engine.discard_entry(&entry_id).await?)
}

#[tauri::command]
pub(crate) async fn save_draft(
    host: State<'_>,
    session_id: String,
    text: String,
) -> CommandResult<()> {
    Ok(host.engine.save_draft(&session_id, &text).await?)
}
