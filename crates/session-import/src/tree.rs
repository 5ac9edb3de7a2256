//! The files of what is imported: one file, a folder, or a zip.
//!
//! Whatever the files are called, nothing is written where they say: an entry of a zip is unpacked into a file without a
//! name. Links are not followed, paths that climb out are left out, and everything that unpacks is bounded. Zips in a folder
//! and zips in a zip are opened too: their files stand below the zip's own path, so that an export in several zips is one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use zip::ZipArchive;

use crate::media;
use crate::model::Problem;
use crate::utf16::Utf8Of;

/// Entries of a folder or a zip.
const MAX_ENTRIES: usize = 200_000;
/// Folders inside folders.
const MAX_DEPTH: usize = 32;
/// Bytes that one entry unpacks to.
const MAX_UNPACKED: u64 = 16 << 30;
/// How many times larger than packed an entry may be, beyond the first [`FREE`] bytes.
const MAX_RATIO: u64 = 200;
/// Bytes that any entry may unpack to.
const FREE: u64 = 32 << 20;
/// Zips inside zips.
const MAX_NESTED: usize = 256;
/// Levels of zips inside zips.
const MAX_LEVELS: usize = 2;
/// Bytes that all zips inside zips may have.
const MAX_NESTED_BYTES: u64 = 16 << 30;
/// Files that an office document or a program has first: such zips are files themselves.
const DOCUMENTS: [&[u8]; 5] =
    [b"[Content_Types].xml", b"mimetype", b"META-INF/", b"_rels/", b"word/"];
/// Bytes of the window of zstd, as a power of two.
const ZSTD_WINDOW: u32 = 27;

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file, or it may not be read.
    #[error("{path} cannot be read: {error}. Check the path and its permissions.")]
    Unreadable {
        /// What was asked for.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// It is no zip although it begins like one.
    #[error("{path} is a damaged zip. Ask for the export again.")]
    Zip {
        /// What was asked for.
        path: String,
    },
    /// It has more files than anything that is read.
    #[error("{path} has too many files. Import its folders one by one.")]
    TooMany {
        /// What was asked for.
        path: String,
    },
}

/// One file.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Its path inside what is imported, with slashes.
    pub(crate) path: String,
    /// Its size in bytes, as it lies there.
    pub(crate) size: u64,
    at: At,
}

#[derive(Clone)]
enum At {
    Disk(PathBuf),
    /// The zip's place among [`Tree::archives`], and the entry's in it.
    Zip(usize, usize),
}

impl Entry {
    /// The last part of its path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// A file that has a path on the disk as long as this lives.
pub(crate) struct OnDisk {
    pub(crate) path: PathBuf,
    _temporary: Option<TempDir>,
}

type Archive = ZipArchive<BufReader<File>>;

/// All files.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) entries: Vec<Entry>,
    /// What could not be opened.
    pub(crate) problems: Vec<Problem>,
    archives: Vec<Mutex<Archive>>,
    /// Places of entries by the last part of their paths.
    by_name: HashMap<String, Vec<usize>>,
}

