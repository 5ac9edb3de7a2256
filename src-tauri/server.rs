//! Which session server the engine speaks to: the one in this process, or one that was joined.

use crate::keychain::{self, KeychainError, Name};
use crate::settings::SettingsFile;
use crate::state::Host;
use session_core::{Endpoint, NoToken, TokenProvider};
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
    /// Made up at every start and kept in memory only: no other program on this computer can use
    /// the embedded server.
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

    /// Stops the server when it runs; what it wrote is on disk.
    pub(crate) async fn stop(&self) {
        if let Some(server) = self.running.lock().await.take() {
            server.shutdown().await;
        }
    }
}

/// Points the engine at the server that the settings name. May be called again at any time.
pub(crate) async fn connect(host: &Host) {
    let settings = host.settings.load();
    let endpoint = match settings.server_url.filter(|url| !url.is_empty()) {
        None => match host.server.endpoint(&host.settings).await {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                host.notice("server-not-started", error.to_string());
                None
            }
        },
        Some(url) => match Url::parse(&url) {
            Ok(base_url) => Some(Endpoint { base_url, token: joined_token(host).await }),
            Err(_) => {
                host.notice(
                    "bad-url",
                    "The server address in the settings is not a web address. Open Settings and \
                     write it like http://127.0.0.1:4000.",
                );
                None
            }
        },
    };
    if let Err(error) = host.engine.connect(endpoint) {
        host.notice(error.code(), error.to_string());
    }
}

/// The token of the server that was joined; read once, because the keychain may ask the person.
async fn joined_token(host: &Host) -> Arc<dyn TokenProvider> {
    match keychain::read(Name::ServerToken).await {
        Ok(Some(token)) => {
            let token = session_core::Secret::new(token);
            Arc::new(move || Some(token.clone()))
        }
        // Without a keychain there can be no token, and a server may need none.
        Ok(None) | Err(KeychainError::Missing) => Arc::new(NoToken),
        Err(error @ KeychainError::Refused) => {
            host.notice(error.code(), error.to_string());
            Arc::new(NoToken)
        }
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
