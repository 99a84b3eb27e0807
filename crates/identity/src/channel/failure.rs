//! Why a connection could not be opened, as its caller is told (ADR 4): one line with the reason, the particulars, our
//! own identity and clock, and the command that shows more.
//!
//! A name with several addresses fails at each in its own way. The failure with the most weight is reported whole, the
//! others beside it, by address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use avouch_spiffe::Reason;
use rustls::AlertDescription;

use super::attempt::{ConnectAttempt, seconds};
use super::progress::Step;

/// The most addresses that a message names beside the one it reports.
const MOST_NAMED: usize = 3;
/// The most characters of what is said of each of them.
const LONGEST_ELSEWHERE: usize = 200;

/// The failure to open a connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectFailure {
    pub(crate) reason: Reason,
    /// The step at which it failed.
    pub(super) step: Step,
    pub(super) detail: String,
    alert: Option<AlertDescription>,
    /// Whether this side ended the attempt.
    ours: bool,
    pub(super) at: SystemTime,
    pub(super) attempt: Arc<ConnectAttempt>,
    /// The failures at the other addresses, as far as a message has room.
    elsewhere: Vec<String>,
    /// The number of addresses beyond these.
    unnamed: usize,
    /// Whether another address failed in a way that may pass.
    hope_elsewhere: bool,
}

impl ConnectAttempt {
    /// A failure of this attempt, at `step`.
    pub(super) fn failure(
        self: &Arc<Self>,
        step: Step,
        reason: Reason,
        detail: impl Into<String>,
    ) -> ConnectFailure {
        ConnectFailure::new(self.clone(), step, reason, detail.into(), None)
    }

    /// The failure of an attempt that has run out of time.
    pub(super) fn late(self: &Arc<Self>, timeout: std::time::Duration) -> ConnectFailure {
        let (step, awaited) = self.progress.awaited();
        let detail = format!("no accepted connection within {timeout:?}: {awaited}");
        self.failure(step, Reason::HandshakeTimeout, detail)
    }
}

/// The weight of a failure: how much it says of the service, the most telling last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// The address does not answer.
    Silence,
    /// TCP was refused.
    Refused,
    /// TCP was open, and then nothing came of it.
    Broken,
    /// Another kind of server answers: without TLS or HTTP/2, or with a rejection before it showed its certificate.
    Foreign,
    /// The server has another identity than the expected one, or cannot prove its identity.
    Impostor,
    /// The verified server itself rejected us.
    Verdict,
}

impl ConnectFailure {
    pub(super) fn new(
        attempt: Arc<ConnectAttempt>,
        step: Step,
        reason: Reason,
        detail: String,
        alert: Option<AlertDescription>,
    ) -> Self {
        let at = attempt.ours.clock.now();
        let (elsewhere, unnamed, hope_elsewhere) = (Vec::new(), 0, false);
        Self { reason, step, detail, alert, ours: false, at, attempt, elsewhere, unnamed, hope_elsewhere }
    }

    /// Marks a failure that this side found: the server saw only that the client closed the connection.
    pub(super) fn found(mut self) -> Self {
        self.ours = true;
        self
    }

    /// The failure of a connection that closed as soon as it was open.
    pub(super) fn closed_at_once(attempt: &Arc<ConnectAttempt>) -> Self {
        let detail = "the server closed the connection as soon as it was open: it is stopping, or its certificate \
                      or ours is about to end";
        attempt.failure(Step::Http2, Reason::ConnectionRetiring, detail)
    }

    /// The one to report of the failures at all addresses, with the others beside it. `untried` is how many addresses
    /// were left out.
    pub(super) fn of_all(failures: Vec<Self>, untried: usize) -> Option<Self> {
        // Of equals the first: the address that the resolver prefers.
        let heaviest = failures.iter().rev().max_by_key(|failure| failure.weight())?.attempt.clone();
        let (mut reported, others): (Vec<_>, Vec<_>) =
            failures.into_iter().partition(|failure| Arc::ptr_eq(&failure.attempt, &heaviest));
        let mut reported = reported.pop()?;
        reported.hope_elsewhere = others.iter().any(|other| other.reason.retryable());
        reported.unnamed = others.len().saturating_sub(MOST_NAMED) + untried;
        let named = others.iter().take(MOST_NAMED);
        reported.elsewhere = named.map(|other| other.by_address(Some(reported.reason))).collect();
        Some(reported)
    }

