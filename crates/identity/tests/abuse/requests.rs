//! Requests that break a rule of HTTP or of gRPC: answered before anything of the service sees them.

use std::sync::atomic::Ordering;

use avouch_attacker::floods::frames::{self, kind, literal};
use avouch_attacker::tls::{self, Approach, Connection};
use avouch_identity::spiffe::Reason;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{TIMEOUT, TestServer, connect};
use avouch_testkit::wait::until;

/// Sends one request over HTTP/2 and gives back the answer with its text.
async fn ask(server: &TestServer, request: Request<()>) -> (Response<()>, String) {
    let connection = connect(server.target, Some(&server.stolen)).await;
    let (mut client, driver) = h2::client::handshake(connection).await.expect("HTTP/2");
    let driver = tokio::spawn(driver);
    let (answer, mut body) = client.send_request(request, false).expect("a stream");
    // A whole gRPC message: nothing but the head is wrong. The server may have answered already.
    let _ = body.send_data(Bytes::from_static(&[0; 5]), true);
    let answer = tokio::time::timeout(TIMEOUT, answer).await.expect("an answer in time").expect("an answer");
    let (head, mut body) = answer.into_parts();
    let mut text = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        text.extend_from_slice(&data);
    }
    driver.abort();
    (Response::from_parts(head, ()), String::from_utf8(text).expect("text"))
}

fn call(method: &str, content_type: Option<&str>) -> Request<()> {
    let mut request = Request::builder().method(method).uri("https://server.invalid/test/Hang");
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    request.body(()).expect("a request")
}

#[tokio::test]
async fn a_request_that_is_no_grpc_call_is_answered_before_the_service_sees_it() {
    let server = TestServer::new(|_| {}).await;
    for (method, content_type, status) in [
        ("POST", Some("text/plain"), 415),
        ("POST", Some("application/x-www-form-urlencoded"), 415),
        ("POST", Some("multipart/form-data; boundary=x"), 415),
        ("POST", Some("application/grpc-web+proto"), 415),
        ("POST", Some("application/json"), 415),
        ("POST", None, 415),
        ("PUT", Some("application/grpc"), 405),
        ("GET", Some("application/grpc"), 405),
        ("OPTIONS", None, 405),
        ("DELETE", Some("text/plain"), 405),
    ] {
        let (answer, text) = ask(&server, call(method, content_type)).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {content_type:?}");
        assert_eq!(
            answer.headers().get("allow").map(|allow| allow.as_bytes()),
            (status == 405).then_some(&b"POST"[..])
        );
        assert!(answer.headers().get("grpc-status").is_none(), "no gRPC client asked: {answer:?}");
        assert!(answer.headers().get("access-control-allow-origin").is_none());
        assert!(text.contains("RPC"), "{text}");
    }
    assert_eq!(server.service.reached.load(Ordering::SeqCst), 0);
    let refused = server.records.requests_refused();
    assert_eq!(refused.iter().filter(|(status, _)| *status == 415).count(), 6);
    assert_eq!(refused.iter().filter(|(status, _)| *status == 405).count(), 4);
    assert!(refused.iter().all(|(_, peer)| peer.as_deref() == Some("spiffe://market.example/stolen")));
}

#[tokio::test]
async fn every_spelling_of_the_content_type_of_grpc_reaches_the_service() {
    let server = TestServer::new(|_| {}).await;
    let spellings = [
        "application/grpc",
        "Application/gRPC+Proto",
        "application/grpc;charset=utf-8",
        "application/grpc+json",
    ];
    for content_type in spellings {
        let mut request = call("POST", Some(content_type));
        *request.uri_mut() = http::Uri::from_static("https://server.invalid/test/Answer");
        let (answer, _) = ask(&server, request).await;
        assert_eq!(
            (answer.status(), &answer.headers()["grpc-status"]),
            (StatusCode::OK, &"0".parse().unwrap())
        );
    }
    assert_eq!(server.service.reached.load(Ordering::SeqCst), spellings.len());
    assert!(server.records.requests_refused().is_empty());
}

