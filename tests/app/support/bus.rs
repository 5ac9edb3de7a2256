//! A private D-Bus session bus, with a keychain and a notification service of the test's own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tokio::sync::mpsc;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::OwnedValue;

/// A running session bus; gone with the value.
pub struct Bus {
    daemon: Child,
    keychain: Option<Child>,
    pub address: String,
}

impl Bus {
    /// Starts a bus that knows no services of the machine's.
    pub fn start(folder: &Path) -> Self {
        let config = folder.join("bus.conf");
        std::fs::write(
            &config,
            format!(
                "<busconfig><type>session</type><listen>unix:dir={}</listen>\
                 <policy context='default'><allow send_destination='*' eavesdrop='true'/>\
                 <allow eavesdrop='true'/><allow own='*'/></policy></busconfig>",
                folder.display()
            ),
        )
        .unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is installed");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { daemon, keychain: None, address: address.trim().to_owned() }
    }

    /// Starts an unlocked keychain on it that keeps its files in `folder`.
    pub async fn with_keychain(mut self, folder: &Path) -> Self {
        let run = folder.join("run");
        std::fs::create_dir_all(&run).unwrap();
        let mut keychain = Command::new("gnome-keyring-daemon")
            .args(["--foreground", "--unlock", "--components=secrets"])
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .env("HOME", folder)
            .env("XDG_DATA_HOME", folder.join("share"))
            .env("XDG_RUNTIME_DIR", &run)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gnome-keyring-daemon is installed");
        keychain.stdin.take().unwrap().write_all(b"test").unwrap();
        self.keychain = Some(keychain);
        let bus = self.connect().await;
        let names = zbus::fdo::DBusProxy::new(&bus).await.unwrap();
        super::eventually("the keychain on the bus", || async {
            let name = "org.freedesktop.secrets".try_into().unwrap();
            names.name_has_owner(name).await.unwrap().then_some(())
        })
        .await;
        self
    }

    /// Takes the place of the desktop's notification service.
    pub async fn notifications(&self) -> Notifications {
        let (seen, shown) = mpsc::unbounded_channel();
        let (gone, closed) = mpsc::unbounded_channel();
        let bus = self.connect().await;
        bus.object_server().at(PATH, Service { seen, gone, last: 0 }).await.unwrap();
        bus.request_name("org.freedesktop.Notifications").await.unwrap();
        Notifications { bus, shown, closed }
    }

    /// Takes the place of the desktop's tray.
    pub async fn tray(&self) -> Tray {
        let (tell, items) = mpsc::unbounded_channel();
        let bus = self.connect().await;
        bus.object_server().at("/StatusNotifierWatcher", Watcher(tell)).await.unwrap();
        bus.request_name("org.kde.StatusNotifierWatcher").await.unwrap();
        Tray { bus, items }
    }

    async fn connect(&self) -> zbus::Connection {
        zbus::connection::Builder::address(self.address.as_str()).unwrap().build().await.unwrap()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        for child in self.keychain.iter_mut().chain([&mut self.daemon]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const PATH: &str = "/org/freedesktop/Notifications";

/// One notification as the desktop would have shown it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub id: u32,
    pub title: String,
    pub body: String,
    pub actions: Vec<String>,
}

/// The notification service: what was shown and withdrawn, and a finger to click with.
pub struct Notifications {
    bus: zbus::Connection,
    pub shown: mpsc::UnboundedReceiver<Shown>,
    pub closed: mpsc::UnboundedReceiver<u32>,
}

impl Notifications {
    /// The next notification.
    pub async fn next(&mut self) -> Shown {
        tokio::time::timeout(super::DEADLINE, self.shown.recv())
            .await
            .expect("a notification in time")
            .unwrap()
    }

    /// The next withdrawal.
    pub async fn next_closed(&mut self) -> u32 {
        tokio::time::timeout(super::DEADLINE, self.closed.recv())
            .await
            .expect("a withdrawal in time")
            .unwrap()
    }

    /// Clicks a notification.
    pub async fn click(&self, id: u32) {
        self.press(id, "default").await;
    }

    /// Presses a button of a notification.
    pub async fn press(&self, id: u32, action: &str) {
        let emitter = SignalEmitter::new(&self.bus, PATH).unwrap();
        Service::action_invoked(&emitter, id, action).await.unwrap();
    }

    /// The notifications that came and were not looked at.
    pub fn rest(&mut self) -> Vec<Shown> {
        std::iter::from_fn(|| self.shown.try_recv().ok()).collect()
    }
}

struct Service {
    seen: mpsc::UnboundedSender<Shown>,
    gone: mpsc::UnboundedSender<u32>,
    last: u32,
}

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Service {
    #[allow(clippy::too_many_arguments, reason = "the specification's signature")]
    fn notify(
        &mut self,
        _app_name: String,
        replaces_id: u32,
        _app_icon: String,
        summary: String,
        body: String,
        actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _expire_timeout: i32,
    ) -> u32 {
        let id = if replaces_id == 0 {
            self.last += 1;
            self.last
        } else {
            replaces_id
        };
        let _ = self.seen.send(Shown { id, title: summary, body, actions });
        id
    }

    fn close_notification(&self, id: u32) {
        let _ = self.gone.send(id);
    }

    fn get_capabilities(&self) -> Vec<String> {
        ["actions", "body", "persistence"].map(str::to_owned).into()
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        ("recorder".into(), "threadkeep-tests".into(), "1".into(), "1.2".into())
    }

    #[zbus(signal)]
    async fn action_invoked(
        emitter: &SignalEmitter<'_>,
        id: u32,
        action_key: &str,
    ) -> zbus::Result<()>;
}

/// The tray: the icons that were registered, and a hand to use them with.
pub struct Tray {
    bus: zbus::Connection,
    items: mpsc::UnboundedReceiver<String>,
}

impl Tray {
    /// The next icon, by its owner's name on the bus.
    pub async fn next(&mut self) -> String {
        tokio::time::timeout(super::DEADLINE, self.items.recv())
            .await
            .expect("an icon in time")
            .unwrap()
    }

    /// The labels of an icon's menu, by their ids.
    pub async fn menu(&self, owner: &str) -> Vec<(i32, String)> {
        let path = "/StatusNotifierItem/Menu";
        let interface = Some("com.canonical.dbusmenu");
        let body = (Vec::<i32>::new(), Vec::<String>::new());
        let answer =
            self.bus.call_method(Some(owner), path, interface, "GetGroupProperties", &body);
        let answer = answer.await.unwrap();
        type Entries = Vec<(i32, HashMap<String, OwnedValue>)>;
        let entries: Entries = answer.body().deserialize().unwrap();
        let label = |mut all: HashMap<String, OwnedValue>| {
            all.remove("label").and_then(|label| String::try_from(label).ok()).unwrap_or_default()
        };
        entries.into_iter().map(|(id, properties)| (id, label(properties))).collect()
    }

    /// Chooses an entry of an icon's menu.
    pub async fn choose(&self, owner: &str, id: i32) {
        let body = (id, "clicked", zbus::zvariant::Value::from(0_i32), 0_u32);
        let interface = Some("com.canonical.dbusmenu");
        let path = "/StatusNotifierItem/Menu";
        // An app that quits does not answer.
        let _ = self.bus.call_method(Some(owner), path, interface, "Event", &body).await;
    }
}

struct Watcher(mpsc::UnboundedSender<String>);

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: String) {
        let _ = self.0.send(service);
    }
}
