//! Why a server could not be started.

use std::{net::SocketAddr, path::PathBuf};

/// Why [`start`](crate::start) failed. The text is one sentence for the person who started it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Another program listens there.
    #[error("{0} is already in use; stop the other program or choose another address")]
    AddressInUse(SocketAddr),
    /// The address cannot be bound for another reason.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// No authentication is only safe where nobody else can connect.
    #[error("refusing to listen on {0} without authentication; use a loopback address or a token")]
    OpenToTheNetwork(SocketAddr),
    /// `*` would let every web page the person visits use the server.
    #[error("the origin * needs a token; name the allowed origins instead")]
    AnyOriginWithoutToken,
    /// The folder cannot be made or written.
    #[error("cannot use the data folder {path}: {source}")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another server uses the folder.
    #[error("another session server uses {0}; stop it or choose another data folder")]
    DataDirInUse(PathBuf),
    /// The streams on disk cannot be opened.
    #[error("cannot open the streams in {path}: {reason}")]
    Streams {
        /// Their folder.
        path: PathBuf,
        /// What the storage said.
        reason: String,
    },
    /// The server's own database cannot be opened.
    #[error(
        "cannot open {path}: {source}; move the file away to start with an empty one (sessions stay)"
    )]
    Store {
        /// Its file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The server's own database failed after it was opened.
    #[error("the server's database failed: {0}")]
    StoreFailed(String),
    /// An HTTP client for agents or a remote stream server cannot be built.
    #[error("cannot set up the HTTP client: {0}")]
    HttpClient(reqwest::Error),
    /// The certificate or its key cannot be used.
    #[error("cannot use {path} for TLS: {reason}; give PEM files, the chain and its key")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The token of the remote stream server cannot be sent.
    #[error("the stream server's token has characters that no token has")]
    StreamsToken,
    /// The URL of the remote stream server cannot be used.
    #[error("cannot use {0} as a stream server; give an http or https URL")]
    StreamsUrl(url::Url),
}
