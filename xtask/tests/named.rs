//! Names in the documents: each test and each file that one of them names is there.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders with the files that the documents name.
const FOLDERS: &[&str] = &["crates", "src-tauri", "tests", "ui/src", "xtask"];

/// Folders of others' files.
const FOREIGN: &[&str] = &["target", "node_modules", "fixtures"];

/// Endings of files that are named by their path.
const ENDINGS: &[&str] = &[".rs", ".ts", ".css", ".mjs", ".py"];

#[test]
fn a_test_that_a_document_names_exists() {
    let files = files();
    let sources: Vec<String> = files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .filter_map(|file| fs::read_to_string(file).ok())
        .collect();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (document, name) in named() {
        // Tests have names of four words and more; nothing else in the documents has.
        let words = name.split('_').count();
        let is_test = words > 3 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if is_test {
            seen += 1;
            let function = format!("fn {name}(");
            if !sources.iter().any(|source| source.contains(&function)) {
                wrong.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(seen > 50, "the documents name tests");
    assert!(wrong.is_empty(), "tests that are named and not there:\n{}", wrong.join("\n"));
}

#[test]
fn a_file_that_a_document_names_exists() {
    let files = files();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (document, name) in named() {
        let is_path = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        // A name alone may be one that files should not have, such as `utils.rs`.
        if is_path && name.contains('/') && ENDINGS.iter().any(|end| name.ends_with(end)) {
            seen += 1;
            if !files.iter().any(|file| file.ends_with(&name)) {
                wrong.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(seen > 50, "the documents name files");
    assert!(wrong.is_empty(), "files that are named and not there:\n{}", wrong.join("\n"));
}

/// Words in code type, with the document that has them.
fn named() -> Vec<(String, String)> {
    let mut named = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(root().join(&document)).expect("a document is text");
        let mut in_code = false;
        for line in text.lines() {
            in_code ^= line.starts_with("```");
            if !in_code {
                // What stands between the first mark and the second, the third and the fourth.
                let words = line.split('`').skip(1).step_by(2);
                named.extend(words.map(|word| (document.clone(), word.to_owned())));
            }
        }
    }
    named
}

/// Documents that are checked, by their path below the root.
fn documents() -> Vec<String> {
    let mut documents: Vec<String> =
        ["AGENTS.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"].map(str::to_owned).into();
    let mut folders = vec!["src-tauri".to_owned(), "ui".to_owned()];
    for krate in fs::read_dir(root().join("crates")).expect("the crates are there") {
        let krate = krate.expect("it can be read").file_name();
        folders.push(format!("crates/{}", krate.to_string_lossy()));
    }
    let designs = folders.into_iter().map(|folder| format!("{folder}/DESIGN.md"));
    documents.extend(designs.filter(|design| root().join(design).exists()));
    documents
}

fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|folder| add(&root().join(folder), &mut files));
    files
}

fn add(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let entry = entry.expect("it can be read");
        let path = entry.path();
        if !path.is_dir() {
            files.push(path);
        } else if !FOREIGN.iter().any(|foreign| entry.file_name() == *foreign) {
            add(&path, files);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace")
}
