//! The check of a verified peer against the revocations of the trust state (ADR 10): in the handshake, and again on live
//! connections whenever the trust state changes.

use avouch_spiffe::{PeerIdentity, Revocation, RevokedKind};

use super::rejection::Rejection;
use crate::trust::TrustStore;

/// Refuses a peer whose identity, certificate or authority has been revoked.
pub(crate) fn check_revoked(trust: &TrustStore, peer: &PeerIdentity) -> Result<(), Rejection> {
    match trust.state().revocations.of(peer) {
        None => Ok(()),
        Some((kind, revocation)) => Err(Rejection::new(kind.reason(), detail(peer, kind, revocation))),
    }
}

/// What was revoked, in a sentence. Who did it, when and why is on record at the issuer.
fn detail(peer: &PeerIdentity, kind: RevokedKind, revocation: &Revocation) -> String {
    let (id, serial) = (peer.spiffe_id(), peer.serial());
    let what = match kind {
        RevokedKind::Identity => format!("the identity {id} has been revoked"),
        RevokedKind::Serial => format!("certificate {serial} of {id} has been revoked"),
        RevokedKind::Authority => {
            format!("an authority above certificate {serial} of {id} has been revoked")
        }
        RevokedKind::Root => format!("the root above certificate {serial} of {id} has been revoked"),
    };
    format!("{what} (trust state {}); by whom and why: `avouch revocations`", revocation.since)
}
