//! The shell as a process: exit codes, signals, the address file, what is printed and what never is.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::Output;
use std::time::{Duration, Instant};

use avouch_service::identity::Channel;
use rustix::process::Signal;
use support::process::{Process, config, run};
use support::{Ca, appears, channel, client, get, until};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[test]
fn help_and_version_are_no_errors() {
    for flag in ["--help", "--version"] {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty());
    }
}

#[test]
fn bad_usage_and_bad_configuration_exit_with_64() {
    let ca = Ca::new();
    let unknown = ca.write("unknown.toml", "[servise]\n").display().to_string();
    let policy = ca.write("bad-policy.toml", "[roles]\nnobody-has-it = []\n");
    let policy = ca.write("policy.toml", &format!("[authz]\npolicy = {policy:?}\n")).display().to_string();
    for args in [
        &["--confg", "x"][..],
        &["--config", "/nowhere.toml"],
        &["--config", &unknown],
        &["--config", &policy],
        &["--set", "telemetry.sampling_ratio=2"],
        &["--set", "telemetry.sampling_ratio=2", "--check-config"],
        &["--set", "service.listen=nowhere"],
        &[],
    ] {
        let output = run(args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}: {text}");
        assert!(text.contains("error"), "{args:?}: {text}");
    }
}

#[test]
fn an_error_is_said_once_with_its_help() {
    let ca = Ca::new();
    let unknown = ca.write("unknown.toml", "[servise]\n").display().to_string();
    let text = String::from_utf8(run(&["--config", &unknown]).stderr).unwrap();
    assert_eq!(text.matches("did you mean `service`?").count(), 1, "{text}");
    assert!(text.contains("help: "), "{text}");
}

