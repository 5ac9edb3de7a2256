//! The line as its stores use it: groups, failures, durability, versions, damage, full files.

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rusqlite::{Connection, ffi};

use super::*;
use crate::error::failure;

mod early {
    refinery::embed_migrations!("tests/migrations/early");
}

mod late {
    refinery::embed_migrations!("tests/migrations/late");
}

const DEADLINE: Duration = Duration::from_secs(20);
const NOTHING: &dyn Fn(&rusqlite::Transaction<'_>, i64) -> rusqlite::Result<()> = &|_, _| Ok(());

fn setup(dir: &Path) -> Setup {
    Setup::new(dir.join("line.db"), "line")
}

fn line(setup: Setup) -> Line {
    setup.open(late::migrations::runner, NOTHING).unwrap().start(()).unwrap()
}

fn words(line: &Line) -> Vec<String> {
    let read = line.read(|db| {
        db.prepare("SELECT word FROM words ORDER BY n")?.query_map([], |row| row.get(0))?.collect()
    });
    read.unwrap()
}

fn put(db: &Connection, word: &str) -> rusqlite::Result<()> {
    db.execute("INSERT INTO words (word) VALUES (?1)", [word]).map(drop)
}

/// Keeps the thread busy until the sender is dropped, so that what is asked meanwhile is one group.
fn hold(line: &Line) -> mpsc::Sender<()> {
    let (go, wait) = mpsc::channel::<()>();
    let (begun, began) = mpsc::channel();
    line.submit(
        Terms::default(),
        move |_, ()| {
            begun.send(()).ok();
            wait.recv().ok();
            Ok(())
        },
        drop,
    );
    began.recv_timeout(DEADLINE).unwrap();
    go
}

/// The work of a job of a random group.
#[derive(Debug, Clone, Copy)]
enum Does {
    Writes,
    Refuses,
    Fails,
    Panics,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_job_that_fails_fails_alone_and_the_others_keep_their_order(
        jobs in prop::collection::vec(
            (prop_oneof![
                4 => Just(Does::Writes), 1 => Just(Does::Refuses), 1 => Just(Does::Fails), 1 => Just(Does::Panics),
            ], any::<bool>(), 0_usize..3 << 20),
            1..40,
        )
    ) {
        let dir = tempfile::tempdir().unwrap();
        let line = line(setup(dir.path()));
        let go = hold(&line);
        let (tell, told) = mpsc::channel();
        for (n, (does, durable, size)) in jobs.iter().copied().enumerate() {
            let tell = tell.clone();
            let work = move |tx: &rusqlite::Transaction<'_>, (): &mut ()| {
                put(tx, &n.to_string())?;
                match does {
                    Does::Writes => Ok(Ok(n)),
                    Does::Refuses => {
                        tx.execute("DELETE FROM words WHERE word = ?1", [n.to_string()])?;
                        Ok(Err(n))
                    }
                    Does::Fails => Err(failure(ffi::SQLITE_CONSTRAINT)),
                    Does::Panics => panic!("on purpose"),
                }
            };
            let terms = Terms { size, durable, ..Terms::default() };
            line.submit(terms, work, move |result| tell.send((n, result)).unwrap());
        }
        drop((go, tell));
        let mut answers: Vec<_> = told.iter().collect();
        prop_assert_eq!(answers.len(), jobs.len());
        answers.sort_by_key(|(n, _)| *n);
        let mut written = Vec::new();
        for ((n, answer), (does, ..)) in answers.into_iter().zip(&jobs) {
            match does {
                Does::Writes => {
                    prop_assert!(matches!(answer, Ok(Ok(m)) if m == n));
                    written.push(n.to_string());
                }
                Does::Refuses => prop_assert!(matches!(answer, Ok(Err(m)) if m == n)),
                Does::Fails | Does::Panics => prop_assert!(matches!(answer, Err(Error::Sqlite(_)))),
            }
        }
        prop_assert_eq!(words(&line), written);
    }
}

