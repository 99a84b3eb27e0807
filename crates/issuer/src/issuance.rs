//! Certificate issuance, in this order: authenticate the requester, look up its entry, sign, record, hand out.
//!
//! Invariants: the identity comes from the evidence, the connection or the proven expired SVID, never from the request;
//! only the public key is taken from the request; a certificate is durable in the store before it is handed out;
//! nothing is issued for a deleted entry, for a certificate of an earlier registration or, on renewal, for one outside
//! its dates.

use crate::attest::{Attestor, Evidence};
use crate::audit;
use crate::authorities::Authorities;
use crate::entries::dns_names;
use crate::error::IssueError;
use crate::metrics::Metrics;
use crate::recovery::{RecoveryError, RecoveryRequest, nonces, verify};
use crate::store::{CertificateRecord, Commit, CommitOutcome, Entry, KeyHash, Origin, Store, TokenHash};
use crate::trust::{Published, Trust};
use avouch_identity::ConnectionInfo;
use avouch_issuance::{Csr, Issued, Request};
use avouch_spiffe::x509::sha256;
use avouch_spiffe::{PeerIdentity, SpiffeId};
use avouch_time::clock::SharedClock;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The certificate and the trust state that a workload gets.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) issued: Issued,
    pub(crate) trust: Arc<Published>,
    pub(crate) now: SystemTime,
}

/// Issues certificates.
#[derive(Debug)]
pub(crate) struct Issuance {
    pub(crate) authorities: Authorities,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) attestor: Arc<dyn Attestor>,
    pub(crate) trust: Trust,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Metrics,
    /// Life of an SVID whose entry names none.
    pub(crate) svid_ttl: Duration,
    /// Recovery window of an entry that names none.
    pub(crate) recovery_window: Duration,
}

/// A proven entitlement to a certificate: the entry, and how the right to it was proven.
struct Entitlement {
    entry: Entry,
    origin: Origin,
    token: Option<TokenHash>,
    presented: Option<String>,
    /// The serial number of the certificate that proved the right to it, on record or not.
    parent: Option<String>,
    /// Where the request came from.
    from: SocketAddr,
}

impl Issuance {
    /// Issues the first certificate of a workload, by the evidence that it shows.
    #[tracing::instrument(name = "enroll", skip_all)]
    pub(crate) async fn enroll(
        &self,
        evidence: &Evidence,
        csr: &[u8],
        from: SocketAddr,
    ) -> Result<Grant, IssueError> {
        let csr = Csr::parse(csr)?;
        let key = KeyHash(sha256(csr.spki_der()));
        let attested = self.attestor.attest(evidence, &key, self.clock.now()).await?;
        let entitlement = Entitlement {
            entry: attested.entry,
            origin: Origin::Enroll,
            token: attested.token,
            presented: None,
            parent: None,
            from,
        };
        self.issue(entitlement, &csr, key).await
    }

    /// Issues a new certificate for the identity that the connection proved.
    #[tracing::instrument(name = "renew", skip_all, fields(spiffe_id = peer.spiffe_id().as_str()))]
    pub(crate) async fn renew(
        &self,
        peer: &PeerIdentity,
        csr: &[u8],
        from: SocketAddr,
    ) -> Result<Grant, IssueError> {
        self.holds_now(peer)?;
        let csr = Csr::parse(csr)?;
        let key = KeyHash(sha256(csr.spki_der()));
        let entry = self.store.entry(peer.spiffe_id()).await?;
        let entry = entry.ok_or_else(|| IssueError::NoEntry(peer.spiffe_id().clone()))?;
        let presented = match self.store.certificate(peer.serial()).await? {
            None if self.issued_in_gap(peer.spiffe_id(), peer.serial()).await? => None,
            // Neither on record nor in a recovery gap: the serial number is kept, so that the commit refuses it.
            _ => Some(peer.serial().to_owned()),
        };
        let parent = Some(peer.serial().to_owned());
        self.issue(
            Entitlement { entry, origin: Origin::Renew, token: None, presented, parent, from },
            &csr,
            key,
        )
        .await
    }

