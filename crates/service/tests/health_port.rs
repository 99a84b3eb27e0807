//! The plain health port as strangers meet it: what it answers, and what a flood costs the process and others.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use avouch_attacker::floods::sockets::{HalfOpen, drip};
use avouch_service::Boot;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::process::{HOUR, Process, config};
use support::{Ca, appears, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// The time that deployments give a probe is a second; the machine of a test may be busy.
const PROBE: Duration = Duration::from_secs(5);

/// By how much a process may grow when its health port is flooded: 64 connections at their most expensive, and what
/// the allocator makes of thousands that came and went.
const GROWTH_KIB: u64 = 16 * 1024;

/// Sockets of the port: its 64 connections, and some that are about to be closed.
const SOCKETS: usize = 80;

const PREFACE_AND_SETTINGS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A process in this one, which has its identity and does not serve yet.
async fn app(ca: &Ca) -> avouch_service::App {
    let config = format!("{}[telemetry]\nlog_format = 'off'\n", ca.svid("orders", HOUR));
    Boot::new("orders", &[], &ca.launch(&config)).await.unwrap().start().await.unwrap()
}

/// A running process of its own.
struct Service {
    ca: Ca,
    process: Process,
    grpc: SocketAddr,
    health: SocketAddr,
}

impl Service {
    async fn start(descriptors: Option<u32>) -> Self {
        let ca = Ca::new();
        let config = config(&ca, "");
        let process = match descriptors {
            Some(descriptors) => Process::start_with(&config, descriptors),
            None => Process::start(&config),
        };
        let text = appears(&ca.path("address.json")).await;
        let addresses: serde_json::Value = serde_json::from_str(&text).unwrap();
        let address = |name: &str| addresses[name].as_str().unwrap().parse().unwrap();
        Self { grpc: address("grpc"), health: address("health"), ca, process }
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.child.id())).unwrap().count()
    }
}

async fn connect(address: SocketAddr, from: IpAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(address).await
}

/// Says it over HTTP/1.1 and reads the answer to its end.
async fn say(address: SocketAddr, from: IpAddr, request: &str) -> std::io::Result<String> {
    let mut tcp = connect(address, from).await?;
    tcp.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn ask(address: SocketAddr, method: &str, path: &str, more: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: health\r\nConnection: close\r\n{more}\r\n");
    timeout(PROBE, say(address, ELSEWHERE, &request)).await.unwrap().unwrap()
}

/// A probe from elsewhere, as an orchestrator makes one: its answer, within its time.
async fn probe(address: SocketAddr, path: &str) -> String {
    let answer = ask(address, "GET", path, "").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer
}

/// An HTTP/2 connection without TLS; ends with the sender.
async fn h2c(
    address: SocketAddr,
    from: IpAddr,
    window: u32,
) -> (SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let tcp = connect(address, from).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(tcp)).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn over_h2c(address: SocketAddr, method: Method, path: &str, kind: Option<&str>) -> Response<Incoming> {
    let (mut sender, _) = h2c(address, ELSEWHERE, 65_535).await;
    let mut request = Request::builder().method(method).uri(format!("http://health{path}"));
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    let request = request.body(Full::from(&b"\0\0\0\0\0"[..])).unwrap();
    timeout(PROBE, sender.send_request(request)).await.unwrap().unwrap()
}

async fn grpc(address: SocketAddr, from: IpAddr) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().local_address(Some(from));
    HealthClient::new(endpoint.connect().await.unwrap())
}

#[tokio::test]
async fn unknown_pages_are_404_over_http_1_and_over_h2c() {
    let ca = Ca::new();
    let app = app(&ca).await;
    let address = app.health_address();
    for path in [
        "/",
        "/readyz/",
        "/livez/",
        "/metricz",
        "/healthz",
        "/ready",
        "//readyz",
        "/READYZ",
        "/livez/readyz",
        "/readyz%2F",
        "/metrics/..",
        "/grpc.health.v1.Health",
        "/grpc.health.v1.Health/",
        "*",
    ] {
        for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS"] {
            let answer = ask(address, method, path, "").await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{method} {path}: {answer}");
        }
        if path != "*" {
            assert_eq!(over_h2c(address, Method::GET, path, None).await.status(), 404, "{path}");
            let posted = over_h2c(address, Method::POST, path, Some("application/json")).await;
            assert_eq!(posted.status(), 404, "{path}");
        }
    }
    assert!(ask(address, "GET", "/readyz", "").await.starts_with("HTTP/1.1 503 "));
    assert!(ask(address, "GET", "/readyz?verbose", "").await.starts_with("HTTP/1.1 503 "));
    probe(address, "/livez").await;
}

