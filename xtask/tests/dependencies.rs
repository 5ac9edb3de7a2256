//! Dependencies of the workspace: deny.toml's licences, sources and bans, and nothing that no
//! source names.
//!
//! cargo-deny and cargo-machete say more, and take many minutes to build; these are the parts that
//! need no network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cargo_metadata::{Metadata, MetadataCommand, Package};
use toml::{Table, Value};

#[test]
fn every_licence_is_one_that_deny_toml_allows() {
    let rules = table("deny.toml");
    let allowed: BTreeSet<&str> = strings(&rules["licenses"]["allow"]).collect();
    let mut wrong = Vec::new();
    for package in &metadata().packages {
        let licence = package.license.clone().unwrap_or_default();
        let parsed = spdx::Expression::parse_mode(&licence, spdx::ParseMode::LAX);
        let is_allowed = parsed.is_ok_and(|expression| {
            expression.evaluate(|asked| allowed.contains(asked.to_string().as_str()))
        });
        if !is_allowed {
            wrong.push(format!("{} {}: {licence:?}", package.name, package.version));
        }
    }
    assert!(wrong.is_empty(), "licences that deny.toml does not allow: {wrong:#?}");
}

#[test]
fn everything_comes_from_the_registries_that_deny_toml_names() {
    let rules = table("deny.toml");
    let allowed: BTreeSet<String> =
        strings(&rules["sources"]["allow-registry"]).map(|url| format!("registry+{url}")).collect();
    let mut wrong = Vec::new();
    for package in &metadata().packages {
        let ours = package.manifest_path.starts_with(root().to_string_lossy().as_ref());
        match &package.source {
            Some(source) if allowed.contains(&source.repr) => {}
            None if ours => {}
            source => wrong.push(format!("{} {source:?}", package.name)),
        }
    }
    assert!(wrong.is_empty(), "neither ours nor from a registry of deny.toml: {wrong:#?}");
}

#[test]
fn nothing_is_there_that_deny_toml_bans() {
    let rules = table("deny.toml");
    let bans = rules["bans"]["deny"].as_array().expect("bans are a list");
    let banned: BTreeMap<&str, &str> = bans
        .iter()
        .map(|ban| {
            let text = |key: &str| ban[key].as_str().expect("a ban has a crate and a reason");
            (text("crate"), text("reason"))
        })
        .collect();
    let names: BTreeSet<String> =
        metadata().packages.iter().map(|package| package.name.to_string()).collect();
    let there: Vec<_> = banned.iter().filter(|(name, _)| names.contains(**name)).collect();
    assert!(there.is_empty(), "banned: {there:?}");
}

/// A crate that two of ours name has one version, in the workspace's manifest; and all that is
/// named there is used.
#[test]
fn members_share_the_versions_of_the_workspace() {
    let manifest = table("Cargo.toml");
    let shared = manifest["workspace"]["dependencies"].as_table().expect("it has some");
    let mut users: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for package in ours() {
        let manifest = table(package.manifest_path.as_str());
        for (name, value) in declared(&manifest) {
            users.entry(name).or_default().push((package.name.to_string(), value));
        }
    }
    let mut wrong = Vec::new();
    for (name, users) in &users {
        // One that wants fewer features than the others may say so, and not another version.
        let version =
            |value: &Value| value.get("version").unwrap_or(value).as_str().map(str::to_owned);
        let common = shared.get(name).and_then(version);
        let own = users.iter().filter(|(_, value)| value.get("workspace").is_none());
        let own: Vec<_> =
            own.filter(|(_, value)| common.is_none() || version(value) != common).collect();
        let crates: BTreeSet<_> = users.iter().map(|(user, _)| user).collect();
        if !own.is_empty() && (crates.len() > 1 || common.is_some()) {
            wrong.push(format!("{name} is not the workspace's in {own:?}"));
        }
    }
    for name in shared.keys().filter(|name| !users.contains_key(*name)) {
        wrong.push(format!("{name} of the workspace is used by nobody"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_dependency_is_named_in_a_source() {
    let mut unused = Vec::new();
    for package in ours() {
        let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
        let mut text = String::new();
        for part in ["src", "tests", "benches", "examples", "src-tauri", "build.rs"] {
            // Of the window's package, whose folder is the root, `tests` has other packages too.
            read_sources(&folder.as_std_path().join(part), &mut text);
        }
        for dependency in &package.dependencies {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_");
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let is_named = text.match_indices(&name).any(|(at, _)| {
                let (before, after) = (&text[..at], &text[at + name.len()..]);
                !before.ends_with(word) && !after.starts_with(word)
            });
            if !is_named {
                unused.push(format!("{}: {}", package.name, dependency.name));
            }
        }
    }
    assert!(unused.is_empty(), "dependencies that no source names: {unused:#?}");
}

fn metadata() -> &'static Metadata {
    static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
        let mut command = MetadataCommand::new();
        command.manifest_path(root().join("Cargo.toml")).other_options(vec!["--locked".to_owned()]);
        command.exec().expect("cargo tells of the packages")
    });
    &METADATA
}

fn ours() -> Vec<&'static Package> {
    metadata().workspace_packages()
}

/// The dependencies of a manifest, of every kind and target.
fn declared(manifest: &Table) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, value) in manifest {
        let Some(inner) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            found.extend(inner.iter().map(|(name, value)| (name.clone(), value.clone())));
        } else if key == "target" {
            for target in inner.values().filter_map(Value::as_table) {
                found.append(&mut declared(target));
            }
        }
    }
    found
}

fn read_sources(path: &Path, text: &mut String) {
    if path.is_file() && path.extension().is_some_and(|kind| kind == "rs") {
        let source = fs::read_to_string(path).expect("sources are UTF-8");
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.for_each(|line| {
            text.push_str(line);
            text.push('\n');
        });
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_name() != "node_modules" {
            read_sources(&entry.path(), text);
        }
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn table(file: &str) -> Table {
    let text = fs::read_to_string(root().join(file)).expect("the file is there");
    text.parse().expect("the file is TOML")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root").to_path_buf()
}
