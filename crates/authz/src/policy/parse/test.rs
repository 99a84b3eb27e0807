//! `[[test]]` blocks: what the policy's author says it does, asked of the finished policy by the function that answers
//! calls. One that does not hold is a problem like any other, so the policy does not load.
//!
//! Tests ask for the *decision*: audit mode, which lets a refused call through, does not turn a `deny` into an `allow`.

use std::time::{Duration, SystemTime};

use avouch_spiffe::{Reason, SpiffeId};
use toml::Spanned;
use toml::de::DeValue;

use super::{Reader, nearest_method, nearest_static};
use crate::condition::{Certificate, ISSUER, SERIAL, SHA256, SPKI};
use crate::decide::{Caller, decide};
use crate::denial::Denial;
use crate::pattern::CallerPattern;
use crate::policy::{PolicyFault, TestFault};

/// All reasons that a decision under a policy can have.
const REASONS: [Reason; 4] =
    [Reason::RoleMissing, Reason::NoAllowRule, Reason::DenyRuleMatched, Reason::NoPeerIdentity];
const ANONYMOUS: &str = "anonymous";
const LOCAL_ADMIN: &str = "local-admin";
const AGE: &str = "certificate_age";
const FACTS: [&str; 4] = [SPKI, SHA256, ISSUER, SERIAL];

/// A test, read.
pub(super) struct Test {
    at: usize,
    who: Who,
    method: &'static str,
    /// None if it is allowed; else, why not, where the test says so.
    denied: Option<Option<Reason>>,
}

enum Who {
    Peer(SpiffeId, Facts),
    Anonymous,
    LocalAdmin,
}

#[derive(Default)]
struct Facts {
    age: Option<Duration>,
    spki_sha256: Option<String>,
    sha256: Option<String>,
    issuer_key_id: Option<String>,
    serial: Option<String>,
}

/// What has been read of one block.
#[derive(Default)]
struct Draft {
    who: Option<Who>,
    method: Option<&'static str>,
    allowed: Option<bool>,
    reason: Option<(usize, Reason)>,
    facts: Facts,
    /// Where the first fact is written.
    facts_at: Option<usize>,
}

