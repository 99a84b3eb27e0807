//! The status of a call that ran out of time, or whose connection broke: which deadline, what was still waited for, the
//! server and its address, and the command that shows more.
//!
//! Texts are composed when a call has failed; a call that succeeds carries nothing for them that it does not need itself.

use std::sync::Arc;
use std::time::Duration;

use avouch_spiffe::Reason;
use tokio::time::Instant;
use tonic::Status;

use super::attempt::{ConnectAttempt, cut, seconds};
use super::shared::Shared;

/// The deadline of a call, and who set it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// The time that was left when the call began.
    pub(super) length: Duration,
    pub(super) of: DeadlineOf,
}

/// The source of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeadlineOf {
    /// The request's own, in `grpc-timeout`.
    Request,
    /// That of the call being served while this one is made.
    ServedCall,
    /// The channel's default.
    Channel,
    /// The timeout of a connection that serves one purpose.
    Exchange,
}

/// The part of an answer that a call was still waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The answer's beginning.
    Answer,
    /// The rest of the answer.
    RestOfAnswer,
}

impl Deadline {
    /// The deadline in words, as in `the channel's default_timeout of 10s passed`.
    fn passed(&self) -> String {
        let length = rounded(self.length);
        match self.of {
            DeadlineOf::Request => format!("the request's own deadline (grpc-timeout) of {length:?} passed"),
            DeadlineOf::ServedCall => format!(
                "the deadline inherited from the call being served passed, {length:?} after this call began"
            ),
            DeadlineOf::Channel => format!("the channel's default_timeout of {length:?} passed"),
            DeadlineOf::Exchange => format!("the timeout of {length:?} passed"),
        }
    }

    /// The status of a call that is late on an open connection.
    pub(super) fn exceeded(&self, awaited: Awaited, attempt: &ConnectAttempt) -> Status {
        let awaited = match awaited {
            Awaited::Answer => "the answer",
            Awaited::RestOfAnswer => "the rest of the answer",
        };
        let (passed, server) = (self.passed(), server(attempt));
        let (record, target) = (record(attempt), &attempt.ours.target);
        Status::deadline_exceeded(format!(
            "{passed} while waiting for {awaited} of {server}; {record}who serves and who does not: `avouch check`; step \
             by step: `avouch handshake {target}`"
        ))
    }

    /// The status of a call that has had no connection yet.
    pub(super) fn exceeded_without_connection(&self, shared: &Shared) -> Status {
        let (passed, target) = (self.passed(), shared.target());
        let only = shared.expect.only();
        let expect = only.map(|id| format!(" --expect {id}")).unwrap_or_default();
        let expected = cut(&shared.expect.to_string());
        let said = shared.bad_addresses.said().map(|said| format!("; so far: {said}")).unwrap_or_default();
        Status::deadline_exceeded(format!(
            "{passed} while waiting for a connection to {expected} at {target}{said}; step by step: `avouch handshake \
             {target}{expect}`; who serves and who does not: `avouch check`"
        ))
    }
}

/// The length in whole milliseconds, where there are any: an inherited deadline leaves nanoseconds.
fn rounded(length: Duration) -> Duration {
    const HALF: Duration = Duration::from_micros(500);
    match u64::try_from(length.saturating_add(HALF).as_millis()) {
        Ok(millis) if millis > 0 => Duration::from_millis(millis),
        _ => length,
    }
}

/// The server of a connection: the SPIFFE ID it has proven, the remote address and the name it was found by.
fn server(attempt: &ConnectAttempt) -> String {
    let target = &attempt.ours.target;
    let id = attempt.peer().map(|peer| cut(peer.spiffe_id().as_str()));
    let id = id.unwrap_or_else(|| "the server".to_owned());
    match attempt.addresses().1.map(|remote| remote.to_string()) {
        Some(remote) if remote != *target => format!("{id} at {remote} ({target})"),
        _ => format!("{id} at {target}"),
    }
}

/// The command that finds the server's record of the connection and of the calls over it.
fn record(attempt: &ConnectAttempt) -> String {
    let command = attempt.command(attempt.ours.clock.now());
    command.map(|command| format!("the server's record: `{command}`; ")).unwrap_or_default()
}

/// The status of a call whose stream broke after the peer may have begun with it (gRPC over HTTP/2, error codes).
///
/// Where this side ended the connection the error is only its echo, and the reason is ours.
pub(super) fn broken(error: &h2::Error, attempt: &Arc<ConnectAttempt>) -> Status {
    if let Some(ended) = attempt.ended() {
        return ended.to_status();
    }
    let (server, record) = (server(attempt), record(attempt));
    let target = &attempt.ours.target;
    let message =
        format!("the call to {server} broke off: {error}; {record}step by step: `avouch handshake {target}`");
    match error.reason() {
        Some(h2::Reason::CANCEL) => Status::cancelled(message),
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Status::resource_exhausted(message),
        Some(h2::Reason::INADEQUATE_SECURITY) => Status::permission_denied(message),
        Some(h2::Reason::PROTOCOL_ERROR | h2::Reason::INTERNAL_ERROR | h2::Reason::FLOW_CONTROL_ERROR)
            if error.is_reset() =>
        {
            Status::internal(message)
        }
        _ => with_connection(Reason::PeerConnectionClosed, message, attempt),
    }
}

/// The status of a call that its connection certainly did not process, and that cannot be sent again.
pub(super) fn retired(attempt: &ConnectAttempt) -> Status {
    let (server, record) = (server(attempt), record(attempt));
    let message = format!(
        "the connection to {server} retired before the call was processed, and its body was already handed over; \
         {record}the call can be made again"
    );
    with_connection(Reason::ConnectionRetiring, message, attempt)
}

fn with_connection(reason: Reason, message: String, attempt: &ConnectAttempt) -> Status {
    let now = attempt.ours.clock.now();
    let mut metadata = attempt.metadata();
    metadata.push(("unix_time", seconds(now)));
    metadata.extend(attempt.command(now).map(|command| ("explain", command)));
    crate::status::with_metadata(reason, message, metadata)
}

#[cfg(test)]
mod tests;
