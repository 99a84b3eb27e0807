//! A compiled policy: SPIFFE IDs to role masks and denies, ready for [`decide`](crate::decide).
//!
//! The only way in is [`Policy::load`] (and [`Policy::without_roles`]), so a `Policy` has no unknown role, no unknown
//! method, no caller without a trust domain, and none of its own tests fails. It never changes: a new file becomes a new
//! `Policy`.

mod checks;
mod compile;
mod error;
mod grants;
mod parse;
mod test;

use std::fmt;
use std::sync::Arc;

use avouch_spiffe::SpiffeId;
use aws_lc_rs::digest;
use rustc_hash::FxHashMap;

pub use checks::{FailedCondition, NearestBinding, Unused};
pub use error::{ConditionFault, PolicyError, PolicyFault, PolicyProblem, SourceLocation, TestFault};
pub(crate) use grants::Grants;
pub use parse::MAX_POLICY_BYTES;
pub(crate) use parse::parse;
pub(crate) use test::{Expected, Test, TestCaller};

use crate::condition::{Certificate, Condition};
use crate::methods::{DEBUG_ROLE, MethodIndex, Methods};
use crate::pattern::CallerPattern;

/// Length of [`Policy::version`].
const VERSION_HEX: usize = 12;

/// A policy: which callers hold which roles, and which calls are denied.
pub struct Policy {
    methods: Methods,
    source: Arc<str>,
    text: Box<str>,
    version: Arc<str>,
    exact: FxHashMap<Box<str>, Binding>,
    /// The bindings of prefixes, by the parent's ID.
    below: FxHashMap<Box<str>, Binding>,
    /// Bit n is set if some key of `below` has n path segments: it saves look-ups that cannot succeed.
    depths: u64,
    denies: Vec<DenyRule>,
    /// By role bit, the line that binds the role, and the callers bound to it: for messages.
    roles: Vec<RoleBinding>,
    /// The line that puts the whole policy into audit mode.
    audit: Option<usize>,
    audits: Vec<AuditRule>,
    /// By method number, whether the RPC asks for [`DEBUG_ROLE`]: audit mode never opens those.
    never_audited: Box<[bool]>,
    asks_for_the_time: bool,
    tests: usize,
}

/// The compiled lines of the file about one caller pattern.
#[derive(Clone, Debug, Default)]
struct Binding {
    roles: u64,
    deny: Deny,
    /// The rules for which the SPIFFE ID alone is not enough. Boxed, since few callers have any.
    conditional: Option<Box<Conditional>>,
}

/// Rules that depend on the certificate, and deny rules in audit mode.
#[derive(Clone, Debug, Default)]
struct Conditional {
    /// The roles with a condition.
    roles: Vec<ConditionalRole>,
    /// The deny rules with a condition or in audit mode, in the order of the file.
    denies: Vec<u32>,
}

/// A role with a condition: `callers[at]` of the role with this bit.
#[derive(Clone, Debug)]
struct ConditionalRole {
    bit: usize,
    at: usize,
    condition: Arc<Condition>,
}

#[derive(Clone, Debug, Default)]
enum Deny {
    #[default]
    Nothing,
    /// All methods, by this rule.
    Everything(u32),
    /// By method, the first rule that denies it.
    Some(Box<[Option<u32>]>),
}

/// A `[[deny]]` of the file.
#[derive(Clone, Debug)]
pub(crate) struct DenyRule {
    pub(crate) caller: CallerPattern,
    pub(crate) condition: Condition,
    /// The methods as written; `None`: all.
    pub(crate) methods: Option<Vec<String>>,
    /// The indices of `methods`, sorted.
    pub(crate) indices: Option<Vec<MethodIndex>>,
    /// Whether the rule is in audit mode.
    pub(crate) audit: bool,
    pub(crate) line: usize,
}

/// An `[[audit]]` of the file.
#[derive(Clone, Debug)]
pub(crate) struct AuditRule {
    /// The callers; `None`: all.
    pub(crate) caller: Option<CallerPattern>,
    /// The indices of the methods, sorted; `None`: all.
    pub(crate) indices: Option<Vec<MethodIndex>>,
    pub(crate) line: usize,
}

/// A role's line in the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleBinding {
    pub(crate) line: Option<usize>,
    pub(crate) callers: Vec<BoundCaller>,
}

