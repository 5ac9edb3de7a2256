//! The session servers the engine speaks to: the one of this computer, and those that were joined.
//!
//! The server of this computer runs in a process of its own, which outlives the app (`host-link`).
//! The app attaches to it, and again whenever it is gone.

use crate::keychain::{self, KeychainError, Name};
use crate::settings::SettingsFile;
use crate::state::Host;
use host_link::Attached;
use session_core::{
    Endpoint, Inherit, Inherited, NoToken, THIS_COMPUTER, TokenProvider, address_of,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tauri::Url;

/// Shortest life of a host process that is started again at once.
const HEALTHY: Duration = Duration::from_secs(10);
/// Longest wait before it is tried again.
const LONGEST: Duration = Duration::from_secs(30);

/// Stays attached to the process that runs the server of this computer, for as long as the app
/// runs.
pub(crate) async fn stay_attached(host: Arc<Host>) {
    let mut failures = 0_u32;
    let mut told = None;
    while !host.here.has_ended() {
        let since = Instant::now();
        match host.here.attached().await {
            Ok(attached) => {
                told = None;
                connect_here(&host, &attached);
                attached.ended().await;
                tracing::info!("the process that runs the agents is gone");
                failures = if since.elapsed() > HEALTHY { 0 } else { failures + 1 };
                if failures < 2 {
                    continue;
                }
            }
            Err(error) => {
                failures += 1;
                // The same again is no news.
                if told != Some(error.to_string()) {
                    told = Some(error.to_string());
                    host.notice(error.code(), error.to_string());
                }
            }
        }
        let wait = Duration::from_millis(100 << failures.min(10)).min(LONGEST);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = host.here.again() => {}
        }
    }
}

/// Tells the engine where the server of this computer is.
fn connect_here(host: &Host, attached: &Attached) {
    let endpoint = Endpoint {
        base_url: attached.server().clone(),
        token: provider(attached.server_token().to_owned()),
    };
    if let Err(error) = host.engine.connect(THIS_COMPUTER, Some(endpoint)) {
        host.notice(error.code(), error.to_string());
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
        // `stay_attached` says where that is.
        Some(None) => return host.here.retry(),
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
