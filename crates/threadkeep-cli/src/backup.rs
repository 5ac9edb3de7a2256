//! `threadkeep backup` and `threadkeep restore`: everything of a data folder as one file, made
//! while the app or a server works in it.
//!
//! A backup is a tar, packed by zstd. Its first entry, `backup.json`, lists the others with their
//! sizes and hashes, so a restore knows what must come, and that all of it came, before it touches
//! the folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};

use crate::folders;

const FORMAT: &str = "threadkeep.backup/1";
const MANIFEST: &str = "backup.json";
/// Bytes of the list of files.
const MAX_MANIFEST: u64 = 64 << 20;
/// Time to wait for a program that holds a database, and number of times.
const BUSY: (Duration, u32) = (Duration::from_millis(100), 300);
/// How hard zstd tries: more takes much longer and gains little.
const LEVEL: i32 = 3;

#[derive(clap::Args)]
struct Place {
    /// The data folder: a server's, or the app's.
    #[arg(long, default_value = "threadkeep-data", value_name = "DIR", conflicts_with = "app")]
    data_dir: PathBuf,

    /// The data folder of the app on this computer.
    #[arg(long)]
    app: bool,
}

impl Place {
    fn folder(&self) -> anyhow::Result<PathBuf> {
        if self.app {
            return folders::app().context("there is no home folder to look for the app's data in");
        }
        Ok(self.data_dir.clone())
    }
}

/// Copy everything that is in a data folder to one file.
///
/// The app and servers may go on meanwhile: each database is copied as it is at one moment, the
/// streams last, which are the truth. The file holds conversations and the keys of agents as they
/// are: keep it as you keep the folder. Keys in the system's keychain are not in it.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep backup --app ~/threadkeep.backup\n  \
    threadkeep backup --data-dir ~/sessions /mnt/backups/sessions.backup")]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    place: Place,

    /// The file to write; it is there whole or not at all.
    file: PathBuf,

    /// Write over a file that is there.
    #[arg(long)]
    overwrite: bool,
}

/// Put a backup into a data folder.
///
/// Nothing is written over: a folder that has data is refused, or, with --replace, what is in it is
/// moved to a folder beside it. A folder in which the app or a server works is always refused.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:\n  \
    threadkeep restore --check ~/threadkeep.backup\n  \
    threadkeep restore --app ~/threadkeep.backup")]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    place: Place,

    /// The backup.
    file: PathBuf,

    /// Read and check all of it, and write nothing.
    #[arg(long)]
    check: bool,

    /// Move aside what is in the folder.
    #[arg(long)]
    replace: bool,
}

/// The list of files.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    format: String,
    made_by: String,
    created_at: String,
    files: BTreeMap<String, Listed>,
}

/// A file in the list.
#[derive(Serialize, Deserialize)]
struct Listed {
    size: u64,
    blake3: String,
}

/// Runs `threadkeep backup`.
pub(crate) fn backup(args: &BackupArgs) -> anyhow::Result<()> {
    let folder = args.place.folder()?;
    ensure!(
        folders::holds_ours(&folder),
        "{} has nothing of Threadkeep in it. Give the folder by --data-dir, or --app",
        folder.display()
    );
    let shown = args.file.display();
    if args.file.exists() && !args.overwrite {
        bail!("{shown} is there already. Choose another name, or use --overwrite");
    }
    let beside =
        args.file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let copies = tempfile::Builder::new()
        .prefix(".threadkeep-backup-")
        .tempdir_in(beside)
        .with_context(|| format!("cannot write to {}", beside.display()))?;
    let mut files = BTreeMap::new();
    for path in folders::DATABASES.into_iter().filter(|path| folder.join(path).is_file()) {
        let copy = copies.path().join(path.replace('/', "+"));
        copy_database(&folder.join(path), &copy).with_context(|| format!("cannot copy {path}"))?;
        files.insert(path.to_owned(), copy);
    }
    for path in folders::files(&folder) {
        let copy = copies.path().join(files.len().to_string());
        match fs::copy(folder.join(&path), &copy) {
            Ok(_) => drop(files.insert(path, copy)),
            // It was there a moment ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot copy {path}")),
        }
    }
    let mut listed = BTreeMap::new();
    for (path, copy) in &files {
        let (size, blake3) = hashed(File::open(copy)?, &mut io::sink())?;
        listed.insert(path.clone(), Listed { size, blake3 });
    }
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        made_by: concat!("threadkeep ", env!("CARGO_PKG_VERSION")).to_owned(),
        created_at: jiff::Timestamp::now().to_string(),
        files: listed,
    };
    let mut out = tempfile::Builder::new().prefix(".threadkeep-backup-").tempfile_in(beside)?;
    pack(&manifest, &files, out.as_file_mut()).with_context(|| format!("cannot write {shown}"))?;
    let size = out.as_file().metadata()?.len();
    out.persist(&args.file)
        .map_err(|error| error.error)
        .with_context(|| format!("cannot write {shown}"))?;
    eprintln!("{} files, {} MiB: {shown}", manifest.files.len(), size.div_ceil(1 << 20));
    Ok(())
}