impl Reader<'_> {
    pub(super) fn read_test(&mut self, test: &Spanned<DeValue<'_>>) {
        let at = test.span().start;
        let DeValue::Table(fields) = test.get_ref() else {
            return self.wrong_type(at, "test", "an array of tables: [[test]]");
        };
        let before = self.problems.len();
        let mut draft = Draft::default();
        for (key, value) in fields {
            self.field(&mut draft, key.span().start, key.get_ref(), value);
        }
        if self.problems.len() > before {
            return;
        }
        if let Some(test) = self.finish(at, draft) {
            self.tests.push(test);
        }
    }

    fn field(&mut self, draft: &mut Draft, at: usize, key: &str, value: &Spanned<DeValue<'_>>) {
        let value_at = value.span().start;
        match (key, value.get_ref()) {
            ("caller", DeValue::String(text)) => draft.who = self.who(value_at, text),
            ("method", DeValue::String(text)) => draft.method = self.tested_method(value_at, text),
            ("expect", DeValue::String(text)) => draft.allowed = self.expect(value_at, text),
            ("reason", DeValue::String(text)) => {
                draft.reason = self.reason(value_at, text).map(|reason| (at, reason));
            }
            ("caller" | "method" | "expect" | "reason", _) => {
                let known = ["caller", "method", "expect", "reason"];
                let key = known.into_iter().find(|known| *known == key).unwrap_or("it");
                self.wrong_type(at, key, "a string");
            }
            (AGE, _) => draft.facts.age = self.span(at, AGE, value),
            (SPKI, _) => draft.facts.spki_sha256 = self.fact(at, SPKI, value),
            (SHA256, _) => draft.facts.sha256 = self.fact(at, SHA256, value),
            (ISSUER, _) => draft.facts.issuer_key_id = self.fact(at, ISSUER, value),
            (SERIAL, _) => draft.facts.serial = self.fact(at, SERIAL, value),
            (other, _) => {
                let known = ["caller", "method", "expect", "reason", AGE];
                let known: Vec<_> = known.into_iter().chain(FACTS).collect();
                self.unknown_key(at, other, &known);
            }
        }
        if key == AGE || FACTS.contains(&key) {
            draft.facts_at = Some(draft.facts_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    fn finish(&mut self, at: usize, draft: Draft) -> Option<Test> {
        let mut missing = |present: bool, key: &'static str| {
            if !present {
                self.problem(at, PolicyFault::Test(TestFault::Missing(key)));
            }
        };
        missing(draft.who.is_some(), "caller = \"spiffe://…\"");
        missing(draft.method.is_some(), "method = \"/package.Service/Method\"");
        missing(draft.allowed.is_some(), "expect = \"allow\" or \"deny\"");
        let (who, method, allowed) = (draft.who?, draft.method?, draft.allowed?);
        if let (true, Some((at, reason))) = (allowed, draft.reason) {
            self.problem(at, PolicyFault::Test(TestFault::ReasonOfAllowed(reason)));
            return None;
        }
        let who = match (who, draft.facts_at) {
            (Who::Peer(id, _), _) => Who::Peer(id, draft.facts),
            (who, None) => who,
            (who, Some(at)) => {
                let who = if let Who::LocalAdmin = who { LOCAL_ADMIN } else { ANONYMOUS };
                self.problem(at, PolicyFault::Test(TestFault::NoCertificate(who)));
                return None;
            }
        };
        let denied = (!allowed).then_some(draft.reason.map(|(_, reason)| reason));
        Some(Test { at, who, method, denied })
    }

    fn who(&mut self, at: usize, text: &str) -> Option<Who> {
        match text {
            ANONYMOUS => return Some(Who::Anonymous),
            LOCAL_ADMIN => return Some(Who::LocalAdmin),
            _ => {}
        }
        if !text.contains("://") {
            let nearest = nearest_static(text, &[ANONYMOUS, LOCAL_ADMIN]);
            self.problem(at, PolicyFault::Test(TestFault::Caller { text: text.to_owned(), nearest }));
            return None;
        }
        match self.caller(at, text)? {
            CallerPattern::Exact(id) => Some(Who::Peer(id, Facts::default())),
            CallerPattern::Below(_) => {
                self.problem(at, PolicyFault::Test(TestFault::Pattern(text.to_owned())));
                None
            }
        }
    }

    fn tested_method(&mut self, at: usize, text: &str) -> Option<&'static str> {
        let method = self.policy.methods.find(text).map(|method| method.path);
        if method.is_none() {
            let nearest =
                nearest_method(&self.policy.methods, text).filter(|nearest| !nearest.ends_with('*'));
            self.problem(at, PolicyFault::UnknownMethod { method: text.to_owned(), nearest });
        }
        method
    }

    fn expect(&mut self, at: usize, text: &str) -> Option<bool> {
        match text {
            "allow" => Some(true),
            "deny" => Some(false),
            other => {
                let nearest = nearest_static(other, &["allow", "deny"]);
                self.problem(at, PolicyFault::Test(TestFault::Expect { text: other.to_owned(), nearest }));
                None
            }
        }
    }

    fn reason(&mut self, at: usize, text: &str) -> Option<Reason> {
        let reason = REASONS.into_iter().find(|reason| reason.as_str() == text);
        if reason.is_none() {
            let nearest = nearest_static(text, &REASONS.map(Reason::as_str));
            self.problem(at, PolicyFault::Test(TestFault::Reason { text: text.to_owned(), nearest }));
        }
        reason
    }

    /// Runs all tests on the finished policy.
    pub(super) fn test(&mut self) {
        let tests = std::mem::take(&mut self.tests);
        self.policy.tests = tests.len();
        for test in tests {
            let decision = test.who.with(|caller| decide(&self.policy, caller, test.method));
            let denial = match &decision {
                Ok(permit) => permit.audited(),
                Err(denial) => Some(denial),
            };
            let holds = match (test.denied, denial) {
                (None, None) => true,
                (Some(reason), Some(denial)) => reason.is_none_or(|reason| reason == denial.reason()),
                _ => false,
            };
            if !holds {
                let role = decision.as_ref().ok().and_then(|permit| permit.role());
                let fault = PolicyFault::TestFailed {
                    caller: test.who.to_string(),
                    method: test.method,
                    expected: expected(test.denied),
                    got: got(denial, role),
                };
                self.problem(test.at, fault);
            }
        }
    }
}

fn expected(denied: Option<Option<Reason>>) -> String {
    match denied {
        None => "allow".to_owned(),
        Some(None) => "deny".to_owned(),
        Some(Some(reason)) => format!("deny with {reason}"),
    }
}

fn got(denial: Option<&Denial>, role: Option<&str>) -> String {
    match (denial, role) {
        (Some(denial), _) => {
            let detail = denial.detail();
            let place = denial.place().map(|place| format!(" ({place})")).unwrap_or_default();
            let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
            format!("deny with {}{place}{detail}", denial.reason())
        }
        (None, Some(role)) => format!("allow by the role {role:?}"),
        (None, None) => "allow, which asks for no role".to_owned(),
    }
}

impl Who {
    fn with<T>(&self, ask: impl FnOnce(Caller<'_>) -> T) -> T {
        match self {
            Self::Anonymous => ask(Caller::Anonymous),
            Self::LocalAdmin => ask(Caller::LocalAdmin),
            Self::Peer(id, facts) => {
                // Any beginning does: only the distance counts.
                let not_before = SystemTime::UNIX_EPOCH;
                ask(Caller::Certified(
                    id,
                    Certificate {
                        not_before: Some(not_before),
                        now: facts.age.and_then(|age| not_before.checked_add(age)),
                        spki_sha256: facts.spki_sha256.as_deref(),
                        sha256: facts.sha256.as_deref(),
                        issuer_key_id: facts.issuer_key_id.as_deref(),
                        serial: facts.serial.as_deref(),
                    },
                ))
            }
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Peer(id, _) => write!(f, "{id}"),
            Self::Anonymous => f.write_str(ANONYMOUS),
            Self::LocalAdmin => f.write_str(LOCAL_ADMIN),
        }
    }
}
