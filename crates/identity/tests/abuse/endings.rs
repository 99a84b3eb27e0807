//! How connections, streams and bodies end before their time: what the peer hears, and that nothing cut looks whole.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use avouch_attacker::floods::frames::{self, kind};
use avouch_attacker::forge::Credentials;
use avouch_attacker::tls::{self, Approach};
use avouch_identity::spiffe::Reason;
use avouch_identity::spiffe::contract::{MethodRule, Rule};
use avouch_identity::{
    Identity, IdentityFilter, Publisher, RequestBody, Server, ServerOptions, Snapshot, reason,
};
use avouch_testkit::wait::until;
use avouch_time::clock::ManualClock;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{Ca, Records, channel, domain, id, leaf_params, now, serve_with, year};
use crate::world::{ELSEWHERE, TIMEOUT, World, options};

/// `/endless` begins an answer of the request's content type and never ends it; `/test/Read` reads its request's message.
#[derive(Clone)]
struct Service;

impl tower_service::Service<http::Request<RequestBody>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<RequestBody>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() == "/test/Read" || request.uri().path() == "/test/Stream" {
                let status = match request.into_body().collect().await {
                    Ok(_) => tonic::Status::ok("read"),
                    Err(error) => tonic::Status::from_error(error),
                };
                return Ok(status.into_http());
            }
            let kind = request.headers().get("content-type").cloned();
            let begin = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(
                b"beginning",
            )))]);
            let body = futures_util::StreamExt::chain(begin, futures_util::stream::pending());
            let mut response = http::Response::new(Body::new(http_body_util::StreamBody::new(body)));
            if let Some(kind) = kind {
                response.headers_mut().insert("content-type", kind);
            }
            Ok(response)
        })
    }
}

struct Ingress {
    target: SocketAddr,
    credentials: Credentials,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    _publisher: Publisher,
}

impl Ingress {
    async fn new(change: impl FnOnce(&mut ServerOptions), configure: impl FnOnce(Server) -> Server) -> Self {
        let ca = Ca::new();
        let (publisher, identity) = ca.identity("/server");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let server = Server::new(identity, IdentityFilter::one_of([id("/caller")])).options(options(change));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        tokio::spawn(configure(server).serve(listener, Service, shutdown));
        let (chain, key) = ca.sign(&leaf_params("spiffe://market.example/caller", year()));
        Self { target, credentials: Credentials { chain, key }, stop: Some(stop), _publisher: publisher }
    }

    async fn connect(&self, alpn: &[u8]) -> tls::Connection {
        let tcp = tls::socket(self.target, Some(ELSEWHERE)).await.unwrap();
        let approach = Approach { credentials: Some(&self.credentials), alpn: &[alpn], from: None };
        tls::handshake(tcp, approach).await.unwrap()
    }
}

fn short(options: &mut ServerOptions) {
    options.retirement_grace = Duration::from_millis(200);
}

#[tokio::test]
async fn a_body_that_is_cut_over_http_1_1_has_no_last_chunk() {
    let mut ingress = Ingress::new(short, Server::allow_http1).await;
    let mut connection = ingress.connect(b"http/1.1").await;
    connection
        .write_all(b"GET /endless HTTP/1.1\r\nhost: server.invalid\r\ncontent-type: text/csv\r\n\r\n")
        .await
        .unwrap();
    let mut seen = vec![0; 1024];
    let mut length = 0;
    while !seen[..length].ends_with(b"beginning\r\n") {
        length += connection.read(&mut seen[length..]).await.unwrap();
    }
    drop(ingress.stop.take());
    let mut rest = Vec::new();
    let end = tokio::time::timeout(TIMEOUT, connection.read_to_end(&mut rest)).await.expect("an end in time");
    let _ = end;
    let head = String::from_utf8_lossy(&seen[..length]).into_owned();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert!(
        rest.is_empty(),
        "a chunked body ends with a chunk of length 0: {:?}",
        String::from_utf8_lossy(&rest)
    );
}

