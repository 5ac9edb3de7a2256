//! `cargo xtask run`: from a fresh checkout to a usable chat.

use crate::packages::{self, Need};
use crate::step::{Failure, cargo, root, step, target_dir};
use crate::ui;
use crate::xvfb::Xvfb;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The line the app prints once its window has painted.
const PAINTED: &str = "window painted";

/// Options of the command.
pub(crate) struct Options {
    release: bool,
    screenshot: Option<PathBuf>,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// When an option is unknown or lacks its value.
    pub(crate) fn parse(arguments: &mut dyn Iterator<Item = &str>) -> Result<Self, Failure> {
        let mut options = Self { release: false, screenshot: None };
        while let Some(argument) = arguments.next() {
            match argument {
                "--release" => options.release = true,
                "--screenshot" => {
                    let file = arguments.next().ok_or("--screenshot needs a file name")?;
                    let here = std::env::current_dir().map_err(|error| error.to_string())?;
                    options.screenshot = Some(here.join(file));
                }
                other => return Err(format!("run has no option `{other}`; see cargo xtask help")),
            }
        }
        Ok(options)
    }
}

/// Sets up, builds and starts the app.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let headless = cfg!(target_os = "linux")
        && std::env::var_os("DISPLAY").is_none()
        && std::env::var_os("WAYLAND_DISPLAY").is_none();
    let mut needs = vec![Need::Build];
    if headless {
        needs.push(Need::Headless);
    }
    if options.screenshot.is_some() {
        needs.push(Need::Screenshot);
    }
    packages::ensure(&needs)?;
    ui::install()?;
    ui::build()?;
    let mut build = vec!["build", "--package", "threadkeep-desktop"];
    if options.release {
        build.push("--release");
    }
    step("Build the app (the first time takes 5 to 15 minutes)", &mut cargo(&build))?;
    build[2] = "threadkeep-cli";
    step("Build what runs the agents beside it", &mut cargo(&build))?;

    let profile = if options.release { "release" } else { "debug" };
    let binary = format!("threadkeep-desktop{}", std::env::consts::EXE_SUFFIX);
    let mut app = Command::new(target_dir().join(profile).join(binary));
    app.current_dir(root());
    let display = if headless {
        let display = Xvfb::start()?;
        println!(
            "── There is no display here: the window is shown on a virtual one ({}). \
             Use --screenshot FILE to see it.",
            display.display
        );
        app.env("DISPLAY", &display.display).env("GDK_BACKEND", "x11");
        Some(display)
    } else {
        None
    };
    match &options.screenshot {
        None => step("Threadkeep is running; close its window or press Ctrl-C to stop", &mut app),
        Some(file) => {
            let shown = display.as_ref().map(|display| display.display.clone());
            screenshot(&mut app, shown.as_deref(), file)
        }
    }
}

/// Starts the app, waits until its window has painted, saves the display and stops the app.
fn screenshot(
    app: &mut Command,
    display: Option<&str>,
    file: &std::path::Path,
) -> Result<(), Failure> {
    const DEADLINE: Duration = Duration::from_secs(60);
    println!("── Start the app and wait for its first paint");
    let mut child = app
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the app cannot be started: {error}"))?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let (painted, wait) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("   {line}");
            if line.contains(PAINTED) {
                painted.send(()).ok();
            }
        }
    });
    let result = wait
        .recv_timeout(DEADLINE)
        .map_err(|_| format!("the window did not paint within {} s", DEADLINE.as_secs()))
        .and_then(|()| settle(display, file));
    child.kill().ok();
    child.wait().ok();
    result?;
    println!("   saved {}", file.display());
    Ok(())
}

/// Takes pictures until two in a row are the same, so that nothing half-drawn is saved.
fn settle(display: Option<&str>, file: &std::path::Path) -> Result<(), Failure> {
    let started = Instant::now();
    let mut last = Vec::new();
    loop {
        let mut import = Command::new("import");
        import.args(["-window", "root"]).arg(file);
        if let Some(display) = display {
            import.env("DISPLAY", display);
        }
        let status = import.status().map_err(|error| format!("the picture: {error}"))?;
        if !status.success() {
            return Err(format!("the picture could not be taken ({status})"));
        }
        let picture =
            std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        if picture == last || started.elapsed() > Duration::from_secs(8) {
            return Ok(());
        }
        last = picture;
        std::thread::sleep(Duration::from_millis(500));
    }
}
