//! Telemetry never stops a service: whatever its settings say, a process starts, serves and ends, and tells each fault
//! once.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch_testkit::program::alone;
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::PrivateKeyDer;
use support::{Ca, appears, channel, client, get, minimal, until};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const HOUR: Duration = Duration::from_secs(3600);

/// Variables a run is made with.
type Vars<'a> = [(&'a str, String)];

fn vars<'a>(pairs: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// `minimal` with these variables and none other that telemetry reads, but a sampler that takes an argument.
fn command(config: &str, vars: &Vars<'_>) -> Command {
    let place = Path::new(config).parent().unwrap();
    let mut command = alone(minimal(), place);
    command
        .args(["--config", config])
        .env("OTEL_TRACES_SAMPLER", "traceidratio")
        .envs(vars.iter().map(|(name, value)| (name, value)));
    command
}

fn config(ca: &Ca) -> String {
    let address_file = ca.path("address.json");
    let text = format!("{}[service]\naddress_file = {address_file:?}\n", ca.svid("minimal", HOUR));
    ca.write("minimal.toml", &text).display().to_string()
}

/// What `--check-config` warns of; it must find the configuration good.
fn checked(config: &str, vars: &Vars<'_>) -> Vec<String> {
    let output = command(config, vars).arg("--check-config").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{vars:?}: {stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "minimal: the configuration is good\n");
    stderr.lines().map(|line| line.strip_prefix("minimal: warning: ").expect(line).to_owned()).collect()
}

/// A running `minimal`, whose log goes to a file.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(ca: &Ca, config: &str, vars: &Vars<'_>) -> Self {
        let log = ca.path("log");
        let child = command(config, vars).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        Self { child, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn ends(&mut self) -> (ExitStatus, Duration) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let begun = Instant::now();
        until("the end", || std::future::ready(self.child.try_wait().unwrap().is_some())).await;
        (self.child.wait().unwrap(), begun.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks the process whether it is ready, and calls it as a peer.
async fn serves(ca: &Ca) {
    let addresses: serde_json::Value =
        serde_json::from_str(&appears(&ca.path("address.json")).await).unwrap();
    let address = |kind: &str| addresses.get(kind).unwrap().as_str().unwrap().parse().unwrap();
    let health = address("health");
    until("readiness", || async { get(health, "/readyz").await.0 == 200 }).await;
    let mut caller = HealthClient::new(channel(&client(ca).await, address("grpc")));
    caller.check(HealthCheckRequest::default()).await.unwrap();
}

/// A key file whose line breaks were lost, and the key.
fn broken_key(ca: &Ca) -> (PathBuf, String) {
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let body = pem.lines().filter(|line| !line.starts_with('-')).collect();
    (ca.write("broken.key", &pem.replace('\n', "")), body)
}

/// Every setting of telemetry that a process reads, each broken in a way of its own.
fn all_broken(ca: &Ca, key: &Path) -> Vec<(&'static str, String)> {
    let fifo = ca.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let mut all = vars(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://user:hunter2@collector:4317"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/dev/zero"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2%"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_TRACES_SAMPLER_ARG", "many"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "soon"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "all"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "1.5"),
        ("OTEL_PROPAGATORS", "b3,jaeger"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=100%"),
        ("OTEL_SDK_DISABLED", "perhaps"),
        ("RUST_LOG", "inof"),
    ]);
    all.push(("OTEL_EXPORTER_OTLP_CERTIFICATE", fifo.display().to_string()));
    all.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.display().to_string()));
    all
}

fn assert_tells_no_secret(text: &str, key: &str) {
    assert!(!text.contains("hunter2"), "{text}");
    for part in key.as_bytes().chunks(8) {
        let numbers = format!("{part:?}");
        assert!(!text.contains(std::str::from_utf8(part).unwrap()), "{text}");
        assert!(!text.contains(numbers.trim_matches(['[', ']'])), "{text}");
    }
}

#[tokio::test]
async fn a_service_serves_with_every_setting_broken_and_warns_once_of_each() {
    let ca = Ca::new();
    let config = config(&ca);
    let (key_file, key) = broken_key(&ca);
    let broken = all_broken(&ca, &key_file);
    let mut running = Running::start(&ca, &config, &broken);
    serves(&ca).await;
    let (status, _) = running.ends().await;
    let log = running.log();
    assert_eq!(status.code(), Some(0), "{log}");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let warned: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").collect();
    for (name, _) in &broken {
        let about: Vec<_> = warned.iter().filter(|line| line["setting"] == *name).collect();
        assert_eq!(about.len(), 1, "{name}: {log}");
        assert!(about.iter().all(|line| line["message"].as_str().unwrap().starts_with(name)), "{log}");
    }
    assert_eq!(warned.len(), broken.len(), "{log}");
    assert_tells_no_secret(&log, &key);
}

#[test]
fn check_config_tells_the_same_and_finds_the_configuration_good() {
    let ca = Ca::new();
    let (key_file, key) = broken_key(&ca);
    let broken = all_broken(&ca, &key_file);
    let warnings = checked(&config(&ca), &broken);
    for (name, _) in &broken {
        let about = warnings.iter().filter(|warning| warning.starts_with(&format!("{name} "))).count();
        assert_eq!(about, 1, "{name}: {warnings:#?}");
    }
    assert_eq!(warnings.len(), broken.len(), "{warnings:#?}");
    assert_tells_no_secret(&warnings.concat(), &key);
}

