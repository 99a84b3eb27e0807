//! The answers of the health port: three pages over HTTP/1.1 and h2c, and two RPCs over h2c. Everything else is refused
//! in the protocol of the request: 404 and 405 in HTTP, UNIMPLEMENTED in gRPC.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use avouch_identity::listen::Slot;
use avouch_limits::Network;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service as _;

use super::activity::UnderWay;
use super::body::{Answer, Pieces, Watch};
use super::context::Peer;
use super::limits::MESSAGE_TIME;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers one request. No request body is read except an RPC's message.
pub(super) async fn answer(
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let under_way = peer.activity.begin();
    Ok(match request.uri().path() {
        "/livez" | "/readyz" | "/metrics" => page(&peer, &request, under_way),
        CHECK | WATCH => rpc(&peer, request, under_way).await,
        _ if is_grpc(request.headers()) => Status::unimplemented("the health port has no such RPC")
            .into_http()
            .map(|body| Answer::new(body, under_way)),
        _ => not_found(&request, under_way),
    })
}

/// A page before it is sent.
struct Page {
    status: StatusCode,
    kind: HeaderValue,
    text: Bytes,
    place: Option<Slot<Network>>,
}

impl Page {
    fn plain(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self { status, kind: PLAIN, text: text.into(), place: None }
    }

    /// The response to `method`; to HEAD, without the text.
    fn send(self, method: &Method, under_way: UnderWay) -> Response<Answer> {
        let length = HeaderValue::from(self.text.len());
        let body = if method == Method::HEAD { Body::empty() } else { Body::new(Pieces(self.text)) };
        let mut response = Response::new(Answer::page(body, under_way, self.place));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, self.kind);
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
        response
    }
}

fn page<B>(peer: &Peer, request: &Request<B>, under_way: UnderWay) -> Response<Answer> {
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        return not_allowed("GET, HEAD", method, under_way);
    }
    let page = match request.uri().path() {
        "/livez" => Page::plain(StatusCode::OK, "alive\n"),
        "/readyz" => {
            let (lifecycle, remarks) = (&peer.shared.lifecycle, peer.shared.lifecycle.remarks());
            match lifecycle.ready() {
                Ok(()) => Page::plain(StatusCode::OK, format!("ready\n{remarks}")),
                Err(why) => {
                    Page::plain(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n{remarks}"))
                }
            }
        }
        _ => metrics(peer),
    };
    page.send(method, under_way)
}

fn metrics(peer: &Peer) -> Page {
    if peer.shared.page_rate.check(peer.network, Instant::now()).is_err() {
        return Page::plain(StatusCode::TOO_MANY_REQUESTS, "too many requests for the metrics\n");
    }
    // Beyond the limit the connection of the slowest reader is closed: its body may not even be polled any more.
    let place = peer.shared.pages.acquire_with(peer.network, peer.cut.clone());
    match peer.shared.metrics.render() {
        Ok(text) => Page { status: StatusCode::OK, kind: EXPOSITION, text: text.into(), place: Some(place) },
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be rendered");
            Page::plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered\n")
        }
    }
}

async fn rpc(peer: &Peer, request: Request<Incoming>, under_way: UnderWay) -> Response<Answer> {
    if request.method() != Method::POST {
        return not_allowed("POST", request.method(), under_way);
    }
    let refused = |status, text: &'static str| Page::plain(status, text);
    if !is_grpc(request.headers()) {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "an RPC has the content type application/grpc\n")
            .send(&Method::POST, under_way);
    }
    if request.version() != Version::HTTP_2 {
        return refused(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2\n")
            .send(&Method::POST, under_way);
    }
    let watch = match (request.uri().path() == WATCH).then(|| place(peer)).transpose() {
        Ok(watch) => watch,
        Err(status) => return status.into_http().map(|body| Answer::new(body, under_way)),
    };
    let call = peer.shared.rpcs.clone().call(request);
    match (tokio::time::timeout(MESSAGE_TIME, call).await, watch) {
        (Ok(Ok(response)), Some(watch)) => response.map(|body| Answer::watch(body, under_way, watch)),
        (Ok(Ok(response)), None) => response.map(|body| Answer::new(body, under_way)),
        (Err(_elapsed), _) => Status::deadline_exceeded("the request's message did not come in time")
            .into_http()
            .map(|body| Answer::new(body, under_way)),
    }
}

/// A slot for one more stream of `Watch`, of the connection's and of the port's.
fn place(peer: &Peer) -> Result<Watch, Status> {
    let Ok(of_connection) = peer.watches.clone().try_acquire_owned() else {
        return Err(Status::resource_exhausted("too many watches on this connection"));
    };
    let out = peer.shared.closing.child_token();
    let Some(place) = peer.shared.watches.acquire_if_fewer(peer.network, out.clone()) else {
        return Err(Status::resource_exhausted("too many watches of this network"));
    };
    Ok(Watch::new(out, peer.shared.closing.clone(), place, of_connection))
}

fn not_allowed(allow: &'static str, method: &Method, under_way: UnderWay) -> Response<Answer> {
    let text = format!("the method is not allowed here; allowed: {allow}\n");
    let mut response = Page::plain(StatusCode::METHOD_NOT_ALLOWED, text).send(method, under_way);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn not_found<B>(request: &Request<B>, under_way: UnderWay) -> Response<Answer> {
    let text = "there is no such page; there are /livez, /readyz and /metrics\n";
    let mut response = Page::plain(StatusCode::NOT_FOUND, text).send(request.method(), under_way);
    // A POST over HTTP/2 may be an RPC without its content type, so the response has a gRPC status (UNIMPLEMENTED) too.
    if request.method() == Method::POST && request.version() == Version::HTTP_2 {
        response.headers_mut().insert(Status::GRPC_STATUS, HeaderValue::from_static("12"));
    }
    response
}

/// `application/grpc`, with `+proto` and parameters or without.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (kind, _) = kind.split_once(['+', ';', ' ']).unwrap_or((kind, ""));
    kind.eq_ignore_ascii_case("application/grpc")
}
