//! Secrets in a file that a passphrase opens, for computers without a keychain.
//!
//! # Design
//!
//! The file is two lines: a header that says how the key is made of the passphrase (argon2id, 64 MiB, three passes, a random
//! salt), and everything else sealed with XChaCha20-Poly1305 under a nonce that is new each time. The header is
//! authenticated with it. The key is made once when the file is opened, which takes a fifth of a second, and is kept: a
//! secret that was written can be used at once, and the next write asks for nothing. Names are sealed, too.
//!
//! A write reads the file again under a lock, changes one name and puts the file in place by a rename, so that two programs
//! lose nothing of each other, and a crash leaves the old file or the new one. What a file says of memory and passes is
//! bounded before it is done: a made-up file cannot fill the machine.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, Zeroizing};

const MARK: &str = "threadkeep-secrets/1 argon2id";
const SALT: usize = 16;
const NONCE: usize = 24;
/// Memory in KiB, passes and lanes of a new file.
const COST: Cost = if cfg!(test) {
    // What is tested is the file, not how long it takes to open.
    Cost { memory: 256, passes: 3, lanes: 1 }
} else {
    Cost { memory: 64 << 10, passes: 3, lanes: 1 }
};
/// The same at most, of a file that is read.
const MOST: Cost = Cost { memory: 1 << 20, passes: 16, lanes: 4 };
/// Bytes of a file.
const MAX_FILE: u64 = 4 << 20;
/// Bytes of a name.
const MAX_NAME: usize = 128;
/// Bytes of a secret.
const MAX_SECRET: usize = 64 << 10;
/// Bytes of a passphrase at least.
const MIN_PASSPHRASE: usize = 8;

/// The reason why secrets cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The passphrase is another, or somebody changed the file.
    #[error("The passphrase does not open the file of secrets. Try again.")]
    WrongPassphrase,
    /// It is no file of secrets, or damaged.
    #[error("{0} is no file of secrets that this version reads.")]
    Unreadable(PathBuf),
    /// There is one already.
    #[error("{0} is there already.")]
    Exists(PathBuf),
    /// The passphrase is short.
    #[error("A passphrase has at least {MIN_PASSPHRASE} characters. Take a longer one.")]
    TooShort,
    /// Another program gave the file another passphrase meanwhile.
    #[error("The file of secrets has another passphrase now. Open it again.")]
    Changed,
    /// A name or a secret is too long or empty.
    #[error(
        "A name has at most {MAX_NAME} letters, digits, dashes, dots and colons, and a secret at most {MAX_SECRET} bytes."
    )]
    Unfit,
    /// The system does not allow it.
    #[error("The file of secrets cannot be read or written: {0}.")]
    Io(#[from] io::Error),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory: u32,
    passes: u32,
    lanes: u32,
}

/// The first line: how the key is made.
#[derive(Clone, PartialEq, Eq)]
struct Header {
    cost: Cost,
    salt: [u8; SALT],
}

impl Header {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix(MARK)?.split_ascii_whitespace();
        let mut number = |name: &str, most: u32| {
            let value: u32 = words.next()?.strip_prefix(name)?.parse().ok()?;
            (1..=most).contains(&value).then_some(value)
        };
        let memory = number("m=", MOST.memory)?;
        let passes = number("t=", MOST.passes)?;
        let lanes = number("p=", MOST.lanes)?;
        let salt = BASE64.decode(words.next()?).ok()?.try_into().ok()?;
        words.next().is_none().then_some(Self { cost: Cost { memory, passes, lanes }, salt })
    }

    fn key(&self, passphrase: &str) -> Option<Zeroizing<[u8; 32]>> {
        let Cost { memory, passes, lanes } = self.cost;
        let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(passphrase.as_bytes(), &self.salt, &mut *key).ok()?;
        Some(key)
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { memory, passes, lanes } = self.cost;
        write!(f, "{MARK} m={memory} t={passes} p={lanes} {}", BASE64.encode(self.salt))
    }
}

type Secrets = BTreeMap<String, String>;

/// A file of secrets that was opened.
pub struct SecretFile {
    path: PathBuf,
    header: Header,
    key: Zeroizing<[u8; 32]>,
    secrets: Secrets,
}

impl fmt::Debug for SecretFile {
    // L11: neither names nor secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        self.secrets.values_mut().for_each(Zeroize::zeroize);
    }
}

