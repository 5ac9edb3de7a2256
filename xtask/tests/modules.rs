//! Which module may import which, inside each crate: no two modules of one folder import each
//! other, at whatever distance, and the session server is a stack of floors (ARCHITECTURE.md §4).
//!
//! Arrows are computed from the tokens of the sources: paths that begin with `crate`, `super` or
//! `self`, also in macros, and names that a module has from its own `use`. Comments, strings and
//! what is under `#[cfg(test)]` say nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;

/// Crates, and where their sources begin.
const CRATES: &[(&str, &str)] = &[
    ("durable-stream", "crates/durable-stream/src/lib.rs"),
    ("session-protocol", "crates/session-protocol/src/lib.rs"),
    ("sqlite-line", "crates/sqlite-line/src/lib.rs"),
    ("rpc-process", "crates/rpc-process/src/lib.rs"),
    ("acp", "crates/acp/src/lib.rs"),
    ("host-link", "crates/host-link/src/lib.rs"),
    ("mcp", "crates/mcp/src/lib.rs"),
    ("session-core", "crates/session-core/src/lib.rs"),
    ("session-server", "crates/session-server/src/lib.rs"),
    ("session-import", "crates/session-import/src/lib.rs"),
    ("session-export", "crates/session-export/src/lib.rs"),
    ("threadkeep-cli", "crates/threadkeep-cli/src/main.rs"),
    ("threadkeep-desktop", "src-tauri/lib.rs"),
    ("xtask", "xtask/src/main.rs"),
];

/// The session server from the lowest floor up. A module imports its own floor and those below.
const SERVER: &[&[&str]] = &[
    // Ids, words and times; what a session's log says, and what is refused.
    &["busy", "config", "error", "event", "names", "pace", "signs", "terminal"],
    &["book"],
    &["problem"],
    &["access", "limits", "reading", "ssrf", "tls"],
    &["budget"],
    &["run"],
    // The databases and the streams.
    &["metrics", "seal", "store", "streams"],
    &["failures", "snapshots", "tokens"],
    // What agents are told, agents, and the sessions that they speak in.
    &["history"],
    &["agent"],
    &["session"],
    &["forking"],
    &["shared"],
    &["runner"],
    &["sessions"],
    // HTTP.
    &["following"],
    &["delivery"],
    &["guard", "serve"],
    &["routes"],
    &["server"],
];

#[test]
fn no_modules_of_one_folder_import_each_other() {
    let mut found = BTreeMap::new();
    for (name, file) in CRATES {
        let tree = Tree::read(&root().join(file));
        for (parent, circle) in tree.circles() {
            let mut arrows = tree.arrows(&parent);
            arrows.retain(|from, _| circle.contains(from));
            let inside = |to: &String| circle.contains(to);
            arrows.values_mut().for_each(|to| to.retain(|to, _| inside(to)));
            found.insert((*name, parent, circle), arrows);
        }
    }
    assert!(found.is_empty(), "circles, and the imports that make them: {found:#?}");
}