/// A caller bound to a role, and the line that says so.
#[derive(Clone, Debug)]
pub(crate) struct BoundCaller {
    pub(crate) caller: CallerPattern,
    pub(crate) condition: Arc<Condition>,
    pub(crate) line: usize,
}

impl fmt::Display for BoundCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.caller)?;
        if self.condition.is_empty() { Ok(()) } else { write!(f, " ({})", self.condition) }
    }
}

impl Policy {
    /// A policy in which nobody holds a role: enough for services whose rules ask for none.
    #[must_use]
    pub fn without_roles(methods: &Methods) -> Self {
        Self::new("(no policy file)", "", methods)
    }

    fn new(source: &str, text: &str, methods: &Methods) -> Self {
        let debug = methods.mask_of(DEBUG_ROLE);
        Self {
            methods: methods.clone(),
            source: source.into(),
            text: text.into(),
            version: version_of(text.as_bytes()).into(),
            exact: FxHashMap::default(),
            below: FxHashMap::default(),
            depths: 0,
            denies: Vec::new(),
            roles: vec![RoleBinding::default(); methods.roles().len()],
            audit: None,
            audits: Vec::new(),
            never_audited: methods.needs().map(|need| need.roles() & debug != 0).collect(),
            asks_for_the_time: false,
            tests: 0,
        }
    }

    /// The first digits of the SHA-256 of the file's content, as `sha256sum` prints them.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// [`version`](Self::version), for whoever keeps it longer.
    pub(crate) fn shared_version(&self) -> Arc<str> {
        Arc::clone(&self.version)
    }

    /// The name of the file that the policy was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The file's content.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The methods it was checked against.
    #[must_use]
    pub fn methods(&self) -> &Methods {
        &self.methods
    }

    /// How many `[[test]]` blocks it has, all of which hold.
    #[must_use]
    pub fn tests(&self) -> usize {
        self.tests
    }

    /// Whether the policy, or some rule of it, is in audit mode.
    #[must_use]
    pub fn audits(&self) -> bool {
        self.audit.is_some() || !self.audits.is_empty() || self.denies.iter().any(|rule| rule.audit)
    }

    /// Whether a decision may depend on the age of a certificate.
    #[must_use]
    pub fn asks_for_the_time(&self) -> bool {
        self.asks_for_the_time
    }

    /// The roles that `id` holds whatever its certificate; sorted by name.
    #[must_use]
    pub fn roles_of(&self, id: &SpiffeId) -> Vec<&'static str> {
        self.methods.role_names(self.role_mask_of(id, None))
    }

    pub(crate) fn role_mask_of(&self, id: &SpiffeId, certificate: Option<&Certificate<'_>>) -> u64 {
        self.grants(id, certificate, MethodIndex::NONE).roles
    }

    pub(crate) fn deny_rules(&self) -> &[DenyRule] {
        &self.denies
    }

    pub(crate) fn deny_rule(&self, rule: u32) -> Option<&DenyRule> {
        self.denies.get(rule as usize)
    }

    pub(crate) fn role_bindings(&self) -> &[RoleBinding] {
        &self.roles
    }

    pub(crate) fn audit_rules(&self) -> &[AuditRule] {
        &self.audits
    }

    /// The location of the first of `roles` that the file mentions; else the file itself.
    pub(crate) fn location_of_roles(&self, roles: u64) -> SourceLocation {
        let bound = (0..).zip(&self.roles).filter(|(bit, _)| roles & (1 << bit) != 0);
        self.location(bound.filter_map(|(_, role)| role.line).next())
    }

    pub(crate) fn location_of_deny(&self, rule: u32) -> SourceLocation {
        self.location(self.deny_rule(rule).map(|rule| rule.line))
    }

    pub(crate) fn location(&self, line: Option<usize>) -> SourceLocation {
        SourceLocation { source: Arc::clone(&self.source), line, column: None }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("source", &self.source)
            .field("version", &self.version)
            .field("callers", &(self.exact.len() + self.below.len()))
            .field("denies", &self.denies.len())
            .field("tests", &self.tests)
            .finish_non_exhaustive()
    }
}

/// The version of a file's content.
pub(crate) fn version_of(content: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, content);
    let mut hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(VERSION_HEX);
    hex
}

#[cfg(test)]
mod tests;
