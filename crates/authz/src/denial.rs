//! A refusal that explains itself: who, what, why, and where the rule is written.
//!
//! A `Denial` holds everything, for the server's own records. What of it a caller is told is not decided here but in
//! [`layer`](crate::layer).

use std::fmt;
use std::sync::Arc;

use avouch_spiffe::contract::Rule;
use avouch_spiffe::{Reason, SpiffeId};

use crate::condition::Unmet;
use crate::decide::Caller;
use crate::methods::{DEBUG_ROLE, Method, MethodIndex};
use crate::policy::{Nearest, Place, Policy};

/// Longest path that is kept of a refused call; a caller chooses it freely.
const MAX_PATH: usize = 256;

/// As many bindings are looked through for the nearest one: a refused call must stay cheap.
const MAX_LOOKED_AT: usize = 256;

/// Why a call was refused. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Denial(Arc<Inner>);

/// A condition on the caller's certificate that kept a line of the policy from granting a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCondition {
    /// The role.
    pub role: &'static str,
    /// The line's caller, as written.
    pub caller: String,
    /// Which condition, and by how much.
    pub unmet: Unmet,
    /// Where it is written.
    pub place: Place,
}

#[derive(Clone, Debug)]
struct Inner {
    reason: Reason,
    path: String,
    caller: Who,
    method: Option<MethodIndex>,
    rule: Option<Rule>,
    need: Vec<&'static str>,
    have: Vec<&'static str>,
    place: Option<Place>,
    policy_version: Option<String>,
    debug: bool,
    failed: Option<FailedCondition>,
    nearest: Option<Nearest>,
    audited_by: Option<Place>,
}

#[derive(Clone, Debug)]
enum Who {
    Peer(SpiffeId),
    LocalAdmin,
    Anonymous,
}

impl Denial {
    /// No policy has been loaded yet.
    #[cold]
    pub(crate) fn not_ready(caller: Caller<'_>, path: &str) -> Self {
        Self(Arc::new(Inner::new(Reason::NotReady, caller, path)))
    }

    #[cold]
    pub(crate) fn unknown_method(policy: &Policy, caller: Caller<'_>, path: &str) -> Self {
        Self(Arc::new(Inner::new(Reason::NoAllowRule, caller, path).under(policy, caller)))
    }

    #[cold]
    pub(crate) fn by_rule(policy: &Policy, caller: Caller<'_>, method: &Method, rule: u32) -> Self {
        let mut inner = Inner::new(Reason::DenyRuleMatched, caller, method.path).under(policy, caller);
        inner.of(policy, method);
        inner.place = Some(policy.place_of_deny(rule));
        inner.nearest = policy.deny_rule(rule).map(|rule| Nearest {
            role: None,
            caller: rule.caller.to_string(),
            place: policy.place(Some(rule.line)),
        });
        Self(Arc::new(inner))
    }

    #[cold]
    pub(crate) fn by_contract(policy: &Policy, caller: Caller<'_>, method: &Method, reason: Reason) -> Self {
        let mut inner = Inner::new(reason, caller, method.path).under(policy, caller);
        inner.of(policy, method);
        if let (Reason::RoleMissing, Some(id)) = (reason, caller.spiffe_id()) {
            let need = method.need.roles();
            inner.failed = policy.failed_condition(id, caller.certificate(), need);
            inner.nearest = policy.nearest(id, need, MAX_LOOKED_AT);
        }
        Self(Arc::new(inner))
    }

    /// Notes which line of the policy keeps it from refusing.
    #[cold]
    pub(crate) fn audited_by(mut self, place: Option<Place>) -> Self {
        Arc::make_mut(&mut self.0).audited_by = place;
        self
    }

    /// The one word for it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The path of the call, shortened if it was very long.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The method's number, if there is such a method.
    #[must_use]
    pub fn method(&self) -> Option<MethodIndex> {
        self.0.method
    }

