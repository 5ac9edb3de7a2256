//! A network that cuts connections at any byte: what was asked for arrives once and in order, and
//! what is shown is what the stream says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use session_protocol::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Home, Window, connect, demo, true_items, truth};

/// Passes bytes on until a connection has used up its share, then cuts it in both directions.
struct Proxy {
    addr: SocketAddr,
    calm: Arc<AtomicBool>,
    cuts: Arc<AtomicU64>,
}

impl Proxy {
    async fn to(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let calm = Arc::new(AtomicBool::new(false));
        let cuts = Arc::new(AtomicU64::new(0));
        let (is_calm, count) = (Arc::clone(&calm), Arc::clone(&cuts));
        tokio::spawn(async move {
            let mut state = seed;
            while let Ok((client, _)) = listener.accept().await {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let share =
                    if is_calm.load(Ordering::Relaxed) { u64::MAX } else { (state >> 33) % 2000 };
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    if pass(client, server, share).await.is_none() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { addr, calm, cuts }
    }
}

/// `None` when the connection was cut.
async fn pass(mut client: TcpStream, server: SocketAddr, mut share: u64) -> Option<()> {
    let mut server = TcpStream::connect(server).await.ok()?;
    let (mut up, mut down) = ([0u8; 512], [0u8; 512]);
    loop {
        let (from_client, n) = tokio::select! {
            read = client.read(&mut up) => (true, read.ok()?),
            read = server.read(&mut down) => (false, read.ok()?),
        };
        if n == 0 {
            return Some(());
        }
        // What the server answers counts more: a lost answer is the hard case.
        let passed = n.min(usize::try_from(share).unwrap_or(n));
        share = share.saturating_sub(n as u64);
        let written = if from_client {
            server.write_all(&up[..passed]).await
        } else {
            client.write_all(&down[..passed]).await
        };
        written.ok()?;
        if passed < n {
            return None;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_once_and_in_order_through_a_network_that_cuts() {
    let home = Home::new();
    let server = home.server().await;
    let proxy = Proxy::to(server.addr, 0x5eed_0003).await;
    let engine = home.engine();
    let session = engine.create_session(demo()).await.expect("it is saved");
    connect(&engine, &format!("http://{}/", proxy.addr).parse().expect("it is a URL"));
    let mut window = Window::open(&engine, &session);
    let mut sent = Vec::new();
    for n in 0..20 {
        let text = if n % 10 == 9 { "long 30" } else { "hello" };
        sent.push(engine.send_message(&session, text).await.expect("it is saved"));
    }
    let mut rounds = 0;
    while truth(&server, &session).await.iter().filter(|m| m.role == Role::User).count() < 20 {
        engine.nudge();
        let pull = window.pull();
        tokio::time::timeout(std::time::Duration::from_millis(20), pull).await.ok();
        rounds += 1;
        assert!(rounds < 3000, "nothing gets through");
    }
    let cuts = proxy.cuts.load(Ordering::Relaxed);
    assert!(cuts > 10, "the network was bad enough: {cuts} cuts");
    proxy.calm.store(true, Ordering::Relaxed);
    engine.nudge();
    window.until("all is answered and settled", |w| w.is_settled() && w.answers() == 20).await;
    let said: Vec<String> = truth(&server, &session)
        .await
        .into_iter()
        .filter(|message| message.role == Role::User)
        .map(|message| message.id)
        .collect();
    assert_eq!(said, sent, "each once, in the order they were written");
    assert_eq!(window.items, true_items(&server, &session).await);
}
