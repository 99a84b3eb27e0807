//! Observers of connections, decisions and renewals: each event is counted, recorded and noted on the current span.
//!
//! Decisions are observed on the call's own path: an allowed, unsampled one costs a few counters, one check and a slot
//! in a queue.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use avouch_authz::Permit;
use avouch_authz::layer::{DecisionObserver, DeniedCall};
use avouch_identity::{
    ConnectionClosed, ConnectionEnd, ConnectionObserver, ConnectionRecord, IdentityEvent, IdentityObserver,
    RequestRefused, Verdict as ConnectionVerdict, ending_reason, reason,
};
use avouch_records::{BadEnd, Recorder};
use avouch_spiffe::Reason;
use avouch_telemetry::{CallEnd, CallToken, CallWatcher, Decision, Metrics, Verdict, record_decision};
use avouch_time::clock::SharedClock;
use http::Extensions;
use tonic::{Code, Status};

/// Counts into a process's metrics, and records. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    metrics: Metrics,
    recorder: Recorder,
    clock: SharedClock,
    news: Arc<Mutex<LatestEvents>>,
}

/// The latest events of the identity.
#[derive(Debug, Clone, Default)]
pub(crate) struct LatestEvents {
    pub(crate) renewal: Option<Renewal>,
    /// Whether the trust stream is up, where there is one.
    pub(crate) trust_stream: Option<bool>,
    /// When the issuer last said anything, or a stream to it was up.
    pub(crate) issuer_heard_at: Option<SystemTime>,
    /// When the trust state last changed.
    pub(crate) trust_since: Option<SystemTime>,
    /// The problem with the trust state, if there is one.
    pub(crate) trust_problem: Option<String>,
}

impl LatestEvents {
    /// The time since the issuer last said anything: none while the stream to it is up. `None`: there is no issuer, or it has
    /// never answered.
    pub(crate) fn issuer_silence(&self, now: SystemTime) -> Option<Duration> {
        match self.trust_stream {
            Some(true) => Some(Duration::ZERO),
            Some(false) | None => Some(now.duration_since(self.issuer_heard_at?).unwrap_or_default()),
        }
    }
}

/// An attempt to get another SVID.
#[derive(Debug, Clone)]
pub(crate) struct Renewal {
    pub(crate) how: &'static str,
    pub(crate) at: SystemTime,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
}

impl Observer {
    pub(crate) fn new(metrics: Metrics, recorder: Recorder, clock: SharedClock) -> Self {
        Self { metrics, recorder, clock, news: Arc::default() }
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The latest events of the identity.
    pub(crate) fn news(&self) -> LatestEvents {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn decided_against(&self, refusal: &DeniedCall<'_>, verdict: Verdict) {
        let reason = refusal.denial.reason().as_str();
        self.metrics.decision(verdict, reason);
        record_decision(|| Decision {
            verdict,
            id: Some(refusal.decision_id.to_string()),
            reason: Some(reason),
        });
    }

    fn learn(&self, event: &IdentityEvent) {
        let at = self.clock.now();
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            // A stored SVID was read from disk, not requested.
            IdentityEvent::Issued { how: "stored", .. } => {}
            IdentityEvent::Issued { how, .. } => news.renewal = Some(Renewal { how, at, error: None }),
            IdentityEvent::Failed { how, error } => {
                news.renewal = Some(Renewal { how, at, error: Some(error.clone()) });
            }
            IdentityEvent::Files { problems } => {
                match (problems.iter().find(|problem| problem.part == "certificate"), &mut news.renewal) {
                    (Some(problem), renewal) => {
                        *renewal = Some(Renewal { how: "files", at, error: Some(problem.detail.clone()) });
                    }
                    // A file that was restored to the content in use causes no new SVID, so the error is cleared here.
                    (None, Some(renewal)) if renewal.how == "files" => renewal.error = None,
                    _ => {}
                }
            }
            IdentityEvent::TrustStream { up } => {
                // One that breaks off was up until now.
                if *up || news.trust_stream == Some(true) {
                    news.issuer_heard_at = Some(at);
                }
                news.trust_stream = Some(*up);
            }
            IdentityEvent::TrustState { since, problem, .. } => {
                news.trust_since = Some(*since);
                news.trust_problem.clone_from(problem);
            }
            IdentityEvent::Clock { .. } => news.issuer_heard_at = Some(at),
            _ => {}
        }
    }
}

impl DecisionObserver for Observer {
    fn allowed(&self, permit: &Permit, extensions: &Extensions) {
        self.metrics.decision(Verdict::Allow, "");
        record_decision(|| Decision { verdict: Verdict::Allow, id: None, reason: None });
        self.recorder.allowed(permit, extensions);
    }

    fn denied(&self, refusal: &DeniedCall<'_>, extensions: &Extensions) {
        self.decided_against(refusal, Verdict::Deny);
        self.recorder.denied(refusal, extensions);
    }

    fn audited(&self, refusal: &DeniedCall<'_>, extensions: &Extensions) {
        self.decided_against(refusal, Verdict::Audit);
        self.recorder.audited(refusal, extensions);
    }
}

impl CallWatcher for Observer {
    fn begun(&self, extensions: &Extensions) -> Option<CallToken> {
        self.recorder.begun(extensions)
    }

