//! The resources that a listener has a bounded amount of, and their counters.

use std::sync::atomic::{AtomicU64, Ordering};

/// A resource that a listener has a bounded amount of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// Open connections.
    Connections,
    /// Calls that have not been answered in full, without those that count as streams.
    Calls,
    /// Answers that have begun and wait for more to say.
    Streams,
    /// Bytes of requests that are not complete, and of answers that their peer has not read.
    Bytes,
}

impl Resource {
    /// The resources, in the order of their counters.
    pub const ALL: [Self; 4] = [Self::Connections, Self::Calls, Self::Streams, Self::Bytes];

    /// The resource's name in metrics and answers, as in `buffered_bytes`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "buffered_bytes",
            other => other.as_str(),
        }
    }

    /// The resource's name in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Calls => "calls",
            Self::Streams => "streams",
            Self::Bytes => "buffered bytes",
        }
    }
}

/// One number per resource.
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; Resource::ALL.len()]);

impl Counters {
    fn of(&self, resource: Resource) -> &AtomicU64 {
        let [connections, calls, streams, bytes] = &self.0;
        match resource {
            Resource::Connections => connections,
            Resource::Calls => calls,
            Resource::Streams => streams,
            Resource::Bytes => bytes,
        }
    }

    pub(super) fn get(&self, resource: Resource) -> u64 {
        self.of(resource).load(Ordering::Relaxed)
    }

    /// The amount after the addition.
    pub(super) fn add(&self, resource: Resource, amount: u64) -> u64 {
        self.of(resource).fetch_add(amount, Ordering::Relaxed).saturating_add(amount)
    }

    pub(super) fn sub(&self, resource: Resource, amount: u64) {
        self.of(resource).fetch_sub(amount, Ordering::Relaxed);
    }
}
