//! The .deb: a tree of files and what Debian wants to know of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tree::{files, packed, set_mode};
use crate::step::{Failure, on_path, root, skip, step};

/// Whoever keeps the package.
const MAINTAINER: &str = "The Threadkeep authors <maintainers@threadkeep.dev>";
/// The libraries that both programs are linked with, and what HTTPS needs.
const DEPENDS: &str = "libc6 (>= 2.36), libgcc-s1, libgtk-3-0 (>= 3.24) | libgtk-3-0t64, libwebkit2gtk-4.1-0 (>= 2.40), \
    ca-certificates";
/// The programs that make it more: links, keys, the icon beside the clock, spelling.
const RECOMMENDS: &str =
    "xdg-utils, gnome-keyring | kwalletmanager, libayatana-appindicator3-1, hunspell-en-us";
const DESCRIPTION: &str = "chat with AI agents in sessions that last
 Threadkeep is a desktop chat for durable AI sessions: logs that several people
 and several agents write to and follow. They survive restarts, open at once
 and offline, and tell you when an agent waits for your approval.
 .
 The command line tool threadkeep serves, follows, imports and exports
 sessions without a window.";

/// Packs a tree. The same tree gives the same bytes: times are those of the newest commit, or
/// SOURCE_DATE_EPOCH.
///
/// # Errors
/// `dpkg-deb` is not there or fails.
pub(super) fn pack(tree: &Path, out: &Path) -> Result<PathBuf, Failure> {
    if !on_path("dpkg-deb") {
        return Err("dpkg-deb is missing: a .deb is made on Debian or Ubuntu".to_owned());
    }
    let (version, machine) = (version()?, machine()?);
    changelog(tree, &version)?;
    let control = tree.join("DEBIAN");
    fs::create_dir_all(&control).map_err(|error| format!("{}: {error}", control.display()))?;
    let all: Vec<PathBuf> =
        files(tree)?.into_iter().filter(|file| !file.starts_with(&control)).collect();
    let size: u64 = all
        .iter()
        .filter_map(|file| fs::metadata(file).ok())
        .map(|meta| meta.len().div_ceil(1024))
        .sum();
    let text = format!(
        "Package: threadkeep\nVersion: {version}\nArchitecture: {machine}\nMaintainer: {MAINTAINER}\n\
        Installed-Size: {size}\nDepends: {DEPENDS}\nRecommends: {RECOMMENDS}\nSection: net\nPriority: optional\n\
        Description: {DESCRIPTION}\n"
    );
    let write = |name: &str, text: &str| {
        let path = control.join(name);
        fs::write(&path, text)
            .and_then(|()| set_mode(&path, 0o644))
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    write("control", &text)?;
    write("md5sums", &sums(tree, &all)?)?;
    private_to_all(tree)?;
    fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let package = out.join(format!("threadkeep_{version}_{machine}.deb"));
    step(
        "Pack the .deb",
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "-z9", "-b"])
            .args([tree, &package])
            .env("SOURCE_DATE_EPOCH", epoch()),
    )?;
    Ok(package)
}

/// Asks lintian about a package, where it is installed.
///
/// # Errors
/// When lintian finds an error.
pub(super) fn check(package: &Path) -> Result<(), Failure> {
    if !on_path("lintian") {
        skip("Check the .deb", "there is no lintian");
        return Ok(());
    }
    let mut lintian = Command::new("lintian");
    step("Check the .deb", lintian.args(["--allow-root", "--fail-on", "error"]).arg(package))
}