#[test]
fn jobs_that_wait_share_a_commit() {
    #[derive(Clone, Default)]
    struct Counts(Arc<Mutex<Vec<u32>>>);
    impl Housekeeping for Counts {
        type Notes = u32;
        fn committed(&mut self, jobs: u32) -> bool {
            self.0.lock().unwrap().push(jobs);
            false
        }
        fn tidy(&mut self, _: &mut Writer) -> bool {
            false
        }
        fn rest(&self, _: &Writer) -> Duration {
            DEADLINE
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let counts = Counts::default();
    let opened = setup(dir.path()).open(late::migrations::runner, NOTHING).unwrap();
    let line = opened.start(counts.clone()).unwrap();
    let (go, wait) = mpsc::channel::<()>();
    let (begun, began) = mpsc::channel();
    let first = move |_: &rusqlite::Transaction<'_>, jobs: &mut u32| {
        begun.send(()).ok();
        wait.recv().ok();
        *jobs += 1;
        Ok(())
    };
    line.submit(Terms::default(), first, drop);
    began.recv_timeout(DEADLINE).unwrap();
    // A group ends behind the job that makes it large.
    for size in [1, 1, 8 << 20, 1, 1] {
        let work = move |tx: &rusqlite::Transaction<'_>, jobs: &mut u32| {
            *jobs += 1;
            put(tx, "word")
        };
        line.submit(Terms { size, ..Terms::default() }, work, drop);
    }
    drop(go);
    line.write_blocking(Terms::default(), |_, _| Ok(())).unwrap();
    let counts = counts.0.lock().unwrap().clone();
    assert_eq!(counts[..3], [1, 3, 2]);
}

#[test]
fn a_commit_is_as_durable_as_its_most_durable_job_and_what_it_deletes_is_overwritten_where_asked() {
    let dir = tempfile::tempdir().unwrap();
    let seen = |line: &Line, terms| {
        let settings = |tx: &rusqlite::Transaction<'_>, (): &mut ()| {
            let one = |name| tx.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok((one("synchronous")?, one("secure_delete")?))
        };
        line.write_blocking(terms, settings).unwrap()
    };
    let (normal, full, on, fast) = (1, 2, 1, 2);
    let plain = Terms::default();
    let both = Terms { durable: true, overwrites: true, ..plain };
    let weak = line(setup(dir.path()));
    assert_eq!(seen(&weak, plain), (normal, fast));
    assert_eq!(seen(&weak, both), (full, on));
    assert_eq!(seen(&weak, plain), (normal, fast));
    drop(weak);
    let strong = line(Setup { durable: true, overwrites: true, ..setup(dir.path()) });
    assert_eq!(seen(&strong, plain), (full, on));
    assert_eq!(seen(&strong, both), (full, on));
}

#[test]
fn a_read_is_one_snapshot_and_waits_for_nobody_who_writes() {
    let dir = tempfile::tempdir().unwrap();
    let line = line(setup(dir.path()));
    line.write_blocking(Terms::default(), |tx, ()| put(tx, "one")).unwrap();
    let count = |db: &Connection| db.query_row("SELECT count(*) FROM words", [], |row| row.get(0));
    let go = hold(&line);
    assert_eq!(words(&line), ["one"], "while a transaction is open");
    drop(go);
    let seen = line.read(|db| {
        let before: i64 = count(db)?;
        let write = line.write_blocking(Terms::default(), |tx, ()| put(tx, "two"));
        assert!(write.is_ok(), "a reader stops nobody who writes");
        Ok((before, count(db)?))
    });
    assert_eq!(seen.unwrap(), (1, 1));
    assert_eq!(words(&line), ["one", "two"]);
    let write = line.read(|db| put(db, "three"));
    assert!(write.is_err(), "readers only read");
}

