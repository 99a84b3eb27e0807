//! One call on a channel: send, wait, and repeat only what was certainly not processed.
//!
//! The ordinary call is a small state machine without allocation; only when its connection goes away under it does
//! it continue as a boxed future that waits for the next one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use avouch_spiffe::Reason;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use super::Shared;
use super::body::{ResponseBody, broken};
use super::circumstances::Circumstances;
use super::link::is_unprocessed;
use super::outgoing::{Outgoing, Pump};
use crate::deadline;

/// A response, and what still sends the request it answers.
type Answer = (Response<RecvStream>, Option<Pump>);

/// Which connection a request went out on, and how that was opened.
struct Used {
    serial: u64,
    circumstances: Arc<Circumstances>,
}

type Continued = Pin<Box<dyn Future<Output = Result<Answer, Status>> + Send>>;

enum State {
    Start(Option<Request<Body>>),
    Sent { response: ResponseFuture, pump: Option<Pump>, outgoing: Option<Outgoing>, link: Used },
    Continued(Continued),
}

pin_project! {
    /// The response of one call.
    pub struct Call {
        shared: Arc<Shared>,
        state: State,
        deadline: Option<Instant>,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Call {
    pub(super) fn new(shared: Arc<Shared>, request: Request<Body>) -> Self {
        Self { shared, state: State::Start(Some(request)), deadline: None, timer: None }
    }
}

impl Future for Call {
    type Output = Result<Response<ResponseBody>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state {
                State::Start(request) => {
                    let Some(request) = request.take() else { return Poll::Pending };
                    let timeout = timeout(&request, this.shared);
                    *this.deadline = timeout.deadline;
                    this.timer.set(timeout.deadline.map(tokio::time::sleep_until));
                    let mut outgoing = Outgoing::new(request, &this.shared.authority, cx)?;
                    if let Some(value) = timeout.header {
                        outgoing.set_timeout(value);
                    }
                    start(this.shared, outgoing)
                }
                State::Sent { response, pump, outgoing, link } => match Pin::new(response).poll(cx) {
                    Poll::Ready(Ok(response)) => {
                        return Poll::Ready(Ok(with_deadline((response, pump.take()), *this.deadline)));
                    }
                    Poll::Ready(Err(error)) => {
                        let repeatable = outgoing.take().filter(|_| is_unprocessed(&error));
                        match repeatable.filter(Outgoing::is_repeatable) {
                            Some(outgoing) => State::Continued(Box::pin(resend(
                                this.shared.clone(),
                                outgoing,
                                Some(link.serial),
                            ))),
                            None => return Poll::Ready(Err(failed(&error, &link.circumstances))),
                        }
                    }
                    Poll::Pending => return expire(this.timer, cx),
                },
                State::Continued(continued) => match continued.as_mut().poll(cx) {
                    Poll::Ready(outcome) => {
                        let deadline = *this.deadline;
                        return Poll::Ready(outcome.map(|answer| with_deadline(answer, deadline)));
                    }
                    Poll::Pending => return expire(this.timer, cx),
                },
            };
            *this.state = next;
        }
    }
}

/// Sends at once on the open connection; without one, continues by waiting for it.
fn start(shared: &Arc<Shared>, mut outgoing: Outgoing) -> State {
    let link = shared.current();
    if let Some(link) = &link
        && let Ok((response, pump)) = link.send(&mut outgoing)
    {
        let link = Used { serial: link.serial, circumstances: link.circumstances.clone() };
        return State::Sent { response, pump, outgoing: Some(outgoing), link };
    }
    let dead = link.map(|link| link.serial);
    State::Continued(Box::pin(resend(shared.clone(), outgoing, dead)))
}

/// Sends on the next connection, and the next, until one has processed the request.
async fn resend(
    shared: Arc<Shared>,
    mut outgoing: Outgoing,
    mut dead: Option<u64>,
) -> Result<Answer, Status> {
    loop {
        let link = shared.next_link(dead).await?;
        dead = Some(link.serial);
        let Ok((response, pump)) = link.send(&mut outgoing) else { continue };
        let circumstances = link.circumstances.clone();
        drop(link);
        match response.await {
            Ok(response) => return Ok((response, pump)),
            Err(error) if is_unprocessed(&error) && outgoing.is_repeatable() => {}
            Err(error) => return Err(failed(&error, &circumstances)),
        }
    }
}

fn failed(error: &h2::Error, circumstances: &Arc<Circumstances>) -> Status {
    if let Some(failure) = circumstances.never_taken() {
        return failure.to_status();
    }
    if is_unprocessed(error) {
        let message = "the connection retired before the call was processed";
        return crate::status::status(Reason::ConnectionRetiring, message, []);
    }
    broken(error)
}

fn with_deadline((response, pump): Answer, deadline: Option<Instant>) -> Response<ResponseBody> {
    response.map(|stream| ResponseBody::new(stream, deadline, pump))
}

fn expire<T>(timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<Result<T, Status>> {
    let Some(timer) = timer.as_pin_mut() else { return Poll::Pending };
    ready!(timer.poll(cx));
    Poll::Ready(Err(deadline_exceeded()))
}

pub(super) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline passed before the call was answered")
}

/// When a call must end, and the header that says so if the request does not carry it yet.
struct Timeout {
    deadline: Option<Instant>,
    header: Option<http::HeaderValue>,
}

/// The nearest of: the request's own timeout, the deadline of the call being served, the channel's default.
fn timeout(request: &Request<Body>, shared: &Shared) -> Timeout {
    let own = deadline::from_headers(request.headers());
    let inherited = deadline::current();
    let now = Instant::now();
    let chosen = own.or(shared.default_timeout.as_ref().map(|(timeout, _)| *timeout));
    match (inherited.map(|at| at.saturating_duration_since(now)), chosen) {
        (Some(left), chosen) if chosen.is_none_or(|chosen| left < chosen) => {
            Timeout { deadline: inherited, header: Some(deadline::header_value(left)) }
        }
        (_, Some(chosen)) => {
            let header = match own {
                Some(_) => None,
                None => shared.default_timeout.as_ref().map(|(_, header)| header.clone()),
            };
            Timeout { deadline: Some(now + chosen), header }
        }
        (_, None) => Timeout { deadline: None, header: None },
    }
}
