//! Agents that run as programs of this computer: what is chosen of them, where they work, and which there are.

use std::path::PathBuf;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::request::Parts,
    response::Response,
};
use session_protocol::api::{
    AskForWork, BRIDGE, BridgeOutput, BridgeWork, ChooseFolder, KnownAgents, LocalAgent,
    LocalAgents, ProblemCode, PutLocalAgent, RecentFolders, SessionFolder, SetAgentOption,
    TokenRole, path,
};

use super::{App, Body, Param, SessionId, agents::AgentId, no_content, uuid};
use crate::{
    access::{Acting, Caller},
    agent::known_agents,
    config::AcpAgent,
    names::is_id,
    problem::Problem,
    session::{Choice, Input, Session},
    sessions::Open,
};

/// Variables of one program, and bytes of all of them.
const ENVIRONMENT: (usize, usize) = (64, 32 << 10);
/// Bytes of a command.
const COMMAND: usize = 4096;

/// The name of a program in the path.
pub(super) struct Name(String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Param(name) = Param::read(parts, state, "name", is_id).await?;
        Ok(Self(name))
    }
}

/// Chooses something of an agent: its mode, its model.
#[utoipa::path(post, path = path::AGENT_OPTIONS, request_body = SetAgentOption, responses((status = 204)))]
pub(super) async fn set_option(
    State(app): State<App>,
    SessionId(session): SessionId,
    AgentId(agent): AgentId,
    acting: Acting,
    Body(body): Body<SetAgentOption>,
) -> Result<Response, Problem> {
    let txid = uuid("txid", body.txid)?;
    let choice = Choice {
        agent_id: agent.clone(),
        option_id: body.option_id,
        value: body.value,
        txid,
        decides: acting.caller.has(TokenRole::Approve),
        owns: matches!(acting.caller, Caller::Owner),
    };
    app.sessions.apply(&session, Open::Existing, Input::Choose(choice)).await?;
    // An agent that rests hears of it now; who asked does not wait for that.
    let sessions = app.sessions.clone();
    app.sessions.shared().tasks.spawn(async move {
        let face = sessions.shared().agents.local().settle(&session, &agent).await;
        if let Some(face) = face {
            let shown = Input::Face { agent_id: agent, face };
            sessions.apply(&session, Open::Existing, shown).await.ok(); // its next run says it again
        }
    });
    Ok(no_content())
}

/// Gives a bridge what its agent has to do, as soon as there is something.
#[utoipa::path(post, path = path::BRIDGE_WORK, request_body = AskForWork, responses((status = 200, body = BridgeWork)))]
pub(super) async fn work(
    State(app): State<App>,
    SessionId(session): SessionId,
    AgentId(agent): AgentId,
    Body(body): Body<AskForWork>,
) -> Result<Json<BridgeWork>, Problem> {
    let id = agent.clone();
    let is_bridged = move |session: &Session| {
        let row = session.book().agent(&id).and_then(|row| row.get("endpoint")?.as_str());
        match row.is_some_and(|endpoint| endpoint.starts_with(BRIDGE)) {
            true => Ok(()),
            false => Err(Problem::not_found(ProblemCode::NotFound, "Not found")
                .details("the session has no agent of this id that a bridge runs")),
        }
    };
    app.sessions.with(&session, Open::Existing, is_bridged).await?;
    let bridges = app.sessions.shared().agents.bridges();
    let work = bridges.work(&session, &agent, &body.bridge, body.after);
    tokio::select! {
        () = app.sessions.shared().shutdown_runs.cancelled() => Err(Problem::shutting_down()),
        work = work => work.map(Json),
    }
}

/// Takes what an agent says that a bridge runs. It is answered when its run has taken it.
#[utoipa::path(post, path = path::BRIDGE_OUTPUT, request_body = BridgeOutput, responses((status = 204)))]
pub(super) async fn output(
    State(app): State<App>,
    SessionId(session): SessionId,
    AgentId(agent): AgentId,
    Body(body): Body<BridgeOutput>,
) -> Result<Response, Problem> {
    app.sessions.shared().agents.bridges().output(&session, &agent, body).await?;
    Ok(no_content())
}

/// The folder that the local agents of a session work in.
#[utoipa::path(get, path = path::FOLDER, responses((status = 200, body = SessionFolder)))]
pub(super) async fn folder(
    State(app): State<App>,
    SessionId(session): SessionId,
) -> Result<Json<SessionFolder>, Problem> {
    let (folder, fixed) = app.sessions.shared().agents.local().folder(&session).await;
    let folder = folder.map(|folder| folder.to_string_lossy().into_owned());
    Ok(Json(SessionFolder { folder, fixed }))
}

