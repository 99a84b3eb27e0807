//! The active policy, the one before it, and the current problem with the file: for operators who ask.

use std::sync::Arc;
use std::time::SystemTime;

use crate::policy::Policy;

/// A policy that is or was active.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ActivePolicy {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The time at which it became active, by the handle's clock.
    pub since: SystemTime,
}

/// The active policy, the one before it, and the last problem with the file.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) current: Option<ActivePolicy>,
    pub(super) previous: Option<ActivePolicy>,
    pub(super) problem: Option<String>,
}

impl History {
    pub(super) fn replace(&mut self, next: ActivePolicy) {
        self.previous = self.current.replace(next);
    }
}