    fn failed(&self, token: &CallToken, method: &'static str, end: CallEnd<'_>) {
        self.recorder.failed(&**token, method, bad_end(&end), end.response);
    }
}

/// Classifies a bad end: by the status that was sent, or else by the reason why the call was dropped.
fn bad_end(end: &CallEnd<'_>) -> BadEnd {
    let is_retiring = |reason| reason == Some(Reason::ConnectionRetiring);
    match end.said {
        // Only for UNAVAILABLE, the one code of a retiring connection: parsing a whole status is costly.
        Some(said) if end.code == Code::Unavailable => {
            let status = Status::from_header_map(said);
            match is_retiring(status.as_ref().and_then(reason)) {
                true => BadEnd::Retired,
                false => BadEnd::Failed,
            }
        }
        None if is_retiring(ending_reason()) => BadEnd::Retired,
        None if end.code == Code::Cancelled && ending_reason().is_none() => BadEnd::Left,
        _ => BadEnd::Failed,
    }
}

impl ConnectionObserver for Observer {
    fn connection(&self, record: &ConnectionRecord) {
        let result = match record.verdict {
            ConnectionVerdict::Accepted => "accepted",
            ConnectionVerdict::Refused => "refused",
        };
        self.metrics.handshake(result, record.reason.map_or("", |reason| reason.as_str()));
        self.recorder.connection(record);
    }

    fn ended(&self, end: &ConnectionEnd) {
        self.metrics.connection_ended(end.reason.as_str());
    }

    /// Counted and not recorded: it is no call, and anybody could fill the records of calls with it.
    fn request_refused(&self, refused: &RequestRefused<'_>) {
        self.metrics.request_refused(refused.status);
    }

    fn closed(&self, closed: &ConnectionClosed) {
        self.recorder.closed(closed);
    }
}

impl IdentityObserver for Observer {
    fn event(&self, event: &IdentityEvent) {
        match event {
            // A first SVID, or one that was stored at the start, is not a renewal.
            IdentityEvent::Issued { how: "renew" | "recover", .. } => self.metrics.svid_renewal(true),
            IdentityEvent::Failed { how: "renew" | "recover", .. } => self.metrics.svid_renewal(false),
            IdentityEvent::TrustStream { up } => self.metrics.trust_stream(*up),
            _ => {}
        }
        self.learn(event);
    }
}

#[cfg(test)]
mod tests {

    use avouch_authz::Methods;
    use avouch_records::RecordsConfig;
    use avouch_spiffe::Generation;
    use avouch_time::clock::{self, Clock as _, ManualClock};

    use super::*;

    fn observer() -> Observer {
        let recorder =
            Recorder::builder(RecordsConfig::default(), Methods::new(&[]).unwrap()).start().unwrap();
        Observer::new(Metrics::new("orders", "1.2.3").unwrap(), recorder, clock::system())
    }

    #[test]
    fn the_last_attempt_to_renew_is_remembered_and_success_clears_the_error() {
        let observer = observer();
        let issued = |how| IdentityEvent::Issued {
            how,
            spiffe_id: "spiffe://market.example/orders".parse().unwrap(),
            serial: "0a".to_owned(),
            not_after: SystemTime::UNIX_EPOCH,
        };
        observer.event(&issued("stored"));
        assert!(observer.news().renewal.is_none(), "nobody was asked for it");
        observer.event(&IdentityEvent::Failed { how: "renew", error: "away".to_owned() });
        assert_eq!(observer.news().renewal.unwrap().error.as_deref(), Some("away"));
        observer.event(&issued("renew"));
        let news = observer.news();
        assert_eq!(news.renewal.map(|renewal| (renewal.how, renewal.error)), Some(("renew", None)));
        assert_eq!(news.trust_stream, None);
    }

    #[test]
    fn the_issuer_is_silent_since_its_last_word_and_not_while_its_stream_is_up() {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        let recorder =
            Recorder::builder(RecordsConfig::default(), Methods::new(&[]).unwrap()).start().unwrap();
        let observer = Observer::new(Metrics::new("orders", "1.2.3").unwrap(), recorder, clock.shared());
        let silence = || observer.news().issuer_silence(clock.now());
        let minute = Duration::from_secs(60);
        assert_eq!(silence(), None);
        observer.event(&IdentityEvent::TrustStream { up: false });
        assert_eq!(silence(), None, "it has never answered");
        observer.event(&IdentityEvent::TrustStream { up: true });
        clock.advance(minute);
        assert_eq!(silence(), Some(Duration::ZERO));
        observer.event(&IdentityEvent::TrustStream { up: false });
        clock.advance(minute);
        assert_eq!(silence(), Some(minute));
        observer.event(&IdentityEvent::TrustStream { up: false });
        assert_eq!(silence(), Some(minute), "an attempt that fails is no word");
    }

    #[test]
    fn a_problem_of_the_trust_state_is_told_until_it_is_over() {
        let observer = observer();
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        for problem in [Some("not on disk".to_owned()), None] {
            observer.event(&IdentityEvent::TrustState {
                generation: Generation { epoch: 7, counter: 1 },
                revocations: 2,
                since,
                problem: problem.clone(),
            });
            let news = observer.news();
            assert_eq!((news.trust_since, news.trust_problem), (Some(since), problem));
        }
    }

    #[test]
    fn only_renewing_and_recovering_count_as_renewals() {
        let observer = observer();
        for how in ["enroll", "stored", "files", "renew", "recover"] {
            observer.event(&IdentityEvent::Issued {
                how,
                spiffe_id: "spiffe://market.example/orders".parse().unwrap(),
                serial: "0a".to_owned(),
                not_after: SystemTime::UNIX_EPOCH,
            });
        }
        for how in ["enroll", "files", "renew"] {
            observer.event(&IdentityEvent::Failed { how, error: "away".to_owned() });
        }
        observer.event(&IdentityEvent::TrustStream { up: false });
        let page = observer.metrics.render().unwrap();
        assert!(page.contains(r#"avouch_svid_renewals_total{result="success"} 2"#), "{page}");
        assert!(page.contains(r#"avouch_svid_renewals_total{result="failure"} 1"#), "{page}");
        assert!(page.contains("avouch_trust_stream_up 0"), "{page}");
    }
}
