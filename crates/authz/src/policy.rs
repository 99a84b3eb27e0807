//! A compiled policy: SPIFFE IDs to role masks and denies, ready for [`decide`](crate::decide).
//!
//! The only way in is [`Policy::parse`] (and [`Policy::without_roles`]), so a `Policy` has no unknown role, no unknown
//! method, no caller without a trust domain, and none of its own tests fails. It never changes; a new file becomes a new
//! `Policy`.

mod checks;
mod compile;
mod error;
mod parse;
mod standing;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use avouch_spiffe::SpiffeId;
use aws_lc_rs::digest;
use rustc_hash::FxHashMap;

pub use checks::{Nearest, Unused};
pub use error::{ConditionFault, Place, PolicyError, PolicyFault, PolicyProblem, TestFault};
pub use parse::MAX_POLICY_BYTES;
pub(crate) use standing::Standing;

use crate::condition::{Certificate, Condition};
use crate::methods::{DEBUG_ROLE, MethodIndex, Methods};
use crate::pattern::CallerPattern;

/// Length of [`Policy::version`].
const VERSION_HEX: usize = 12;

/// Which callers hold which roles, and whom is denied what.
pub struct Policy {
    methods: Methods,
    source: Arc<str>,
    text: Box<str>,
    version: String,
    exact: FxHashMap<Box<str>, Binding>,
    /// By the parent's ID.
    below: FxHashMap<Box<str>, Binding>,
    /// Bit n: some key of `below` has n path segments. Spares look-ups that cannot succeed.
    depths: u64,
    denies: Vec<DenyRule>,
    /// For messages: by role bit, the line that binds the role, and who is bound.
    roles: Vec<RoleBinding>,
    /// The line that puts all of it into audit mode.
    audit: Option<usize>,
    audits: Vec<AuditRule>,
    /// RPCs that ask for [`DEBUG_ROLE`], by number: audit never opens them.
    never_audited: Box<[bool]>,
    asks_for_the_time: bool,
    tests: usize,
}

/// What the file said about one caller pattern, compiled.
#[derive(Clone, Debug, Default)]
struct Binding {
    roles: u64,
    deny: Deny,
    /// What is not decided by the SPIFFE ID alone; mostly nothing.
    more: Option<Box<More>>,
}

/// What needs a look at the certificate, or does not refuse.
#[derive(Clone, Debug, Default)]
struct More {
    /// Roles that are held on a condition.
    roles: Vec<ConditionalRole>,
    /// Deny rules with a condition or in audit mode, in the order of the file.
    denies: Vec<u32>,
}

/// A role that is held on a condition: `callers[at]` of the role with this bit.
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
    /// As written; `None`: all.
    pub(crate) methods: Option<Vec<String>>,
    /// What `methods` stands for, sorted.
    pub(crate) indices: Option<Vec<MethodIndex>>,
    /// Whether it records only.
    pub(crate) audit: bool,
    pub(crate) line: usize,
}

/// An `[[audit]]` of the file.
#[derive(Clone, Debug)]
pub(crate) struct AuditRule {
    /// `None`: everybody.
    pub(crate) caller: Option<CallerPattern>,
    /// Sorted; `None`: all.
    pub(crate) indices: Option<Vec<MethodIndex>>,
    pub(crate) line: usize,
}

/// A role's line in the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleBinding {
    pub(crate) line: Option<usize>,
    pub(crate) callers: Vec<BoundCaller>,
}

/// A caller of a role, and where it is written.
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
    /// Checks and compiles `text`, and runs its tests; `source_name` is what errors and records call it. A byte order mark
    /// before it is skipped.
    ///
    /// # Errors
    /// All problems at once, each with file, line and column. Tests only run when there is no other problem. A text that
    /// says nothing (it is empty, or has comments or headers only) is [no policy](PolicyFault::NoPolicy).
    pub fn parse(source_name: &str, text: &str, methods: &Methods) -> Result<Self, PolicyError> {
        parse::parse(source_name, text, methods, false)
    }

    /// As [`parse`](Self::parse), for what a process tells of the policy that is in force there: a text that says nothing
    /// is that of a process without a policy file, which gives nobody a role.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), but for that.
    pub fn parse_told(source_name: &str, text: &str, methods: &Methods) -> Result<Self, PolicyError> {
        parse::parse(source_name, text, methods, true)
    }

    /// Reads and checks a file as it is at this moment, finished or not: for a check, not for what is to be in force
    /// ([`PolicyHandle::load`](crate::PolicyHandle::load)).
    ///
    /// # Errors
    /// If it cannot be read or is not good.
    pub fn read(path: &Path, methods: &Methods) -> Result<Self, PolicyError> {
        Self::parse(&path.display().to_string(), &crate::read_policy(path)?, methods)
    }

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
            version: version_of(text.as_bytes()),
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

    /// What the policy was read from.
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

    /// Whether all or some of it is in audit mode.
    #[must_use]
    pub fn audits(&self) -> bool {
        self.audit.is_some() || !self.audits.is_empty() || self.denies.iter().any(|rule| rule.audit)
    }

    /// Whether some decision of it may depend on the age of a certificate.
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
        self.standing(id, certificate, MethodIndex::NONE).roles
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

    /// Where the file speaks of the first of `roles` that it speaks of; else the file itself.
    pub(crate) fn place_of_roles(&self, roles: u64) -> Place {
        let bound = (0..).zip(&self.roles).filter(|(bit, _)| roles & (1 << bit) != 0);
        self.place(bound.filter_map(|(_, role)| role.line).next())
    }

    pub(crate) fn place_of_deny(&self, rule: u32) -> Place {
        self.place(self.deny_rule(rule).map(|rule| rule.line))
    }

    pub(crate) fn place(&self, line: Option<usize>) -> Place {
        Place { source: Arc::clone(&self.source), line, column: None }
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

/// A short name for a file's content.
pub(crate) fn version_of(content: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, content);
    let mut hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(VERSION_HEX);
    hex
}

#[cfg(test)]
mod tests;
