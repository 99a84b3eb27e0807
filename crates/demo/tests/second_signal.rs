//! A demo that is asked twice to stop ends at once, and everything that it has started with it.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use avouch_testkit::program::alone;
use rustix::process::{Pid, Signal, kill_process};

/// The demo, killed with the test.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that the demo has noted.
fn pids(market: &Path) -> Vec<u32> {
    let noted = std::fs::read_to_string(market.join("demo.pids")).unwrap_or_default();
    noted.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
}

#[test]
fn a_second_signal_ends_the_demo_at_once_and_its_processes_with_it() {
    let temp = tempfile::Builder::new().prefix("avr").tempdir().unwrap();
    let market = temp.path().join("market");
    let log = temp.path().join("up.log");
    let file = std::fs::File::create(&log).unwrap();
    let mut command = alone(env!("CARGO_BIN_EXE_avouch-demo"), temp.path());
    command.args(["up", "--dir"]).arg(&market).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut demo = Demo(command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap());
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    until("the market", Duration::from_secs(60), || {
        assert_eq!(demo.0.try_wait().unwrap(), None, "are its programs built? ./just build\n{}", said());
        said().contains("is up, with").then_some(())
    });
    let started = pids(&market);
    assert!(started.len() >= 7, "an issuer and six services: {started:?}");

    // Of two kinds, since two of one kind that arrive together are one.
    for signal in [Signal::TERM, Signal::INT] {
        kill_process(Pid::from_child(&demo.0), signal).unwrap();
    }
    let status = until("the end of the demo", Duration::from_secs(5), || demo.0.try_wait().unwrap());
    assert!(matches!(status.code(), Some(130 | 143)), "{status}: {}", said());
    assert!(said().contains("a second signal"), "{}", said());
    until("the end of its processes", Duration::from_secs(10), || {
        started.iter().all(|pid| !avouch_demo::processes::is_alive(*pid)).then_some(())
    });
}