    /// The RPC's rule, if there is such an RPC.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        self.0.rule
    }

    /// The caller's SPIFFE ID, if it has one.
    #[must_use]
    pub fn peer(&self) -> Option<&SpiffeId> {
        match &self.0.caller {
            Who::Peer(id) => Some(id),
            Who::LocalAdmin | Who::Anonymous => None,
        }
    }

    /// Whether the caller is the local administrator.
    #[must_use]
    pub fn is_local_admin(&self) -> bool {
        matches!(self.0.caller, Who::LocalAdmin)
    }

    /// The roles one of which the RPC asks for.
    #[must_use]
    pub fn need(&self) -> &[&'static str] {
        &self.0.need
    }

    /// The roles that the caller holds.
    #[must_use]
    pub fn have(&self) -> &[&'static str] {
        &self.0.have
    }

    /// The place in the policy file that matters: the deny rule that matched, or where the needed roles are bound.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// The version of the policy that decided; none if there was none yet.
    #[must_use]
    pub fn policy_version(&self) -> Option<&str> {
        self.0.policy_version.as_deref()
    }

    /// Whether the caller holds [`DEBUG_ROLE`].
    #[must_use]
    pub fn holds_debug_role(&self) -> bool {
        self.0.debug
    }

    /// For a missing role: the condition on the certificate that kept a line from granting it.
    #[must_use]
    pub fn failed_condition(&self) -> Option<&FailedCondition> {
        self.0.failed.as_ref()
    }

    /// For a missing role, the binding of it that is nearest to the caller; for a deny rule, that rule. Of many bindings
    /// only the first 256 are looked at; [`Policy::nearest_binding`] looks at all.
    #[must_use]
    pub fn nearest(&self) -> Option<&Nearest> {
        self.0.nearest.as_ref()
    }

    /// The line of the policy by which this refusal is only recorded; none if it refuses.
    #[must_use]
    pub fn audit_place(&self) -> Option<&Place> {
        self.0.audited_by.as_ref()
    }

    /// The one clause that failed, in words for operators: a condition with what it got and wants, the deny rule's
    /// caller, or the nearest binding. Empty if there is nothing to add to the reason.
    #[must_use]
    pub fn detail(&self) -> String {
        if let Some(FailedCondition { role, caller, unmet, place }) = self.failed_condition() {
            return format!("{caller} would hold {role} ({place}), but {unmet}");
        }
        match self.nearest() {
            Some(Nearest { role: Some(role), caller, place }) => {
                format!("the nearest that holds {role} is {caller} ({place})")
            }
            Some(Nearest { role: None, caller, .. }) => format!("the rule denies {caller}"),
            None => String::new(),
        }
    }

    /// Who was refused, for records.
    #[must_use]
    pub fn who(&self) -> &str {
        match &self.0.caller {
            Who::Peer(id) => id.as_str(),
            Who::LocalAdmin => "local-admin",
            Who::Anonymous => "anonymous",
        }
    }

    /// The RPC's rule in words.
    #[must_use]
    pub fn rule_text(&self) -> String {
        match self.0.rule {
            Some(Rule::Roles(roles)) => format!("roles: [{}]", roles.join(", ")),
            Some(Rule::AnyIdentity) => "any_identity".to_owned(),
            Some(Rule::Unauthenticated) => "unauthenticated".to_owned(),
            Some(Rule::LocalAdmin) => "local_admin".to_owned(),
            None => "none: the contract does not know this RPC".to_owned(),
        }
    }

    /// What an operator can do to see more or to change it.
    #[must_use]
    pub fn help(&self) -> String {
        let place = self.place().map(ToString::to_string).unwrap_or_else(|| "the policy file".to_owned());
        match (self.reason(), self.peer()) {
            (Reason::RoleMissing, Some(id)) if self.failed_condition().is_some() => {
                format!("{}; to see who it is: avouch entry show {id}", self.detail())
            }
            (Reason::RoleMissing, Some(id)) => format!(
                "to allow it, bind {id} to one of the roles [{}] at {place}; to see who it is: avouch entry show {id}",
                self.need().join(", ")
            ),
            (Reason::DenyRuleMatched, Some(id)) => {
                format!("the deny rule is at {place}; to see who it is: avouch entry show {id}")
            }
            (Reason::NotReady, _) => "no policy is loaded yet; the call may be tried again".to_owned(),
            (Reason::NoPeerIdentity, _) => {
                "the RPC asks for a verified identity and the connection has none: call with an X.509-SVID"
                    .to_owned()
            }
            (_, Some(id)) => format!(
                "no rule allows it, whatever the policy says; RPC's rule: {}; to see who it is: avouch entry show {id}",
                self.rule_text()
            ),
            (_, None) => {
                format!("no rule allows it, whatever the policy says; RPC's rule: {}", self.rule_text())
            }
        }
    }
}

impl Inner {
    fn new(reason: Reason, caller: Caller<'_>, path: &str) -> Self {
        Self {
            reason,
            path: path.chars().take(MAX_PATH).collect(),
            caller: match caller {
                Caller::Peer(id) | Caller::Certified(id, _) => Who::Peer(id.clone()),
                Caller::LocalAdmin => Who::LocalAdmin,
                Caller::Anonymous => Who::Anonymous,
            },
            method: None,
            rule: None,
            need: Vec::new(),
            have: Vec::new(),
            place: None,
            policy_version: None,
            debug: false,
            failed: None,
            nearest: None,
            audited_by: None,
        }
    }

    fn under(mut self, policy: &Policy, caller: Caller<'_>) -> Self {
        if let Some(id) = caller.spiffe_id() {
            self.have = policy.methods().role_names(policy.role_mask_of(id, caller.certificate()));
        }
        self.debug = self.have.contains(&DEBUG_ROLE);
        self.policy_version = Some(policy.version().to_owned());
        self.place = Some(policy.place(None));
        self
    }

    fn of(&mut self, policy: &Policy, method: &Method) {
        self.method = Some(method.index);
        self.rule = policy.methods().rule(method.index).map(|rule| rule.rule);
        if let crate::methods::Need::Roles(mask) = method.need {
            self.need = policy.methods().role_names(mask);
            self.place = Some(policy.place_of_roles(mask));
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} may not call {}", self.reason(), self.who(), self.path())?;
        if self.reason() == Reason::RoleMissing {
            write!(f, ": needs one of [{}], has [{}]", self.need().join(", "), self.have().join(", "))?;
        }
        if let Some(place) = self.place() {
            write!(f, " ({place})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Denial {}
