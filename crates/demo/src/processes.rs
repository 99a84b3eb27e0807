//! The demo's processes: started, killed, restarted, ended, and never left behind.
//!
//! Each has its own directory and one log file that all its lives are appended to. Four things see to it that none
//! outlives the demo: they end in order when a run ends; each is killed when its handle is dropped, which covers
//! errors, panics that unwind, and signals the demo handles; the kernel kills it with the demo
//! ([`crate::launch`]); and the next start sweeps up by what [`PidFile`] remembers.
//!
//! Invariant: a process is only ever killed as the very process that was started: by its own handle, or by pid *and*
//! start time.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use avouch_files::PrivateDirError;
use avouch_text::with_causes;
use tokio::process::{Child, ChildStdin, Command};

/// How a process is started, each time it is.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name, which is also its directory's.
    pub name: String,
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What is added to the environment.
    pub env: BTreeMap<String, OsString>,
    /// Its log.
    pub log: PathBuf,
    /// Whether it reads standard input from the demo.
    pub stdin: bool,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts one. Must be called on the main thread, see [`crate::launch`].
    ///
    /// # Errors
    /// When the binary, its log or the pid file can't be used.
    pub fn start(spec: &Spec, pids: &PidFile) -> io::Result<Self> {
        let log = open_append(&spec.log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("launch")
            .arg(std::process::id().to_string())
            .arg(&spec.program)
            .args(&spec.args)
            .envs(&spec.env)
            .stdin(if spec.stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at the terminal is for the demo, which then ends its processes in order.
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn()?;
        if let Some(pid) = child.id() {
            pids.add(pid, &spec.name)?;
        }
        Ok(Self { name: spec.name.clone(), log: spec.log.clone(), child })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// SIGTERM. Nothing happens when it has ended already.
    pub fn terminate(&self) {
        #[cfg(unix)]
        if let Some(pid) =
            self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
        {
            // It may end between these lines; its pid can't be reused before it is waited for.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }

    /// Waits for its end, at most so long; then it is killed and `None` returned.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn ended_within(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        if let Ok(status) = tokio::time::timeout(limit, self.child.wait()).await {
            return status.map(Some);
        }
        self.child.kill().await?;
        Ok(None)
    }

    /// How it ended, if it has, with the end of its log.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} ended by itself ({status}); its log ends with:\n{}", self.name, tail(&self.log)))
    }
}

/// The last lines of a file.
#[must_use]
pub fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(6);
    let mut out = lines.get(from..).unwrap_or_default().join("\n");
    out.push_str(&format!("\n(all of it: {})", path.display()));
    out
}

/// Remembers which processes were started, for the next start's sweep.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    // Its lock says that a demo is running here.
    lock: File,
}

impl PidFile {
    /// Takes possession of `dir`, and kills what an earlier demo that was killed itself left running.
    ///
    /// # Errors
    /// When another demo is running in this directory, or the system refuses.
    pub fn take(dir: &Path) -> io::Result<(Self, usize)> {
        std::fs::create_dir_all(dir)?;
        let lock = open_append(&dir.join("demo.lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("another demo is running in {}", dir.display()),
            )
        })?;
        let path = dir.join("demo.pids");
        let pids = open_append(&path)?;
        let swept = sweep(&path);
        pids.set_len(0)?;
        Ok((Self { path, lock }, swept))
    }

    /// The names that must stay when the directory is emptied.
    #[must_use]
    pub fn names() -> [&'static str; 2] {
        ["demo.lock", "demo.pids"]
    }

    fn add(&self, pid: u32, name: &str) -> io::Result<()> {
        let Some(started) = start_time(pid) else { return Ok(()) };
        writeln!(open_append(&self.path)?, "{pid} {started} {name}")
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = open_append(&self.path).and_then(|pids| pids.set_len(0));
        let _ = self.lock.unlock();
    }
}

/// In a directory that others may write, a link or a FIFO may be in a file's place.
fn open_append(path: &Path) -> io::Result<File> {
    avouch_files::open_append(path)
        .map_err(|error: PrivateDirError| io::Error::other(with_causes(&error).to_string()))
}

fn sweep(path: &Path) -> usize {
    let Ok(text) = std::fs::read_to_string(path) else { return 0 };
    text.lines().filter(|line| sweep_one(line).is_some()).count()
}

/// Kills the process of one line of the file, if it is still that process.
fn sweep_one(line: &str) -> Option<()> {
    let mut words = line.split(' ');
    let pid: u32 = words.next()?.parse().ok()?;
    let started: u64 = words.next()?.parse().ok()?;
    if start_time(pid)? != started {
        return None;
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok()
}

/// Whether there is a process of this ID; where the system does not say, whether there may be.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    start_time(pid).is_some() || !Path::new("/proc/self/stat").exists()
}

/// When a process was started, in ticks since boot; `None` when there is none, it is a zombie, or the system does
/// not say.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_start_time(&stat)
}

/// Field 22 of `/proc/PID/stat`; the second field is in parentheses and may hold anything.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "4711 (a) R 1) S 1 4711 4711 0 -1 4194304 88 0 0 0 0 0 0 0 20 0 1 0 123456 5513216 200 1";

    #[test]
    fn the_start_time_is_read_past_a_hostile_process_name() {
        assert_eq!(parse_start_time(STAT), Some(123_456));
    }

    #[test]
    fn a_zombie_and_nonsense_have_no_start_time() {
        assert_eq!(parse_start_time(&STAT.replace(") S ", ") Z ")), None);
        assert_eq!(parse_start_time(""), None);
        assert_eq!(parse_start_time("1 (x) S 1 2"), None);
    }

    #[test]
    fn a_pid_that_was_given_to_another_process_is_left_alone() {
        let me = std::process::id();
        let started = start_time(me).unwrap();
        assert_eq!(sweep_one(&format!("{me} {} test", started + 1)), None);
        assert_eq!(sweep_one("nonsense"), None);
        assert_eq!(sweep_one(&format!("{me}")), None);
    }

    #[test]
    fn a_process_that_was_left_behind_is_swept_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let line = format!("{} {} left-behind\n", child.id(), start_time(child.id()).unwrap());
        std::fs::write(dir.path().join("demo.pids"), line).unwrap();
        let (_pids, swept) = PidFile::take(dir.path()).unwrap();
        assert_eq!(swept, 1);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_second_demo_in_the_same_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = PidFile::take(dir.path()).unwrap();
        assert!(PidFile::take(dir.path()).is_err());
        drop(first);
        assert!(PidFile::take(dir.path()).is_ok());
    }
}
