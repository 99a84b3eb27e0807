//! What the listener and the authorization layer call, on the path of connections and calls: it puts an entry into a
//! bounded queue and returns.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use avouch_authz::Permit;
use avouch_authz::layer::{DecisionObserver, DeniedCall};
use avouch_identity::{ConnectionClosed, ConnectionObserver, ConnectionRecord, Verdict};
use avouch_limits::Network;
use http::Extensions;

use super::{Event, Recorder};
use crate::call_counters::{CallerCounters, Outcome};
use crate::entry::{Allowed, Attempt, Caller, Refused, Via, Why};

impl ConnectionObserver for Recorder {
    fn connection(&self, record: &ConnectionRecord) {
        let mut suppressed = 0;
        if record.verdict == Verdict::Refused {
            let source = (Network::from(record.peer_addr.ip()), record.reason);
            match self.0.attempts.check(source, Instant::now()) {
                Ok(before) => suppressed = before,
                Err(_) => return,
            }
        }
        let attempt = Attempt { record: record.clone(), suppressed, closed: None };
        self.push(Event::Attempt(Box::new(attempt)));
    }

    fn closed(&self, closed: &ConnectionClosed) {
        self.push(Event::Closed(closed.clone()));
    }
}

impl DecisionObserver for Recorder {
    fn allowed(&self, permit: &Permit, extensions: &Extensions) {
        let at = self.0.clock.now();
        if let Some(calls) =
            self.0.calls_of(extensions).and_then(|calls| calls.downcast_ref::<CallerCounters>())
        {
            calls.decided(Some(permit.method()), Outcome::Allowed, at);
        }
        let allowed = Allowed {
            at,
            caller: Caller::of(extensions),
            via: Via::of(extensions),
            trace: (self.0.trace)(),
            method: permit.method(),
            role: permit.role(),
        };
        // The oldest call makes room. It is lost only if a file or a watcher wants each call.
        if self.0.allowed.force_push(allowed).is_some() && self.0.wants_allowed.load(Relaxed) {
            self.0.dropped.fetch_add(1, Relaxed);
        }
    }

    fn denied(&self, call: &DeniedCall<'_>, extensions: &Extensions) {
        self.decided_against(call, extensions, false);
    }

    fn audited(&self, call: &DeniedCall<'_>, extensions: &Extensions) {
        self.decided_against(call, extensions, true);
    }
}

impl Recorder {
    fn decided_against(&self, call: &DeniedCall<'_>, extensions: &Extensions, audited: bool) {
        let denial = call.denial;
        let at = self.0.clock.now();
        if let Some(calls) =
            self.0.calls_of(extensions).and_then(|calls| calls.downcast_ref::<CallerCounters>())
        {
            let outcome = if audited { Outcome::Audited } else { Outcome::Refused };
            calls.decided(denial.method(), outcome, at);
        }
        let Some(suppressed) = call.suppressed else { return };
        self.push(Event::Refused(Box::new(Refused {
            id: Some(call.decision_id),
            at,
            audited,
            caller: Caller::of(extensions),
            via: Via::of(extensions),
            trace: (self.0.trace)(),
            why: Why::Denial(denial.clone()),
            suppressed,
        })));
    }
}
