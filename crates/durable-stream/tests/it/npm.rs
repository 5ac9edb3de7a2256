//! The suite against upstream's published stream server, `@durable-streams/server` of npm.
//!
//! It runs in a process of its own, which is this test binary again with `DURABLE_STREAM_SERVER`
//! set.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The modules whose tests take any server.
const SUITE: [&str; 3] = ["plain::", "producing::", "faults::"];

/// A process that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_suite_passes_against_the_npm_server() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop");
    if !folder.join("upstream.mjs").exists() {
        eprintln!(
            "skipped: the npm server is started by the repository's tests/interop, which is not here"
        );
        return;
    }
    let installed = folder.join("node_modules/@durable-streams/server").exists();
    assert!(installed, "the npm server is not installed: run `npm ci` in tests/interop");
    let mut node = Command::new("node")
        .args(["upstream.mjs", "serve"])
        .current_dir(&folder)
        // It ends when its standard input does.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map(Running)
        .expect("Node.js is installed");
    let mut url = String::new();
    BufReader::new(node.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    assert!(url.starts_with("http"), "the npm server says its address and not {url:?}");

    let suite = Command::new(std::env::current_exe().unwrap())
        .args(SUITE)
        .env("DURABLE_STREAM_SERVER", format!("{}/v1/stream/", url.trim().trim_end_matches('/')))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&suite.stdout);
    assert!(suite.status.success(), "{printed}{}", String::from_utf8_lossy(&suite.stderr));
    let counted = printed.lines().find(|line| line.starts_with("test result")).unwrap();
    assert!(!counted.contains(" 0 passed"), "the suite has tests: {counted}");
    println!("{counted}");
}