impl SecretFile {
    /// Makes a file without secrets, readable by its owner only.
    ///
    /// # Errors
    ///
    /// There is one, the passphrase is short, or the file cannot be written.
    pub fn create(path: &Path, passphrase: &str) -> Result<Self, Error> {
        let _lock = lock(path)?;
        if path.exists() {
            return Err(Error::Exists(path.to_owned()));
        }
        Self::made(path, passphrase, Secrets::new())
    }

    fn made(path: &Path, passphrase: &str, secrets: Secrets) -> Result<Self, Error> {
        if passphrase.chars().count() < MIN_PASSPHRASE {
            return Err(Error::TooShort);
        }
        let header = Header { cost: COST, salt: rand::random() };
        let key = header.key(passphrase).expect("the cost is one that argon2 takes");
        let file = Self { path: path.to_owned(), header, key, secrets };
        file.put()?;
        Ok(file)
    }

    /// Opens a file. Takes a fifth of a second and 64 MiB: do it on a thread that may block.
    ///
    /// # Errors
    ///
    /// There is none, it is damaged, or the passphrase is another.
    pub fn open(path: &Path, passphrase: &str) -> Result<Self, Error> {
        let (header, sealed) = parts(path)?;
        let key = header.key(passphrase).ok_or_else(|| Error::Unreadable(path.to_owned()))?;
        let secrets = unsealed(&header, &key, &sealed)?;
        Ok(Self { path: path.to_owned(), header, key, secrets })
    }

    /// A secret; `None` when there is none of that name.
    pub fn read(&self, name: &str) -> Option<&str> {
        self.secrets.get(name).map(String::as_str)
    }

    /// The names of all secrets, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(String::as_str)
    }

    /// Writes a secret, or removes it when `secret` is `None`. What other programs wrote meanwhile stays.
    ///
    /// # Errors
    ///
    /// The name or the secret is unfit, the passphrase was changed meanwhile, or the file cannot be written. Nothing has
    /// changed then.
    pub fn write(&mut self, name: &str, secret: Option<&str>) -> Result<(), Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:_".contains(&byte);
        let fits = !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(plain);
        if !fits || secret.is_some_and(|secret| secret.is_empty() || secret.len() > MAX_SECRET) {
            return Err(Error::Unfit);
        }
        let _lock = lock(&self.path)?;
        let (header, sealed) = parts(&self.path)?;
        if header != self.header {
            return Err(Error::Changed);
        }
        self.secrets = unsealed(&header, &self.key, &sealed)?;
        let before = match secret {
            Some(secret) => self.secrets.insert(name.to_owned(), secret.to_owned()),
            None => self.secrets.remove(name),
        };
        drop(before.map(Zeroizing::new));
        self.put()
    }

    /// Gives the file another passphrase.
    ///
    /// # Errors
    ///
    /// The passphrase is short, it was changed meanwhile, or the file cannot be written.
    pub fn change_passphrase(&mut self, passphrase: &str) -> Result<(), Error> {
        let _lock = lock(&self.path)?;
        let (header, sealed) = parts(&self.path)?;
        if header != self.header {
            return Err(Error::Changed);
        }
        let secrets = unsealed(&header, &self.key, &sealed)?;
        *self = Self::made(&self.path, passphrase, secrets)?;
        Ok(())
    }

    /// Puts the file in place of the old one.
    fn put(&self) -> Result<(), Error> {
        let plain =
            Zeroizing::new(serde_json::to_vec(&self.secrets).expect("names and secrets are JSON"));
        let header = self.header.to_string();
        let nonce: [u8; NONCE] = rand::random();
        let sealed = XChaCha20Poly1305::new(&Key::from(*self.key))
            .encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad: header.as_bytes() })
            .expect("encrypting in memory cannot fail");
        let text = format!("{header}\n{}\n", BASE64.encode([&nonce[..], &sealed].concat()));
        // A temporary file is its owner's only.
        let mut file = tempfile::NamedTempFile::new_in(folder(&self.path))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The lock of those who write: a file beside, because the file itself is replaced.
fn lock(path: &Path) -> Result<File, Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = fs::OpenOptions::new().create(true).append(true).open(PathBuf::from(beside))?;
    file.lock()?;
    Ok(file)
}

/// The header of a file, and what is sealed.
fn parts(path: &Path) -> Result<(Header, Vec<u8>), Error> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_FILE).read_to_string(&mut text);
    let unreadable = || Error::Unreadable(path.to_owned());
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(unreadable()),
        other => other?,
    };
    let mut lines = text.lines();
    let header = lines.next().and_then(Header::parse).ok_or_else(unreadable)?;
    let sealed = lines.next().and_then(|line| BASE64.decode(line).ok()).ok_or_else(unreadable)?;
    Ok((header, sealed))
}