#[test]
fn an_identity_that_is_not_there_is_a_failure_and_no_usage_error() {
    let ca = Ca::new();
    let config = config(&ca, "");
    std::fs::remove_file(ca.path("minimal.key")).unwrap();
    let output = run(&["--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("minimal.key"));
}

#[test]
fn check_config_starts_nothing() {
    let ca = Ca::new();
    let output = run(&["--config", &config(&ca, ""), "--check-config"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("the configuration is good"));
    assert!(!ca.path("address.json").exists());
}

#[test]
fn what_check_config_refuses_the_start_refuses_with_the_same_words_and_status() {
    let ca = Ca::new();
    let config = config(&ca, "");
    let bundle = ca.path("bundle.pem");
    let federated =
        |domain: &str| format!("identity.federated=[{{trust_domain='{domain}',bundle={bundle:?}}}]");
    for set in [
        "service.limits.max_connections=9223372036854775807",
        "service.limits.max_connections=nan",
        "service.limits.max_header_list_size=4294967295",
        "service.drain_timeout=9223372036854775807",
        "service.address=0.0.0.0:7001",
        "service.address=::1:7001",
        "service.listen=::1:7001",
        "service.address_file=/nowhere/at/all/address.json",
        "identity.poll_interval=0",
        "identity.spiffe_id=spiffe://other.example/minimal",
        "identity.spiffe_id=spiffe://market.example/other",
        &federated("market.example"),
        "authz.policy=/nowhere/policy.toml",
        "authz.watch_interval=0",
        "records.keep=0",
        "telemetry.sampling_ratio=nan",
        "upstreams.a={url='https://0.0.0.0:1',id='spiffe://market.example/a'}",
        "upstreams.a={url='https://a:1',id='spiffe://other.example/a'}",
    ] {
        let checked = run(&["--config", &config, "--set", set, "--check-config"]);
        let started = run(&["--config", &config, "--set", set]);
        let said = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(checked.status.code(), Some(64), "{set}: {}", said(&checked));
        assert_eq!(started.status.code(), Some(64), "{set}: {}", said(&started));
        assert_eq!(said(&checked), said(&started), "{set}");
        assert!(!said(&checked).contains("panicked") && checked.stdout.is_empty(), "{set}");
    }
    // Without an identity nothing is served.
    assert_eq!(run(&["--check-config"]).status.code(), Some(64));
}

#[test]
fn show_config_says_where_each_value_comes_from_and_starts_nothing() {
    let ca = Ca::new();
    let config = config(&ca, "[minimal]\nsecret = 'hunter2'\n");
    let output = run(&["--config", &config, "--set", "service.drain_timeout=3s", "--show-config"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let line = |key: &str| text.lines().find(|line| line.starts_with(key)).expect(key).to_owned();
    assert!(line("service.drain_timeout ").ends_with("--set service.drain_timeout"), "{text}");
    assert!(line("service.address_file ").contains(&format!("{config}:")), "{text}");
    assert!(line("minimal.secret ").contains("(hidden)") && !text.contains("hunter2"), "{text}");
    assert!(!ca.path("address.json").exists());

    let output = run(&["--config", &config, "--show-config=json"]);
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = rows.as_array().unwrap().iter().find(|row| row["key"] == "service.limits.max_connections");
    assert_eq!(found.expect("the row")["origin"], "default");
    assert_eq!(run(&["--config", "none.toml", "--show-config"]).status.code(), Some(64));
}

#[tokio::test]
async fn health_asks_the_running_process_and_reads_no_key() {
    let ca = Ca::new();
    let config = config(&ca, "");
    let asked = || run(&["--config", &config, "--health"]);
    let early = asked();
    assert_eq!(early.status.code(), Some(1), "nothing runs yet");
    assert!(String::from_utf8(early.stderr).unwrap().contains("nothing serves yet"));

    let process = Process::start(&config);
    appears(&ca.path("address.json")).await;
    std::fs::remove_file(ca.path("minimal.key")).unwrap();
    until("readiness", || async { asked().status.code() == Some(0) }).await;
    assert_eq!(String::from_utf8(asked().stdout).unwrap(), "minimal: ready\n");

    process.signal(Signal::TERM);
    process.end(Duration::from_secs(10)).await;
    let late = asked();
    assert_eq!(late.status.code(), Some(1), "it has ended");
    assert!(String::from_utf8(late.stderr).unwrap().contains("does not answer"));
}

#[tokio::test]
async fn sigterm_drains_and_exits_with_zero_and_the_log_tells_the_run() {
    let ca = Ca::new();
    let process = Process::start(&config(&ca, "[minimal]\nsecret = 'hunter2'\n"));
    appears(&ca.path("address.json")).await;
    process.signal(Signal::TERM);
    let (code, log) = process.end(Duration::from_secs(10)).await;
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |message: &str| lines.iter().find(|line| line["message"] == message).expect(message);
    let start = line("serving");
    assert_eq!(start["spiffe_id"], "spiffe://market.example/minimal");
    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));
    assert!(start["config"].as_str().unwrap().contains("minimal.key"));
    assert_eq!(line("draining")["waiting_for"], "nothing");
    assert_eq!(line("drained")["left_behind"], "nothing");
    assert!(!log.contains("hunter2") && !log.contains("PRIVATE KEY"), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_that_waits_for_a_stream() {
    let ca = Ca::new();
    let process = Process::start(&config(&ca, "drain_timeout = '60s'\n"));
    let addresses: serde_json::Value =
        serde_json::from_str(&appears(&ca.path("address.json")).await).unwrap();
    let address = addresses["grpc"].as_str().unwrap().parse().unwrap();
    let mut client = HealthClient::new(channel(&client(&ca).await, address));
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    process.signal(Signal::TERM);
    process.says("grpc.health.v1.Health/Watch ×1").await;
    process.signal(Signal::TERM);
    let (code, log) = process.end(Duration::from_secs(5)).await;
    assert_eq!(code, Some(143), "{log}");
    assert!(log.contains("second signal: the process ends at once"), "{log}");
}

#[tokio::test]
async fn sighup_reloads_the_policy_and_a_bad_one_changes_nothing() {
    let ca = Ca::new();
    let policy = ca.install("policy.toml", "[roles]\ndebug = []\n");
    let more = format!("[authz]\npolicy = {policy:?}\nwatch_interval = '1h'\n");
    let process = Process::start(&config(&ca, &more));
    appears(&ca.path("address.json")).await;
    ca.write("policy.toml", "[roles]\ndebug = ['spiffe://market.example/staff/olga']\n");
    process.signal(Signal::HUP);
    process.says("SIGHUP: a new policy is in force").await;
    ca.write("policy.toml", "[rolls]\n");
    process.signal(Signal::HUP);
    process.says("the last good policy stays in force").await;
    std::fs::remove_file(ca.path("policy.toml")).unwrap();
    process.signal(Signal::HUP);
    process.says("policy.toml cannot be read: No such file or directory").await;
    process.signal(Signal::INT);
    let (code, log) = process.end(Duration::from_secs(10)).await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_policy_that_is_still_being_written() {
    let ca = Ca::new();
    let policy = ca.install("policy.toml", "[roles]\ndebug = []\n");
    let process = Process::start(&config(&ca, &format!("[authz]\npolicy = {policy:?}\n")));
    appears(&ca.path("address.json")).await;
    ca.write("policy.toml", "[roles]\n# to be continued\n");
    process.signal(Signal::HUP);
    process.signal(Signal::TERM);
    let begun = Instant::now();
    let (code, log) = process.end(Duration::from_secs(10)).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("not good"), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{log}");
}

#[test]
fn what_is_no_policy_does_not_start_a_process_and_is_told_with_its_cause() {
    let ca = Ca::new();
    let config = config(&ca, &format!("[authz]\npolicy = {:?}\n", ca.path("policy.toml")));
    for (text, cause) in [
        (Some(""), "policy.toml:1:1: no policy: the file is empty"),
        (Some("# [roles]\n"), "policy.toml:1:1: no policy: the file has nothing but comments"),
        (None, "policy.toml cannot be read: No such file or directory"),
    ] {
        match text {
            Some(text) => drop(ca.write("policy.toml", text)),
            None => std::fs::remove_file(ca.path("policy.toml")).unwrap(),
        }
        for how in [&["--config", &config][..], &["--config", &config, "--check-config"]] {
            let output = run(how);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(64), "{how:?}: {said}");
            assert!(said.contains(cause) && said.contains("avouch policy check"), "{how:?}: {said}");
        }
    }
}

/// Whether the caller `probe` may ask for the process's health, at every moment for so long.
async fn denied_for(probe: &mut HealthClient<Channel>, millis: u64, stage: &str) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(millis) {
        let answer = probe.check(HealthCheckRequest::default()).await;
        let code = answer.map(drop).map_err(|status| status.code());
        assert_eq!(code, Err(tonic::Code::PermissionDenied), "{stage}, after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_denied_caller_is_never_let_in_while_a_policy_is_written_slowly_in_place() {
    let ca = Ca::new();
    let roles = "[roles]\ndebug = ['spiffe://market.example/staff/olga']\n";
    let deny = "[[deny]]\ncaller = 'spiffe://market.example/probe'\n";
    let policy = ca.install("policy.toml", &format!("{roles}{deny}"));
    let process = Process::start(&config(&ca, &format!("[authz]\npolicy = {policy:?}\n")));
    let addresses: serde_json::Value =
        serde_json::from_str(&appears(&ca.path("address.json")).await).unwrap();
    let address = addresses["grpc"].as_str().unwrap().parse().unwrap();
    let mut probe = HealthClient::new(channel(&client(&ca).await, address));
    denied_for(&mut probe, 100, "before").await;
    // In place, and in the place of a removed one.
    for removes in [false, true] {
        if removes {
            std::fs::remove_file(&policy).unwrap();
        }
        ca.write("policy.toml", "");
        denied_for(&mut probe, 1500, "truncated").await;
        ca.write("policy.toml", roles);
        denied_for(&mut probe, 1500, "half").await;
        ca.write("policy.toml", &format!("{roles}{deny}# whole, {removes}\n"));
        denied_for(&mut probe, 3000, "whole").await;
    }
    process.says("a new policy is in force").await;
    // And a caller whom the policy no longer denies is let in.
    ca.install("policy.toml", roles);
    until("the policy without the deny rule is in force", || {
        let mut probe = probe.clone();
        async move { probe.check(HealthCheckRequest::default()).await.is_ok() }
    })
    .await;
    process.signal(Signal::TERM);
    let (code, log) = process.end(Duration::from_secs(10)).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("the policy file is not good"), "half a file is no bad policy: {log}");
}

#[tokio::test]
async fn a_process_waiting_for_its_issuer_outlives_sighup_and_stops_on_sigterm() {
    let ca = Ca::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let health = {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap()
    };
    let token = ca.write("token", &token());
    let text = format!(
        "[identity]\nsource = 'issuer'\naddress = '{}'\njoin_token_file = {token:?}\n[health]\nlisten = '{health}'\n",
        silent.local_addr().unwrap()
    );
    let config = ca.write("minimal.toml", &text).display().to_string();
    let process = Process::start(&config);
    until("the health port", || async { tokio::net::TcpStream::connect(health).await.is_ok() }).await;
    assert_eq!(get(health, "/livez").await.0, 200);
    assert_eq!(get(health, "/readyz").await, (503, "not ready: there is no SVID yet\n".into()));
    process.signal(Signal::HUP);
    process.says("SIGHUP: there is no policy file to reload").await;
    process.signal(Signal::TERM);
    let (code, log) = process.end(Duration::from_secs(10)).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(&support_secret()), "a join token is never logged");
}

fn support_secret() -> String {
    "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0".to_owned()
}

/// A well-formed join token for an issuer that never answers.
fn token() -> String {
    use avouch_spiffe::JoinToken;
    let issuer = "spiffe://market.example/avouch/issuer".parse().unwrap();
    JoinToken::new(support_secret(), issuer, vec![[7; 32]]).unwrap().encode()
}
