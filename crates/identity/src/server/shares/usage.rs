//! The usage of a listener's resources and their top holders, for operators.

use avouch_limits::Network;
use avouch_spiffe::SpiffeId;

use super::Resource;

/// The use of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The resource.
    pub resource: Resource,
    /// The amount in use.
    pub used: u64,
    /// The limit, at which shares begin to bind.
    pub limit: u64,
    /// The number of refusals of more of it since the listener began.
    pub refused: u64,
    /// The holders of most of it, the top holder first.
    pub holders: Vec<Holder>,
}

/// One holder: the connections of one identity from one network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The identity; `None` for callers without one.
    pub spiffe_id: Option<SpiffeId>,
    /// The source network.
    pub network: Network,
    /// The amount that it holds.
    pub held: u64,
}
