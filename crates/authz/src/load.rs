//! From the text of a policy file to a [`Policy`]: parsed, compiled, and put to its own tests by the function that answers
//! calls. A test that fails is a problem like any other, so the policy does not load.
//!
//! Tests ask for the *decision*: audit mode, which lets a denied call through, does not turn a `deny` into an `allow`.
//!
//! This stands above [`decide`](crate::decide()), and the parser below it, because a test needs both.

use std::time::SystemTime;

use crate::condition::Certificate;
use crate::decide::{Caller, decide};
use crate::denial::Denial;
use crate::methods::Methods;
use crate::policy::{Expected, Policy, PolicyError, PolicyFault, PolicyProblem, Test, TestCaller, parse};

impl Policy {
    /// Checks and compiles `text`, and runs its tests; `source_name` is what errors and records call it. A byte order mark
    /// before it is skipped.
    ///
    /// # Errors
    /// All problems at once, each with file, line and column. Tests only run when there is no other problem. A text that
    /// says nothing (it is empty, or has comments or headers only) is [no policy](PolicyFault::NoPolicy).
    pub fn load(source_name: &str, text: &str, methods: &Methods) -> Result<Self, PolicyError> {
        tested(parse(source_name, text, methods, false)?)
    }

    /// As [`load`](Self::load), for what a process tells of the policy that is in force there: a text that says nothing
    /// is that of a process without a policy file, which gives nobody a role.
    ///
    /// # Errors
    /// As [`load`](Self::load), but for that.
    pub fn load_told(source_name: &str, text: &str, methods: &Methods) -> Result<Self, PolicyError> {
        tested(parse(source_name, text, methods, true)?)
    }
}

fn tested((policy, tests): (Policy, Vec<Test>)) -> Result<Policy, PolicyError> {
    let problems = tests.iter().filter_map(|test| run(&policy, test)).collect();
    PolicyError::unless_empty(problems).map(|()| policy)
}

/// The problem with a test that fails.
fn run(policy: &Policy, test: &Test) -> Option<PolicyProblem> {
    let decision = test.caller.with(|caller| decide(policy, caller, test.method));
    let denial = match &decision {
        Ok(permit) => permit.audited(),
        Err(denial) => Some(denial),
    };
    let holds = match (test.expected, denial) {
        (Expected::Allow, denial) => denial.is_none(),
        (Expected::Deny, denial) => denial.is_some(),
        (Expected::DenyWith(reason), denial) => denial.is_some_and(|denial| denial.reason() == reason),
    };
    let role = decision.as_ref().ok().and_then(|permit| permit.role());
    let failed = || PolicyFault::TestFailed {
        caller: test.caller.to_string(),
        method: test.method,
        expected: test.expected.to_string(),
        got: got(denial, role),
    };
    (!holds).then(|| PolicyProblem { location: test.location.clone(), fault: failed() })
}

fn got(denial: Option<&Denial>, role: Option<&str>) -> String {
    match (denial, role) {
        (Some(denial), _) => {
            let detail = denial.detail();
            let location = denial.location().map(|location| format!(" ({location})")).unwrap_or_default();
            let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
            format!("deny with {}{location}{detail}", denial.reason())
        }
        (None, Some(role)) => format!("allow by the role {role:?}"),
        (None, None) => "allow, which asks for no role".to_owned(),
    }
}

impl TestCaller {
    fn with<T>(&self, ask: impl FnOnce(Caller<'_>) -> T) -> T {
        match self {
            Self::Anonymous => ask(Caller::Anonymous),
            Self::LocalAdmin => ask(Caller::LocalAdmin),
            Self::Peer(id, known) => {
                // Any beginning does: a condition on the age looks at the distance from it alone.
                let not_before = SystemTime::UNIX_EPOCH;
                ask(Caller::Certified(
                    id,
                    Certificate {
                        not_before: Some(not_before),
                        now: known.age.and_then(|age| not_before.checked_add(age)),
                        spki_sha256: known.spki_sha256.as_deref(),
                        sha256: known.sha256.as_deref(),
                        issuer_key_id: known.issuer_key_id.as_deref(),
                        serial: known.serial.as_deref(),
                    },
                ))
            }
        }
    }
}
