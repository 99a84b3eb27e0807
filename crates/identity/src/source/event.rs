//! The events of an identity, and who observes them.

use std::fmt;
use std::time::SystemTime;

use avouch_spiffe::{Generation, SpiffeId};

use super::problem::SourceProblem;
use crate::clock_skew::ClockDifference;

/// An event in the life of an identity.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IdentityEvent {
    /// An SVID came into use.
    Issued {
        /// The way it came: `enroll`, `renew`, `recover`, `stored` or `files`.
        how: &'static str,
        /// The SPIFFE ID of the SVID.
        spiffe_id: SpiffeId,
        /// The serial number of the SVID.
        serial: String,
        /// The end of the SVID's validity.
        not_after: SystemTime,
    },
    /// A fresh SVID could not be had; the current one stays in use.
    Failed {
        /// The attempt: `renew` or `recover`; `source` where the task itself died and begins again.
        how: &'static str,
        /// The error, with its causes.
        error: String,
    },
    /// The problems of an identity's files have changed.
    Files {
        /// The files that are not in use, and why; none: all of them are.
        problems: Vec<SourceProblem>,
    },
    /// The trust stream from the issuer came up or broke off; the trust state in use stays.
    TrustStream {
        /// Whether the stream is up.
        up: bool,
    },
    /// A trust state came into use, or there is news of it: the issuer's update is refused, the file cannot be written.
    TrustState {
        /// The generation in use.
        generation: Generation,
        /// The number of revocations in force.
        revocations: usize,
        /// The time at which the state last changed.
        since: SystemTime,
        /// The problem with the state, if there is one: what cannot be used, or cannot be kept.
        problem: Option<String>,
    },
    /// The issuer said what its clock shows: with an SVID, or on the trust stream.
    Clock {
        /// The difference between this process's clock and the issuer's.
        difference: ClockDifference,
    },
}

/// Receives what happens to an identity. Called on the source's task: must not block.
pub trait IdentityObserver: Send + Sync + fmt::Debug {
    /// Receives one event.
    fn event(&self, event: &IdentityEvent);
}
