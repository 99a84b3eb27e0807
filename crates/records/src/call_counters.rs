//! Counters of calls by caller and method: atomics that each connection keeps a reference to.
//!
//! The number of callers that are told apart is bounded; the rest are counted together as "others". A call costs a few
//! relaxed additions, and a lock only the first time on its connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use avouch_api::observe::v1::Edge;
use avouch_authz::{MethodIndex, Methods};
use avouch_identity::ConnectionInfo;
use avouch_spiffe::contract::MethodRule;
use avouch_spiffe::{PeerIdentity, SpiffeId};
use avouch_time::timestamp;

/// The most callers that are told apart. Each costs about 50 octets for each method that the process answers.
const CALLERS: usize = 1024;

/// The name under which all later callers are counted.
const OTHERS: &str = "others";
const ANONYMOUS: &str = "anonymous";

/// The counters of all callers.
#[derive(Debug)]
pub(crate) struct CallCounters {
    methods: Methods,
    since: SystemTime,
    callers: Mutex<HashMap<Option<SpiffeId>, Arc<CallerCounters>>>,
    others: Arc<CallerCounters>,
}

/// The counters of one caller.
#[derive(Debug)]
pub(crate) struct CallerCounters {
    name: Box<str>,
    by_method: Box<[Counts]>,
    latest: Mutex<Option<Latest>>,
}

#[derive(Debug, Default)]
struct Counts {
    allowed: AtomicU64,
    failed: AtomicU64,
    retired: AtomicU64,
    refused: AtomicU64,
    audited: AtomicU64,
    /// The time of the last call, in milliseconds since 1970.
    last: AtomicU64,
}

/// Facts about the caller's latest connection.
#[derive(Clone, Debug)]
struct Latest {
    tls_version: &'static str,
    group: String,
    not_after: Option<SystemTime>,
}

/// The decision on a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Allowed,
    Refused,
    Audited,
}

/// The end of a call that was let through, if it was not OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEnd {
    /// The call failed with a status.
    Failed,
    /// Its connection retired: a stream is continued on the next one.
    Retired,
    /// The caller cancelled the call. For a stream that is no failure: it may have no other end.
    Left,
}

impl BadEnd {
    /// Whether a call of this method counts as retired rather than failed.
    fn retires(self, method: Option<&MethodRule>) -> bool {
        let Some(method) = method else { return false };
        match self {
            Self::Failed => false,
            Self::Retired => method.server_streaming || method.client_streaming,
            Self::Left => method.server_streaming,
        }
    }
}

impl CallCounters {
    pub(crate) fn new(methods: Methods, since: SystemTime) -> Self {
        let others = Arc::new(CallerCounters::new(OTHERS, &methods));
        Self { methods, since, callers: Mutex::default(), others }
    }

    /// The counters of a connection's peer, for the connection to keep.
    pub(crate) fn of(&self, peer: Option<&PeerIdentity>, info: &ConnectionInfo) -> Arc<CallerCounters> {
        let id = peer.map(PeerIdentity::spiffe_id);
        let calls = {
            let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
            let is_room = callers.len() < CALLERS;
            match callers.get(&id.cloned()) {
                Some(calls) => Arc::clone(calls),
                None if is_room => {
                    let calls =
                        Arc::new(CallerCounters::new(id.map_or(ANONYMOUS, SpiffeId::as_str), &self.methods));
                    callers.insert(id.cloned(), Arc::clone(&calls));
                    calls
                }
                None => Arc::clone(&self.others),
            }
        };
        let not_after = peer.map(PeerIdentity::not_after);
        let latest = Latest { tls_version: info.tls_version, group: info.group.clone(), not_after };
        *calls.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(latest);
        calls
    }

