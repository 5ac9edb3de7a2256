//! Asks one server for its sessions, again and again, beside the hub: a server that hangs keeps
//! neither the hub nor another server waiting.

use std::sync::Arc;
use std::time::Duration;

use session_protocol::api::{Me, SessionEntry};

use super::listing;
use crate::report::HubEvent;
use crate::server::Server;
use crate::shared::Shared;
use crate::store::{ServerRow, servers};
use crate::summary::{Connection, ConnectionState};

/// Pause between two fetches of the list.
const LIST_EVERY: Duration = Duration::from_secs(15);
/// Pause before the server is asked again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(3);

/// Runs until the server is removed or the engine ends.
pub(crate) async fn run(shared: Arc<Shared>, server: Arc<Server>) {
    let mut connected = server.connected.subscribe();
    loop {
        let state = match *connected.borrow_and_update() {
            Some(_) => ConnectionState::Connecting,
            None => ConnectionState::Offline,
        };
        tell(&shared, &server, Connection { state, ..Connection::default() });
        tokio::select! {
            biased;
            () = server.cancel.cancelled() => return,
            changed = connected.changed() => if changed.is_err() { return },
            () = list(&shared, &server) => {}
        }
    }
}

/// Asks for ever; the caller stops it.
async fn list(shared: &Shared, server: &Server) {
    let mut asked = false;
    loop {
        // Its clients may have been made anew.
        let Some(connected) = server.connected.borrow().clone() else {
            return std::future::pending().await;
        };
        let pause = match listing::fetch(&connected).await {
            Ok(sessions) => {
                if !std::mem::replace(&mut asked, true) {
                    learn_me(shared, server, connected.client.me().await.ok()).await;
                }
                listed(shared, server, sessions);
                LIST_EVERY
            }
            Err(failure) => {
                tell(shared, server, listing::describe(failure));
                RETRY_AFTER
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = server.ask.notified() => {}
        }
    }
}

/// Remembers who this person is on the server. One that does not say so leaves it as it was.
async fn learn_me(shared: &Shared, server: &Server, me: Option<Me>) {
    let Some(Me { name, .. }) = me.filter(|me| me.name != server.row().me) else { return };
    let row = ServerRow { me: name.clone(), ..server.row() };
    if shared.store.write(move |tx| servers::put(tx, &row)).await.is_ok() {
        server.edit(|known| known.me = name);
        shared.publish_servers();
    }
}

fn listed(shared: &Shared, server: &Server, sessions: Vec<SessionEntry>) {
    if server.status.borrow().state != ConnectionState::Live {
        server.succeeded();
    }
    let synced_at = Some(crate::clock::now_text());
    // First the sessions: who sees the server live sees them, too.
    shared.hub.send(HubEvent::Listed { server: server.id.clone(), sessions }).ok();
    let state = ConnectionState::Live;
    tell(shared, server, Connection { state, synced_at, ..Connection::default() });
}

fn tell(shared: &Shared, server: &Server, connection: Connection) {
    let is_news = server.status.send_if_modified(|known| {
        let is_news = known.state != connection.state || known.message != connection.message;
        *known = connection;
        is_news
    });
    if is_news {
        shared.publish_servers();
    }
}
