//! The wall clock of a process jumps when it is told to, and nothing else does: shown on a process of our own.
//!
//! This test starts itself again with the library preloaded; the copy says what its clocks show whenever it is asked.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Instant, UNIX_EPOCH};

use avouch_integration_tests::soak::clocks::Clocks;
use avouch_integration_tests::soak::preload;
use avouch_time::clock::{Clock as _, SystemClock};

const TOLD: &str = "CLOCKJUMP_TEST";

/// Not a test of its own: what the copies do.
#[test]
fn the_process_whose_clock_jumps() {
    if std::env::var_os(TOLD).is_none() {
        return;
    }
    let began = Instant::now();
    for _line in std::io::stdin().lines() {
        println!("clocks {} {}", wall_ms(), began.elapsed().as_millis());
    }
}

fn wall_ms() -> i64 {
    let since = SystemClock.now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

struct Copy {
    child: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Copy {
    fn start(clocks: &Clocks, name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "clockjump::the_process_whose_clock_jumps", "--nocapture", "--test-threads=1"])
            .envs(clocks.env(name))
            .env(TOLD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (ask, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, ask, answers: BufReader::new(answers).lines() }
    }

    /// How far its wall clock is from this process's, in ms, and how long it has run by its monotonic one.
    fn clocks(&mut self) -> (i64, i64) {
        let before = wall_ms();
        writeln!(self.ask, "now").unwrap();
        let said = loop {
            let line = self.answers.next().unwrap().unwrap();
            // The harness writes the name of the test in front of the first one.
            if let Some((_, said)) = line.split_once("clocks ") {
                break said.to_owned();
            }
        };
        let (wall, steady) = said.split_once(' ').unwrap();
        (wall.parse::<i64>().unwrap() - before, steady.parse().unwrap())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn all_wall_clocks_jump_together_one_alone_and_no_monotonic_one_ever() {
    const SLACK: i64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload/clockjump.c");
    let library = preload::build(&source, dir.path()).unwrap();
    let clocks = Clocks::new(library, dir.path().join("clocks"), ["orders", "ledger"]).unwrap();
    let (mut orders, mut ledger) = (Copy::start(&clocks, "orders"), Copy::start(&clocks, "ledger"));
    let mut expect = |all: i64, one: i64| {
        let (orders, ledger) = (orders.clocks(), ledger.clocks());
        for ((apart, steady), expected) in [(orders, all + one), (ledger, all)] {
            // What the answer took is on top.
            assert!((expected..expected + SLACK).contains(&apart), "{apart} ms instead of {expected} ms");
            assert!((0..SLACK).contains(&steady), "the monotonic clock jumped to {steady} ms");
        }
    };
    expect(0, 0);
    clocks.move_all(60_000).unwrap();
    expect(60_000, 0);
    clocks.set_one("orders", -20_500).unwrap();
    expect(60_000, -20_500);
    clocks.move_all(-90_000).unwrap();
    expect(-30_000, -20_500);
}

#[test]
fn a_process_whose_clock_cannot_be_moved_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload/clockjump.c");
    let library = preload::build(&source, dir.path()).unwrap();
    let clocks = Clocks::new(library, dir.path().join("clocks"), ["orders"]).unwrap();
    std::fs::remove_file(dir.path().join("clocks")).unwrap();
    let started = Command::new("/bin/true").envs(clocks.env("orders")).output().unwrap();
    assert_eq!(started.status.code(), Some(70), "{started:?}");
}
