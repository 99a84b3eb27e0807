//! The phase of a process's life and its readiness, from which `/readyz` and `grpc.health.v1` both answer.
//!
//! Invariant: being ready needs serving and a valid SVID, nothing else. A missing issuer, collector or upstream never
//! makes a process unready.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_identity::{Identity, SourceProblem};
use avouch_telemetry::Metrics;
use avouch_time::clock::SharedClock;
use avouch_time::timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The phase of a process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Serving,
    Draining,
}

/// Why a process is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotReady {
    Starting,
    NoSvid,
    SvidEnded,
    Draining,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::NoSvid => "there is no SVID yet",
            Self::SvidEnded => "the SVID has ended and no new one could be had",
            Self::Draining => "draining",
        })
    }
}

/// The state that readiness is derived from.
#[derive(Debug, Clone)]
struct State {
    phase: Phase,
    svid_not_after: Option<SystemTime>,
    /// The identity files whose content is not in use. They do not make a process unready: the last good content is in
    /// use.
    problems: Vec<SourceProblem>,
}

/// Handle to a process's life; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle {
    state: Arc<watch::Sender<State>>,
    clock: SharedClock,
}

impl Lifecycle {
    pub(crate) fn new(clock: SharedClock) -> Self {
        let state = State { phase: Phase::Starting, svid_not_after: None, problems: Vec::new() };
        Self { state: Arc::new(watch::Sender::new(state)), clock }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = phase);
    }

    /// The current phase.
    pub(crate) fn phase(&self) -> Phase {
        self.state.borrow().phase
    }

    /// Notes the end of the SVID in use.
    pub(crate) fn svid(&self, not_after: SystemTime) {
        self.state.send_modify(|state| state.svid_not_after = Some(not_after));
    }

    /// Whether the process is ready at this moment.
    ///
    /// An SVID counts up to its end, a second less than peers accept it, so that no client is sent here just before it
    /// expires.
    pub(crate) fn ready(&self) -> Result<(), NotReady> {
        let state = self.state.borrow().clone();
        match (state.phase, state.svid_not_after) {
            (Phase::Draining, _) => Err(NotReady::Draining),
            (_, None) => Err(NotReady::NoSvid),
            (_, Some(not_after)) if not_after <= self.clock.now() => Err(NotReady::SvidEnded),
            (Phase::Starting, _) => Err(NotReady::Starting),
            (Phase::Serving, _) => Ok(()),
        }
    }

    /// Notes the identity files whose content is not in use.
    pub(crate) fn problems(&self, problems: Vec<SourceProblem>) {
        self.state.send_modify(|state| state.problems = problems);
    }

    /// The further lines of `/readyz`: one for each file of the identity whose content is not in use. No identity is
    /// named, since anybody may ask; `avouch check` shows the rest.
    pub(crate) fn remarks(&self) -> String {
        let line = |problem: &SourceProblem| {
            format!(
                "identity files: {} {}: {} since {}; the last good one is in use, if there was one; `avouch check` says what is wrong\n",
                problem.part,
                problem.path.display(),
                problem.reason.map_or("unusable", |reason| reason.as_str()),
                timestamp::rfc3339_millis(problem.since)
            )
        };
        self.state.borrow().problems.iter().map(line).collect()
    }

    /// Follows the identity's SVIDs and problems, for readiness and metrics, until `stop`.
    pub(crate) async fn follow(self, identity: Identity, metrics: Metrics, stop: CancellationToken) {
        let mut snapshots = identity.subscribe();
        let mut problems = identity.source_problems();
        loop {
            self.problems(problems.borrow_and_update().clone());
            let snapshot = snapshots.borrow_and_update().clone();
            let (svid, bundles) = (&snapshot.svid, snapshot.trust.bundles());
            metrics.svid(svid.leaf().not_before(), svid.not_after());
            if let Some(bundle) = bundles.get(svid.spiffe_id().trust_domain()) {
                metrics.trust_bundle(bundle.sequence());
            }
            self.svid(svid.not_after());
            tokio::select! {
                // Any order: the loop reads whatever has changed at its top.
                () = stop.cancelled() => return,
                changed = snapshots.changed() => if changed.is_err() { return },
                changed = problems.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Tells `tell` whether the process is ready, at once and on every change.
    pub(crate) async fn on_change<F: Future<Output = ()>>(self, mut tell: impl FnMut(bool) -> F) {
        let mut state = self.state.subscribe();
        let mut told = None;
        loop {
            state.mark_unchanged();
            let ready = self.ready().is_ok();
            if told != Some(ready) {
                told = Some(ready);
                tell(ready).await;
            }
            // No event signals that an SVID has expired, so it is checked once a second. The order of the two does not
            // matter.
            tokio::select! {
                changed = state.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use avouch_time::clock::ManualClock;

    use super::*;

    #[test]
    fn only_a_serving_process_with_a_valid_svid_is_ready() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Arc::new(ManualClock::new(start));
        let life = Lifecycle::new(clock.clone());
        assert_eq!(life.ready(), Err(NotReady::NoSvid));
        life.enter(Phase::Serving);
        assert_eq!(life.ready(), Err(NotReady::NoSvid));
        life.svid(start + Duration::from_secs(20));
        assert_eq!(life.ready(), Ok(()));
        clock.set(start + Duration::from_secs(20));
        assert_eq!(life.ready(), Err(NotReady::SvidEnded), "an SVID is not valid at its very end");
        life.svid(start + Duration::from_secs(40));
        assert_eq!(life.ready(), Ok(()), "a late renewal heals it");
        life.enter(Phase::Draining);
        assert_eq!(life.ready(), Err(NotReady::Draining));
    }

    #[test]
    fn an_svid_alone_does_not_make_a_starting_process_ready() {
        let clock = Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH));
        let life = Lifecycle::new(clock);
        life.svid(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(life.ready(), Err(NotReady::Starting));
    }
}
