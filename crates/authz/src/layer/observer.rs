//! Observers of decisions: metrics, records, a report, a test.

use http::Extensions;

use crate::decide::Permit;
use crate::denial::Denial;
use crate::layer::DecisionId;

/// An observer of every decision, called on the call's own thread: it must neither block nor fail. `extensions` are the
/// request's: who calls, over which connection.
pub trait DecisionObserver: Send + Sync {
    /// A call was allowed.
    fn allowed(&self, permit: &Permit, extensions: &Extensions) {
        let _ = (permit, extensions);
    }

    /// A call was denied.
    fn denied(&self, call: &DeniedCall<'_>, extensions: &Extensions) {
        let _ = (call, extensions);
    }

    /// A call was decided against and let through, since the policy is in audit mode there. `allowed` is not called as
    /// well.
    fn audited(&self, call: &DeniedCall<'_>, extensions: &Extensions) {
        let _ = (call, extensions);
    }
}

/// No observer.
impl DecisionObserver for () {}

/// A denied call, or one that audit mode let through.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DeniedCall<'a> {
    /// The id by which the caller's error finds the record.
    pub decision_id: DecisionId,
    /// The denial in full. `denial.method()` is the index for metrics.
    pub denial: &'a Denial,
    /// `None` if the call is not to be recorded, because too many of the same caller, network and reason were; else the
    /// number of calls that were left out before it.
    pub suppressed: Option<u64>,
}
