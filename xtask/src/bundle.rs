//! `cargo xtask bundle`: packages that install.
//!
//! Tauri builds the app and packs the .rpm. Its .deb is not taken, because it is packed by gzip, has
//! no copyright, changelog or man page, and differs each time. Ours is a tree of files (`tree`) that
//! `dpkg-deb` packs by xz: the same inputs give the same bytes.

mod deb;
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::{self, Need};
use crate::step::{Failure, cargo, root, step, target_dir};
use crate::ui;

/// The pieces that are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    /// The programs and all packages.
    All,
    /// The tree of files, of programs that are there.
    Tree,
    /// The .deb, of programs that are there.
    Deb,
}

/// The arguments of the command.
pub(crate) struct Options {
    only: Only,
    app: Option<PathBuf>,
    cli: Option<PathBuf>,
    out: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self { only: Only::All, app: None, cli: None, out: target_dir().join("release/bundle") }
    }
}

impl Options {
    /// Reads the arguments behind `bundle`.
    ///
    /// # Errors
    /// An argument is not known, or one is missing.
    pub(crate) fn parse<'a>(
        arguments: &mut impl Iterator<Item = &'a str>,
    ) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let value =
                arguments.next().ok_or_else(|| format!("{argument} needs something behind it"))?;
            match (argument, value) {
                ("--only", "tree") => options.only = Only::Tree,
                ("--only", "deb") => options.only = Only::Deb,
                ("--app", path) => options.app = Some(path.into()),
                ("--cli", path) => options.cli = Some(path.into()),
                ("--out", path) => options.out = path.into(),
                _ => return Err(format!("bundle does not know {argument} {value}")),
            }
        }
        Ok(options)
    }
}

/// Builds the .deb and the .rpm, or a piece of them.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    if options.only == Only::All {
        return all();
    }
    let given = |path: &Option<PathBuf>, name: &str| {
        path.clone()
            .ok_or_else(|| format!("--only needs {name} with the path of a program that was built"))
    };
    let (app, cli) = (given(&options.app, "--app")?, given(&options.cli, "--cli")?);
    if options.only == Only::Tree {
        return tree::make(&options.out, &app, &cli);
    }
    let package = deb(&options.out, &app, &cli)?;
    println!("   {}", package.display());
    Ok(())
}

fn all() -> Result<(), Failure> {
    packages::ensure(&[Need::Build])?;
    ui::install()?;
    step(
        "Build the command line tool (an optimised build: minutes the first time)",
        &mut cargo(&["build", "--release", "--locked", "-p", "threadkeep-cli"]),
    )?;
    let cli = target_dir().join("release/threadkeep");
    let tauri = ui::folder().join("node_modules/.bin/tauri");
    // Tauri's own command builds the page (`beforeBuildCommand`) and the release binary, marks in
    // it how it is installed, and packs.
    step(
        "Build the app and its .rpm (an optimised build: 10 minutes or more the first time)",
        Command::new(tauri).args(["build", "--bundles", "deb,rpm"]).current_dir(root()),
    )?;
    let out = target_dir().join("release/bundle");
    let marked = marked_app(&out.join("deb"))?;
    let package = deb(&out.join("deb"), &marked, &cli)?;
    println!("   {}", package.display());
    println!("   {}", self::package("rpm")?.display());
    Ok(())
}

/// The app's program as Tauri laid it out for a .deb.
fn marked_app(folder: &Path) -> Result<PathBuf, Failure> {
    let laid_out =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    laid_out
        .flatten()
        .map(|entry| entry.path().join("data/usr/bin/threadkeep-desktop"))
        .find(|program| program.is_file())
        .ok_or_else(|| format!("Tauri left no program in {}", folder.display()))
}

/// Makes the tree and packs it.
fn deb(out: &Path, app: &Path, cli: &Path) -> Result<PathBuf, Failure> {
    let tree = target_dir().join("bundle-tree");
    tree::make(&tree, app, cli)?;
    let package = deb::pack(&tree, out)?;
    deb::check(&package)?;
    Ok(package)
}

/// The newest package of `kind` (`deb`, `rpm`).
///
/// # Errors
/// When there is none.
pub(crate) fn package(kind: &str) -> Result<PathBuf, Failure> {
    let folder = target_dir().join("release/bundle").join(kind);
    let newest = std::fs::read_dir(&folder)
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == kind))
        .max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok());
    newest.map(|entry| entry.path()).ok_or_else(|| format!("no .{kind} in {}", folder.display()))
}
