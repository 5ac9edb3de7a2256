//! The window's side: find the host, start it, stay attached.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder, Response};
use tokio::sync::{oneshot, watch};
use url::Url;

use crate::{
    Build,
    api::{self, Attach, Hello, ModelKey, PROTOCOL, Stop},
    build::Verdict,
    files::{self, Address},
};

/// Time that finding or starting a host may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Time that one answer of a host may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Time between two looks for a host that was started.
const LOOK: Duration = Duration::from_millis(5);
/// Time before another host is started in the place of one that says that there is one.
const AGAIN: Duration = Duration::from_millis(250);
/// Bytes of the log above which a new host begins it anew.
const LOG_BYTES: u64 = 1 << 20;
/// Bytes of one line of a host.
const LINE_BYTES: usize = 64 << 10;

/// Why a window is not attached. One sentence for the person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The program is not where the app expects it.
    #[error(
        "The program {0} is missing, so nothing runs the agents of this computer. Install Threadkeep again."
    )]
    NoProgram(PathBuf),
    /// The program ended at once, and said why.
    #[error("The agents of this computer cannot be started: {0}")]
    NotStarted(String),
    /// A host is there that cannot be replaced and is not understood.
    #[error(
        "The agents of this computer are run by another version of Threadkeep ({0}). Quit that one, or restart the computer."
    )]
    OtherVersion(String),
    /// A host holds the folder and does not answer.
    #[error(
        "The program that runs the agents of this computer does not answer. End `threadkeep host`, or restart the computer."
    )]
    Silent,
    /// This computer's network cannot be set up.
    #[error("This computer's network cannot be used: {0}")]
    Network(String),
}

impl AttachError {
    /// A stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoProgram(_) => "host-missing",
            Self::NotStarted(_) => "server-not-started",
            Self::OtherVersion(_) => "host-other-version",
            Self::Silent => "host-silent",
            Self::Network(_) => "host-network",
        }
    }
}

/// A data folder, and the program that runs its agents.
#[derive(Debug, Clone)]
pub struct Starter {
    data: PathBuf,
    program: PathBuf,
}

/// What is found in the place of a host.
enum Found {
    Nobody,
    Host(Box<(Link, Hello)>),
}

/// A host that answered.
#[derive(Clone)]
struct Link {
    http: Client,
    address: Address,
}

/// A window's hold on a host. The host counts the window until this is dropped.
pub struct Attached {
    link: Link,
    hello: watch::Receiver<Hello>,
    listening: tokio::task::JoinHandle<()>,
    _until: oneshot::Sender<()>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").field("address", &self.link.address).finish_non_exhaustive()
    }
}

impl Starter {
    /// The host of the data folder `data`, which is `program host --data …`.
    pub fn new(data: impl Into<PathBuf>, program: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), program: program.into() }
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Attaches to the host of the folder; starts it where there is none, replaces it where it is older.
    ///
    /// # Errors
    ///
    /// [`AttachError`], after 20 s at most.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a host behind that ends by itself.
    pub async fn attach(&self) -> Result<Attached, AttachError> {
        let http = durable_stream::http_client(|| {
            Client::builder().no_proxy().connect_timeout(ANSWER).tcp_nodelay(true)
        });
        let http = http.map_err(|error| AttachError::Network(error.to_string()))?;
        let wanted = Build::of(&self.program);
        let deadline = Instant::now() + DEADLINE;
        let mut replaced = false;
        let mut started: Option<(oneshot::Receiver<io::Result<ExitStatus>>, Instant)> = None;
        while Instant::now() < deadline {
            match self.find(&http).await {
                Found::Host(host) => {
                    let (link, hello) = *host;
                    let fits = hello.protocol == PROTOCOL;
                    let old = hello.build.verdict(&wanted) == Verdict::Older;
                    if !old && !fits {
                        return Err(AttachError::OtherVersion(hello.build.version));
                    }
                    // A program that is replaced by itself and is still another one is replaced no more.
                    if old && !replaced && !(fits && hello.running > 0) {
                        tracing::info!(version = hello.build.version, "an older host is replaced");
                        replaced = true;
                        started = None;
                        link.stop(Stop::Now).await;
                        link.gone(deadline).await;
                        continue;
                    }
                    if old && !fits {
                        return Err(AttachError::OtherVersion(hello.build.version));
                    }
                    if old && !replaced {
                        link.stop(Stop::WhenIdle).await;
                    }
                    if let Some(attached) = link.attach(wanted.clone()).await {
                        return Ok(attached);
                    }
                }
                Found::Nobody => match &mut started {
                    None => started = Some((self.start()?, Instant::now())),
                    Some((ended, since)) => match ended.try_recv() {
                        // Whoever killed it says nothing about the next one.
                        Ok(Ok(status)) if status.code().is_some_and(|code| code != 0) => {
                            return Err(AttachError::NotStarted(self.last_words()));
                        }
                        // There is one, or there was: it may be about to listen, or to leave.
                        Ok(_) | Err(oneshot::error::TryRecvError::Closed) => {
                            if since.elapsed() > AGAIN {
                                started = None;
                            }
                        }
                        Err(oneshot::error::TryRecvError::Empty) => {}
                    },
                },
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(AttachError::Silent)
    }

    async fn find(&self, http: &Client) -> Found {
        let Some(address) = Address::read(&self.data) else { return Found::Nobody };
        let link = Link { http: http.clone(), address };
        match link.hello().await {
            Some(hello) => Found::Host(Box::new((link, hello))),
            None => Found::Nobody,
        }
    }

    /// Starts the program; the receiver gets its end.
    fn start(&self) -> Result<oneshot::Receiver<io::Result<ExitStatus>>, AttachError> {
        let log = files::log(&self.data);
        if fs::metadata(&log).is_ok_and(|log| log.len() > LOG_BYTES) {
            fs::remove_file(&log).ok(); // what is kept is the newest
        }
        let mut options = fs::OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let log = options.open(&log).map_or_else(|_| Stdio::null(), Stdio::from);
        let mut command = Command::new(&self.program);
        // No process group: its leader could not begin a session of its own, which the host does first.
        command.arg("host").arg("--data").arg(&self.data);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if let Some(root) = self.data.ancestors().last() {
            command.current_dir(root);
        }
        #[cfg(windows)]
        let child = windows::spawn(&mut command);
        #[cfg(not(windows))]
        let child = command.spawn();
        let mut child = child.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => AttachError::NoProgram(self.program.clone()),
            _ => AttachError::NotStarted(error.to_string()),
        })?;
        let (tell, ended) = oneshot::channel();
        // Somebody has to wait for it, or it is a zombie when it ends.
        std::thread::spawn(move || tell.send(child.wait()).ok());
        Ok(ended)
    }

    /// What the program said last, without its name in front.
    fn last_words(&self) -> String {
        let log = fs::read(files::log(&self.data)).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let last = text.lines().rev().find_map(|line| line.strip_prefix("threadkeep: "));
        last.unwrap_or("it ended without a word").to_owned()
    }
}

