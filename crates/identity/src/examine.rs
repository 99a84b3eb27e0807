//! Verification of a chain, TLS settings, and examination of a server, without a call: with the verdict, the steps and the
//! words of a listener and a channel.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use avouch_spiffe::{PeerIdentity, Reason, TrustDomain};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};

pub use crate::channel::examination::{
    Broken, ClientCertificate, Examination, Examined, ExaminedAddress, Looked, RootsByLeaf, Setting,
};
pub use crate::channel::progress::Step;
use crate::filter::IdentityFilter;
use crate::identity::{Identity, Snapshot};
pub use crate::negotiated_tls::NegotiatedTls;
use crate::tls;
use crate::trust::TrustStore;
use crate::verify::{ChainLimits, ChainVerifier, ConnectionVerifier, Rejection, Role, Trust};

impl TrustStore {
    /// Judges a chain, leaf first, as a listener with default limits would that admits every trusted identity: for
    /// chains that do not come from a handshake. A leaf without a SPIFFE ID is verified against the bundle of
    /// `own_domain`, so that its rejection says what else is wrong.
    ///
    /// # Errors
    /// Why such a listener would reject the chain.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        own_domain: Option<&TrustDomain>,
        now: SystemTime,
    ) -> Result<PeerIdentity, Rejection> {
        verify(self, own_domain, &IdentityFilter::any_trusted(), chain, Role::Client, now)
    }

    /// Judges the chain, leaf first, that a server presented, as a channel would that expects `filter`.
    ///
    /// # Errors
    /// Why such a channel would reject the server.
    pub fn verify_server(
        &self,
        chain: &[CertificateDer<'_>],
        filter: &IdentityFilter,
        now: SystemTime,
    ) -> Result<PeerIdentity, Rejection> {
        verify(self, self.only_domain(), filter, chain, Role::Server, now)
    }
}

impl Identity {
    /// The TLS settings of one connection that is accepted from a caller whom `filter` admits, as a listener with default
    /// limits has them: for a handshake over something else than its socket. They hold the verdict on the peer, so each
    /// connection needs its own.
    ///
    /// # Errors
    /// When rustls does not take the SVID.
    pub fn server_tls(&self, filter: IdentityFilter) -> Result<Arc<ServerConfig>, rustls::Error> {
        let snapshot = self.snapshot();
        tls::server_config(&snapshot.svid, Arc::new(self.verifier(&snapshot, filter)), false)
    }

    /// The TLS settings of one connection that is opened to a server whom `expect` admits, as a channel with default
    /// limits has them; each connection needs its own.
    ///
    /// # Errors
    /// When rustls does not take the SVID.
    pub fn client_tls(&self, expect: IdentityFilter) -> Result<Arc<ClientConfig>, rustls::Error> {
        let snapshot = self.snapshot();
        tls::client_config(Some(&snapshot.svid), Arc::new(self.verifier(&snapshot, expect)))
    }

    fn verifier(&self, snapshot: &Snapshot, filter: IdentityFilter) -> ConnectionVerifier {
        ConnectionVerifier {
            trust: Trust::Store(snapshot.trust.clone()),
            own_domain: Some(snapshot.svid.spiffe_id().trust_domain().clone()),
            filter,
            limits: ChainLimits::default(),
            clock: self.clock().clone(),
            client_certificate_required: true,
            verdict: OnceLock::new(),
        }
    }
}

fn verify(
    trust: &TrustStore,
    own_domain: Option<&TrustDomain>,
    filter: &IdentityFilter,
    chain: &[CertificateDer<'_>],
    role: Role,
    now: SystemTime,
) -> Result<PeerIdentity, Rejection> {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(Rejection::new(Reason::CertMalformed, "the chain is empty"));
    };
    let limits = &ChainLimits::default();
    ChainVerifier { trust, own_domain, filter, limits }.verify(leaf, intermediates, role, now)
}
