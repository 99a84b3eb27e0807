//! A denied call, explained: who called what, why it was denied, and where the rule is written.
//!
//! A `Denial` holds everything, for the server's own records. How much of it the caller is told is decided in
//! [`layer`](crate::layer).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use avouch_spiffe::contract::Rule;
use avouch_spiffe::{Reason, SpiffeId};

use crate::methods::MethodIndex;
use crate::policy::{FailedCondition, NearestBinding, SourceLocation};

/// The explanation of a denied call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Denial(Arc<Details>);

/// The fields of a [`Denial`], which the decision fills in.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    pub(crate) reason: Reason,
    pub(crate) path: Cow<'static, str>,
    pub(crate) caller: DeniedCaller,
    pub(crate) method: Option<MethodIndex>,
    pub(crate) rule: Option<Rule>,
    pub(crate) need: Vec<&'static str>,
    pub(crate) have: Vec<&'static str>,
    pub(crate) location: Option<SourceLocation>,
    pub(crate) policy_version: Option<Arc<str>>,
    pub(crate) holds_debug_role: bool,
    pub(crate) failed_condition: Option<FailedCondition>,
    pub(crate) nearest: Option<NearestBinding>,
    pub(crate) audited_by: Option<SourceLocation>,
}

/// The caller of a denied call.
#[derive(Clone, Debug)]
pub(crate) enum DeniedCaller {
    Peer(SpiffeId),
    LocalAdmin,
    Anonymous,
}

impl From<Details> for Denial {
    fn from(details: Details) -> Self {
        Self(Arc::new(details))
    }
}

impl Denial {
    /// Notes the line of the policy by which the call is let through all the same.
    #[cold]
    pub(crate) fn audited_by(mut self, location: Option<SourceLocation>) -> Self {
        Arc::make_mut(&mut self.0).audited_by = location;
        self
    }

    /// The reason for the denial.
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
            DeniedCaller::Peer(id) => Some(id),
            DeniedCaller::LocalAdmin | DeniedCaller::Anonymous => None,
        }
    }

    /// Whether the caller is the local administrator.
    #[must_use]
    pub fn is_local_admin(&self) -> bool {
        matches!(self.0.caller, DeniedCaller::LocalAdmin)
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

    /// The location in the policy file that matters: the deny rule that matched, or where the needed roles are bound.
    #[must_use]
    pub fn location(&self) -> Option<&SourceLocation> {
        self.0.location.as_ref()
    }

    /// The version of the policy that decided; `None` if there was no policy yet.
    #[must_use]
    pub fn policy_version(&self) -> Option<&str> {
        self.0.policy_version.as_deref()
    }

    /// Whether the caller holds [`DEBUG_ROLE`](crate::DEBUG_ROLE).
    #[must_use]
    pub fn holds_debug_role(&self) -> bool {
        self.0.holds_debug_role
    }

    /// For a missing role: the condition on the certificate that kept a line from granting it.
    #[must_use]
    pub fn failed_condition(&self) -> Option<&FailedCondition> {
        self.0.failed_condition.as_ref()
    }

    /// For a missing role, the binding of it that is nearest to the caller; for a deny rule, that rule. Of many bindings
    /// only the first 256 are looked at; [`nearest_binding`](crate::Policy::nearest_binding) looks at all.
    #[must_use]
    pub fn nearest(&self) -> Option<&NearestBinding> {
        self.0.nearest.as_ref()
    }

    /// The line of the policy by which this denial is only recorded; `None` if the call was stopped.
    #[must_use]
    pub fn audit_location(&self) -> Option<&SourceLocation> {
        self.0.audited_by.as_ref()
    }

    /// The clause that failed, in words for operators: a condition with what it got and wants, the deny rule's
    /// caller, or the nearest binding. Empty if there is nothing to add to the reason.
    #[must_use]
    pub fn detail(&self) -> String {
        if let Some(FailedCondition { role, caller, unmet, location }) = self.failed_condition() {
            return format!("{caller} would hold {role} ({location}), but {unmet}");
        }
        match self.nearest() {
            Some(NearestBinding { role: Some(role), caller, location }) => {
                format!("the nearest that holds {role} is {caller} ({location})")
            }
            Some(NearestBinding { role: None, caller, .. }) => format!("the rule denies {caller}"),
            None => String::new(),
        }
    }

    /// The caller's name in records.
    #[must_use]
    pub fn who(&self) -> &str {
        match &self.0.caller {
            DeniedCaller::Peer(id) => id.as_str(),
            DeniedCaller::LocalAdmin => "local-admin",
            DeniedCaller::Anonymous => "anonymous",
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

    /// Advice for operators: how to see more, or to allow the call.
    #[must_use]
    pub fn help(&self) -> String {
        let location =
            self.location().map(ToString::to_string).unwrap_or_else(|| "the policy file".to_owned());
        let advice = if self.reason() == Reason::NotReady {
            return "no policy is loaded yet; the call may be tried again".to_owned();
        } else if self.reason() == Reason::NoPeerIdentity {
            return "the RPC asks for a verified identity and the connection has none: call with an X.509-SVID".to_owned();
        } else if self.failed_condition().is_some() {
            self.detail()
        } else if let (Reason::RoleMissing, Some(id)) = (self.reason(), self.peer()) {
            let roles = self.need().join(", ");
            format!("to allow it, bind {id} to one of the roles [{roles}] at {location}")
        } else if self.reason() == Reason::DenyRuleMatched {
            format!("the deny rule is at {location}")
        } else {
            format!("no rule allows it, whatever the policy says; RPC's rule: {}", self.rule_text())
        };
        match self.peer() {
            Some(id) => format!("{advice}; to see who it is: avouch entry show {id}"),
            None => advice,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} may not call {}", self.reason(), self.who(), self.path())?;
        if self.reason() == Reason::RoleMissing {
            write!(f, ": needs one of [{}], has [{}]", self.need().join(", "), self.have().join(", "))?;
        }
        if let Some(location) = self.location() {
            write!(f, " ({location})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Denial {}