#[tokio::test]
async fn a_body_that_is_cut_over_http_2_is_reset_and_grpc_has_its_trailers() {
    let mut ingress = Ingress::new(short, Server::allow_http1).await;
    let (mut client, driver) = h2::client::handshake(ingress.connect(b"h2").await).await.unwrap();
    tokio::spawn(driver);
    let mut bodies = Vec::new();
    for kind in ["text/csv", "application/grpc"] {
        let request = http::Request::post("https://server.invalid/endless").header("content-type", kind);
        let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "beginning");
        bodies.push(body);
    }
    drop(ingress.stop.take());
    let cut = tokio::time::timeout(TIMEOUT, bodies[0].data()).await.expect("an end in time");
    let error = cut.expect("no clean end").unwrap_err();
    assert!(error.is_reset(), "{error:?}");
    assert!(tokio::time::timeout(TIMEOUT, bodies[1].data()).await.unwrap().is_none());
    let trailers = bodies[1].trailers().await.unwrap().expect("trailers");
    assert_eq!(trailers["grpc-status"], "14");
}

#[tokio::test]
async fn a_request_whose_message_never_completes_has_an_end_unless_its_client_streams() {
    const METHODS: [MethodRule; 2] = [
        MethodRule {
            path: "/test/Read",
            rule: Rule::AnyIdentity,
            client_streaming: false,
            server_streaming: false,
        },
        MethodRule {
            path: "/test/Stream",
            rule: Rule::AnyIdentity,
            client_streaming: true,
            server_streaming: false,
        },
    ];
    let timeout = Duration::from_millis(300);
    let ingress =
        Ingress::new(|options| options.request_timeout = timeout, |server| server.methods(&METHODS)).await;
    let (mut client, driver) = h2::client::handshake(ingress.connect(b"h2").await).await.unwrap();
    tokio::spawn(driver);
    let mut begin = |path: &str| {
        let request = http::Request::post(format!("https://server.invalid{path}"))
            .header("content-type", "application/grpc");
        client.send_request(request.body(()).unwrap(), false).unwrap()
    };
    let began = tokio::time::Instant::now();
    let (answer, mut trickle) = begin("/test/Read");
    let (streaming, mut stream) = begin("/test/Stream");
    // What trickles in does not begin the time anew.
    let trickling = tokio::spawn(async move {
        while trickle.send_data(Bytes::from_static(&[0]), false).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let answer = tokio::time::timeout(TIMEOUT, answer).await.expect("an end in time").unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4", "DEADLINE_EXCEEDED: {answer:?}");
    assert!(began.elapsed() >= timeout);
    trickling.abort();
    // The other one has waited as long, and is still taken.
    stream.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let answer = tokio::time::timeout(TIMEOUT, streaming).await.unwrap().unwrap();
    assert_eq!(answer.headers()["grpc-status"], "0");
}

#[tokio::test]
async fn who_is_refused_its_share_of_connections_hears_why() {
    let world = World::new(|options| options.max_connections = 2).await;
    let mut held = [world.peer().await, world.peer().await];
    until("both connections", || world.records().all().len() == 2).await;
    let mut refused = world.peer().await;
    let seen = refused.outcome(TIMEOUT).await;
    let (code, words) = seen.goaway.expect("a goodbye");
    assert_eq!(code, 11, "ENHANCE_YOUR_CALM");
    assert!(words.starts_with("HANDSHAKE_LIMIT: 2 of 2 connections are in use"), "{words}");
    assert!(words.contains("spiffe://market.example/stolen holds 2 of them, 2 from 127.0.0.2"), "{words}");
    assert_eq!(world.refused(ELSEWHERE), 1);
    // Somebody who holds nothing finds room: an idle connection of the top holder is asked to go.
    world.call_anew().await.expect("others find room");
    let end = world.records().wait_end(|end| end.reason == Reason::HandshakeLimit).await;
    assert_eq!(end.peer_id, Some(id("/stolen")));
    assert!(held[0].outcome(TIMEOUT).await.goaway.is_some());
}

struct Clocked {
    clock: ManualClock,
    running: crate::support::Running,
    client: Identity,
    _publishers: [Publisher; 2],
}

/// A server whose clock the test sets, and an SVID of each side with so much left.
async fn clocked(own: Duration, peer: Duration) -> Clocked {
    let ca = Ca::new();
    let clock = ManualClock::new(now());
    let snapshot = Snapshot::new(ca.svid(&id("/server"), own), ca.bundles());
    let (server_publisher, server) = Identity::publisher_with_clock(snapshot, clock.shared());
    let (client_publisher, client) = ca.identity_for("/client", peer);
    let server = Server::new(server, IdentityFilter::trust_domain(domain()));
    let running = serve_with(server).await;
    Clocked { clock, running, client, _publishers: [server_publisher, client_publisher] }
}

async fn watch(clocked: &Clocked) -> tonic::Streaming<tonic_health::pb::HealthCheckResponse> {
    let channel = channel(&clocked.client, &clocked.running);
    let mut health = HealthClient::new(channel);
    let mut stream = health.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    stream.message().await.unwrap().expect("the state now");
    stream
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_clock_that_jumps_past_the_peers_certificate_ends_its_streams_and_its_connection_for_that_reason() {
    let clocked = clocked(10 * HOUR, HOUR).await;
    let mut stream = watch(&clocked).await;
    clocked.clock.advance(2 * HOUR);
    let status = tokio::time::timeout(TIMEOUT, stream.message()).await.expect("an end in time").unwrap_err();
    assert_eq!(reason(&status), Some(Reason::CertExpired), "{status:?}");
    let end = clocked.running.records.wait_end(|end| end.peer_id == Some(id("/client"))).await;
    assert_eq!(end.reason, Reason::CertExpired);
    assert!(end.detail.contains("has jumped"), "{}", end.detail);
}

#[tokio::test]
async fn a_clock_that_jumps_past_the_servers_own_certificate_ends_streams_as_retired() {
    let clocked = clocked(HOUR, 10 * HOUR).await;
    let mut stream = watch(&clocked).await;
    clocked.clock.advance(2 * HOUR);
    let status = tokio::time::timeout(TIMEOUT, stream.message()).await.expect("an end in time").unwrap_err();
    assert_eq!(reason(&status), Some(Reason::ConnectionRetiring), "{status:?}");
}

#[tokio::test]
async fn a_clock_that_is_put_back_or_jumps_within_the_certificates_ends_nothing() {
    let clocked = clocked(10 * HOUR, 10 * HOUR).await;
    let mut stream = watch(&clocked).await;
    clocked.clock.set(now() - 2 * HOUR);
    assert!(tokio::time::timeout(Duration::from_millis(2_500), stream.message()).await.is_err());
    clocked.clock.set(now() + HOUR);
    assert!(tokio::time::timeout(Duration::from_millis(2_500), stream.message()).await.is_err());
    assert!(clocked.running.records.ends().is_empty());
}

#[tokio::test]
async fn a_call_is_refused_its_share_of_calls_with_the_reason_and_others_are_not() {
    let world = World::new(|options| options.max_streams = 4).await;
    let mut greedy = world.peer().await;
    greedy.calls("/grpc.health.v1.Health/Watch", &[], 8, 8, Duration::ZERO).await;
    // Each answer begins; four of them end at once with trailers of their own.
    until("the end of four streams", || greedy.seen().headers >= 8 + 4).await;
    let channel = channel(&world.client, &world.running);
    let mut honest = HealthClient::new(channel);
    let mut stream = honest.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    stream.message().await.unwrap().expect("others find room");
    let records: &Arc<Records> = world.records();
    assert!(records.ends().is_empty(), "{:?}", records.ends());
    let rest = frames::frame(kind::PING, 0, 0, &[0; 8]);
    assert!(greedy.send(&rest).await, "the connection goes on");
}