/// The modes that folders of a system have, whatever the umask was.
fn private_to_all(tree: &Path) -> Result<(), Failure> {
    let mut todo = vec![tree.to_path_buf()];
    while let Some(folder) = todo.pop() {
        let failed = |error| format!("{}: {error}", folder.display());
        set_mode(&folder, 0o755).map_err(failed)?;
        let entries = fs::read_dir(&folder).map_err(failed)?;
        todo.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    Ok(())
}

fn sums(tree: &Path, files: &[PathBuf]) -> Result<String, Failure> {
    let output = Command::new("md5sum")
        .args(files.iter().filter_map(|file| file.strip_prefix(tree).ok()))
        .current_dir(tree)
        .output()
        .map_err(|error| format!("md5sum cannot be started: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes Debian's own list of changes, which names the version and says where ours is.
fn changelog(tree: &Path, version: &str) -> Result<(), Failure> {
    let date = Command::new("date").args(["-u", "-R", "-d", &format!("@{}", epoch())]).output();
    let date = date.map_err(|error| format!("date cannot be started: {error}"))?;
    let text = format!(
        "threadkeep ({version}) stable; urgency=medium\n\n  * What changed is in changelog.gz.\n\n -- {MAINTAINER}  {}",
        String::from_utf8_lossy(&date.stdout)
    );
    packed(text.as_bytes(), &tree.join("usr/share/doc/threadkeep/changelog.Debian.gz"))
}

/// The version of the workspace, with that of the package behind it.
fn version() -> Result<String, Failure> {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))
        .map_err(|error| format!("Cargo.toml: {error}"))?;
    let package = manifest.split("[workspace.package]").nth(1).unwrap_or_default();
    let line = package.lines().find_map(|line| line.strip_prefix("version = "));
    line.map(|version| format!("{}-1", version.trim_matches('"')))
        .ok_or_else(|| "Cargo.toml names no version".to_owned())
}

/// Debian's name of this machine.
fn machine() -> Result<&'static str, Failure> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => Err(format!("there is no package for {other}")),
    }
}

fn epoch() -> String {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|given| !given.is_empty());
    let commit = || {
        let log =
            Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()).output();
        log.ok()
            .map(|log| String::from_utf8_lossy(&log.stdout).trim().to_owned())
            .filter(|time| !time.is_empty())
    };
    given.or_else(commit).unwrap_or_else(|| "0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::tree;

    /// Programs that say what the real ones say of themselves.
    fn programs(folder: &Path) -> (PathBuf, PathBuf) {
        let script = "#!/bin/sh\ncase \"$1\" in\n\
            man) mkdir -p \"$2\" && printf '.TH threadkeep 1\\n.SH NAME\\nthreadkeep \\\\- sessions\\n' > \"$2/threadkeep.1\";;\n\
            completions) echo \"# $2\";;\nesac\n";
        let (app, cli) = (folder.join("app"), folder.join("cli"));
        for program in [&app, &cli] {
            fs::write(program, script).unwrap();
            set_mode(program, 0o755).unwrap();
        }
        (app, cli)
    }

    #[test]
    fn the_same_programs_give_the_same_package_byte_by_byte() {
        if !on_path("dpkg-deb") || !on_path("gzip") {
            skip("The package", "there is no dpkg-deb");
            return;
        }
        let folder = std::env::temp_dir().join(format!("threadkeep-bundle-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (app, cli) = programs(&folder);
        let make = |name: &str| {
            tree::make(&folder.join("tree"), &app, &cli).unwrap();
            pack(&folder.join("tree"), &folder.join(name)).map(|path| fs::read(path).unwrap())
        };
        let (one, two) = (make("1"), make("2"));
        let listed = Command::new("dpkg-deb")
            .arg("-c")
            .arg(folder.join("1").read_dir().unwrap().next().unwrap().unwrap().path())
            .output()
            .unwrap();
        fs::remove_dir_all(&folder).ok(); // what is left is in a temporary folder
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        for file in [
            "usr/bin/threadkeep",
            "usr/bin/threadkeep-desktop",
            "usr/share/applications/dev.threadkeep.desktop.desktop",
            "usr/share/man/man1/threadkeep.1.gz",
            "usr/share/doc/threadkeep/copyright",
            "usr/share/mime/packages/",
            "usr/share/bash-completion/completions/threadkeep",
            "hicolor/scalable/apps/dev.threadkeep.desktop.svg",
        ] {
            assert!(listed.contains(file), "{file} is missing:\n{listed}");
        }
        assert!(listed.lines().all(|line| line.contains("root/root")), "{listed}");
        assert!(one.unwrap() == two.unwrap(), "the two packages differ");
    }
}
