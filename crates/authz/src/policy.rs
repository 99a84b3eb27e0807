//! A compiled policy: SPIFFE IDs to role masks and denies, ready for [`decide`](crate::decide).
//!
//! The only way in is [`Policy::parse`] (and [`Policy::without_roles`]), so a `Policy` has no unknown role, no unknown
//! method and no caller without a trust domain. It never changes; a new file becomes a new `Policy`.

mod error;
mod parse;

use std::fmt;
use std::sync::Arc;

use avouch_spiffe::SpiffeId;
use aws_lc_rs::digest;
use rustc_hash::FxHashMap;

pub use error::{Place, PolicyError, PolicyFault, PolicyProblem};

use crate::methods::{MethodIndex, Methods};
use crate::pattern::CallerPattern;

/// Length of [`Policy::version`].
const VERSION_HEX: usize = 12;
/// The last bit of the depth mask stands for its own depth and all greater ones.
const DEEPEST: u32 = 63;

/// Which callers hold which roles, and whom is denied what.
pub struct Policy {
    methods: Methods,
    source: Arc<str>,
    version: String,
    exact: FxHashMap<Box<str>, Binding>,
    /// By the parent's ID.
    below: FxHashMap<Box<str>, Binding>,
    /// Bit n: some key of `below` has n path segments. Spares look-ups that cannot succeed.
    depths: u64,
    denies: Vec<DenyRule>,
    /// For messages: by role bit, the line that binds the role, and who is bound.
    roles: Vec<RoleBinding>,
}

/// What one line of the file said about one caller pattern, compiled.
#[derive(Clone, Debug, Default)]
struct Binding {
    roles: u64,
    deny: Deny,
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
    /// As written; `None`: all.
    pub(crate) methods: Option<Vec<String>>,
    pub(crate) line: usize,
}

/// A role's line in the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleBinding {
    pub(crate) line: Option<usize>,
    pub(crate) callers: Vec<CallerPattern>,
}

/// How a policy sees one peer on one method.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) roles: u64,
    /// The deny rule that matched.
    pub(crate) denied: Option<u32>,
}

impl Policy {
    /// Checks and compiles `text`; `source_name` is what errors and records call it.
    ///
    /// # Errors
    /// All problems at once, each with file, line and column.
    pub fn parse(source_name: &str, text: &str, methods: &Methods) -> Result<Self, PolicyError> {
        parse::parse(source_name, text, methods)
    }

    /// A policy in which nobody holds a role: enough for services whose rules ask for none.
    #[must_use]
    pub fn without_roles(methods: &Methods) -> Self {
        Self::new("(no policy file)", "", methods)
    }

    fn new(source: &str, text: &str, methods: &Methods) -> Self {
        Self {
            methods: methods.clone(),
            source: source.into(),
            version: version_of(text.as_bytes()),
            exact: FxHashMap::default(),
            below: FxHashMap::default(),
            depths: 0,
            denies: Vec::new(),
            roles: vec![RoleBinding::default(); methods.roles().len()],
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

    /// The methods it was checked against.
    #[must_use]
    pub fn methods(&self) -> &Methods {
        &self.methods
    }

    /// The roles that `id` holds; sorted by name.
    #[must_use]
    pub fn roles_of(&self, id: &SpiffeId) -> Vec<&'static str> {
        self.methods.role_names(self.role_mask_of(id))
    }

    pub(crate) fn role_mask_of(&self, id: &SpiffeId) -> u64 {
        let mut roles = 0;
        self.each_binding(id, |binding| roles |= binding.roles);
        roles
    }

    #[inline]
    pub(crate) fn standing(&self, id: &SpiffeId, method: MethodIndex) -> Standing {
        let mut standing = Standing::default();
        self.each_binding(id, |binding| {
            standing.roles |= binding.roles;
            let denied = match &binding.deny {
                Deny::Nothing => None,
                Deny::Everything(rule) => Some(*rule),
                Deny::Some(rules) => rules.get(method.index()).copied().flatten(),
            };
            standing.denied = standing.denied.or(denied);
        });
        standing
    }

    /// Calls `visit` with what is bound to `id` itself, then to each of its parents that has anything.
    #[inline]
    fn each_binding(&self, id: &SpiffeId, mut visit: impl FnMut(&Binding)) {
        let text = id.as_str();
        if let Some(binding) = self.exact.get(text) {
            visit(binding);
        }
        if self.depths == 0 {
            return;
        }
        let path = id.path();
        let start = text.len() - path.len();
        let slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
        for (depth, (offset, _)) in (0_u32..).zip(slashes) {
            let depths = self.depths >> depth.min(DEEPEST);
            if depths == 0 {
                break;
            }
            if depths & 1 == 1
                && let Some(parent) = text.get(..start + offset)
                && let Some(binding) = self.below.get(parent)
            {
                visit(binding);
            }
        }
    }

    fn binding_mut(&mut self, caller: &CallerPattern) -> &mut Binding {
        match caller {
            CallerPattern::Exact(id) => self.exact.entry(id.as_str().into()).or_default(),
            CallerPattern::Below(parent) => {
                let depth = parent.path().bytes().filter(|byte| *byte == b'/').count();
                let depth = u32::try_from(depth).unwrap_or(DEEPEST).min(DEEPEST);
                self.depths |= 1 << depth;
                self.below.entry(parent.as_str().into()).or_default()
            }
        }
    }

    /// Adds a caller to a role.
    fn bind(&mut self, bit: usize, caller: CallerPattern) {
        self.binding_mut(&caller).roles |= 1 << bit;
        if let Some(role) = self.roles.get_mut(bit) {
            role.callers.push(caller);
        }
    }

    /// Adds a deny rule for `denied` methods, `None` for all.
    fn deny(&mut self, rule: DenyRule, denied: Option<&[MethodIndex]>) {
        let number = u32::try_from(self.denies.len()).unwrap_or(u32::MAX);
        let count = self.methods.len();
        let deny = &mut self.binding_mut(&rule.caller).deny;
        match (denied, &mut *deny) {
            (_, Deny::Everything(_)) => {}
            (None, _) => *deny = Deny::Everything(number),
            (Some(methods), known) => {
                if let Deny::Nothing = known {
                    *known = Deny::Some(vec![None; count].into());
                }
                if let Deny::Some(rules) = known {
                    for method in methods {
                        if let Some(rule) = rules.get_mut(method.index()) {
                            *rule = rule.or(Some(number));
                        }
                    }
                }
            }
        }
        self.denies.push(rule);
    }

    pub(crate) fn deny_rules(&self) -> &[DenyRule] {
        &self.denies
    }

    pub(crate) fn role_bindings(&self) -> &[RoleBinding] {
        &self.roles
    }

    /// Where the file speaks of the first of `roles` that it speaks of; else the file itself.
    pub(crate) fn place_of_roles(&self, roles: u64) -> Place {
        let bound = (0..).zip(&self.roles).filter(|(bit, _)| roles & (1 << bit) != 0);
        self.place(bound.filter_map(|(_, role)| role.line).next())
    }

    pub(crate) fn place_of_deny(&self, rule: u32) -> Place {
        self.place(self.denies.get(rule as usize).map(|rule| rule.line))
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
