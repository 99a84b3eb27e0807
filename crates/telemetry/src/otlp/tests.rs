//! Every setting of the exporter, as its variables may be wrong.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const CA: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const CLIENT: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
const HTTP: (&str, &str) = (ENDPOINT, "http://collector:4317");
const HTTPS: (&str, &str) = (ENDPOINT, "https://collector:4317");

fn read_with(config: &TelemetryConfig, vars: &[(&str, &str)]) -> (Option<Export>, Vec<String>) {
    let mut env =
        Environment::new(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
    let export = Export::read(&mut env, config);
    (export, env.into_warnings().iter().map(ToString::to_string).collect())
}

fn read(vars: &[(&str, &str)]) -> (Option<Export>, Vec<String>) {
    read_with(&TelemetryConfig::default(), vars)
}

/// The target of an export that nothing is wrong with.
fn target_of(vars: &[(&str, &str)]) -> String {
    let (export, warnings) = read(vars);
    assert_eq!(warnings, [""; 0]);
    export.unwrap().target.to_string()
}

/// The one warning about an export that is off.
fn fault_of(vars: &[(&str, &str)]) -> String {
    let (export, warnings) = read(vars);
    assert!(export.is_none(), "{vars:?}");
    assert_eq!(warnings.len(), 1, "{vars:?}: {warnings:?}");
    let warning = warnings.into_iter().next().unwrap();
    assert!(warning.ends_with(": no traces are exported"), "{warning}");
    warning
}

/// The one warning about an export that goes on.
fn warning_of(vars: &[(&str, &str)]) -> (Export, String) {
    let (export, warnings) = read(vars);
    assert_eq!(warnings.len(), 1, "{vars:?}: {warnings:?}");
    (export.unwrap(), warnings.into_iter().next().unwrap())
}

/// A CA, a client certificate of it, the certificate's key and another key, as files.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        files.write("ca.pem", &params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["client".into()]).unwrap().signed_by(&key, &issuer).unwrap();
        files.write("client.pem", &leaf.pem());
        files.write("client.key", &key.serialize_pem());
        files.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
        files
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }
}

