//! The verifier of an examination: verifies a server as a channel does, if at all, and keeps what it showed.

use std::fmt;
use std::sync::{Arc, OnceLock};

use avouch_spiffe::{PeerIdentity, Reason, SpiffeId};
use avouch_time::clock::SharedClock;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, SignatureScheme};

use super::super::steps::ServerCheck;
use crate::filter::IdentityFilter;
use crate::svid::Svid;
use crate::tls;
use crate::trust::TrustStore;
use crate::verify::{ChainLimits, ConnectionVerifier, Rejection, Trust, handshake_reason, tls13_signatures};

/// The lookup of the roots to verify the server with that shows this leaf; `None` if it is not to be verified.
pub type RootsByLeaf = dyn Fn(&[u8]) -> Option<TrustStore> + Send + Sync;

/// The chain that the server of one connection showed.
pub(super) struct Seen {
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// A channel's verifier with its verdict; `None`: there was nothing to judge by.
    verifier: Option<ConnectionVerifier>,
}

/// The verifier of one examined connection: verifies the server as a channel does, if at all, and keeps what it showed.
pub(super) struct Examiner {
    pub(super) roots: Option<Arc<RootsByLeaf>>,
    pub(super) expect: Option<SpiffeId>,
    pub(super) svid: Option<Svid>,
    pub(super) name_host: bool,
    pub(super) clock: SharedClock,
    pub(super) seen: OnceLock<Seen>,
    /// Whether a client certificate was presented, once it was asked for.
    pub(super) presented: OnceLock<bool>,
}

impl fmt::Debug for Examiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examiner").field("expect", &self.expect).finish_non_exhaustive()
    }
}

impl Examiner {
    pub(super) fn verdict(&self) -> Option<Result<Arc<PeerIdentity>, Rejection>> {
        self.seen.get()?.verifier.as_ref()?.verdict().cloned()
    }

    /// A channel's verifier for the server that shows this leaf.
    fn verifier(&self, leaf: &[u8]) -> Option<ConnectionVerifier> {
        let store = self.roots.as_ref()?(leaf)?;
        let own_domain = store.only_domain().cloned();
        Some(ConnectionVerifier {
            trust: Trust::Store(Arc::new(store)),
            own_domain,
            filter: match &self.expect {
                Some(expected) => expected.clone().into(),
                None => IdentityFilter::any_trusted(),
            },
            limits: ChainLimits::default(),
            clock: self.clock.clone(),
            client_certificate_required: false,
            verdict: OnceLock::new(),
        })
    }
}

/// The check of an examination, in place of a channel's.
pub(super) struct ExaminerCheck(pub(super) Arc<Examiner>);

impl ServerCheck for ExaminerCheck {
    fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        tls::client_settings(self.0.clone(), Some(self.0.clone()), self.0.name_host)
    }

    fn verdict(&self) -> Option<Result<Arc<PeerIdentity>, Rejection>> {
        self.0.verdict()
    }

    fn expected(&self) -> Option<String> {
        // A server that was verified has a verdict, and one that was not may be any.
        None
    }

    fn handshake_reason(&self, error: &Error) -> (Reason, String) {
        match self.0.seen.get().and_then(|seen| seen.verifier.as_ref()) {
            Some(verifier) => verifier.handshake_reason(error),
            None => handshake_reason(error),
        }
    }
}

impl ServerCertVerifier for Examiner {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain: Vec<_> = chain.map(|certificate| certificate.clone().into_owned()).collect();
        let verifier = self.verifier(end_entity);
        let outcome = match &verifier {
            Some(verifier) => {
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Ok(ServerCertVerified::assertion()),
        };
        let kept = self.seen.set(Seen { chain, verifier });
        kept.map_err(|_| Error::General("certificate presented twice".to_owned()))?;
        outcome
    }

    tls13_signatures!();
}

impl ResolvesClientCert for Examiner {
    fn resolve(&self, _root_hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // No client certificate is presented to a server that is not verified, so that it does not learn our identity.
        // A server that is verified and rejected does not see it either: the certificate is requested here, and sent
        // only after the server's certificate was verified.
        let judged = self.roots.is_some();
        let svid = self.svid.as_ref().filter(|_| judged);
        let key = svid.map(Svid::certified_key).filter(|key| key.key.choose_scheme(schemes).is_some());
        // Asked once per handshake.
        let _ = self.presented.set(key.is_some());
        key.cloned()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
