//! `[[test]]` blocks, read and checked but not run: [`Policy::load`](crate::Policy::load) runs them.

use avouch_spiffe::Reason;
use avouch_text::suggest;
use toml::Spanned;
use toml::de::DeValue;

use super::{Reader, nearest_method};
use crate::condition::{ISSUER, SERIAL, SHA256, SPKI};
use crate::pattern::CallerPattern;
use crate::policy::test::{ANONYMOUS, Expected, LOCAL_ADMIN, Test, TestCaller, TestCertificate};
use crate::policy::{PolicyFault, TestFault};

/// The reasons that a decision under a policy can have.
const REASONS: [Reason; 4] =
    [Reason::RoleMissing, Reason::NoAllowRule, Reason::DenyRuleMatched, Reason::NoPeerIdentity];
const AGE: &str = "certificate_age";
const CERTIFICATE: [&str; 4] = [SPKI, SHA256, ISSUER, SERIAL];

/// The keys of one block that have been read so far.
#[derive(Default)]
struct Draft {
    caller: Option<TestCaller>,
    method: Option<&'static str>,
    allowed: Option<bool>,
    reason: Option<(usize, Reason)>,
    certificate: TestCertificate,
    /// Where the first key about the certificate is written.
    certificate_at: Option<usize>,
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
            ("caller", DeValue::String(text)) => draft.caller = self.test_caller(value_at, text),
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
            (AGE, _) => draft.certificate.age = self.duration(at, AGE, value),
            (SPKI, _) => draft.certificate.spki_sha256 = self.one_pin(at, SPKI, value),
            (SHA256, _) => draft.certificate.sha256 = self.one_pin(at, SHA256, value),
            (ISSUER, _) => draft.certificate.issuer_key_id = self.one_pin(at, ISSUER, value),
            (SERIAL, _) => draft.certificate.serial = self.one_pin(at, SERIAL, value),
            (other, _) => {
                let known = ["caller", "method", "expect", "reason", AGE];
                let known: Vec<_> = known.into_iter().chain(CERTIFICATE).collect();
                self.unknown_key(at, other, &known);
            }
        }
        if key == AGE || CERTIFICATE.contains(&key) {
            draft.certificate_at = Some(draft.certificate_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    fn finish(&mut self, at: usize, draft: Draft) -> Option<Test> {
        let mut missing = |present: bool, key: &'static str| {
            if !present {
                self.problem(at, PolicyFault::Test(TestFault::Missing(key)));
            }
        };
        missing(draft.caller.is_some(), "caller = \"spiffe://…\"");
        missing(draft.method.is_some(), "method = \"/package.Service/Method\"");
        missing(draft.allowed.is_some(), "expect = \"allow\" or \"deny\"");
        let (caller, method, allowed) = (draft.caller?, draft.method?, draft.allowed?);
        let expected = match (allowed, draft.reason) {
            (true, None) => Expected::Allow,
            (false, None) => Expected::Deny,
            (false, Some((_, reason))) => Expected::DenyWith(reason),
            (true, Some((at, reason))) => {
                self.problem(at, PolicyFault::Test(TestFault::ReasonOfAllowed(reason)));
                return None;
            }
        };
        let caller = match (caller, draft.certificate_at) {
            (TestCaller::Peer(id, _), _) => TestCaller::Peer(id, draft.certificate),
            (caller, None) => caller,
            (caller, Some(at)) => {
                let caller = if let TestCaller::LocalAdmin = caller { LOCAL_ADMIN } else { ANONYMOUS };
                self.problem(at, PolicyFault::Test(TestFault::NoCertificate(caller)));
                return None;
            }
        };
        Some(Test { location: self.location(at), caller, method, expected })
    }

    fn test_caller(&mut self, at: usize, text: &str) -> Option<TestCaller> {
        match text {
            ANONYMOUS => return Some(TestCaller::Anonymous),
            LOCAL_ADMIN => return Some(TestCaller::LocalAdmin),
            _ => {}
        }
        if !text.contains("://") {
            let nearest = suggest(text, [ANONYMOUS, LOCAL_ADMIN]);
            self.problem(at, PolicyFault::Test(TestFault::Caller { text: text.to_owned(), nearest }));
            return None;
        }
        match self.caller(at, text)? {
            CallerPattern::Exact(id) => Some(TestCaller::Peer(id, TestCertificate::default())),
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
                let nearest = suggest(other, ["allow", "deny"]);
                self.problem(at, PolicyFault::Test(TestFault::Expect { text: other.to_owned(), nearest }));
                None
            }
        }
    }

    fn reason(&mut self, at: usize, text: &str) -> Option<Reason> {
        let reason = REASONS.into_iter().find(|reason| reason.as_str() == text);
        if reason.is_none() {
            let nearest = suggest(text, REASONS.map(Reason::as_str));
            self.problem(at, PolicyFault::Test(TestFault::Reason { text: text.to_owned(), nearest }));
        }
        reason
    }
}
