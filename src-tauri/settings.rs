//! Settings of the person, in one JSON file beside the app's data (`tauri-plugin-store`).
//!
//! Keys and tokens are not here but in the keychain; the page learns only whether there is one.

use crate::error::{CommandError, CommandResult};
use crate::keychain::{self, Name};
use crate::quiet::QuietHours;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tauri::{AppHandle, Wry};
use tauri_plugin_store::{Store, StoreBuilder};

/// Which agent a new session starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub(crate) enum DefaultAgent {
    /// The built-in demo: no key, no network.
    Demo,
    /// An OpenAI-compatible chat-completions endpoint.
    Model,
    /// A URL that answers with SSE chunks.
    Webhook,
}

/// The settings as the page sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "camelCase", default)]
#[ts(export)]
pub(crate) struct Settings {
    /// Base URL of the model endpoint, for example `http://127.0.0.1:11434/v1`.
    pub model_base_url: String,
    /// The model's name as the endpoint spells it.
    pub model_name: String,
    /// Whether a model key lies in the keychain. Read only: `set_model_key` changes it.
    pub has_model_key: bool,
    /// Which agent a new session starts with.
    pub default_agent: DefaultAgent,
    /// The webhook agent's URL; empty when there is none.
    pub webhook_url: String,
    /// The name that others see.
    pub user_name: String,
    /// Whether a waiting approval raises a notification of the system.
    pub notifications: bool,
    /// Whether an answer that ended, or failed, raises one too.
    pub notify_ends: bool,
    /// Hours in which none is raised; null for never.
    pub quiet_hours: Option<QuietHours>,
    /// Sessions that raise none, by their ids.
    pub muted_sessions: Vec<String>,
    /// Whether the app goes on when its last window is closed, to notify and to send what waits.
    pub keep_in_background: bool,
    /// Whether agents of this computer stop when the app quits. Else they go on until they have
    /// nothing more to do.
    pub stop_agents_on_quit: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model_base_url: host_link::MODEL_BASE_URL.to_owned(),
            model_name: String::new(),
            has_model_key: false,
            default_agent: DefaultAgent::Demo,
            webhook_url: String::new(),
            user_name: account_name(),
            notifications: true,
            notify_ends: true,
            quiet_hours: None,
            muted_sessions: Vec::new(),
            keep_in_background: false,
            stop_agents_on_quit: false,
        }
    }
}

/// The identity of this installation to others, kept from its first start on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) actor_id: String,
    pub(crate) device_id: String,
}

/// The settings file.
#[derive(Clone)]
pub(crate) struct SettingsFile {
    store: Arc<Store<Wry>>,
}

const SETTINGS: &str = "settings";
const ACTOR: &str = "actorId";
const DEVICE: &str = "deviceId";
const LAST_SESSION: &str = "lastSession";
const LAST_SERVER: &str = "lastServer";
/// Key under which an earlier version kept the address of its one server.
const BEFORE: &str = "serverUrl";

impl SettingsFile {
    /// Opens `settings.json` in `folder`. A file that cannot be read is set aside, never deleted;
    /// its new name is returned so that the person can be told.
    ///
    /// # Errors
    /// When the store cannot be opened at all.
    pub(crate) fn open(app: &AppHandle, folder: &Path) -> anyhow::Result<(Self, Option<PathBuf>)> {
        let path = folder.join("settings.json");
        let damaged = std::fs::read(&path)
            .is_ok_and(|bytes| serde_json::from_slice::<serde_json::Map<_, _>>(&bytes).is_err());
        let mut set_aside = None;
        if damaged {
            let name = format!("settings.json.damaged-{}", uuid::Uuid::now_v7().simple());
            let aside = folder.join(name);
            std::fs::rename(&path, &aside)?;
            set_aside = Some(aside);
        }
        let store = StoreBuilder::new(app, path).build()?;
        Ok((Self { store }, set_aside))
    }

    /// The settings; a field that is missing or does not fit has its default.
    pub(crate) fn load(&self) -> Settings {
        self.store
            .get(SETTINGS)
            .and_then(|value| serde_json::from_value(value).ok())
            .unwrap_or_default()
    }