/// Copies a database as it is at one moment, also while others write it, and checks the copy.
fn copy_database(from: &Path, to: &Path) -> anyhow::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags)?;
    source.busy_timeout(Duration::from_secs(5))?;
    let mut copy = Connection::open(to)?;
    owner_only(to)?;
    {
        let backup = Backup::new(&source, &mut copy)?;
        let (pause, mut left) = BUSY;
        // All pages in one step: they are of one moment, and nobody who writes makes it begin anew.
        while backup.step(-1)? != StepResult::Done {
            left = left.checked_sub(1).context("another program holds the database. Try again")?;
            std::thread::sleep(pause);
        }
    }
    let says: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    ensure!(says == "ok", "the database is damaged: {says}");
    // A file of its own, without a log beside it.
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    copy.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn pack(
    manifest: &Manifest,
    files: &BTreeMap<String, PathBuf>,
    out: &mut File,
) -> anyhow::Result<()> {
    let packed = zstd::stream::write::Encoder::new(BufWriter::new(out), LEVEL)?;
    let mut tar = tar::Builder::new(packed);
    let header = |size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o600);
        header
    };
    let list = serde_json::to_vec_pretty(manifest)?;
    tar.append_data(&mut header(list.len() as u64), MANIFEST, &list[..])?;
    for (path, listed) in &manifest.files {
        let file = File::open(&files[path])?;
        tar.append_data(&mut header(listed.size), path, BufReader::new(file))?;
    }
    tar.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

/// Copies what is read, and says its size and hash.
fn hashed(mut from: impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let (mut hasher, mut size, mut buffer) = (blake3::Hasher::new(), 0, vec![0; 256 << 10]);
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok((size, hasher.finalize().to_hex().to_string()));
        }
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        size += count as u64;
    }
}

/// Runs `threadkeep restore`.
pub(crate) fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let shown = args.file.display();
    let file = File::open(&args.file).with_context(|| format!("cannot read {shown}"))?;
    if args.check {
        let none = tempfile::tempdir()?;
        let manifest = unpack(file, false, none.path())
            .with_context(|| format!("{shown} is no whole backup"))?;
        eprintln!(
            "whole: {} files, made {} by {}",
            manifest.files.len(),
            manifest.created_at,
            manifest.made_by
        );
        return Ok(());
    }
    let folder = args.place.folder()?;
    let workers = folders::workers(&folder);
    if let Some(who) = workers.first() {
        bail!("{who} works in {}. End it first", folder.display());
    }
    let has_data = folders::holds_ours(&folder);
    if has_data && !args.replace {
        bail!(
            "{} has data already, and nothing is written over. Use another folder, or --replace, which moves the data aside",
            folder.display()
        );
    }
    make_private(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let staged = tempfile::Builder::new().prefix(".restore-").tempdir_in(&folder)?;
    let manifest =
        unpack(file, true, staged.path()).with_context(|| format!("{shown} is no whole backup"))?;
    if has_data {
        let aside = set_aside(&folder)?;
        eprintln!("what was there is in {}", aside.display());
    }
    for path in manifest.files.keys() {
        let target = folder.join(path);
        make_private(target.parent().unwrap_or(&folder))?;
        fs::rename(staged.path().join(path), &target)
            .with_context(|| format!("cannot write {}", target.display()))?;
    }
    eprintln!("{} files of {}: {}", manifest.files.len(), manifest.created_at, folder.display());
    Ok(())
}

