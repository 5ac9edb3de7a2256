//! The desktop application's entry point.
fn main() { threadkeep_desktop::run(); }
