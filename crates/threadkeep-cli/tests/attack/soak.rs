//! The soak itself: which attacks there are, rounds of them, and what is said in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};

use super::honest::Honest;
use super::hooks::Hooks;
use super::lab::{Attack, Dice, Found, Lab};
use super::probe::{Probe, Seen};
use super::server::{Running, Server};
use super::{agents, answers, authority, disk, memory, names, readers};

/// Longer than any attack goes on; one that hangs was not answered.
const ROUND: Duration = Duration::from_secs(60);
/// Failures of one attack that are printed.
const SHOWN: usize = 6;
const MOST_MB: f64 = 300.0;
const OWNER_TOKEN: &str = "the-owner-of-the-attacked-server";
/// Sessions that the list has beside those of the attacks.
const LISTED: usize = 10_000;

struct Kind {
    name: &'static str,
    run: fn(Attack) -> BoxFuture<'static, ()>,
}

macro_rules! kinds {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$(Kind { name: stringify!($name), run: |attack| $module::$name(attack).boxed() }),*]
    };
}

const KINDS: [Kind; 26] = kinds![
    authority::forged_decisions,
    authority::a_tool_without_a_person,
    authority::notes_of_one_name,
    answers::one_id_for_two,
    answers::one_id_again,
    answers::one_txid_for_two,
    answers::late_repeats,
    names::other_roles,
    names::borrowed_names,
    names::unseen_letters,
    readers::revoked_readers,
    readers::two_hosts,
    readers::readers_that_do_not_read,
    readers::readers_without_a_window,
    readers::listing_all_the_time,
    agents::unfinished_objects,
    agents::large_chunks,
    agents::bombs,
    agents::dribbles,
    agents::endless_models,
    memory::five_agents_in_a_big_session,
    memory::forks_at_once,
    memory::many_forks,
    memory::names_of_megabytes,
    memory::tiny_messages,
    memory::poisoned_rows,
];
/// On servers of their own.
const ASIDE: [Kind; 2] = kinds![disk::full_disk, disk::older_database];

/// What is known of one kind.
#[derive(Default)]
struct Row {
    runs: usize,
    /// Alone, and in mixes.
    peak_mb: [f64; 2],
    worst: Seen,
    failures: usize,
}

struct Soak {
    lab: Arc<Lab>,
    probe: Probe,
    rows: BTreeMap<&'static str, Row>,
}

