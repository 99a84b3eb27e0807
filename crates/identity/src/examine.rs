//! For programs that look at a connection from outside, step by step, and want to say the same words as a channel.
//!
//! Judges as a channel does and opens nothing itself.

use std::time::SystemTime;

use avouch_spiffe::{PeerIdentity, Reason};
use rustls::pki_types::CertificateDer;

use crate::filter::IdentityFilter;
use crate::trust::TrustStore;
use crate::verify::{ChainLimits, Judge, Rejection, Role};

impl TrustStore {
    /// Judges the chain, leaf first, that a server presented, as a channel would that expects `filter`.
    ///
    /// # Errors
    /// Why such a channel would refuse the server.
    pub fn verify_server(
        &self,
        chain: &[CertificateDer<'_>],
        filter: &IdentityFilter,
        now: SystemTime,
    ) -> Result<PeerIdentity, Rejection> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(Rejection::new(Reason::CertMalformed, "the chain is empty"));
        };
        let own_domain = match self.bundles().iter().map(|bundle| bundle.trust_domain()).collect::<Vec<_>>()[..]
        {
            [only] => Some(only),
            _ => None,
        };
        let judge = Judge {
            trust: self,
            own_domain,
            filter,
            limits: &ChainLimits::default(),
            algorithms: crate::tls::crypto_provider().signature_verification_algorithms.all,
        };
        judge.verify(leaf, intermediates, Role::Server, now)
    }
}

impl Rejection {
    /// The rustls error that makes rustls send the alert a channel would send.
    pub fn alert(&self) -> rustls::Error {
        self.to_rustls()
    }
}

/// The word for a handshake that failed outside certificate verification, and what in particular failed.
pub fn handshake_failure(error: &rustls::Error) -> (Reason, String) {
    crate::verify::handshake_reason(error)
}
