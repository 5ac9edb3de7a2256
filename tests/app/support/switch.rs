//! A network cable with a switch: a TCP proxy on loopback that can be cut and joined.

use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy to one address. Cut, it drops all connections and refuses new ones at once.
pub struct Switch {
    on: watch::Sender<bool>,
    pub address: SocketAddr,
}

impl Switch {
    /// Starts a proxy to `to`, joined.
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (on, mut state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if !*state.borrow_and_update() {
                    continue;
                }
                let mut cut = state.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(to).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.wait_for(|on| !on) => {}
                    }
                });
            }
        });
        Self { on, address }
    }

    /// Cuts the cable.
    pub fn cut(&self) {
        self.on.send_replace(false);
    }

    /// Joins it again.
    pub fn join(&self) {
        self.on.send_replace(true);
    }

    /// The proxy's base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
