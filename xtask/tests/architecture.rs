//! Who may import whom (ARCHITECTURE.md §4): a wrong arrow fails here, in manifests and in sources.

use std::fs;
use std::path::{Path, PathBuf};

/// Each crate and the ones of ours that it may name. `tests/` and examples of a crate may name more
/// (a server to speak to), so only what is shipped is checked.
const ALLOWED: &[(&str, &str, &[&str])] = &[
    ("durable-stream", "crates/durable-stream", &[]),
    ("session-protocol", "crates/session-protocol", &[]),
    ("sqlite-line", "crates/sqlite-line", &[]),
    ("rpc-process", "crates/rpc-process", &[]),
    ("acp", "crates/acp", &["rpc-process"]),
    ("mcp", "crates/mcp", &["rpc-process"]),
    ("host-link", "crates/host-link", &["durable-stream"]),
    ("session-core", "crates/session-core", &["durable-stream", "session-protocol", "sqlite-line"]),
    (
        "session-server",
        "crates/session-server",
        &["durable-stream", "session-protocol", "sqlite-line", "acp", "mcp", "rpc-process"],
    ),
    ("session-import", "crates/session-import", &["session-protocol"]),
    ("session-export", "crates/session-export", &["session-protocol"]),
    ("secret-store", "crates/secret-store", &[]),
    (
        "threadkeep-cli",
        "crates/threadkeep-cli",
        &[
            "durable-stream",
            "session-protocol",
            "session-core",
            "session-server",
            "session-import",
            "session-export",
            "host-link",
            "secret-store",
        ],
    ),
    (
        "threadkeep-desktop",
        "src-tauri",
        &["durable-stream", "session-protocol", "session-core", "session-server", "host-link"],
    ),
];

#[test]
fn crates_import_only_what_the_architecture_allows() {
    let mut wrong = Vec::new();
    for (name, folder, allowed) in ALLOWED {
        let sources = if *folder == "src-tauri" {
            root().join(folder)
        } else {
            root().join(folder).join("src")
        };
        for (file, text) in rust_sources(&sources) {
            for (other, _, _) in ALLOWED {
                let module = format!("{}::", other.replace('-', "_"));
                let mentioned = code_lines(&text).any(|line| contains_word(line, &module));
                if other != name && mentioned && !allowed.contains(other) {
                    wrong.push(format!("{} names {other}", file.display()));
                }
            }
        }
    }
    let mut command = cargo_metadata::MetadataCommand::new();
    let metadata = command.manifest_path(root().join("Cargo.toml")).no_deps().exec();
    for package in metadata.expect("cargo tells of the packages").packages {
        let Some((_, _, allowed)) =
            ALLOWED.iter().find(|(name, ..)| *name == package.name.as_str())
        else {
            continue;
        };
        let shipped = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == cargo_metadata::DependencyKind::Normal);
        for dependency in shipped {
            let name = dependency.name.as_str();
            let ours = ALLOWED.iter().any(|(other, ..)| *other == name);
            if ours && !allowed.contains(&name) {
                wrong.push(format!("{} depends on {name}", package.manifest_path));
            }
        }
    }
    assert!(wrong.is_empty(), "wrong arrows:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_host_names_tauri() {
    let mut wrong = Vec::new();
    for (file, text) in rust_sources(&root().join("crates")) {
        if code_lines(&text).any(|line| contains_word(line, "tauri::")) {
            wrong.push(file.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "these name tauri: {wrong:?}");
}

#[test]
fn only_ipc_names_tauri_in_the_page() {
    let mut wrong = Vec::new();
    for file in files(&root().join("ui/src")) {
        let ipc = file.components().any(|part| part.as_os_str() == "ipc");
        let text = fs::read_to_string(&file).unwrap_or_default();
        if !ipc && text.contains("@tauri-apps") {
            wrong.push(file.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "these name @tauri-apps outside ipc/: {wrong:?}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root").to_path_buf()
}

fn rust_sources(folder: &Path) -> Vec<(PathBuf, String)> {
    // A `tests.rs` beside the code is not shipped either.
    let rust = files(folder).into_iter().filter(|file| {
        file.extension().is_some_and(|kind| kind == "rs") && !file.ends_with("tests.rs")
    });
    rust.map(|file| (file.clone(), fs::read_to_string(file).expect("sources are UTF-8"))).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("node_modules") && !path.ends_with("target") {
                found.extend(files(&path));
            }
        } else {
            found.push(path);
        }
    }
    found
}

/// The lines that are code; documentation may speak of anyone.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '-')
    })
}
