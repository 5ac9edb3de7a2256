//! Programs as they are: shell scripts that misbehave.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rpc_process::{Command, Ended, Incoming, Message, Peer, Pids, StartError};
use serde_json::json;

fn script(text: &str, folder: &Path) -> Command {
    Command {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), text.into()],
        environment: Vec::new(),
        folder: folder.to_owned(),
    }
}

fn runs(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// Waits until a process is gone, at most so long.
fn gone_within(pid: u64, limit: Duration) -> bool {
    let started = Instant::now();
    while runs(pid) && started.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
    !runs(pid)
}

async fn notification(peer: &mut Peer) -> serde_json::Value {
    match peer.next().await {
        Incoming::Message(Message::Notification { params, .. }) => params,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn noise_is_skipped_and_counted_and_messages_keep_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = r#"echo "Update available"; echo '{"method":"a","params":1}'; echo; echo '[1]'
        echo '{"id":0,"result":2}'; printf '{"method":"b","params":3}'; echo "for the owner" >&2"#;
    let mut peer =
        Peer::start(&script(text, folder.path()), &Pids::new(folder.path())).expect("it starts");
    assert_eq!(peer.request("first", &json!({})), 0);
    assert_eq!(notification(&mut peer).await, 1);
    let Incoming::Message(Message::Answer { id: 0, answer: Ok(answer) }) = peer.next().await else {
        panic!("the answer comes in its place")
    };
    assert_eq!(answer, 2);
    assert_eq!(notification(&mut peer).await, 3);
    assert!(matches!(peer.next().await, Incoming::Gone(Ended::Exited(Some(0)))));
    let aside = peer.aside();
    assert_eq!(aside.noise(), 2);
    assert_eq!(aside.noise_lines(), ["Update available", "[1]"]);
    assert_eq!(aside.stderr(), "for the owner\n");
    assert!(!format!("{peer:?}").contains("owner"));
}

#[tokio::test]
async fn a_program_that_ignores_everything_is_ended_with_its_descendants() {
    let folder = tempfile::tempdir().expect("a folder");
    // Both ignore the end of their input and TERM; the descendant is all that is left of a started wrapper.
    let text = r#"trap '' TERM; (trap '' TERM; exec sleep 1000) & echo "{\"method\":\"pid\",\"params\":$!}"
        while :; do sleep 0.1; done"#;
    let mut peer =
        Peer::start(&script(text, folder.path()), &Pids::new(folder.path())).expect("it starts");
    let child = notification(&mut peer).await.as_u64().expect("a pid");
    let leader = u64::from(peer.pid());
    assert!(runs(child) && runs(leader));
    tokio::time::timeout(Duration::from_secs(10), peer.close()).await.expect("it ends");
    assert!(
        gone_within(child, Duration::from_secs(1)) && gone_within(leader, Duration::from_secs(1))
    );
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0, "the note is gone");
}

#[tokio::test]
async fn what_a_dead_program_leaves_behind_is_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = r#"sleep 1000 & echo "{\"method\":\"pid\",\"params\":$!}"; exit 3"#;
    let mut peer =
        Peer::start(&script(text, folder.path()), &Pids::new(folder.path())).expect("it starts");
    let child = notification(&mut peer).await.as_u64().expect("a pid");
    // The descendant holds the output open: the end is heard all the same.
    assert!(matches!(peer.next().await, Incoming::Gone(Ended::Exited(Some(3)))));
    let gone = tokio::task::spawn_blocking(move || gone_within(child, Duration::from_secs(8)));
    assert!(gone.await.expect("it waits"));
}

#[tokio::test]
async fn a_program_that_reads_nothing_costs_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut peer = Peer::start(&script("sleep 1000", folder.path()), &Pids::new(folder.path()))
        .expect("it starts");
    let large = json!({"text": "x".repeat(100_000)});
    for _ in 0..1000 {
        peer.notify("more", &large);
    }
    let next = tokio::time::timeout(Duration::from_secs(5), peer.next()).await;
    assert!(matches!(next, Ok(Incoming::Gone(Ended::Silent))));
}

#[tokio::test]
async fn what_cannot_be_started_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let pids = Pids::new(folder.path());
    let file = folder.path().join("notes.txt");
    fs::write(&file, "no program").expect("it is written");
    let mut command = script("", folder.path());
    command.program = "no-such-agent".into();
    assert!(
        matches!(Peer::start(&command, &pids), Err(StartError::NotFound(name)) if name == "no-such-agent")
    );
    command.program = file.into();
    let error = Peer::start(&command, &pids).expect_err("it is no program");
    assert!(matches!(&error, StartError::NotExecutable(_)), "{error}");
    assert!(!error.to_string().contains('/'), "no path of this host: {error}");
    let mut command = script("", folder.path());
    command.folder = folder.path().join("gone");
    let error = Peer::start(&command, &pids).expect_err("there is no such folder");
    assert!(matches!(&error, StartError::NoFolder(name) if name == "gone"), "{error}");
}

#[test]
fn orphans_of_an_earlier_life_are_ended_and_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut life = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", "--nocapture", "peer::an_earlier_life"])
        .env("FOLDER", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(life.stdout.take().expect("piped")).lines();
    let pid = |line: std::io::Result<String>| line.ok()?.split_once("orphan ")?.1.parse().ok();
    let orphans: Vec<u64> = lines.filter_map(pid).take(2).collect();
    life.wait().expect("it ends");
    assert!(
        orphans.len() == 2 && orphans.iter().all(|pid| runs(*pid)),
        "they ignore the end of their input"
    );
    // A process that has the id of an old note, and is another one.
    let innocent = std::process::Command::new("sleep").arg("1000").spawn();
    let mut innocent = innocent.expect("it starts");
    let note = json!({"pid": innocent.id(), "started": "long ago", "life": "another"});
    fs::write(folder.path().join("1.json"), note.to_string()).expect("it is written");
    fs::write(folder.path().join("2.json"), "broken").expect("it is written");
    assert_eq!(Pids::new(folder.path()).sweep(), 2);
    assert!(orphans.iter().all(|pid| gone_within(*pid, Duration::from_secs(2))));
    assert!(runs(innocent.id().into()));
    assert_eq!(Pids::new(folder.path()).sweep(), 0);
    innocent.kill().expect("it is ours");
    innocent.wait().expect("it ended");
}

/// Not a test: the life that the test above starts and ends. It leaves one agent, and the descendant of another.
#[test]
#[ignore = "started by another test"]
fn an_earlier_life() {
    let Some(folder) = std::env::var_os("FOLDER") else { return };
    let folder = Path::new(&folder);
    let runtime = tokio::runtime::Runtime::new().expect("it starts");
    let peers = runtime.block_on(async {
        let first =
            Peer::start(&script("exec sleep 1000", folder), &Pids::new(folder)).expect("it starts");
        println!("orphan {}", first.pid());
        let text = r#"sleep 1000 & echo "{\"method\":\"pid\",\"params\":$!}"; exec sleep 0.3"#;
        let mut second = Peer::start(&script(text, folder), &Pids::new(folder)).expect("it starts");
        println!("orphan {}", notification(&mut second).await);
        let leader = u64::from(second.pid());
        // The leader ends; before what it left behind is ended, this life does.
        tokio::task::spawn_blocking(move || gone_within(leader, Duration::from_secs(5)))
            .await
            .expect("it waits");
        [first, second]
    });
    std::mem::forget((peers, runtime));
    std::process::abort();
}
