//! Who wants to hear of decisions: metrics, records, a report, a test.

use http::Extensions;

use crate::decide::Permit;
use crate::denial::Denial;
use crate::layer::DecisionId;

/// Hears of every decision, on the call's own thread: it must neither block nor fail. `extensions` are the request's:
/// who calls, over which connection.
pub trait DecisionObserver: Send + Sync {
    /// A call was allowed.
    fn allowed(&self, permit: &Permit, extensions: &Extensions) {
        let _ = (permit, extensions);
    }

    /// A call was refused.
    fn denied(&self, refusal: &Refusal<'_>, extensions: &Extensions) {
        let _ = (refusal, extensions);
    }

    /// A call was decided against and let through, since the policy is in audit mode there. `allowed` is not told too.
    fn audited(&self, refusal: &Refusal<'_>, extensions: &Extensions) {
        let _ = (refusal, extensions);
    }
}

/// Nobody.
impl DecisionObserver for () {}

/// A refused call, or one that audit mode let through.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Refusal<'a> {
    /// What the caller and the record call it.
    pub decision_id: DecisionId,
    /// Why, in full. `denial.method()` is the index for metrics.
    pub denial: &'a Denial,
    /// Whether it is to be recorded, and then how many like it were not before it: of the same caller from the same
    /// network for the same reason only so many are.
    pub suppressed: Option<u64>,
}
