//! A soak of attacks on the released server: `cargo xtask test --attack`.
//!
//! Each kind of attack runs once alone and then in random mixes until the time is up, while honest
//! people chat. It fails when something was let through, the server died or panicked, its memory
//! went 300 MB above idle, or `/healthz` took more than 100 ms (see [`probe`] for what a busy
//! machine changes). `THREADKEEP_SEED` repeats a run and `THREADKEEP_ATTACKS` picks kinds by parts
//! of their names.
#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test binary")]

mod agents;
mod answers;
mod authority;
mod disk;
mod honest;
mod hooks;
mod lab;
mod memory;
mod names;
mod probe;
mod readers;
mod server;
mod soak;

#[test]
#[ignore = "minutes; `cargo xtask test --attack`"]
fn nobody_decides_speaks_or_reads_for_another_and_nobody_takes_the_server_down() {
    soak::run();
}
