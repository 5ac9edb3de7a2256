//! A display for machines that have none: one Xvfb server, gone with the value.

use crate::step::Failure;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The size of the screen, in pixels.
pub(crate) const SCREEN: &str = "1180x800x24";

/// A running X server without a screen.
pub(crate) struct Xvfb {
    server: Child,
    /// The value for `DISPLAY`.
    pub(crate) display: String,
}

impl Xvfb {
    /// Starts a server on the first free display.
    ///
    /// # Errors
    /// When `Xvfb` is missing or ends at once.
    pub(crate) fn start() -> Result<Self, Failure> {
        // With `-displayfd 1` the server itself picks a free number and prints it once it is ready.
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", SCREEN, "-nolisten", "tcp", "-noreset"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("Xvfb cannot be started: {error}"))?;
        let stdout = server.stdout.take().expect("stdout is piped");
        let mut number = String::new();
        BufReader::new(stdout)
            .read_line(&mut number)
            .map_err(|error| format!("Xvfb did not say its display: {error}"))?;
        if number.trim().is_empty() {
            server.wait().ok();
            return Err("Xvfb ended at once".to_owned());
        }
        Ok(Self { server, display: format!(":{}", number.trim()) })
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
