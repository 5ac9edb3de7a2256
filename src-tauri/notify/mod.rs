//! A notification of the system when an approval waits and its session is not on screen.
//!
//! [`plan`] decides (pure, tested), [`desktop`] shows. One notification per session, replaced and
//! not stacked; withdrawn when the approval is answered anywhere or comes on screen. The body names
//! the tool; its arguments stay in the window (L11).

mod desktop;
mod plan;

use crate::state::Host;
use desktop::Desktop;
use plan::{Plan, Step};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tauri::{AppHandle, Emitter};

/// Time that an approval must have waited: one that is answered at once should not flash.
const PATIENCE: Duration = Duration::from_secs(1);

/// Watches the engine's waiting approvals for as long as the app runs.
pub(crate) async fn watch(app: AppHandle, host: Arc<Host>) {
    let mut approvals = host.engine.approvals();
    let (desktop, mut clicks) = Desktop::connect().await;
    let mut plan = Plan::new(PATIENCE);
    loop {
        let waiting = approvals.borrow_and_update().clone();
        let on_screen = crate::window::session_on_screen(&app, &host);
        let steps = if host.settings.load().notifications {
            plan.next(&waiting, on_screen.as_deref(), Instant::now())
        } else {
            plan.withdraw_all()
        };
        for step in steps {
            match step {
                Step::Show { session, title, body } => desktop.show(&session, &title, &body).await,
                Step::Withdraw { session } => desktop.withdraw(&session).await,
            }
        }
        tokio::select! {
            changed = approvals.changed() => if changed.is_err() { return },
            () = host.screen_changed.notified() => {}
            () = plan.due() => {}
            Some(session) = clicks.recv() => open(&app, &session),
        }
    }
}

/// Brings the window forward with `session` in it.
fn open(app: &AppHandle, session: &str) {
    crate::window::focus(app);
    if let Err(error) = app.emit("open-session", serde_json::json!({ "sessionId": session })) {
        tracing::warn!(%error, "the page was not told which session to open");
    }
}
