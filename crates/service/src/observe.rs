//! What connections, decisions and renewals tell is counted here, and noted on the current span.
//!
//! Decisions are observed on the call's own path: an allowed, unsampled one costs one counter and one look.

use avouch_authz::MethodIndex;
use avouch_authz::layer::{DecisionObserver, Refusal};
use avouch_identity::{
    ConnectionEnd, ConnectionObserver, ConnectionRecord, IdentityEvent, IdentityObserver,
    Verdict as ConnectionVerdict,
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

    fn audited(&self, refusal: &Refusal<'_>) {
        self.not_allowed(Verdict::Audit, refusal);
    }

    fn denied(&self, refusal: &Refusal<'_>) {
        self.not_allowed(Verdict::Deny, refusal);
    }
}

impl Observer {
    fn not_allowed(&self, verdict: Verdict, refusal: &Refusal<'_>) {
        let reason = refusal.denial.reason().as_str();
        self.0.decision(verdict, reason);
        record_decision(|| Decision {
            verdict,
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

    fn ended(&self, end: &ConnectionEnd) {
        self.0.connection_ended(end.reason.as_str());
    }
}

impl IdentityObserver for Observer {
    fn event(&self, event: &IdentityEvent) {
        match event {
            // A first SVID, or one that was there at the start, renews nothing.
            IdentityEvent::Issued { how: "renew" | "recover", .. } => self.0.svid_renewal(true),
            IdentityEvent::Failed { how: "renew" | "recover", .. } => self.0.svid_renewal(false),
            IdentityEvent::TrustStream { up } => self.0.trust_stream(*up),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn only_renewing_and_recovering_count_as_renewals() {
        let observer = Observer(Metrics::new("orders", "1.2.3").unwrap());
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
        let page = observer.0.render().unwrap();
        assert!(page.contains(r#"avouch_svid_renewals_total{result="success"} 2"#), "{page}");
        assert!(page.contains(r#"avouch_svid_renewals_total{result="failure"} 1"#), "{page}");
        assert!(page.contains("avouch_trust_stream_up 0"), "{page}");
    }
}
