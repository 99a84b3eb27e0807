//! The error of a call or connection that gets no share.

use avouch_limits::Network;
use avouch_spiffe::SpiffeId;

use super::resource::Resource;

/// The error of a newcomer that gets no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct ShareExceeded {
    pub(super) resource: Resource,
    pub(super) used: u64,
    pub(super) limit: u64,
    pub(super) spiffe_id: Option<SpiffeId>,
    pub(super) network: Network,
    pub(super) by_identity: u64,
    pub(super) by_network: u64,
}

impl ShareExceeded {
    /// The message. It tells nothing of what others hold: the newcomer holds the most.
    fn text(&self) -> String {
        let Self { resource, used, limit, network, by_identity, by_network, .. } = self;
        let resource = resource.as_str();
        let who = match &self.spiffe_id {
            Some(id) => format!("{id} holds {by_identity} of them"),
            None => format!("callers without identity hold {by_identity} of them"),
        };
        format!(
            "{used} of {limit} {resource} are in use, and {who}, {by_network} from {network}: the holder of most gets no \
             more until others need less or it gives some back"
        )
    }
}
