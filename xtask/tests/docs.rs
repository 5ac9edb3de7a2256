//! How docs are written, in the crates that keep to it: the thing itself is the subject of the
//! first sentence, and whatever a caller calls has an example.

use std::fs;
use std::path::{Path, PathBuf};

/// Sources of the crates that keep to it.
const CRATES: &[&str] = &["crates/durable-stream/src"];

/// Beginnings of a sentence that leaves open what it speaks of.
const NO_SUBJECT: &[&str] =
    &["It ", "They ", "That ", "What ", "So many ", "Nothing ", "The same", "Answers whether"];

/// Beginnings of items that a caller names.
const ITEMS: &[&str] = &[
    "pub fn ",
    "pub async fn ",
    "pub const ",
    "pub struct ",
    "pub enum ",
    "pub trait ",
    "pub type ",
];

/// A doc comment, and the first line of what it is about.
struct Doc {
    at: String,
    text: Vec<String>,
    item: String,
}

#[test]
fn a_first_sentence_names_its_subject() {
    let wrong: Vec<String> = docs()
        .into_iter()
        .filter(|doc| NO_SUBJECT.iter().any(|word| doc.text[0].starts_with(word)))
        .map(|doc| format!("{}: {}", doc.at, doc.text[0]))
        .collect();
    assert!(wrong.is_empty(), "docs whose first sentence names no subject:\n{}", wrong.join("\n"));
}

#[test]
fn whatever_a_caller_calls_has_an_example() {
    let wrong: Vec<String> = docs()
        .into_iter()
        .filter(|doc| ITEMS.iter().any(|item| doc.item.starts_with(item)))
        .filter(|doc| !doc.text.iter().any(|line| line == "# Examples"))
        .map(|doc| format!("{}: {}", doc.at, doc.item))
        .collect();
    assert!(wrong.is_empty(), "items without an example:\n{}", wrong.join("\n"));
}

fn docs() -> Vec<Doc> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
    let mut docs = Vec::new();
    for folder in CRATES {
        for file in sources(&root.join(folder)) {
            let text = fs::read_to_string(&file).expect("a source is text");
            docs.extend(docs_of(&file, &text));
        }
    }
    assert!(docs.len() > 100, "the sources are where they were");
    docs
}

fn docs_of(file: &Path, text: &str) -> Vec<Doc> {
    let mut docs: Vec<Doc> = Vec::new();
    let mut open: Option<Doc> = None;
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.starts_with("#[cfg(test)]") {
            // Whatever follows is not documented for anybody.
            break;
        }
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        match (doc, &mut open) {
            (Some(doc), Some(open)) => open.text.push(doc.trim().to_owned()),
            (Some(doc), None) => {
                let at = format!("{}:{}", file.display(), number + 1);
                open = Some(Doc { at, text: vec![doc.trim().to_owned()], item: String::new() });
            }
            // Attributes stand between the docs and their item.
            (None, Some(_)) if line.starts_with("#[") => {}
            (None, Some(_)) => {
                docs.extend(open.take().map(|doc| Doc { item: line.to_owned(), ..doc }));
            }
            (None, None) => {}
        }
    }
    docs.extend(open);
    docs
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}
