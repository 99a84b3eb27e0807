//! A real process with a socket passed to it, as a service manager would: its address is known before it runs, and stays
//! when it is started again.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes longer, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// So often it is seen whether a process that is waited for still runs.
const LOOK: Duration = Duration::from_millis(50);

/// Puts its standard input where a service manager puts the first socket, says so as one would, and becomes `"$@"`.
const PASS: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";

/// Where Debian puts the library that makes one process's clock wrong.
const WRONG_CLOCKS: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// The programs, which cargo builds with the whole workspace.
pub(crate) fn built(program: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join(program);
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins", path.display());
    path
}

/// Whether a single process can have a wrong clock here (Debian's package `faketime`).
pub(crate) fn clocks_can_be_wrong() -> bool {
    wrong_clock().is_some()
}

fn wrong_clock() -> Option<&'static str> {
    WRONG_CLOCKS.into_iter().find(|path| Path::new(path).exists())
}

/// How a process is started, each time it is.
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) socket: TcpListener,
    /// How wrong its clock is, as in `+10m`.
    pub(crate) clock: Option<String>,
}

impl Spec {
    /// Starts it, and waits until it says that it is ready.
    pub(crate) fn start(&self) -> Process {
        let mut process = self.spawn();
        process.hears_ready();
        process
    }

    /// Starts it.
    pub(crate) fn spawn(&self) -> Process {
        let notify = self.dir.join("notify");
        let _ = std::fs::remove_file(&notify);
        let manager = UnixDatagram::bind(&notify).unwrap();
        manager.set_read_timeout(Some(LOOK)).unwrap();
        let log = self.dir.join("log");
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", PASS, "sh"]).arg(&self.program).arg("--config").arg(&self.config);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("NOTIFY_SOCKET", notify)
            .env("NO_COLOR", "1")
            .stdin(Stdio::from(OwnedFd::from(self.socket.try_clone().unwrap())))
            .stdout(Stdio::null())
            .stderr(file);
        if let Some(offset) = &self.clock {
            let library = wrong_clock().unwrap_or_else(|| panic!("no libfaketime: apt-get install faketime"));
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME", offset)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        Process { name: self.name.clone(), child: command.spawn().unwrap(), manager, log }
    }
}

/// A running process. It ends with its handle.
pub(crate) struct Process {
    name: String,
    child: Child,
    manager: UnixDatagram,
    log: PathBuf,
}

impl Process {
    /// What it has written, over all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn hears_ready(&mut self) {
        let (begun, mut message) = (Instant::now(), [0; 256]);
        loop {
            match self.manager.recv(&mut message) {
                Ok(length) if message[..length].starts_with(b"READY=1") => return,
                Ok(_) => {}
                Err(_) => {
                    let ended = self.child.try_wait().unwrap();
                    let waits = ended.is_none() && begun.elapsed() < PATIENCE;
                    assert!(waits, "{} is not ready ({ended:?}): {}", self.name, self.log());
                }
            }
        }
    }

    /// The first line of its log with all of these words, as soon as there is one.
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "{} never says {words:?}: {log}", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has ended by itself, as one that cannot start; gives its exit status and all it wrote.
    pub(crate) fn ends(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "{} does not end: {}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
