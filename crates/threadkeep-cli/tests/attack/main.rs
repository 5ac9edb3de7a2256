//! A soak of attacks on the released server: `cargo xtask test --attack`.
//!
//! Each kind of attack runs once alone and then in random mixes until the time is up, while honest people chat. It
//! fails when something was let through, the server died or panicked, its memory went 300 MB above idle, or `/healthz`
//! took more than 100 ms (see [`probe`] for what a busy machine changes). `THREADKEEP_SEED` repeats a run and
//! `THREADKEEP_ATTACKS` picks kinds by parts of their names.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test binary")]

#[cfg(target_os = "linux")]
mod agents;
#[cfg(target_os = "linux")]
mod answers;
#[cfg(target_os = "linux")]
mod authority;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod honest;
#[cfg(target_os = "linux")]
mod hooks;
#[cfg(target_os = "linux")]
mod lab;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod readers;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod soak;

#[cfg(target_os = "linux")]
#[test]
#[ignore = "minutes; `cargo xtask test --attack`"]
fn nobody_decides_speaks_or_reads_for_another_and_nobody_takes_the_server_down() {
    soak::run();
}

#[cfg(not(target_os = "linux"))]
#[test]
#[ignore = "it reads /proc"]
fn the_attack_is_measured_on_linux_only() {
    println!("The attack is measured through /proc, which is Linux's: skipped.");
}
