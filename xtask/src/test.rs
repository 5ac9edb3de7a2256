//! `cargo xtask test`: everything that has to hold, cheapest first.

use crate::packages::{self, Need};
use crate::step::{Failure, cargo, on_path, root, skip, step, target_dir};
use crate::xvfb::Xvfb;
use crate::{bundle, live, mcp, schemathesis, servers, ui};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Options of the command.
#[derive(Default)]
pub(crate) struct Options {
    fast: bool,
    soak: bool,
    bundle: bool,
    servers: bool,
    kills: Option<u32>,
    server_kills: bool,
    host_kills: Option<u32>,
    conformance: bool,
    schemathesis: bool,
    live: bool,
    mcp: bool,
    attack: Option<u32>,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// When an option is unknown.
    pub(crate) fn parse(arguments: &mut dyn Iterator<Item = &str>) -> Result<Self, Failure> {
        let mut options = Self::default();
        for argument in arguments {
            match argument {
                "--fast" => options.fast = true,
                "--soak" => options.soak = true,
                "--bundle" => options.bundle = true,
                "--servers" => options.servers = true,
                "--kills" => options.kills = Some(1000),
                kills if kills.starts_with("--kills=") => {
                    let count = kills.trim_start_matches("--kills=");
                    let count = count.parse().map_err(|_| format!("{count} is no number"))?;
                    options.kills = Some(count);
                }
                "--server-kills" => options.server_kills = true,
                "--host-kills" => options.host_kills = Some(300),
                kills if kills.starts_with("--host-kills=") => {
                    let count = kills.trim_start_matches("--host-kills=");
                    let count = count.parse().map_err(|_| format!("{count} is no number"))?;
                    options.host_kills = Some(count);
                }
                "--schemathesis" => options.schemathesis = true,
                "--live" => options.live = true,
                "--mcp" => options.mcp = true,
                "--attack" => options.attack = Some(480),
                attack if attack.starts_with("--attack=") => {
                    let seconds = attack.trim_start_matches("--attack=");
                    let seconds = seconds.parse().map_err(|_| format!("{seconds} is no number"))?;
                    options.attack = Some(seconds);
                }
                "--conformance" => options.conformance = true,
                other => return Err(format!("test has no option `{other}`; see cargo xtask help")),
            }
        }
        Ok(options)
    }
}