#[test]
fn the_traces_endpoint_wins_over_the_general_one_and_over_the_file() {
    let config = TelemetryConfig { otlp_endpoint: Some("http://file:1".into()), ..Default::default() };
    let of = |vars: &[(&str, &str)]| read_with(&config, vars).0.unwrap().target.to_string();
    assert_eq!(of(&[]), "http://file:1");
    assert_eq!(of(&[(ENDPOINT, "http://general:1")]), "http://general:1");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:1");
    assert_eq!(of(&[(ENDPOINT, "http://general:1"), traces]), "http://traces:1");
    assert_eq!(of(&[(ENDPOINT, " "), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")]), "http://file:1");
}

#[test]
fn an_endpoint_of_the_file_that_is_no_address_is_a_warning_with_its_key() {
    let config = TelemetryConfig { otlp_endpoint: Some("ftp://c".into()), ..Default::default() };
    let (export, warnings) = read_with(&config, &[]);
    assert!(export.is_none());
    assert!(warnings.concat().starts_with("[telemetry] otlp_endpoint has the scheme `ftp`"), "{warnings:?}");
    let empty = TelemetryConfig { otlp_endpoint: Some(" ".into()), ..Default::default() };
    assert!(read_with(&empty, &[]).1.is_empty());
}

#[test]
fn an_endpoint_that_is_no_address_turns_the_export_off() {
    for bad in ["not a url", "ftp://collector", "http://", "http://:4317", "http://collector:0"] {
        assert!(fault_of(&[(ENDPOINT, bad)]).starts_with(ENDPOINT), "{bad}");
    }
    // A bad one of traces is not replaced by a good one of all signals: spans could go where they should not.
    let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    assert!(fault_of(&[HTTP, (traces, "ftp://collector")]).starts_with(traces));
}

#[test]
fn a_path_of_the_endpoint_is_a_warning_and_is_not_used() {
    let (export, warning) = warning_of(&[(ENDPOINT, "http://collector:4318/v1/traces?key=hunter2")]);
    assert_eq!(export.target.to_string(), "http://collector:4318");
    assert!(warning.contains("a path or a query") && !warning.contains("hunter2"), "{warning}");
}

#[test]
fn a_disabled_sdk_and_the_exporter_none_export_nothing_and_judge_nothing() {
    for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "None")] {
        let (export, warnings) = read(&[(ENDPOINT, "not a url"), off]);
        assert!(export.is_none() && warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn a_switch_or_an_exporter_that_is_not_known_is_a_warning_and_the_default() {
    for odd in [
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_TRACES_EXPORTER", "otlp,zipkin"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "gprc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
    ] {
        let (_, warning) = warning_of(&[HTTP, odd]);
        assert!(warning.starts_with(odd.0) && warning.contains(odd.1), "{warning}");
    }
    assert_eq!(target_of(&[HTTP, ("OTEL_TRACES_EXPORTER", "OTLP")]), HTTP.1);
}

#[test]
fn otlp_over_http_is_a_warning_and_no_export_unless_traces_say_grpc() {
    for http in ["http/protobuf", "HTTP/JSON"] {
        let general = ("OTEL_EXPORTER_OTLP_PROTOCOL", http);
        assert!(fault_of(&[HTTP, general]).starts_with("OTEL_EXPORTER_OTLP_PROTOCOL is OTLP over HTTP"));
        assert_eq!(target_of(&[HTTP, general, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "GRPC")]), HTTP.1);
    }
}

#[test]
fn a_timeout_is_in_milliseconds_and_zero_is_none() {
    let of = |vars: &[(&str, &str)]| read(&[&[HTTP], vars].concat()).0.unwrap().timeout;
    let general = ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500");
    assert_eq!(of(&[]), Duration::from_secs(10));
    assert_eq!(of(&[general]), Duration::from_millis(1500));
    assert_eq!(of(&[general, ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7")]), Duration::from_millis(7));
    assert_eq!(of(&[general, ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-7")]), Duration::from_millis(1500));
    assert!(of(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]) > Duration::from_secs(86_400));
}

#[test]
fn headers_are_those_of_traces_or_of_all_signals_and_malformed_ones_turn_the_export_off() {
    let general = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a");
    let (export, _) = read(&[HTTP, general]);
    assert_eq!(export.unwrap().metadata.get("authorization").unwrap(), "Bearer a");
    let traces = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
    let (export, _) = read(&[HTTP, general, (traces, "x=1")]);
    assert!(export.unwrap().metadata.get("authorization").is_none());
    let fault = fault_of(&[HTTP, general, (traces, "authorization=hunter2%")]);
    assert!(fault.starts_with(traces) && !fault.contains("hunter2"), "{fault}");
}

#[tokio::test]
async fn https_in_any_case_uses_the_ca_of_traces_or_of_all_signals() {
    let files = Files::new();
    let ca = files.path("ca.pem");
    for endpoint in
        ["https://collector:4317", "HTTPS://collector:4317", "Https://[::1]:4317", "collector:4317"]
    {
        for variable in [CA, "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"] {
            for named in [ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
                assert!(target_of(&[(named, endpoint), (variable, &ca)]).starts_with("https://"));
            }
        }
    }
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", ca.as_str());
    target_of(&[HTTPS, (CA, "/nowhere.pem"), traces]);
    target_of(&[HTTPS, (CA, &ca), (CLIENT, &files.path("client.pem")), (KEY, &files.path("client.key"))]);
    let config = TelemetryConfig { otlp_endpoint: Some("HTTPS://c".into()), ..Default::default() };
    assert!(read_with(&config, &[(CA, &ca)]).0.is_some());
}

#[test]
fn https_without_a_ca_is_a_warning_and_no_export() {
    for endpoint in ["https://collector:4317", "HTTPS://collector", "collector:4317"] {
        assert!(fault_of(&[(ENDPOINT, endpoint)]).starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE is not set"));
    }
    assert_eq!(
        target_of(&[(ENDPOINT, "collector:1"), ("OTEL_EXPORTER_OTLP_INSECURE", "True")]),
        "http://collector:1"
    );
}

#[test]
fn files_of_tls_beside_an_http_endpoint_are_one_warning_and_not_read() {
    let (_, warning) = warning_of(&[HTTP, (CA, "/nowhere.pem"), (KEY, "/dev/zero")]);
    assert!(warning.contains(CA) && warning.contains(KEY) && warning.contains("are not used"), "{warning}");
    let (_, warning) = warning_of(&[(ENDPOINT, "unix:///run/otel.sock"), (CA, "/nowhere.pem")]);
    assert!(warning.contains("is not used"), "{warning}");
}

#[test]
fn a_ca_file_that_cannot_be_used_turns_the_export_off() {
    let files = Files::new();
    let fifo = files.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let garbage = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let ca = std::fs::read_to_string(files.path("ca.pem")).unwrap();
    for (path, why) in [
        ("/nowhere/ca.pem", "cannot be read"),
        (fifo.as_str(), "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (&files.path("."), "not a regular file"),
        (&files.path("client.key"), "no certificate but a private key"),
        (&files.write("empty", ""), "the file is empty"),
        (&files.write("large", &" ".repeat((1 << 20) + 1)), "more than 1 MiB"),
        (&files.write("half", &format!("{ca}{garbage}")), "whose certificate 2 cannot be used"),
        (&files.write("cut", ca.get(..200).unwrap()), "it is cut"),
    ] {
        let fault = fault_of(&[HTTPS, (CA, path)]);
        assert!(fault.starts_with(CA) && fault.contains(why) && fault.contains(path), "{fault}");
    }
}

#[test]
fn a_client_certificate_or_key_alone_is_a_warning_and_no_export() {
    let files = Files::new();
    let ca = (CA, &*files.path("ca.pem"));
    assert!(fault_of(&[HTTPS, ca, (CLIENT, &files.path("client.pem"))]).contains(&format!("{KEY} is not")));
    assert!(fault_of(&[HTTPS, ca, (KEY, &files.path("client.key"))]).contains(&format!("{CLIENT} is not")));
}

#[test]
fn a_client_key_that_cannot_be_used_turns_the_export_off_and_is_not_repeated() {
    let files = Files::new();
    let key = std::fs::read_to_string(files.path("client.key")).unwrap();
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let one_line = key.replace('\n', "");
    let garbage = "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n";
    for (path, why) in [
        (files.path("other.key"), "is not the key of OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        (files.path("client.pem"), "no private key but a certificate"),
        (files.write("one-line", &one_line), "line breaks are missing"),
        (files.write("cut", key.get(..100).unwrap()), "it is cut"),
        (files.write("garbage", garbage), "whose key cannot be used"),
        (files.write("bare", &body), "without its BEGIN"),
        (files.path("absent"), "cannot be read"),
    ] {
        let client = (CLIENT, &*files.path("client.pem"));
        let fault = fault_of(&[HTTPS, (CA, &files.path("ca.pem")), client, (KEY, &path)]);
        assert!(fault.starts_with(KEY) && fault.contains(why), "{fault}");
        for part in body.as_bytes().chunks(12) {
            let numbers = format!("{part:?}");
            let numbers = numbers.trim_matches(['[', ']']);
            let text = std::str::from_utf8(part).unwrap();
            assert!(!fault.contains(text) && !fault.contains(numbers), "{fault}");
        }
    }
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_named_and_not_the_key() {
    let files = Files::new();
    let garbage = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let client = files.write("garbage", garbage);
    let key = (KEY, &*files.path("client.key"));
    let fault = fault_of(&[HTTPS, (CA, &files.path("ca.pem")), (CLIENT, &client), key]);
    assert!(fault.starts_with(CLIENT) && fault.contains("whose certificate cannot be used"), "{fault}");
}

#[test]
fn a_host_that_no_certificate_can_be_for_is_a_warning() {
    let files = Files::new();
    let fault = fault_of(&[(ENDPOINT, "https://a..b/"), (CA, &files.path("ca.pem"))]);
    assert!(fault.starts_with(ENDPOINT) && fault.contains("names a host"), "{fault}");
}

#[test]
fn every_broken_setting_is_told_once_even_when_another_turns_the_export_off() {
    let broken = [
        (ENDPOINT, "not a url"),
        (CA, "/nowhere/ca.pem"),
        (CLIENT, "/nowhere/client.pem"),
        (KEY, "/nowhere/client.key"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "perhaps"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_SDK_DISABLED", "no"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "x"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "x"),
    ];
    let (export, warnings) = read(&broken);
    assert!(export.is_none());
    for (name, _) in broken {
        let about = warnings.iter().filter(|warning| warning.starts_with(&format!("{name} "))).count();
        assert_eq!(about, 1, "{name}: {warnings:?}");
    }
    assert_eq!(warnings.len(), broken.len());
}
