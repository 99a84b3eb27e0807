//! The example `minimal` as a process.
#![allow(clippy::unwrap_used, reason = "test support")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Ca, minimal, until};
use avouch_testkit::program::alone;

pub const HOUR: Duration = Duration::from_secs(3600);

pub fn run(args: &[&str]) -> Output {
    let temp = tempfile::tempdir().unwrap();
    alone(minimal(), temp.path()).args(args).output().unwrap()
}

pub fn config(ca: &Ca, more: &str) -> String {
    let address_file = ca.path("address.json");
    let text = format!("{}[service]\naddress_file = {address_file:?}\n{more}", ca.svid("minimal", HOUR));
    ca.write("minimal.toml", &text).display().to_string()
}

/// A running `minimal` and its log so far.
pub struct Process {
    pub child: Child,
    pub log: Arc<Mutex<String>>,
    _temp: tempfile::TempDir,
}

impl Process {
    pub fn start(config: &str) -> Self {
        Self::of(minimal(), |command| command.args(["--config", config]))
    }

    /// One that may have `descriptors` open files.
    pub fn start_with(config: &str, descriptors: u32) -> Self {
        let script = format!("ulimit -n {descriptors}; exec \"$0\" --config \"$1\"");
        Self::of("sh", |command| command.args(["-c", &script]).arg(minimal()).arg(config))
    }

    /// Another program, as `configure` has it.
    pub fn of(program: impl AsRef<OsStr>, configure: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut command = alone(program, temp.path());
        let mut child = configure(&mut command).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, sink) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = sink.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log, _temp: temp }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the log says `text`.
    pub async fn says(&self, text: &str) {
        until(text, || async { self.log.lock().unwrap().contains(text) }).await;
    }

    /// Waits for the end; fails the test when it takes longer than `limit`.
    pub async fn end(mut self, limit: Duration) -> (Option<i32>, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The reader ends with the pipe.
                until("the log's end", || async { Arc::strong_count(&self.log) == 1 }).await;
                return (status.code(), self.log.lock().unwrap().clone());
            }
            assert!(begun.elapsed() < limit, "the process does not end: {}", self.log.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
