//! The house style of docs, comments, imports and ignored results (CONTRIBUTING.md), in the folders
//! that keep to it.

use std::fs;
use std::path::{Path, PathBuf};

/// Sources whose docs and comments keep to the style. The list only grows.
const PROSE: &[&str] = &[
    "crates/durable-stream",
    "crates/session-core",
    "crates/session-protocol/src",
    "crates/session-server/src",
    "crates/sqlite-line",
    "crates/threadkeep-cli/src",
    "src-tauri",
    "xtask",
];

/// Sources whose imports are flat. The list only grows.
const FLAT: &[&str] = &[
    "crates/durable-stream",
    "crates/session-core/src",
    "crates/session-protocol/src",
    "crates/session-server/src/session",
    "crates/session-server/src/sessions",
    "crates/sqlite-line",
    "crates/threadkeep-cli",
    "src-tauri",
    "xtask",
];

/// Sources whose ignored results end in `.ok()`. The list only grows.
const IGNORED: &[&str] = &[
    "crates/durable-stream/src",
    "crates/session-core/src",
    "crates/session-protocol/src",
    "crates/session-server/src",
    "crates/sqlite-line",
    "crates/threadkeep-cli/src",
    "src-tauri",
    "xtask/src",
];

/// Sources where whatever a caller calls has an example.
const EXAMPLES: &[&str] = &["crates/durable-stream/src"];

/// Greatest width of a comment, in characters.
const WIDTH: usize = 120;

/// Beginnings of a sentence that leaves open what it speaks of.
const NO_SUBJECT: &[&str] = &[
    "It ",
    "Its ",
    "They ",
    "That ",
    "This ",
    "These ",
    "Those ",
    "What ",
    "So many ",
    "So much ",
    "Nothing ",
    "The same",
    "As [`",
    "How often ",
    "How many ",
    "How much ",
    "How long ",
    "True when ",
    "Answers whether ",
    "Answers how ",
    "Gives whether ",
    "Gives how ",
    "Says whether ",
    "Says how ",
];

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
    let docs: Vec<Doc> = sources(PROSE).iter().flat_map(|(at, text)| docs_of(at, text)).collect();
    assert!(docs.len() > 1000, "the sources are where they were");
    let wrong: Vec<String> = docs
        .into_iter()
        .filter(|doc| NO_SUBJECT.iter().any(|word| doc.text[0].starts_with(word)))
        .map(|doc| format!("{}: {}", doc.at, doc.text[0]))
        .collect();
    assert!(wrong.is_empty(), "docs whose first sentence names no subject:\n{}", wrong.join("\n"));
}

#[test]
fn whatever_a_caller_calls_has_an_example() {
    let docs: Vec<Doc> =
        sources(EXAMPLES).iter().flat_map(|(at, text)| docs_of(at, text)).collect();
    assert!(docs.len() > 100, "the sources are where they were");
    let wrong: Vec<String> = docs
        .into_iter()
        .filter(|doc| ITEMS.iter().any(|item| doc.item.starts_with(item)))
        .filter(|doc| !doc.text.iter().any(|line| line == "# Examples"))
        .map(|doc| format!("{}: {}", doc.at, doc.item))
        .collect();
    assert!(wrong.is_empty(), "items without an example:\n{}", wrong.join("\n"));
}

#[test]
fn a_comment_is_at_most_120_columns_wide() {
    let mut wrong = Vec::new();
    for (at, text) in sources(PROSE) {
        let mut in_code = false;
        for (number, line) in text.lines().enumerate() {
            let Some(words) = comment(line) else {
                in_code = false;
                continue;
            };
            in_code ^= words.starts_with("```");
            // Code and the rows of a table cannot be wrapped.
            if line.chars().count() > WIDTH && !in_code && !words.starts_with('|') {
                wrong.push(format!("{at}:{}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "comments that are too wide:\n{}", wrong.join("\n"));
}

#[test]
fn an_import_names_things_of_one_module() {
    let mut wrong = Vec::new();
    for (at, text) in sources(FLAT) {
        for (number, line) in text.lines().enumerate() {
            let words = line.trim_start();
            let words = words.strip_prefix("pub(crate) ").unwrap_or(words);
            let words = words.strip_prefix("pub(super) ").unwrap_or(words);
            let words = words.strip_prefix("pub ").unwrap_or(words);
            if !words.starts_with("use ") {
                continue;
            }
            let rest = text.lines().skip(number).collect::<Vec<_>>().join(" ");
            let import = rest.split(';').next().unwrap_or_default();
            let is_tree = import.split_once('{').is_some_and(|(_, names)| names.contains("::"));
            if is_tree {
                wrong.push(format!("{at}:{}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "imports of several modules at once:\n{}", wrong.join("\n"));
}

#[test]
fn a_result_that_is_ignored_ends_in_ok() {
    let mut wrong = Vec::new();
    for (at, text) in sources(IGNORED) {
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("let _ = ") {
                wrong.push(format!("{at}:{}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "results that `let _` ignores:\n{}", wrong.join("\n"));
}

/// The words of a line that is nothing but a comment.
fn comment(line: &str) -> Option<&str> {
    let words = line.trim_start().strip_prefix("//")?;
    Some(words.trim_start_matches(['/', '!']).trim_start())
}

/// The docs of one file, but for those of its tests.
fn docs_of(file: &str, text: &str) -> Vec<Doc> {
    let mut docs: Vec<Doc> = Vec::new();
    let mut open: Option<Doc> = None;
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.starts_with("mod tests {") {
            break;
        }
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        match (doc, &mut open) {
            (Some(doc), Some(open)) => open.text.push(doc.trim().to_owned()),
            (Some(doc), None) => {
                let at = format!("{file}:{}", number + 1);
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

/// Paths and texts of the sources in some folders.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
    let mut files = Vec::new();
    for folder in folders {
        let path = root.join(folder);
        assert!(path.exists(), "{folder} is where it was");
        add(&path, &mut files);
    }
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a source is text");
        let at = file.strip_prefix(root).expect("a source lies in the root").display().to_string();
        (at, text)
    };
    files.into_iter().map(read).collect()
}

fn add(path: &Path, files: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        files.extend(path.extension().is_some_and(|end| end == "rs").then(|| path.to_path_buf()));
        return;
    }
    // What cargo builds for a fuzzer is no source of ours.
    if path.file_name().is_some_and(|name| name == "target") {
        return;
    }
    for entry in fs::read_dir(path).expect("the folder is there") {
        add(&entry.expect("it can be read").path(), files);
    }
}
