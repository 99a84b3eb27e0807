//! A server whose methods stream without end, and calls to them in the raw.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use avouch_identity::spiffe::contract::{Contract, MethodRule, Rule};
use avouch_identity::{
    Channel, ChannelBuilder, Identity, IdentityFilter, Publisher, ResponseBody, Server, ServerOptions,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::IntervalStream;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service as _;

use crate::support::{Ca, Records, domain, id};

/// Answers with a stream that does not end.
pub(crate) const DOWN: &str = "/test.v1.Test/Down";
/// Answers when its stream of requests has ended.
pub(crate) const UP: &str = "/test.v1.Test/Up";
/// Is never answered.
pub(crate) const UNARY: &str = "/test.v1.Test/Unary";
/// Answers with a stream that does not end, which no contract says.
pub(crate) const UNKNOWN: &str = "/test.v1.Test/Unknown";

pub(crate) const CONTRACT: Contract = Contract {
    name: "test",
    methods: &[method(DOWN, false, true), method(UP, true, false), method(UNARY, false, false)],
};

const fn method(path: &'static str, client_streaming: bool, server_streaming: bool) -> MethodRule {
    MethodRule { path, rule: Rule::AnyIdentity, client_streaming, server_streaming }
}

/// How often a stream brings something.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// An empty gRPC message.
const MESSAGE: Bytes = Bytes::from_static(&[0; 5]);

#[derive(Clone, Debug)]
struct Test;

fn ticks() -> impl tokio_stream::Stream<Item = Result<Frame<Bytes>, Status>> {
    IntervalStream::new(tokio::time::interval(TICK)).map(|_| Ok(Frame::data(MESSAGE)))
}

impl tower_service::Service<http::Request<avouch_identity::RequestBody>> for Test {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<avouch_identity::RequestBody>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                DOWN | UNKNOWN => grpc(Body::new(StreamBody::new(ticks()))),
                UP => match request.into_body().collect().await {
                    Ok(_) => Status::ok("all of it").into_http(),
                    Err(error) => Status::aborted(error.to_string()).into_http(),
                },
                _ => std::future::pending().await,
            })
        })
    }
}

fn grpc(body: Body) -> http::Response<Body> {
    let mut response = http::Response::new(body);
    let value = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, value);
    response
}

/// The server, and who calls it.
pub(crate) struct World {
    pub(crate) ca: Ca,
    pub(crate) url: String,
    pub(crate) records: Arc<Records>,
    pub(crate) server: Publisher,
    pub(crate) client: (Publisher, Identity),
}

impl World {
    /// Certificates that last for an hour.
    pub(crate) async fn new() -> Self {
        Self::lasting(Duration::from_secs(3600)).await
    }

    /// The client's certificate lasts so long.
    pub(crate) async fn lasting(ttl: Duration) -> Self {
        let ca = Ca::new();
        let server = ca.identity("/server");
        let client = ca.identity_for("/client", ttl);
        Self::with(ca, server, client).await
    }

    pub(crate) async fn with(
        ca: Ca,
        (publisher, identity): (Publisher, Identity),
        client: (Publisher, Identity),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let records = Arc::new(Records::default());
        let server = Server::new(identity, IdentityFilter::trust_domain(domain()))
            .options(ServerOptions::default())
            .observer(records.clone());
        tokio::spawn(server.serve(listener, Test, std::future::pending()));
        Self { ca, url, records, server: publisher, client }
    }

    /// A channel that knows the contract.
    pub(crate) fn channel(&self, configure: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> Channel {
        let builder = self.client.1.channel(&self.url, id("/server")).methods(CONTRACT.methods);
        configure(builder).build().expect("a channel")
    }

    pub(crate) fn renew_client(&self, ttl: Duration) {
        self.client.0.update(self.ca.svid(&id("/client"), ttl));
    }
}

/// A body that is read where it lies.
pub(crate) type Answer = Pin<Box<ResponseBody>>;

/// A call with one message.
pub(crate) async fn call(channel: &Channel, path: &str) -> Result<http::Response<Answer>, Status> {
    send(channel, path, Body::new(http_body_util::Full::new(MESSAGE))).await
}

/// A call with a message every [`TICK`], so many of them.
pub(crate) async fn call_with_stream(
    channel: &Channel,
    path: &str,
    messages: usize,
) -> Result<http::Response<Answer>, Status> {
    send(channel, path, Body::new(StreamBody::new(ticks().take(messages)))).await
}

async fn send(channel: &Channel, path: &str, body: Body) -> Result<http::Response<Answer>, Status> {
    let request = http::Request::post(path).header("content-type", "application/grpc").body(body);
    let response = channel.clone().call(request.expect("a request")).await?;
    Ok(response.map(Box::pin))
}

/// Reads a stream until it ends, or for so long.
pub(crate) async fn read(body: &mut Answer, time: Duration) -> Result<usize, Status> {
    let deadline = tokio::time::Instant::now() + time;
    let mut frames = 0;
    loop {
        match tokio::time::timeout_at(deadline, body.frame()).await {
            Err(_elapsed) => return Ok(frames),
            Ok(None) => panic!("the stream ended without a status"),
            Ok(Some(frame)) => {
                let frame = frame?;
                if let Some(trailers) = frame.trailers_ref() {
                    return Err(Status::from_header_map(trailers).expect("a status"));
                }
                frames += 1;
            }
        }
    }
}
