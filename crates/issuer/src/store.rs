//! The issuer's persistent state, behind one trait: entries, join tokens, issued certificates, acknowledgements, the
//! bundle's sequence number.
//!
//! Invariants every implementation keeps: a call that returned `Ok` is durable; a [`Commit`] happens whole or not at
//! all (token consumed, certificate recorded, entry still there); whatever fails, fails as [`StoreError`] and leaves the
//! store as it was, so that the caller may simply try again.

pub mod sqlite;

mod audit;
mod lineage;
mod queries;
mod revocations;
mod revoke_queries;
mod rows;
mod schema;
mod trust_queries;

#[cfg(test)]
mod tests;

pub use audit::{AuditRecord, By};
use revocations::NewRevocation;
pub use revocations::{
    Epoch, Fork, RevocationFilter, RevocationPlan, RevocationRecord, Revoke, RevokeOutcome,
    RevokedCertificate, RevokedKey, StandingRevocation, StoredRevocation, Subject, TrustRevocations,
};

use avouch_spiffe::{Generation, Revocation, SpiffeId};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The answer of every [`Store`] method.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The issuer's records. The only consumer is this crate.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Adds an entry. `None`: its SPIFFE ID is registered already.
    fn create_entry(&self, entry: NewEntry, by: By) -> StoreFuture<'_, Option<Entry>>;
    /// The entry of an identity.
    fn entry(&self, spiffe_id: &SpiffeId) -> StoreFuture<'_, Option<Entry>>;
    /// The entry of a registration.
    fn entry_by_id(&self, id: EntryId) -> StoreFuture<'_, Option<Entry>>;
    /// Entries, by SPIFFE ID.
    fn entries(&self, page: Page<SpiffeId>) -> StoreFuture<'_, Vec<Entry>>;
    /// Removes an entry and its tokens. `false`: there was none. Issued certificates stay on record.
    fn delete_entry(&self, spiffe_id: &SpiffeId, by: By) -> StoreFuture<'_, bool>;

    /// Adds a join token. `false`: its entry is gone.
    fn create_token(&self, token: NewToken, by: By) -> StoreFuture<'_, bool>;
    /// The state of a token for a key; consumes nothing.
    fn token(&self, token: &TokenHash, key: &KeyHash, now: SystemTime) -> StoreFuture<'_, TokenState>;

    /// Records an issued certificate, and consumes the token it was issued for, in one step.
    fn commit(&self, commit: Commit) -> StoreFuture<'_, CommitOutcome>;
    /// The record of a certificate.
    fn certificate(&self, serial: &str) -> StoreFuture<'_, Option<CertificateRecord>>;
    /// Records a start: what lies between the last certificate on record and `now` is a gap (ADR 5). Usually nothing was issued in
    /// it, since records are durable before certificates leave; after a restore from a backup, everything since was.
    fn record_startup(&self, now: SystemTime) -> StoreFuture<'_, ()>;
    /// Whether a certificate of this time may have been issued without being on record: whether the time lies in a gap.
    fn in_recovery_gap(&self, issued_at: SystemTime) -> StoreFuture<'_, bool>;
    /// Issued certificates by their serial numbers, the highest first. Serial numbers begin with the time, so these are the
    /// newest.
    fn certificates(
        &self,
        filter: CertificateFilter,
        page: Page<String>,
    ) -> StoreFuture<'_, Vec<CertificateRecord>>;
    /// Notes that a connection presented a certificate.
    fn seen(&self, serial: &str, at: SystemTime) -> StoreFuture<'_, ()>;

    /// Records which trust state a workload uses.
    fn acknowledge(&self, ack: TrustAck) -> StoreFuture<'_, ()>;
    /// The latest acknowledgement of each process, by SPIFFE ID and [`TrustAck::replica`].
    fn acknowledgements(&self, page: Page<(SpiffeId, String)>) -> StoreFuture<'_, Vec<TrustAck>>;

    /// Begins the epoch of this start. Its generation is on record before anybody is told of it.
    fn begin_epoch(&self, now: SystemTime) -> StoreFuture<'_, Epoch>;
    /// Raises the counter, for a change of the trust state that is none of the revocations on record: another bundle, or the
    /// end of what was revoked.
    fn advance_generation(&self) -> StoreFuture<'_, Generation>;
    /// The generation and the revocations in force, of one moment.
    fn trust_revocations(&self, now: SystemTime) -> StoreFuture<'_, TrustRevocations>;
    /// Makes a revocation and raises the counter, or says what it would hit. Nothing is issued from what it hits between the
    /// look and the commit.
    fn revoke(&self, revoke: Revoke) -> StoreFuture<'_, RevokeOutcome>;
    /// Undoes a revocation, and raises the counter. `None`: there is none with this id that has not been undone.
    fn undo_revocation(&self, id: i64, by: By) -> StoreFuture<'_, Option<RevocationRecord>>;
    /// Revocations, the latest first, by id.
    fn revocations(
        &self,
        filter: RevocationFilter,
        page: Page<i64>,
    ) -> StoreFuture<'_, Vec<RevocationRecord>>;
    /// The revocation in force against an identity, or against its certificate with this serial number.
    fn standing_revocation(
        &self,
        spiffe_id: &SpiffeId,
        serial: Option<String>,
        now: SystemTime,
    ) -> StoreFuture<'_, Option<StandingRevocation>>;
    /// The certificates that are revoked at `now` and end after `ended_after`, by serial number: the entries of a CRL.
    fn revoked_certificates(
        &self,
        now: SystemTime,
        ended_after: SystemTime,
    ) -> StoreFuture<'_, Vec<RevokedCertificate>>;
    /// Forks, the latest first; `ended`: also those whose certificates have all ended, or that a revocation has answered.
    fn forks(&self, now: SystemTime, ended: bool) -> StoreFuture<'_, Vec<Fork>>;
    /// Administrative acts since a time, the latest first, by id.
    fn audit(&self, since: SystemTime, page: Page<i64>) -> StoreFuture<'_, Vec<AuditRecord>>;
    /// Takes revocations that a workload has returned and of whose keys nothing is on record. They keep the generation that
    /// brought them; the counter is raised. Returns their number.
    fn return_revocations(
        &self,
        from: &SpiffeId,
        revocations: Vec<Revocation>,
        at: SystemTime,
    ) -> StoreFuture<'_, usize>;

    /// The sequence number of a bundle content: the same content keeps its number, another one gets the next.
    fn bundle_sequence(&self, content: [u8; 32]) -> StoreFuture<'_, u64>;

    /// Checks that the store can commit: writes and deletes, in one transaction, a row about as large as what one
    /// request commits.
    fn probe(&self, now: SystemTime) -> StoreFuture<'_, ()>;
    /// The number of rows.
    fn counts(&self, now: SystemTime) -> StoreFuture<'_, Counts>;

    /// Deletes what no decision depends on any more: tokens that expired before `now`, certificates and
    /// acknowledgements that ended before `before`. Returns the number of rows deleted.
    fn prune(&self, now: SystemTime, before: SystemTime) -> StoreFuture<'_, u64>;
}

