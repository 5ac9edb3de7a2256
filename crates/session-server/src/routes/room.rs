//! Presence, clearing a session, forking it, and chunks of agents that run elsewhere.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::Number;
use session_protocol::{
    PresenceStatus, Role,
    api::{
        ChunksWritten, FinishGeneration, ForkSession, GenerationFinished, LogIn, LogOut, LoggedIn,
        LoggedOut, ResetSession, SessionForked, SessionReset, TokenRole, WriteChunk, WriteChunks,
        path,
    },
    authority::is_peoples,
};
use uuid::Uuid;

use super::{App, Body, SessionId, agents, uuid};
use crate::{
    access::{self, Acting},
    budget::Owner,
    forking,
    names::{MAX_ID, is_label, is_name},
    problem::{Problem, ProblemCode},
    session::{Called, Found, Input, Origin, RawChunk},
    sessions::Open,
    streams::stream_name,
};

/// Chunks of one batch.
const MAX_BATCH: usize = 4096;

/// The id of a fork: as wished, else the same for the same `txid`, else a new one.
fn new_id(body: &ForkSession, session: &str) -> Result<String, Problem> {
    let txid = uuid("txid", body.txid.clone())?;
    let wished = uuid("newSessionId", body.new_session_id.clone())?;
    let of_txid = txid.map(|txid| {
        let hash = blake3::hash(format!("{session}\0{txid}").as_bytes());
        let (bytes, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Uuid::new_v8(*bytes).to_string()
    });
    Ok(wished.or(of_txid).unwrap_or_else(|| Uuid::new_v4().to_string()))
}

fn id(field: &'static str, value: &str) -> Result<(), Problem> {
    if !is_name(value) {
        return Err(Problem::bad_request(format!(
            "{field}: expected 1 to {MAX_ID} bytes and no control characters"
        )));
    }
    Ok(())
}

/// A presence row's key is `actor:device`, and readers split it at the last colon.
fn device(value: &str) -> Result<(), Problem> {
    id("deviceId", value)?;
    if value.contains(':') {
        return Err(Problem::bad_request("deviceId: expected no colon"));
    }
    Ok(())
}

/// Says that somebody is here with a device, or still is.
#[utoipa::path(post, path = path::LOGIN, request_body = LogIn, responses((status = 200, body = LoggedIn)))]
pub(super) async fn login(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<LogIn>,
) -> Result<Json<LoggedIn>, Problem> {
    let actor_id = acting.actor(Some(body.actor_id))?;
    device(&body.device_id)?;
    let most = app.limits.name_bytes;
    if body.name.as_ref().is_some_and(|name| name.len() > most || !is_label(name)) {
        return Err(Problem::bad_request(format!(
            "name: expected at most {most} bytes and no invisible character"
        )));
    }
    let token = acting.token_name().map(str::to_owned);
    let beat = body.heartbeat_seconds.as_ref().and_then(Number::as_f64);
    if beat.is_some_and(|beat| !(0.1..=3600.0).contains(&beat)) {
        return Err(Problem::bad_request("heartbeatSeconds: expected 0.1 to 3600"));
    }
    let agents = agents::checked(&app, &session, &acting.caller, body.default_agents).await?;
    let manages = acting.caller.has(TokenRole::Manage);
    let answer = LoggedIn {
        success: true,
        actor_id: actor_id.clone(),
        device_id: body.device_id.clone(),
        status: PresenceStatus::Online,
    };
    // A heartbeat that comes late must not make a deleted session again.
    let open = if body.heartbeat_seconds.is_some() { Open::Existing } else { Open::New };
    let called = match token {
        None => Called { name: body.name, claimed: None },
        token => {
            let claimed = body.name.filter(|claimed| token.as_ref() != Some(claimed));
            Called { name: token, claimed }
        }
    };
    let (device_id, heartbeat) = (body.device_id, body.heartbeat_seconds);
    let log_in = Input::LogIn { actor_id, device_id, called, heartbeat, agents, manages };
    app.sessions.apply(&session, open, log_in).await?;
    Ok(Json(answer))
}

/// Says that somebody left with a device, or with all of them.
#[utoipa::path(post, path = path::LOGOUT, request_body(content((LogOut = "application/json"), (String = "text/plain"))), responses((status = 200, body = LoggedOut)))]
pub(super) async fn logout(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<LogOut>,
) -> Result<Json<LoggedOut>, Problem> {
    let actor_id = acting.actor(Some(body.actor_id))?;
    let device = match (&body.device_id, body.all_devices) {
        (_, true) => None,
        (Some(device), false) => {
            self::device(device)?;
            Some(device.clone())
        }
        (None, false) => return Err(Problem::bad_request("deviceId or allDevices is needed")),
    };
    let log_out = Input::LogOut { actor_id: actor_id.clone(), device_id: device };
    let reply = app.sessions.apply(&session, Open::Existing, log_out).await?;
    Ok(Json(LoggedOut {
        success: true,
        actor_id,
        device_id: body.device_id,
        status: PresenceStatus::Offline,
        devices_logged_out: reply.devices,
    }))
}

/// Clears the conversation; agents stay.
#[utoipa::path(post, path = path::RESET, request_body = Option<ResetSession>, responses((status = 200, body = SessionReset)))]
pub(super) async fn reset(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<ResetSession>,
) -> Result<Json<SessionReset>, Problem> {
    let actor = acting.actor(body.actor_id)?;
    // What was there when it began, a part at a time.
    let mut until = None;
    loop {
        let clear = Input::Clear { until, presence: body.clear_presence, actor_id: actor.clone() };
        until = app.sessions.apply(&session, Open::Existing, clear).await?.left;
        if until.is_none() {
            break;
        }
    }
    Ok(Json(SessionReset {
        success: true,
        session_id: session,
        message: "Session reset".to_owned(),
    }))
}

/// A new session with the history up to and including a message.
#[utoipa::path(post, path = path::FORK, request_body = Option<ForkSession>, responses((status = 201, body = SessionForked)))]
pub(super) async fn fork(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<ForkSession>,
) -> Result<(axum::http::StatusCode, Json<SessionForked>), Problem> {
    let new = new_id(&body, &session)?;
    let actor_id = acting.actor(body.actor_id)?;
    if new == session {
        return Err(Problem::bad_request("newSessionId is the session itself"));
    }
    if !acting.caller.may_use(&new) {
        return Err(
            access::other_session().details("newSessionId must be one of the token's sessions")
        );
    }
    let shared = app.sessions.shared();
    let streams = &*shared.streams;
    let _turn = shared.making.turn(&new).await;
    let _hold = shared.budget.take(&Owner::Session(session.clone()), forking::HELD).await;
    // Everything written so far is in the stream when this is answered.
    let company =
        app.sessions.with(&session, Open::Existing, |session| Ok(session.company())).await?;
    let (source, target) = (stream_name(&session), stream_name(&new));
    let cut = forking::survey(streams, &source).await?.cut(body.at_message_id.as_deref())?;
    let origin = Origin { session_id: session.clone(), message_id: body.at_message_id, actor_id };
    // What is asked of it before is in its stream then.
    app.sessions.settled(&new).await;
    let known = app.sessions.index(&new).await?;
    let known = known.map(|book| Found::of(&book, &new, &origin, &shared.instance));
    let exists = || Problem::conflict(ProblemCode::SessionExists, "The new session exists already");
    if !known.as_ref().is_some_and(|found| found.done) {
        // What somebody made of a session is taken from it, so only by who may.
        if known.as_ref().is_some_and(|found| found.unspoken.is_some() && !found.untouched)
            && !acting.caller.has(TokenRole::Manage)
        {
            return Err(exists());
        }
        let unspoken = known.as_ref().and_then(|found| found.unspoken);
        let mut made = false;
        let fill = async {
            let mut from = Some(0); // a session without messages takes a copy as if it were empty
            if known.is_none() && streams.fork(&target, &source, cut.branch as u64).await? {
                made = true;
                from = Some(cut.branch);
            } else if unspoken.is_none() {
                made = streams.create(&target).await?;
                from = forking::resume(streams, &source, &target, &cut).await?;
            }
            let from = from.ok_or_else(exists)?;
            let copied = forking::copy(streams, &source, &target, &cut, from).await?;
            if let Some(items) = unspoken
                && !streams.is_at(&target, items + copied).await?
            {
                return Err(exists()); // it was used meanwhile
            }
            Ok(())
        };
        let filled: Result<(), Problem> = fill.await;
        app.sessions.refresh(&new);
        if let Err(problem) = filled {
            if made {
                streams.delete(&target).await.ok(); // half a fork is in the way
            }
            return Err(problem);
        }
    }
    app.sessions.apply(&new, Open::Create, Input::Adopt { company, origin }).await?;
    let answer = Json(SessionForked { session_id: new, offset: "-1".to_owned() });
    Ok((axum::http::StatusCode::CREATED, answer))
}

fn raw(acting: &Acting, chunk: WriteChunk) -> Result<RawChunk, Problem> {
    #[derive(Deserialize)]
    struct Kind {
        r#type: String,
    }
    id("messageId", &chunk.message_id)?;
    let text = chunk.chunk.get();
    // An array would be read as the fields in their order.
    let kind = serde_json::from_str(text).ok().filter(|_| text.starts_with('{'));
    let Some(Kind { r#type: kind }) = kind else {
        return Err(Problem::bad_request("chunk: expected an object with a type"));
    };
    let role = chunk.role.unwrap_or(Role::Assistant);
    if role == Role::Assistant && is_peoples(&kind) {
        let details = "chunk: only people say this; use its route, or role user";
        return Err(Problem::bad_request(details));
    }
    Ok(RawChunk {
        message_id: chunk.message_id,
        actor_id: acting.actor(Some(chunk.actor_id))?,
        role,
        chunk: text.to_owned(),
        kind,
        txid: uuid("txid", chunk.txid)?,
    })
}

async fn write(
    app: &App,
    session: &str,
    chunks: Vec<RawChunk>,
) -> Result<Json<ChunksWritten>, Problem> {
    let count = chunks.len();
    app.sessions.apply(session, Open::Existing, Input::Write(chunks)).await?;
    Ok(Json(ChunksWritten { ok: true, count }))
}

/// Writes a chunk of an agent that runs elsewhere.
#[utoipa::path(post, path = path::CHUNKS, request_body = WriteChunk, responses((status = 200, body = ChunksWritten)))]
pub(super) async fn chunk(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<WriteChunk>,
) -> Result<Json<ChunksWritten>, Problem> {
    write(&app, &session, vec![raw(&acting, body)?]).await
}

/// Writes chunks of one message at once.
#[utoipa::path(post, path = path::CHUNK_BATCH, request_body = WriteChunks, responses((status = 200, body = ChunksWritten)))]
pub(super) async fn chunks(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<WriteChunks>,
) -> Result<Json<ChunksWritten>, Problem> {
    let chunks =
        body.chunks.into_iter().map(|chunk| raw(&acting, chunk)).collect::<Result<Vec<_>, _>>()?;
    let one = chunks.windows(2).all(|pair| pair[0].message_id == pair[1].message_id);
    if chunks.is_empty() || chunks.len() > MAX_BATCH || !one {
        return Err(Problem::bad_request(format!(
            "chunks: expected 1 to {MAX_BATCH} chunks of one message"
        )));
    }
    write(&app, &session, chunks).await
}

/// Waits until everything is written. Chunks are in the stream when they are answered, so there is nothing to flush.
#[utoipa::path(post, path = path::FINISH, request_body = Option<FinishGeneration>, responses((status = 200, body = GenerationFinished)))]
pub(super) async fn finish(
    State(app): State<App>,
    SessionId(session): SessionId,
    Body(_): Body<FinishGeneration>,
) -> Result<Json<GenerationFinished>, Problem> {
    app.sessions.recover(&session).await?;
    Ok(Json(GenerationFinished { ok: true }))
}
