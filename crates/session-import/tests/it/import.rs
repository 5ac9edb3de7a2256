//! Imports a path and gives what a dry run prints.

use std::path::Path;

use serde_json::Value;
use session_import::{Import, Report};

/// What a dry run prints, with the paths that are not shown.
pub(crate) fn report(path: &Path) -> Value {
    let import = Import::open(path).expect("the path can be read");
    let mut out = Vec::new();
    let mut report = Report::begin(&mut out, import.format(), true).unwrap();
    import.read(&mut report).expect("the report takes everything");
    report.end().unwrap();
    serde_json::from_slice(&out).expect("a report is JSON")
}

/// The same of bytes under a name.
pub(crate) fn report_of(name: &str, bytes: &[u8]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    report(&path)
}
