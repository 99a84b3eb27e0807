//! The denials that a decision makes, each explained as far as the policy can explain it. Only a denied call pays for this.

use std::borrow::Cow;

use avouch_spiffe::Reason;

use super::Caller;
use crate::denial::{Denial, DeniedCaller, Details};
use crate::methods::{DEBUG_ROLE, Method, Need};
use crate::policy::{NearestBinding, Policy};

/// Longest path that is kept of a denied call, in characters; a caller chooses it freely.
const MAX_PATH: usize = 256;

/// The most bindings among which the nearest one is looked for: a denied call must stay cheap.
const MAX_LOOKED_AT: usize = 256;

impl Denial {
    /// No policy has been loaded yet.
    #[cold]
    pub(crate) fn not_ready(caller: Caller<'_>, path: &str) -> Self {
        Details::new(Reason::NotReady, caller, asked_for(path)).into()
    }

    #[cold]
    pub(crate) fn unknown_method(policy: &Policy, caller: Caller<'_>, path: &str) -> Self {
        Details::new(Reason::NoAllowRule, caller, asked_for(path)).under(policy, caller).into()
    }

    #[cold]
    pub(crate) fn by_rule(policy: &Policy, caller: Caller<'_>, method: &Method, rule: u32) -> Self {
        let mut details = Details::of(policy, caller, method, Reason::DenyRuleMatched);
        details.location = Some(policy.location_of_deny(rule));
        details.nearest = policy.deny_rule(rule).map(|rule| NearestBinding {
            role: None,
            caller: rule.caller.to_string(),
            location: policy.location(Some(rule.line)),
        });
        details.into()
    }

    #[cold]
    pub(crate) fn by_contract(policy: &Policy, caller: Caller<'_>, method: &Method, reason: Reason) -> Self {
        let mut details = Details::of(policy, caller, method, reason);
        if let (Reason::RoleMissing, Some(id)) = (reason, caller.spiffe_id()) {
            let need = method.need.roles();
            details.failed_condition = policy.failed_condition(id, caller.certificate(), need);
            details.nearest = policy.nearest(id, need, MAX_LOOKED_AT);
        }
        details.into()
    }
}

impl Details {
    fn new(reason: Reason, caller: Caller<'_>, path: Cow<'static, str>) -> Self {
        Self {
            reason,
            path,
            caller: match caller {
                Caller::Peer(id) | Caller::Certified(id, _) => DeniedCaller::Peer(id.clone()),
                Caller::LocalAdmin => DeniedCaller::LocalAdmin,
                Caller::Anonymous => DeniedCaller::Anonymous,
            },
            method: None,
            rule: None,
            need: Vec::new(),
            have: Vec::new(),
            location: None,
            policy_version: None,
            holds_debug_role: false,
            failed_condition: None,
            nearest: None,
            audited_by: None,
        }
    }

    /// What `policy` says of the caller.
    fn under(mut self, policy: &Policy, caller: Caller<'_>) -> Self {
        if let Some(id) = caller.spiffe_id() {
            self.have = policy.methods().role_names(policy.role_mask_of(id, caller.certificate()));
        }
        self.holds_debug_role = self.have.contains(&DEBUG_ROLE);
        self.policy_version = Some(policy.shared_version());
        self.location = Some(policy.location(None));
        self
    }

    /// What `policy` says of the caller, and the contract of the method.
    fn of(policy: &Policy, caller: Caller<'_>, method: &Method, reason: Reason) -> Self {
        let mut details = Self::new(reason, caller, shortened(method.path).into()).under(policy, caller);
        details.method = Some(method.index);
        details.rule = policy.methods().rule(method.index).map(|rule| rule.rule);
        if let Need::Roles(mask) = method.need {
            details.need = policy.methods().role_names(mask);
            details.location = Some(policy.location_of_roles(mask));
        }
        details
    }
}

/// The path of a method that there may not be.
fn asked_for(path: &str) -> Cow<'static, str> {
    shortened(path).to_owned().into()
}

fn shortened(path: &str) -> &str {
    // No character is shorter than an octet.
    let end = if path.len() <= MAX_PATH { None } else { path.char_indices().nth(MAX_PATH) };
    end.and_then(|(end, _)| path.get(..end)).unwrap_or(path)
}