/// The store cannot answer now. Nothing was changed; trying again is safe.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database failed: disk full, input/output error, locked by another process.
    #[error("the store cannot commit")]
    Database(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A row holds something that this program never writes.
    #[error("the store holds a row that cannot be read: {0}")]
    Corrupt(String),
    /// The store has been shut down.
    #[error("the store has stopped")]
    Stopped,
}

/// An identity the issuer may give out, as it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// Life of its SVIDs; `None`: the issuer's default.
    pub svid_ttl: Option<Duration>,
    /// The time after expiry in which its key may recover; `None`: the issuer's default.
    pub recovery_window: Option<Duration>,
    /// DNS names its SVIDs carry.
    pub dns_names: Vec<String>,
    /// The time of registration.
    pub created_at: SystemTime,
    /// Whether a fork revokes its forked certificate with all its descendants; else it is only reported.
    pub revokes_forks: bool,
    /// How often the registration may recover; `None`: as often as it needs to.
    pub recovery_limit: Option<u32>,
}

/// A registered identity. One that was deleted and registered again is another entry: certificates of the first one
/// neither renew nor recover as the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The id of the registration; no id is ever reused.
    pub id: EntryId,
    /// The registration.
    pub entry: NewEntry,
}

/// The id of one registration of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub i64);

/// SHA-256 of a join token's secret: all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    /// Eight bytes: enough to tell tokens apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({}…)", avouch_text::hex::encode(self.0.get(..8).unwrap_or_default()))
    }
}

/// SHA-256 of a public key (SubjectPublicKeyInfo, DER).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&avouch_text::hex::encode(&self.0))
    }
}

/// A join token to be kept.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The hash of its secret.
    pub hash: TokenHash,
    /// The entry that it was made for.
    pub entry: EntryId,
    /// The time at which it was made.
    pub created_at: SystemTime,
    /// The end of the time in which it may be used.
    pub expires_at: SystemTime,
}

/// The state of a join token for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// There is no such token.
    Unknown,
    /// The token has expired.
    Expired,
    /// Another key has used it, for this entry.
    UsedByAnotherKey(EntryId),
    /// This key may use it, for this entry.
    Usable(EntryId),
}