impl Tree {
    /// The files of a path, in the order of their names.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let told = || path.display().to_string();
        let unreadable = |error| Error::Unreadable { path: told(), error };
        let meta = fs::metadata(path).map_err(unreadable)?;
        let mut tree = Self::default();
        let too_many = |_: TooMany| Error::TooMany { path: told() };
        if meta.is_dir() {
            fs::read_dir(path).map_err(unreadable)?;
            tree.walk(path, "", 0).map_err(too_many)?;
        } else if !meta.is_file() {
            let error = io::Error::other("it is neither a file nor a folder");
            return Err(unreadable(error));
        } else if is_zip(path) {
            let file = File::open(path).map_err(unreadable)?;
            let zip = ZipArchive::new(BufReader::new(file));
            let zip = zip.map_err(|_| Error::Zip { path: told() })?;
            tree.list(zip, "").map_err(too_many)?;
        } else {
            File::open(path).map_err(unreadable)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            tree.entries.push(Entry {
                path: name,
                size: meta.len(),
                at: At::Disk(path.to_owned()),
            });
        }
        tree.open_nested().map_err(too_many)?;
        let order = |entry: &Entry| (natural(&entry.path), entry.path.clone());
        tree.entries.sort_by_cached_key(order);
        for (at, entry) in tree.entries.iter().enumerate() {
            tree.by_name.entry(entry.name().to_owned()).or_default().push(at);
        }
        Ok(tree)
    }

    /// The files whose paths end in this name, in order.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Entry> {
        self.by_name.get(name).into_iter().flatten().map(|at| &self.entries[*at])
    }

    fn walk(&mut self, folder: &Path, inside: &str, depth: usize) -> Result<(), TooMany> {
        if depth > MAX_DEPTH {
            return Ok(());
        }
        for found in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = found.path();
            // Not what a link leads to.
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let name = found.file_name().to_string_lossy().into_owned();
            let own = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            if meta.is_dir() {
                self.walk(&path, &own, depth + 1)?;
            } else if meta.is_file() && is_zip(&path) {
                let zip = File::open(&path).map_err(io::Error::other).and_then(|file| {
                    ZipArchive::new(BufReader::new(file)).map_err(io::Error::other)
                });
                match zip {
                    Ok(zip) => self.list(zip, &own)?,
                    Err(_) => self.problem(own, "a damaged zip"),
                }
            } else if meta.is_file() {
                self.add(Entry { path: own, size: meta.len(), at: At::Disk(path) })?;
            }
        }
        Ok(())
    }

    fn problem(&mut self, place: String, reason: &'static str) {
        self.problems.push(Problem { place, reason });
    }

    fn add(&mut self, entry: Entry) -> Result<(), TooMany> {
        if self.entries.len() >= MAX_ENTRIES {
            return Err(TooMany);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Adds the files of a zip, below the path that it has itself.
    fn list(&mut self, mut zip: Archive, inside: &str) -> Result<(), TooMany> {
        let (archive, mut locked) = (self.archives.len(), false);
        for index in 0..zip.len() {
            let Ok(entry) = zip.by_index_raw(index) else { continue };
            let Ok(name) = entry.name().map(|name| name.replace('\\', "/")) else { continue };
            let is_link = entry.unix_mode().is_some_and(|mode| mode & 0o170_000 == 0o120_000);
            let climbs = name.starts_with('/')
                || name.contains('\0')
                || name.split('/').any(|part| part == ".." || part.ends_with(':'));
            let ignored = name.split('/').any(|part| part == "__MACOSX");
            if entry.is_dir() || is_link || climbs || ignored {
                continue;
            }
            if entry.encrypted() {
                locked = true;
                continue;
            }
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            let size = entry.compressed_size();
            drop(entry);
            self.add(Entry { path, size, at: At::Zip(archive, index) })?;
        }
        if locked {
            self.problem(inside.to_owned(), "a zip that wants a password: unpack it first");
        }
        self.archives.push(Mutex::new(zip));
        Ok(())
    }

    /// Opens the zips that are inside of zips.
    fn open_nested(&mut self) -> Result<(), TooMany> {
        let (mut from, mut left, mut bytes) = (0, MAX_NESTED, MAX_NESTED_BYTES);
        for _ in 0..MAX_LEVELS {
            let upto = self.entries.len();
            for at in from..upto {
                let entry = self.entries[at].clone();
                let At::Zip(archive, index) = entry.at else { continue };
                if left == 0
                    || !self.archive(archive).is_ok_and(|mut zip| holds_zip(&mut zip, index))
                {
                    continue;
                }
                left -= 1;
                let unpacked = tempfile::tempfile().and_then(|mut file| {
                    self.unpack(archive, index, &mut file)?;
                    let size = file.stream_position()?;
                    bytes = bytes.checked_sub(size).ok_or(io::ErrorKind::FileTooLarge)?;
                    ZipArchive::new(BufReader::new(file)).map_err(io::Error::other)
                });
                match unpacked {
                    Ok(zip) => self.list(zip, &entry.path)?,
                    Err(_) => self.problem(entry.path, "a zip that is damaged, or too large"),
                }
            }
            from = upto;
        }
        Ok(())
    }

    /// What is in a file, unpacked, behind a byte order mark.
    pub(crate) fn read(&self, entry: &Entry) -> io::Result<Box<dyn BufRead>> {
        let file = match &entry.at {
            At::Disk(path) => open_regular(path)?,
            At::Zip(archive, index) => {
                let mut file = tempfile::tempfile()?;
                self.unpack(*archive, *index, &mut file)?;
                file.rewind()?;
                file
            }
        };
        let mut input = BufReader::with_capacity(64 << 10, file);
        let head = input.fill_buf()?;
        let bound = move |unpacked: Box<dyn Read>, packed: u64| Bounded::new(unpacked, packed);
        let mut input: Box<dyn BufRead> = if head.starts_with(&[0x1f, 0x8b]) {
            let unpacked = flate2::bufread::MultiGzDecoder::new(input);
            Box::new(BufReader::with_capacity(64 << 10, bound(Box::new(unpacked), entry.size)))
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let mut unpacked = zstd::stream::read::Decoder::with_buffer(input)?;
            unpacked.window_log_max(ZSTD_WINDOW)?;
            Box::new(BufReader::with_capacity(64 << 10, bound(Box::new(unpacked), entry.size)))
        } else {
            Box::new(input)
        };
        if input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            input.consume(3);
        } else if let Some(unit) = Utf8Of::marked(input.fill_buf()?) {
            input.consume(2);
            input = Box::new(BufReader::with_capacity(64 << 10, Utf8Of::new(input, unit)));
        }
        Ok(input)
    }

    /// The first bytes of a file, unpacked.
    pub(crate) fn head(&self, entry: &Entry, bytes: u64) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        match &entry.at {
            // Without unpacking the rest.
            At::Zip(archive, index) => {
                let mut zip = self.archive(*archive)?;
                let unpacked = zip.by_index(*index).map_err(io::Error::other)?;
                unpacked.take(bytes).read_to_end(&mut head)?;
                drop(zip);
                let packed = [&[0x1f, 0x8b][..], &[0x28, 0xb5, 0x2f, 0xfd]];
                if packed.iter().any(|magic| head.starts_with(magic))
                    || Utf8Of::marked(&head).is_some()
                {
                    head.clear();
                    self.read(entry)?.take(bytes).read_to_end(&mut head)?;
                }
                if head.starts_with(b"\xef\xbb\xbf") {
                    head.drain(..3);
                }
            }
            At::Disk(_) => {
                // What is torn behind the head is for who reads it.
                let _ = self.read(entry)?.take(bytes).read_to_end(&mut head);
            }
        }
        Ok(head)
    }

    /// All of a file, when it is at most `limit` bytes unpacked.
    pub(crate) fn whole(&self, entry: &Entry, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read(entry)?.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::other("it is too large"));
        }
        Ok(bytes)
    }

    /// A file as a path, with the files beside it that a database keeps; a copy where it lies in a zip.
    pub(crate) fn on_disk(&self, entry: &Entry) -> io::Result<OnDisk> {
        match &entry.at {
            At::Disk(path) => {
                open_regular(path)?;
                Ok(OnDisk { path: path.clone(), _temporary: None })
            }
            At::Zip(..) => self.copied(entry),
        }
    }

    /// A copy of a file, with the files beside it that a database keeps.
    pub(crate) fn copied(&self, entry: &Entry) -> io::Result<OnDisk> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("copy.db");
        for end in ["", "-wal", "-shm"] {
            let beside = match &entry.at {
                At::Disk(own) => {
                    let mut name = own.clone().into_os_string();
                    name.push(end);
                    open_regular(Path::new(&name)).ok().map(|file| (file, None))
                }
                At::Zip(..) => {
                    let path = format!("{}{end}", entry.path);
                    let beside =
                        self.named(media::base_name(&path)).find(|other| other.path == path);
                    beside.and_then(|other| {
                        let At::Zip(archive, index) = other.at else { return None };
                        Some((tempfile::tempfile().ok()?, Some((archive, index))))
                    })
                }
            };
            let Some((mut from, index)) = beside else { continue };
            let mut to = File::create_new(folder.path().join(format!("copy.db{end}")))?;
            match index {
                Some((archive, index)) => self.unpack(archive, index, &mut to)?,
                None => {
                    io::copy(&mut from, &mut to)?;
                }
            }
        }
        Ok(OnDisk { path, _temporary: Some(folder) })
    }

    fn archive(&self, at: usize) -> io::Result<MutexGuard<'_, Archive>> {
        let zip = self.archives.get(at).ok_or_else(|| io::Error::other("it is in no zip"))?;
        // Nothing of an archive is half done when reading it ends early.
        Ok(zip.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn unpack(&self, archive: usize, index: usize, to: &mut impl Write) -> io::Result<()> {
        let mut zip = self.archive(archive)?;
        let entry = zip.by_index(index).map_err(io::Error::other)?;
        let packed = entry.compressed_size();
        io::copy(&mut Bounded::new(Box::new(entry), packed), to)?;
        Ok(())
    }
}