#[tokio::test]
async fn a_wrong_method_on_a_page_is_405_and_says_which_are_right() {
    let ca = Ca::new();
    let app = app(&ca).await;
    let address = app.health_address();
    for path in ["/livez", "/readyz", "/metrics"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
            let answer = ask(address, method, path, "").await.to_ascii_lowercase();
            assert!(answer.starts_with("http/1.1 405 "), "{method} {path}: {answer}");
            assert!(answer.contains("\r\nallow: get, head\r\n"), "{answer}");
        }
        let answer = over_h2c(address, Method::POST, path, None).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["allow"]),
            (405, &"GET, HEAD".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_text() {
    let ca = Ca::new();
    let app = app(&ca).await;
    let address = app.health_address();
    for path in ["/livez", "/readyz", "/nowhere"] {
        let (get, head) = (ask(address, "GET", path, "").await, ask(address, "HEAD", path, "").await);
        let (get, text) = get.split_once("\r\n\r\n").unwrap();
        let (head, nothing) = head.split_once("\r\n\r\n").unwrap();
        assert!(!text.is_empty() && nothing.is_empty());
        let without_date = |head: &str| -> Vec<String> {
            head.lines().filter(|line| !line.starts_with("date:")).map(str::to_owned).collect()
        };
        assert_eq!(without_date(get), without_date(head), "{path}");
        let answer = over_h2c(address, Method::HEAD, path, None).await;
        assert_eq!(answer.headers()["content-length"], text.len().to_string());
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty(), "{path}");
    }
    assert!(ask(address, "HEAD", "/metrics", "").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_unknown_rpc_is_unimplemented_and_a_known_one_wants_a_grpc_request() {
    let ca = Ca::new();
    let app = app(&ca).await;
    let address = app.health_address();
    for path in
        ["/grpc.health.v1.Health/Nope", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/a"]
    {
        for kind in ["application/grpc", "application/grpc+proto", "Application/GRPC; a=b"] {
            let answer = over_h2c(address, Method::POST, path, Some(kind)).await;
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["grpc-status"]),
                (200, &"12".parse().unwrap())
            );
        }
        let answer = over_h2c(address, Method::POST, path, Some("application/grpc-web")).await;
        assert_eq!(answer.status(), 404, "another protocol");
    }
    let check = "/grpc.health.v1.Health/Check";
    assert_eq!(over_h2c(address, Method::POST, check, Some("text/plain")).await.status(), 415);
    assert_eq!(over_h2c(address, Method::POST, check, None).await.status(), 415);
    let answer = over_h2c(address, Method::PUT, check, Some("application/grpc")).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"POST".parse().unwrap()));
    assert!(
        ask(address, "POST", check, "Content-Type: application/grpc\r\n").await.starts_with("HTTP/1.1 505 ")
    );
    grpc(address, ELSEWHERE).await.check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_long_or_never_comes_ends_its_rpc() {
    let ca = Ca::new();
    let app = app(&ca).await;
    let mut client = grpc(app.health_address(), ELSEWHERE).await;
    let error = client.check(HealthCheckRequest { service: "a".repeat(2_000) }).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange);
    // An unfinished message on a stream that stays open.
    let unfinished = || {
        let octets = Bytes::from_static(b"\0\0\0\0\x02\x0a");
        tokio_stream::once(Ok::<_, std::convert::Infallible>(hyper::body::Frame::data(octets)))
            .chain(tokio_stream::pending())
    };
    let tcp = connect(app.health_address(), ELSEWHERE).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    for rpc in ["Check", "Watch"] {
        let request = Request::post(format!("http://health/grpc.health.v1.Health/{rpc}"))
            .header("content-type", "application/grpc")
            .body(http_body_util::StreamBody::new(unfinished()))
            .unwrap();
        let answer = timeout(Duration::from_secs(20), sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(answer.headers()["grpc-status"], "4", "{rpc}");
    }
}

/// Reads to the end of a connection on which `said` was said; how long that took.
async fn held(address: SocketAddr, said: &[u8]) -> Duration {
    let began = Instant::now();
    let mut tcp = connect(address, ELSEWHERE).await.unwrap();
    tcp.write_all(said).await.unwrap();
    let mut answer = Vec::new();
    let _reset_or_end = tcp.read_to_end(&mut answer).await;
    began.elapsed()
}

