//! The words of the HTTP API stand in `api` and nowhere else.

use std::fs;
use std::path::{Path, PathBuf};

use session_protocol::api::{ProblemCode, header, path};

/// Sources of the programs that speak the API.
const SPEAKERS: [&str; 4] = [
    "crates/session-core/src",
    "crates/session-server/src",
    "crates/threadkeep-cli/src",
    "src-tauri",
];

#[test]
fn headers_paths_and_codes_are_written_once() {
    let words = [
        header::ACTOR_ID.to_owned(),
        header::ACTOR_TYPE.to_owned(),
        path::SESSIONS.to_owned(),
        path::STREAMS.to_owned(),
        path::ME.to_owned(),
        // A path in pieces.
        quoted("v1"),
    ];
    // In quotes and as it is written: a code may be a word of SQL or of a dialect.
    let codes: Vec<_> = ProblemCode::ALL.iter().map(|code| quoted(code.as_str())).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut files, mut wrong) = (0, Vec::new());
    for file in SPEAKERS.iter().flat_map(|folder| rust_files(&root.join(folder))) {
        files += 1;
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        for (number, line) in shipped(&text) {
            let lower = line.to_ascii_lowercase(); // as headers are compared
            let said = words.iter().filter(|word| lower.contains(*word));
            for word in said.chain(codes.iter().filter(|code| line.contains(*code))) {
                wrong.push(format!("{}:{number} says {word}", file.display()));
            }
        }
    }
    assert!(files > 150, "{files} files: are they elsewhere now?");
    assert!(wrong.is_empty(), "use session_protocol::api:\n{}", wrong.join("\n"));
}

fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}

/// The numbered lines of a file that are code, up to its tests.
fn shipped(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| *line != "#[cfg(test)]");
    lines.map(|(n, line)| (n + 1, line.trim_start())).filter(|(_, line)| !line.starts_with("//"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            // A folder of tests is not shipped.
            if !path.ends_with("tests") {
                found.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}