    /// The counters of all calls, by caller and method.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut callers: Vec<_> = {
            let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
            callers.values().cloned().chain([Arc::clone(&self.others)]).collect()
        };
        callers.sort_by(|a, b| a.name.cmp(&b.name));
        let since = timestamp::rfc3339_millis(self.since);
        callers.iter().flat_map(|calls| calls.edges(&self.methods, &since)).collect()
    }

    /// The number of the method called `pkg.Service/Method`.
    pub(crate) fn method(&self, name: &str) -> Option<MethodIndex> {
        self.methods.index_of(&format!("/{name}"))
    }
}

impl CallerCounters {
    fn new(name: &str, methods: &Methods) -> Self {
        // One more for methods that no contract knows.
        let by_method = (0..=methods.len()).map(|_| Counts::default()).collect();
        Self { name: name.into(), by_method, latest: Mutex::default() }
    }

    fn counts(&self, method: Option<MethodIndex>) -> Option<&Counts> {
        match method {
            Some(method) => self.by_method.get(method.index()),
            None => self.by_method.last(),
        }
    }

    /// Counts a decision.
    pub(crate) fn decided(&self, method: Option<MethodIndex>, outcome: Outcome, at: SystemTime) {
        let Some(counts) = self.counts(method) else { return };
        let counter = match outcome {
            Outcome::Allowed => &counts.allowed,
            Outcome::Refused => &counts.refused,
            Outcome::Audited => {
                counts.audited.fetch_add(1, Relaxed);
                &counts.allowed
            }
        };
        counter.fetch_add(1, Relaxed);
        let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        counts.last.store(u64::try_from(at.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Counts the bad end of a call that was let through.
    pub(crate) fn ended(&self, methods: &Methods, method: Option<MethodIndex>, end: BadEnd) {
        let Some(counts) = self.counts(method) else { return };
        let retires = end.retires(method.and_then(|method| methods.rule(method)));
        let counter = if retires { &counts.retired } else { &counts.failed };
        counter.fetch_add(1, Relaxed);
    }

    fn edges(&self, methods: &Methods, since: &str) -> Vec<Edge> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let paths = methods.iter().map(|rule| rule.path).chain([""]);
        let called = paths.zip(&self.by_method).filter(|(_, counts)| counts.last.load(Relaxed) > 0);
        called
            .map(|(path, counts)| {
                let last = SystemTime::UNIX_EPOCH + Duration::from_millis(counts.last.load(Relaxed));
                let latest = latest.as_ref();
                let not_after = latest.and_then(|latest| latest.not_after);
                Edge {
                    peer_id: self.name.to_string(),
                    method: path.to_owned(),
                    allowed: counts.allowed.load(Relaxed),
                    failed: counts.failed.load(Relaxed),
                    retired: counts.retired.load(Relaxed),
                    refused: counts.refused.load(Relaxed),
                    audited: counts.audited.load(Relaxed),
                    since: since.to_owned(),
                    last_at: timestamp::rfc3339_millis(last),
                    tls_version: latest.map(|latest| latest.tls_version.to_owned()).unwrap_or_default(),
                    group: latest.map(|latest| latest.group.clone()).unwrap_or_default(),
                    peer_not_after: not_after.map(timestamp::rfc3339_millis).unwrap_or_default(),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use avouch_spiffe::contract::Rule;

    use super::*;

    fn method(client_streaming: bool, server_streaming: bool) -> MethodRule {
        MethodRule { path: "/test.v1.Test/Test", rule: Rule::AnyIdentity, client_streaming, server_streaming }
    }

    #[test]
    fn a_stream_that_retires_or_is_left_has_not_failed_and_any_other_call_has() {
        for (rule, retires) in [
            // Failed, retired, left.
            (method(false, true), [false, true, true]),
            (method(true, true), [false, true, true]),
            // An upload that the caller cancelled is incomplete, so it has failed.
            (method(true, false), [false, true, false]),
            (method(false, false), [false, false, false]),
        ] {
            let ends = [BadEnd::Failed, BadEnd::Retired, BadEnd::Left];
            assert_eq!(ends.map(|end| end.retires(Some(&rule))), retires, "{rule:?}");
            assert_eq!(ends.map(|end| end.retires(None)), [false; 3], "of no contract");
        }
    }
}
