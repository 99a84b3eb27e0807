//! How a certificate comes to be issued: who is asking, is there an entry, sign, record, hand out. In this order.
//!
//! Invariants: the identity comes from the evidence, the connection or the proven expired SVID, never from the request;
//! only the public key is taken from the request; what leaves here is durable in the store; nothing is issued for an
//! entry that is gone, or on the strength of a certificate of an earlier registration.

use crate::attest::{Attestor, Evidence};
use crate::audit;
use crate::authorities::Authorities;
use crate::entries::dns_names;
use crate::error::IssueError;
use crate::metrics::Metrics;
use crate::recovery::{Nonces, RecoveryError, RecoveryRequest, verify};
use crate::store::{Commit, CommitOutcome, Entry, Issuance, KeyHash, Origin, Store, TokenHash};
use crate::trust::Trust;
use avouch_identity::{ConnectionId, ConnectionInfo};
use avouch_issuance::{Csr, Issued, Request};
use avouch_spiffe::clock::SharedClock;
use avouch_spiffe::x509::sha256;
use avouch_spiffe::{Bundle, PeerIdentity, SpiffeId};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What a workload gets.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) issued: Issued,
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) now: SystemTime,
}

/// Issues certificates.
#[derive(Debug)]
pub(crate) struct Issuing {
    pub(crate) authorities: Authorities,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) attestor: Arc<dyn Attestor>,
    pub(crate) trust: Trust,
    pub(crate) clock: SharedClock,
    pub(crate) nonces: Nonces<ConnectionId>,
    pub(crate) metrics: Metrics,
    /// Life of an SVID whose entry names none.
    pub(crate) svid_ttl: Duration,
    /// Recovery window of an entry that names none.
    pub(crate) recovery_window: Duration,
}

/// By which right a certificate is asked for.
struct Right {
    entry: Entry,
    origin: Origin,
    token: Option<TokenHash>,
    presented: Option<String>,
}

impl Issuing {
    /// First contact.
    #[tracing::instrument(name = "enroll", skip_all)]
    pub(crate) async fn enroll(&self, evidence: &Evidence, csr: &[u8]) -> Result<Granted, IssueError> {
        let csr = Csr::parse(csr)?;
        let key = KeyHash(sha256(csr.spki_der()));
        let attested = self.attestor.attest(evidence, &key, self.clock.now()).await?;
        let right =
            Right { entry: attested.entry, origin: Origin::Enroll, token: attested.token, presented: None };
        self.issue(right, &csr, key).await
    }

    /// A fresh certificate for whom the connection proves.
    #[tracing::instrument(name = "renew", skip_all, fields(spiffe_id = peer.spiffe_id().as_str()))]
    pub(crate) async fn renew(&self, peer: &PeerIdentity, csr: &[u8]) -> Result<Granted, IssueError> {
        let csr = Csr::parse(csr)?;
        let key = KeyHash(sha256(csr.spki_der()));
        let entry = self.store.entry(peer.spiffe_id()).await?;
        let entry = entry.ok_or_else(|| IssueError::NoEntry(peer.spiffe_id().clone()))?;
        let presented = match self.store.issuance(peer.serial()).await? {
            None if self.was_lost(peer.spiffe_id(), peer.serial()).await? => None,
            _ => Some(peer.serial().to_owned()),
        };
        self.issue(Right { entry, origin: Origin::Renew, token: None, presented }, &csr, key).await
    }

    /// A fresh certificate for whoever still has the key of an expired one.
    #[tracing::instrument(name = "recover", skip_all)]
    pub(crate) async fn recover(
        &self,
        connection: &ConnectionInfo,
        request: &RecoveryRequest,
    ) -> Result<Granted, IssueError> {
        if !self.nonces.spend(&request.nonce, connection.id) {
            return Err(RecoveryError::Nonce.into());
        }
        let bundle = self.trust.current();
        let leaf = verify(request, connection.exporter.as_ref(), &bundle)?;
        let csr = Csr::parse(&request.csr)?;
        let key = KeyHash(sha256(csr.spki_der()));
        let serial = leaf.serial().to_owned();
        let presented = match self.store.issuance(&serial).await? {
            Some(record)
                if record.key.0 == sha256(leaf.spki_der()) && record.spiffe_id == *leaf.spiffe_id() =>
            {
                Some(serial.clone())
            }
            Some(_) => return Err(RecoveryError::DiffersFromRecord { serial }.into()),
            None if self.was_lost(leaf.spiffe_id(), &serial).await? => None,
            None => return Err(RecoveryError::NotOnRecord { serial }.into()),
        };
        let entry = self.store.entry(leaf.spiffe_id()).await?;
        let entry = entry.ok_or_else(|| IssueError::NoEntry(leaf.spiffe_id().clone()))?;
        let window = entry.entry.recovery_window.unwrap_or(self.recovery_window);
        let ended = leaf.not_after() + window;
        if self.clock.now() > ended {
            return Err(RecoveryError::WindowOver { serial, ended }.into());
        }
        self.issue(Right { entry, origin: Origin::Recover, token: None, presented }, &csr, key).await
    }

    /// Whether a certificate that is not on record is one that we issued and the store has lost: one that was signed in
    /// our name (its chain has been verified) in a time that a restored backup knows nothing of. Its holder goes on as
    /// the identity it says, if that is registered.
    async fn was_lost(&self, spiffe_id: &SpiffeId, serial: &str) -> Result<bool, IssueError> {
        let Some(made_at) = avouch_issuance::made_at(serial) else { return Ok(false) };
        let lost = self.store.may_have_lost(made_at).await?;
        if lost {
            tracing::warn!(%spiffe_id, serial, "a certificate is taken that the restored store does not know");
        }
        Ok(lost)
    }

    async fn issue(&self, right: Right, csr: &Csr, key: KeyHash) -> Result<Granted, IssueError> {
        let now = self.clock.now();
        let entry = &right.entry;
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
        let issuance = record(&issued, Some(entry), key, right.origin, now);
        let serial = right.presented.clone().unwrap_or_default();
        let commit = Commit { issuance, token: right.token, presented: right.presented };
        match self.commit(commit, &issued).await? {
            CommitOutcome::Done => Ok(Granted { issued, bundle: self.trust.current(), now }),
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

    /// Checks, signs, checks again. Nothing signed here may leave before [`Issuing::commit`].
    #[tracing::instrument(name = "sign", skip_all)]
    pub(crate) fn sign(&self, request: Request, now: SystemTime) -> Result<Issued, IssueError> {
        let authority = self.authorities.signing();
        let (profile, entropy) = (&self.authorities.profiles().svid, self.authorities.entropy());
        Ok(request.check(profile, &authority, now, entropy)?.sign(&authority)?)
    }

    /// Makes the record durable; then, and only then, the certificate may be handed out.
    #[tracing::instrument(name = "record", skip_all)]
    pub(crate) async fn commit(&self, commit: Commit, issued: &Issued) -> Result<CommitOutcome, IssueError> {
        let issuance = commit.issuance.clone();
        let outcome = self.store.commit(commit).await?;
        if outcome == CommitOutcome::Done {
            audit::issued(&issuance, issued.leaf().issuer());
            self.metrics.issued(issuance.origin);
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
) -> Issuance {
    Issuance {
        serial: issued.serial().to_owned(),
        entry: entry.map(|entry| entry.id),
        spiffe_id: issued.spiffe_id().clone(),
        key,
        not_before: issued.not_before(),
        not_after: issued.not_after(),
        issued_at: now,
        origin,
        last_seen: None,
    }
}

#[cfg(test)]
mod tests;
