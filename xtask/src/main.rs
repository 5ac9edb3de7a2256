//! The one list of development commands: `cargo xtask run | test | bundle | …`.
//!
//! It uses nothing but the standard library, so that the first command a newcomer types starts
//! at once. Every step says what it does, what it waits for and how long it took; a step whose
//! result is already there is skipped and says so.

mod bundle;
mod packages;
mod run;
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
             --fast             only what needs no window (seconds after the first build)
             --soak             three minutes of streaming: the page's memory must stay flat
             --bundle           build the packages, install the .deb (needs root) and try the app
  bundle   Make a .deb and an .rpm under target/release/bundle (Linux).
  types    Regenerate the TypeScript types in ui/src/ipc/bindings from the Rust ones.
  help     This text.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut rest = arguments.iter().skip(1).map(String::as_str);
    let result = match arguments.first().map(String::as_str) {
        Some("run") => run::Options::parse(&mut rest).and_then(|options| run::run(&options)),
        Some("test") => test::Options::parse(&mut rest).and_then(|options| test::run(&options)),
        Some("bundle") => bundle::run(),
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