#[tokio::test]
async fn who_does_not_come_to_the_end_of_a_head_is_gone_after_some_seconds() {
    let ca = Ca::new();
    let app = app(&ca).await;
    let address = app.health_address();
    let silent = held(address, b"");
    let head = held(address, b"GET /livez HTTP/1.1\r\nHost: health\r\nX-Long: a");
    let preface = held(address, b"PRI * HTTP/2.0\r\n");
    let no_stream = held(address, PREFACE_AND_SETTINGS);
    let dripping = async {
        let began = Instant::now();
        let head = format!("GET /livez HTTP/1.1\r\nHost: health\r\nX-Long: {}", "a".repeat(1_000));
        let tcp = connect(address, ELSEWHERE).await.unwrap();
        drip(tcp, head.as_bytes(), Duration::from_millis(50)).await;
        began.elapsed()
    };
    let all = tokio::join!(silent, head, preface, no_stream, dripping);
    for took in [all.0, all.1, all.2, all.3, all.4] {
        assert!(took > Duration::from_secs(4) && took < Duration::from_secs(15), "{all:?}");
    }
}

#[tokio::test]
async fn who_does_not_take_an_answer_loses_the_connection() {
    let ca = Ca::new();
    let app = app(&ca).await;
    let (mut sender, connection) = h2c(app.health_address(), ATTACKER, 0).await;
    let request = Request::get("http://health/metrics").body(Full::default()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let began = Instant::now();
    let _ = timeout(Duration::from_secs(30), connection).await.expect("the connection ends");
    assert!(began.elapsed() > Duration::from_secs(5), "{:?}", began.elapsed());
    answer.into_body().collect().await.unwrap_err();
}

#[tokio::test]
async fn a_connection_has_few_watches_and_past_them_they_are_refused_and_given_back() {
    let ca = Ca::new();
    let app = app(&ca).await;
    let mut client = grpc(app.health_address(), ATTACKER).await;
    let mut watches = Vec::new();
    for _ in 0..4 {
        let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        watch.message().await.unwrap().unwrap();
        watches.push(watch);
    }
    let refused = client.watch(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    client.check(HealthCheckRequest::default()).await.unwrap();
    watches.pop();
    until("a place is given back", || {
        let mut client = client.clone();
        async move { client.watch(HealthCheckRequest::default()).await.is_ok() }
    })
    .await;
    let unknown = client.watch(HealthCheckRequest { service: "nobody".into() }).await.unwrap_err();
    assert!(matches!(unknown.code(), Code::NotFound | Code::ResourceExhausted), "{unknown}");
}

#[tokio::test]
async fn one_network_takes_all_watches_only_until_another_wants_one() {
    let ca = Ca::new();
    let app = app(&ca).await;
    let address = app.health_address();
    let mut watches = Vec::new();
    for _ in 0..16 {
        let mut client = grpc(address, ATTACKER).await;
        for _ in 0..4 {
            let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
            watch.message().await.unwrap().unwrap();
            watches.push((client.clone(), watch));
        }
    }
    let refused = grpc(address, ATTACKER).await.watch(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let mut watch =
        grpc(address, ELSEWHERE).await.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let made_room = watches[0].1.message().await.unwrap_err();
    assert_eq!(made_room.code(), Code::ResourceExhausted, "{made_room}");
}

#[tokio::test]
async fn at_the_end_watches_hear_that_it_drains_and_then_that_it_ends() {
    let ca = Ca::new();
    let app = app(&ca).await;
    let (address, stop) = (app.health_address(), app.stopping());
    let mut watch =
        grpc(address, ELSEWHERE).await.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
    let serving = tokio::spawn(app.serve(Routes::default()));
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    let mut kept = connect(address, ELSEWHERE).await.unwrap();
    kept.write_all(b"GET /livez HTTP/1.1\r\nHost: health\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    kept.read_exact(&mut answer).await.unwrap();
    let began = Instant::now();
    stop.cancel();
    serving.await.unwrap().unwrap();
    let end = loop {
        match watch.message().await {
            Ok(status) => assert_eq!(status.expect("a status, or an error").status, 2),
            Err(end) => break end,
        }
    };
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    let mut rest = Vec::new();
    kept.read_to_end(&mut rest).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    connect(address, ELSEWHERE).await.unwrap_err();
}

/// What a flood may have done to a process, and to those who are not of it.
async fn assert_unharmed(service: &Service, what: &str, before: (u64, usize)) {
    probe(service.health, "/readyz").await;
    assert!(probe(service.health, "/metrics").await.contains("process_start_time_seconds "));
    grpc(service.health, ELSEWHERE).await.check(HealthCheckRequest::default()).await.unwrap();
    let (resident, descriptors) = (service.resident_kib(), service.descriptors());
    assert!(resident < before.0 + GROWTH_KIB, "{what}: grew from {} to {resident} KiB", before.0);
    assert!(descriptors <= before.1 + SOCKETS, "{what}: {} descriptors became {descriptors}", before.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_cost_some_mib_and_few_descriptors_and_probes_from_elsewhere_are_answered() {
    let service = Service::start(None).await;
    let address = service.health;
    for _ in 0..20 {
        probe(address, "/metrics").await;
    }
    let before = (service.resident_kib(), service.descriptors());

    let pace = Duration::from_millis(1);
    let heads = HalfOpen::keep(address, Some(ATTACKER), 1_000, b"GET / HTTP/1.1\r\nX: ".to_vec(), pace);
    let prefaces = HalfOpen::keep(address, Some(ATTACKER), 1_000, PREFACE_AND_SETTINGS.to_vec(), pace);
    until("thousands of half-open requests", || async { heads.begun() + prefaces.begun() > 4_000 }).await;
    assert_unharmed(&service, "half-open requests", before).await;
    drop((heads, prefaces));

    let mut held = Vec::new();
    for _ in 0..300 {
        let (mut sender, connection) = h2c(address, ATTACKER, 0).await;
        for _ in 0..8 {
            let watch = Request::post("http://health/grpc.health.v1.Health/Watch")
                .header("content-type", "application/grpc")
                .body(Full::from(&b"\0\0\0\0\0"[..]))
                .unwrap();
            drop(timeout(Duration::from_millis(100), sender.ready()).await);
            held.push(tokio::spawn(sender.send_request(watch)));
        }
        held.push(tokio::spawn(async move {
            let _sender = sender;
            let _ = connection.await;
            std::future::pending().await
        }));
    }
    assert_unharmed(&service, "watches that are not read", before).await;

    for _ in 0..100 {
        let (mut sender, _) = h2c(address, ATTACKER, 1).await;
        for _ in 0..8 {
            let page = Request::get("http://health/metrics").body(Full::default()).unwrap();
            held.push(tokio::spawn(sender.send_request(page)));
        }
        held.push(tokio::spawn(async move {
            let _sender = sender;
            std::future::pending().await
        }));
    }
    assert_unharmed(&service, "pages that are not read", before).await;

    for page in ["/readyz", "/metrics", "/nowhere"] {
        let requests = format!("GET {page} HTTP/1.1\r\nHost: health\r\n\r\n").repeat(40_000);
        let mut pipelines = Vec::new();
        for _ in 0..16 {
            let mut tcp = connect(address, ATTACKER).await.unwrap();
            // It ends when both sides' buffers are full.
            let _ = timeout(Duration::from_millis(200), tcp.write_all(requests.as_bytes())).await;
            pipelines.push(tcp);
        }
        assert_unharmed(&service, "pipelined requests whose answers are not read", before).await;
    }
    for task in held {
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_all_other_descriptors_taken_by_half_open_requests_a_new_svid_is_read_and_probes_are_answered() {
    const LIMIT: usize = 192;
    /// A quarter is the reserve.
    const RESERVE: usize = LIMIT / 4;
    let service = Service::start(Some(LIMIT as u32)).await;
    let not_after = async || {
        let page = probe(service.health, "/metrics").await;
        let line = page.lines().find(|line| line.starts_with("avouch_svid_not_after_timestamp_seconds "));
        line.unwrap().to_owned()
    };
    let before = not_after().await;

    let pace = Duration::from_micros(500);
    let flood = |target| HalfOpen::keep(target, Some(ATTACKER), 300, Vec::new(), pace);
    let _floods = (flood(service.health), flood(service.grpc));
    service.process.says("out of descriptors").await;
    let taken = service.descriptors();
    assert!(taken <= LIMIT - RESERVE + 2, "{taken} of {LIMIT} descriptors are taken");

    service.ca.svid("minimal", 2 * HOUR);
    until("the new SVID is in use", || async { not_after().await != before }).await;
    probe(service.health, "/readyz").await;
    let taken = service.descriptors();
    assert!(taken <= LIMIT - RESERVE + 8, "{taken} of {LIMIT} descriptors are taken");
}
