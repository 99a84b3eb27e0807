//! The decision: may this caller call this method under this policy? Pure, and the same one everywhere.
//!
//! Order: an unknown method is refused; a deny rule wins over everything; then the RPC's own rule is asked. Allowing
//! costs two look-ups by hash and no allocation; only a refusal takes the time to explain itself.

use avouch_spiffe::{PeerIdentity, Reason, SpiffeId};

use crate::denial::Denial;
use crate::methods::{Method, MethodIndex, Need};
use crate::policy::Policy;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// A peer whose SPIFFE ID the connection has verified.
    Peer(&'a SpiffeId),
    /// The operating system's user that owns the process, or root, over the local Unix socket.
    LocalAdmin,
    /// Somebody who showed no certificate.
    Anonymous,
}

impl<'a> From<&'a PeerIdentity> for Caller<'a> {
    fn from(peer: &'a PeerIdentity) -> Self {
        Self::Peer(peer.spiffe_id())
    }
}

/// In a request's extensions: the request came over the local Unix socket, from the process's own user or root. Only a
/// listener that has checked the socket's peer credentials puts it there.
#[derive(Clone, Copy, Debug)]
pub struct LocalAdminCaller;

/// Proof that the policy allowed a call; nothing but a decision makes one.
#[derive(Clone, Copy, Debug)]
pub struct Permit {
    path: &'static str,
    method: MethodIndex,
    role: Option<&'static str>,
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

    /// The role by which it may be called; none if the rule asks for no role.
    #[must_use]
    pub fn role(&self) -> Option<&'static str> {
        self.role
    }
}

/// Whether `caller` may call the method at `path` under `policy`.
///
/// # Errors
/// The [`Denial`], with its reason.
#[inline]
pub fn decide(policy: &Policy, caller: Caller<'_>, path: &str) -> Result<Permit, Denial> {
    let Some(method) = policy.methods().find(path) else {
        return Err(Denial::unknown_method(policy, caller, path));
    };
    let (standing, denied) = match caller {
        Caller::Peer(id) => {
            let seen = policy.standing(id, method.index);
            (Standing::Peer { roles: seen.roles }, seen.denied)
        }
        Caller::LocalAdmin => (Standing::LocalAdmin, None),
        Caller::Anonymous => (Standing::Anonymous, None),
    };
    if let Some(rule) = denied {
        return Err(Denial::by_rule(policy, caller, method, rule));
    }
    match judge(method.need, standing) {
        Ok(by) => Ok(permit(policy, method, by)),
        Err(reason) => Err(Denial::by_contract(policy, caller, method, reason)),
    }
}

fn permit(policy: &Policy, method: &Method, by: u64) -> Permit {
    let role = if by == 0 { None } else { policy.methods().first_role(by) };
    Permit { path: method.path, method: method.index, role }
}

/// A caller reduced to what rules ask about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standing {
    Peer { roles: u64 },
    LocalAdmin,
    Anonymous,
}

/// An RPC's rule applied: the mask of roles that allow it (0 if none is asked for), or why not.
#[inline]
pub(crate) fn judge(need: Need, standing: Standing) -> Result<u64, Reason> {
    match (need, standing) {
        (Need::Roles(need), Standing::Peer { roles }) if need & roles != 0 => Ok(need & roles),
        (Need::Roles(_), Standing::Peer { .. }) => Err(Reason::RoleMissing),
        (Need::AnyIdentity, Standing::Peer { .. })
        | (Need::Unauthenticated, _)
        | (Need::LocalAdmin, Standing::LocalAdmin) => Ok(0),
        (Need::LocalAdmin, Standing::Peer { .. } | Standing::Anonymous) => Err(Reason::NoAllowRule),
        (Need::Roles(_) | Need::AnyIdentity, Standing::LocalAdmin | Standing::Anonymous) => {
            Err(Reason::NoPeerIdentity)
        }
    }
}

#[cfg(test)]
mod tests;
