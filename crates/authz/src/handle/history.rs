//! What was in force, since when, and what is wrong with the file now: for operators who ask.

use std::sync::Arc;
use std::time::SystemTime;

use crate::policy::Policy;

/// A policy that is or was in force.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InForce {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Since when it is (or was) in force, by the handle's clock.
    pub since: SystemTime,
}

/// The policy in force, the one before it, and the last problem with the file.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) current: Option<InForce>,
    pub(super) previous: Option<InForce>,
    pub(super) problem: Option<String>,
}

impl History {
    pub(super) fn replace(&mut self, next: InForce) {
        self.previous = self.current.replace(next);
    }
}
