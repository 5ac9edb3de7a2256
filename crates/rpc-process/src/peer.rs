//! A program that speaks JSON-RPC on its standard input and output.
//!
//! ```text
//!   request, notify, answer ─▶ queue ─▶ stdin ─▶ program ─▶ stdout ─▶ Lines ─▶ Message ─▶ next
//!                                                   └─▶ stderr ─▶ tail
//! ```
//!
//! Messages, answers among them, come in the order in which they were said: an answer never overtakes the updates before
//! it. What is read and not taken has [`HELD`] bytes; then the program waits. A program that does not read what it is
//! told is ended, because what is kept for it would grow.
//!
//! It leads a group of its own, and ends as one: end of input, [`PATIENCE`], TERM, [`PATIENCE`], KILL, all for the whole
//! group. So it ends when the peer is dropped, and when the runtime is (KILL at once).

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use process_wrap::tokio::{ChildWrapper, CommandWrap};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    command::{Command, StartError},
    lines::Lines,
    message::{self, Message, RpcError},
    pids::{Note, Pids, group_runs},
};

/// Time that a program has to end by itself, before each sterner step.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of messages that are read and not taken yet. One message may always be.
const HELD: usize = 24 << 20;
/// Messages that wait for the program to read them.
const UNREAD: usize = 256;
/// Messages that are read and not taken.
const UNTAKEN: usize = 1024;
/// Bytes of its standard error that are kept, the last ones.
const STDERR: usize = 64 << 10;
/// Lines of noise that are kept, and bytes of each.
const NOISE: (usize, usize) = (5, 200);
/// Time that what is left on its standard output may take to be read after its end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a program does.
#[derive(Debug)]
pub enum Incoming {
    /// It said something.
    Message(Message),
    /// It is gone, or cannot be spoken with any more. Nothing comes behind it.
    Gone(Ended),
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ended by itself, with this code where it has one.
    Exited(Option<i32>),
    /// It closed its output, or does not read its input.
    Silent,
}

/// What there is beside the messages: counts, and the program's own words for its owner.
#[derive(Default)]
pub struct Aside {
    noise: AtomicU64,
    lines: Mutex<Vec<String>>,
    stderr: Mutex<VecDeque<u8>>,
}

impl Aside {
    /// Number of lines that were no messages, those that were too long among them.
    pub fn noise(&self) -> u64 {
        self.noise.load(Ordering::Relaxed)
    }

    /// The first lines that were no messages, cut. For the owner of the host only.
    pub fn noise_lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last bytes of its standard error. For the owner of the host only.
    pub fn stderr(&self) -> String {
        let tail = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn heard(&self, line: &[u8]) {
        self.noise.fetch_add(1, Ordering::Relaxed);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < NOISE.0 {
            let line = line.get(..NOISE.1).unwrap_or(line);
            lines.push(String::from_utf8_lossy(line).into_owned());
        }
    }
}

// L11
impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aside({} lines of noise)", self.noise())
    }
}

type Taken = (Message, OwnedSemaphorePermit);

/// A program that was started, from this side.
#[derive(Debug)]
pub struct Peer {
    to: Option<mpsc::Sender<Vec<u8>>>,
    from: mpsc::Receiver<Taken>,
    next: u64,
    /// It is gone, and has said all that there was.
    ended: Option<Ended>,
    pid: u32,
    aside: Arc<Aside>,
    exited: oneshot::Receiver<Option<i32>>,
    /// Dropping it ends the program; so does a word, at once.
    end: oneshot::Sender<()>,
    supervisor: JoinHandle<()>,
}

impl Peer {
    /// Starts a program. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The program is not there or may not be run, or the folder is not there.
    pub fn start(command: &Command, pids: &Pids) -> Result<Self, StartError> {
        let life = uuid::Uuid::new_v4().to_string();
        let mut wrap = CommandWrap::from(command.prepare(&life)?);
        #[cfg(unix)]
        wrap.wrap(process_wrap::tokio::ProcessGroup::leader());
        #[cfg(windows)]
        wrap.wrap(process_wrap::tokio::JobObject);
        let mut child = wrap.spawn().map_err(|error| command.failed(error))?;
        let pid = child.id().unwrap_or_default();
        let note = pids.note(pid, &life).ok(); // without a note it only lives on when this host is killed
        let pipes = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let group = Group { child, pid, note };
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            unreachable!("all three were piped");
        };
        let aside = Arc::new(Aside::default());
        let (to, queue) = mpsc::channel(UNREAD);
        let (found, from) = mpsc::channel(UNTAKEN);
        let (end, ending) = oneshot::channel();
        let (exit, exited) = oneshot::channel();
        tokio::spawn(write(queue, stdin));
        let reading = tokio::spawn(read(stdout, found, Arc::clone(&aside)));
        tokio::spawn(hear(stderr, Arc::clone(&aside)));
        let supervisor = tokio::spawn(supervise(group, ending, exit, reading));
        let to = Some(to);
        Ok(Self { to, from, next: 0, ended: None, pid, aside, exited, end, supervisor })
    }

    /// Sends a request; its number, under which the answer comes.
    pub fn request(&mut self, method: &str, params: &Value) -> u64 {
        let id = self.next;
        self.next += 1;
        self.send(message::request(id, method, params));
        id
    }

    /// Sends a notification.
    pub fn notify(&mut self, method: &str, params: &Value) {
        self.send(message::notification(method, params));
    }

    /// Answers a request of the program.
    pub fn answer(&mut self, id: &Value, answer: &Result<Value, RpcError>) {
        self.send(message::answer(id, answer));
    }

    fn send(&mut self, line: Vec<u8>) {
        if let Some(to) = &self.to
            && let Err(mpsc::error::TrySendError::Full(_)) = to.try_send(line)
        {
            self.ended = Some(Ended::Silent);
        }
    }

    /// What the program does next.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Incoming {
        if let Some(ended) = &self.ended {
            return Incoming::Gone(ended.clone());
        }
        if let Some((message, _held)) = self.from.recv().await {
            return Incoming::Message(message);
        }
        // Its output ended, by its end as a rule.
        let ended = match timeout(LAST_WORDS, &mut self.exited).await {
            Ok(code) => Ended::Exited(code.ok().flatten()),
            Err(_) => Ended::Silent,
        };
        self.ended = Some(ended.clone());
        Incoming::Gone(ended)
    }

    /// Its process id, which is its group's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What there is beside the messages.
    pub fn aside(&self) -> Arc<Aside> {
        Arc::clone(&self.aside)
    }

    /// Ends the program and waits until its group is gone.
    ///
    /// # Cancel safety
    ///
    /// It ends also when the future is dropped.
    pub async fn close(self) {
        let Self { to, from, end, supervisor, .. } = self;
        drop((to, from, end));
        supervisor.await.ok();
    }

    /// Kills the program and all of its group, and waits until they are gone.
    ///
    /// # Cancel safety
    ///
    /// They end also when the future is dropped.
    pub async fn kill(self) {
        self.end.send(()).ok();
        self.supervisor.await.ok();
    }
}

