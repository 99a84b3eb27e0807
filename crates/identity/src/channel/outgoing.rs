//! A request to be sent: a head that can be sent again, and a body that can be while it is whole.
//!
//! The body of a unary call is one frame, known at once; such a request can be repeated on another connection when
//! the first one certainly did not process it. A streamed body is handed over once.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use http_body::Body as _;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;

use crate::deadline::GRPC_TIMEOUT;

/// A request and what is left to send of it.
pub(crate) struct Outgoing {
    uri: Uri,
    headers: HeaderMap,
    body: Payload,
}

/// A streamed request body being sent; dropping it stops the sending, so that a cancelled call ends on both sides.
pub(crate) type Pump = AbortOnDropHandle<()>;

enum Payload {
    /// The whole body; may be sent any number of times.
    Whole(Bytes),
    /// The part of a stream that was read ahead, and its rest.
    Stream { first: Bytes, rest: Body },
    /// A stream that has been handed over.
    Gone,
}

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("avouch/", env!("CARGO_PKG_VERSION")));

impl Outgoing {
    /// Takes a request apart. Reads the body as far as it is ready, without waiting.
    pub(crate) fn new(
        request: Request<Body>,
        authority: &Authority,
        cx: &mut Context<'_>,
    ) -> Result<Self, Status> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = Some(authority.clone());
        uri.path_and_query = Some(path);
        let uri = Uri::from_parts(uri).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut headers = parts.headers;
        headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        Ok(Self { uri, headers, body: read_ahead(body, cx)? })
    }

    pub(crate) fn set_timeout(&mut self, value: HeaderValue) {
        self.headers.insert(&GRPC_TIMEOUT, value);
    }

    /// Whether the request can be sent once more.
    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(self.body, Payload::Gone)
    }

    pub(super) fn head(&self) -> Request<()> {
        let mut head = Request::new(());
        *head.method_mut() = Method::POST;
        *head.uri_mut() = self.uri.clone();
        *head.version_mut() = Version::HTTP_2;
        *head.headers_mut() = self.headers.clone();
        head
    }

    pub(super) fn is_bodiless(&self) -> bool {
        matches!(&self.body, Payload::Whole(bytes) if bytes.is_empty())
    }

    /// Sends a whole body at once; a streamed one is sent in the background as long as the returned handle lives.
    pub(super) fn send_body(&mut self, mut stream: SendStream<Bytes>) -> Option<Pump> {
        match std::mem::replace(&mut self.body, Payload::Gone) {
            Payload::Whole(bytes) => {
                if !bytes.is_empty() {
                    // An error here is the stream's end, which the response reports.
                    let _ = stream.send_data(bytes.clone(), true);
                }
                self.body = Payload::Whole(bytes);
                None
            }
            Payload::Stream { first, rest } => {
                Some(AbortOnDropHandle::new(tokio::spawn(pump(first, rest, stream))))
            }
            Payload::Gone => {
                stream.send_reset(h2::Reason::INTERNAL_ERROR);
                None
            }
        }
    }
}

fn read_ahead(mut body: Body, cx: &mut Context<'_>) -> Result<Payload, Status> {
    let first = match Pin::new(&mut body).poll_frame(cx) {
        Poll::Ready(None) => return Ok(Payload::Whole(Bytes::new())),
        Poll::Pending => return Ok(Payload::Stream { first: Bytes::new(), rest: body }),
        Poll::Ready(Some(frame)) => frame?.into_data().unwrap_or_default(),
    };
    if body.is_end_stream() {
        return Ok(Payload::Whole(first));
    }
    match Pin::new(&mut body).poll_frame(cx) {
        Poll::Ready(None) => Ok(Payload::Whole(first)),
        Poll::Pending => Ok(Payload::Stream { first, rest: body }),
        Poll::Ready(Some(frame)) => {
            let second = frame?.into_data().unwrap_or_default();
            let mut joined = bytes::BytesMut::with_capacity(first.len() + second.len());
            joined.extend_from_slice(&first);
            joined.extend_from_slice(&second);
            Ok(Payload::Stream { first: joined.freeze(), rest: body })
        }
    }
}

/// Sends a streamed body as the peer's flow control allows.
async fn pump(first: Bytes, mut rest: Body, mut stream: SendStream<Bytes>) {
    if !first.is_empty() && send_chunk(&mut stream, first).await.is_err() {
        return;
    }
    loop {
        // The order does not matter: a frame that is read after a reset has nowhere to go, and is dropped with the body.
        let frame = tokio::select! {
            frame = std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)) => frame,
            _reset = std::future::poll_fn(|cx| stream.poll_reset(cx)) => return,
        };
        match frame {
            None => {
                // The peer may have ended the stream already; then there is nothing to end.
                let _ = stream.send_data(Bytes::new(), true);
                return;
            }
            Some(Err(_status)) => return stream.send_reset(h2::Reason::CANCEL),
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data()
                    && send_chunk(&mut stream, chunk).await.is_err()
                {
                    return;
                }
            }
        }
    }
}

async fn send_chunk(stream: &mut SendStream<Bytes>, mut chunk: Bytes) -> Result<(), h2::Error> {
    while !chunk.is_empty() {
        stream.reserve_capacity(chunk.len());
        let capacity = match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(capacity) => capacity?,
            None => return Err(h2::Reason::STREAM_CLOSED.into()),
        };
        let ready = chunk.split_to(capacity.min(chunk.len()));
        stream.send_data(ready, false)?;
    }
    Ok(())
}
