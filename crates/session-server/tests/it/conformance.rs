//! Upstream's own conformance tests for stream servers, through our authentication.

use std::{path::Path, process::Command, time::Duration};

use serde_json::Value;
use session_server::{Auth, Secret};

use crate::rig::Rig;

const TOKEN: &str = "conformance";

/// Tests of upstream's that we fail, each with its reason in ARCHITECTURE.md.
const FAILING: &[&str] = &[];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute, and packages of npm's: cargo xtask test --conformance"]
async fn the_embedded_streams_pass_upstreams_conformance_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance");
    let rig = Rig::with(|config| {
        config.auth = Auth::Token(Secret::new(TOKEN));
        config.allowed_origins = vec!["https://example.com".to_owned()]; // the page that the tests ask for
        config.stream_limits.long_poll = Duration::from_secs(1);
        config.limits.requests_per_second = 0;
    })
    .await;
    let report = rig.dir.path().join("report.json");
    let mut vitest = Command::new("node");
    vitest
        .arg(folder.join("node_modules/vitest/vitest.mjs"))
        // Some sleep for most of a second of time to live: on a busy machine that needs a second try.
        .args([
            "run",
            "--no-file-parallelism",
            "--test-timeout=30000",
            "--retry=2",
            "--reporter=json",
        ])
        .arg(format!("--outputFile={}", report.display()))
        .current_dir(&folder)
        .env("CONFORMANCE_URL", &rig.base)
        .env("CONFORMANCE_TOKEN", TOKEN);
    let output = tokio::task::spawn_blocking(move || vitest.output()).await.unwrap().unwrap();
    let Ok(report) = std::fs::read(&report) else {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    };
    let report: Value = serde_json::from_slice(&report).unwrap();
    let tests = report["testResults"][0]["assertionResults"].as_array().unwrap();
    let count = |status| tests.iter().filter(|test| test["status"] == status).count();
    println!(
        "{} passed, {} failed, {} skipped",
        count("passed"),
        count("failed"),
        count("skipped")
    );
    let failed: Vec<_> = tests
        .iter()
        .filter(|test| test["status"] == "failed")
        .map(|test| test["fullName"].as_str().unwrap())
        .filter(|name| !FAILING.contains(name))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(count("passed") >= 332 - FAILING.len(), "fewer tests ran than there are");
}
