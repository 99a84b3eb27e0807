//! A client on a single connection, for first contact and recovery, where there is no identity to rotate yet.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;

use super::body::ResponseBody;
use super::call_failure::{Awaited, Deadline, DeadlineOf, broken};
use super::http2_connection::Http2Connection;
use super::outgoing::Outgoing;

/// A tonic service over exactly one connection, each call bounded by the same timeout.
#[derive(Clone)]
pub(crate) struct SingleConnection {
    connection: Arc<Http2Connection>,
    authority: Authority,
    timeout: Duration,
}

impl SingleConnection {
    pub(crate) fn new(connection: Http2Connection, authority: Authority, timeout: Duration) -> Self {
        Self { connection: Arc::new(connection), authority, timeout }
    }

    pub(crate) fn connection(&self) -> &Http2Connection {
        &self.connection
    }
}

impl tower_service::Service<Request<Body>> for SingleConnection {
    type Response = Response<ResponseBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { connection, authority, timeout } = self.clone();
        Box::pin(async move {
            let mut request = Some(request);
            let outgoing = std::future::poll_fn(|cx| {
                Poll::Ready(request.take().map(|request| Outgoing::new(request, &authority, cx)))
            });
            let Some(outgoing) = outgoing.await else {
                return Err(Status::internal("a request was polled twice"));
            };
            let attempt = connection.attempt.clone();
            let (response, pump) =
                connection.send(&mut outgoing?).map_err(|error| broken(&error, &attempt))?;
            let at = tokio::time::Instant::now() + timeout;
            let deadline = Deadline { at, length: timeout, of: DeadlineOf::Exchange };
            match tokio::time::timeout_at(at, response).await {
                Ok(Ok(response)) => {
                    Ok(response.map(|stream| ResponseBody::new(stream, Some(deadline), pump, attempt)))
                }
                Ok(Err(error)) => Err(broken(&error, &attempt)),
                Err(_elapsed) => Err(deadline.exceeded(Awaited::Answer, &attempt)),
            }
        })
    }
}
