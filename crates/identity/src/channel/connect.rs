//! Opening a connection: the addresses, TCP, TLS, and proof that the server accepted us.
//!
//! In TLS 1.3 a client finishes its handshake before the server has verified its certificate, so an ordinary client
//! reports success and fails at its first call. Here a connection counts as open only after the server's first frame of
//! HTTP/2 has arrived; a rejection arrives as the alert it was sent as.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use avouch_spiffe::{HostPort, PeerIdentity, Reason, TrustDomain};
use avouch_time::clock::SharedClock;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::Instant;

use super::addresses::{BadAddresses, resolve};
use super::attempt::{ConnectAttempt, OurSide};
use super::failure::ConnectFailure;
use super::http2_connection::{Connected, Http2Connection, Keepalive};
use super::lifetime::Lifetime;
use super::progress::Step;
use super::race::{Limit, RunningAttempt, race};
use super::revocation_watch::RevocationWatch;
use super::steps::{ConnectParameters, Opened, ServerCheck, open};
use crate::clock_skew::ClockDifference;
use crate::filter::IdentityFilter;
use crate::svid::Svid;
use crate::tls;
use crate::verify::{ChainLimits, ConnectionVerifier, Rejection, Trust};

/// Everything one connection needs, whichever address it is made to.
pub(crate) struct Dial<'a> {
    pub(crate) address: &'a HostPort,
    pub(crate) svid: Option<&'a Svid>,
    pub(crate) trust: Trust,
    pub(crate) own_domain: Option<TrustDomain>,
    pub(crate) filter: IdentityFilter,
    pub(crate) limits: ChainLimits,
    pub(crate) clock: SharedClock,
    /// The difference between that clock and the issuer's, where it was measured.
    pub(crate) difference: Option<ClockDifference>,
    pub(crate) timeout: Duration,
    pub(crate) binding: Option<&'static str>,
    /// The addresses that failed lately.
    pub(crate) bad_addresses: &'a BadAddresses,
    /// The trust states to come; none where there is no identity in use yet.
    pub(crate) revocations: Option<RevocationWatch>,
}

impl Dial<'_> {
    /// Opens a connection to one of the addresses, within the timeout.
    ///
    /// # Errors
    /// When none of them leads to the server that is expected, or that server rejects us.
    pub(crate) async fn connect(&self, keepalive: Keepalive) -> Result<Http2Connection, ConnectFailure> {
        let ours = Arc::new(self.ours());
        let limit = Limit { timeout: self.timeout, until: Instant::now() + self.timeout };
        let addresses = resolve(self.address, limit.until, &ours).await?;
        self.connect_to(addresses, &ours, limit, keepalive).await
    }

    async fn connect_to(
        &self,
        addresses: Vec<std::net::SocketAddr>,
        ours: &Arc<OurSide>,
        limit: Limit,
        keepalive: Keepalive,
    ) -> Result<Http2Connection, ConnectFailure> {
        let connected = race(ours, addresses, limit, self.bad_addresses, |address| {
            let attempt = Arc::new(ConnectAttempt::new(ours.clone(), Some(address)));
            RunningAttempt::new(attempt.clone(), self.attempt(attempt))
        });
        Ok(Http2Connection::start(connected.await?, keepalive, self.revocations.clone()))
    }

    fn ours(&self) -> OurSide {
        let bundle = match (&self.trust, &self.own_domain) {
            (Trust::Store(store), Some(domain)) => store.bundles().get(domain),
            _ => None,
        };
        OurSide {
            target: self.address.to_string(),
            expect: self.filter.only().cloned(),
            svid: self.svid.cloned(),
            // A bundle that is not numbered, as one from a file, has no number to compare.
            bundle_sequence: bundle.map(|bundle| bundle.sequence()).filter(|sequence| *sequence > 0),
            clock: self.clock.clone(),
            difference: self.difference,
        }
    }

    async fn attempt(&self, attempt: Arc<ConnectAttempt>) -> Result<Connected, ConnectFailure> {
        let check = Box::new(StrictCheck { verifier: Arc::new(self.verifier()), svid: self.svid.cloned() });
        let parameters =
            ConnectParameters { name: server_name(self.address.host()), check, binding: self.binding };
        let Opened { http2, peer, exporter } = open(&attempt, parameters).await?;
        // A strict check lets no server through without a verified identity; this fails closed all the same.
        let Some(peer) = peer else {
            return Err(self.nobody(&attempt));
        };
        Ok(Connected {
            http2,
            exporter,
            lifetime: Lifetime::new(self.clock.clone(), &peer, self.svid),
            attempt,
        })
    }

    fn nobody(&self, attempt: &Arc<ConnectAttempt>) -> ConnectFailure {
        let detail = format!("the server presented no certificate; expected {}", self.filter);
        attempt.failure(Step::Verify, Reason::ServerIdentityMismatch, detail).found()
    }

    fn verifier(&self) -> ConnectionVerifier {
        ConnectionVerifier {
            trust: self.trust.clone(),
            own_domain: self.own_domain.clone(),
            filter: self.filter.clone(),
            limits: self.limits,
            clock: self.clock.clone(),
            client_certificate_required: false,
            verdict: OnceLock::new(),
        }
    }
}

/// The name in the TLS handshake, which nobody verifies: identities are, and a channel sends no SNI.
pub(super) fn server_name(host: &str) -> ServerName<'static> {
    ServerName::try_from(host.to_owned())
        .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// The check of a channel: a server that is not verified is not connected to.
struct StrictCheck {
    verifier: Arc<ConnectionVerifier>,
    svid: Option<Svid>,
}

impl ServerCheck for StrictCheck {
    fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        tls::client_config(self.svid.as_ref(), self.verifier.clone())
    }

    fn verdict(&self) -> Option<Result<Arc<PeerIdentity>, Rejection>> {
        self.verifier.verdict().cloned()
    }

    fn expected(&self) -> Option<String> {
        Some(self.verifier.filter.to_string())
    }

    fn handshake_reason(&self, error: &rustls::Error) -> (Reason, String) {
        self.verifier.handshake_reason(error)
    }
}

#[cfg(test)]
pub(super) mod tests;
