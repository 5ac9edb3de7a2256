//! A session server in a process of its own: `threadkeep serve`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running `threadkeep serve`; killed with the value.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts it on a free port and waits until it says that it is ready.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_with(data, &[&["--auth", "none"], arguments].concat(), &[])
    }

    /// The same with its own `--auth` and environment.
    pub fn start_with(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the headless binary is built");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().expect("the server says that it is ready").unwrap();
        let start = line.find("http://").expect("a URL in its first line") + "http://".len();
        let text = line[start..].split(|c: char| c.is_whitespace() || c == '/').next().unwrap();
        Self { child, address: text.parse().unwrap() }
    }

    /// The server's base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The headless binary: `THREADKEEP_CLI`, or the one beside the app.
pub fn binary() -> PathBuf {
    std::env::var_os("THREADKEEP_CLI").map_or_else(
        || Path::new(env!("CARGO_BIN_EXE_threadkeep-desktop")).with_file_name("threadkeep"),
        PathBuf::from,
    )
}
