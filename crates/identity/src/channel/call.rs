//! One call on a channel: send, wait, and repeat only what was certainly not processed.
//!
//! The ordinary call is a small state machine without allocation; only when its connection goes away under it does
//! it continue as a boxed future that waits for the next one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use super::attempt::ConnectAttempt;
use super::body::ResponseBody;
use super::call_failure::{Awaited, Deadline, DeadlineOf, broken, retired};
use super::http2_connection::{Http2Connection, is_unprocessed};
use super::outgoing::{Outgoing, Pump};
use super::retirement::Retirement;
use super::shared::Shared;
use crate::deadline;

/// A response, what still sends the request it answers, and where it comes from.
type Answer = (Response<RecvStream>, Option<Pump>, Used);

/// The connection that a request went out on, and the attempt that opened it.
struct Used {
    serial: u64,
    attempt: Arc<ConnectAttempt>,
    /// The retirement of the connection, for a stream; unary calls have no use for it.
    retirement: Option<Retirement>,
}

impl Used {
    fn of(connection: &Http2Connection, streams: bool) -> Self {
        Self {
            serial: connection.serial,
            attempt: connection.attempt.clone(),
            retirement: streams.then(|| connection.retirement()),
        }
    }
}

type Continued = Pin<Box<dyn Future<Output = Result<Answer, Status>> + Send>>;

enum State {
    Start(Option<Request<Body>>),
    Sent { response: ResponseFuture, pump: Option<Pump>, outgoing: Option<Outgoing>, used: Option<Used> },
    Continued(Continued),
}

pin_project! {
    /// The response of one call.
    pub struct Call {
        shared: Arc<Shared>,
        state: State,
        deadline: Option<Deadline>,
        // By the contracts that the channel knows.
        streams: bool,
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
        let streams = shared.streaming.contains(request.uri().path());
        Self { shared, state: State::Start(Some(request)), deadline: None, streams, timer: None }
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
                    let timeout = timeout(&request, this.shared, *this.streams);
                    *this.deadline = timeout.deadline;
                    this.timer.set(timeout.deadline.map(|deadline| tokio::time::sleep_until(deadline.at)));
                    let mut outgoing = Outgoing::new(request, &this.shared.authority, cx)?;
                    if let Some(value) = timeout.header {
                        outgoing.set_timeout(value);
                    }
                    start(this.shared, outgoing, *this.streams, *this.deadline)
                }
                State::Sent { response, pump, outgoing, used } => match Pin::new(response).poll(cx) {
                    Poll::Ready(outcome) => {
                        // Ready once.
                        let Some(used) = used.take() else { return Poll::Pending };
                        let error = match outcome {
                            Ok(response) => {
                                let answer = (response, pump.take(), used);
                                return Poll::Ready(Ok(with_deadline(answer, *this.deadline)));
                            }
                            Err(error) => error,
                        };
                        again(this.shared, outgoing.take(), &error, &used, *this.streams, *this.deadline)?
                    }
                    Poll::Pending => {
                        ready!(expire(this.timer, cx));
                        // Without a deadline the timer never fires, and `used` is there until there is an answer.
                        let (Some(deadline), Some(used)) = (&*this.deadline, used) else {
                            return Poll::Pending;
                        };
                        let status = deadline.exceeded(Awaited::Answer, &used.attempt);
                        return Poll::Ready(Err(status));
                    }
                },
                // The continued future enforces the deadline itself: only it knows what the call is waiting for.
                State::Continued(continued) => {
                    let outcome = ready!(continued.as_mut().poll(cx));
                    let deadline = *this.deadline;
                    return Poll::Ready(outcome.map(|answer| with_deadline(answer, deadline)));
                }
            };
            *this.state = next;
        }
    }
}

/// Sends at once on the open connection; without one, continues by waiting for it.
fn start(shared: &Arc<Shared>, mut outgoing: Outgoing, streams: bool, deadline: Option<Deadline>) -> State {
    let connection = shared.current();
    if let Some(connection) = &connection
        && let Ok((response, pump)) = connection.send(&mut outgoing)
    {
        let used = Some(Used::of(connection, streams));
        return State::Sent { response, pump, outgoing: Some(outgoing), used };
    }
    let dead = connection.map(|connection| connection.serial);
    State::Continued(Box::pin(resend(shared.clone(), outgoing, dead, streams, deadline)))
}

