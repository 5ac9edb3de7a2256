//! threadkeep
fn main() {}
