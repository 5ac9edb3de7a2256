//! Notifications of the system: an approval waits, or an answer ended, in a session that is not on
//! screen.
//!
//! [`plan`] decides (pure, tested), [`desktop`] shows. One notification per session, replaced and
//! not stacked; withdrawn when the approval is answered anywhere or the session comes on screen.
//! The body names agent and tool; arguments and words stay in the window (L11), so only what is
//! [`harmless`] can be decided there.

mod desktop;
mod harmless;
mod plan;

use crate::quiet;
use crate::state::Host;
use desktop::{Desktop, Press};
use plan::{Ask, Person, Plan, Step};
use session_core::{Feed, FeedBatch, FeedChange};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tauri::{AppHandle, Emitter};
use tokio::sync::mpsc;

/// Time that an approval must have waited: one that is answered at once should not flash.
const PATIENCE: Duration = Duration::from_secs(1);

/// Watches what waits and what ends for as long as the app runs.
pub(crate) async fn watch(app: AppHandle, host: Arc<Host>) {
    let mut approvals = host.engine.approvals();
    let (desktop, mut pressed) = Desktop::connect().await;
    let mut changes = follow(host.engine.feed());
    let mut plan = Plan::new(PATIENCE);
    loop {
        let waiting = approvals.borrow_and_update().clone();
        let settings = host.settings.load();
        let on_screen = crate::window::session_on_screen(&app, &host);
        let quiet = settings.quiet_hours.as_ref().and_then(|hours| hours.left(quiet::now()));
        let now = Instant::now();
        let steps = if settings.notifications {
            let person = Person {
                on_screen: on_screen.as_deref(),
                muted: &settings.muted_sessions,
                quiet_until: quiet.map(|left| now + left),
                ends: settings.notify_ends,
            };
            plan.next(&waiting, person, now)
        } else {
            plan.withdraw_all()
        };
        for step in steps {
            match step {
                Step::Show { session, title, body, offer } => {
                    desktop.show(&session, &title, &body, offer).await;
                }
                Step::Withdraw { session } => desktop.withdraw(&session).await,
            }
        }
        tokio::select! {
            changed = approvals.changed() => if changed.is_err() { return },
            Some(batch) = changes.recv() => take(&mut plan, batch),
            () = host.screen_changed.notified() => {}
            () = plan.due() => {}
            Some((session, press)) = pressed.recv() => match press {
                Press::Open => open(&app, &host, &session),
                Press::Decide(ask, approved) => decide(&app, &host, &session, &ask, approved).await,
            },
        }
    }
}

/// Pulls a feed of its own, which shows no session: the head of the list says what runs.
fn follow(feed: Feed) -> mpsc::Receiver<FeedBatch> {
    let (tell, changes) = mpsc::channel(1);
    tauri::async_runtime::spawn(async move {
        let (mut epoch, mut after) = (0, 0);
        loop {
            let batch = feed.next(epoch, after).await;
            (epoch, after) = (batch.epoch, batch.to);
            if tell.send(batch).await.is_err() {
                return;
            }
        }
    });
    changes
}

fn take(plan: &mut Plan, batch: FeedBatch) {
    let now = Instant::now();
    for change in batch.changes {
        if let FeedChange::Sessions { servers, .. } = change {
            for row in servers.iter().flat_map(|server| &server.rows) {
                plan.session(&row.session, now);
            }
        }
    }
}

/// Decides what a notification asked, if it still waits.
async fn decide(app: &AppHandle, host: &Host, session: &str, ask: &Ask, approved: bool) {
    let waits = host.engine.approvals().borrow().iter().any(|one| {
        one.session_id == session
            && one.approval.id == ask.approval_id
            && one.approval.message_id == ask.message_id
    });
    if !waits {
        return; // somebody was faster
    }
    let (message, approval) = (&ask.message_id, &ask.approval_id);
    let engine = &host.engine;
    let decided =
        engine.respond_approval(session, message, approval, approved, None, None).await;
    if let Err(error) = decided {
        tracing::warn!(code = error.code(), "an answer to a notification was not taken");
        open(app, host, session);
    }
}

/// Brings the window forward with `session` in it.
fn open(app: &AppHandle, host: &Host, session: &str) {
    // A window that is opened for it begins with it.
    if !crate::window::is_open(app)
        && let Err(error) = host.show(Some(session.to_owned()), None)
    {
        tracing::info!(code = error.code(), "the session is not there any more");
    }
    crate::window::focus(app);
    if let Err(error) = app.emit("open-session", serde_json::json!({ "sessionId": session })) {
        tracing::warn!(%error, "the page was not told which session to open");
    }
}