/// Continues a request whose connection failed under it on the next one, if it was certainly not processed and is whole.
///
/// # Errors
/// The status of a request that is not repeated.
fn again(
    shared: &Arc<Shared>,
    outgoing: Option<Outgoing>,
    error: &h2::Error,
    used: &Used,
    streams: bool,
    deadline: Option<Deadline>,
) -> Result<State, Status> {
    match outgoing.filter(|outgoing| is_unprocessed(error) && outgoing.is_repeatable()) {
        Some(outgoing) => {
            let dead = Some(used.serial);
            Ok(State::Continued(Box::pin(resend(shared.clone(), outgoing, dead, streams, deadline))))
        }
        None => Err(failed(error, &used.attempt)),
    }
}

/// Sends on the next connection, and the next, until one has processed the request or the deadline has passed.
async fn resend(
    shared: Arc<Shared>,
    mut outgoing: Outgoing,
    mut dead: Option<u64>,
    streams: bool,
    deadline: Option<Deadline>,
) -> Result<Answer, Status> {
    loop {
        let late = |deadline: Deadline| deadline.exceeded_without_connection(&shared);
        let connection = within(deadline, shared.next_connection(dead), late).await??;
        dead = Some(connection.serial);
        let Ok((response, pump)) = connection.send(&mut outgoing) else { continue };
        let used = Used::of(&connection, streams);
        drop(connection);
        let late = |deadline: Deadline| deadline.exceeded(Awaited::Answer, &used.attempt);
        match within(deadline, response, late).await? {
            Ok(response) => return Ok((response, pump, used)),
            Err(error) if is_unprocessed(&error) && outgoing.is_repeatable() => {}
            Err(error) => return Err(failed(&error, &used.attempt)),
        }
    }
}

/// The output of `work` before the deadline, or the status of `late` after it.
async fn within<T>(
    deadline: Option<Deadline>,
    work: impl Future<Output = T>,
    late: impl FnOnce(Deadline) -> Status,
) -> Result<T, Status> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.at, work).await.map_err(|_elapsed| late(deadline)),
        None => Ok(work.await),
    }
}

fn failed(error: &h2::Error, attempt: &Arc<ConnectAttempt>) -> Status {
    match attempt.ended() {
        None if is_unprocessed(error) => retired(attempt),
        _ => broken(error, attempt),
    }
}

fn with_deadline((mut response, pump, used): Answer, deadline: Option<Deadline>) -> Response<ResponseBody> {
    if let Some(retirement) = used.retirement {
        response.extensions_mut().insert(retirement);
    }
    response.map(|stream| ResponseBody::new(stream, deadline, pump, used.attempt))
}

/// Ready when the deadline has passed; never without one.
fn expire(timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    match timer.as_pin_mut() {
        Some(timer) => timer.poll(cx),
        None => Poll::Pending,
    }
}

/// The deadline of a call, and the header that says so if the request does not carry it yet.
struct Timeout {
    deadline: Option<Deadline>,
    header: Option<http::HeaderValue>,
}

/// The nearest of: the request's own timeout, the deadline of the call being served, the channel's default. The default
/// is in place of an own one, and for unary calls only: a stream may be meant to last.
fn timeout(request: &Request<Body>, shared: &Shared, streams: bool) -> Timeout {
    let own = deadline::from_headers(request.headers());
    let inherited = deadline::current();
    let now = Instant::now();
    let default = shared.default_timeout.as_ref().filter(|_| own.is_none() && !streams);
    let chosen = own.or(default.map(|(timeout, _)| *timeout));
    match (inherited.map(|at| at.saturating_duration_since(now)), chosen) {
        (Some(left), chosen) if chosen.is_none_or(|chosen| left < chosen) => {
            let at = inherited.unwrap_or(now);
            let deadline = Deadline { at, length: left, of: DeadlineOf::ServedCall };
            Timeout { deadline: Some(deadline), header: Some(deadline::header_value(left)) }
        }
        (_, Some(chosen)) => {
            let of = if own.is_some() { DeadlineOf::Request } else { DeadlineOf::Channel };
            let deadline = Deadline { at: now + chosen, length: chosen, of };
            Timeout { deadline: Some(deadline), header: default.map(|(_, header)| header.clone()) }
        }
        (_, None) => Timeout { deadline: None, header: None },
    }
}
