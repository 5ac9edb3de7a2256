//! Which program a host is.

use std::{fs, path::Path, time::UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A build of the host's program. A version number that nobody raised says nothing, so the file itself is told apart too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The version, `major.minor.patch`.
    pub version: String,
    /// The program's file: its length and the time of its last change.
    pub program: String,
}

/// What to do about a host of another build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the build that would be started.
    Same,
    /// It is to be replaced.
    Older,
    /// It is left alone.
    Newer,
}

impl Build {
    /// The build that `program` is now.
    pub fn of(program: &Path) -> Self {
        let data = fs::metadata(program);
        let changed = data.as_ref().ok().and_then(|data| data.modified().ok());
        let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let length = data.map_or(0, |data| data.len());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: format!("{length:x}-{:x}", changed.unwrap_or_default().as_nanos()),
        }
    }

    /// The build of this process, also when its file was replaced since it began.
    pub fn own() -> Self {
        let own = Path::new("/proc/self/exe");
        if own.exists() {
            return Self::of(own);
        }
        std::env::current_exe().map_or_else(|_| Self::of(own), |program| Self::of(&program))
    }

    /// How a host of this build is met by whoever would start `wanted`.
    pub(crate) fn verdict(&self, wanted: &Self) -> Verdict {
        if self == wanted {
            return Verdict::Same;
        }
        match number(&self.version).cmp(&number(&wanted.version)) {
            std::cmp::Ordering::Greater => Verdict::Newer,
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => Verdict::Older,
        }
    }
}

/// A version as numbers; what is none counts as 0.
fn number(version: &str) -> [u64; 3] {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_replaced_by_another_build_unless_it_is_newer() {
        let build = |version: &str, program: &str| Build {
            version: version.to_owned(),
            program: program.to_owned(),
        };
        let wanted = build("0.10.0", "a");
        for (host, verdict) in [
            (build("0.10.0", "a"), Verdict::Same),
            (build("0.10.0", "b"), Verdict::Older),
            (build("0.9.7", "a"), Verdict::Older),
            (build("0.10.1", "a"), Verdict::Newer),
            (build("1.0", "a"), Verdict::Newer),
            (build("nonsense", "a"), Verdict::Older),
        ] {
            assert_eq!(host.verdict(&wanted), verdict, "{host:?}");
        }
    }

    #[test]
    fn a_program_that_was_written_again_is_another_build() {
        let dir = tempfile::tempdir().expect("a folder");
        let program = dir.path().join("program");
        fs::write(&program, "one").expect("it is written");
        let first = Build::of(&program);
        assert_eq!(first, Build::of(&program));
        fs::write(&program, "another").expect("it is written");
        assert_ne!(first, Build::of(&program));
    }
}
