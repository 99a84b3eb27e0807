//! Revocations and generations, as the store keeps them.

use super::{By, CertificateRecord};
use avouch_spiffe::{Generation, RevocationKey, SpiffeId};
use std::fmt;
use std::time::{Duration, SystemTime};

/// The beginning of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// The last generation on record before it; [`Generation::NONE`] at the first start.
    pub known: Generation,
    /// The generation that it begins with.
    pub current: Generation,
}

/// One key in force: as a trust state has it, but for the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRevocation {
    /// What is revoked.
    pub key: RevocationKey,
    /// The generation that brought it.
    pub since: Generation,
    /// The time from which on it has no effect.
    pub ends_at: SystemTime,
}

/// The revocations of a trust state, all of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustRevocations {
    /// The generation.
    pub generation: Generation,
    /// What is in force, by key; no key is there twice.
    pub in_force: Vec<StoredRevocation>,
    /// The keys that were undone and have not ended by themselves, by key.
    pub undone: Vec<RevocationKey>,
}

/// A key that a revocation brings into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedKey {
    /// What is revoked.
    pub key: RevocationKey,
    /// The serial number, where the key is that of a certificate.
    pub serial: Option<String>,
    /// The time from which on it has no effect, because what it revokes has ended.
    pub ends_at: SystemTime,
}

/// What can be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An identity: whatever certificate it shows, and it gets no other.
    Identity(SpiffeId),
    /// A certificate by its serial number, lower-case hexadecimal, with everything that was renewed or recovered from it.
    Serial(String),
}

impl fmt::Display for Subject {
    /// `spiffe://…` or `serial:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(id) => id.fmt(f),
            Self::Serial(serial) => write!(f, "serial:{serial}"),
        }
    }
}

/// A revocation that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoke {
    /// What to revoke.
    pub subject: Subject,
    /// Who asks, when and why.
    pub by: By,
    /// The time until which it is in force at the latest; `None`: until it is undone.
    pub expires_at: Option<SystemTime>,
    /// The longest life of a certificate: so long one may be alive that is not on record.
    pub longest_life: Duration,
    /// Only what it would hit.
    pub dry_run: bool,
    /// Also if it hits more than half of the identities.
    pub force: bool,
}

/// What a revocation hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationPlan {
    /// The identity that it is about.
    pub spiffe_id: SpiffeId,
    /// The certificates, the latest first: of a serial number also those that have ended and may still recover.
    pub certificates: Vec<CertificateRecord>,
    /// The certificate that it hits alone: the forked parent of the one that was named.
    pub forked: Vec<CertificateRecord>,
    /// The identities that have certificates which have not ended.
    pub live_identities: u64,
    /// How many of them lose all of theirs.
    pub hit_identities: u64,
}

/// The answer to a [`Revoke`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokeOutcome {
    /// It is durable.
    Made(Box<RevocationRecord>, RevocationPlan),
    /// It was a dry run.
    Planned(RevocationPlan),
    /// One in force says the same already.
    Already(Box<RevocationRecord>),
    /// No certificate with this serial number is on record.
    NotOnRecord,
    /// It hits more than half of the identities, and nobody insists.
    NeedsForce(RevocationPlan),
    /// There would be more than a trust state may hold.
    TooMany {
        /// So many.
        count: usize,
    },
}

/// A revocation to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewRevocation {
    /// `spiffe://…` or `serial:…`; empty: not known.
    pub(super) subject: String,
    /// The SPIFFE ID that the subject belongs to; empty: not known.
    pub(super) spiffe_id: String,
    pub(super) by: By,
    pub(super) expires_at: Option<SystemTime>,
    pub(super) keys: Vec<RevokedKey>,
}

/// A revocation on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationRecord {
    /// Its id.
    pub id: i64,
    /// `spiffe://…` or `serial:…`; empty: not known.
    pub subject: String,
    /// The SPIFFE ID that the subject belongs to; empty: not known.
    pub spiffe_id: String,
    /// Who made it, when and why.
    pub by: By,
    /// The time until which it is in force at the latest.
    pub expires_at: Option<SystemTime>,
    /// The time at which it was undone.
    pub undone_at: Option<SystemTime>,
    /// Who undid it; empty: nobody.
    pub undone_by: String,
    /// The generation that brought it.
    pub since: Generation,
    /// The serial numbers that it hits.
    pub serials: Vec<String>,
    /// Its key, where it hits no serial numbers.
    pub key: Option<RevocationKey>,
}

/// The revocation that stands against a request for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingRevocation {
    /// Its id.
    pub id: i64,
    /// Whether it is the identity's; else it is the presented certificate's.
    pub of_identity: bool,
    /// Who made it.
    pub actor: String,
    /// The actor's words.
    pub reason: String,
    /// When.
    pub created_at: SystemTime,
}

/// A filter of revocations.
#[derive(Debug, Clone, Default)]
pub struct RevocationFilter {
    /// Only those in force at this time.
    pub in_force_at: Option<SystemTime>,
    /// Only those about this SPIFFE ID, or this `serial:…`; empty: all.
    pub about: String,
}

/// A certificate that is revoked and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// The time of the first revocation that hits it.
    pub revoked_at: SystemTime,
    /// The first revocation that hits it.
    pub revocation: i64,
}

/// A certificate that was renewed or recovered with two keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// Its serial number.
    pub serial: String,
    /// Its identity.
    pub spiffe_id: SpiffeId,
    /// The certificates that were issued for it, the oldest first.
    pub children: Vec<CertificateRecord>,
    /// When the second key came.
    pub noticed_at: SystemTime,
    /// The revocation in force that hits it; `None`: nobody has answered.
    pub revocation: Option<i64>,
}

/// The generation that the next epoch begins with: later than the one on record, and later than that of a store that a
/// backup does not know of, as far as the clock is right (ADR 5).
pub(super) fn next_epoch(known: Generation, now: SystemTime) -> Generation {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let by_clock = u32::try_from(seconds).unwrap_or(u32::MAX);
    Generation { epoch: known.epoch.saturating_add(1).max(by_clock), ..known }
}
