//! The second signal: it ends a process at once, whatever keeps the process from ending by itself.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use avouch_testkit::program::alone;
use rustix::process::Signal;
use support::process::{HOUR, Process};
use support::{Ca, example, minimal, until};

/// Long before anything that was waited for would end.
const AT_ONCE: Duration = Duration::from_secs(5);

fn stubborn(ca: &Ca, how: &str) -> Process {
    let config = ca.write("stubborn.toml", &ca.svid("stubborn", HOUR));
    Process::of(example("stubborn"), |command| command.arg("--config").arg(config).arg(how))
}

/// Asks twice; the second signal must not wait for what the first one asks for.
async fn asked_twice(process: Process, second: Signal) -> (Option<i32>, String) {
    process.signal(Signal::TERM);
    process.says("\"stopping\"").await;
    process.signal(second);
    process.end(AT_ONCE).await
}

#[tokio::test]
async fn a_main_that_never_looks_ends_at_the_second_signal_and_its_exit_code_says_which() {
    for (second, code, name) in [(Signal::TERM, 143, "SIGTERM"), (Signal::INT, 130, "SIGINT")] {
        let ca = Ca::new();
        let process = stubborn(&ca, "--never-looks");
        process.says("at work").await;
        let (ended, log) = asked_twice(process, second).await;
        assert_eq!(ended, Some(code), "{log}");
        let line = log.lines().find(|line| line.contains("second signal: the process ends at once"));
        assert!(line.is_some_and(|line| line.contains(name)), "{log}");
    }
}

#[tokio::test]
async fn a_runtime_whose_every_thread_is_blocked_ends_at_the_second_signal() {
    let ca = Ca::new();
    let process = stubborn(&ca, "--blocks");
    process.says("at work").await;
    let (ended, log) = asked_twice(process, Signal::TERM).await;
    assert_eq!(ended, Some(143), "{log}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_keeps_no_process() {
    let ca = Ca::new();
    let config = ca.write("stubborn.toml", &ca.svid("stubborn", HOUR));
    let mut command = alone(example("stubborn"), ca.directory.path());
    command.arg("--config").arg(config).arg("--talks");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let log = child.stderr.take().unwrap();
    let mut before = 0;
    until("the pipe is full", || {
        let now = rustix::io::ioctl_fionread(&log).unwrap();
        let is_full = now > 32 * 1024 && now == std::mem::replace(&mut before, now);
        async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            is_full
        }
    })
    .await;
    // Two of one kind would be one: nothing says here that the first has arrived.
    let pid = rustix::process::Pid::from_child(&child);
    for signal in [Signal::TERM, Signal::INT] {
        rustix::process::kill_process(pid, signal).unwrap();
    }
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > AT_ONCE {
            child.kill().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(matches!(status.code(), Some(130 | 143)), "{status}");
}

/// A collector and an issuer that take connections and never answer.
fn silent() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap()
}

#[tokio::test]
async fn a_boot_that_was_given_up_does_not_wait_for_its_telemetry_after_the_second_signal() {
    let ca = Ca::new();
    let (issuer, silent_collector) = (silent(), silent());
    let token = avouch_spiffe::JoinToken::new(
        "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0".to_owned(),
        "spiffe://market.example/avouch/issuer".parse().unwrap(),
        vec![[7; 32]],
    );
    let token = ca.write("token", &token.unwrap().encode());
    let text = format!(
        "[identity]\nsource = 'issuer'\naddress = '{}'\njoin_token_file = {token:?}\n",
        issuer.local_addr().unwrap()
    );
    let collector = format!("http://{}", silent_collector.local_addr().unwrap());
    let process = Process::of(minimal(), |command| {
        command.arg("--config").arg(ca.write("minimal.toml", &text));
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector).env("OTEL_TRACES_SAMPLER", "always_on")
    });
    // Its first attempt: the boot waits.
    issuer.set_nonblocking(true).unwrap();
    let mut waiting = None;
    until("the boot waits for its issuer", || {
        waiting = issuer.accept().ok();
        std::future::ready(waiting.is_some())
    })
    .await;
    let begun = Instant::now();
    let (ended, log) = asked_twice(process, Signal::TERM).await;
    assert_eq!(ended, Some(143), "after {:?}: {log}", begun.elapsed());
}
