//! Watches the trust state for the revocation of a connection's server (ADR 10).

use std::sync::Arc;

use avouch_spiffe::PeerIdentity;
use tokio::sync::watch;

use crate::identity::{Identity, Snapshot};
use crate::verify::{Rejection, check_revoked};

/// The trust states that come after the one by which a connection's server was judged.
#[derive(Clone)]
pub(crate) struct RevocationWatch {
    identity: Identity,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The generation of the snapshot that was judged by.
    judged: u64,
}

impl RevocationWatch {
    /// A watch for a handshake by this snapshot.
    pub(crate) fn new(identity: &Identity, judged_by: &Snapshot) -> Self {
        Self { identity: identity.clone(), snapshots: identity.subscribe(), judged: judged_by.generation }
    }

    /// Resolves when the server is revoked; its connection counts as ended for that. May be dropped and asked again.
    pub(crate) async fn revoked(&mut self, server: &PeerIdentity) -> Rejection {
        loop {
            // By its number and not by the receiver's mark: a state may have come between the handshake and the watch.
            let snapshot = self.snapshots.borrow_and_update().clone();
            if snapshot.generation != self.judged {
                self.judged = snapshot.generation;
                if let Err(rejection) = check_revoked(&snapshot.trust, server) {
                    self.identity.count_opened_ended();
                    return rejection;
                }
            }
            drop(snapshot);
            if self.snapshots.changed().await.is_err() {
                // The source has ended: there will be no other state.
                return std::future::pending().await;
            }
        }
    }
}
