//! What connections, decisions and renewals tell is counted here, and noted on the current span.
//!
//! Decisions are observed on the call's own path: an allowed, unsampled one costs one counter and one look.

use avouch_authz::MethodIndex;
use avouch_authz::layer::{DecisionObserver, Refusal};
use avouch_identity::{
    ConnectionObserver, ConnectionRecord, IdentityEvent, IdentityObserver, Verdict as ConnectionVerdict,
};
use avouch_telemetry::{Decision, Metrics, Verdict, record_decision};

/// Counts into a process's metrics.
#[derive(Debug, Clone)]
pub(crate) struct Observer(pub(crate) Metrics);

impl DecisionObserver for Observer {
    fn allowed(&self, _: MethodIndex) {
        self.0.decision(Verdict::Allow, "");
        record_decision(|| Decision { verdict: Verdict::Allow, id: None, reason: None });
    }

    fn denied(&self, refusal: &Refusal<'_>) {
        let reason = refusal.denial.reason().as_str();
        self.0.decision(Verdict::Deny, reason);
        record_decision(|| Decision {
            verdict: Verdict::Deny,
            id: Some(refusal.decision_id.to_string()),
            reason: Some(reason),
        });
    }
}

impl ConnectionObserver for Observer {
    fn connection(&self, record: &ConnectionRecord) {
        let result = match record.verdict {
            ConnectionVerdict::Accepted => "accepted",
            ConnectionVerdict::Refused => "refused",
        };
        self.0.handshake(result, record.reason.map_or("", |reason| reason.as_str()));
    }
}

impl IdentityObserver for Observer {
    fn event(&self, event: &IdentityEvent) {
        match event {
            // What was there at the start was not renewed.
            IdentityEvent::Issued { how: "stored", .. } => {}
            IdentityEvent::Issued { .. } => self.0.svid_renewal(true),
            IdentityEvent::Failed { .. } => self.0.svid_renewal(false),
            _ => {}
        }
    }
}
