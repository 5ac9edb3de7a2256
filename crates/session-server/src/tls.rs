//! HTTPS: connections are accepted and their handshakes done beside each other, so that a client that does not finish
//! its handshake holds nobody up.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

use crate::{config::TlsFiles, error::ServerError};

const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way; more wait in the system's queue.
const MAX_HANDSHAKES: usize = 256;

type Shaken = Option<(TlsStream<TcpStream>, SocketAddr)>;

/// A listener that speaks TLS.
pub(crate) struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Shaken>,
}

impl TlsListener {
    pub(crate) fn new(tcp: TcpListener, files: &TlsFiles) -> Result<Self, ServerError> {
        let config = config(files)?;
        Ok(Self { tcp, acceptor: TlsAcceptor::from(Arc::new(config)), handshakes: JoinSet::new() })
    }
}

fn config(files: &TlsFiles) -> Result<rustls::ServerConfig, ServerError> {
    let unusable = |path: &Path, reason: String| ServerError::Tls { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&files.certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unusable(&files.key, error.to_string()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| unusable(&files.certificate, error.to_string()))?;
    // Browsers open six HTTP/1.1 connections to a server: six readers that follow would be all.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let room = self.handshakes.len() < MAX_HANDSHAKES;
            tokio::select! {
                (tcp, peer) = Listener::accept(&mut self.tcp), if room => {
                    let handshake = self.acceptor.accept(tcp);
                    self.handshakes.spawn(async move {
                        let done = tokio::time::timeout(HANDSHAKE, handshake).await;
                        done.ok()?.ok().map(|stream| (stream, peer))
                    });
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(accepted)) = done {
                        return accepted;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
