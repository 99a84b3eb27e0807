//! Revocations and generations, as the store keeps them.

use avouch_spiffe::{Generation, RevocationKey};
use std::time::SystemTime;

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

/// A revocation to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRevocation {
    /// `spiffe://…` or `serial:…`; empty: not known.
    pub subject: String,
    /// The SPIFFE ID that the subject belongs to; empty: not known.
    pub spiffe_id: String,
    /// The operator's own words.
    pub reason: String,
    /// Who makes it.
    pub actor: String,
    /// When.
    pub at: SystemTime,
    /// The time until which it is in force at the latest; `None`: until it is undone, or what it revokes has ended.
    pub expires_at: Option<SystemTime>,
    /// What it revokes.
    pub keys: Vec<RevokedKey>,
}

/// A revocation that has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokeOutcome {
    /// Its id.
    pub id: i64,
    /// The generation that brings it.
    pub since: Generation,
}

/// The generation that the next epoch begins with: later than the one on record, and later than that of a store that a
/// backup does not know of, as far as the clock is right (ADR 5).
pub(super) fn next_epoch(known: Generation, now: SystemTime) -> Generation {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let by_clock = u32::try_from(seconds).unwrap_or(u32::MAX);
    Generation { epoch: known.epoch.saturating_add(1).max(by_clock), ..known }
}
