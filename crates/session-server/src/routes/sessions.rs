//! Making, listing, renaming and deleting sessions.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use session_protocol::api::{
    CreateSession, ForkEntry, ForkPage, PageQuery, RenameSession, SessionEntry, SessionPage,
    SessionPlace, SessionRenamed, TokenRole, path,
};
use url::Url;

use super::{App, Body, SessionId, agents, no_content, uuid};
use crate::{
    access::Acting,
    problem::{Problem, ProblemCode},
    reading::MOUNT,
    session::Input,
    sessions::Open,
    store::{ForkRow, SessionRow},
    streams::stream_name,
};

const MAX_TITLE: usize = 512;
/// Rows of a page when nobody says how many, and at most.
const PAGE: usize = 500;
const MAX_PAGE: usize = 1_000;

type Asked = Result<Query<PageQuery>, QueryRejection>;

/// Number of rows, and the parts of the cursor.
fn page(query: Asked) -> Result<(usize, Option<Vec<String>>), Problem> {
    let limit = || {
        Problem::bad_request(format!("limit: expected 1 to {MAX_PAGE}"))
            .titled(ProblemCode::InvalidRequest, "Invalid query")
    };
    let Query(page) = query.map_err(|_| limit())?;
    let rows = page.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&rows) {
        return Err(limit());
    }
    let parts = page.cursor.map(|cursor| {
        let text =
            URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|text| String::from_utf8(text).ok());
        let parts = text.map(|text| text.split('\0').map(str::to_owned).collect::<Vec<_>>());
        parts.ok_or_else(wrong_cursor)
    });
    Ok((rows, parts.transpose()?))
}

fn wrong_cursor() -> Problem {
    Problem::bad_request("cursor: expected `next` of the page before")
        .titled(ProblemCode::InvalidRequest, "Invalid query")
}

impl From<SessionRow> for SessionEntry {
    fn from(row: SessionRow) -> Self {
        let SessionRow { session_id, title, created_at, last_activity_at, forked_from } = row;
        Self { session_id, title, created_at, last_activity_at, forked_from }
    }
}

impl From<ForkRow> for ForkEntry {
    fn from(row: ForkRow) -> Self {
        let ForkRow { session_id, message_id, number: _ } = row;
        Self { session_id, message_id }
    }
}

fn cursor(parts: &[&str]) -> String {
    URL_SAFE_NO_PAD.encode(parts.join("\0"))
}

fn place(session_id: &str) -> Json<SessionPlace> {
    // As it stands in a URL: an id may hold what a path may not.
    let mut url = Url::parse("http://localhost").expect("it is a URL");
    url.set_path(MOUNT);
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(stream_name(session_id).split('/'));
    }
    let stream_url = url.path().to_owned();
    Json(SessionPlace { session_id: session_id.to_owned(), stream_url })
}

fn title(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_TITLE {
        return Err(Problem::bad_request(format!("title: expected 1 to {MAX_TITLE} bytes")));
    }
    Ok(text.to_owned())
}

/// The sessions that the token may see, newest activity first, by the page. One that is used while the pages are read
/// moves to the front: whoever wants all reads the first page again.
#[utoipa::path(
    get,
    path = path::SESSIONS,
    params(PageQuery),
    responses((status = 200, body = SessionPage))
)]
pub(super) async fn list(
    State(app): State<App>,
    acting: Acting,
    asked: Asked,
) -> Result<Json<SessionPage>, Problem> {
    let (limit, after) = page(asked)?;
    let after = after.map(|parts| <[String; 2]>::try_from(parts).map(|[at, id]| (at, id)));
    let after = after.transpose().map_err(|_| wrong_cursor())?;
    let only = acting.caller.only().map(<[String]>::to_vec);
    let mut sessions = app.sessions.shared().store.sessions(only, after, limit + 1).await?;
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    let next = sessions.last().filter(|_| more).map(|row| {
        let (at, id) = row.place();
        cursor(&[&at, &id])
    });
    sessions.retain(|row| !app.sessions.is_deleted(&row.session_id));
    for row in &mut sessions {
        row.forked_from.take_if(|from| !acting.caller.may_use(&from.session_id));
    }
    let sessions = sessions.into_iter().map(SessionEntry::from).collect();
    Ok(Json(SessionPage { sessions, next }))
}

/// The forks of a session that the token may see, the oldest first, by the page.
#[utoipa::path(
    get,
    path = path::FORKS,
    params(PageQuery),
    responses((status = 200, body = ForkPage))
)]
pub(super) async fn forks(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    asked: Asked,
) -> Result<Json<ForkPage>, Problem> {
    let (limit, after) = page(asked)?;
    let after = match after.as_deref() {
        None => 0,
        Some([number]) => number.parse().map_err(|_| wrong_cursor())?,
        Some(_) => return Err(wrong_cursor()),
    };
    let only = acting.caller.only().map(<[String]>::to_vec);
    let mut forks = app.sessions.shared().store.forks(&session, only, after, limit + 1).await?;
    let more = forks.len() > limit;
    forks.truncate(limit);
    let next = forks.last().filter(|_| more).map(|row| cursor(&[&row.number.to_string()]));
    let forks = forks.into_iter().map(ForkEntry::from).collect();
    Ok(Json(ForkPage { forks, next }))
}

/// Makes a session, or names it and its agents when it is there.
#[utoipa::path(put, path = path::SESSION, request_body = Option<CreateSession>, responses((status = 200, body = SessionPlace)))]
pub(super) async fn create(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<CreateSession>,
) -> Result<Json<SessionPlace>, Problem> {
    let actor = acting.actor(None)?;
    let title = body.title.as_deref().map(title).transpose()?;
    let agents = agents::checked(&app, &session, &acting.caller, body.agents).await?;
    let manages = acting.caller.has(TokenRole::Manage);
    let create = Input::Create { agents, manages, title, actor_id: actor };
    app.sessions.apply(&session, Open::Create, create).await?;
    Ok(place(&session))
}

/// Where the session's stream is.
#[utoipa::path(get, path = path::SESSION, responses((status = 200, body = SessionPlace)))]
pub(super) async fn show(
    State(app): State<App>,
    SessionId(session): SessionId,
) -> Result<Json<SessionPlace>, Problem> {
    if app.sessions.shared().streams.exists(&stream_name(&session)).await? {
        Ok(place(&session))
    } else {
        Err(Problem::session_not_found())
    }
}

/// Gives a session a title.
#[utoipa::path(patch, path = path::SESSION, request_body = RenameSession, responses((status = 200, body = SessionRenamed)))]
pub(super) async fn rename(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<RenameSession>,
) -> Result<Json<SessionRenamed>, Problem> {
    let actor = acting.actor(body.actor_id)?;
    let title = title(&body.title)?;
    let txid = uuid("txid", body.txid)?;
    let answer = SessionRenamed { session_id: session.clone(), title: title.clone() };
    let rename = Input::Rename { title, actor_id: actor, txid };
    app.sessions.apply(&session, Open::Existing, rename).await?;
    Ok(Json(answer))
}

/// Deletes a session: its stream, its agents, everything.
#[utoipa::path(delete, path = path::SESSION, responses((status = 204)))]
pub(super) async fn remove(
    State(app): State<App>,
    SessionId(session): SessionId,
) -> Result<Response, Problem> {
    app.sessions.delete(&session).await?;
    Ok(no_content())
}
