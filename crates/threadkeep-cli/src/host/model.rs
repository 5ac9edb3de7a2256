//! The model agent's settings, read at the start of each run: from the app's file, and the key from
//! the keychain.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use host_link::{KEYCHAIN_SERVICE, MODEL_BASE_URL, MODEL_KEY};
use serde_json::Value;
use session_server::{BoxFuture, ModelConfig, ModelSettings, Secret};
use url::Url;

/// Times that a file is read which is being written.
const READINGS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);
/// Time that the keychain may take: it may be waiting for a person who is not there.
const KEYCHAIN: Duration = Duration::from_secs(30);

/// The settings of the person whose computer it is.
pub(super) struct Model {
    settings: PathBuf,
    /// The key that a window gave for as long as this host lives.
    given: Mutex<Option<String>>,
}

impl Model {
    pub(super) fn new(settings: PathBuf) -> Self {
        Self { settings, given: Mutex::default() }
    }

    /// Uses this key before that of the keychain; `None` uses the keychain's again.
    pub(super) fn set_key(&self, key: Option<String>) {
        let key = key.filter(|key| !key.is_empty());
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    async fn key(&self) -> Option<String> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if given.is_some() {
            return given;
        }
        let read = tokio::task::spawn_blocking(|| {
            keyring::Entry::new(KEYCHAIN_SERVICE, MODEL_KEY).ok()?.get_password().ok()
        });
        // Without a keychain there is no key; a local model needs none, so go on.
        tokio::time::timeout(KEYCHAIN, read).await.ok()?.ok()?
    }

    /// The settings as the app wrote them last.
    async fn settings(&self) -> Value {
        for _ in 0..READINGS {
            match tokio::fs::read(&self.settings).await {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Value::Null,
                Ok(bytes) => {
                    if let Ok(mut file) = serde_json::from_slice::<Value>(&bytes) {
                        return file.get_mut("settings").map(Value::take).unwrap_or_default();
                    }
                }
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        Value::Null
    }
}

impl ModelSettings for Model {
    fn load(&self) -> BoxFuture<'_, Result<ModelConfig, String>> {
        Box::pin(async {
            let settings = self.settings().await;
            let model = settings["modelName"].as_str().unwrap_or_default().to_owned();
            if model.is_empty() {
                return Err(
                    "No model is set. Open Settings, enter the model's name, then try again."
                        .to_owned(),
                );
            }
            let base_url = settings["modelBaseUrl"].as_str().unwrap_or(MODEL_BASE_URL);
            let base_url = Url::parse(base_url).map_err(|_| {
                "The model address is not a web address. Open Settings and correct it.".to_owned()
            })?;
            let api_key = self.key().await.map(Secret::new);
            Ok(ModelConfig { base_url, model, api_key })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_of_the_settings_is_seen_by_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.json");
        let model = Model::new(file.clone());
        assert!(model.load().await.unwrap_err().contains("No model is set"));
        std::fs::write(&file, r#"{"settings": {"modelName": "tiny"}}"#).unwrap();
        model.set_key(Some("sk-given".to_owned()));
        let config = model.load().await.unwrap();
        assert_eq!((config.model.as_str(), config.base_url.as_str()), ("tiny", MODEL_BASE_URL));
        assert_eq!(config.api_key.unwrap().expose(), "sk-given");
        std::fs::write(&file, r#"{"settings": {"modelName": "m", "modelBaseUrl": "no"}}"#).unwrap();
        assert!(model.load().await.unwrap_err().contains("not a web address"));
    }
}