/// Runs the tests.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let started = Instant::now();
    if options.soak {
        prepare_window()?;
        return window(&["--ignored", "soak", "--nocapture"]);
    }
    if options.bundle {
        return installed();
    }
    if options.servers {
        return servers::run();
    }
    if options.schemathesis {
        return schemathesis::run();
    }
    if options.live {
        return live::run();
    }
    if options.mcp {
        install("Published tool servers", "tests/mcp")?;
        return mcp::run();
    }
    if let Some(kills) = options.kills {
        return step(
            &format!("The engine, killed {kills} times and under many failures"),
            cargo(&["test", "-p", "session-core", "--test", "it", "--"])
                .args(["--ignored", "--nocapture", "--test-threads", "1"])
                .args(["by_a_thousand_kills", "with_many_seeds"])
                .env("THREADKEEP_KILLS", kills.to_string())
                .env("THREADKEEP_SEEDS", (kills / 5).to_string()),
        );
    }
    if options.server_kills {
        return step(
            "500 kills of the session server and its agents while 20 sessions chat, and 300 of programs that agents are",
            cargo(&["test", "-p", "session-server", "--test", "it", "--"])
                .args(["--ignored", "--nocapture", "--test-threads", "1"])
                .args(["five_hundred_kills", "three_hundred_kills"]),
        );
    }
    if let Some(kills) = options.host_kills {
        return step(
            &format!(
                "{kills} kills of the window, the agents' host and both, while a model works and approvals wait"
            ),
            cargo(&["test", "-p", "threadkeep-cli", "--test", "host", "--"])
                .args(["--ignored", "--nocapture", "hundreds_of_kills"])
                .env("THREADKEEP_KILLS", kills.to_string()),
        );
    }
    if options.conformance {
        return conformance();
    }
    if let Some(seconds) = options.attack {
        return attack(seconds);
    }
    packages::ensure(&[])?;
    step("Rust format", &mut cargo(&["fmt", "--all", "--check"]))?;
    step(
        "Licences, sources, bans and unused dependencies; who imports whom",
        &mut cargo(&["test", "-q", "-p", "xtask"]),
    )?;
    advisories()?;
    ui::install()?;
    for script in ["check", "lint", "test"] {
        step(&format!("UI {script}"), &mut ui::npm(&["run", "--silent", script]))?;
    }
    interop_install()?;
    let light = ["--workspace", "--exclude", "threadkeep-desktop"];
    step(
        "Rust lints (everything but the window)",
        cargo(&["clippy"]).args(light).args(["--all-targets", "--", "-D", "warnings"]),
    )?;
    step("Rust tests (everything but the window)", cargo(&["test"]).args(light))?;
    types_unchanged()?;
    step(
        "Rust documentation",
        cargo(&["doc", "--no-deps"]).args(light).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    if options.fast {
        println!("── All fast tests passed in {:.0} s", started.elapsed().as_secs_f32());
        return Ok(());
    }
    if !cfg!(target_os = "linux") {
        skip("Window tests", "they drive a WebKitGTK window, which is Linux's");
        return Ok(());
    }
    prepare_window()?;
    step(
        "Rust lints (the window's host)",
        &mut cargo(&[
            "clippy",
            "-p",
            "threadkeep-desktop",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    window(&[])?;
    // The window's tests have written the types of the host.
    types_unchanged()?;
    println!("── All tests passed in {:.0} s", started.elapsed().as_secs_f32());
    Ok(())
}

/// Asks the advisory database about what is locked, where cargo-deny is installed and the database
/// can be fetched.
fn advisories() -> Result<(), Failure> {
    let title = "Advisories about dependencies";
    if !on_path("cargo-deny") {
        skip(
            title,
            "cargo-deny is not installed (`cargo install cargo-deny --locked`, many minutes)",
        );
        return Ok(());
    }
    // A database that cannot be had says nothing about the dependencies.
    let fetched = cargo(&["deny", "fetch", "db"]).output().is_ok_and(|out| out.status.success());
    if !fetched {
        skip(title, "the advisory database cannot be fetched; it is on GitHub");
        return Ok(());
    }
    step(title, &mut cargo(&["deny", "check", "--disable-fetch", "advisories"]))
}

/// Writes the TypeScript types anew.
///
/// # Errors
/// When a crate does not compile.
pub(crate) fn regenerate_types() -> Result<(), Failure> {
    step(
        "Generate the TypeScript types",
        &mut cargo(&[
            "test",
            "-q",
            "-p",
            "session-protocol",
            "-p",
            "session-core",
            "export_bindings",
        ]),
    )?;
    let title = "Generate the TypeScript types of the window's host";
    if !root().join("ui/dist").exists() {
        skip(title, "the page that is built into it is not there; `cargo xtask run` builds it");
        return Ok(());
    }
    step(title, &mut cargo(&["test", "-q", "-p", "threadkeep-desktop", "--lib", "export_bindings"]))
}

/// The tests before have just written the types: a difference to what is committed, or a new file,
/// is a failure.
fn types_unchanged() -> Result<(), Failure> {
    const BINDINGS: &str = "ui/src/ipc/bindings";
    let title = "TypeScript types are the committed ones";
    if !root().join(".git").exists() {
        skip(title, "this is not a git checkout");
        return Ok(());
    }
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments).args(["--", BINDINGS]).current_dir(root());
        git
    };
    let hint = "commit what `cargo xtask types` wrote";
    step(title, &mut git(&["diff", "--exit-code", "--stat"]))
        .map_err(|error| format!("{error}\n{hint}"))?;
    let new = git(&["ls-files", "--others", "--exclude-standard"]).output();
    let new = new.map_err(|error| format!("{title}: git cannot be started: {error}"))?.stdout;
    if new.is_empty() {
        return Ok(());
    }
    Err(format!("{title} failed, these are new: {}\n{hint}", String::from_utf8_lossy(&new).trim()))
}

/// Everything the window tests need: packages, the page, binaries.
fn prepare_window() -> Result<(), Failure> {
    packages::ensure(&[Need::Build, Need::Headless, Need::Test])?;
    ui::install()?;
    ui::build()?;
    interop_install()?;
    step("Build the headless binary", &mut cargo(&["build", "-p", "threadkeep-cli"]))
}

/// Measures the page in a window.
///
/// # Errors
/// When it could not be built or drawn.
pub(crate) fn bench_window() -> Result<(), Failure> {
    prepare_window()?;
    window(&["--ignored", "bench", "--nocapture"])
}

/// Runs the window tests on a display of their own.
fn window(arguments: &[&str]) -> Result<(), Failure> {
    let display = Xvfb::start()?;
    println!("── The window tests run on a display of their own ({})", display.display);
    let mut test = cargo(&["test", "-p", "threadkeep-desktop", "--"]);
    test.args(["--test-threads", "2"]).args(arguments);
    test.env("DISPLAY", &display.display).env("GDK_BACKEND", "x11");
    test.env("THREADKEEP_CLI", target_dir().join("debug/threadkeep"));
    step("Window tests (a real window, driven as a person would)", &mut test)
}

/// Runs upstream's conformance tests against the embedded streams, and kills them many times.
fn conformance() -> Result<(), Failure> {
    packages::ensure(&[])?;
    install("Upstream's conformance tests", "tests/conformance")?;
    let mut test = cargo(&["test", "-p", "session-server", "--test", "it", "--"]);
    test.args(["--ignored", "--nocapture", "--test-threads", "1"]);
    test.args(["conformance::", "two_hundred_kills"]);
    step("The embedded streams: upstream's conformance tests, two hundred kills", &mut test)
}

/// Attacks the release binary for so many seconds; `THREADKEEP_SEED` repeats a run,
/// `THREADKEEP_ATTACKS` names kinds.
fn attack(seconds: u32) -> Result<(), Failure> {
    if !cfg!(target_os = "linux") {
        skip("The attack", "it is measured through /proc, which is Linux's");
        return Ok(());
    }
    let package = ["-p", "threadkeep-cli"];
    let release = "Build the binary as it is released (minutes the first time)";
    step(release, cargo(&["build", "--release"]).args(package))?;
    let mut test = cargo(&["test", "--test", "attack"]);
    test.args(package).args(["--", "--ignored", "--nocapture"]);
    let binary =
        target_dir().join("release/threadkeep").with_extension(std::env::consts::EXE_EXTENSION);
    test.env("THREADKEEP_BIN", binary).env("THREADKEEP_ATTACK_SECONDS", seconds.to_string());
    step(&format!("The released server, attacked for {seconds} s"), &mut test)
}

/// Installs the published packages that the tests read and write streams with.
///
/// # Errors
/// When npm fails.
pub(crate) fn interop_install() -> Result<(), Failure> {
    install("Upstream's packages for the tests", "tests/interop")
}

/// Installs npm packages where their lock says something new.
pub(crate) fn install(what: &str, folder: &str) -> Result<(), Failure> {
    let folder = root().join(folder);
    let lock = folder.join("package-lock.json");
    let installed = folder.join("node_modules/.package-lock.json");
    let newer = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    if newer(&installed) > newer(&lock) {
        skip(what, "they are installed");
        return Ok(());
    }
    step(what, &mut ui::npm_in(&folder, &["ci", "--no-fund", "--no-audit"]))
}

/// Builds the packages, installs the .deb by apt and does the main job in the installed app.
fn installed() -> Result<(), Failure> {
    packages::ensure(&[Need::Build, Need::Headless, Need::Test])?;
    bundle::run(&bundle::Options::default())?;
    let deb = bundle::package("deb")?;
    let prefix = packages::privilege().ok_or("installing the .deb needs root or sudo")?;
    let mut install = packages::elevated(prefix);
    install.args([
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "-y",
        "--reinstall",
    ]);
    step("Install the .deb", install.arg(&deb))?;
    prepare_window()?;
    let display = Xvfb::start()?;
    let mut test = cargo(&["test", "-p", "threadkeep-desktop", "--", "--test-threads", "1"]);
    test.args(["main_job"]).env("DISPLAY", &display.display).env("GDK_BACKEND", "x11");
    test.env("THREADKEEP_APP", "/usr/bin/threadkeep-desktop");
    test.env("THREADKEEP_CLI", target_dir().join("debug/threadkeep"));
    step("The installed app does the main job", &mut test)
}
