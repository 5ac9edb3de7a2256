//! The session bus: the keychain and notifications (Linux). Nothing is started and nobody is asked
//! for a password: names are looked up, and a keychain is only asked whether it is locked.
//!
//! The bus is asked by `dbus-send`, which comes with it, so that a check of the computer needs no
//! library that may itself be what does not work.

use std::time::Duration;

use super::Check;

/// Asks the bus; each question may take as long as is said.
#[cfg(target_os = "linux")]
pub(super) fn ask(patience: Duration) -> Vec<Check> {
    linux::ask(patience)
}

/// Names what other systems have of their own, which is always there.
#[cfg(not(target_os = "linux"))]
pub(super) fn ask(_: Duration) -> Vec<Check> {
    vec![Check::ok("keychain", "the system's own"), Check::ok("notifications", "the system's own")]
}

#[cfg(target_os = "linux")]
mod linux {
    use std::env;
    use std::io::ErrorKind;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::Check;

    const BUS: &str = "org.freedesktop.DBus";
    const KEYS: &str = "org.freedesktop.secrets";
    const WORDS: &str = "org.freedesktop.Notifications";

    /// The reason why there is no answer.
    enum Silence {
        /// There is no `dbus-send`.
        NoTool,
        /// Nobody answered, or not in time.
        NoAnswer,
    }

    pub(super) fn ask(patience: Duration) -> Vec<Check> {
        const NAME: &str = "session bus";
        // Without an address the tool would start a bus of its own.
        let has_bus = env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some_and(|bus| !bus.is_empty());
        let bus = Bus { patience };
        let first = if has_bus {
            bus.call(BUS, "/", "org.freedesktop.DBus.GetId", &[])
        } else {
            Err(Silence::NoAnswer)
        };
        match first {
            Ok(_) => vec![keychain(&bus), notifications(&bus)],
            Err(Silence::NoTool) => vec![Check::warning(
                NAME,
                "it cannot be asked",
                "Install dbus (its program dbus-send), and look again.",
            )],
            Err(Silence::NoAnswer) => vec![Check::warning(
                NAME,
                "there is none, or it does not answer",
                "Log in on a desktop, or start the app by `dbus-run-session`. Without it keys are kept in a file with a \
                passphrase (`threadkeep secrets`).",
            )],
        }
    }

    struct Bus {
        patience: Duration,
    }

    impl Bus {
        /// Calls a method; the answer as the tool prints it, a value a line.
        fn call(
            &self,
            to: &str,
            path: &str,
            method: &str,
            arguments: &[&str],
        ) -> Result<String, Silence> {
            let output = Command::new("dbus-send")
                .args(["--session", "--print-reply"])
                .arg(format!("--reply-timeout={}", self.patience.as_millis()))
                .arg(format!("--dest={to}"))
                .args([path, method])
                .args(arguments)
                .stdin(Stdio::null())
                .output();
            match output {
                Ok(output) if output.status.success() => {
                    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
                }
                Err(error) if error.kind() == ErrorKind::NotFound => Err(Silence::NoTool),
                _ => Err(Silence::NoAnswer),
            }
        }

        /// Whether a name has an owner, and whether it would get one when it is asked.
        fn knows(&self, name: &str) -> (bool, bool) {
            let own = format!("string:{name}");
            let owned = self.call(BUS, "/", "org.freedesktop.DBus.NameHasOwner", &[&own]);
            let names = self.call(BUS, "/", "org.freedesktop.DBus.ListActivatableNames", &[]);
            let quoted = format!("\"{name}\"");
            (
                owned.is_ok_and(|answer| answer.contains("boolean true")),
                names.is_ok_and(|answer| answer.contains(&quoted)),
            )
        }
    }

    fn keychain(bus: &Bus) -> Check {
        const NAME: &str = "keychain";
        const SERVICE: &str = "/org/freedesktop/secrets";
        const ADVICE: &str = "Install and start one (GNOME Keyring, KWallet, KeePassXC), or keep keys in a file with a \
            passphrase: `threadkeep secrets`.";
        match bus.knows(KEYS) {
            (false, false) => return Check::warning(NAME, "there is none", ADVICE),
            (false, true) => return Check::ok(NAME, "there, and starts when it is asked"),
            (true, _) => {}
        }
        let method = "org.freedesktop.Secret.Service.ReadAlias";
        let answer = bus.call(KEYS, SERVICE, method, &["string:default"]).unwrap_or_default();
        let path = answer.split("object path \"").nth(1).and_then(|rest| rest.split('"').next());
        let Some(path) = path.filter(|path| *path != "/") else {
            let todo = "Open the keychain's program once and make a default keyring.";
            return Check::warning(NAME, "it has no default keyring", todo);
        };
        let get = "org.freedesktop.DBus.Properties.Get";
        let of = ["string:org.freedesktop.Secret.Collection", "string:Locked"];
        match bus.call(KEYS, path, get, &of) {
            Ok(answer) if answer.contains("boolean true") => {
                Check::warning(NAME, "locked", "Unlock it; until then keys cannot be read.")
            }
            Ok(answer) if answer.contains("boolean false") => {
                Check::ok(NAME, "there, and unlocked")
            }
            _ => Check::warning(NAME, "it does not say whether it is locked", ADVICE),
        }
    }

    fn notifications(bus: &Bus) -> Check {
        const NAME: &str = "notifications";
        let (owned, starts) = bus.knows(WORDS);
        if !owned && !starts {
            let todo =
                "Run a notification daemon (most desktops do; dunst and mako are small ones).";
            return Check::warning(NAME, "nobody shows them", todo);
        }
        if !owned {
            return Check::ok(NAME, "shown by a program that starts when it is asked");
        }
        let method = "org.freedesktop.Notifications.GetCapabilities";
        match bus.call(WORDS, "/org/freedesktop/Notifications", method, &[]) {
            Ok(can) if can.contains("\"actions\"") => Check::ok(NAME, "shown, with buttons"),
            Ok(_) => Check::ok(NAME, "shown, without buttons: approvals are given in the window"),
            Err(_) => Check::warning(
                NAME,
                "the daemon does not answer",
                "Start the notification daemon anew.",
            ),
        }
    }
}
