//! The app in a real window, with places of its own for all that it keeps.

use super::bus::Bus;
use super::webdriver::{Element, Session, key};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// One person's computer: folders, a bus. It outlives the app, so that an app can be started again.
pub struct Computer {
    home: TempDir,
    pub bus: Bus,
}

impl Computer {
    /// A new computer without a keychain or a notification service.
    pub fn new() -> Self {
        let home = TempDir::with_prefix("threadkeep-test-").unwrap();
        let bus = Bus::start(home.path());
        Self { home, bus }
    }

    /// A new computer with an unlocked keychain.
    pub async fn with_keychain() -> Self {
        let home = TempDir::with_prefix("threadkeep-test-").unwrap();
        let bus = Bus::start(home.path()).with_keychain(home.path()).await;
        Self { home, bus }
    }

    /// Where the app keeps its data.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// A folder for something else.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.home.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Sets settings as the app's own dialog would.
    pub fn set(&self, settings: &Value) {
        std::fs::create_dir_all(self.data()).unwrap();
        let path = self.data().join("settings.json");
        let mut file: Value = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_else(|| json!({}));
        for (name, value) in settings.as_object().unwrap() {
            file["settings"][name] = value.clone();
        }
        std::fs::write(path, file.to_string()).unwrap();
    }

    /// Starts the app and waits for its page.
    pub async fn start(&self) -> App<'_> {
        let port = super::free_port();
        let home = self.home.path();
        let log = std::fs::File::create(home.join("app.log")).unwrap();
        let mut driver = Command::new("WebKitWebDriver");
        driver
            .args([format!("--port={port}"), "--host=127.0.0.1".to_owned()])
            .env("TAURI_WEBVIEW_AUTOMATION", "true")
            .env("DBUS_SESSION_BUS_ADDRESS", &self.bus.address)
            .env("THREADKEEP_DATA_DIR", self.data())
            .env("HOME", home)
            .env("XDG_DATA_HOME", home.join("share"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("USER", "ana")
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        let driver = driver.spawn().expect("WebKitWebDriver is installed");
        let url = format!("http://127.0.0.1:{port}");
        super::eventually("the driver's port", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        let mut app = App { driver, page: None, computer: self };
        match Session::start(&url, &binary()).await {
            Ok(page) => app.page = Some(page),
            Err(error) => panic!("the app did not start: {error}\n{}", self.log()),
        }
        app.page().wait("[data-testid=app]").await;
        app
    }

    /// Starts the app as a person would who starts it by hand, on a folder of data of this
    /// computer.
    pub fn start_by_hand(&self, data: &Path, bus: &str) -> Child {
        let home = self.home.path();
        Command::new(binary())
            .env("DBUS_SESSION_BUS_ADDRESS", bus)
            .env("THREADKEEP_DATA_DIR", data)
            .env("HOME", home)
            .env("XDG_DATA_HOME", home.join("share"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the app is built")
    }

    /// What the app wrote to its output.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("app.log")).unwrap_or_default()
    }

    /// Whether a file under the app's data folder holds `bytes`.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let found = |file: &String| {
            std::fs::read(file)
                .is_ok_and(|data| data.windows(bytes.len()).any(|part| part == bytes))
        };
        self.files().iter().any(found)
    }

    /// The files under the app's data folder, for what is left behind.
    pub fn files(&self) -> Vec<String> {
        fn walk(path: &Path, into: &mut Vec<String>) {
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    walk(&entry.path(), into);
                } else {
                    into.push(entry.path().display().to_string());
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.data(), &mut files);
        files
    }
}

impl Computer {
    /// The process that runs the agents, as its address says.
    pub fn host(&self) -> Option<u32> {
        let text = std::fs::read(self.data().join("host.json")).ok()?;
        let address: Value = serde_json::from_slice(&text).ok()?;
        let pid = u32::try_from(address["pid"].as_u64()?).ok()?;
        lives(pid).then_some(pid)
    }