/// The processes of a program. They are killed when it is dropped.
struct Group {
    child: Box<dyn ChildWrapper>,
    pid: u32,
    note: Option<Note>,
}

impl Group {
    fn kill(&mut self) {
        self.child.start_kill().ok(); // it is gone already
    }

    /// Asks the group to end, where the system has a way to ask.
    fn terminate(&mut self) {
        #[cfg(unix)]
        self.child.signal(rustix::process::Signal::TERM.as_raw()).ok();
        #[cfg(not(unix))]
        self.kill();
    }

    /// Waits until nothing of it runs.
    async fn gone(&mut self, patience: Duration) -> bool {
        let gone = async {
            self.child.wait().await.ok();
            while group_runs(self.pid) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(patience, gone).await.is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        if let Some(note) = self.note.take() {
            note.remove();
        }
    }
}

async fn supervise(
    mut group: Group,
    ending: oneshot::Receiver<()>,
    exit: oneshot::Sender<Option<i32>>,
    reading: JoinHandle<()>,
) {
    tokio::select! {
        ending = ending => {
            if ending.is_ok() {
                group.kill();
            } // else its input ends with the peer
        }
        status = group.child.wait() => {
            exit.send(status.ok().and_then(|status| status.code())).ok();
            // A descendant may hold the output open: what was said is read, and no more.
            let mut reading = reading;
            if timeout(LAST_WORDS, &mut reading).await.is_err() {
                reading.abort();
            }
        }
    }
    if !group.gone(PATIENCE).await {
        group.terminate();
        if !group.gone(PATIENCE).await {
            group.kill();
            group.gone(PATIENCE).await;
        }
    }
}

async fn write(mut queue: mpsc::Receiver<Vec<u8>>, mut stdin: ChildStdin) {
    while let Some(line) = queue.recv().await {
        if stdin.write_all(&line).await.is_err() {
            return; // whoever reads its output sees the end
        }
    }
}

async fn read(mut stdout: ChildStdout, found: mpsc::Sender<Taken>, aside: Arc<Aside>) {
    let held = Arc::new(Semaphore::new(HELD));
    let mut lines = Lines::default();
    let (mut buffer, mut ready, mut long) = (vec![0; 64 << 10], Vec::new(), 0);
    loop {
        let ends = match stdout.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                ready.extend(lines.rest());
                true
            }
            Ok(count) => {
                lines.push(&buffer[..count], |line| ready.push(line));
                false
            }
        };
        for _ in long..lines.long() {
            aside.heard(b"(a line that is too long)");
        }
        long = lines.long();
        for line in ready.drain(..) {
            let messages = Message::read(&line);
            if messages.is_empty() {
                aside.heard(&line);
            }
            let each = line.len() / messages.len().max(1);
            for message in messages {
                // As values messages are several times their bytes: count them so, up to all there is.
                let room =
                    u32::try_from(each.saturating_mul(2).clamp(64, HELD)).unwrap_or(u32::MAX);
                let Ok(room) = Arc::clone(&held).acquire_many_owned(room).await else { return };
                // Nobody listens any more; the program may still have to be read to end.
                found.send((message, room)).await.ok();
            }
        }
        if ends {
            return;
        }
    }
}

async fn hear(mut stderr: ChildStderr, aside: Arc<Aside>) {
    let mut buffer = vec![0; 8 << 10];
    while let Ok(count) = stderr.read(&mut buffer).await
        && count > 0
    {
        let mut tail = aside.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(&buffer[..count]);
        let over = tail.len().saturating_sub(STDERR);
        tail.drain(..over);
    }
}