#[tokio::test]
async fn two_content_types_and_another_host_than_the_authority_do_not_reach_the_service() {
    let server = TestServer::new(|_| {}).await;
    let mut two = call("POST", Some("application/grpc"));
    two.headers_mut().append("content-type", "text/plain".parse().unwrap());
    assert_eq!(ask(&server, two).await.0.status(), 415);
    let mut other = call("POST", Some("application/grpc"));
    other.headers_mut().append("host", "elsewhere.invalid".parse().unwrap());
    assert_eq!(ask(&server, other).await.0.status(), 400);
    assert_eq!(server.service.reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_seventeenth_request_that_is_no_call_ends_a_connection_without_identity() {
    let server = TestServer::new(|_| {}).await;
    let mut peer = server.peer(false).await;
    let form = [
        literal(":method", "POST"),
        literal(":scheme", "https"),
        literal(":path", "/test/Answer"),
        literal(":authority", "server.invalid"),
        literal("content-type", "text/plain"),
    ]
    .concat();
    for sent in 1..=16 {
        let stream = peer.stream();
        peer.send(&frames::frame(kind::HEADERS, frames::END_HEADERS | frames::END_STREAM, stream, &form))
            .await;
        until("an answer", || peer.seen().headers == sent).await;
    }
    assert!(!peer.seen().ended && server.records.ends().is_empty());
    let stream = peer.stream();
    peer.send(&frames::frame(kind::HEADERS, frames::END_HEADERS | frames::END_STREAM, stream, &form)).await;
    assert!(peer.outcome(TIMEOUT).await.ended);
    let end = server.records.wait_end(|_| true).await;
    assert_eq!(end.reason, Reason::RateLimited);
    assert_eq!(server.service.reached.load(Ordering::SeqCst), 0);
}

async fn http1(server: &TestServer) -> Connection {
    let approach = Approach { alpn: &[b"http/1.1"], ..Approach::showing(Some(&server.stolen)) };
    let tcp = tls::socket(server.target, None).await.expect("a connection");
    tls::handshake(tcp, approach).await.expect("a handshake")
}

/// Sends octets over HTTP/1.1 and reads until the server closes; the status codes of the answers, in order.
async fn say(server: &TestServer, octets: &[u8]) -> Vec<u16> {
    let mut connection = http1(server).await;
    connection.write_all(octets).await.expect("written");
    let mut text = Vec::new();
    // An end without close_notify is an end too.
    let read = tokio::time::timeout(TIMEOUT, connection.read_to_end(&mut text)).await;
    assert!(read.is_ok(), "the server keeps open what follows {:?}", String::from_utf8_lossy(octets));
    let text = String::from_utf8_lossy(&text);
    text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok()).collect()
}

#[tokio::test]
async fn http_1_requests_without_exactly_one_good_host_get_400_and_are_the_last_of_their_connection() {
    let server = TestServer::ingress().await;
    let follow = "GET /test/Answer HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n";
    for head in [
        "GET /test/Answer HTTP/1.1\r\n",
        "GET /test/Answer HTTP/1.0\r\n",
        "GET /test/Answer HTTP/1.1\r\nHost:\r\n",
        "GET /test/Answer HTTP/1.1\r\nHost: \r\n",
        "GET /test/Answer HTTP/1.1\r\nHost: shop\r\nHost: shop\r\n",
        "GET /test/Answer HTTP/1.1\r\nHost: shop\r\nhOST: other\r\n",
        "GET /test/Answer HTTP/1.1\r\nHost: shop, other\r\n",
        "GET /test/Answer HTTP/1.1\r\nHost: me@shop\r\n",
        "GET /test/Answer HTTP/1.1\r\nHost: shop:443:443\r\n",
        "GET /test/Answer HTTP/1.1\r\nHost: sh\u{f6}p\r\n",
        "GET https://other/test/Answer HTTP/1.1\r\nHost: shop\r\n",
        "GET https://shop:8443/test/Answer HTTP/1.1\r\nHost: shop\r\n",
        "GET https://shop/test/Answer HTTP/1.1\r\n",
        // The parser's own answers.
        "GET /test/Answer HTTP/1.1\r\nHost : shop\r\n",
        "GET /test/Answer HTTP/1.1\r\nHost: shop\r\n other\r\n",
        "GET /test/Answer HTTP/1.1\r\n Host: shop\r\n",
    ] {
        assert_eq!(say(&server, format!("{head}\r\n{follow}").as_bytes()).await, [400], "{head:?}");
    }
    assert_eq!(server.service.reached.load(Ordering::SeqCst), 0);
    for head in [
        "GET /test/Answer HTTP/1.1\r\nHost: shop\r\n",
        "GET /test/Answer HTTP/1.1\r\nhost:Shop:8443\r\n",
        "GET https://SHOP:443/test/Answer HTTP/1.1\r\nHost: shop\r\n",
    ] {
        assert_eq!(say(&server, format!("{head}\r\n{follow}").as_bytes()).await, [200, 200], "{head:?}");
    }
    let old = b"GET /test/Answer HTTP/1.0\r\nHost: shop\r\n\r\n";
    assert_eq!(say(&server, old).await, [200]);
}

/// Two readers that disagree on where a request ends are how a request is smuggled: RFC 9112 §6.1, §6.3, §11.2.
#[tokio::test]
async fn a_request_whose_length_can_be_read_in_two_ways_is_refused_or_the_last_of_its_connection() {
    let server = TestServer::ingress().await;
    let smuggled = "GET /test/Answer HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n";
    let head = "POST /test/Answer HTTP/1.1\r\nHost: shop\r\n";
    let twice = format!("0\r\n\r\n{smuggled}");
    for fields in [
        // Transfer-Encoding wins, and nothing that follows is read.
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
    ] {
        let answers = say(&server, format!("{head}{fields}\r\n{twice}").as_bytes()).await;
        assert!(answers.len() == 1, "{fields:?} is answered {answers:?}");
        assert!(answers == [400] || fields.contains("Length: 6"), "{fields:?} is answered {answers:?}");
    }
    let old =
        format!("POST /test/Answer HTTP/1.0\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n{twice}");
    assert_eq!(say(&server, old.as_bytes()).await, [400]);
    // One way to read it, and what follows is a request of its own.
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{twice}");
    assert_eq!(say(&server, chunked.as_bytes()).await, [200, 200]);
}

#[tokio::test]
async fn an_ingress_leaves_methods_and_content_types_to_its_service_and_a_grpc_listener_speaks_no_http_1() {
    let server = TestServer::ingress().await;
    for (method, content_type) in [("GET", None), ("PUT", Some("text/plain"))] {
        let mut request = call(method, content_type);
        *request.uri_mut() = http::Uri::from_static("https://server.invalid/test/Answer");
        *request.version_mut() = Version::HTTP_2;
        assert_eq!(ask(&server, request).await.0.status(), 200);
    }
    let grpc = TestServer::new(|_| {}).await;
    let tcp = tls::socket(grpc.target, None).await.unwrap();
    let approach = Approach { alpn: &[b"http/1.1"], ..Approach::showing(Some(&grpc.stolen)) };
    let _ = tls::handshake(tcp, approach).await;
    until("the refusal", || !grpc.records.all().is_empty()).await;
    assert_eq!(grpc.records.all()[0].reason, Some(Reason::NoApplicationProtocol));
}
