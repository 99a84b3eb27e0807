//! A refusal that explains itself: who, what, why, and where the rule is written.
//!
//! A `Denial` holds everything, for the server's own records. What of it a caller is told is not decided here but in
//! [`layer`](crate::layer).

use std::fmt;

use avouch_spiffe::contract::Rule;
use avouch_spiffe::{Reason, SpiffeId};

use crate::decide::Caller;
use crate::methods::{DEBUG_ROLE, Method, MethodIndex};
use crate::policy::{Place, Policy};

/// Longest path that is kept of a refused call; a caller chooses it freely.
const MAX_PATH: usize = 256;

/// Why a call was refused.
#[derive(Clone, Debug)]
pub struct Denial(Box<Inner>);

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
        Self(Box::new(Inner::new(Reason::NotReady, caller, path)))
    }

    #[cold]
    pub(crate) fn unknown_method(policy: &Policy, caller: Caller<'_>, path: &str) -> Self {
        Self(Box::new(Inner::new(Reason::NoAllowRule, caller, path).under(policy, caller)))
    }

    #[cold]
    pub(crate) fn by_rule(policy: &Policy, caller: Caller<'_>, method: &Method, rule: u32) -> Self {
        let mut inner = Inner::new(Reason::DenyRuleMatched, caller, method.path).under(policy, caller);
        inner.of(policy, method);
        inner.place = Some(policy.place_of_deny(rule));
        Self(Box::new(inner))
    }

    #[cold]
    pub(crate) fn by_contract(policy: &Policy, caller: Caller<'_>, method: &Method, reason: Reason) -> Self {
        let mut inner = Inner::new(reason, caller, method.path).under(policy, caller);
        inner.of(policy, method);
        Self(Box::new(inner))
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
                Caller::Peer(id) => Who::Peer(id.clone()),
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
        }
    }

    fn under(mut self, policy: &Policy, caller: Caller<'_>) -> Self {
        if let Caller::Peer(id) = caller {
            self.have = policy.roles_of(id);
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
