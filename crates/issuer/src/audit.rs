//! The audit log: one line per issuance and per administrative action; refusals are rate-limited by network. A line
//! says who asked for what, by which evidence, and why it was refused.
//!
//! The lines have the target `avouch::audit` and carry no secret: no token, no key, no request.

use crate::error::IssueError;
use crate::store::{By, CertificateRecord, Entry, RevocationRecord};
use avouch_authz::layer::DecisionId;
use avouch_identity::ConnectionInfo;
use avouch_limits::{Network, RateLimiter, log_lines};
use avouch_records::Recorder;
use avouch_spiffe::{PeerIdentity, Reason, SpiffeId};
use avouch_text::with_causes;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The caller, as an audit line identifies it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallerFacts<'a> {
    pub(crate) connection: Option<&'a ConnectionInfo>,
    pub(crate) peer: Option<&'a Arc<PeerIdentity>>,
}

/// A certificate was issued and is on record.
pub(crate) fn issued(certificate: &CertificateRecord, authority: &str) {
    tracing::info!(
        target: "avouch::audit",
        action = "issue",
        origin = certificate.origin.as_str(),
        spiffe_id = certificate.spiffe_id.as_str(),
        serial = certificate.serial,
        not_after = seconds(certificate.not_after),
        key_sha256 = %certificate.key,
        authority,
        "certificate issued"
    );
}

/// Writes refusals to the log, rate-limited by network and reason; the next line written says how many were suppressed
/// before it.
#[derive(Debug)]
pub(crate) struct Refusals {
    lines: RateLimiter<(Option<Network>, Reason)>,
    addresses: RateLimiter<SpiffeId>,
    recorder: Option<Recorder>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { lines: log_lines(), addresses: log_lines(), recorder: None }
    }
}

impl Refusals {
    /// Adds the refusals to the records of the process as well.
    pub(crate) fn recorded_by(recorder: Recorder) -> Self {
        Self { recorder: Some(recorder), ..Self::default() }
    }

    /// Logs that a workload advertises an address to which no client could connect; the address is not recorded.
    pub(crate) fn addresses(&self, peer: &SpiffeId, problem: &str) {
        let Ok(suppressed) = self.addresses.check(peer.clone(), Instant::now()) else { return };
        tracing::warn!(
            %peer,
            problem,
            suppressed,
            "a workload advertises an address that is not kept; its [service] address or [identity] addresses say which"
        );
    }

    /// A certificate was refused.
    pub(crate) fn record(
        &self,
        action: &'static str,
        error: &IssueError,
        decision: DecisionId,
        caller: CallerFacts<'_>,
    ) {
        let network = caller.connection.map(|info| info.peer_addr.ip().into());
        let Ok(suppressed) = self.lines.check((network, error.reason()), Instant::now()) else { return };
        if let Some(recorder) = &self.recorder {
            let call = (caller.connection, caller.peer);
            recorder.refused(
                rpc(action),
                error.reason(),
                with_causes(error).to_string(),
                decision,
                call,
                suppressed,
            );
        }
        tracing::warn!(
            target: "avouch::audit",
            action,
            reason = error.reason().as_str(),
            detail = %with_causes(error),
            decision_id = %decision,
            connection_id = caller.connection.map(|info| tracing::field::display(info.id)),
            peer_addr = caller.connection.map(|info| tracing::field::display(info.peer_addr)),
            peer = caller.peer.map(|peer| peer.spiffe_id().as_str()),
            serial = caller.peer.map(|peer| peer.serial()),
            suppressed = (suppressed > 0).then_some(suppressed),
            "certificate refused"
        );
    }
}

/// The RPC by which an action was asked for.
fn rpc(action: &'static str) -> &'static str {
    match action {
        "enroll" => "/avouch.issuer.v1.Issuer/Enroll",
        "renew" => "/avouch.issuer.v1.Issuer/Renew",
        "begin-recovery" => "/avouch.issuer.v1.Issuer/BeginRecovery",
        "recover" => "/avouch.issuer.v1.Issuer/Recover",
        "watch-trust" => "/avouch.issuer.v1.Issuer/WatchTrust",
        other => other,
    }
}

/// An entry was registered.
pub(crate) fn entry_created(entry: &Entry, caller: &str) {
    let id = entry.entry.spiffe_id.as_str();
    tracing::info!(target: "avouch::audit", action = "create-entry", caller, spiffe_id = id, "entry created");
}

/// An entry was removed.
pub(crate) fn entry_deleted(id: &SpiffeId, caller: &str) {
    let id = id.as_str();
    tracing::info!(target: "avouch::audit", action = "delete-entry", caller, spiffe_id = id, "entry deleted");
}

/// A join token was made.
pub(crate) fn token_created(id: &SpiffeId, expires_at: SystemTime, caller: &str) {
    tracing::info!(
        target: "avouch::audit",
        action = "create-token",
        caller,
        spiffe_id = id.as_str(),
        expires_at = seconds(expires_at),
        "join token created"
    );
}

/// A certificate was renewed or recovered with two keys.
pub(crate) fn forked(id: &SpiffeId, serial: &str, from: std::net::SocketAddr, revocation: Option<i64>) {
    tracing::error!(
        target: "avouch::audit",
        action = "fork",
        reason = "RENEWAL_FORK",
        spiffe_id = id.as_str(),
        serial,
        requested_from = %from,
        revocation,
        "a certificate was renewed with two keys: its key is copied, or its machine is cloned; see `avouch check`"
    );
}

/// Something was revoked, or a revocation was undone.
pub(crate) fn revocation(action: &'static str, record: &RevocationRecord, by: &By) {
    tracing::warn!(
        target: "avouch::audit",
        action,
        caller = by.actor,
        id = record.id,
        subject = record.subject,
        spiffe_id = record.spiffe_id,
        generation = %record.since,
        certificates = record.serials.len(),
        reason = by.reason,
        "revocation"
    );
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
