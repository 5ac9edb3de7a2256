//! The desktop host: thin by design. It opens the engine, puts the first rows in the page, starts
//! the embedded session server, and carries commands and diffs between the page and the engine.
//!
//! ```text
//! engine ─▶ feed ─▶ bridge (wake) ─▶ page ─▶ commands ─▶ engine
//! ```
//!
//! Order at start: settings, engine (SQLite, milliseconds), window with its first rows, and only
//! then the server and the network (L13). The only crate that names `tauri`.

mod bootstrap;
mod bridge;
mod commands;
mod error;
mod files;
mod here;
mod keychain;
mod notify;
mod quiet;
mod server;
mod settings;
mod state;
mod tray;
mod window;

use session_core::{Actor, Engine, EngineConfig};
use settings::SettingsFile;
use state::Host;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tauri::{App, AppHandle, Manager as _, RunEvent};

/// Names a folder for all of the app's data, instead of the system's usual one.
const DATA_DIR: &str = "THREADKEEP_DATA_DIR";

/// Runs the app until its window is closed.
///
/// Returns a failure's exit code when the app cannot start; the reason is on stderr.
#[must_use]
pub fn run() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("THREADKEEP_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    if cfg!(target_os = "linux")
        && std::env::var_os("DISPLAY").is_none()
        && std::env::var_os("WAYLAND_DISPLAY").is_none()
    {
        eprintln!(
            "Threadkeep needs a display. Start it in a desktop session, or use `threadkeep` here."
        );
        return ExitCode::FAILURE;
    }
    let app = tauri::Builder::default()
        .plugin(single_instance())
        .plugin(tauri_plugin_store::Builder::default().build())
        .plugin(tauri_plugin_window_state::Builder::default().build())
        .plugin(tauri_plugin_opener::init())
        .invoke_handler(tauri::generate_handler![
            commands::feed::bootstrap,
            commands::feed::next_diffs,
            commands::feed::painted,
            commands::messages::discard_entry,
            commands::messages::edit_entry,
            commands::messages::regenerate,
            commands::files::save_file,
            commands::sessions::said,
            commands::messages::respond_approval,
            commands::messages::set_agent_option,
            commands::messages::retry_entry,
            commands::messages::save_draft,
            commands::messages::send_message,
            commands::messages::stop_run,
            commands::servers::check_server,
            commands::servers::count_unsent,
            commands::servers::forget_server,
            commands::servers::join_server,
            commands::servers::rename_server,
            commands::servers::set_server_token,
            commands::sessions::create_session,
            commands::sessions::delete_session,
            commands::sessions::disk_use,
            commands::sessions::shared_state,
            commands::sessions::fork_session,
            commands::sessions::keep_copy,
            commands::sessions::list_sessions,
            commands::sessions::mark_read,
            commands::sessions::page,
            commands::sessions::search,
            commands::sessions::rename_session,
            commands::sessions::show_session,
            commands::sessions::show_start,
            commands::settings::check_model,
            commands::settings::get_settings,
            commands::settings::answer_quit,
            commands::settings::open_link,
            commands::settings::reconnect,
            commands::settings::set_model_key,
            commands::settings::set_settings,
        ])
        .setup(|app| {
            // An error that is given back here is a panic.
            if let Err(error) = setup(app) {
                eprintln!("Threadkeep could not start: {error:#}");
                app.handle().exit(1);
            }
            Ok(())
        })
        .build(tauri::generate_context!());
    let app = match app {
        Ok(app) => app,
        Err(error) => {
            start_again(&error);
            eprintln!("Threadkeep could not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = app.run_return(|app, event| match event {
        RunEvent::Exit => tauri::async_runtime::block_on(close(app)),
        // The last window was closed; who quits gives a code.
        RunEvent::ExitRequested { code: None, api, .. } if window::stays_without(app) => {
            api.prevent_exit();
        }
        #[cfg(target_os = "macos")]
        RunEvent::Reopen { .. } => window::focus(app),
        _ => {}
    });
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// One app for each folder of data: a second start shows the window of the first. Where the desktop
/// offers no way to find it, the engine refuses the folder that is in use.
fn single_instance() -> tauri::plugin::TauriPlugin<tauri::Wry> {
    let mut plugin = tauri_plugin_single_instance::Builder::new()
        .callback(|app, _arguments, _folder| window::focus(app));
    if let Some(folder) = std::env::var_os(DATA_DIR) {
        let folder = PathBuf::from(folder);
        let mut hasher = DefaultHasher::new();
        std::path::absolute(&folder).unwrap_or(folder).hash(&mut hasher);
        plugin = plugin.dbus_id(format!("dev.threadkeep.desktop.data{:016x}", hasher.finish()));
    }
    plugin.build()
}

/// An instance that is just going away still owns its name on the bus but answers no more; then
/// this process starts itself again, a few times. Returns when there is no point in that.
fn start_again(error: &tauri::Error) {
    const ATTEMPT: &str = "THREADKEEP_START_ATTEMPT";
    let attempt: u32 = std::env::var(ATTEMPT).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let leaving =
        matches!(error, tauri::Error::PluginInitialization(name, _) if name == "single-instance");
    if !leaving || attempt >= 10 {
        return;
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    #[cfg(unix)]
    if let Ok(program) = std::env::current_exe() {
        use std::os::unix::process::CommandExt as _;
        let failed = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(ATTEMPT, (attempt + 1).to_string())
            .exec();
        tracing::warn!(error = %failed, "could not start again");
    }
}

fn setup(app: &mut App) -> anyhow::Result<()> {
    let folder = data_dir(app.handle())?;
    std::fs::create_dir_all(&folder).map_err(|error| {
        anyhow::anyhow!("the folder {} cannot be made: {error}", folder.display())
    })?;
    let (settings, set_aside) = SettingsFile::open(app.handle(), &folder)?;
    let handle = app.handle().clone();
    // In the runtime: the engine starts tasks.
    tauri::async_runtime::block_on(async move {
        let identity = settings.identity();
        let engine = Engine::open(EngineConfig {
            data_dir: folder.join("engine"),
            actor: Actor { id: identity.actor_id, name: settings.load().user_name },
            device_id: identity.device_id,
            inherit: server::inherit(&settings, folder.join("server")),
        })?;
        let host = Host::new(engine, settings, here::Here::new(&folder));
        if let Some(path) = set_aside {
            host.notice(
                "settings-damaged",
                format!("The settings could not be read and were set aside as {}.", path.display()),
            );
        }
        server::join_before(&host).await;
        let host = Arc::new(host);
        handle.manage(host.clone());
        if let Err(error) = host.feed.show(host.last_session()) {
            tracing::info!(code = error.code(), "the last session is not shown");
        }
        let first = serde_json::to_string(&bootstrap::read(&host).await)?;
        window::open(&handle, &first)?;
        tauri::async_runtime::spawn(bridge::watch(handle.clone(), host.clone()));
        tauri::async_runtime::spawn(notify::watch(handle.clone(), host.clone()));
        tauri::async_runtime::spawn(tray::watch(handle, host.clone()));
        tauri::async_runtime::spawn(server::stay_attached(host.clone()));
        tauri::async_runtime::spawn(async move { server::connect_all(&host).await });
        Ok(())
    })
}

/// Brings everything to disk before the process ends.
async fn close(app: &AppHandle) {
    if let Some(host) = app.try_state::<Arc<Host>>() {
        host.engine.clone().close().await;
        let stops = host.settings.load().stop_agents_on_quit
            || host.stops_agents.load(std::sync::atomic::Ordering::Acquire);
        host.here.leave(stops).await;
    }
}

fn data_dir(app: &AppHandle) -> anyhow::Result<PathBuf> {
    match std::env::var_os(DATA_DIR) {
        Some(folder) => Ok(folder.into()),
        None => Ok(app.path().app_data_dir()?),
    }
}