pub fn run() {
    let attackers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(|| {
            // The attacker gives way: its load is not the server's.
            rustix::process::setpriority_process(None, 10).ok();
        })
        .build()
        .unwrap();
    attackers.block_on(soak());
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

async fn soak() {
    let seed = number("THREADKEEP_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    let time = Duration::from_secs(number("THREADKEEP_ATTACK_SECONDS").unwrap_or(480).min(500));
    println!("THREADKEEP_SEED={seed} repeats this run");
    let only = std::env::var("THREADKEEP_ATTACKS").unwrap_or_default();
    let picked = |kind: &&Kind| only.split(',').any(|part| kind.name.contains(part));
    let all: Vec<&Kind> = KINDS.iter().chain(&ASIDE).filter(picked).collect();
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().unwrap();
    let hooks = Hooks::start().await;
    let model = format!("{}/v1", hooks.origin);
    let more = ["--allow-agent-origin", &hooks.origin, "--model-url", &model, "--model", "rogue"];
    let server = Arc::new(Server::start(folder.path(), OWNER_TOKEN, &more));
    let _running = Running(Arc::clone(&server));
    let probe = Probe::start(Arc::clone(&server));
    let lab = Arc::new(Lab::new(server, hooks, OWNER_TOKEN.to_owned()));
    let found = Found::default();
    readers::fill_the_list(&mut Attack::new(&lab, dice.clone(), &found), LISTED).await;
    *probe.idle_mb.lock().unwrap() = lab.server.memory().0;
    println!("idle at {:.0} MB, with {LISTED} sessions", lab.server.memory().0);
    let honest = Arc::new(Honest::default());
    let talking = tokio::spawn(Arc::clone(&honest).talk(Arc::clone(&lab), found.clone()));

    let mut soak = Soak { lab, probe, rows: BTreeMap::new() };
    let end = Instant::now() + time;
    for kind in &all {
        if Instant::now() < end {
            soak.round(&[*kind], &mut dice, &found).await;
        } else {
            println!("there was no time for {}", kind.name);
        }
    }
    while Instant::now() < end {
        let mix: Vec<&Kind> = (0..2 + dice.below(2)).map(|_| *dice.of(&all)).collect();
        soak.round(&mix, &mut dice, &found).await;
    }
    honest.stop();
    talking.await.unwrap();
    soak.tell(&honest, seed);
}

impl Soak {
    /// Some attacks at once, and what came of it.
    async fn round(&mut self, mix: &[&'static Kind], dice: &mut Dice, honest: &Found) {
        let names: Vec<&str> = mix.iter().map(|kind| kind.name).collect();
        let began = Instant::now();
        self.probe.settle().await;
        self.probe.begin();
        let panics = self.lab.server.panics().len();
        let founds: Vec<Found> = mix.iter().map(|_| Found::default()).collect();
        let attacks = mix.iter().zip(&founds).map(|(kind, found)| {
            let attack = Attack::new(&self.lab, Dice(dice.next()), found);
            tokio::spawn(tokio::time::timeout(ROUND, (kind.run)(attack)))
        });
        for (ended, found) in join_all(attacks).await.into_iter().zip(&founds) {
            match ended {
                Err(error) => found.add(format!("the attack broke off: {error}")),
                Ok(Err(_)) => found.add(format!("not over after {} s", ROUND.as_secs())),
                Ok(Ok(())) => {}
            }
        }
        self.probe.settle().await;
        let seen = self.probe.seen();
        let mut common = honest.take();
        common.extend(self.lab.faults.take());
        common.extend(self.probe.lost.lock().unwrap().take());
        let panics = self.lab.server.panics().split_off(panics);
        if let Some(first) = panics.first() {
            common.push(format!("{} panics, the first: {first}", panics.len()));
        }
        if seen.peak_mb > MOST_MB {
            common.push(format!("memory went {:.0} MB above idle", seen.peak_mb));
        }
        if seen.own > seen.allowed {
            common.push(format!(
                "healthz took {} ms, an echo meanwhile {} ms; others had {:.0} % of the processors",
                seen.health.as_millis(),
                seen.echo.as_millis(),
                seen.others * 100.0
            ));
        }
        println!(
            "{} ({:.0} s): {:.0} MB above idle, healthz {} ms (echo {} ms)",
            names.join(" + "),
            began.elapsed().as_secs_f32(),
            seen.peak_mb,
            seen.health.as_millis(),
            seen.echo.as_millis(),
        );
        for (kind, found) in mix.iter().zip(&founds) {
            let row = self.rows.entry(kind.name).or_default();
            row.runs += 1;
            let peak = &mut row.peak_mb[usize::from(mix.len() > 1)];
            *peak = peak.max(seen.peak_mb);
            if seen.own >= row.worst.own {
                row.worst = seen;
            }
            let failures = found.take().into_iter().chain(common.iter().cloned());
            for (n, what) in failures.enumerate() {
                if n < SHOWN {
                    println!("   FAILED {}: {what:.900}", kind.name);
                }
                row.failures += 1;
            }
        }
        if !common.is_empty() {
            self.lab.server.restart(); // the next attack is not to be blamed for this one
        }
    }

    /// The table, and whether all held.
    fn tell(&self, honest: &Honest, seed: u64) {
        println!(
            "\n{:30} {:>4} {:>9} {:>9} {:>10} {:>8} {:>7} {:>11}",
            "attack",
            "runs",
            "MB alone",
            "MB mixed",
            "healthz ms",
            "echo ms",
            "others",
            "let through"
        );
        for (name, row) in &self.rows {
            println!(
                "{name:30} {:4} {:9.0} {:9.0} {:10} {:8} {:5.0} % {:11}",
                row.runs,
                row.peak_mb[0],
                row.peak_mb[1],
                row.worst.health.as_millis(),
                row.worst.echo.as_millis(),
                row.worst.others * 100.0,
                row.failures,
            );
        }
        let (messages, slowest) = (&honest.messages, &honest.slowest_ms);
        println!(
            "{messages:?} honest messages were answered once each, the slowest after {slowest:?} ms; \
             at rest {:.0} MB; panics: {}",
            self.lab.server.memory().0,
            self.lab.server.panics().len(),
        );
        let failed: Vec<&str> =
            self.rows.iter().filter(|(_, row)| row.failures > 0).map(|(name, _)| *name).collect();
        assert!(failed.is_empty(), "THREADKEEP_SEED={seed}: not held by {}", failed.join(", "));
        assert!(self.lab.server.panics().is_empty(), "the server panicked");
    }
}