/// A folder of this computer that is there.
fn existing(folder: &str) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(folder);
    if !path.is_absolute() {
        return Err(Problem::bad_request("folder: expected an absolute path"));
    }
    match path.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        _ => Err(Problem::bad_request("folder: there is no such folder; choose one that exists")),
    }
}

/// Chooses the folder that the local agents of a session work in.
#[utoipa::path(put, path = path::FOLDER, request_body = ChooseFolder, responses((status = 200, body = SessionFolder)))]
pub(super) async fn choose_folder(
    State(app): State<App>,
    SessionId(session): SessionId,
    Body(body): Body<ChooseFolder>,
) -> Result<Json<SessionFolder>, Problem> {
    let folder = existing(&body.folder)?;
    let local = app.sessions.shared().agents.local();
    if !local.choose_folder(&session, &folder).await? {
        return Err(Problem::conflict(
            ProblemCode::FolderFixed,
            "An agent of this session works in another folder already; begin a new session for this one",
        ));
    }
    let (_, fixed) = local.folder(&session).await;
    Ok(Json(SessionFolder { folder: Some(folder.to_string_lossy().into_owned()), fixed }))
}

/// Folders that were chosen lately.
#[utoipa::path(get, path = path::FOLDERS, responses((status = 200, body = RecentFolders)))]
pub(super) async fn folders(State(app): State<App>) -> Json<RecentFolders> {
    Json(RecentFolders { folders: app.sessions.shared().agents.local().recent_folders().await })
}

/// The agents that run as programs of the server's computer.
#[utoipa::path(get, path = path::LOCAL_AGENTS, responses((status = 200, body = LocalAgents)))]
pub(super) async fn list(State(app): State<App>) -> Json<LocalAgents> {
    let all = app.sessions.shared().agents.local().list().await;
    let agents = all.into_iter().map(|(agent, fixed, running)| LocalAgent {
        program: agent.program.to_string_lossy().into_owned(),
        variables: agent
            .environment
            .iter()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect(),
        name: agent.name,
        fixed,
        running,
    });
    Json(LocalAgents { agents: agents.collect() })
}

/// Adds a program to the agents, or replaces it.
#[utoipa::path(put, path = path::LOCAL_AGENT, request_body = PutLocalAgent, responses((status = 204)))]
pub(super) async fn put(
    State(app): State<App>,
    Name(name): Name,
    Body(body): Body<PutLocalAgent>,
) -> Result<Response, Problem> {
    let local = app.sessions.shared().agents.local();
    changeable(local.is_fixed(&name))?;
    if body.command.len() > COMMAND {
        return Err(Problem::bad_request(format!("command: expected at most {COMMAND} bytes")));
    }
    let agent = AcpAgent::parse(&format!("{name}={}", body.command))
        .map_err(|error| Problem::bad_request(format!("command: {error}")))?;
    let folder = body.folder.as_deref().map(existing).transpose()?;
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let written =
        agent.environment.into_iter().map(|(name, value)| (text(name), Some(text(value))));
    let environment: Vec<_> = written.chain(body.environment).collect();
    let size = |(name, value): &(String, Option<String>)| {
        name.len() + value.as_ref().map_or(0, String::len)
    };
    let is_name = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    let is_value =
        |value: &Option<String>| value.as_ref().is_none_or(|value| !value.contains('\0'));
    if environment.len() > ENVIRONMENT.0
        || environment.iter().map(size).sum::<usize>() > ENVIRONMENT.1
        || !environment.iter().all(|(name, value)| is_name(name) && is_value(value))
    {
        return Err(Problem::bad_request(
            "environment: expected at most 64 variables of 32 KiB in all",
        ));
    }
    let command = std::iter::once(agent.program).chain(agent.arguments).map(text).collect();
    local.add(&name, command, environment, folder).await?;
    Ok(no_content())
}

/// Takes a program away from the agents.
#[utoipa::path(delete, path = path::LOCAL_AGENT, responses((status = 204)))]
pub(super) async fn remove(State(app): State<App>, Name(name): Name) -> Result<Response, Problem> {
    let local = app.sessions.shared().agents.local();
    changeable(local.is_fixed(&name))?;
    local.remove(&name).await?;
    Ok(no_content())
}

fn changeable(is_fixed: bool) -> Result<(), Problem> {
    match is_fixed {
        true => Err(Problem::conflict(
            ProblemCode::AgentExists,
            "The server was started with an agent of this name; change it there, or choose another name",
        )),
        false => Ok(()),
    }
}

/// The agents that Threadkeep knows, and which of them are installed.
#[utoipa::path(get, path = path::KNOWN_AGENTS, responses((status = 200, body = KnownAgents)))]
pub(super) async fn known() -> Json<KnownAgents> {
    Json(known_agents().await)
}
