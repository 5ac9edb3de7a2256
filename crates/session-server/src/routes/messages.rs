//! Saying something, and stopping those who answer.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use session_protocol::{
    FilePart, Message, Role,
    api::{Done, MessageSent, Regenerate, SendMessage, SendMode, Stop, TokenRole, path},
};

use super::{App, Body, SessionId, agents, no_content, uuid};
use crate::{
    access::Acting,
    history::{self, Unread, Wanted},
    problem::{Problem, ProblemCode},
    session::{Input, NewMessage, Refusal},
    sessions::Open,
};

/// Time that a request waits for room to read a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says something. Repeating it with the same messageId or txid changes nothing.
#[utoipa::path(post, path = path::MESSAGES, request_body = SendMessage, responses((status = 200, body = MessageSent)))]
pub(super) async fn send(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    headers: HeaderMap,
    Body(body): Body<SendMessage>,
) -> Result<Json<MessageSent>, Problem> {
    // RFC 9110 §13.1.1: `If-Match: *` is only for what exists. Upstream's clients make a session by writing to it.
    let exists = headers.get(header::IF_MATCH).is_some_and(|value| value.as_bytes() == b"*");
    let open = if exists { Open::Existing } else { Open::New };
    let role = body.role.unwrap_or(Role::User);
    if role != Role::User {
        // L15: agents take it for their instructions or for words of their own.
        acting.caller.require(TokenRole::Manage)?;
    }
    let new = NewMessage {
        message_id: uuid("messageId", body.message_id)?,
        content: body.content,
        files: attached(body.files)?,
        role,
        actor_id: acting.actor(body.actor_id)?,
        agent: agents::checked(&app, &session, &acting.caller, body.agent.into_iter().collect())
            .await?
            .pop(),
        manages: acting.caller.has(TokenRole::Manage),
        txid: uuid("txid", body.txid)?,
        mode: body.mode,
    };
    let reply = app.sessions.apply(&session, open, Input::Send(new)).await?;
    Ok(Json(MessageSent { message_id: reply.message_id }))
}

/// Upstream answers when the whole generation is over; ours when it is sure to happen.
#[utoipa::path(post, path = path::REGENERATE, request_body = Regenerate, responses((status = 200, body = Done)))]
pub(super) async fn regenerate(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<Regenerate>,
) -> Result<Json<Done>, Problem> {
    let actor_id = acting.actor(body.actor_id)?;
    let (txid, message_id) = (uuid("txid", body.txid)?, uuid("messageId", body.message_id)?);
    let input = match (body.content, body.from_message_id) {
        (Some(content), instead_of) => {
            let new = NewMessage {
                message_id,
                content,
                files: Vec::new(),
                role: Role::User,
                actor_id,
                agent: None,
                manages: false,
                txid,
                mode: SendMode::Queue,
            };
            Input::SendAnew { instead_of, new }
        }
        (None, Some(message_id)) => {
            let text = text_of(&app, &session, &message_id).await?;
            let text = text.ok_or(Refusal::MessageNotFound)?;
            Input::AnswerAgain { message_id, text, actor_id, txid }
        }
        (None, None) => return Err(Problem::bad_request("content or fromMessageId is needed")),
    };
    app.sessions.apply(&session, Open::Existing, input).await?;
    Ok(Json(Done::DONE))
}

/// Files of a message, and the bytes of one as its URL has them: base64 takes 4 letters for 3 bytes.
const MAX_FILES: usize = 8;
const MAX_URL: usize = (256 << 10) * 4 / 3 + 256;

/// The files of a message: bounded, and with their bytes in them. An address would be fetched by whoever reads it.
fn attached(files: Vec<FilePart>) -> Result<Vec<FilePart>, Problem> {
    if files.len() > MAX_FILES {
        return Err(Problem::bad_request("A message has at most 8 files"));
    }
    if files.iter().any(|file| file.url.len() > MAX_URL) {
        return Err(Problem::bad_request("A file has at most 256 KB"));
    }
    if files.iter().any(|file| !file.url.starts_with("data:")) {
        return Err(Problem::bad_request("A file is sent as a data: URL"));
    }
    Ok(files)
}

/// The text of a message. Nothing else of the session is kept in memory.
async fn text_of(app: &App, session: &str, message: &str) -> Result<Option<String>, Problem> {
    let wanted = Wanted::Message(message.to_owned());
    let source = app.sessions.shared().histories();
    let history = history::load(&source, session, &wanted);
    let history = tokio::time::timeout(PATIENCE, history).await.map_err(|_| Problem::busy())?;
    match history {
        Ok(history) => Ok(history.message(message).map(Message::plain_text)),
        Err(Unread::Stream(error)) => Err(error.into()),
        Err(Unread::TooLong) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            ProblemCode::MessageTooLarge,
            "The message is longer than an agent can be given; write it anew",
        )),
    }
}

/// Stops the run that writes a message. Without one: the runs that the actor began, or, where there are none, every run
/// of the session.
#[utoipa::path(post, path = path::STOP, request_body = Option<Stop>, responses((status = 204)))]
pub(super) async fn stop(
    State(app): State<App>,
    SessionId(session): SessionId,
    acting: Acting,
    Body(body): Body<Stop>,
) -> Result<Response, Problem> {
    let actor = acting.actor(body.actor_id)?;
    let stop = Input::Stop { message_id: body.message_id, actor_id: actor };
    match app.sessions.apply(&session, Open::Existing, stop).await {
        // Nothing runs in a session that does not exist.
        Ok(_) => Ok(no_content()),
        Err(problem) if problem == Problem::session_not_found() => Ok(no_content()),
        Err(problem) => Err(problem),
    }
}
