//! The record of one event in memory, compact: nothing is formatted before somebody reads it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use avouch_authz::layer::DecisionId;
use avouch_authz::{Denial, LocalAdminCaller, MethodIndex};
use avouch_identity::{ConnectionClosed, ConnectionId, ConnectionInfo, ConnectionRecord};
use avouch_spiffe::{PeerIdentity, Reason};
use http::Extensions;

/// The caller of a call.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A peer with a verified identity.
    Peer(Arc<PeerIdentity>),
    /// The local administrator.
    LocalAdmin,
    /// A caller without a certificate.
    Anonymous,
}

impl Caller {
    /// The caller as the listener put it into the request's extensions.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        if let Some(peer) = extensions.get::<Arc<PeerIdentity>>() {
            Self::Peer(Arc::clone(peer))
        } else if extensions.get::<LocalAdminCaller>().is_some() {
            Self::LocalAdmin
        } else {
            Self::Anonymous
        }
    }

    /// The caller's name in records.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Peer(peer) => peer.spiffe_id().as_str(),
            Self::LocalAdmin => "local-admin",
            Self::Anonymous => "anonymous",
        }
    }
}

/// The connection of a call, as records name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Via {
    pub(crate) id: ConnectionId,
    pub(crate) peer_addr: SocketAddr,
}

impl Via {
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Arc<ConnectionInfo>>().map(|info| Self::from(&**info))
    }
}

impl From<&ConnectionInfo> for Via {
    fn from(info: &ConnectionInfo) -> Self {
        Self { id: info.id, peer_addr: info.peer_addr }
    }
}

/// A connection attempt, and the end of the connection once it is known.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) record: ConnectionRecord,
    pub(crate) suppressed: u64,
    pub(crate) closed: Option<ConnectionClosed>,
}

/// A call that was denied, or let through in audit mode.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) id: Option<DecisionId>,
    pub(crate) at: SystemTime,
    pub(crate) audited: bool,
    pub(crate) caller: Caller,
    pub(crate) via: Option<Via>,
    pub(crate) trace: Option<[u8; 16]>,
    pub(crate) why: Why,
    pub(crate) suppressed: u64,
}

/// The origin of a denial.
#[derive(Clone, Debug)]
pub(crate) enum Why {
    /// The policy.
    Denial(Denial),
    /// The service itself.
    Service { method: String, reason: Reason, detail: String },
}

/// A call that was allowed.
#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    pub(crate) at: SystemTime,
    pub(crate) caller: Caller,
    pub(crate) via: Option<Via>,
    pub(crate) trace: Option<[u8; 16]>,
    pub(crate) method: MethodIndex,
    pub(crate) role: Option<&'static str>,
}

/// One record; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Attempt(Arc<Attempt>),
    Refused(Arc<Refused>),
    Allowed(Allowed),
}

impl Entry {
    pub(crate) fn at(&self) -> SystemTime {
        match self {
            Self::Attempt(attempt) => attempt.record.at,
            Self::Refused(refused) => refused.at,
            Self::Allowed(allowed) => allowed.at,
        }
    }
}
