//! `cargo xtask screenshots`: a picture of every view of the page, and what axe says of each.

use crate::step::{Failure, on_path, root, step, target_dir};
use crate::{test, ui};
use std::process::Command;

/// Draws the views of these names, or looks, or all, into `target/views`.
///
/// # Errors
/// When there is no Chromium, when the page cannot be built, and when a view is not as it must be: axe finds something,
/// a script throws, or the page is wider than its window.
pub(crate) fn run(names: &mut dyn Iterator<Item = &str>) -> Result<(), Failure> {
    if !on_path("chromium") && std::env::var_os("CHROMIUM").is_none() {
        return Err("the views are drawn in Chromium: install `chromium`, or name one in CHROMIUM"
            .to_owned());
    }
    ui::install()?;
    test::install("The driver of Chromium, and axe", "tests/views")?;
    let (page, views) = (target_dir().join("page"), target_dir().join("views"));
    let mut build =
        ui::npm(&["exec", "--", "vite", "build", "--mode", "browser", "--emptyOutDir", "--outDir"]);
    step("The page with its scripted backend", build.arg(&page))?;
    let mut draw = Command::new("node");
    draw.arg("tests/views/views.mjs").arg(page).arg(views).args(names).current_dir(root());
    step("Pictures of every view, with axe", &mut draw)
}
