//! The shell in process: real TLS on loopback, an identity from files.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use avouch_service::identity::{IdentityFilter, reason};
use avouch_service::{Boot, BootError, ServeError};
use avouch_spiffe::Reason;
use avouch_spiffe::contract::{Contract, MethodRule, Rule};
use support::{Ca, DOMAIN, appears, channel, client, get, until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const HOUR: Duration = Duration::from_secs(3600);
const CONTRACT: Contract = Contract {
    name: "test",
    methods: &[
        method("/market.ledger.v1.Ledger/Append", false),
        method("/market.ledger.v1.Ledger/Tail", true),
    ],
};

const fn method(path: &'static str, server_streaming: bool) -> MethodRule {
    MethodRule { path, rule: Rule::Roles(&["ledger-writer"]), client_streaming: false, server_streaming }
}

struct Running {
    grpc: SocketAddr,
    health: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

/// A configuration that logs nothing and finds its files in `ca`.
fn config(ca: &Ca, life: Duration, more: &str) -> String {
    let address_file = ca.path("address.json");
    format!(
        "{}[telemetry]\nlog_format = 'off'\n[service]\naddress_file = {address_file:?}\n{more}",
        ca.svid("orders", life)
    )
}

async fn boot(ca: &Ca, config: &str) -> Result<Boot, BootError> {
    Boot::new("orders", &[&CONTRACT], &ca.launch(config)).await
}

async fn serve(ca: &Ca, config: &str) -> Running {
    let app = boot(ca, config).await.unwrap().start().await.unwrap();
    let (health, stop) = (app.health_address(), app.stopping());
    let serving = tokio::spawn(app.serve(Routes::default()));
    let text = appears(&ca.path("address.json")).await;
    let addresses: serde_json::Value = serde_json::from_str(&text).unwrap();
    let grpc = addresses["grpc"].as_str().unwrap().parse().unwrap();
    assert_eq!(addresses["health"], health.to_string());
    assert_eq!(addresses["pid"], std::process::id());
    Running { grpc, health, stop, serving }
}

#[tokio::test]
async fn a_process_lives_from_its_boot_and_is_ready_only_once_it_serves() {
    let ca = Ca::new();
    let boot = boot(&ca, &config(&ca, HOUR, "")).await.unwrap();
    let app = boot.start().await.unwrap();
    let health = app.health_address();
    assert_eq!(get(health, "/livez").await, (200, "alive\n".into()));
    until("the SVID is seen", || async { get(health, "/readyz").await.1 == "not ready: starting\n" }).await;
    assert_eq!(get(health, "/readyz").await.0, 503);
    let stop = app.stopping();
    let serving = tokio::spawn(app.serve(Routes::default()));
    until("ready", || async { get(health, "/readyz").await.0 == 200 }).await;
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_process_that_waits_for_its_issuer_lives_is_not_ready_and_stops_when_asked() {
    let ca = Ca::new();
    let token = ca.write("token", "no token");
    let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "[telemetry]\nlog_format = 'off'\n[identity]\nsource = 'issuer'\naddress = '{}'\njoin_token_file = {token:?}\n",
        bound.local_addr().unwrap()
    );
    let boot = boot(&ca, &config).await.unwrap();
    let stop = boot.stopping();
    stop.cancel();
    assert!(matches!(boot.start().await, Err(BootError::Stopped)));
}

#[tokio::test]
async fn readiness_fails_when_the_svid_has_ended_and_liveness_does_not() {
    let ca = Ca::new();
    let running = serve(&ca, &config(&ca, Duration::from_secs(2), "")).await;
    assert_eq!(get(running.health, "/readyz").await.0, 200);
    until("the SVID ends", || async { get(running.health, "/readyz").await.0 == 503 }).await;
    assert!(get(running.health, "/readyz").await.1.contains("SVID has ended"));
    assert_eq!(get(running.health, "/livez").await.0, 200);
    running.stop.cancel();
    running.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_process_stays_ready_with_its_last_good_files_and_says_which_it_does_not_use() {
    let (ca, other) = (Ca::new(), Ca::new());
    let running = serve(&ca, &config(&ca, HOUR, "")).await;
    until("ready", || async { get(running.health, "/readyz").await == (200, "ready\n".into()) }).await;
    other.svid("orders", HOUR);
    let kept = std::fs::read_to_string(ca.path("orders.pem")).unwrap();
    let key = std::fs::read_to_string(ca.path("orders.key")).unwrap();
    ca.write_key("orders.key", &std::fs::read_to_string(other.path("orders.key")).unwrap());
    ca.write("orders.pem", &std::fs::read_to_string(other.path("orders.pem")).unwrap());
    let said = || async { get(running.health, "/readyz").await };
    until("it is said", || async { said().await.1.contains("CERT_UNTRUSTED") }).await;
    let (status, page) = said().await;
    assert_eq!(status, 200, "the SVID in use is good");
    let path = ca.path("orders.pem").display().to_string();
    assert!(page.starts_with("ready\nidentity files: certificate ") && page.contains(&path), "{page}");
    assert!(!page.contains("spiffe://"), "the plain port names no identity: {page}");
    HealthClient::new(channel(&client(&ca).await, running.grpc))
        .check(HealthCheckRequest::default())
        .await
        .expect("its peers still take it");
    ca.write_key("orders.key", &key);
    ca.write("orders.pem", &kept);
    until("it is said no more", || async { said().await.1 == "ready\n" }).await;
    running.stop.cancel();
    running.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_plain_port_speaks_http_1_and_grpc_health_over_h2c() {
    let ca = Ca::new();
    let running = serve(&ca, &config(&ca, HOUR, "")).await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", running.health)).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    until("serving over h2c", || {
        let mut client = client.clone();
        async move { client.check(HealthCheckRequest::default()).await.unwrap().into_inner().status == 1 }
    })
    .await;
    let unknown = client.check(HealthCheckRequest { service: "nobody".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let (status, page) = get(running.health, "/metrics").await;
    assert_eq!(status, 200);
    for series in
        ["avouch_svid_not_after_timestamp_seconds ", "process_start_time_seconds ", "avouch_build_info"]
    {
        assert!(page.contains(series), "{series} is missing in\n{page}");
    }
    assert!(!page.contains("spiffe://"), "no identity on the plain port");
    assert_eq!(get(running.health, "/").await.0, 404);
    running.stop.cancel();
    running.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_health_port_does_not_serve_what_needs_an_identity() {
    let ca = Ca::new();
    let running = serve(&ca, &config(&ca, HOUR, "")).await;
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let tcp = tokio::net::TcpStream::connect(running.health).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(tcp);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://health{path}"))
        .body(http_body_util::Empty::<hyper::body::Bytes>::new())
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "12");
    running.stop.cancel();
    running.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn health_over_mutual_tls_answers_an_identity_and_counts_the_call() {
    let ca = Ca::new();
    let running = serve(&ca, &config(&ca, HOUR, "")).await;
    let identity = client(&ca).await;
    let mut client = HealthClient::new(channel(&identity, running.grpc));
    client.check(HealthCheckRequest::default()).await.unwrap();
    let (_, page) = get(running.health, "/metrics").await;
    for line in [
        r#"avouch_decisions_total{reason="",verdict="allow"} 1"#,
        r#"avouch_handshakes_total{reason="",result="accepted"} 1"#,
        r#"rpc_server_call_duration_seconds_count{rpc_method="grpc.health.v1.Health/Check",rpc_response_status_code="OK"} 1"#,
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
    running.stop.cancel();
    running.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_second_listener_has_the_limits_of_the_first_and_its_handshakes_count() {
    let ca = Ca::new();
    let config = config(&ca, HOUR, "limits = { max_certificate_bytes = 256 }\n");
    let app = boot(&ca, &config).await.unwrap().start().await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, health, stop) = (listener.local_addr().unwrap(), app.health_address(), app.stopping());
    let server = app.server_for(IdentityFilter::trust_domain(DOMAIN.parse().unwrap()));
    let stopped = stop.clone();
    let serving = tokio::spawn(server.serve(listener, Routes::default().prepare(), async move {
        stopped.cancelled().await;
    }));
    let mut client = HealthClient::new(channel(&client(&ca).await, address));
    client.check(HealthCheckRequest::default()).await.unwrap_err();
    let (_, page) = get(health, "/metrics").await;
    let line = r#"avouch_handshakes_total{reason="CERT_TOO_LARGE",result="refused"} "#;
    assert!(page.contains(line), "{line} is missing in\n{page}");
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_role_that_is_missing_is_refused_with_its_reason_and_counted() {
    let ca = Ca::new();
    let running = serve(&ca, &config(&ca, HOUR, "")).await;
    let identity = client(&ca).await;
    let mut grpc = tonic::client::Grpc::new(channel(&identity, running.grpc));
    for path in
        ["/market.ledger.v1.Ledger/Append", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]
    {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
        let request = tonic::Request::new(HealthCheckRequest::default());
        let refused = grpc.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{path}");
        assert_eq!(reason(&refused), Some(Reason::RoleMissing), "{path}");
    }
    let (_, page) = get(running.health, "/metrics").await;
    assert!(page.contains(r#"avouch_decisions_total{reason="ROLE_MISSING",verdict="deny"} 2"#), "{page}");
    running.stop.cancel();
    running.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_hanging_stream_cannot_hold_up_the_drain() {
    let ca = Ca::new();
    let running = serve(&ca, &config(&ca, HOUR, "drain_timeout = '1s'\n")).await;
    let identity = client(&ca).await;
    let mut client = HealthClient::new(channel(&identity, running.grpc));
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap().expect("a first status");
    let begun = Instant::now();
    running.stop.cancel();
    let ended = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a cut stream must not look complete"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&ended), Some(Reason::ConnectionRetiring), "{ended:?}");
    running.serving.await.unwrap().unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn background_work_is_waited_for_and_then_left_behind() {
    let ca = Ca::new();
    let app = boot(&ca, &config(&ca, HOUR, "drain_timeout = '1s'\n")).await.unwrap().start().await.unwrap();
    let stop = app.stopping();
    let finished = tokio::spawn({
        let stop = stop.clone();
        async move { stop.cancelled().await }
    });
    let good = app.spawn({
        let stop = stop.clone();
        async move { stop.cancelled().await }
    });
    app.spawn(std::future::pending::<()>());
    let serving = tokio::spawn(app.serve(Routes::default()));
    let begun = Instant::now();
    stop.cancel();
    serving.await.unwrap().unwrap();
    assert!(good.is_finished() && finished.is_finished());
    assert!(begun.elapsed() >= Duration::from_millis(900) && begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_by_its_address() {
    let ca = Ca::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error =
        boot(&ca, &format!("[telemetry]\nlog_format = 'off'\n[health]\nlisten = '{address}'\n")).await;
    assert!(matches!(&error, Err(BootError::HealthPort { address: at, .. }) if *at == address), "{error:?}");
    let config = config(&ca, HOUR, &format!("listen = '{address}'\n"));
    let app = boot(&ca, &config).await.unwrap().start().await.unwrap();
    let error = app.serve(Routes::default()).await.unwrap_err();
    assert!(matches!(error, ServeError::Bind { address: at, .. } if at == address));
}

#[tokio::test]
async fn a_channel_exists_only_for_a_configured_upstream() {
    let ca = Ca::new();
    let more = format!("[upstreams.ledger]\nurl = 'https://127.0.0.1:1'\nid = 'spiffe://{DOMAIN}/ledger'\n");
    let app = boot(&ca, &config(&ca, HOUR, &more)).await.unwrap().start().await.unwrap();
    app.channel("ledger").unwrap();
    let Err(BootError::Config(error)) = app.channel("leger") else { panic!("there is none") };
    assert_eq!(error.fault.to_string(), "there is no section [upstreams.leger]");
}

#[tokio::test]
async fn the_deadline_of_an_upstream_is_for_what_does_not_stream_by_the_contracts_of_the_process() {
    let ca = Ca::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let more = format!(
        "[upstreams.ledger]\nurl = 'https://{}'\nid = 'spiffe://{DOMAIN}/ledger'\ntimeout = '200ms'\n",
        silent.local_addr().unwrap()
    );
    let app = boot(&ca, &config(&ca, HOUR, &more)).await.unwrap().start().await.unwrap();
    let call = async |path: &'static str| {
        let connect = |channel: avouch_service::identity::ChannelBuilder| {
            channel.connect_timeout(Duration::from_secs(1))
        };
        let mut grpc = tonic::client::Grpc::new(app.channel_with("ledger", connect).unwrap());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
        let request = tonic::Request::new(HealthCheckRequest::default());
        grpc.unary(request, path.parse().unwrap(), codec).await.unwrap_err()
    };
    let (append, tail) =
        tokio::join!(call("/market.ledger.v1.Ledger/Append"), call("/market.ledger.v1.Ledger/Tail"));
    assert_eq!(append.code(), tonic::Code::DeadlineExceeded, "{append:?}");
    // It waits for its connection, and would go on waiting for its answer.
    assert_eq!(reason(&tail), Some(Reason::HandshakeTimeout), "{tail:?}");
}

#[tokio::test]
async fn a_process_without_an_identity_section_does_not_start() {
    let ca = Ca::new();
    let error = boot(&ca, "[telemetry]\nlog_format = 'off'\n").await.unwrap().start().await.unwrap_err();
    assert!(matches!(error, BootError::Config(_)), "{error:?}");
}

#[tokio::test]
async fn a_policy_that_names_an_unknown_role_does_not_start() {
    let ca = Ca::new();
    let policy = ca.write("policy.toml", "[roles]\nledger-writr = ['spiffe://market.example/payments']\n");
    let config = format!("[telemetry]\nlog_format = 'off'\n[authz]\npolicy = {policy:?}\n");
    assert!(matches!(boot(&ca, &config).await, Err(BootError::Policy(_))));
}