fn unsealed(header: &Header, key: &[u8; 32], sealed: &[u8]) -> Result<Secrets, Error> {
    let (nonce, msg) = sealed.split_first_chunk::<NONCE>().ok_or(Error::WrongPassphrase)?;
    let aad = header.to_string();
    let plain = XChaCha20Poly1305::new(&Key::from(*key))
        .decrypt(&XNonce::from(*nonce), Payload { msg, aad: aad.as_bytes() });
    let plain = Zeroizing::new(plain.map_err(|_| Error::WrongPassphrase)?);
    serde_json::from_slice(&plain).map_err(|_| Error::WrongPassphrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &str = "correct horse battery";

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.sealed");
        (folder, path)
    }

    #[test]
    fn what_was_written_is_read_with_the_passphrase_and_with_no_other() {
        let (_folder, path) = file();
        let mut secrets = SecretFile::create(&path, PASSPHRASE).unwrap();
        secrets.write("model-key", Some("sk-very-secret")).unwrap();
        secrets.write("server-token:a", Some("token")).unwrap();
        secrets.write("server-token:a", None).unwrap();
        assert_eq!(secrets.read("model-key"), Some("sk-very-secret"));
        assert!(!format!("{secrets:?}").contains("model"));
        let again = SecretFile::open(&path, PASSPHRASE).unwrap();
        assert_eq!(again.names().collect::<Vec<_>>(), ["model-key"]);
        assert_eq!(again.read("model-key"), Some("sk-very-secret"));
        assert!(matches!(
            SecretFile::open(&path, "another passphrase"),
            Err(Error::WrongPassphrase)
        ));
        assert!(matches!(SecretFile::create(&path, PASSPHRASE), Err(Error::Exists(_))));
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("model-key") && !text.contains("very-secret"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn two_programs_lose_nothing_of_each_other() {
        let (_folder, path) = file();
        let mut one = SecretFile::create(&path, PASSPHRASE).unwrap();
        let mut two = SecretFile::open(&path, PASSPHRASE).unwrap();
        one.write("a", Some("1")).unwrap();
        two.write("b", Some("2")).unwrap();
        let all = SecretFile::open(&path, PASSPHRASE).unwrap();
        assert_eq!((all.read("a"), all.read("b")), (Some("1"), Some("2")));
        one.change_passphrase("a new passphrase").unwrap();
        assert!(matches!(two.write("c", Some("3")), Err(Error::Changed)));
        assert_eq!(SecretFile::open(&path, "a new passphrase").unwrap().read("b"), Some("2"));
    }

    #[test]
    fn a_file_that_was_changed_or_made_up_opens_nothing_and_costs_little() {
        let (_folder, path) = file();
        SecretFile::create(&path, PASSPHRASE).unwrap().write("a", Some("1")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let (header, sealed) = text.split_once('\n').unwrap();
        for changed in [
            String::new(),
            header.to_owned(),
            text.replace("t=3", "t=2"),
            text.replace("m=256", "m=4294967295"),
            text.replace("t=3", "t=99999999"),
            format!("{header}\nAAAA\n"),
            format!("{header}\n{}", sealed.replacen(|c: char| c.is_ascii_lowercase(), "Z", 1)),
            format!("{header} more\n{sealed}"),
        ] {
            fs::write(&path, &changed).unwrap();
            assert!(SecretFile::open(&path, PASSPHRASE).is_err(), "{changed}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(SecretFile::open(&path, PASSPHRASE), Err(Error::Unreadable(_))));
        assert!(matches!(
            SecretFile::create(&path.with_extension("x"), "short"),
            Err(Error::TooShort)
        ));
    }

    #[test]
    fn unfit_names_and_secrets_change_nothing() {
        let (_folder, path) = file();
        let mut secrets = SecretFile::create(&path, PASSPHRASE).unwrap();
        for (name, secret) in
            [("", "x"), ("a b", "x"), ("ä", "x"), ("a", ""), ("a", &*"x".repeat(MAX_SECRET + 1))]
        {
            assert!(matches!(secrets.write(name, Some(secret)), Err(Error::Unfit)));
        }
        assert_eq!(SecretFile::open(&path, PASSPHRASE).unwrap().names().count(), 0);
    }
}
