//! The server the engine talks to now.

use std::time::Duration;

use crate::client::{NoTls, SessionClient};
use crate::endpoint::Endpoint;

/// Time that making a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A server, with the client that talks to it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) client: SessionClient,
    /// Number of the call of `connect` that led here: a new one means to start over.
    pub(crate) generation: u64,
}

impl Connected {
    /// The client for a server. Nothing is sent.
    pub(crate) fn new(endpoint: Endpoint, generation: u64) -> Result<Self, NoTls> {
        Ok(Self { client: SessionClient::new(endpoint, CONNECT)?, generation })
    }
}