/// Unpacks a backup into an empty folder, or only reads it. Fails where a file is missing, more
/// than was listed, or not what was listed.
fn unpack(file: File, write: bool, folder: &Path) -> anyhow::Result<Manifest> {
    let mut tar = tar::Archive::new(zstd::stream::read::Decoder::new(BufReader::new(file))?);
    let mut entries = tar.entries()?;
    let first = entries.next().context("it is empty")??;
    ensure!(
        *first.path_bytes() == *MANIFEST.as_bytes(),
        "it does not begin with its list of files"
    );
    let mut list = Vec::new();
    first.take(MAX_MANIFEST).read_to_end(&mut list)?;
    let manifest: Manifest =
        serde_json::from_slice(&list).context("its list of files cannot be read")?;
    ensure!(
        manifest.format == FORMAT,
        "it is of a newer version of Threadkeep. Update this one first"
    );
    let mut left: BTreeMap<&str, &Listed> =
        manifest.files.iter().map(|(path, listed)| (path.as_str(), listed)).collect();
    for entry in entries {
        let entry = entry?;
        let path =
            String::from_utf8(entry.path_bytes().into_owned()).context("a file has an odd name")?;
        let listed =
            left.remove(path.as_str()).with_context(|| format!("{path} is not in its list"))?;
        ensure!(folders::is_ours(&path), "{path} is nothing of Threadkeep");
        ensure!(entry.header().entry_type().is_file(), "{path} is no file");
        let bounded = entry.take(listed.size.saturating_add(1));
        let (size, blake3) = if write {
            let target = folder.join(&path);
            make_private(target.parent().unwrap_or(folder))?;
            let mut out = File::create_new(&target)?;
            owner_only(&target)?;
            let told = hashed(bounded, &mut out)?;
            out.sync_all()?;
            told
        } else {
            hashed(bounded, &mut io::sink())?
        };
        ensure!(size == listed.size && blake3 == listed.blake3, "{path} is damaged");
    }
    if let Some(path) = left.keys().next() {
        bail!("{path} is missing");
    }
    drop(left);
    Ok(manifest)
}

/// Moves what is ours into a folder of its own inside. Nothing is deleted.
fn set_aside(folder: &Path) -> anyhow::Result<PathBuf> {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let aside = (0..)
        .map(|n| {
            folder.join(if n == 0 {
                format!("replaced-{stamp}")
            } else {
                format!("replaced-{stamp}-{n}")
            })
        })
        .find(|path| !path.exists())
        .expect("numbers do not end");
    let logs = folders::DATABASES
        .iter()
        .flat_map(|path| ["", "-wal", "-shm"].map(|end| format!("{path}{end}")));
    for path in logs.chain(folders::files(folder)) {
        let from = folder.join(&path);
        if from.is_file() {
            let to = aside.join(&path);
            make_private(to.parent().unwrap_or(&aside))?;
            fs::rename(&from, &to).with_context(|| format!("cannot move {}", from.display()))?;
        }
    }
    Ok(aside)
}

/// Makes a folder, and those above it, for its owner only.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn owner_only(file: &Path) -> io::Result<()> {
    fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
}

