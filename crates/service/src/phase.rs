//! Where a process is in its life, and whether it is ready: the one truth behind `/readyz` and `grpc.health.v1`.
//!
//! Invariant: being ready needs serving and a valid SVID, nothing else. A missing issuer, collector or upstream never
//! makes a process unready.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use avouch_identity::{Identity, SourceProblem};
use avouch_records::text;
use avouch_spiffe::clock::SharedClock;
use avouch_telemetry::Metrics;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where a process is in its life.
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

/// What readiness is judged by.
#[derive(Debug, Clone)]
struct State {
    phase: Phase,
    svid_not_after: Option<SystemTime>,
    /// What of the identity's files is not in use. Does not make a process unready: the last good content is.
    problems: Vec<SourceProblem>,
}

/// Handle to a process's life; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    state: Arc<watch::Sender<State>>,
    clock: SharedClock,
}

impl Life {
    pub(crate) fn new(clock: SharedClock) -> Self {
        let state = State { phase: Phase::Starting, svid_not_after: None, problems: Vec::new() };
        Self { state: Arc::new(watch::Sender::new(state)), clock }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = phase);
    }

    /// Where it is at this moment.
    pub(crate) fn phase(&self) -> Phase {
        self.state.borrow().phase
    }

    /// Notes the end of the SVID in use.
    pub(crate) fn svid(&self, not_after: SystemTime) {
        self.state.send_modify(|state| state.svid_not_after = Some(not_after));
    }

    /// Whether the process is ready at this moment.
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

    /// Notes what of the identity's files is not in use.
    pub(crate) fn problems(&self, problems: Vec<SourceProblem>) {
        self.state.send_modify(|state| state.problems = problems);
    }

    /// What `/readyz` says beside ready or not: a line for each file of the identity whose content is not in use. No
    /// identity is named, for anybody may ask: `avouch check` says the rest.
    pub(crate) fn remarks(&self) -> String {
        let line = |problem: &SourceProblem| {
            format!(
                "identity files: {} {}: {} since {}; the last good one is in use, if there was one; `avouch check` says what is wrong\n",
                problem.part,
                problem.path.display(),
                problem.reason.map_or("unusable", |reason| reason.as_str()),
                text::time(problem.since)
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
            // The end of an SVID is no event: look once a second.
            tokio::select! {
                changed = state.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use avouch_spiffe::clock::ManualClock;

    use super::*;

    #[test]
    fn only_a_serving_process_with_a_valid_svid_is_ready() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Arc::new(ManualClock::new(start));
        let life = Life::new(clock.clone());
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
        let life = Life::new(clock);
        life.svid(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(life.ready(), Err(NotReady::Starting));
    }
}
