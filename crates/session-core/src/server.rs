//! A session server that this person uses, and the connection to it.
//!
//! Each has its own connection, backoff and state: one that hangs or refuses delays no other. A
//! session's task knows only its own server, so nothing that a person writes can go to another
//! (L16).

use std::fmt;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use ts_rs::TS;

use crate::config::Actor;
use crate::connection::Connected;
use crate::lock::lock;
use crate::store::ServerRow;
use crate::summary::Connection;

/// A server as the window shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ServerSummary {
    /// The server's id on this machine, the first half of its sessions' ids.
    pub id: String,
    /// The person's name for it.
    pub name: String,
    /// Address of the server; `None` for the one inside this computer.
    pub url: Option<String>,
    /// Id of this person there, where the token decides that: the actor of what is said.
    pub me: Option<String>,
    /// Whether the person removed it and kept its sessions, which can be read only.
    pub forgotten: bool,
    /// State of the connection to the server.
    pub connection: Connection,
}

// L11: names are what people wrote.
impl fmt::Debug for ServerSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSummary")
            .field("id", &self.id)
            .field("forgotten", &self.forgotten)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

/// A server while the engine runs. Shared by the tasks of its sessions.
pub(crate) struct Server {
    /// Id of the server on this machine.
    pub(crate) id: String,
    row: Mutex<ServerRow>,
    /// Endpoint and client of the server; `None` while it cannot be talked to.
    pub(crate) connected: watch::Sender<Option<Connected>>,
    /// Counts requests that got through and calls of `nudge`: whoever waits may try again.
    pub(crate) success: watch::Sender<u64>,
    pub(crate) status: watch::Sender<Connection>,
    /// Signal that the server's list is wanted now.
    pub(crate) ask: Notify,
    /// Cancelled when the engine ends, or the person removes it.
    pub(crate) cancel: CancellationToken,
}

impl Server {
    pub(crate) fn new(row: ServerRow, cancel: CancellationToken) -> Self {
        Self {
            id: row.id.clone(),
            row: Mutex::new(row),
            connected: watch::Sender::new(None),
            success: watch::Sender::new(0),
            status: watch::Sender::default(),
            ask: Notify::new(),
            cancel,
        }
    }

    /// The stored row.
    pub(crate) fn row(&self) -> ServerRow {
        lock(&self.row).clone()
    }

    /// Changes the stored row in memory.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut ServerRow)) {
        change(&mut lock(&self.row));
    }

    /// Whether the person removed it: nothing is sent to it any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        lock(&self.row).forgotten
    }

    pub(crate) fn summary(&self) -> ServerSummary {
        let ServerRow { id, name, url, me, forgotten } = self.row();
        ServerSummary { id, name, url, me, forgotten, connection: self.status.borrow().clone() }
    }

    /// Id of this person there.
    pub(crate) fn me(&self, actor: &Actor) -> String {
        lock(&self.row).me.clone().unwrap_or_else(|| actor.id.clone())
    }

    /// Takes note that something got through to the server: whatever waits may try now.
    pub(crate) fn succeeded(&self) {
        self.success.send_modify(|count| *count += 1);
    }

    /// Tries now whatever waits for the server.
    pub(crate) fn nudge(&self) {
        if let Some(connected) = self.connected.borrow().as_ref() {
            connected.client.streams().nudge().wake();
        }
        self.succeeded();
        self.ask.notify_one();
    }

    /// Makes every connection to the server anew, also those of requests under way.
    pub(crate) fn renew(&self) {
        self.connected.send_if_modified(|connected| {
            if let Some(connected) = connected {
                connected.client.renew();
                connected.client.streams().nudge().reconnect();
            }
            // It is the same server.
            false
        });
    }
}