    /// Refuses a peer certificate outside its validity period. The handshake checked the period only when the
    /// connection was opened; the clock may have been set, or the machine suspended, since then.
    ///
    /// An expired certificate is subject to the entry's recovery window, which [`Issuance::recover`] enforces and a
    /// renewal would bypass. One that is not valid yet is refused as well, since the handshake of a new connection
    /// would refuse it. Neither locks a workload out, since recovery accepts both.
    fn holds_now(&self, peer: &PeerIdentity) -> Result<(), IssueError> {
        let (now, spiffe_id) = (self.clock.now(), peer.spiffe_id().clone());
        let serial = peer.serial().to_owned();
        // `notAfter` is inclusive, as in the handshake.
        if now >= peer.not_after() + Duration::from_secs(1) {
            return Err(IssueError::PresentedExpired { spiffe_id, serial });
        }
        if now < peer.not_before() {
            return Err(IssueError::PresentedNotYetValid { spiffe_id, serial });
        }
        Ok(())
    }

    /// A fresh certificate for the holder of the key of an expired one (ADR 3).
    #[tracing::instrument(name = "recover", skip_all)]
    pub(crate) async fn recover(
        &self,
        connection: &ConnectionInfo,
        request: &RecoveryRequest,
    ) -> Result<Grant, IssueError> {
        if !nonces::spend(&request.nonce, connection) {
            return Err(RecoveryError::Nonce.into());
        }
        let bundle = self.trust.current();
        let leaf = verify(request, connection.exporter.as_ref(), &bundle)?;
        let csr = Csr::parse(&request.csr)?;
        let key = KeyHash(sha256(csr.spki_der()));
        let serial = leaf.serial().to_owned();
        let presented = match self.store.certificate(&serial).await? {
            Some(record)
                if record.key.0 == sha256(leaf.spki_der()) && record.spiffe_id == *leaf.spiffe_id() =>
            {
                Some(serial.clone())
            }
            Some(_) => return Err(RecoveryError::DiffersFromRecord { serial }.into()),
            None if self.issued_in_gap(leaf.spiffe_id(), &serial).await? => None,
            None => return Err(RecoveryError::NotOnRecord { serial }.into()),
        };
        let entry = self.store.entry(leaf.spiffe_id()).await?;
        let entry = entry.ok_or_else(|| IssueError::NoEntry(leaf.spiffe_id().clone()))?;
        let window = entry.entry.recovery_window.unwrap_or(self.recovery_window);
        let ended = leaf.not_after() + window;
        if self.clock.now() > ended {
            return Err(RecoveryError::WindowOver { serial, ended }.into());
        }
        let (parent, from) = (Some(serial), connection.peer_addr);
        self.issue(
            Entitlement { entry, origin: Origin::Recover, token: None, presented, parent, from },
            &csr,
            key,
        )
        .await
    }

    /// Whether a certificate that is not on record may be one that the store has lost: it was signed by us, as its chain says,
    /// at a time of which a restored backup knows nothing (ADR 5). Renewal and recovery then proceed under the certificate's
    /// SPIFFE ID, if an entry for it exists.
    async fn issued_in_gap(&self, spiffe_id: &SpiffeId, serial: &str) -> Result<bool, IssueError> {
        let Some(made_at) = avouch_issuance::made_at(serial) else { return Ok(false) };
        let lost = self.store.in_recovery_gap(made_at).await?;
        if lost {
            tracing::warn!(%spiffe_id, serial, "a certificate is taken that the restored store does not know");
        }
        Ok(lost)
    }

