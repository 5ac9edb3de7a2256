//! Programs of an earlier life of this host.
//!
//! Each program that is started is noted in a file: its id, when it started, and a mark that its environment holds. A
//! host that was killed leaves the files behind, and the next one ends what still runs of them. An id alone says
//! nothing, because systems give it again: the start must be the same, or, when the program itself is gone and others of
//! its group live on, their environment must hold the mark (Linux only; elsewhere they are left).
//!
//! On Windows a job ends with its owner, and there is nothing to do.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The variable that marks a program and its descendants.
pub(crate) const LIFE: &str = "THREADKEEP_AGENT";

/// The folder of the notes.
#[derive(Clone, Debug)]
pub struct Pids {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Noted {
    pid: u32,
    started: String,
    life: String,
}

/// A note of one program, which is there while its group may run.
#[derive(Debug)]
pub(crate) struct Note(PathBuf);

impl Note {
    /// The group is gone.
    pub(crate) fn remove(self) {
        fs::remove_file(&self.0).ok(); // the next start finds nothing to end, and removes it
    }
}

impl Pids {
    /// Notes in this folder, which is made when the first program starts.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Notes a program that was just started.
    pub(crate) fn note(&self, pid: u32, life: &str) -> io::Result<Note> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{pid}.json"));
        let started = started(pid).unwrap_or_default();
        let noted = Noted { pid, started, life: life.to_owned() };
        fs::write(&path, serde_json::to_vec(&noted)?)?;
        Ok(Note(path))
    }

    /// Ends what an earlier life of this host left running; the number of programs. To be called before anything is
    /// started, and by one process only.
    pub fn sweep(&self) -> usize {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let paths = files.map(|file| file.path());
        paths
            .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
            .filter(|path| {
                let ended = fs::read(path).ok().and_then(|text| {
                    let noted: Noted = serde_json::from_slice(&text).ok()?;
                    end(&noted).then_some(())
                });
                fs::remove_file(path).ok();
                ended.is_some()
            })
            .count()
    }
}

/// Ends the group of a noted program; false when nothing of it runs.
#[cfg(unix)]
fn end(noted: &Noted) -> bool {
    let same = match started(noted.pid) {
        Some(started) => !started.is_empty() && started == noted.started,
        None => members(noted.pid).iter().any(|member| has_life(*member, &noted.life)),
    };
    same && group(noted.pid).is_some_and(|group| {
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).is_ok()
    })
}

#[cfg(not(unix))]
fn end(_: &Noted) -> bool {
    false
}

#[cfg(unix)]
fn group(pid: u32) -> Option<rustix::process::Pid> {
    // 0 and 1 would be our own group, and everybody's.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1)?;
    rustix::process::Pid::from_raw(pid)
}

/// True while a process of the group that this program leads runs.
#[cfg(unix)]
pub(crate) fn group_runs(leader: u32) -> bool {
    group(leader).is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok())
}

#[cfg(not(unix))]
pub(crate) fn group_runs(_: u32) -> bool {
    false // the job knows
}

/// When a process started, in words that no other process of this id has; `None` when it does not run.
#[cfg(target_os = "linux")]
fn started(pid: u32) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let ticks = stat(pid)?.nth(19)?; // field 22, behind the name
    Some(format!("{} {ticks}", boot.trim()))
}

/// The fields of `/proc/PID/stat` behind the program's name, which may hold anything.
#[cfg(target_os = "linux")]
fn stat(pid: u32) -> Option<std::vec::IntoIter<String>> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<String> = fields.split_whitespace().map(str::to_owned).collect();
    if fields.first().is_some_and(|state| state == "Z") {
        return None; // it ended, and nobody has heard of it yet
    }
    Some(fields.into_iter())
}

#[cfg(all(unix, not(target_os = "linux")))]
fn started(pid: u32) -> Option<String> {
    let told = std::process::Command::new("ps")
        .env("LC_ALL", "C")
        .args(["-o", "lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(not(unix))]
fn started(_: u32) -> Option<String> {
    None
}

/// The processes of a group.
#[cfg(target_os = "linux")]
fn members(leader: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let leader = leader.to_string();
    pids.filter(|pid| stat(*pid).and_then(|mut fields| fields.nth(2)) == Some(leader.clone()))
        .collect()
}

#[cfg(all(unix, not(target_os = "linux")))]
fn members(_: u32) -> Vec<u32> {
    Vec::new()
}

#[cfg(unix)]
fn has_life(pid: u32, life: &str) -> bool {
    let path = Path::new("/proc").join(pid.to_string()).join("environ");
    let wanted = format!("{LIFE}={life}");
    fs::read(path).is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()))
}
