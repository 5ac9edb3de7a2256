//! The desktop's notification service.
//!
//! Linux speaks to `org.freedesktop.Notifications` directly, because replacing, withdrawing and
//! clicks need its ids; the other systems go through `notify-rust`, which can show.

#[cfg(target_os = "linux")]
pub(super) use linux::Desktop;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Desktop;

use super::plan::{Ask, Offer};

/// An act of a person on a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Press {
    /// The notice's session is wanted.
    Open,
    /// The notice's request is decided: approved or not.
    Decide(Ask, bool),
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Ask, Offer, Press};
    use futures::StreamExt;
    use std::collections::HashMap;
    use std::sync::Arc;
    use tokio::sync::{Mutex, mpsc};
    use zbus::zvariant::Value;

    /// Desktop Notifications Specification 1.2, the part we use.
    #[zbus::proxy(
        interface = "org.freedesktop.Notifications",
        default_service = "org.freedesktop.Notifications",
        default_path = "/org/freedesktop/Notifications"
    )]
    trait Notifications {
        #[allow(clippy::too_many_arguments, reason = "the specification's signature")]
        fn notify(
            &self,
            app_name: &str,
            replaces_id: u32,
            app_icon: &str,
            summary: &str,
            body: &str,
            actions: &[&str],
            hints: HashMap<&str, Value<'_>>,
            expire_timeout: i32,
        ) -> zbus::Result<u32>;
        fn close_notification(&self, id: u32) -> zbus::Result<()>;
        #[zbus(signal)]
        fn action_invoked(&self, id: u32, action_key: &str) -> zbus::Result<()>;
    }

    /// A notification on the desktop.
    struct Standing {
        /// The id that the service gave to it.
        id: u32,
        /// The request that can be decided by it.
        ask: Option<Ask>,
    }

    /// The session bus's notification service, or nothing where there is no bus.
    pub(in crate::notify) struct Desktop {
        service: Option<NotificationsProxy<'static>>,
        /// The notification of each session.
        standing: Arc<Mutex<HashMap<String, Standing>>>,
    }

    impl Desktop {
        /// Connects; the receiver gets what is pressed, with its session.
        pub(in crate::notify) async fn connect() -> (Self, mpsc::Receiver<(String, Press)>) {
            let (clicked, clicks) = mpsc::channel(8);
            let standing: Arc<Mutex<HashMap<String, Standing>>> = Arc::default();
            let service = match connect().await {
                Ok(service) => Some(service),
                Err(error) => {
                    tracing::warn!(%error, "no notifications: the session bus has no service for them");
                    None
                }
            };
            let desktop = Self { service: service.clone(), standing: Arc::clone(&standing) };
            if let Some(service) = service {
                tauri::async_runtime::spawn(async move {
                    let Ok(mut invoked) = service.receive_action_invoked().await else { return };
                    while let Some(signal) = invoked.next().await {
                        let Ok(arguments) = signal.args() else { continue };
                        let found = standing
                            .lock()
                            .await
                            .iter()
                            .find(|(_, one)| one.id == arguments.id)
                            .map(|(session, one)| (session.clone(), one.ask.clone()));
                        let Some((session, ask)) = found else { continue };
                        let press = match (arguments.action_key, ask) {
                            ("approve", Some(ask)) => Press::Decide(ask, true),
                            ("deny", Some(ask)) => Press::Decide(ask, false),
                            _ => Press::Open,
                        };
                        if clicked.send((session, press)).await.is_err() {
                            return;
                        }
                    }
                });
            }
            (desktop, clicks)
        }

        /// Shows a notification for `session` in place of the one it has.
        pub(in crate::notify) async fn show(
            &self,
            session: &str,
            title: &str,
            body: &str,
            offer: Offer,
        ) {
            let Some(service) = &self.service else { return };
            let mut standing = self.standing.lock().await;
            let replaces = standing.get(session).map_or(0, |one| one.id);
            let hints = HashMap::from([
                ("desktop-entry", Value::from("Threadkeep")),
                ("urgency", Value::from(1_u8)),
            ]);
            // The body may hold markup by the specification: escape what comes from a stream.
            let body = body.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let (actions, ask): (&[&str], _) = match offer {
                Offer::Open => (&["default", "Open"], None),
                Offer::Review => (&["default", "Open", "open", "Review"], None),
                Offer::Decide(ask) => {
                    (&["default", "Open", "approve", "Approve", "deny", "Deny"], Some(ask))
                }
            };
            match service
                .notify(
                    "Threadkeep",
                    replaces,
                    "threadkeep-desktop",
                    title,
                    &body,
                    actions,
                    hints,
                    0,
                )
                .await
            {
                Ok(id) => {
                    standing.insert(session.to_owned(), Standing { id, ask });
                }
                Err(error) => tracing::warn!(%error, "a notification could not be shown"),
            }
        }

        /// Takes the session's notification away.
        pub(in crate::notify) async fn withdraw(&self, session: &str) {
            let Some(service) = &self.service else { return };
            if let Some(one) = self.standing.lock().await.remove(session)
                && let Err(error) = service.close_notification(one.id).await
            {
                tracing::debug!(%error, "a notification was already gone");
            }
        }
    }

    async fn connect() -> zbus::Result<NotificationsProxy<'static>> {
        let bus = zbus::Connection::session().await?;
        NotificationsProxy::new(&bus).await
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use super::{Offer, Press};
    use tokio::sync::mpsc;

    /// The system's notifications. They cannot be withdrawn or replaced here; a click on one brings
    /// the app forward, which the system does by itself.
    pub(in crate::notify) struct Desktop;

    impl Desktop {
        pub(in crate::notify) async fn connect() -> (Self, mpsc::Receiver<(String, Press)>) {
            (Self, mpsc::channel(1).1)
        }

        pub(in crate::notify) async fn show(
            &self,
            _session: &str,
            title: &str,
            body: &str,
            _offer: Offer,
        ) {
            let (title, body) = (title.to_owned(), body.to_owned());
            let shown = tauri::async_runtime::spawn_blocking(move || {
                notify_rust::Notification::new().summary(&title).body(&body).show().map(drop)
            });
            if let Ok(Err(error)) = shown.await {
                tracing::warn!(%error, "a notification could not be shown");
            }
        }

        pub(in crate::notify) async fn withdraw(&self, _session: &str) {}
    }
}
