//! A proxy that does to a connection what networks and gateways do, by a seed.
//!
//! Each connection carries one request. What happens to it is drawn from the seed, the kind of the
//! request and its number, so that a seed brings the same faults again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable_stream::Url;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// Close without having forwarded anything.
    DropRequest,
    /// Forward a part of the request and close.
    TruncateRequest,
    /// Answer with a status without having forwarded anything.
    Refuse(u16),
    /// Forward, let the server finish, and answer with a status of our own.
    Replace(u16),
    /// Forward, let the server finish, and close without an answer.
    DropAnswer,
    /// Close in the middle of the answer, after this many bytes.
    Cut(usize),
    /// Forward the request twice and give the second answer.
    Duplicate,
    /// Forward, and never say anything more after this many bytes.
    Stall(usize),
}

/// How an answer is handed on.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// The greatest piece.
    piece: usize,
    /// The longest pause between pieces.
    pause: Duration,
}

pub(crate) struct FaultProxy {
    pub(crate) base: Url,
    task: JoinHandle<()>,
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Plan {
    seed: u64,
    /// Of 100 requests so many are faulted.
    rate: u32,
    counts: Mutex<HashMap<String, u64>>,
}

impl FaultProxy {
    /// Stands before the server at `target`.
    pub(crate) async fn start(target: &Url, seed: u64, rate: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut base = target.clone();
        base.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let upstream = target.socket_addrs(|| None).unwrap()[0];
        let plan = Arc::new(Plan { seed, rate, counts: Mutex::default() });
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let plan = Arc::clone(&plan);
                connections.spawn(async move {
                    // A broken connection is what this proxy is for.
                    let _ = plan.carry(client, upstream).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { base, task }
    }
}

impl Plan {
    fn draw(&self, kind: &str) -> (Fault, Pace, StdRng) {
        let number = {
            let mut counts = self.counts.lock().unwrap();
            let count = counts.entry(kind.to_owned()).or_default();
            *count += 1;
            *count
        };
        let mixed = kind
            .bytes()
            .fold(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15), |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut rng = StdRng::seed_from_u64(mixed);
        let status = [429, 500, 502, 503, 504][rng.random_range(0..5)];
        let fault = if rng.random_range(0..100) >= self.rate {
            Fault::None
        } else {
            match rng.random_range(0..12) {
                0 => Fault::DropRequest,
                1 => Fault::TruncateRequest,
                2 | 3 => Fault::Refuse(status),
                4 => Fault::Replace(if status == 429 { 500 } else { status }),
                5 => Fault::DropAnswer,
                6..=8 => Fault::Cut(rng.random_range(0..1200)),
                9 | 10 => Fault::Duplicate,
                _ => Fault::Stall(rng.random_range(0..600)),
            }
        };
        let pace = match rng.random_range(0..3) {
            0 => Pace { piece: 1 << 16, pause: Duration::ZERO },
            1 => Pace { piece: rng.random_range(1..40), pause: Duration::ZERO },
            _ => Pace { piece: rng.random_range(20..2000), pause: Duration::from_millis(2) },
        };
        (fault, pace, rng)
    }

    async fn carry(&self, mut client: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let (head, body) = read_request(&mut client).await?;
        let line = head.lines().next().unwrap_or_default();
        let live =
            ["live=sse", "live=long-poll"].iter().find(|live| line.contains(**live)).unwrap_or(&"");
        let kind = format!("{} {live}", line.split(' ').next().unwrap_or_default());
        let (fault, pace, mut rng) = self.draw(&kind);
        // One request a connection keeps the faults apart.
        let request =
            [head.replacen("\r\n", "\r\nConnection: close\r\n", 1).into_bytes(), body].concat();

        match fault {
            Fault::DropRequest => return Ok(()),
            Fault::TruncateRequest => {
                let mut server = TcpStream::connect(upstream).await?;
                let part = rng.random_range(0..request.len());
                server.write_all(&request[..part]).await?;
                return server.shutdown().await;
            }
            Fault::Refuse(status) => return answer(&mut client, status).await,
            Fault::Replace(status) => {
                forget(upstream, &request).await?;
                return answer(&mut client, status).await;
            }
            Fault::DropAnswer => return forget(upstream, &request).await,
            Fault::Duplicate => forget(upstream, &request).await?,
            Fault::None | Fault::Cut(_) | Fault::Stall(_) => {}
        }
        let mut server = TcpStream::connect(upstream).await?;
        server.write_all(&request).await?;
        let mut left = match fault {
            Fault::Cut(bytes) | Fault::Stall(bytes) => bytes,
            _ => usize::MAX,
        };
        let mut buffer = vec![0; 1 << 16];
        loop {
            // The reader may go away while the server has nothing to say.
            let mut gone = [0];
            let read = tokio::select! {
                read = server.read(&mut buffer) => read?,
                _ = client.read(&mut gone) => return Ok(()),
            };
            if read == 0 {
                return client.shutdown().await;
            }
            let all = read.min(left);
            let mut rest = &buffer[..all];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rng.random_range(1..=pace.piece.min(rest.len())));
                client.write_all(now).await?;
                rest = later;
                if pace.pause.is_zero() {
                    tokio::task::yield_now().await;
                } else {
                    tokio::time::sleep(pace.pause.mul_f64(rng.random())).await;
                }
            }
            left -= all;
            if left == 0 {
                if let Fault::Stall(_) = fault {
                    // Until the client gives up.
                    let _ = client.read(&mut [0]).await;
                }
                return Ok(());
            }
        }
    }
}

async fn read_request(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    let end = loop {
        if let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut seen).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = seen.split_off(end);
    let head = String::from_utf8(seen).unwrap();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.parse().unwrap());
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((head, body))
}

/// Lets the server carry out a request and drops its answer. An event stream is dropped at its
/// first bytes.
async fn forget(upstream: SocketAddr, request: &[u8]) -> std::io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(request).await?;
    let live = request.windows(5).any(|window| window == b"live=");
    let mut buffer = vec![0; 1 << 16];
    if !live {
        while server.read(&mut buffer).await? > 0 {}
    }
    Ok(())
}

async fn answer(client: &mut TcpStream, status: u16) -> std::io::Result<()> {
    let wait = if status == 429 { "Retry-After: 0\r\n" } else { "" };
    let text = format!(
        "HTTP/1.1 {status} Fault\r\n{wait}Content-Length: 5\r\nConnection: close\r\n\r\nfault"
    );
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}
