//! How the server is while it is attacked: `/healthz` and memory, looked at by threads of their
//! own.
//!
//! This machine may be busy with other things. So the same question is put to an echo of this
//! process at the same time, and what the echo took in the time of a slow answer is not the
//! server's fault; and where other programs take a part of the processors, an answer may take
//! longer in the same proportion (four times at most).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::server::{Server, ticks_of};

const EVERY: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(10);
const GET: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// Above idle; beyond it the attack has won and the server is started anew, before the machine has
/// no memory left.
const GIVE_UP_MB: f64 = 1000.0;

type Times = Arc<Mutex<Vec<(Instant, Duration)>>>;

pub struct Probe {
    server: Arc<Server>,
    health: Times,
    echo: Times,
    /// The server was given up, or fell.
    pub lost: Arc<Mutex<Option<String>>>,
    paused: Arc<AtomicBool>,
    pub idle_mb: Arc<Mutex<f64>>,
    began: Mutex<(Instant, Ticks)>,
}

/// What was seen since the last [`Probe::begin`].
#[derive(Default, Clone, Copy)]
pub struct Seen {
    /// Memory above idle.
    pub peak_mb: f64,
    /// The slowest `/healthz`, and the echo's slowest in the same time.
    pub health: Duration,
    pub echo: Duration,
    /// The slowest when the echo's time is taken off.
    pub own: Duration,
    /// What that may take here.
    pub allowed: Duration,
    /// The part of the processors' time that other programs had.
    pub others: f64,
}

#[derive(Default, Clone, Copy)]
struct Ticks {
    all: u64,
    busy: u64,
    ours: u64,
}

impl Probe {
    pub fn start(server: Arc<Server>) -> Self {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let echo_address = echo.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in echo.incoming().flatten() {
                stream.read_exact(&mut [0; GET.len()]).ok();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok();
            }
        });
        let idle_mb = Arc::new(Mutex::new(f64::MAX));
        let began = Mutex::new((Instant::now(), Ticks::default()));
        let (lost, paused) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let new = Self {
            server,
            health: Times::default(),
            echo: Times::default(),
            lost,
            paused,
            idle_mb,
            began,
        };
        ask_again_and_again(new.server.address, Arc::clone(&new.health), Arc::clone(&new.paused));
        ask_again_and_again(echo_address, Arc::clone(&new.echo), Arc::default());
        new.watch();
        new
    }

    /// Looks whether the server lives and what it has, and starts it anew where that has to be.
    fn watch(&self) {
        let (server, lost) = (Arc::clone(&self.server), Arc::clone(&self.lost));
        let (paused, idle) = (Arc::clone(&self.paused), Arc::clone(&self.idle_mb));
        std::thread::spawn(move || {
            while !server.has_ended() {
                std::thread::sleep(Duration::from_millis(10));
                let above = server.memory().0 - *idle.lock().unwrap();
                let why = if server.has_ended() {
                    return;
                } else if server.is_dead() {
                    "the server died".to_owned()
                } else if above > GIVE_UP_MB {
                    format!("memory went {above:.0} MB above idle: the server was started anew")
                } else {
                    continue;
                };
                paused.store(true, Ordering::SeqCst);
                server.restart();
                paused.store(false, Ordering::SeqCst);
                *lost.lock().unwrap() = Some(why);
            }
        });
    }

    pub fn begin(&self) {
        self.server.forget_peak();
        self.lost.lock().unwrap().take();
        *self.began.lock().unwrap() = (Instant::now(), self.ticks());
        self.health.lock().unwrap().clear();
        self.echo.lock().unwrap().clear();
    }

    fn ticks(&self) -> Ticks {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        let times: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let all = times.iter().take(8).sum();
        // The fourth and fifth are what nobody used.
        let busy = all - times.iter().skip(3).take(2).sum::<u64>();
        Ticks { all, busy, ours: self.server.ticks() + ticks_of("/proc/self/stat") }
    }

    /// Waits for an answer to a question that is asked now, so that no slow one is still under way.
    pub async fn settle(&self) {
        let (now, deadline) = (Instant::now(), Instant::now() + 2 * PATIENCE);
        let answered = || self.health.lock().unwrap().last().is_some_and(|(asked, _)| *asked > now);
        while !answered() && Instant::now() < deadline {
            tokio::time::sleep(EVERY).await;
        }
    }

    pub fn seen(&self) -> Seen {
        let now = self.ticks();
        let (_, before) = *self.began.lock().unwrap();
        let ours = now.ours.saturating_sub(before.ours);
        let others = (now.busy - before.busy).saturating_sub(ours) as f64;
        let others = (others / (now.all - before.all).max(1) as f64).clamp(0.0, 0.75);
        let peak = self.server.memory().1 - *self.idle_mb.lock().unwrap();
        let allowed = Duration::from_millis(100).div_f64(1.0 - others);
        let mut seen = Seen { peak_mb: peak.max(0.0), allowed, others, ..Seen::default() };
        let echo = self.echo.lock().unwrap().clone();
        for (asked, took) in self.health.lock().unwrap().iter().copied() {
            let meanwhile = echo
                .iter()
                .filter(|(at, took_too)| *at <= asked + took && *at + *took_too >= asked);
            let control = meanwhile.map(|(_, took)| *took).max().unwrap_or_default();
            let own = took.saturating_sub(control);
            if own >= seen.own {
                (seen.own, seen.health, seen.echo) = (own, took, control);
            }
        }
        seen
    }
}

fn ask_again_and_again(address: SocketAddr, times: Times, paused: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        loop {
            let asked = Instant::now();
            let answer = ask(address);
            // Another answer than 200 is none.
            let refused = matches!(&answer, Ok(false));
            let took = if refused { PATIENCE } else { asked.elapsed() };
            let answered = answer.is_ok();
            if !paused.load(Ordering::SeqCst) && (answered || took >= PATIENCE) {
                times.lock().unwrap().push((asked, took));
            }
            std::thread::sleep(EVERY);
        }
    });
}

fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(GET.as_bytes())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.ends_with(b"200"))
}
