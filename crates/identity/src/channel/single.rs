//! One connection for one purpose: first contact and recovery, where there is no identity to rotate yet.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;

use super::body::{ResponseBody, broken};
use super::link::Link;
use super::outgoing::Outgoing;

/// A tonic service over exactly one connection, each call bounded by the same timeout.
#[derive(Clone)]
pub(crate) struct SingleUse {
    link: Arc<Link>,
    authority: Authority,
    timeout: Duration,
}

impl SingleUse {
    pub(crate) fn new(link: Link, authority: Authority, timeout: Duration) -> Self {
        Self { link: Arc::new(link), authority, timeout }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }
}

impl tower_service::Service<Request<Body>> for SingleUse {
    type Response = Response<ResponseBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { link, authority, timeout } = self.clone();
        Box::pin(async move {
            let mut request = Some(request);
            let outgoing = std::future::poll_fn(|cx| {
                Poll::Ready(request.take().map(|request| Outgoing::new(request, &authority, cx)))
            });
            let Some(outgoing) = outgoing.await else {
                return Err(Status::internal("a request was polled twice"));
            };
            let (response, pump) = link.send(&mut outgoing?).map_err(|error| failed(&error, &link))?;
            let deadline = tokio::time::Instant::now() + timeout;
            match tokio::time::timeout_at(deadline, response).await {
                Ok(Ok(response)) => {
                    Ok(response.map(|stream| ResponseBody::new(stream, Some(deadline), pump)))
                }
                Ok(Err(error)) => Err(failed(&error, &link)),
                Err(_elapsed) => Err(super::call::deadline_exceeded()),
            }
        })
    }
}

fn failed(error: &h2::Error, link: &Link) -> Status {
    link.never_taken().map_or_else(|| broken(error), |failure| failure.to_status())
}
