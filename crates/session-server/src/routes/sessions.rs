//! Making, listing, renaming and deleting sessions.

use axum::{Json, extract::State, response::Response};
use serde::Deserialize;
use session_protocol::AgentSpec;
use url::Url;
use utoipa::ToSchema;

use super::answers::{Described, Listed, Renamed};
use super::{App, Body, SessionId, agents, no_content, nullable, uuid};
use crate::{
    access::{Acting, Role},
    ledger::Wish,
    problem::Problem,
    sessions::Open,
    streams::{MOUNT, stream_name},
};

const MAX_TITLE: usize = 512;

/// Upstream ignores the body; ours may name the session and its agents at once.
#[derive(Deserialize, ToSchema)]
pub(super) struct Create {
    #[serde(default)]
    title: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    agents: Vec<AgentSpec>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rename {
    title: String,
    #[serde(default)]
    actor_id: Option<String>,
    #[serde(default)]
    #[schema(format = "uuid")]
    txid: Option<String>,
}

fn described(session_id: &str) -> Json<Described> {
    // As it stands in a URL: an id may hold what a path may not.
    let mut url = Url::parse("http://localhost").expect("it is a URL");
    url.set_path(MOUNT);
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(stream_name(session_id).split('/'));
    }
    let stream_url = url.path().to_owned();
    Json(Described { session_id: session_id.to_owned(), stream_url })
}

fn title(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_TITLE {
        return Err(Problem::bad_request(format!("title: expected 1 to {MAX_TITLE} bytes")));
    }
    Ok(text.to_owned())
}

/// The sessions that the token may see, newest activity first.
#[utoipa::path(get, path = "/v1/sessions", responses((status = 200, body = Listed)))]
pub(super) async fn list(State(app): State<App>, acting: Acting) -> Result<Json<Listed>, Problem> {
    let mut sessions = app.sessions.shared().store.sessions().await?;
    sessions.retain(|row| acting.caller.may_use(&row.session_id));
    Ok(Json(Listed { sessions }))
}

/// Makes a session, or names it and its agents when it is there.
#[utoipa::path(put, path = "/v1/sessions/{session}", request_body = Option<Create>, responses((status = 200, body = Described)))]
pub(super) async fn create(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<Create>,
) -> Result<Json<Described>, Problem> {
    let actor = acting.actor(None)?;
    let title = body.title.as_deref().map(title).transpose()?;
    let agents = agents::checked(&app, &session, &acting.caller, body.agents).await?;
    let manages = acting.caller.has(Role::Manage);
    app.sessions
        .with(&session, Open::Create, move |session| {
            session.register(agents, manages)?;
            if let Some(title) = title
                && session.ledger().title() != Some(&title)
            {
                session.rename(&title, &actor, None);
            }
            Ok(())
        })
        .await?;
    Ok(described(&session))
}

/// Where the session's stream is.
#[utoipa::path(get, path = "/v1/sessions/{session}", responses((status = 200, body = Described)))]
pub(super) async fn show(
    State(app): State<App>,
    SessionId(session): SessionId,
) -> Result<Json<Described>, Problem> {
    if app.sessions.shared().streams.exists(&stream_name(&session)).await? {
        Ok(described(&session))
    } else {
        Err(Problem::session_not_found())
    }
}

/// Gives a session a title.
#[utoipa::path(patch, path = "/v1/sessions/{session}", request_body = Rename, responses((status = 200, body = Renamed)))]
pub(super) async fn rename(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<Rename>,
) -> Result<Json<Renamed>, Problem> {
    let actor = acting.actor(body.actor_id)?;
    let title = title(&body.title)?;
    let txid = uuid("txid", body.txid)?;
    let answer = Renamed { session_id: session.clone(), title: title.clone() };
    app.sessions
        .with(&session, Open::Existing, move |session| {
            // Whoever names the wish waits for its echo, and may ask again when somebody else has
            // given another title since.
            let granted = session.ledger().granted(Wish::Setting, txid.as_deref(), &title)?;
            let is_new = match &txid {
                Some(_) => granted.is_none(),
                None => session.ledger().title() != Some(&title),
            };
            if is_new {
                session.rename(&title, &actor, txid.as_deref());
            }
            Ok(())
        })
        .await?;
    Ok(Json(answer))
}

/// Deletes a session: its stream, its agents, everything.
#[utoipa::path(delete, path = "/v1/sessions/{session}", responses((status = 204)))]
pub(super) async fn remove(
    State(app): State<App>,
    SessionId(session): SessionId,
) -> Result<Response, Problem> {
    app.sessions.delete(&session).await?;
    Ok(no_content())
}