#[test]
fn hundreds_read_at_once_on_a_few_connections() {
    let dir = tempfile::tempdir().unwrap();
    let line = line(Setup { readers: 2, ..setup(dir.path()) });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let at_once = Arc::new(Mutex::new((0, 0)));
    runtime.block_on(async {
        let reads = (0..300).map(|_| {
            let (line, at_once) = (line.clone(), Arc::clone(&at_once));
            tokio::spawn(async move {
                let read = line.read_soon(move |_| {
                    let mut counts = at_once.lock().unwrap();
                    counts.0 += 1;
                    counts.1 = counts.1.max(counts.0);
                    drop(counts);
                    std::thread::yield_now();
                    at_once.lock().unwrap().0 -= 1;
                    Ok(())
                });
                read.await.unwrap();
            })
        });
        for read in reads.collect::<Vec<_>>() {
            read.await.unwrap();
        }
    });
    let most = at_once.lock().unwrap().1;
    assert!((1..=2).contains(&most), "{most}");
}

#[test]
fn a_closed_line_has_done_what_was_asked_and_takes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let line = line(setup(dir.path()));
    let go = hold(&line);
    for n in 0..10 {
        line.submit(Terms::default(), move |tx, ()| put(tx, &n.to_string()), drop);
    }
    drop(go);
    line.close();
    let late = line.write_blocking(Terms::default(), |tx, ()| put(tx, "late"));
    assert!(matches!(late, Err(Error::Closed)));
    assert!(matches!(line.read(|_| Ok(())), Err(Error::Closed)));
    assert_eq!(words(&self::line(setup(dir.path()))).len(), 10);
}

#[test]
fn a_handle_may_go_last_on_the_thread_that_writes() {
    let dir = tempfile::tempdir().unwrap();
    let line = line(setup(dir.path()));
    let (tell, told) = mpsc::channel();
    let last = line.clone();
    line.submit(
        Terms::default(),
        move |tx, ()| put(tx, "word"),
        move |done| {
            drop(last);
            tell.send(done.is_ok()).unwrap();
        },
    );
    drop(line);
    assert!(told.recv_timeout(DEADLINE).unwrap());
}

/// How an earlier version left a file.
enum Left {
    /// There is none.
    Nothing,
    /// A number and tables, and no history: of before refinery.
    Numbered,
    /// A history and a number.
    Migrated,
    /// A history that is further than the number: killed between the two.
    HalfWay,
    /// Tables of another program.
    Foreign,
    /// Bytes.
    Broken,
    /// A number that nobody here knows.
    Newer,
}

#[test]
fn files_of_every_version_open_and_others_say_why_not() {
    let leave = |file: &Path, left: &Left| {
        let first = include_str!("../tests/migrations/early/V1__words.sql");
        let db = || Connection::open(file).unwrap();
        match left {
            Left::Nothing => {}
            Left::Numbered => db()
                .execute_batch(&format!(
                    "{first}; INSERT INTO words (word) VALUES ('old'); PRAGMA user_version = 1"
                ))
                .unwrap(),
            Left::Migrated | Left::HalfWay => {
                let opened = Setup::new(file.to_owned(), "line")
                    .open(early::migrations::runner, NOTHING)
                    .unwrap();
                put(&opened.db, "old").unwrap();
                if matches!(left, Left::HalfWay) {
                    let mut db = opened.db;
                    late::migrations::runner().run(&mut db).unwrap();
                }
            }
            Left::Foreign => {
                db().execute_batch("CREATE TABLE words (x); CREATE TABLE other (y)").unwrap()
            }
            Left::Broken => std::fs::write(file, [7; 9000]).unwrap(),
            Left::Newer => db().execute_batch("PRAGMA user_version = 9").unwrap(),
        }
    };
    for (left, opens) in [
        (Left::Nothing, Ok((0, 0))),
        (Left::Numbered, Ok((1, 1))),
        (Left::Migrated, Ok((1, 1))),
        (Left::HalfWay, Ok((1, 1))),
        (Left::Foreign, Err(Cause::Other)),
        (Left::Broken, Err(Cause::Damaged)),
        (Left::Newer, Err(Cause::Other)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = setup(dir.path()).file;
        leave(&file, &left);
        let after = |tx: &rusqlite::Transaction<'_>, found: i64| {
            tx.execute("UPDATE words SET length = ?1", [found]).map(drop)
        };
        match (setup(dir.path()).open(late::migrations::runner, &after), opens) {
            (Ok(opened), Ok((found, rows))) => {
                assert_eq!(opened.found, found);
                let lengths = "SELECT count(*) FROM words WHERE length = ?1";
                let count: i64 = opened.db.query_row(lengths, [found], |row| row.get(0)).unwrap();
                assert_eq!(count, rows, "what follows a migration is done");
                drop(opened);
                let again = setup(dir.path())
                    .open(late::migrations::runner, &|_, _| panic!("there is nothing left to do"));
                assert_eq!(again.unwrap().found, 2);
            }
            (Err(error), Err(cause)) => {
                let newer = matches!(left, Left::Newer);
                assert_eq!(matches!(error, OpenError::Newer { found: 9, known: 2 }), newer);
                assert_eq!(error.cause(), cause, "{error}");
            }
            (opened, _) => panic!("{opened:?}"),
        }
    }
}

