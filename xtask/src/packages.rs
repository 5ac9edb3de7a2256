//! System packages: what Tauri needs to build, and what the tests drive the window with.
//!
//! On Debian and Ubuntu the packages are installed through apt, as root or by sudo; without either,
//! the exact line to run is printed. Elsewhere the README says what is needed and nothing is tried.

use crate::step::{Failure, on_path, skip, step};
use std::process::{Command, Stdio};

/// Packages that building the app needs.
const BUILD: &[&str] = &[
    "build-essential",
    "pkg-config",
    "libwebkit2gtk-4.1-dev",
    "librsvg2-dev",
    "libayatana-appindicator3-dev",
];
/// Packages that showing the app without a display needs.
const HEADLESS: &[&str] = &["xvfb", "xauth"];
/// Packages that saving a picture of a display needs.
const SCREENSHOT: &[&str] = &["imagemagick"];
/// Packages that the window tests need: a driver, a private bus, a keychain.
const TEST: &[&str] = &["webkit2gtk-driver", "dbus", "gnome-keyring", "procps"];

/// The purpose of packages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Building the app.
    Build,
    /// Showing the app where there is no display.
    Headless,
    /// Saving a picture of the window.
    Screenshot,
    /// Running the window tests.
    Test,
}

/// Installs what is missing for `needs`.
///
/// # Errors
/// When something is missing that cannot be installed from here; the text says what to run.
pub(crate) fn ensure(needs: &[Need]) -> Result<(), Failure> {
    node()?;
    if !cfg!(target_os = "linux") {
        skip("System packages", "see the README for what Tauri needs on this system");
        return Ok(());
    }
    let wanted: Vec<&str> = needs
        .iter()
        .flat_map(|need| match need {
            Need::Build => BUILD,
            Need::Headless => HEADLESS,
            Need::Screenshot => SCREENSHOT,
            Need::Test => TEST,
        })
        .copied()
        .collect();
    if !on_path("dpkg-query") {
        println!(
            "── System packages: this is not Debian or Ubuntu; make sure that the equivalents of \
             these are installed: {}",
            wanted.join(" ")
        );
        return Ok(());
    }
    let missing: Vec<&str> = wanted.into_iter().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        skip("System packages", "all are installed");
        return Ok(());
    }
    let line = format!("apt-get update && apt-get install -y {}", missing.join(" "));
    let Some(prefix) = privilege() else {
        return Err(format!(
            "these system packages are missing and there is neither root nor sudo here. \
             Have someone run this, then try again:\n\n    sudo sh -c '{line}'\n"
        ));
    };
    let mut update = elevated(prefix);
    step("System packages: refresh the list", update.args(["apt-get", "update", "-qq"]))?;
    let mut install = elevated(prefix);
    install.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq"]);
    install.args(&missing).stdout(Stdio::null());
    step(&format!("System packages: install {} (about a minute)", missing.join(" ")), &mut install)
}

fn node() -> Result<(), Failure> {
    const WANTED: &str =
        "install Node 20.19, 22.12 or newer (nodejs.org or your package system), then try again";
    let output = Command::new("node")
        .arg("--version")
        .output()
        .map_err(|_| format!("Node.js is missing: {WANTED}"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if node_is_new_enough(&version) {
        Ok(())
    } else {
        Err(format!("Node.js {version} cannot build the window: {WANTED}"))
    }
}

/// Whether `version`, as `node --version` prints it, is in the range that `ui/package.json` names.
fn node_is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(20)), Some(Ok(minor))) => minor >= 19,
        (Some(Ok(22)), Some(Ok(minor))) => minor >= 12,
        (Some(Ok(major)), _) => major > 22,
        _ => false,
    }
}

fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f=${Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout.ends_with(b"ok installed"))
}

/// The words before a command that is to run as root: none, `sudo`, or `None` where neither helps.
pub(crate) fn privilege() -> Option<&'static [&'static str]> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() == b"0" {
        Some(&[])
    } else if on_path("sudo") {
        Some(&["sudo"])
    } else {
        None
    }
}

/// A command that runs as root; its arguments start with the program.
pub(crate) fn elevated(prefix: &[&str]) -> Command {
    match prefix.first() {
        Some(sudo) => Command::new(sudo),
        None => Command::new("env"),
    }
}

#[cfg(test)]
mod tests {
    use super::node_is_new_enough;

    #[test]
    fn a_node_is_taken_in_the_range_that_the_page_names() {
        for (version, taken) in [
            ("v20.18.3", false),
            ("v20.19.0", true),
            ("v21.7.0", false),
            ("v22.11.0", false),
            ("v22.12.0", true),
            ("v24.0.0", true),
            ("v18.20.0", false),
            ("", false),
        ] {
            assert_eq!(node_is_new_enough(version), taken, "{version}");
        }
    }
}