/// Leaves a file to what its folder allows.
#[cfg(not(unix))]
fn owner_only(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("settings.json", "{}"),
            ("server/server.key", "key"),
            ("server/notes/a/b.md", "note"),
            ("server/acp/running/1", "pid"),
            ("WebKit/salt", "not ours"),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn place(folder: &Path) -> Place {
        Place { data_dir: folder.to_owned(), app: false }
    }

    fn save(folder: &Path, file: &Path) -> anyhow::Result<()> {
        backup(&BackupArgs { place: place(folder), file: file.to_owned(), overwrite: false })
    }

    fn put_back(file: &Path, folder: &Path, replace: bool) -> anyhow::Result<()> {
        restore(&RestoreArgs { place: place(folder), file: file.to_owned(), check: false, replace })
    }

    #[test]
    fn a_database_that_is_being_written_is_copied_as_it_is_at_one_moment() {
        let folder = data();
        let path = folder.path().join("server/streams/streams.sqlite");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE pair (a INTEGER, b INTEGER); INSERT INTO pair VALUES (0, 0);")
            .unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writing = std::thread::spawn({
            let stop = std::sync::Arc::clone(&stop);
            move || {
                let mut count = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // Both or none; and never a moment in which nobody writes.
                    writer.execute_batch("BEGIN; UPDATE pair SET a = a + 1; INSERT INTO pair SELECT a, a FROM pair LIMIT 1; UPDATE pair SET b = a; COMMIT;").unwrap();
                    count += 1;
                }
                (writer, count)
            }
        });
        let out = tempfile::tempdir().unwrap();
        for round in 0..5 {
            let file = out.path().join(format!("{round}.backup"));
            save(folder.path(), &file).unwrap();
            let target = out.path().join(format!("{round}"));
            put_back(&file, &target, false).unwrap();
            let copy = Connection::open(target.join("server/streams/streams.sqlite")).unwrap();
            let torn: i64 = copy
                .query_row("SELECT count(*) FROM pair WHERE a <> b", [], |row| row.get(0))
                .unwrap();
            assert_eq!(torn, 0);
            assert_eq!(fs::read_to_string(target.join("server/notes/a/b.md")).unwrap(), "note");
            assert!(!target.join("WebKit").exists() && !target.join("server/acp").exists());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let (_, count) = writing.join().unwrap();
        assert!(count > 5, "{count}");
    }

    #[test]
    fn nothing_is_written_over_without_a_word_and_then_it_is_moved() {
        let (folder, out) = (data(), tempfile::tempdir().unwrap());
        let file = out.path().join("b");
        save(folder.path(), &file).unwrap();
        assert!(save(folder.path(), &file).unwrap_err().to_string().contains("--overwrite"));
        let target = data();
        fs::write(target.path().join("settings.json"), "mine").unwrap();
        assert!(
            put_back(&file, target.path(), false).unwrap_err().to_string().contains("--replace")
        );
        assert_eq!(fs::read_to_string(target.path().join("settings.json")).unwrap(), "mine");
        put_back(&file, target.path(), true).unwrap();
        assert_eq!(fs::read_to_string(target.path().join("settings.json")).unwrap(), "{}");
        let aside = fs::read_dir(target.path())
            .unwrap()
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with("replaced-"));
        assert_eq!(
            fs::read_to_string(aside.unwrap().path().join("settings.json")).unwrap(),
            "mine"
        );
        // Where somebody works nothing is put, whatever is said.
        let lock = File::create(target.path().join("server.lock")).unwrap();
        lock.lock().unwrap();
        assert!(put_back(&file, target.path(), true).unwrap_err().to_string().contains("works in"));
    }

    #[test]
    fn a_backup_that_is_torn_or_made_up_changes_nothing() {
        let (folder, out) = (data(), tempfile::tempdir().unwrap());
        let file = out.path().join("b");
        save(folder.path(), &file).unwrap();
        let bytes = fs::read(&file).unwrap();
        let target = out.path().join("t");
        for end in [0, 10, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&file, &bytes[..end]).unwrap();
            assert!(put_back(&file, &target, false).is_err(), "{end}");
            assert!(!folders::holds_ours(&target));
        }
        for (path, text) in [("../climbed", "x"), ("WebKit/salt", "x"), ("settings.json", "other")]
        {
            let listed = Listed { size: 1, blake3: blake3::hash(b"x").to_hex().to_string() };
            let manifest = Manifest {
                format: FORMAT.to_owned(),
                made_by: String::new(),
                created_at: String::new(),
                files: BTreeMap::from([(path.to_owned(), listed)]),
            };
            let list = serde_json::to_vec(&manifest).unwrap();
            let mut tar = tar::Builder::new(Vec::new());
            for (name, bytes) in [(MANIFEST, &list[..]), (path, text.as_bytes())] {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                // As a hostile program would write it.
                header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
                header.set_cksum();
                tar.append(&header, bytes).unwrap();
            }
            fs::write(&file, zstd::encode_all(&tar.into_inner().unwrap()[..], 1).unwrap()).unwrap();
            assert!(put_back(&file, &target, false).is_err(), "{path}");
            assert!(!out.path().join("climbed").exists() && !folders::holds_ours(&target));
        }
    }
}
