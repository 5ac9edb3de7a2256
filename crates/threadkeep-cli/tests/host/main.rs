//! The process that runs the agents of this computer, as windows meet it.
#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test binary")]

mod kills;
mod lab;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use host_link::api::{self, Stop};
use host_link::files::Address;
use host_link::{AttachError, Starter};
use serde_json::{Value, json};

use lab::{DEADLINE, Endpoint, Lab, eventually, kill, lives, program, words};

#[tokio::test]
async fn all_windows_of_a_folder_share_one_host_and_a_second_one_leaves_at_once() {
    let lab = Lab::new();
    let first = lab.attach().await;
    let pid = lab.pid().expect("its address says where it is");
    let second = lab.attach().await;
    assert_eq!(lab.pid(), Some(pid));
    assert_eq!(first.server(), second.server());
    let mut news = first.watch();
    let both = news.wait_for(|hello| hello.windows == 2);
    tokio::time::timeout(DEADLINE, both).await.expect("both are counted").unwrap();

    let other = tokio::process::Command::new(program())
        .args(["host", "--data"])
        .arg(lab.data())
        .stderr(Stdio::null())
        .status();
    let status = tokio::time::timeout(Duration::from_secs(10), other).await.expect("it leaves");
    assert!(status.unwrap().success());
    assert_eq!(lab.pid(), Some(pid), "the first one stays");

    drop((first, second));
    lab.gone(pid).await;
    assert!(Address::read(lab.data()).is_none(), "it leaves no address behind");
}

