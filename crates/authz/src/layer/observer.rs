//! Who wants to hear of decisions: metrics, a report, a test.

use crate::denial::Denial;
use crate::layer::DecisionId;
use crate::methods::MethodIndex;

/// Hears of every decision, on the call's own thread: it must neither block nor fail.
pub trait DecisionObserver: Send + Sync {
    /// A call of this method was allowed.
    fn allowed(&self, method: MethodIndex) {
        let _ = method;
    }

    /// A call went through because the policy is in audit mode there; it is not told of as allowed as well.
    fn audited(&self, refusal: &Refusal<'_>) {
        let _ = refusal;
    }

    /// A call was refused.
    fn denied(&self, refusal: &Refusal<'_>) {
        let _ = refusal;
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
}
