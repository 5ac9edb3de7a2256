//! The engine against the figures it is made for: `cargo xtask bench engine`.
//!
//! Every row prints what it must reach, what it has, and whether that is enough; ratios are taken
//! in turns on the same machine. The logs are made by `log.rs`; `--log KIND CHUNKS [LONG]` prints
//! one. Upstream's published packages do the same work in Node when `tests/interop` is installed.
//!
//! What must not share a process with the rest (memory) is a child of this one: `--child NAME …`. For a profiler,
//! `--child replay KIND parse|fold|commit CHUNKS` does one thing once.
//! What many sessions cost is measured by `many.rs` beside this folder.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod cost;
mod list;
mod live;
mod log;
mod memory;
mod open;
mod replay;
mod search;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use log::{Kind, Shape};
use session_core::{Actor, Engine, EngineConfig};
use tokio::runtime::{Builder, Runtime};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--log", kind, rest @ ..] => print_log(kind, rest),
        ["--child", "memory", dir, id] => memory::child(dir, id),
        ["--child", "replay", kind, what, chunks] => replay::child(kind_of(kind), what, chunks),
        // As a test it only has to start.
        words if !words.contains(&"--bench") => {}
        words => run(words.iter().find(|word| !word.starts_with('-')).copied()),
    }
}

/// Runs the rows whose name contains `filter`.
fn run(filter: Option<&str>) {
    let wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter));
    check_log();
    let mut rows = Vec::new();
    if wanted("replay") {
        rows.extend(replay::run());
    }
    if wanted("live") {
        rows.extend(live::run());
    }
    if wanted("list") {
        rows.extend(list::run());
    }
    if wanted("open") || wanted("memory") || wanted("search") {
        let stored = open::store();
        if wanted("open") {
            rows.extend(open::run(stored.path()));
        }
        if wanted("memory") {
            rows.extend(memory::run(stored.path()));
        }
        if wanted("search") {
            rows.extend(search::run(stored.path()));
        }
    }
    println!("\n{:<56} {:<26} {:<44} ok", "what", "want", "have");
    for row in &rows {
        let ok = if row.ok { "yes" } else { "NO" };
        println!("{:<56} {:<26} {:<44} {ok}", row.what, row.want, row.have);
    }
    let missed = rows.iter().filter(|row| !row.ok).count();
    println!("{} of {} reached", rows.len() - missed, rows.len());
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) want: &'static str,
    pub(crate) have: String,
    pub(crate) ok: bool,
}

impl Row {
    /// Prints the line too, because the next row may take a while.
    pub(crate) fn new(
        what: impl Into<String>,
        want: &'static str,
        have: impl Into<String>,
        ok: bool,
    ) -> Self {
        let row = Self { what: what.into(), want, have: have.into(), ok };
        println!("{}: {} (want {})", row.what, row.have, row.want);
        row
    }
}

/// An engine without a server.
pub(crate) fn engine(dir: &Path) -> Engine {
    Engine::open(EngineConfig {
        data_dir: dir.to_path_buf(),
        actor: Actor { id: "u-alice".to_owned(), name: "Alice".to_owned() },
        device_id: "bench".to_owned(),
        inherit: session_core::Inherit::default(),
    })
    .unwrap()
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Another run of this program.
pub(crate) fn child(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--child").args(arguments);
    command
}

fn kind_of(name: &str) -> Kind {
    match name {
        "delta" => Kind::Delta,
        "accum" => Kind::Accum,
        _ => Kind::Agui,
    }
}

fn print_log(kind: &str, rest: &[&str]) {
    let kind = kind_of(kind);
    let number = |at: usize| rest.get(at).and_then(|text| text.parse().ok());
    let long = number(1).unwrap_or(0);
    let items = log::items(Shape { long, ..Shape::new(kind, number(0).unwrap_or(1000)) });
    print!("[\n{}\n]", items.join(",\n"));
}

/// The logs are, byte for byte, those of the JavaScript generator (FNV-1a of 3,000 chunks of each
/// kind and a long answer of 500).
fn check_log() {
    let kinds = [(Kind::Delta, DELTA), (Kind::Accum, ACCUM), (Kind::Agui, AGUI)];
    for (kind, expected) in kinds {
        let items = log::items(Shape { long: 500, ..Shape::new(kind, 3000) });
        let text = format!("[\n{}\n]", items.join(",\n"));
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        assert_eq!(hash, expected, "the log of kind {kind:?} has changed");
    }
}

const DELTA: u64 = 0xfe33_bcfd_6e89_5e1e;
const ACCUM: u64 = 0xa20f_1905_4778_542c;
const AGUI: u64 = 0xbb26_243a_b9a9_e51d;
