//! The files of a host in the data folder.

use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use url::Url;

/// The lock that a host holds.
pub fn lock(data: &Path) -> PathBuf {
    data.join("host.lock")
}

/// The host's log. Its last line says why a host did not start.
pub fn log(data: &Path) -> PathBuf {
    data.join("host.log")
}

/// The folder of the session server that the host runs.
pub fn server(data: &Path) -> PathBuf {
    data.join("server")
}

/// The person's settings, which the app writes and the host reads.
pub fn settings(data: &Path) -> PathBuf {
    data.join("settings.json")
}

fn address(data: &Path) -> PathBuf {
    data.join("host.json")
}

/// Where a host listens, and the tokens for it. In `host.json`, which only its owner can read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Base URL for [`api`](crate::api).
    pub control: Url,
    /// The token for it.
    pub control_token: String,
    /// Base URL of the session server.
    pub server: Url,
    /// The token for it.
    pub server_token: String,
    /// The host's process id, for people and tests. No program may conclude anything from it.
    pub pid: u32,
}

// L11
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { control, server, pid, .. } = self;
        f.debug_struct("Address")
            .field("control", &control.as_str())
            .field("server", &server.as_str())
            .field("pid", pid)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// The address that was written last, by a host that may be gone.
    pub fn read(data: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(address(data)).ok()?).ok()
    }

    /// Writes it whole, in the place of any other.
    ///
    /// # Errors
    ///
    /// The folder cannot be written.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        let new = data.join(format!("host.json.{}", uuid::Uuid::new_v4().simple()));
        let mut options = fs::OpenOptions::new();
        options.create_new(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let text = serde_json::to_vec(self).expect("plain structs always serialise");
        let written = options.open(&new).and_then(|mut file| file.write_all(&text));
        let placed = written.and_then(|()| fs::rename(&new, address(data)));
        if placed.is_err() {
            fs::remove_file(&new).ok(); // it may not be there
        }
        placed
    }

    /// Removes it, unless another host has written its own by now.
    pub fn remove(&self, data: &Path) {
        if Self::read(data).as_ref() == Some(self) {
            fs::remove_file(address(data)).ok(); // a stale one is as good as none
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_on(port: u16) -> Address {
        let url = |port| Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL");
        Address {
            control: url(port),
            control_token: "control-4f1c".to_owned(),
            server: url(port + 1),
            server_token: "server-4f1c".to_owned(),
            pid: 1,
        }
    }

    #[test]
    fn an_address_is_its_owners_only_and_whole_whatever_was_there() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(address(dir.path()), "{\"half").expect("it is written");
        assert_eq!(Address::read(dir.path()), None);
        address_on(4).write(dir.path()).expect("it is written");
        assert_eq!(Address::read(dir.path()), Some(address_on(4)));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(address(dir.path())).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(
            fs::read_dir(dir.path()).expect("the folder").count(),
            1,
            "nothing is left over"
        );
        assert!(!format!("{:?}", address_on(4)).contains("4f1c"));
    }

    #[test]
    fn a_host_removes_its_own_address_only() {
        let dir = tempfile::tempdir().expect("a folder");
        address_on(4).write(dir.path()).expect("it is written");
        address_on(8).remove(dir.path());
        assert_eq!(Address::read(dir.path()), Some(address_on(4)));
        address_on(4).remove(dir.path());
        assert_eq!(Address::read(dir.path()), None);
    }
}
