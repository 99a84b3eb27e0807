//! The issuer's own series: what it issued, what it refused, and from when until when its authorities are valid.
//!
//! Counted always; shown once they are registered with a process's metrics. Label values come from fixed sets; no
//! SPIFFE ID is among them.

use crate::authorities::Authorities;
use crate::error::IssueError;
use crate::store::Origin;
use crate::trust::TrustMetrics;
use avouch_spiffe::x509::Authority;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, Opts, Registry};
use std::time::{SystemTime, UNIX_EPOCH};

/// Handles to the series; clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    issued: IntCounterVec,
    refused: IntCounterVec,
    forks: IntCounter,
    not_before: GaugeVec,
    not_after: GaugeVec,
    /// The series of the trust state.
    pub(crate) trust: TrustMetrics,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Creates the series; they are exported once they are registered.
    ///
    /// # Errors
    /// Fails only when a name is not one, which is a defect of this crate.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let metrics = Self {
            issued: IntCounterVec::new(
                Opts::new("avouch_issuer_certificates_issued_total", "Certificates issued, by what for"),
                &["origin"],
            )?,
            refused: IntCounterVec::new(
                Opts::new("avouch_issuer_requests_refused_total", "Requests refused by action and reason"),
                &["action", "reason"],
            )?,
            forks: IntCounter::new(
                "avouch_issuer_forks_total",
                "Requests that came with a second key for a certificate that was renewed or recovered already",
            )?,
            not_before: GaugeVec::new(
                Opts::new(
                    "avouch_issuer_authority_not_before_timestamp_seconds",
                    "When an authority's certificate begins, in seconds since the epoch",
                ),
                &["authority"],
            )?,
            not_after: GaugeVec::new(
                Opts::new(
                    "avouch_issuer_authority_not_after_timestamp_seconds",
                    "When an authority's certificate ends, in seconds since the epoch",
                ),
                &["authority"],
            )?,
            trust: TrustMetrics::new()?,
        };
        for origin in [Origin::Enroll, Origin::Renew, Origin::Recover, Origin::SelfIssued] {
            metrics.issued.get_metric_with_label_values(&[origin.as_str()])?;
        }
        Ok(metrics)
    }

    /// Registers the series with `registry`.
    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.issued.clone()))?;
        registry.register(Box::new(self.refused.clone()))?;
        registry.register(Box::new(self.forks.clone()))?;
        registry.register(Box::new(self.not_before.clone()))?;
        registry.register(Box::new(self.not_after.clone()))?;
        self.trust.register(registry)
    }

    /// A certificate was issued and is on record.
    pub(crate) fn issued(&self, origin: Origin) {
        self.issued.with_label_values(&[origin.as_str()]).inc();
    }

    /// A request was refused.
    pub(crate) fn refused(&self, action: &'static str, error: &IssueError) {
        self.refused.with_label_values(&[action, error.reason().as_str()]).inc();
    }

    /// A certificate was renewed or recovered with two keys.
    pub(crate) fn forked(&self) {
        self.forks.inc();
    }

    /// Notes the authorities in use.
    pub(crate) fn authorities(&self, authorities: &Authorities) {
        self.authority("root", authorities.root());
        self.authority("signing", authorities.signing().certificate());
    }

    fn authority(&self, which: &'static str, authority: &Authority) {
        self.not_before.with_label_values(&[which]).set(seconds(authority.not_before()));
        self.not_after.with_label_values(&[which]).set(seconds(authority.not_after()));
    }
}

/// Seconds since the epoch; 0 for a time before it.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Encoder, TextEncoder};

    fn page(metrics: &Metrics) -> String {
        let registry = Registry::new();
        metrics.register(&registry).unwrap();
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_is_issued_is_there_from_the_start_and_refusals_are_by_reason() {
        let metrics = Metrics::new().unwrap();
        metrics.issued(Origin::Renew);
        metrics.refused("enroll", &IssueError::TokenExpired);
        let page = page(&metrics);
        for line in [
            r#"avouch_issuer_certificates_issued_total{origin="enroll"} 0"#,
            r#"avouch_issuer_certificates_issued_total{origin="renew"} 1"#,
            r#"avouch_issuer_requests_refused_total{action="enroll",reason="JOIN_TOKEN_EXPIRED"} 1"#,
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn registering_twice_is_an_error_and_no_panic() {
        let (metrics, registry) = (Metrics::new().unwrap(), Registry::new());
        metrics.register(&registry).unwrap();
        assert!(metrics.register(&registry).is_err());
    }
}
