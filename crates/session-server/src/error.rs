//! Why a server could not be started.

use std::{net::SocketAddr, path::PathBuf};

use sqlite_line::{Cause, OpenError};

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
        /// The system's own error.
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
        /// The system's own error.
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
        /// The storage's own words.
        reason: String,
    },
    /// The server's own database cannot be opened.
    #[error("cannot open {path}: {reason}; check that it and its folder can be written")]
    Store {
        /// The database's file.
        path: PathBuf,
        /// SQLite's own words.
        reason: String,
    },
    /// There is no room for what opening it needs.
    #[error("cannot open {0}: the disk is full; free some space, then start again")]
    StoreFull(PathBuf),
    /// A newer version of the server has written it.
    #[error(
        "a newer version has written {0}; start that version, or restore a copy from before it"
    )]
    StoreNewer(PathBuf),
    /// The file is no database any more.
    #[error(
        "{path} is damaged ({reason}); restore it, or move it away to start with an empty one: sessions stay, \
         tokens and agents' headers have to be entered again"
    )]
    StoreDamaged {
        /// The database's file.
        path: PathBuf,
        /// SQLite's own words.
        reason: String,
    },
    /// The database of sessions is there and that of their streams is not.
    #[error(
        "the streams of {sessions} sessions are missing in {path}; restore the folder, or use another data folder to \
         start with an empty one"
    )]
    StreamsMissing {
        /// Where they should be.
        path: PathBuf,
        /// Number of sessions in the list.
        sessions: i64,
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
        /// The fault that was found.
        reason: String,
    },
    /// The token of the remote stream server cannot be sent.
    #[error("the stream server's token has characters that no token has")]
    StreamsToken,
    /// The URL of the remote stream server cannot be used.
    #[error("cannot use {0} as a stream server; give an http or https URL")]
    StreamsUrl(url::Url),
}

impl ServerError {
    /// Why a database cannot be opened.
    pub(crate) fn store(path: PathBuf, error: &OpenError) -> Self {
        let reason = error.to_string();
        match (error, error.cause()) {
            (OpenError::Io(source), _) => {
                Self::DataDir { path, source: std::io::Error::new(source.kind(), reason) }
            }
            (OpenError::Newer { .. }, _) => Self::StoreNewer(path),
            (_, Cause::Full) => Self::StoreFull(path),
            (_, Cause::Damaged) => Self::StoreDamaged { path, reason },
            (_, Cause::Unavailable | Cause::Other) => Self::Store { path, reason },
        }
    }
}