#[test]
fn what_follows_a_migration_is_done_again_when_it_failed() {
    let dir = tempfile::tempdir().unwrap();
    let fail = |_: &rusqlite::Transaction<'_>, _: i64| Err(failure(ffi::SQLITE_FULL));
    let failed = setup(dir.path()).open(late::migrations::runner, &fail).unwrap_err();
    assert_eq!(failed.cause(), Cause::Full);
    let done = std::cell::Cell::new(None);
    let after = |_: &rusqlite::Transaction<'_>, found: i64| {
        done.set(Some(found));
        Ok(())
    };
    setup(dir.path()).open(late::migrations::runner, &after).unwrap();
    assert_eq!(done.get(), Some(0));
}

#[test]
fn a_full_file_takes_what_fits_and_is_no_damaged_one() {
    let dir = tempfile::tempdir().unwrap();
    let line = line(Setup { max_bytes: Some(1 << 20), ..setup(dir.path()) });
    let large = "x".repeat(100_000);
    let mut count = 0;
    let full = loop {
        let word = large.clone();
        let terms = Terms { size: word.len(), ..Terms::default() };
        match line.write_blocking(terms, move |tx, ()| put(tx, &word)) {
            Ok(()) => count += 1,
            Err(Error::Sqlite(error)) => break error,
            Err(Error::Closed) => panic!("it is open"),
        }
    };
    assert_eq!(Cause::of(&full), Cause::Full, "{full}");
    assert!((5..=10).contains(&count), "{count}");
    // In one group with jobs that do not fit, those that fit are done.
    let go = hold(&line);
    let (tell, told) = mpsc::channel();
    for n in 0..6 {
        let (tell, word) = (tell.clone(), if n % 2 == 0 { large.clone() } else { n.to_string() });
        line.submit(
            Terms::default(),
            move |tx, ()| put(tx, &word),
            move |done| {
                tell.send((n, done.is_ok())).unwrap();
            },
        );
    }
    drop((go, tell));
    let mut done: Vec<_> = told.iter().collect();
    done.sort_unstable();
    assert_eq!(done, (0..6).map(|n| (n, n % 2 == 1)).collect::<Vec<_>>());
}