    /// Issues a certificate for the entry of `entitlement`. The order of the steps is what makes a crash harmless:
    ///
    /// 1. build the request from the entry and the public key, and nothing else of the CSR;
    /// 2. check, sign and check again ([`Issuance::sign`]);
    /// 3. record the certificate and consume the token in one transaction, which looks at entry, token and presented
    ///    certificate once more ([`Issuance::commit`]);
    /// 4. hand it out.
    ///
    /// A crash before step 3 completes leaves a certificate that nobody has received. A crash after it leaves the
    /// record of a certificate that was not handed out; the same key may then use the token again.
    async fn issue(&self, entitlement: Entitlement, csr: &Csr, key: KeyHash) -> Result<Grant, IssueError> {
        let now = self.clock.now();
        let entry = &entitlement.entry;
        let request = Request::for_csr(csr, entry.entry.spiffe_id.clone())?
            .lifetime(entry.entry.svid_ttl.unwrap_or(self.svid_ttl));
        // Checked when the entry was registered; names that stopped being allowed are left out, with a warning.
        let request = match dns_names(&entry.entry.dns_names) {
            Ok(names) => request.dns_names(names),
            Err(error) => {
                tracing::warn!(%error, "the entry's DNS names are left out of the certificate");
                request
            }
        };
        let issued = self.sign(request, now)?;
        let certificate = CertificateRecord {
            parent: entitlement.parent,
            requested_from: entitlement.from.to_string(),
            ..record(&issued, Some(entry), key, entitlement.origin, now)
        };
        let serial = entitlement.presented.clone().unwrap_or_default();
        let parent = certificate.parent.clone().unwrap_or_default();
        let commit = Commit { certificate, token: entitlement.token, presented: entitlement.presented };
        match self.commit(commit, &issued).await? {
            CommitOutcome::Done => Ok(Grant { issued, trust: self.trust.published(), now }),
            CommitOutcome::Forked => {
                self.forked(&entry.entry.spiffe_id, &parent, entitlement.from, None);
                Ok(Grant { issued, trust: self.trust.published(), now })
            }
            CommitOutcome::ForkRevoked { id } => {
                self.forked(&entry.entry.spiffe_id, &parent, entitlement.from, Some(id));
                self.trust.refresh().await?;
                Err(IssueError::Forked { spiffe_id: entry.entry.spiffe_id.clone(), serial: parent, id })
            }
            CommitOutcome::Revoked(standing) => {
                let spiffe_id = entry.entry.spiffe_id.clone();
                Err(IssueError::Revoked { spiffe_id, serial: parent, standing: Box::new(standing) })
            }
            CommitOutcome::RecoveryLimit { limit } => {
                Err(RecoveryError::LimitReached { serial: parent, limit }.into())
            }
            CommitOutcome::EntryGone => Err(IssueError::NoEntry(entry.entry.spiffe_id.clone())),
            CommitOutcome::PresentedUnknown => {
                let spiffe_id = entry.entry.spiffe_id.clone();
                Err(IssueError::OtherRegistration { spiffe_id, serial })
            }
            CommitOutcome::TokenRefused(state) => {
                Err(crate::attest::usable_token(state, entry).err().unwrap_or(IssueError::TokenInvalid))
            }
        }
    }

    /// A certificate was renewed or recovered with a second key: whoever holds the first one is not alone.
    fn forked(&self, spiffe_id: &SpiffeId, serial: &str, from: SocketAddr, revocation: Option<i64>) {
        audit::forked(spiffe_id, serial, from, revocation);
        self.metrics.forked();
    }

    /// Checks the request, signs the certificate and checks the result. The certificate must not be handed out before
    /// [`Issuance::commit`] has succeeded.
    #[tracing::instrument(name = "sign", skip_all)]
    pub(crate) fn sign(&self, request: Request, now: SystemTime) -> Result<Issued, IssueError> {
        let authority = self.authorities.signing();
        let (profile, entropy) = (&self.authorities.profiles().svid, self.authorities.entropy());
        Ok(request.check(profile, &authority, now, entropy)?.sign(&authority)?)
    }

    /// Makes the record durable; then, and only then, the certificate may be handed out.
    #[tracing::instrument(name = "record", skip_all)]
    pub(crate) async fn commit(&self, commit: Commit, issued: &Issued) -> Result<CommitOutcome, IssueError> {
        let certificate = commit.certificate.clone();
        let outcome = self.store.commit(commit).await?;
        if matches!(outcome, CommitOutcome::Done | CommitOutcome::Forked) {
            audit::issued(&certificate, issued.leaf().issuer());
            self.metrics.issued(certificate.origin);
        }
        Ok(outcome)
    }
}

/// The record of a certificate.
pub(crate) fn record(
    issued: &Issued,
    entry: Option<&Entry>,
    key: KeyHash,
    origin: Origin,
    now: SystemTime,
) -> CertificateRecord {
    CertificateRecord {
        serial: issued.serial().to_owned(),
        entry: entry.map(|entry| entry.id),
        spiffe_id: issued.spiffe_id().clone(),
        key,
        not_before: issued.not_before(),
        not_after: issued.not_after(),
        issued_at: now,
        origin,
        last_seen: None,
        parent: None,
        requested_from: String::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