#[tokio::test]
async fn it_has_a_session_of_its_own_and_only_its_owner_reads_its_address() {
    let lab = Lab::new();
    let _window = lab.attach().await;
    let pid = lab.pid().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(fields[3], pid.to_string(), "the session is its own: {stat}");
    let mode =
        |name: &str| fs::metadata(lab.data().join(name)).unwrap().permissions().mode() & 0o777;
    for name in ["host.json", "host.lock", "host.log"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    let address = fs::read_to_string(lab.data().join("host.json")).unwrap();
    let address: Value = serde_json::from_str(&address).unwrap();
    for token in ["controlToken", "serverToken"] {
        assert!(!lab.log().contains(address[token].as_str().unwrap()), "{token} is in the log");
    }
}

#[tokio::test]
async fn nobody_without_the_token_and_no_web_page_is_answered() {
    let lab = Lab::new();
    let _window = lab.attach().await;
    let address = Address::read(lab.data()).unwrap();
    let url = address.control.join(api::HOST).unwrap();
    let get = || lab.http.get(url.clone());
    let own = || get().bearer_auth(&address.control_token);
    assert_eq!(own().send().await.unwrap().status(), 200);
    assert_eq!(get().send().await.unwrap().status(), 401);
    assert_eq!(get().bearer_auth("guess").send().await.unwrap().status(), 401);
    assert_eq!(own().header("origin", "https://evil.test").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn an_answer_goes_on_without_any_window_and_then_the_host_ends() {
    let lab = Lab::new();
    let window = lab.attach().await;
    lab.say(&window, "talk", "builtin:demo", "long 300").await;
    let mut news = window.watch();
    tokio::time::timeout(DEADLINE, news.wait_for(|hello| hello.running == 1))
        .await
        .unwrap()
        .unwrap();
    let pid = lab.pid().unwrap();
    drop((window, news));
    // Longer than a host without anything to do would stay.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(lab.pid(), Some(pid), "it is at work");
    lab.gone(pid).await;
    let window = lab.attach().await;
    let chunks = lab.chunks(&window, "talk").await;
    let answer = &chunks.last().unwrap().0;
    assert!(words(&chunks, answer).contains("word 300"), "it was finished");
}

#[tokio::test]
async fn what_waits_for_a_person_keeps_the_host() {
    let lab = Lab::new();
    let window = lab.attach().await;
    lab.say(&window, "talk", "builtin:demo", "what can you do?").await;
    let mut news = window.watch();
    let waits = news.wait_for(|hello| hello.running == 0 && hello.waiting == 1);
    tokio::time::timeout(DEADLINE, waits).await.expect("it asks").unwrap();
    let pid = lab.pid().unwrap();
    drop((window, news));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(lab.pid(), Some(pid));
}

#[tokio::test]
async fn a_killed_host_is_followed_by_another_and_its_answer_goes_on_once() {
    let lab = Lab::new();
    let endpoint = Endpoint::start(Duration::from_millis(20)).await;
    lab.use_model(&endpoint);
    let window = lab.attach().await;
    lab.say(&window, "talk", "builtin:model", "count").await;
    eventually("some words", || async {
        let chunks = lab.chunks(&window, "talk").await;
        chunks
            .iter()
            .any(|(_, _, chunk)| chunk["delta"].as_str().is_some_and(|said| said.contains("w5")))
            .then_some(())
    })
    .await;
    kill(lab.pid().unwrap(), "-9");
    tokio::time::timeout(DEADLINE, window.ended()).await.expect("the window sees it");
    let window = lab.attach().await;
    let chunks = eventually("the end", || async {
        let chunks = lab.chunks(&window, "talk").await;
        chunks.iter().any(|(_, _, chunk)| chunk["type"] == "RUN_FINISHED").then_some(chunks)
    })
    .await;
    let counted: Vec<String> = (1..=lab::WORDS).map(|n| format!("w{n}")).collect();
    let answer = &chunks.last().unwrap().0;
    assert_eq!(words(&chunks, answer).split_whitespace().collect::<Vec<_>>(), counted);
    assert_eq!(endpoint.asked.lock().unwrap().len(), 2, "for the answer, and for its rest");
}

#[tokio::test]
async fn a_key_that_no_keychain_keeps_is_used_and_written_nowhere() {
    let lab = Lab::new();
    let endpoint = Endpoint::start(Duration::ZERO).await;
    lab.use_model(&endpoint);
    let window = lab.attach().await;
    assert!(window.set_model_key(Some("sk-4f1c0ffee".to_owned())).await);
    lab.say(&window, "talk", "builtin:model", "count").await;
    eventually("the question", || async { endpoint.asked.lock().unwrap().first().cloned() }).await;
    assert_eq!(endpoint.asked.lock().unwrap()[0].1, "Bearer sk-4f1c0ffee");
    let pid = lab.pid().unwrap();
    window.stop(Stop::Now).await;
    lab.gone(pid).await;
    assert!(!holds(lab.data(), b"sk-4f1c0ffee"), "no file has the key");
}

fn holds(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        fs::read(path).is_ok_and(|data| data.windows(bytes.len()).any(|part| part == bytes))
    })
}

/// A copy of the program, which is another build than the program.
fn copy_of_program(to: &Path) {
    let new = to.with_extension("new");
    fs::copy(program(), &new).unwrap();
    fs::rename(new, to).unwrap();
}

#[tokio::test]
async fn a_host_of_another_build_is_replaced_at_rest_and_left_to_its_work_otherwise() {
    let lab = Lab::new();
    let copy = lab.data().join("threadkeep");
    copy_of_program(&copy);
    let starter = Starter::new(lab.data(), &copy);
    let window = starter.attach().await.unwrap();
    let old = lab.pid().unwrap();
    drop(window);
    copy_of_program(&copy);
    let window = starter.attach().await.unwrap();
    let new = lab.pid().unwrap();
    assert_ne!(new, old, "at rest it is replaced at once");
    lab.gone(old).await;

    lab.say(&window, "talk", "builtin:demo", "long 200").await;
    let mut news = window.watch();
    tokio::time::timeout(DEADLINE, news.wait_for(|hello| hello.running == 1))
        .await
        .unwrap()
        .unwrap();
    copy_of_program(&copy);
    let second = starter.attach().await.unwrap();
    assert_eq!(lab.pid(), Some(new), "it is not disturbed");
    assert!(second.hello().leaving);
    tokio::time::timeout(DEADLINE, second.ended()).await.expect("it leaves when it is done");
    let third = starter.attach().await.unwrap();
    assert_ne!(lab.pid(), Some(new));
    let chunks = lab.chunks(&third, "talk").await;
    assert!(words(&chunks, &chunks.last().unwrap().0).contains("word 200"));
    assert!(!chunks.iter().any(|(_, _, chunk)| chunk["type"] == "RUN_ERROR"), "nothing was cut");
}

#[tokio::test]
async fn a_program_that_stays_another_build_is_replaced_once_and_then_used() {
    let lab = Lab::new();
    let _window = lab.attach().await;
    // What is started is not what is looked at: a wrapper in its place.
    let wrapper = lab.data().join("wrapper");
    fs::write(&wrapper, format!("#!/bin/sh\nexec {} \"$@\"\n", program().display())).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let starter = Starter::new(lab.data(), &wrapper);
    let attached = tokio::time::timeout(DEADLINE, starter.attach());
    assert!(attached.await.expect("it does not go round in a circle").is_ok());
}

#[tokio::test]
async fn a_newer_host_that_speaks_otherwise_is_left_alone_and_named() {
    let lab = Lab::new();
    let hello = json!({
        "protocol": api::PROTOCOL + 1, "build": {"version": "99.0.0", "program": "x"},
        "running": 0, "waiting": 0, "windows": 0, "leaving": false, "later": true,
    });
    let router = axum::Router::new()
        .route(api::HOST, axum::routing::get(move || async move { axum::Json(hello) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: url::Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let tokens = "x".to_owned();
    let address = Address {
        control: url.clone(),
        control_token: tokens.clone(),
        server: url,
        server_token: tokens,
        pid: std::process::id() + 1_000_000,
    };
    address.write(lab.data()).unwrap();
    let refused = lab.starter().attach().await.unwrap_err();
    assert!(
        matches!(&refused, AttachError::OtherVersion(version) if version == "99.0.0"),
        "{refused}"
    );
}

#[tokio::test]
async fn why_no_host_can_be_started_is_said_in_one_sentence() {
    let lab = Lab::new();
    let missing = Starter::new(lab.data(), "/nowhere/threadkeep").attach().await.unwrap_err();
    assert!(missing.to_string().contains("/nowhere/threadkeep is missing"), "{missing}");
    fs::write(lab.data().join("server"), "not a folder").unwrap();
    let refused = lab.starter().attach().await.unwrap_err().to_string();
    assert!(refused.contains("cannot use the data folder"), "{refused}");
    assert_eq!(refused.lines().count(), 1, "{refused}");
}

#[tokio::test]
async fn a_host_ends_with_its_folder_and_at_a_signal() {
    let lab = Lab::new();
    let _window = lab.attach().await;
    let pid = lab.pid().unwrap();
    fs::remove_file(lab.data().join("host.json")).unwrap();
    lab.gone(pid).await;
    let _window = lab.attach().await;
    let pid = lab.pid().unwrap();
    kill(pid, "-TERM");
    lab.gone(pid).await;
    assert!(Address::read(lab.data()).is_none());
    assert!(!lives(pid));
}

/// The one method of systemd that a host calls.
struct Systemd(tokio::sync::mpsc::UnboundedSender<(String, u32)>);

type Properties = Vec<(String, zbus::zvariant::OwnedValue)>;

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn start_transient_unit(
        &self,
        name: String,
        _mode: String,
        properties: Properties,
        _aux: Vec<(String, Properties)>,
    ) -> zbus::zvariant::OwnedObjectPath {
        let pids = properties.into_iter().find(|(name, _)| name == "PIDs").unwrap().1;
        let pids: Vec<u32> = pids.try_into().unwrap();
        self.0.send((name, pids[0])).ok();
        zbus::zvariant::ObjectPath::try_from("/job/1").unwrap().into()
    }
}

#[tokio::test]
async fn it_moves_to_a_scope_of_its_own() {
    use std::io::BufRead;
    let lab = Lab::new();
    let config = lab.data().join("bus.conf");
    let text = format!(
        "<busconfig><type>session</type><listen>unix:dir={}</listen><policy context='default'>\
         <allow send_destination='*'/><allow receive_sender='*'/><allow own='*'/></policy>\
         </busconfig>",
        lab.data().display()
    );
    fs::write(&config, text).unwrap();
    let bus = std::process::Command::new("dbus-daemon")
        .arg(format!("--config-file={}", config.display()))
        .args(["--nofork", "--print-address=1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut bus) = bus else {
        eprintln!("skipped: there is no dbus-daemon here");
        return;
    };
    let mut address = String::new();
    std::io::BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let connection =
        zbus::connection::Builder::address(address.trim()).unwrap().build().await.unwrap();
    connection.object_server().at("/org/freedesktop/systemd1", Systemd(tell)).await.unwrap();
    connection.request_name("org.freedesktop.systemd1").await.unwrap();
    let mut host = tokio::process::Command::new(program())
        .args(["host", "--data"])
        .arg(lab.data())
        .env("DBUS_SESSION_BUS_ADDRESS", address.trim())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let moved = tokio::time::timeout(DEADLINE, told.recv()).await;
    let own = lab.pid();
    host.kill().await.unwrap();
    bus.kill().unwrap();
    bus.wait().unwrap();
    let (name, pid) = moved.expect("systemd is asked").unwrap();
    assert!(name.starts_with("threadkeep-host-") && name.ends_with(".scope"), "{name}");
    assert_eq!(Some(pid), own);
}