#[test]
fn damage_is_told_and_the_file_set_aside_with_all_that_is_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = setup(dir.path()).file;
    let opened = line(setup(dir.path()));
    for n in 0..2000 {
        opened.submit(Terms::default(), move |tx, ()| put(tx, &"w".repeat(n % 90)), drop);
    }
    opened.close();
    let mut bytes = std::fs::read(&file).unwrap();
    let len = bytes.len();
    bytes[len / 2..].fill(0xA5);
    std::fs::write(&file, &bytes).unwrap();
    let damaged = line(setup(dir.path()));
    let read = damaged.read(|db| {
        db.query_row("SELECT sum(length(word)) FROM words", [], |row| row.get::<_, i64>(0))
    });
    let Err(Error::Sqlite(error)) = read else { panic!("{read:?}") };
    assert_eq!(Cause::of(&error), Cause::Damaged, "{error}");
    damaged.close();
    let side = dir.path().join("line.db-wal");
    for n in 0..3 {
        std::fs::write(&file, n.to_string()).unwrap();
        std::fs::write(&side, "log").unwrap();
        let end = if n == 0 { String::new() } else { format!("-{n}") };
        let aside = set_aside(&file, "damaged").unwrap();
        assert_eq!(aside, dir.path().join(format!("line.db.damaged{end}")));
        assert_eq!(std::fs::read_to_string(&aside).unwrap(), n.to_string());
        assert!(dir.path().join(format!("line.db.damaged{end}-wal")).exists());
        assert!(!file.exists() && !side.exists());
    }
}

#[test]
fn causes_are_told_by_what_sqlite_says() {
    for (code, cause) in [
        (ffi::SQLITE_FULL, Cause::Full),
        (ffi::SQLITE_IOERR_SHMSIZE, Cause::Full),
        (ffi::SQLITE_CORRUPT, Cause::Damaged),
        (ffi::SQLITE_CORRUPT_INDEX, Cause::Damaged),
        (ffi::SQLITE_NOTADB, Cause::Damaged),
        (ffi::SQLITE_BUSY, Cause::Unavailable),
        (ffi::SQLITE_LOCKED, Cause::Unavailable),
        (ffi::SQLITE_IOERR_WRITE, Cause::Unavailable),
        (ffi::SQLITE_CONSTRAINT, Cause::Other),
        (ffi::SQLITE_INTERNAL, Cause::Other),
    ] {
        assert_eq!(Cause::of(&failure(code)), cause, "{code}");
    }
    assert_eq!(Cause::of(&rusqlite::Error::QueryReturnedNoRows), Cause::Other);
}

#[test]
fn housekeeping_goes_on_while_jobs_come_and_when_the_line_closes() {
    struct Heap {
        left: Arc<Mutex<u32>>,
    }
    impl Housekeeping for Heap {
        type Notes = u32;
        fn committed(&mut self, more: u32) -> bool {
            *self.left.lock().unwrap() += more;
            *self.left.lock().unwrap() > 0
        }
        fn tidy(&mut self, _: &mut Writer) -> bool {
            let mut left = self.left.lock().unwrap();
            *left = left.saturating_sub(1);
            *left > 0
        }
        fn rest(&self, _: &Writer) -> Duration {
            DEADLINE
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let left = Arc::new(Mutex::new(0));
    let opened = setup(dir.path()).open(late::migrations::runner, NOTHING).unwrap();
    let line = opened.start(Heap { left: Arc::clone(&left) }).unwrap();
    let add = |more: u32| {
        let add = move |_: &rusqlite::Transaction<'_>, notes: &mut u32| {
            *notes = more;
            Ok(())
        };
        line.write_blocking(Terms::default(), add).unwrap();
    };
    add(3);
    let until = Instant::now() + DEADLINE;
    while *left.lock().unwrap() > 0 {
        assert!(Instant::now() < until, "idle, and not tidied");
        std::thread::yield_now();
    }
    add(1000);
    for _ in 0..100 {
        add(0);
    }
    line.close();
    assert_eq!(*left.lock().unwrap(), 0);
}

#[cfg(unix)]
#[test]
fn a_private_file_is_its_owners_only_also_where_it_was_not() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = setup(dir.path()).file;
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let line = line(Setup { private: true, ..setup(dir.path()) });
    line.write_blocking(Terms::default(), |tx, ()| put(tx, "word")).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o77, 0);
    }
}
