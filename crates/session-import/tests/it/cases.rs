//! Every case of `tests/cases`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::compare::differences;
use crate::import::report;

/// The folders of all cases.
pub(crate) fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    assert!(found.len() >= 25, "{} cases", found.len());
    found
}

/// What a case gives to import.
pub(crate) fn input(case: &Path) -> PathBuf {
    let mut entries = fs::read_dir(case).unwrap().map(|entry| entry.unwrap().path());
    let is_input = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == "input");
    entries.find(is_input).expect("a case has an input")
}

#[test]
fn every_case_is_read_as_it_expects() {
    let mut wrong = Vec::new();
    for case in cases() {
        let expected: Value =
            serde_json::from_slice(&fs::read(case.join("expect.json")).unwrap()).unwrap();
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let found = differences(&expected, &report(&input(&case)));
        eprintln!("{name}: {}", if found.is_empty() { "as expected" } else { "WRONG" });
        wrong.extend(found.into_iter().map(|text| format!("{name}: {text}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