    /// Checks and keeps `settings`.
    ///
    /// # Errors
    /// `bad-url` when an address is not an http(s) URL; `settings-not-saved` when the disk refuses.
    pub(crate) fn save(&self, settings: &Settings) -> CommandResult<()> {
        check_url("model address", &settings.model_base_url)?;
        check_url("webhook address", &settings.webhook_url)?;
        if settings.quiet_hours.as_ref().is_some_and(|hours| !hours.is_valid()) {
            return Err(CommandError::new(
                "bad-time",
                "The quiet hours are no times of a day. Write them like 22:00.",
            ));
        }
        if let Some(url) = self.server_before() {
            // It is gone from the settings; its token is still to be found.
            self.put(BEFORE, url.into())?;
        }
        self.put(SETTINGS, serde_json::to_value(settings).expect("settings are plain data"))
    }

    /// The identity of this installation; the first call makes it up.
    pub(crate) fn identity(&self) -> Identity {
        Identity { actor_id: self.stable_id(ACTOR), device_id: self.stable_id(DEVICE) }
    }

    /// The session that was open when the app was last used.
    pub(crate) fn last_session(&self) -> Option<String> {
        self.store.get(LAST_SESSION)?.as_str().map(str::to_owned)
    }

    /// Remembers the open session.
    pub(crate) fn set_last_session(&self, session: Option<&str>) {
        // Losing this costs a click, so a refusing disk is only logged.
        if let Err(error) = self.put(LAST_SESSION, session.into()) {
            tracing::warn!(code = error.code, "the open session is not remembered");
        }
    }

    /// The address of the server that an earlier version of the app used.
    pub(crate) fn server_before(&self) -> Option<String> {
        let url = self.store.get(BEFORE).or_else(|| self.store.get(SETTINGS)?.get(BEFORE).cloned());
        url?.as_str().map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned)
    }

    /// The server that the last new session was made on, by its id.
    pub(crate) fn last_server(&self) -> Option<String> {
        self.store.get(LAST_SERVER)?.as_str().map(str::to_owned)
    }

    /// Remembers the server of a new session.
    pub(crate) fn set_last_server(&self, server: &str) {
        if let Err(error) = self.put(LAST_SERVER, server.into()) {
            tracing::warn!(code = error.code, "the chosen server is not remembered");
        }
    }

    fn stable_id(&self, key: &str) -> String {
        if let Some(id) = self.store.get(key).and_then(|value| value.as_str().map(str::to_owned)) {
            return id;
        }
        let id = uuid::Uuid::new_v4().to_string();
        if let Err(error) = self.put(key, id.clone().into()) {
            tracing::warn!(code = error.code, "this installation's identity is not kept");
        }
        id
    }

    fn put(&self, key: &str, value: serde_json::Value) -> CommandResult<()> {
        self.store.set(key, value);
        self.store.save().map_err(|_| {
            CommandError::new(
                "settings-not-saved",
                "The settings could not be saved. Check that the disk is not full, then try again.",
            )
        })
    }
}

/// Fills in what only the keychain knows.
pub(crate) async fn with_secrets(mut settings: Settings) -> Settings {
    settings.has_model_key = matches!(keychain::read(Name::ModelKey).await, Ok(Some(_)));
    settings
}

fn check_url(name: &str, text: &str) -> CommandResult<()> {
    if text.is_empty() {
        return Ok(());
    }
    let good = tauri::Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    if good {
        Ok(())
    } else {
        Err(CommandError::new(
            "bad-url",
            format!("The {name} is not a web address. Write it like http://127.0.0.1:4000."),
        ))
    }
}

/// The full name of the person's account on this computer, else what the account is called. Never a
/// word that means another person to each who reads it.
fn account_name() -> String {
    [whoami::realname(), whoami::username()]
        .into_iter()
        .flatten()
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "Somebody".to_owned())
}

/// The operating system, as the page spells it.
pub(crate) fn platform() -> &'static str {
    if cfg!(target_os = "macos") {
        "macos"
    } else if cfg!(windows) {
        "windows"
    } else {
        "linux"
    }
}
