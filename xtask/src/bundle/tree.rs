//! The files of a package as they lie in the system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::{Failure, on_path, root, skip};

/// The app's id: the name of its desktop entry, icon and metainfo.
const ID: &str = "dev.threadkeep.desktop";
/// Icons by the size that they are for.
const ICONS: [(&str, &str); 5] = [
    ("32x32.png", "32x32/apps"),
    ("128x128.png", "128x128/apps"),
    ("128x128@2x.png", "256x256/apps"),
    ("icon.png", "512x512/apps"),
    ("icon.svg", "scalable/apps"),
];
/// Completions: the shell, and its file below `usr/share`.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/threadkeep"),
    ("zsh", "zsh/vendor-completions/_threadkeep"),
    ("fish", "fish/vendor_completions.d/threadkeep.fish"),
];

/// Makes the tree anew in `to`, of the app's and the command line's programs.
///
/// # Errors
/// A file cannot be read or written, or a program does not say its man pages.
pub(super) fn make(to: &Path, app: &Path, cli: &Path) -> Result<(), Failure> {
    println!("── Tree of the package in {}", to.display());
    if to.exists() {
        fs::remove_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    let share = to.join("usr/share");
    let data = root().join("packaging");
    for (from, name) in [(app, "threadkeep-desktop"), (cli, "threadkeep")] {
        let program = to.join("usr/bin").join(name);
        copy(from, &program, 0o755)?;
        strip(&program)?;
    }
    let desktop = share.join("applications").join(format!("{ID}.desktop"));
    copy(&data.join(format!("{ID}.desktop")), &desktop, 0o644)?;
    let metainfo = share.join("metainfo").join(format!("{ID}.metainfo.xml"));
    copy(&data.join(format!("{ID}.metainfo.xml")), &metainfo, 0o644)?;
    let mime = share.join("mime/packages").join(format!("{ID}.xml"));
    copy(&data.join(format!("{ID}.xml")), &mime, 0o644)?;
    for (file, place) in ICONS {
        let end = file.rsplit('.').next().unwrap_or_default();
        let icon = share.join("icons/hicolor").join(place).join(format!("{ID}.{end}"));
        copy(&root().join("icons").join(file), &icon, 0o644)?;
    }
    let docs = share.join("doc/threadkeep");
    copy(&data.join("copyright"), &docs.join("copyright"), 0o644)?;
    packed(&changelog()?, &docs.join("changelog.gz"))?;
    let pages = share.join("man/man1");
    told(Command::new(cli).arg("man").arg(&pages))?;
    fs::copy(data.join("threadkeep-desktop.1"), pages.join("threadkeep-desktop.1"))
        .map_err(|error| format!("the app's man page: {error}"))?;
    for page in files(&pages)? {
        let text = fs::read(&page).map_err(|error| format!("{}: {error}", page.display()))?;
        packed(&text, &page.with_extension("1.gz"))?;
        fs::remove_file(&page).map_err(|error| format!("{}: {error}", page.display()))?;
    }
    for (shell, place) in SHELLS {
        let text = told(Command::new(cli).args(["completions", shell]))?;
        write(&share.join(place), &text, 0o644)?;
    }
    for (program, arguments, file) in [
        ("desktop-file-validate", &[][..], &desktop),
        ("appstreamcli", &["validate", "--no-net"][..], &metainfo),
    ] {
        if on_path(program) {
            told(Command::new(program).args(arguments).arg(file))?;
        } else {
            skip(&format!("Check {}", file.display()), &format!("there is no {program}"));
        }
    }
    Ok(())
}

/// The list of changes, which Debian wants beside every package.
fn changelog() -> Result<Vec<u8>, Failure> {
    fs::read(root().join("CHANGELOG.md")).map_err(|error| format!("CHANGELOG.md: {error}"))
}

/// The output of a program.
fn told(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} cannot be started: {error}"))?;
    if !output.status.success() {
        // Validators say what is wrong on standard output.
        let words = [output.stdout, output.stderr].concat();
        return Err(format!("{name} failed: {}", String::from_utf8_lossy(&words).trim()));
    }
    Ok(output.stdout)
}

/// Takes out what only debuggers read.
fn strip(program: &Path) -> Result<(), Failure> {
    let head = fs::read(program).map_err(|error| format!("{}: {error}", program.display()))?;
    if !head.starts_with(b"\x7fELF") || !on_path("strip") {
        return Ok(());
    }
    told(Command::new("strip").args(["--strip-unneeded", "--remove-section=.comment"]).arg(program))
        .map(drop)
}

/// Writes text packed by gzip, without a name and a time in it.
///
/// # Errors
/// `gzip` is not there, or the file cannot be written.
pub(super) fn packed(text: &[u8], to: &Path) -> Result<(), Failure> {
    let gzip = Command::new("gzip")
        .args(["-9", "-n", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut gzip = gzip.map_err(|error| format!("gzip cannot be started: {error}"))?;
    let mut input = gzip.stdin.take().expect("it was asked for");
    let bytes = text.to_vec();
    let writing = std::thread::spawn(move || io::Write::write_all(&mut input, &bytes));
    let output = gzip.wait_with_output().map_err(|error| format!("gzip failed: {error}"))?;
    let written = writing.join().is_ok_and(|written| written.is_ok());
    if !written || !output.status.success() {
        return Err("gzip failed".to_owned());
    }
    write(to, &output.stdout, 0o644)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), Failure> {
    let bytes = fs::read(from).map_err(|error| format!("{}: {error}", from.display()))?;
    write(to, &bytes, mode)
}

fn write(to: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let failed = |error| format!("{}: {error}", to.display());
    fs::create_dir_all(to.parent().expect("it is in the tree")).map_err(failed)?;
    fs::write(to, bytes).map_err(failed)?;
    set_mode(to, mode).map_err(failed)
}

/// Sets who may do what with a file, where the system knows such a thing.
///
/// # Errors
/// The file is not there or another's.
#[cfg(unix)]
pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
pub(super) fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// All files below a folder, in order.
///
/// # Errors
/// A folder cannot be read.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let (mut found, mut todo) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = todo.pop() {
        let entries =
            fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_icon_has_the_size_that_it_is_for() {
        for (file, place) in ICONS.iter().filter(|(file, _)| file.ends_with(".png")) {
            let bytes = fs::read(root().join("icons").join(file)).unwrap();
            let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            assert!(bytes.starts_with(b"\x89PNG"), "{file}");
            // Width and height stand at these places of every PNG.
            assert_eq!(format!("{}x{}/apps", number(16), number(20)), *place, "{file}");
        }
    }

    #[test]
    fn what_describes_the_app_names_the_version_and_the_same_id_everywhere() {
        let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
        let metainfo = read(&format!("packaging/{ID}.metainfo.xml"));
        assert!(metainfo.contains(&format!("<release version=\"{}\"", env!("CARGO_PKG_VERSION"))));
        assert!(
            metainfo.contains(&format!("<id>{ID}</id>"))
                && metainfo.contains(&format!("{ID}.desktop</launchable>"))
        );
        assert!(read(&format!("packaging/{ID}.desktop")).contains(&format!("Icon={ID}\n")));
        assert!(read("tauri.conf.json").contains(&format!("\"identifier\": \"{ID}\"")));
        assert!(read(&format!("packaging/flatpak/{ID}.yml")).contains(&format!("id: {ID}\n")));
    }
}