    /// Kills the process that runs the agents, at once and without a word.
    pub fn kill_host(&self) {
        let pid = self.host().expect("it runs");
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
    }
}

/// What a test leaves behind is ended with it.
impl Drop for Computer {
    fn drop(&mut self) {
        if let Some(pid) = self.host() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

/// Whether a process is there. One that nobody has waited for is gone.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// The running app.
pub struct App<'a> {
    driver: Child,
    page: Option<Session>,
    computer: &'a Computer,
}

impl App<'_> {
    /// The window's page.
    pub fn page(&self) -> &Session {
        self.page.as_ref().expect("the app was started")
    }

    /// Kills the app as a power cut would, at once and without a word.
    pub fn kill(self) {
        for pid in children(self.driver.id()) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }

    /// The process ids of the app's web processes.
    pub fn web_processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut queue = children(self.driver.id());
        while let Some(pid) = queue.pop() {
            queue.extend(children(pid));
            if std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.starts_with("WebKitWebProces"))
            {
                found.push(pid);
            }
        }
        found
    }

    /// Whether the app's process is gone.
    pub fn has_ended(&self) -> bool {
        !children(self.driver.id()).into_iter().any(lives)
    }

    /// Quits as closing the window does.
    pub async fn quit(self) {
        self.page().end().await;
    }

    /// Writes a message and sends it with Enter.
    pub async fn say(&self, text: &str) {
        let composer = self.page().wait("[data-testid=composer]").await;
        composer.click().await;
        composer.keys(text).await;
        composer.keys(key::ENTER).await;
    }

    /// Waits for an element by its test id.
    pub async fn wait(&self, test_id: &str) -> Element {
        self.page().wait(&format!("[data-testid={test_id}]")).await
    }

    /// Clicks an element by its test id, once it is there.
    pub async fn click(&self, test_id: &str) {
        self.wait(test_id).await.click().await;
    }

    /// The messages in the window, oldest first: role, text, complete.
    pub async fn messages(&self) -> Vec<Shown> {
        let rows = self
            .page()
            .execute(
                "return Array.from(document.querySelectorAll('[data-testid=message]'), row => ({\
                   id: row.dataset.messageId, role: row.dataset.role,\
                   complete: row.dataset.complete === 'true', text: row.innerText }))",
            )
            .await;
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter()
            .map(|row| Shown {
                id: row["id"].as_str().unwrap_or_default().to_owned(),
                role: row["role"].as_str().unwrap_or_default().to_owned(),
                complete: row["complete"] == true,
                text: row["text"].as_str().unwrap_or_default().to_owned(),
            })
            .collect()
    }

    /// Waits until the messages in the window are as wanted.
    pub async fn messages_until(
        &self,
        what: &str,
        mut good: impl FnMut(&[Shown]) -> bool,
    ) -> Vec<Shown> {
        let started = std::time::Instant::now();
        loop {
            let messages = self.messages().await;
            if good(&messages) {
                return messages;
            }
            if started.elapsed() > super::DEADLINE {
                self.save("failure").await;
                panic!(
                    "gave up waiting for: {what}\nthe window shows: {messages:#?}\n{}",
                    self.computer.log()
                );
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
    }

    /// Waits until the connection is in `state`.
    pub async fn connection(&self, state: &str) {
        let css = format!("[data-testid=connection][data-state={state}]");
        self.page().wait(&css).await;
    }

    /// Saves what the window shows as `target/screenshots/NAME.png`.
    pub async fn save(&self, name: &str) {
        // The web view gives a picture with its next frame, so there has to be one; the first after
        // a paint can be blank.
        self.page().execute(REPAINT).await;
        self.page().screenshot().await;
        let picture = self.page().screenshot().await;
        std::fs::write(super::screenshots().join(format!("{name}.png")), picture).unwrap();
    }
}

impl Drop for App<'_> {
    fn drop(&mut self) {
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.driver.wait();
    }
}

/// Changes something that is not seen in the next frames, for two seconds.
const REPAINT: &str = "\
    const until = performance.now() + 2000;\
    const turn = () => {\
      const over = performance.now() > until;\
      document.body.style.opacity = over || document.body.style.opacity !== '' ? '' : '0.999';\
      if (!over) requestAnimationFrame(turn);\
    };\
    turn();";

/// A message as the window shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub id: String,
    pub role: String,
    pub complete: bool,
    pub text: String,
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn binary() -> String {
    std::env::var("THREADKEEP_APP")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_threadkeep-desktop").to_owned())
}
