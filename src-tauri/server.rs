//! The session servers the engine speaks to: the one in this process, and those that were joined.

use crate::keychain::{self, KeychainError, Name};
use crate::settings::SettingsFile;
use crate::state::Host;
use session_core::{Endpoint, Inherit, Inherited, NoToken, TokenProvider, address_of};
use session_server::{
    Auth, BoxFuture, ModelConfig, ModelSettings, RunningServer, ServerConfig, ServerError,
};
use std::path::PathBuf;
use std::sync::Arc;
use tauri::Url;
use tokio::sync::Mutex;

/// The session server inside the app: started when it is first needed, on a free loopback port.
pub(crate) struct Server {
    folder: PathBuf,
    /// The token of the embedded server. A new one is made at every start and kept in memory only:
    /// no other program on this computer can use the server.
    token: session_server::Secret,
    running: Mutex<Option<RunningServer>>,
}

impl Server {
    /// A server that will keep its streams in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        Self { folder, token: session_server::Secret::new(token), running: Mutex::new(None) }
    }

    /// The running server's base URL and token; starts it when it does not run.
    async fn endpoint(&self, settings: &SettingsFile) -> Result<Endpoint, ServerError> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            let mut config = ServerConfig::new(&self.folder);
            config.auth = Auth::Token(self.token.clone());
            // The person who types an agent's address owns this server, so it may be on this
            // computer or in the same network.
            config.allow_private_agents = true;
            config.agents.model = Some(Arc::new(Model { settings: settings.clone() }));
            *running = Some(session_server::start(config).await?);
        }
        let server = running.as_ref().expect("it was started above");
        let token = session_core::Secret::new(self.token.expose());
        Ok(Endpoint { base_url: server.base_url(), token: Arc::new(move || Some(token.clone())) })
    }

    /// Findings of the model agent about what the endpoint does not take, one sentence each.
    pub(crate) fn model_findings(&self, base_url: &Url, model: &str) -> Vec<&'static str> {
        session_server::model_findings(&self.folder, base_url, model)
    }

    /// Stops the server when it runs; what it wrote is on disk.
    pub(crate) async fn stop(&self) {
        if let Some(server) = self.running.lock().await.take() {
            server.shutdown().await;
        }
    }
}

/// Tells the engine where all servers are. May be called again at any time.
pub(crate) async fn connect_all(host: &Arc<Host>) {
    let servers = host.engine.servers().borrow().clone();
    let mut connecting = tokio::task::JoinSet::new();
    // Beside each other: the keychain may ask the person for one of them.
    for server in servers.iter().filter(|server| !server.forgotten).cloned() {
        let host = Arc::clone(host);
        connecting.spawn(async move { connect(&host, &server.id).await });
    }
    connecting.join_all().await;
}

/// Tells the engine where a server is, and by which token we are known to it.
pub(crate) async fn connect(host: &Host, id: &str) {
    let server = host.engine.servers().borrow().iter().find(|server| server.id == id).cloned();
    let endpoint = match server.map(|server| server.url) {
        None => return,
        Some(None) => match host.server.endpoint(&host.settings).await {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                host.notice("server-not-started", error.to_string());
                None
            }
        },
        // The engine keeps addresses that it has read.
        Some(Some(url)) => match Url::parse(&url) {
            Ok(base_url) => {
                let token = token_of(host, id, &url).await;
                Some(Endpoint { base_url, token })
            }
            Err(_) => None,
        },
    };
    if let Err(error) = host.engine.connect(id, endpoint) {
        host.notice(error.code(), error.to_string());
    }
}

/// The token by which we are known to a server. It is read once, because the keychain may ask the
/// person.
async fn token_of(host: &Host, id: &str, url: &str) -> Arc<dyn TokenProvider> {
    match keychain::read(Name::ServerToken(id.to_owned())).await {
        Ok(Some(token)) => provider(token),
        Ok(None) => match token_before(host, id, url).await {
            Some(token) => provider(token),
            None => Arc::new(NoToken),
        },
        // Without a keychain there can be no token, and a server may need none.
        Err(KeychainError::Missing) => Arc::new(NoToken),
        Err(error @ KeychainError::Refused) => {
            host.notice(error.code(), error.to_string());
            Arc::new(NoToken)
        }
    }
}

/// Sends this token.
pub(crate) fn provider(token: String) -> Arc<dyn TokenProvider> {
    let token = session_core::Secret::new(token);
    Arc::new(move || Some(token.clone()))
}

/// The token that an earlier version kept, taken over by the server it was for and no other (L16).
async fn token_before(host: &Host, id: &str, url: &str) -> Option<String> {
    let before = host.settings.server_before()?;
    if Url::parse(&before).map(|before| address_of(&before)).as_deref() != Ok(url) {
        return None;
    }
    let token = keychain::read(Name::TokenBefore).await.ok().flatten()?;
    let kept = keychain::write(Name::ServerToken(id.to_owned()), Some(token.clone())).await;
    if kept.is_ok() {
        // If this fails, it is there twice, in the same keychain.
        keychain::write(Name::TokenBefore, None).await.ok();
    }
    Some(token)
}

/// The servers to which the sessions of an old database belong: what the server in this computer
/// has to it, all others to the server that the settings name.
pub(crate) fn inherit(settings: &SettingsFile, folder: PathBuf) -> Inherit {
    let url = settings.server_before();
    Inherit::new(move || {
        match session_server::stored_sessions(&folder) {
            Ok(here) => Inherited { url: url.clone(), here },
            // Nothing is sent to anybody else.
            Err(error) => {
                tracing::error!(%error, "the sessions of this computer cannot be listed");
                Inherited::default()
            }
        }
    })
}

/// Joins the server that an earlier version used, where the database does not say so.
pub(crate) async fn join_before(host: &Host) {
    let Some(url) = host.settings.server_before().and_then(|url| Url::parse(&url).ok()) else {
        return;
    };
    if host.settings.last_server().is_some() {
        return; // done at an earlier start
    }
    // It may be there already.
    host.engine.join_server(&url, "").await.ok();
    let servers = host.engine.servers().borrow().clone();
    let url = address_of(&url);
    if let Some(server) = servers.iter().find(|server| server.url.as_ref() == Some(&url)) {
        host.settings.set_last_server(&server.id);
    }
}

/// The model agent's settings, read at the start of each run.
struct Model {
    settings: SettingsFile,
}

impl ModelSettings for Model {
    fn load(&self) -> BoxFuture<'_, Result<ModelConfig, String>> {
        Box::pin(async {
            let settings = self.settings.load();
            if settings.model_name.is_empty() {
                return Err(
                    "No model is set. Open Settings, enter the model's name, then try again."
                        .into(),
                );
            }
            let base_url = Url::parse(&settings.model_base_url).map_err(|_| {
                "The model address is not a web address. Open Settings and correct it.".to_owned()
            })?;
            // Without a keychain there is no key; a local model needs none, so go on.
            let key = keychain::read(Name::ModelKey).await.ok().flatten();
            let api_key = key.map(session_server::Secret::new);
            Ok(ModelConfig { base_url, model: settings.model_name, api_key })
        })
    }
}
