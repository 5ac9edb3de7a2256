//! Settings, keys and the connection.

use super::State;
use crate::error::{CommandError, CommandResult};
use crate::keychain::{self, Name};
use crate::server;
use crate::settings::{self, Settings};
use serde::Serialize;
use std::time::Duration;
use tauri::Url;
use tauri_plugin_opener::OpenerExt as _;

#[tauri::command]
pub(crate) async fn get_settings(host: State<'_>) -> CommandResult<Settings> {
    Ok(settings::with_secrets(host.settings.load()).await)
}

#[tauri::command]
pub(crate) async fn set_settings(host: State<'_>, settings: Settings) -> CommandResult<Settings> {
    host.settings.save(&settings)?;
    host.screen_changed.notify_one();
    Ok(settings::with_secrets(settings).await)
}

#[tauri::command]
pub(crate) async fn set_model_key(host: State<'_>, key: Option<String>) -> CommandResult<()> {
    let key = key.filter(|key| !key.is_empty());
    let kept = keychain::write(Name::ModelKey, key.clone()).await;
    // What no keychain keeps is used for as long as the agents' process lives.
    let given = key.filter(|_| kept.is_err());
    if let Some(attached) = host.here.held().await {
        attached.set_model_key(given).await;
    }
    Ok(kept?)
}

/// Whether the model endpoint answers.
#[derive(Debug, Serialize, ts_rs::TS)]
#[ts(export)]
pub(crate) struct ModelCheck {
    /// Whether the endpoint answered and knows the model, as far as it says.
    pub ok: bool,
    /// One sentence, with what to do next when it did not.
    pub message: String,
}

/// Asks the endpoint for its list of models, which costs nothing.
#[tauri::command]
pub(crate) async fn check_model(host: State<'_>) -> CommandResult<ModelCheck> {
    let settings = host.settings.load();
    let no = |message: &str| Ok(ModelCheck { ok: false, message: message.to_owned() });
    let Ok(base_url) = Url::parse(&settings.model_base_url) else {
        return no(
            "The model address is not a web address. Write it like http://127.0.0.1:11434/v1.",
        );
    };
    let mut url = base_url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push("models");
    }
    let key = keychain::read(Name::ModelKey).await.ok().flatten();
    let timeout = Duration::from_secs(10);
    let http = durable_stream::http_client(|| reqwest::Client::builder().timeout(timeout));
    let Ok(http) = http else { return no("This computer's network could not be set up.") };
    let mut request = http.get(url);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if durable_stream::lacks_certificates(&error) => {
            return no(durable_stream::NO_CERTIFICATES);
        }
        Err(_) => {
            return no("Nothing answers there. Check the address, and that the model server runs.");
        }
    };
    match answer.status().as_u16() {
        200..=299 => {}
        401 | 403 => return no("The endpoint refused the key. Enter the right one."),
        404 => {
            return no(
                "The endpoint has no list of models there. Check that the address ends in /v1.",
            );
        }
        status => {
            return no(&format!("The endpoint answered with status {status}. Try again later."));
        }
    }
    let list: serde_json::Value = answer.json().await.unwrap_or_default();
    let models = list["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let known = models.iter().any(|model| model["id"] == settings.model_name.as_str());
    if settings.model_name.is_empty() {
        no("The endpoint answers. Now enter the name of one of its models.")
    } else if known || models.is_empty() {
        // What it was seen to refuse, so that nobody wonders what the model does not do.
        let found = host.here.model_findings(&base_url, &settings.model_name);
        let ready = std::iter::once("The endpoint answers and is ready.").chain(found);
        Ok(ModelCheck { ok: true, message: ready.collect::<Vec<_>>().join(" ") })
    } else {
        no("The endpoint answers but has no model of that name. Check the name.")
    }
}

/// Tries the connection again now; starts the embedded server when it could not be started before.
#[tauri::command]
pub(crate) async fn reconnect(host: State<'_>) -> CommandResult<()> {
    server::connect_all(&host).await;
    host.engine.reconnect();
    Ok(())
}

/// The wish of a person who is told that agents still work.
#[derive(Debug, Clone, Copy, serde::Deserialize, ts_rs::TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub(crate) enum QuitAnswer {
    /// Quit, and let them go on.
    Quit,
    /// Stop them, and quit.
    Stop,
    /// Stay.
    Stay,
}

/// Answers the question that a person is asked who quits while agents work.
#[tauri::command]
pub(crate) async fn answer_quit(
    app: tauri::AppHandle,
    host: State<'_>,
    answer: QuitAnswer,
) -> CommandResult<()> {
    use std::sync::atomic::Ordering;
    match answer {
        QuitAnswer::Stay => host.asked_to_quit.store(false, Ordering::Release),
        QuitAnswer::Quit => app.exit(0),
        QuitAnswer::Stop => {
            host.stops_agents.store(true, Ordering::Release);
            app.exit(0);
        }
    }
    Ok(())
}

/// Opens a link in the system's browser.
#[tauri::command]
pub(crate) async fn open_link(app: tauri::AppHandle, url: String) -> CommandResult<()> {
    let refused = |message: &str| CommandError::new("link-refused", message);
    let good =
        Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "mailto"));
    if !good {
        return Err(refused("Only web and mail links can be opened."));
    }
    app.opener()
        .open_url(url, None::<&str>)
        .map_err(|_| refused("The system's browser could not be opened. Copy the link instead."))
}