/// There are more files than are read.
struct TooMany;

/// Whether an entry is a zip that holds other files, and no document.
fn holds_zip(zip: &mut Archive, index: usize) -> bool {
    let mut head = Vec::new();
    let read = zip.by_index(index).is_ok_and(|file| file.take(128).read_to_end(&mut head).is_ok());
    let name = head.get(30..).unwrap_or_default();
    read && head.starts_with(b"PK\x03\x04") && !DOCUMENTS.iter().any(|own| name.starts_with(own))
}

fn is_zip(path: &Path) -> bool {
    begins_with(path, b"PK\x03\x04") || begins_with(path, b"PK\x05\x06")
}

/// A reader that ends with an error where what it unpacks is too much.
struct Bounded<'a> {
    unpacked: Box<dyn Read + 'a>,
    left: u64,
}

impl<'a> Bounded<'a> {
    fn new(unpacked: Box<dyn Read + 'a>, packed: u64) -> Self {
        let left = packed.saturating_mul(MAX_RATIO).saturating_add(FREE).min(MAX_UNPACKED);
        Self { unpacked, left }
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.unpacked.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("it unpacks to far more than any export"))?;
        Ok(count)
    }
}

fn begins_with(path: &Path, magic: &[u8]) -> bool {
    let mut head = vec![0; magic.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == magic
}

/// A regular file, opened without following a link in its last part.
fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    File::open(path)
}

/// A name with its numbers as numbers, so that 2 comes before 10.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let words = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, behind) = rest.split_at(words);
        let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        out.push((0, text.to_owned()));
        if digits > 0 {
            out.push((behind[..digits].parse().unwrap_or(u64::MAX), String::new()));
        }
        rest = &behind[digits..];
    }
    out
}
