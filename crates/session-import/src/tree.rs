//! The files of what is imported: one file, a folder, or a zip.
//!
//! Whatever the files are called, nothing is written where they say: an entry of a zip is unpacked into a file without a
//! name. Links are not followed, paths that climb out are left out, and everything that unpacks is bounded.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

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
    Zip(usize),
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

/// All files.
pub(crate) struct Tree {
    pub(crate) entries: Vec<Entry>,
    zip: Option<PathBuf>,
    is_folder: bool,
}

impl Tree {
    /// The files of a path, in the order of their names.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let told = || path.display().to_string();
        let unreadable = |error| Error::Unreadable { path: told(), error };
        let meta = fs::metadata(path).map_err(unreadable)?;
        let mut entries = Vec::new();
        let mut zip = None;
        if meta.is_dir() {
            fs::read_dir(path).map_err(unreadable)?;
            walk(path, "", 0, &mut entries).map_err(|()| Error::TooMany { path: told() })?;
        } else if !meta.is_file() {
            let error = io::Error::other("it is neither a file nor a folder");
            return Err(unreadable(error));
        } else if begins_with(path, b"PK\x03\x04") || begins_with(path, b"PK\x05\x06") {
            zip = Some(path.to_owned());
            entries = listed(path).map_err(|too_many| {
                if too_many { Error::TooMany { path: told() } } else { Error::Zip { path: told() } }
            })?;
        } else {
            File::open(path).map_err(unreadable)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            entries.push(Entry { path: name, size: meta.len(), at: At::Disk(path.to_owned()) });
        }
        entries.sort_by(|a, b| natural(&a.path).cmp(&natural(&b.path)).then(a.path.cmp(&b.path)));
        Ok(Self { entries, zip, is_folder: meta.is_dir() })
    }

    /// The path of a zip that lies in a folder.
    pub(crate) fn zip_in_folder(&self, entry: &Entry) -> Option<PathBuf> {
        match &entry.at {
            At::Disk(path) if self.is_folder && begins_with(path, b"PK\x03\x04") => {
                Some(path.clone())
            }
            _ => None,
        }
    }

    /// What is in a file, unpacked, behind a byte order mark.
    pub(crate) fn read(&self, entry: &Entry) -> io::Result<Box<dyn BufRead>> {
        let file = match &entry.at {
            At::Disk(path) => open_regular(path)?,
            At::Zip(index) => {
                let mut file = tempfile::tempfile()?;
                self.unpack(*index, &mut file)?;
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
        }
        Ok(input)
    }

    /// The first bytes of a file, unpacked.
    pub(crate) fn head(&self, entry: &Entry, bytes: u64) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        match &entry.at {
            // Without unpacking the rest.
            At::Zip(index) => {
                let mut zip = self.archive()?;
                let unpacked = zip.by_index(*index).map_err(io::Error::other)?;
                unpacked.take(bytes).read_to_end(&mut head)?;
                if head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
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
            At::Zip(_) => self.copied(entry),
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
                At::Zip(_) => {
                    let name = format!("{}{end}", entry.path);
                    self.entries.iter().find(|other| other.path == name).and_then(|other| {
                        let At::Zip(index) = other.at else { return None };
                        Some((tempfile::tempfile().ok()?, Some(index)))
                    })
                }
            };
            let Some((mut from, index)) = beside else { continue };
            let mut to = File::create_new(folder.path().join(format!("copy.db{end}")))?;
            match index {
                Some(index) => self.unpack(index, &mut to)?,
                None => {
                    io::copy(&mut from, &mut to)?;
                }
            }
        }
        Ok(OnDisk { path, _temporary: Some(folder) })
    }

    fn archive(&self) -> io::Result<zip::ZipArchive<BufReader<File>>> {
        let path = self.zip.as_ref().ok_or_else(|| io::Error::other("it is in no zip"))?;
        zip::ZipArchive::new(BufReader::new(File::open(path)?)).map_err(io::Error::other)
    }

    fn unpack(&self, index: usize, to: &mut impl Write) -> io::Result<()> {
        let mut zip = self.archive()?;
        let entry = zip.by_index(index).map_err(io::Error::other)?;
        let packed = entry.compressed_size();
        io::copy(&mut Bounded::new(Box::new(entry), packed), to)?;
        Ok(())
    }
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

fn walk(folder: &Path, inside: &str, depth: usize, entries: &mut Vec<Entry>) -> Result<(), ()> {
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
            walk(&path, &own, depth + 1, entries)?;
        } else if meta.is_file() {
            if entries.len() >= MAX_ENTRIES {
                return Err(());
            }
            entries.push(Entry { path: own, size: meta.len(), at: At::Disk(path) });
        }
    }
    Ok(())
}

/// The files of a zip. `Err(true)`: there are too many.
fn listed(path: &Path) -> Result<Vec<Entry>, bool> {
    let file = File::open(path).map_err(|_| false)?;
    let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(|_| false)?;
    if zip.len() > MAX_ENTRIES {
        return Err(true);
    }
    let mut entries = Vec::new();
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
        entries.push(Entry { path: name, size: entry.compressed_size(), at: At::Zip(index) });
    }
    Ok(entries)
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
