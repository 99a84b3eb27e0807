//! One line per issuance, per refusal and per act of administration: who, what, by which right, why not.
//!
//! The lines have the target `avouch::audit` and carry no secret: no token, no key, no request.

use crate::error::{IssueError, chain};
use crate::store::{Entry, Issuance};
use avouch_authz::layer::DecisionId;
use avouch_identity::ConnectionInfo;
use avouch_spiffe::{PeerIdentity, SpiffeId};
use std::time::SystemTime;

/// Who called: what the log may say of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallerFacts<'a> {
    pub(crate) connection: Option<&'a ConnectionInfo>,
    pub(crate) peer: Option<&'a PeerIdentity>,
}

/// A certificate was issued and is on record.
pub(crate) fn issued(issuance: &Issuance, authority: &str) {
    tracing::info!(
        target: "avouch::audit",
        action = "issue",
        origin = issuance.origin.as_str(),
        spiffe_id = issuance.spiffe_id.as_str(),
        serial = issuance.serial,
        not_after = seconds(issuance.not_after),
        key_sha256 = %issuance.key,
        authority,
        "certificate issued"
    );
}

/// A certificate was refused.
pub(crate) fn refused(
    action: &'static str,
    error: &IssueError,
    decision: DecisionId,
    caller: CallerFacts<'_>,
) {
    tracing::warn!(
        target: "avouch::audit",
        action,
        reason = error.reason().as_str(),
        detail = chain(error),
        decision_id = %decision,
        connection_id = caller.connection.map(|info| tracing::field::display(info.id)),
        peer_addr = caller.connection.map(|info| tracing::field::display(info.peer_addr)),
        peer = caller.peer.map(|peer| peer.spiffe_id().as_str()),
        serial = caller.peer.map(PeerIdentity::serial),
        "certificate refused"
    );
}

/// An entry was registered.
pub(crate) fn entry_created(entry: &Entry) {
    let id = entry.entry.spiffe_id.as_str();
    tracing::info!(target: "avouch::audit", action = "create-entry", caller = "local-admin", spiffe_id = id, "entry created");
}

/// An entry was removed.
pub(crate) fn entry_deleted(id: &SpiffeId) {
    let id = id.as_str();
    tracing::info!(target: "avouch::audit", action = "delete-entry", caller = "local-admin", spiffe_id = id, "entry deleted");
}

/// A join token was made.
pub(crate) fn token_created(id: &SpiffeId, expires_at: SystemTime) {
    tracing::info!(
        target: "avouch::audit",
        action = "create-token",
        caller = "local-admin",
        spiffe_id = id.as_str(),
        expires_at = seconds(expires_at),
        "join token created"
    );
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