impl Link {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.address.control.clone();
        url.set_path(path);
        self.http.request(method, url).bearer_auth(&self.address.control_token)
    }

    async fn hello(&self) -> Option<Hello> {
        let answer = self.request(Method::GET, api::HOST).timeout(ANSWER).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// Asks it to leave. Whether it does is seen by whether it is gone.
    async fn stop(&self, when: Stop) {
        let request = self.request(Method::POST, api::STOP).timeout(ANSWER).json(&when);
        if let Err(error) = request.send().await {
            tracing::debug!(%error, "a host could not be asked to leave");
        }
    }

    /// Waits until it answers no more.
    async fn gone(&self, deadline: Instant) {
        while Instant::now() < deadline && self.hello().await.is_some() {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn attach(self, build: Build) -> Option<Attached> {
        let attach = Attach { protocol: PROTOCOL, build };
        let answer = self.request(Method::POST, api::ATTACH).json(&attach).send();
        let answer = tokio::time::timeout(ANSWER, answer).await.ok()?.ok()?;
        let mut lines = Lines { answer: answer.error_for_status().ok()?, rest: Vec::new() };
        let (tell, hello) = watch::channel(lines.next().await?);
        let (until, dropped) = oneshot::channel::<()>();
        let listening = tokio::spawn(async move {
            let told = async {
                while let Some(hello) = lines.next().await {
                    tell.send_if_modified(|known| std::mem::replace(known, hello.clone()) != hello);
                }
            };
            tokio::select! {
                _ = dropped => {}
                () = told => {}
            }
        });
        Some(Attached { link: self, hello, listening, _until: until })
    }
}

/// The lines of an attached host.
struct Lines {
    answer: Response,
    rest: Vec<u8>,
}

impl Lines {
    /// The next line; `None` when there will be none.
    async fn next(&mut self) -> Option<Hello> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).ok();
            }
            let piece = tokio::time::timeout(api::SILENCE, self.answer.chunk()).await;
            self.rest.extend(piece.ok()?.ok()??);
            if self.rest.len() > LINE_BYTES {
                return None;
            }
        }
    }
}

impl Attached {
    /// Base URL of the session server.
    pub fn server(&self) -> &Url {
        &self.link.address.server
    }

    /// The token for it.
    pub fn server_token(&self) -> &str {
        &self.link.address.server_token
    }

    /// What goes on in the host, as it said last.
    pub fn hello(&self) -> Hello {
        self.hello.borrow().clone()
    }

    /// What goes on in the host, whenever it changes. Closed when the host is gone.
    pub fn watch(&self) -> watch::Receiver<Hello> {
        self.hello.clone()
    }

    /// Whether the host is gone, or does not know this window any more.
    pub fn is_gone(&self) -> bool {
        self.listening.is_finished()
    }

    /// Waits until the host is gone, or does not know this window any more.
    ///
    /// # Cancel safety
    ///
    /// Holds no state.
    pub async fn ended(&self) {
        let mut hello = self.hello.clone();
        while hello.changed().await.is_ok() {}
    }

    /// Asks the host to leave.
    ///
    /// # Cancel safety
    ///
    /// It was asked or it was not.
    pub async fn stop(&self, when: Stop) {
        self.link.stop(when).await;
    }

    /// Gives the host the key of the model endpoint for as long as it lives. Says whether it has it.
    ///
    /// # Cancel safety
    ///
    /// It has it or it has not.
    pub async fn set_model_key(&self, key: Option<String>) -> bool {
        let request = self.link.request(Method::PUT, api::MODEL_KEY).timeout(ANSWER);
        let answer = request.json(&ModelKey { key }).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

#[cfg(windows)]
mod windows {
    use std::{
        io,
        os::windows::process::CommandExt,
        process::{Child, Command},
    };

    const DETACHED_PROCESS: u32 = 0x8;
    const NEW_PROCESS_GROUP: u32 = 0x200;
    const BREAKAWAY_FROM_JOB: u32 = 0x0100_0000;
    const ACCESS_DENIED: i32 = 5;

    /// Starts it outside the job of the window, where that job allows it.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
        let alone = DETACHED_PROCESS | NEW_PROCESS_GROUP;
        match command.creation_flags(alone | BREAKAWAY_FROM_JOB).spawn() {
            Err(error) if error.raw_os_error() == Some(ACCESS_DENIED) => {
                command.creation_flags(alone).spawn()
            }
            started => started,
        }
    }
}
