//! The main window: created with its first rows in the page, brought forward, asked what it shows.

use crate::state::Host;
use tauri::{
    AppHandle, Manager, Url, WebviewUrl, WebviewWindow, WebviewWindowBuilder, WindowEvent,
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
    window.on_window_event(move |event| {
        if matches!(event, WindowEvent::Focused(_) | WindowEvent::Resized(_)) {
            handle.state::<std::sync::Arc<Host>>().screen_changed.notify_one();
        }
    });
    Ok(())
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

/// Shows the window and gives it the focus.
pub(crate) fn focus(app: &AppHandle) {
    let Some(window) = main(app) else { return };
    for result in [window.unminimize(), window.show(), window.set_focus()] {
        if let Err(error) = result {
            tracing::warn!(%error, "the window could not be brought forward");
        }
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
