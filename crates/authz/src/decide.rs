//! The decision: may this caller call this method under this policy? Pure, and the same one everywhere.
//!
//! Order: an unknown method is denied; a deny rule wins over everything; then the RPC's own rule is asked. Allowing
//! costs two look-ups by hash and no allocation; only a denied call takes the time to explain itself. Audit mode is asked last,
//! and only about a missing role or a deny rule: nobody without an identity ever gets in by it.

mod deny;

use avouch_spiffe::{PeerIdentity, Reason, SpiffeId};

use crate::condition::Certificate;
use crate::denial::Denial;
use crate::methods::{Method, MethodIndex, Need};
use crate::policy::{Grants, Policy};

/// The caller of a method.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// A peer whose SPIFFE ID the connection has verified, and of whose certificate nothing is known: it meets no
    /// condition of the policy.
    Peer(&'a SpiffeId),
    /// A peer whose SPIFFE ID and certificate the connection has verified.
    Certified(&'a SpiffeId, Certificate<'a>),
    /// The operating system's user that owns the process, or root, over the local Unix socket.
    LocalAdmin,
    /// Somebody who showed no certificate.
    Anonymous,
}

impl<'a> Caller<'a> {
    /// A verified peer at the time `now`, which only a policy that
    /// [`asks_for_the_time`](Policy::asks_for_the_time) needs.
    #[must_use]
    pub fn certified(peer: &'a PeerIdentity, now: Option<std::time::SystemTime>) -> Self {
        Self::Certified(peer.spiffe_id(), Certificate { now, ..Certificate::of(peer) })
    }

    /// The caller's SPIFFE ID, if it has one.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&'a SpiffeId> {
        match self {
            Self::Peer(id) | Self::Certified(id, _) => Some(id),
            Self::LocalAdmin | Self::Anonymous => None,
        }
    }

    pub(crate) fn certificate(&self) -> Option<&Certificate<'a>> {
        match self {
            Self::Certified(_, certificate) => Some(certificate),
            Self::Peer(_) | Self::LocalAdmin | Self::Anonymous => None,
        }
    }
}

impl<'a> From<&'a PeerIdentity> for Caller<'a> {
    /// Without the time: no condition on the certificate's age is met.
    fn from(peer: &'a PeerIdentity) -> Self {
        Self::certified(peer, None)
    }
}

/// In a request's extensions: the request came over the local Unix socket, from the process's own user or root. Only a
/// listener that has checked the socket's peer credentials puts it there.
#[derive(Clone, Copy, Debug)]
pub struct LocalAdminCaller;

/// Proof that the policy allowed a call, or lets it through in audit mode; nothing but a decision makes one.
#[derive(Clone, Debug)]
pub struct Permit {
    path: &'static str,
    method: MethodIndex,
    role: Option<&'static str>,
    audited: Option<Denial>,
}

impl Permit {
    /// The method that may be called.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Its number.
    #[must_use]
    pub fn method(&self) -> MethodIndex {
        self.method
    }

    /// The role by which it may be called; none if the rule asks for no role, or the caller lacks it and only audit mode
    /// lets it through.
    #[must_use]
    pub fn role(&self) -> Option<&'static str> {
        self.role
    }

    /// The refusal that this would have been, had the policy not been in audit mode there.
    #[must_use]
    pub fn audited(&self) -> Option<&Denial> {
        self.audited.as_ref()
    }
}

/// Whether `caller` may call the method at `path` under `policy`. A call that audit mode alone lets through is allowed,
/// and its permit holds the refusal.
///
/// # Errors
/// The [`Denial`], with its reason.
#[inline]
pub fn decide(policy: &Policy, caller: Caller<'_>, path: &str) -> Result<Permit, Denial> {
    let Some(method) = policy.methods().find(path) else {
        return Err(Denial::unknown_method(policy, caller, path));
    };
    let (kind, grants) = match caller {
        Caller::Peer(id) => peer(policy.grants(id, None, method.index)),
        Caller::Certified(id, certificate) => peer(policy.grants(id, Some(&certificate), method.index)),
        Caller::LocalAdmin => (CallerKind::LocalAdmin, Grants::default()),
        Caller::Anonymous => (CallerKind::Anonymous, Grants::default()),
    };
    if let Some(rule) = grants.denied {
        return Err(Denial::by_rule(policy, caller, method, rule));
    }
    match judge(method.need, kind) {
        Ok(by) if grants.audited.is_none() => Ok(permit(policy, method, by)),
        Ok(by) => Ok(audited_deny(policy, caller, method, by, grants)),
        Err(Reason::RoleMissing) => role_missing(policy, caller, method, grants),
        Err(reason) => Err(Denial::by_contract(policy, caller, method, reason)),
    }
}

#[inline]
fn peer(grants: Grants) -> (CallerKind, Grants) {
    (CallerKind::Peer { roles: grants.roles }, grants)
}

fn permit(policy: &Policy, method: &Method, by: u64) -> Permit {
    let role = if by == 0 { None } else { policy.methods().first_role(by) };
    Permit { path: method.path, method: method.index, role, audited: None }
}

/// Allowed, but for a deny rule in audit mode.
#[cold]
fn audited_deny(policy: &Policy, caller: Caller<'_>, method: &Method, by: u64, grants: Grants) -> Permit {
    let denial = grants.audited.map(|rule| {
        Denial::by_rule(policy, caller, method, rule).audited_by(Some(policy.location_of_deny(rule)))
    });
    Permit { audited: denial, ..permit(policy, method, by) }
}

/// Refused, or recorded where the policy is in audit mode. A deny rule in audit mode comes first, as it would if it
/// were enforced; by itself it loosens nothing.
#[cold]
fn role_missing(
    policy: &Policy,
    caller: Caller<'_>,
    method: &Method,
    grants: Grants,
) -> Result<Permit, Denial> {
    let missing = || Denial::by_contract(policy, caller, method, Reason::RoleMissing);
    let by = caller.spiffe_id().and_then(|id| policy.audit_of(id, method.index));
    let Some(by) = by else { return Err(missing()) };
    let denial = match grants.audited {
        Some(rule) => Denial::by_rule(policy, caller, method, rule),
        None => missing(),
    };
    Ok(Permit { audited: Some(denial.audited_by(Some(by))), ..permit(policy, method, 0) })
}

/// A caller reduced to what rules ask about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CallerKind {
    Peer { roles: u64 },
    LocalAdmin,
    Anonymous,
}

/// An RPC's rule applied: the mask of roles that allow it (0 if none is asked for), or why not.
#[inline]
pub(crate) fn judge(need: Need, kind: CallerKind) -> Result<u64, Reason> {
    match (need, kind) {
        (Need::Roles(need), CallerKind::Peer { roles }) if need & roles != 0 => Ok(need & roles),
        (Need::Roles(_), CallerKind::Peer { .. }) => Err(Reason::RoleMissing),
        (Need::AnyIdentity, CallerKind::Peer { .. })
        | (Need::Unauthenticated, _)
        | (Need::LocalAdmin, CallerKind::LocalAdmin) => Ok(0),
        (Need::LocalAdmin, CallerKind::Peer { .. } | CallerKind::Anonymous) => Err(Reason::NoAllowRule),
        (Need::Roles(_) | Need::AnyIdentity, CallerKind::LocalAdmin | CallerKind::Anonymous) => {
            Err(Reason::NoPeerIdentity)
        }
    }
}

#[cfg(test)]
mod tests;
