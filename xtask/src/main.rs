//! The one list of development commands: `cargo xtask run | test | bundle | …`.
//!
//! The commands use nothing but the standard library, so that the first one a newcomer types starts
//! at once. Every step says what it does, what it waits for and how long it took; a step whose
//! result is already there is skipped and says so.

mod bundle;
mod live;
mod mcp;
mod packages;
mod python;
mod run;
mod schemathesis;
mod screenshots;
mod servers;
mod step;
mod test;
mod ui;
mod xvfb;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask <command> [options]

  run      Set up what is missing, build the window and start the app.
             --release          optimised build
             --screenshot FILE  save what the window shows as PNG, then stop the app
  test     Set up what the tests need and run all of them: Rust, UI, window.
             --fast             only what needs no window (minutes)
             --soak             minutes of streaming: the page's memory must stay flat
             --bundle           build the packages, install the .deb (needs root) and try the app
             --servers          the stream client against the servers of crates.io, installed the
                                first time (minutes): durable-streams, ursula, a cluster of three
             --kills[=N]        the engine is killed N times (1,000) while it streams and sends,
                                and meets every mix of failures (minutes)
             --server-kills     the session server and its agents are killed 500 times while
                                20 sessions chat, and agents that are programs 300 times (minutes)
             --host-kills[=N]   the window, the process that runs the agents, and both are killed N times
                                (300) while a model works and approvals wait (minutes)
             --conformance      upstream's conformance tests against the embedded streams, through
                                our authentication, and two hundred kills (minutes)
             --attack[=S]       the release binary is attacked for S seconds (480): nobody decides, speaks
                                or reads for another, and memory and `/healthz` stay in bounds (minutes)
             --live             the model agent against llama.cpp's own server with a tiny model
             --mcp              tools of published MCP servers (npm, PyPI), over stdio and HTTP
                                (installs it from PyPI the first time)
             --schemathesis     requests made up from the server's OpenAPI document: none gets a 5xx
                                (installs it from PyPI the first time)
  bench stream
           Measure the stream client in an optimised build: catch-up compared with plain HTTP,
           events a second, memory.
  bench server [at-rest]
           Measure the session server in an optimised build beside the bare stream server:
           tokens a second, delivery to 1,000 readers, a message to a long session at rest,
           memory of 10,000 idle sessions.
  bench streams
           Measure the embedded streams beside the store that their router comes with: starting,
           appends, the memory of a long read.
  bench engine [ROW]
           Measure the engine against its figures, and beside upstream's npm packages: replay,
           live, open, memory, search, many (minutes; all rows, or those named).
  bench window
           Measure the page of the app in a real window (Linux): its frames while long answers are
           drawn for the first time.
  bundle   Make a .deb and an .rpm under target/release/bundle (Linux).
             --only tree|deb --app FILE --cli FILE [--out DIR]
                                only the files of the package, or only the .deb, of programs that
                                were built before
  screenshots [NAME…]
           Draw every view of the page in Chromium, light, dark, narrow, German, from right to left,
           with large text and high contrast, into target/views, and ask axe about each; names choose
           views, looks or both (`inbox`, `dark`, `inbox.dark`).
  types    Regenerate the TypeScript types in ui/src/ipc/bindings from the Rust ones.
  help     This text.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut rest = arguments.iter().skip(1).map(String::as_str);
    let result = match arguments.first().map(String::as_str) {
        Some("run") => run::Options::parse(&mut rest).and_then(|options| run::run(&options)),
        Some("test") => test::Options::parse(&mut rest).and_then(|options| test::run(&options)),
        Some("bench") => bench(rest.next(), rest.next()),
        Some("bundle") => {
            bundle::Options::parse(&mut rest).and_then(|options| bundle::run(&options))
        }
        Some("screenshots") => screenshots::run(&mut rest),
        Some("types") => test::regenerate_types(),
        None | Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("xtask: there is no command `{other}`.\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures; what is measured prints its figures.
fn bench(what: Option<&str>, row: Option<&str>) -> Result<(), step::Failure> {
    match what {
        Some("stream") => step::step(
            "Benchmark of the stream client",
            &mut step::cargo(&["bench", "-p", "durable-stream", "--bench", "reading"]),
        ),
        Some("server") => step::step(
            "Benchmark of the session server",
            step::cargo(&["bench", "-p", "session-server", "--bench", "serving"])
                .arg("--")
                .args(row),
        ),
        Some("streams") => step::step(
            "Benchmark of the embedded streams",
            &mut step::cargo(&["bench", "-p", "session-server", "--bench", "streams"]),
        ),
        Some("engine") => {
            if step::on_path("node") {
                test::interop_install()?;
            } else {
                step::skip("Upstream's packages", "there is no node to run them");
            }
            let bench = |name| step::cargo(&["bench", "-p", "session-core", "--bench", name]);
            if row != Some("many") {
                step::step("Benchmark of the engine", bench("engine").arg("--").args(row))?;
            }
            if row.is_none_or(|row| row == "many") {
                step::step("Benchmark of many sessions", &mut bench("many"))?;
            }
            Ok(())
        }
        Some("window") => test::bench_window(),
        _ => Err("bench needs to know what: `stream`, `server`, `streams`, `engine` or `window`"
            .to_owned()),
    }
}