#[test]
fn the_server_is_a_stack() {
    let (_, file) =
        CRATES.iter().find(|(name, _)| *name == "session-server").expect("it is listed");
    let tree = Tree::read(&root().join(file));
    let floor = |module: &str| SERVER.iter().position(|floor| floor.contains(&module));
    let mut wrong = Vec::new();
    for module in tree.children("") {
        match floor(&module) {
            None => wrong.push(format!("{module} is on no floor")),
            Some(own) => {
                for (other, why) in tree.arrows("").get(&module).into_iter().flatten() {
                    if floor(other).is_some_and(|other| other > own) {
                        wrong.push(format!("{other} is above {module} ({why})"));
                    }
                }
            }
        }
    }
    for module in SERVER.iter().copied().flatten() {
        if !tree.children("").iter().any(|there| there == module) {
            wrong.push(format!("{module} is no module"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn arrows_are_read_from_paths_and_not_from_words() {
    let dir = std::env::temp_dir().join(format!("threadkeep-modules-{}", std::process::id()));
    fs::create_dir_all(dir.join("a")).expect("a folder can be made");
    let write = |file: &str, text: &str| fs::write(dir.join(file), text).expect("it is written");
    write("lib.rs", "mod a; mod b; mod c; mod d; mod e; pub use b::Thing;");
    write("a.rs", "mod low; mod high; // crate::d::X\nfn f() { let _ = \"crate::e::X\"; }");
    write("a/low.rs", "use crate::Thing; fn f() { vec![super::high::g()]; }");
    write("a/high.rs", "use super::{low::{self, X as Y}}; pub(super) fn g() {}");
    write("b.rs", "pub struct Thing; mod inner { use super::super::c; fn f() { c::f() } }");
    write("c.rs", "#[cfg(test)] mod tests { use crate::a; } fn f() { use crate::{b::Thing}; }");
    write("d.rs", "use crate::e::*;");
    write("e.rs", "pub fn f() {}");
    let tree = Tree::read(&dir.join("lib.rs"));
    let arrows: Vec<_> = tree
        .arrows("")
        .into_iter()
        .flat_map(|(from, to)| to.into_keys().map(move |to| format!("{from} {to}")))
        .collect();
    assert_eq!(arrows, ["a b", "b c", "c b", "d e"]);
    let circles: Vec<_> = tree.circles();
    let named = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        circles,
        [(String::new(), named(&["b", "c"])), ("a".to_owned(), named(&["high", "low"]))]
    );
    fs::remove_dir_all(dir).ok();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root").to_path_buf()
}

/// A module's path below the crate, such as `["store", "open"]`.
type Module = Vec<String>;

/// The modules of a crate and the paths that each one's code names, as they are written.
#[derive(Default)]
struct Tree {
    modules: BTreeMap<Module, Vec<Module>>,
    /// Names that a module has of its own: the name, and the path behind it.
    imports: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl Tree {
    fn read(file: &Path) -> Self {
        let mut tree = Self::default();
        let folder = file.parent().expect("a file lies in a folder").to_path_buf();
        tree.file(file, &folder, Vec::new());
        tree
    }

    fn file(&mut self, file: &Path, folder: &Path, module: Module) {
        let text = fs::read_to_string(file).expect("sources are UTF-8");
        let parsed = syn::parse_file(&text).expect("sources are Rust");
        self.items(parsed.items, folder, module);
    }

    fn items(&mut self, items: Vec<syn::Item>, folder: &Path, module: Module) {
        let mut paths = Vec::new();
        for item in items {
            match item {
                syn::Item::Mod(inner) if !is_for_tests(&inner.attrs) => {
                    let name = inner.ident.to_string();
                    let (below, child) =
                        (folder.join(&name), [module.clone(), vec![name]].concat());
                    match inner.content {
                        Some((_, items)) => self.items(items, &below, child),
                        None => {
                            let flat = below.with_extension("rs");
                            let nested = below.join("mod.rs");
                            let file = if flat.exists() { flat } else { nested };
                            self.file(&file, &below, child);
                        }
                    }
                }
                syn::Item::Mod(_) => {}
                syn::Item::Use(item) if !is_for_tests(&item.attrs) => {
                    let mut leaves = Vec::new();
                    leaves_of(&item.tree, Vec::new(), &mut leaves);
                    for (path, name) in leaves {
                        let names = self.imports.entry(module.clone()).or_default();
                        names.insert(name, path.clone());
                        paths.push(path);
                    }
                }
                item if !is_for_tests(attributes(&item)) => {
                    written_paths(item.into_token_stream(), &mut paths);
                }
                _ => {}
            }
        }
        self.modules.entry(module).or_default().append(&mut paths);
    }

    fn children(&self, parent: &str) -> Vec<String> {
        let parent = split(parent);
        let below =
            |module: &&Module| module.len() == parent.len() + 1 && module.starts_with(&parent);
        self.modules.keys().filter(below).map(|module| module[parent.len()].clone()).collect()
    }

    /// The module that a path leads to from a module.
    fn lead(&self, from: &Module, path: &[String], depth: u32) -> Option<Module> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => from.clone(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            name => {
                let child = [from.clone(), vec![name.to_owned()]].concat();
                if self.modules.contains_key(&child) {
                    child
                } else {
                    return self.behind(from, name, rest, depth);
                }
            }
        };
        while let Some((name, after)) = rest.split_first() {
            if name == "super" {
                at.pop();
            } else {
                let child = [at.clone(), vec![name.clone()]].concat();
                if !self.modules.contains_key(&child) {
                    return self.behind(&at, name, after, depth).or(Some(at));
                }
                at = child;
            }
            rest = after;
        }
        Some(at)
    }

    /// Where a name that a module has by its `use` comes from.
    fn behind(&self, module: &Module, name: &str, rest: &[String], depth: u32) -> Option<Module> {
        if depth == 0 {
            return None;
        }
        let path = self.imports.get(module)?.get(name)?;
        if path.first().is_some_and(|first| first == name) && path.len() == 1 {
            return None;
        }
        self.lead(module, &[path.as_slice(), rest].concat(), depth - 1)
    }

    /// Which children of a module import which, and a path that says so.
    fn arrows(&self, parent: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let parent = split(parent);
        let mut arrows: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let child = |module: &Module| {
            (module.starts_with(&parent)).then(|| module.get(parent.len()).cloned()).flatten()
        };
        for (module, paths) in &self.modules {
            let Some(from) = child(module) else { continue };
            for path in paths {
                let to = self.lead(module, path, 8).as_ref().and_then(child);
                if let Some(to) = to.filter(|to| *to != from) {
                    let why = format!("{}: {}", module.join("::"), path.join("::"));
                    arrows.entry(from.clone()).or_default().insert(to, why);
                }
            }
        }
        arrows
    }

    /// Sets of siblings each of which is reached from each other, with their parents.
    fn circles(&self) -> Vec<(String, Vec<String>)> {
        let mut circles = Vec::new();
        for parent in self.modules.keys().map(|module| module.join("::")) {
            let arrows = self.arrows(&parent);
            let reached = |from: &String| {
                let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
                while let Some(module) = next.pop() {
                    for to in arrows.get(module).into_iter().flat_map(BTreeMap::keys) {
                        if seen.insert(to) {
                            next.push(to);
                        }
                    }
                }
                seen
            };
            let all: BTreeMap<_, _> = arrows.keys().map(|from| (from, reached(from))).collect();
            let circle = |from: &String| {
                let with = all[from]
                    .iter()
                    .filter(|to| all.get(**to).is_some_and(|back| back.contains(from)));
                with.map(|&to| to.clone()).collect::<Vec<_>>()
            };
            let found: BTreeSet<_> =
                all.keys().map(|from| circle(from)).filter(|c| c.len() > 1).collect();
            circles.extend(found.into_iter().map(|circle| (parent.clone(), circle)));
        }
        circles
    }
}

fn split(path: &str) -> Module {
    path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.to_token_stream().to_string().contains("test")
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        _ => &[],
    }
}

/// The paths of a `use`, each with the name that it gives.
fn leaves_of(tree: &syn::UseTree, before: Module, leaves: &mut Vec<(Module, String)>) {
    let with = |ident: &syn::Ident| [before.clone(), vec![ident.to_string()]].concat();
    match tree {
        syn::UseTree::Path(path) => leaves_of(&path.tree, with(&path.ident), leaves),
        syn::UseTree::Name(name) if name.ident == "self" => {
            let name = before.last().cloned().unwrap_or_default();
            leaves.push((before, name));
        }
        syn::UseTree::Name(name) => leaves.push((with(&name.ident), name.ident.to_string())),
        syn::UseTree::Rename(name) => leaves.push((with(&name.ident), name.rename.to_string())),
        syn::UseTree::Glob(_) => leaves.push((before, "*".to_owned())),
        syn::UseTree::Group(group) => {
            group.items.iter().for_each(|tree| leaves_of(tree, before.clone(), leaves));
        }
    }
}

/// Every path of two parts and more in the tokens.
fn written_paths(tokens: TokenStream, paths: &mut Vec<Module>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == sign);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => written_paths(group.stream(), paths),
            TokenTree::Ident(first) => {
                let mut path = vec![first.to_string()];
                while is(at + 1, ':') && is(at + 2, ':') {
                    match tokens.get(at + 3) {
                        Some(TokenTree::Ident(next)) => path.push(next.to_string()),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            // A `use` inside a function.
                            let before = format!("{}::", path.join("::"));
                            let text = format!("{before}{group}");
                            if let Ok(tree) = syn::parse_str::<syn::UseTree>(&text) {
                                let mut leaves = Vec::new();
                                leaves_of(&tree, Vec::new(), &mut leaves);
                                paths.extend(leaves.into_iter().map(|(path, _)| path));
                            }
                            break;
                        }
                        _ => break,
                    }
                    at += 3;
                }
                if path.len() > 1 {
                    paths.push(path);
                }
            }
            _ => {}
        }
        at += 1;
    }
}