    fn weight(&self) -> Weight {
        if self.is_verdict() {
            return Weight::Verdict;
        }
        if self.is_impostor() {
            return Weight::Impostor;
        }
        match (self.reason.retryable(), self.step) {
            (false, _) => Weight::Foreign,
            (true, Step::Resolve | Step::Connect) if self.reason == Reason::HandshakeTimeout => {
                Weight::Silence
            }
            (true, Step::Resolve | Step::Connect) => Weight::Refused,
            (true, _) => Weight::Broken,
        }
    }

    /// Whether the server, having proven who it is, rejected us: another address is unlikely to do better.
    pub(super) fn is_verdict(&self) -> bool {
        self.alert.is_some() && self.attempt.peer().is_some()
    }

    /// Whether another server than the expected one answers at the address, or one that cannot prove its identity.
    pub(super) fn is_impostor(&self) -> bool {
        self.ours && self.step == Step::Verify
    }

    /// The address and what happened there, without the reason if that is `known`.
    pub(super) fn by_address(&self, known: Option<Reason>) -> String {
        let mut text = String::new();
        if let Some(address) = self.attempt.tried {
            text.push_str(&format!("{address}: "));
        }
        if known != Some(self.reason) {
            text.push_str(&format!("{}: ", self.reason));
        }
        match self.detail.char_indices().nth(LONGEST_ELSEWHERE) {
            Some((end, _)) => text.extend([self.detail.get(..end).unwrap_or_default(), "…"]),
            None => text.push_str(&self.detail),
        }
        text
    }

    /// Whether trying again, unchanged, can help.
    pub(crate) fn is_retryable(&self) -> bool {
        self.reason.retryable() || (self.hope_elsewhere && !self.is_verdict())
    }

    /// The failure in words, at each address if there are several.
    pub(super) fn particulars(&self) -> String {
        if self.elsewhere.is_empty() && self.unnamed == 0 {
            return self.detail.clone();
        }
        let mut text = match self.attempt.tried {
            Some(address) => format!("{address}: {}", self.detail),
            None => self.detail.clone(),
        };
        for other in &self.elsewhere {
            text.push_str(&format!("; {other}"));
        }
        if self.unnamed > 0 {
            text.push_str(&format!("; and {} more addresses", self.unnamed));
        }
        text
    }

    /// The status a caller sees: the reason, and the correlator by which the server's record is found.
    pub(crate) fn to_status(&self) -> tonic::Status {
        let attempt = &self.attempt;
        let (reason, detail) = (self.reason, self.particulars());
        let mut metadata = attempt.metadata();
        metadata.push(("unix_time", seconds(self.at)));
        metadata.extend(self.alert.map(|alert| ("alert", format!("{alert:?}"))));
        metadata.extend(self.command().map(|command| ("explain", command)));
        let (commands, place) = (self.commands(), self.place());
        let message = format!("{reason}: {detail}; {commands} [{place}]");
        crate::status::with_metadata(self.reason, message, metadata)
    }

    /// The target, the local address, and our own identity and clock.
    fn place(&self) -> String {
        let target = &self.attempt.ours.target;
        let at = self.attempt.tried.map(|address: SocketAddr| address.to_string());
        let at = at.filter(|address| address != target).map(|address| format!(" at {address}"));
        let at = at.unwrap_or_default();
        match self.attempt.addresses().0 {
            Some(local) => {
                format!("connection to {target}{at} from {local}; {}", self.attempt.sentence())
            }
            None => format!("connection to {target}{at}"),
        }
    }

    /// The commands that show more, the most telling first.
    fn commands(&self) -> String {
        let ours = &self.attempt.ours;
        let target = &ours.target;
        match self.command() {
            Some(record) if self.ours => {
                let expect = ours.expect.as_ref().map(|id| format!(" --expect {id}")).unwrap_or_default();
                format!("what the server shows: `avouch handshake {target}{expect}`; its record: `{record}`")
            }
            Some(record) => format!("the server's record: `{record}`"),
            // The server has no record of an attempt that never arrived.
            None => format!(
                "step by step: `avouch handshake {target}`; who serves and who does not: `avouch check`"
            ),
        }
    }

    /// The command that finds the server's record: by our end of the connection and by when it failed.
    pub(super) fn command(&self) -> Option<String> {
        self.attempt.command(self.at)
    }
}
