//! The main window: created with its first rows in the page, brought forward, asked what it shows.

use crate::state::Host;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tauri::{
    AppHandle, Emitter as _, Manager, Url, WebviewUrl, WebviewWindow, WebviewWindowBuilder,
    WindowEvent,
};

/// The main window's label.
pub(crate) const MAIN: &str = "main";

/// Opens the main window. `bootstrap` is JSON; it is in the page before any of its scripts runs,
/// so that the first paint has the session's last rows (L13).
///
/// # Errors
/// When the system has no web view.
pub(crate) fn open(app: &AppHandle, bootstrap: &str) -> tauri::Result<()> {
    // JSON is a subset of JavaScript's expressions, so no quoting is needed; a user script is not
    // HTML, so nothing in it can end a tag.
    let script = format!("window.__THREADKEEP__ = {bootstrap};");
    let window = WebviewWindowBuilder::new(app, MAIN, WebviewUrl::App("index.html".into()))
        .title("Threadkeep")
        .inner_size(1180.0, 800.0)
        .min_inner_size(420.0, 360.0)
        .initialization_script(script)
        .on_navigation(is_ours)
        .build()?;
    #[cfg(target_os = "linux")]
    paint_without_gpu(&window)?;
    let handle = app.clone();
    window.on_window_event(move |event| match event {
        WindowEvent::Focused(_) | WindowEvent::Resized(_) => {
            handle.state::<Arc<Host>>().screen_changed.notify_one();
        }
        // A window that is closed while the app stays is no end.
        WindowEvent::CloseRequested { api, .. }
            if !stays_without(&handle) && asks_before_quitting(&handle) =>
        {
            api.prevent_close();
        }
        WindowEvent::Destroyed => handle.state::<Arc<Host>>().screen_changed.notify_one(),
        _ => {}
    });
    Ok(())
}

/// The work that still goes on when the person wants to quit, as the page is told.
#[derive(Debug, Clone, Serialize, ts_rs::TS)]
#[ts(export)]
pub(crate) struct StillRuns {
    /// Answers that agents of this computer are giving, or are about to.
    pub running: usize,
    /// Whether they are stopped by quitting.
    pub stops: bool,
}

/// Asks the person in the page, where agents of this computer still work. Not twice: a page that
/// does not answer must not keep the window open.
fn asks_before_quitting(app: &AppHandle) -> bool {
    let host = app.state::<Arc<Host>>();
    let running = host.here.running();
    if running == 0 || host.asked_to_quit.swap(true, Ordering::AcqRel) {
        return false;
    }
    let stops = host.settings.load().stop_agents_on_quit;
    app.emit_to(MAIN, "quit-asked", StillRuns { running, stops }).is_ok()
}

/// Turns off compositing where the computer has no graphics processor (a virtual machine, a remote
/// desktop). WebKitGTK would play one on the processor then, and a frame takes three times as long.
#[cfg(target_os = "linux")]
fn paint_without_gpu(window: &WebviewWindow) -> tauri::Result<()> {
    use webkit2gtk::{HardwareAccelerationPolicy, SettingsExt as _, WebViewExt as _};

    // The kernel's nodes for drawing: <https://docs.kernel.org/gpu/drm-uapi.html#render-nodes>.
    let nodes = std::fs::read_dir("/dev/dri").into_iter().flatten().flatten();
    if nodes.into_iter().any(|node| node.file_name().to_string_lossy().starts_with("renderD")) {
        return Ok(());
    }
    window.with_webview(|view| {
        if let Some(settings) = view.inner().settings() {
            settings.set_hardware_acceleration_policy(HardwareAccelerationPolicy::Never);
        }
    })
}

/// Whether the app goes on without a window: to notify, and to send what waits.
pub(crate) fn stays_without(app: &AppHandle) -> bool {
    app.try_state::<Arc<Host>>().is_some_and(|host| host.settings.load().keep_in_background)
}

/// Shows the window and gives it the focus; opens it where it was closed.
pub(crate) fn focus(app: &AppHandle) {
    let Some(window) = main(app) else {
        let app = app.clone();
        tauri::async_runtime::spawn(async move { reopen(&app).await });
        return;
    };
    for result in [window.unminimize(), window.show(), window.set_focus()] {
        if let Err(error) = result {
            tracing::warn!(%error, "the window could not be brought forward");
        }
    }
}

/// Whether there is a window.
pub(crate) fn is_open(app: &AppHandle) -> bool {
    main(app).is_some()
}

/// Opens the window again, as it was.
async fn reopen(app: &AppHandle) {
    let host = Arc::clone(&app.state::<Arc<Host>>());
    host.feed.list(session_core::ListQuery::default());
    let first = serde_json::to_string(&crate::bootstrap::read(&host).await);
    let opened = first.map_err(tauri::Error::from).and_then(|first| open(app, &first));
    if let Err(error) = opened {
        tracing::warn!(%error, "the window could not be opened again");
    }
}

/// The session that is before the person's eyes: shown in a window that has the focus.
pub(crate) fn session_on_screen(app: &AppHandle, host: &Host) -> Option<String> {
    let window = main(app)?;
    let seen = window.is_visible().unwrap_or(true)
        && !window.is_minimized().unwrap_or(false)
        && window.is_focused().unwrap_or(true);
    if seen { host.shown_session() } else { None }
}

fn main(app: &AppHandle) -> Option<WebviewWindow> {
    app.get_webview_window(MAIN)
}

/// Whether a page is the app's own: it may not leave itself, and links open in the system's browser
/// by a command.
fn is_ours(url: &Url) -> bool {
    url.scheme() == "tauri"
        || url.host_str() == Some("tauri.localhost")
        || (cfg!(debug_assertions)
            && url.host_str() == Some("127.0.0.1")
            && url.port() == Some(5183))
}
