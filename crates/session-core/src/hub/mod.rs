//! The hub: the list of sessions, over all of them.
//!
//! Session tasks report their summaries and approvals here. A task of each server's own fetches its
//! list, every 15 s and whenever something suggests that it changed. From all of them the hub makes
//! the list ([`crate::list`]) that every window shows a head of. Bursts are gathered: publishing
//! costs in proportion to what changed, and happens at most some 20 times a second (L12).
//!
//! The hub also decides which sessions are followed, each on a connection of its own: every one
//! that a window shows, and of the others at most [`Limits::background`]: first those with
//! something to send, then a few of those that the server's list knows to have changed, one after
//! the other until they are caught up, then those that wait for an approval, then the most recent.
//! Among equals the servers take turns, so that a server with many sessions, or one that does not
//! answer, leaves room for the others.
//! A session that is not followed and that nothing happens to leaves memory after
//! [`Limits::rest_after`]; its summary stays here, and whoever asks for it gets it back from the
//! store.
//!
//! [`Limits::background`]: crate::Limits::background
//! [`Limits::rest_after`]: crate::Limits::rest_after

mod catch_up;
mod lister;
mod listing;
mod task;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::error::EngineError;
use crate::report::HubEvent;
use crate::server::Server;
use crate::shared::Shared;

/// Reads the list of sessions from the store, so that it can be shown at once, and starts the hub.
pub(crate) fn start(
    shared: &Arc<Shared>,
    events: mpsc::UnboundedReceiver<HubEvent>,
) -> Result<(), EngineError> {
    let hub = task::Hub::restore(shared)?;
    shared.publish_servers();
    tokio::spawn(hub.run(events));
    for server in shared.servers() {
        attend(shared, &server);
    }
    Ok(())
}

/// Asks a server for its sessions from now on.
pub(crate) fn attend(shared: &Arc<Shared>, server: &Arc<Server>) {
    tokio::spawn(lister::run(Arc::clone(shared), Arc::clone(server)));
}