/// The procedure by which a certificate was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Enrolment: first contact, by evidence.
    Enroll,
    /// Renewal, authenticated by the connection's certificate.
    Renew,
    /// Recovery, by an expired certificate and a proof of possession of its key.
    Recover,
    /// The issuer's own certificate, issued to itself.
    SelfIssued,
}

impl Origin {
    /// The origin's name in the store, the log and the inventory.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Renew => "renew",
            Self::Recover => "recover",
            Self::SelfIssued => "self",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Enroll, Self::Renew, Self::Recover, Self::SelfIssued].into_iter().find(|o| o.as_str() == word)
    }
}

/// The record of one issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRecord {
    /// The certificate's serial number, lower-case hex.
    pub serial: String,
    /// The registration it was issued for; `None`: the issuer's own.
    pub entry: Option<EntryId>,
    /// The identity in it.
    pub spiffe_id: SpiffeId,
    /// Its public key.
    pub key: KeyHash,
    /// The start of its validity.
    pub not_before: SystemTime,
    /// The end of its validity.
    pub not_after: SystemTime,
    /// The time of signing.
    pub issued_at: SystemTime,
    /// The procedure by which it was issued.
    pub origin: Origin,
    /// The last time at which a connection presented it.
    pub last_seen: Option<SystemTime>,
    /// The serial number of the certificate that it was renewed or recovered from.
    pub parent: Option<String>,
    /// The address that the request came from; empty: not known.
    pub requested_from: String,
}

/// The changes that have to become durable, together, before a certificate leaves the issuer.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The new certificate.
    pub certificate: CertificateRecord,
    /// The token it was issued for.
    pub token: Option<TokenHash>,
    /// The serial of the certificate that vouched for the caller (renewal, recovery), which has to be on record.
    pub presented: Option<String>,
}

/// The result of a [`Commit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The commit is durable.
    Done,
    /// The commit is durable; and the certificate that it came from had been renewed or recovered with another key.
    Forked,
    /// The certificate that it came from had been renewed or recovered with another key, and the entry says that all of that
    /// is revoked then, which it is now; no certificate was recorded.
    ForkRevoked {
        /// The revocation.
        id: i64,
    },
    /// The identity or the presented certificate is revoked; nothing was recorded.
    Revoked(StandingRevocation),
    /// The registration has recovered as often as it may; nothing was recorded.
    RecoveryLimit {
        /// So often.
        limit: u32,
    },
    /// The entry has been deleted meanwhile; nothing was recorded.
    EntryGone,
    /// The presented certificate is not on record, or was issued for an earlier registration; nothing was recorded.
    PresentedUnknown,
    /// The token cannot be used (any more); nothing was recorded.
    TokenRefused(TokenState),
}

/// A filter of the inventory.
#[derive(Debug, Clone, Default)]
pub struct CertificateFilter {
    /// Only certificates that have not expired at this time.
    pub alive_at: Option<SystemTime>,
    /// Only certificates of this identity.
    pub spiffe_id: Option<SpiffeId>,
}

/// A part of a list: at most `limit` of the rows that come after the one with the key `after`.
///
/// The row itself need not be there any more, so that a list may be read page by page while rows come and go.
#[derive(Debug, Clone)]
pub struct Page<K> {
    /// The key of the last row of the page before; `None`: from the start.
    pub after: Option<K>,
    /// The most rows to return.
    pub limit: usize,
}

impl<K> Page<K> {
    /// The whole list.
    pub const fn all() -> Self {
        Self { after: None, limit: usize::MAX }
    }
}

/// The number of rows of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Forks that nobody has answered.
    pub open_forks: u64,
    /// Registered identities.
    pub entries: u64,
    /// Certificates on record that have not ended.
    pub certificates: u64,
}

/// The trust state that a workload said it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAck {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The addresses at which it says it can be reached.
    pub addresses: Vec<String>,
    /// The bundle sequence number it uses.
    pub sequence: u64,
    /// The time at which it said so.
    pub seen_at: SystemTime,
    /// The id of its process; `None`: it names none.
    pub instance: Option<[u8; 16]>,
    /// The serial number of the certificate that it presented; empty in rows of earlier versions.
    pub serial: String,
    /// The generation that it uses; [`Generation::NONE`]: it knows none.
    pub generation: Generation,
}

impl TrustAck {
    /// What tells the replicas of one identity apart: the id of the process, else the addresses.
    pub fn replica(&self) -> String {
        match &self.instance {
            Some(instance) => avouch_text::hex::encode(instance),
            None => serde_json::Value::from(self.addresses.as_slice()).to_string(),
        }
    }
}

/// The most acknowledgements that are kept of one identity's replicas; those not renewed for longest are deleted first.
pub(crate) const ACKS_PER_IDENTITY: usize = 64;