#[test]
fn each_broken_setting_alone_is_one_warning_that_says_what_follows() {
    const OFF: &str = ": no traces are exported";
    let ca = Ca::new();
    let config = config(&ca);
    let root = ca.path("bundle.pem").display().to_string();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317");
    let authority = ("OTEL_EXPORTER_OTLP_CERTIFICATE", root.as_str());
    assert_eq!(checked(&config, &vars(&[endpoint, authority])), [""; 0]);
    for (name, value, follows) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "not a url", OFF),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", OFF),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem", OFF),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/dev/zero", OFF),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", root.as_str(), OFF),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", root.as_str(), OFF),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "hunter2", OFF),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", OFF),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s", "10000 ms is used"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd", "not compressed"),
        ("OTEL_TRACES_SAMPLER", "xray", "[telemetry] sampling_ratio is used"),
        ("OTEL_PROPAGATORS", "b3", "tracecontext is used"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a", "none of it is used"),
        ("OTEL_SDK_DISABLED", "1", "not disabled"),
        ("RUST_LOG", "info,orders=louder", "`info` is used"),
        ("RUST_LOG", "warning", "`info` is used"),
        ("RUST_LOG", " ä=info, [{", "`info` is used"),
    ] {
        let mut given = vars(&[endpoint, authority]);
        given.retain(|(other, _)| *other != name);
        given.push((name, value.to_owned()));
        let warnings = checked(&config, &given);
        assert_eq!(warnings.len(), 1, "{name}={value}: {warnings:#?}");
        let warning = warnings.concat();
        // Of a pair that needs both, the one that is there is named.
        assert!(warning.starts_with(name), "{warning}");
        assert!(warning.contains(follows), "{warning}");
        assert!(!warning.contains("hunter2"), "{warning}");
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_one_warning() {
    use std::os::unix::ffi::OsStrExt;
    let ca = Ca::new();
    let config = config(&ca);
    for name in ["RUST_LOG", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER"] {
        let odd = std::ffi::OsStr::from_bytes(b"info\xff");
        let output = command(&config, &[]).env(name, odd).arg("--check-config").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.starts_with(&format!("minimal: warning: {name} is not UTF-8: ")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_bad_filter_or_endpoint_of_the_file_is_a_warning_too() {
    let ca = Ca::new();
    let path = config(&ca);
    let text = std::fs::read_to_string(&path).unwrap();
    let more = "[telemetry]\nlog = 'orders=louder'\notlp_endpoint = 'ftp://collector'\n";
    let path = ca.write("telemetry.toml", &format!("{text}{more}")).display().to_string();
    let warnings = checked(&path, &[]);
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    for key in ["[telemetry] log ", "[telemetry] otlp_endpoint "] {
        assert!(warnings.iter().any(|warning| warning.starts_with(key)), "{warnings:#?}");
    }
}

#[tokio::test]
async fn a_collector_that_accepts_and_never_answers_delays_neither_service_nor_end() {
    let ca = Ca::new();
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let given = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("Http://{}", collector.local_addr().unwrap())),
        ("OTEL_TRACES_SAMPLER", "always_on".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1".to_owned()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0".to_owned()),
    ];
    let mut running = Running::start(&ca, &config(&ca), &given);
    // The boot's own span is on its way by now, and stays there.
    let accepted =
        tokio::task::spawn_blocking(move || collector.accept().map(|(stream, _)| (collector, stream)));
    let held = accepted.await.unwrap().unwrap();
    serves(&ca).await;
    let (status, took) = running.ends().await;
    assert_eq!(status.code(), Some(0), "{}", running.log());
    assert!(took < Duration::from_secs(8), "{took:?}: {}", running.log());
    drop(held);
}

/// A collector's port, and the address with its scheme in capitals.
async fn collector() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("HTTPS://LOCALHOST:{port}"))
}

#[tokio::test]
async fn https_in_capitals_is_tls_checked_against_the_ca_file_of_traces() {
    let ca = Ca::new();
    let config = config(&ca);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let trusted = ca.write("collector.pem", &certificate.pem()).display().to_string();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let mut given = vec![
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.path("bundle.pem").display().to_string()),
        ("OTEL_TRACES_SAMPLER", "always_on".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()),
    ];

    // With another CA the handshake fails, and the service serves all the same.
    let (listener, endpoint) = collector().await;
    given.push(("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
    let mut running = Running::start(&ca, &config, &given);
    let (tcp, _) = listener.accept().await.unwrap();
    assert!(acceptor.accept(tcp).await.is_err(), "an unknown CA was accepted");
    serves(&ca).await;
    assert_eq!(running.ends().await.0.code(), Some(0), "{}", running.log());

    // A port of its own: the process before may have left connections behind.
    let (listener, endpoint) = collector().await;
    given.push(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint));
    given.push(("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", trusted));
    let _running = Running::start(&ca, &config, &given);
    let (tcp, _) = listener.accept().await.unwrap();
    let mut stream = acceptor.accept(tcp).await.unwrap();
    let mut preface = [0; 14];
    stream.read_exact(&mut preface).await.unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0");
}
