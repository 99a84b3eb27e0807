//! What the issuer remembers, behind one trait: entries, join tokens, issued certificates, acknowledgements, the
//! bundle's sequence number.
//!
//! Invariants every implementation keeps: a call that returned `Ok` is durable; a [`Commit`] happens whole or not at
//! all (token consumed, certificate recorded, entry still there); whatever fails, fails as [`StoreError`] and leaves the
//! store as it was, so that the caller may simply try again.

pub mod sqlite;

mod jobs;
mod schema;
mod worker;

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;

use avouch_spiffe::SpiffeId;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What every [`Store`] method returns.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where the issuer keeps its records. Its only consumer is this crate.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Adds an entry. `None`: its SPIFFE ID is registered already.
    fn create_entry(&self, entry: NewEntry) -> StoreFuture<'_, Option<Entry>>;
    /// The entry of an identity.
    fn entry(&self, spiffe_id: &SpiffeId) -> StoreFuture<'_, Option<Entry>>;
    /// The entry of a registration.
    fn entry_by_id(&self, id: EntryId) -> StoreFuture<'_, Option<Entry>>;
    /// All entries, by SPIFFE ID.
    fn entries(&self) -> StoreFuture<'_, Vec<Entry>>;
    /// Removes an entry and its tokens. `false`: there was none. Issued certificates stay on record.
    fn delete_entry(&self, spiffe_id: &SpiffeId) -> StoreFuture<'_, bool>;

    /// Adds a join token. `false`: its entry is gone.
    fn create_token(&self, token: NewToken) -> StoreFuture<'_, bool>;
    /// Where a token stands for a key; consumes nothing.
    fn token(&self, token: &TokenHash, key: &KeyHash, now: SystemTime) -> StoreFuture<'_, TokenState>;

    /// Records an issued certificate, and consumes the token it was issued for, in one step.
    fn commit(&self, commit: Commit) -> StoreFuture<'_, CommitOutcome>;
    /// The record of a certificate.
    fn issuance(&self, serial: &str) -> StoreFuture<'_, Option<Issuance>>;
    /// Notes a start: what lies between the last certificate on record and `now` is a gap. Usually nothing was issued in
    /// it, since records are durable before certificates leave; after a restore from a backup, everything since was.
    fn note_start(&self, now: SystemTime) -> StoreFuture<'_, ()>;
    /// Whether a certificate of this time may have been issued and is not on record: whether it lies in a gap.
    fn may_have_lost(&self, issued_at: SystemTime) -> StoreFuture<'_, bool>;
    /// Issued certificates, newest first.
    fn issuances(&self, filter: IssuanceFilter) -> StoreFuture<'_, Vec<Issuance>>;
    /// Notes that a connection presented a certificate.
    fn seen(&self, serial: &str, at: SystemTime) -> StoreFuture<'_, ()>;

    /// Records which trust state a workload uses.
    fn acknowledge(&self, ack: TrustAck) -> StoreFuture<'_, ()>;
    /// The latest acknowledgement of each workload, by SPIFFE ID and addresses.
    fn acknowledgements(&self) -> StoreFuture<'_, Vec<TrustAck>>;

    /// The sequence number of a bundle content: the same content keeps its number, another one gets the next.
    fn bundle_sequence(&self, content: [u8; 32]) -> StoreFuture<'_, u64>;

    /// Commits and takes back something about as large as what one request commits: whether the next one could.
    fn probe(&self, now: SystemTime) -> StoreFuture<'_, ()>;
    /// How much there is.
    fn counts(&self, now: SystemTime) -> StoreFuture<'_, Counts>;

    /// Forgets what no decision needs any more: tokens that ended before `now`, certificates and acknowledgements that
    /// ended before `before`. Returns how many rows went.
    fn prune(&self, now: SystemTime, before: SystemTime) -> StoreFuture<'_, u64>;
}

/// The store cannot answer now. Nothing was changed; trying again is safe.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database refused: disk full, input/output error, locked by somebody else.
    #[error("the store cannot commit")]
    Database(#[source] Arc<rusqlite::Error>),
    /// A row does not hold what this program ever writes.
    #[error("the store holds a row that cannot be read: {0}")]
    Corrupt(String),
    /// The store has been shut down.
    #[error("the store has stopped")]
    Stopped,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// An identity the issuer may give out, as it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// Who.
    pub spiffe_id: SpiffeId,
    /// Life of its SVIDs; `None`: the issuer's default.
    pub svid_ttl: Option<Duration>,
    /// How long after expiry its key may recover; `None`: the issuer's default.
    pub recovery_window: Option<Duration>,
    /// DNS names its SVIDs carry.
    pub dns_names: Vec<String>,
    /// When it was registered.
    pub created_at: SystemTime,
}

/// A registered identity. One that was deleted and registered again is another entry: certificates of the first one
/// neither renew nor recover as the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Never used twice.
    pub id: EntryId,
    /// What was registered.
    pub entry: NewEntry,
}

/// Names one registration of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub i64);

/// SHA-256 of a join token's secret: all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    /// Eight bytes: enough to tell tokens apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({}…)", avouch_spiffe::hex::encode(self.0.get(..8).unwrap_or_default()))
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
        f.write_str(&avouch_spiffe::hex::encode(&self.0))
    }
}

/// A join token to be kept.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its hash.
    pub hash: TokenHash,
    /// For which entry.
    pub entry: EntryId,
    /// When it was made.
    pub created_at: SystemTime,
    /// Until when it may be used.
    pub expires_at: SystemTime,
}

/// Where a join token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// There is no such token.
    Unknown,
    /// Its time is over.
    Expired,
    /// Another key has used it, for this entry.
    UsedByAnotherKey(EntryId),
    /// This key may use it, for this entry.
    Usable(EntryId),
}

/// How a certificate came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// First contact, by evidence.
    Enroll,
    /// By the connection's certificate.
    Renew,
    /// By an expired certificate and its key.
    Recover,
    /// The issuer's own.
    SelfIssued,
}

impl Origin {
    /// The word in the store, the log and the inventory.
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
pub struct Issuance {
    /// Lower-case hex.
    pub serial: String,
    /// Whose registration it was issued for; `None`: the issuer's own.
    pub entry: Option<EntryId>,
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// Its public key.
    pub key: KeyHash,
    /// From when it holds.
    pub not_before: SystemTime,
    /// Until when it holds.
    pub not_after: SystemTime,
    /// When it was signed.
    pub issued_at: SystemTime,
    /// How it came to be.
    pub origin: Origin,
    /// When a connection last presented it.
    pub last_seen: Option<SystemTime>,
}

/// What has to become durable, together, before a certificate leaves the issuer.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The new certificate.
    pub issuance: Issuance,
    /// The token it was issued for.
    pub token: Option<TokenHash>,
    /// The serial of the certificate that vouched for the caller (renewal, recovery), which has to be on record.
    pub presented: Option<String>,
}

/// What became of a [`Commit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is durable.
    Done,
    /// The entry has been deleted meanwhile; nothing was recorded.
    EntryGone,
    /// The presented certificate is not on record, or was issued for an earlier registration; nothing was recorded.
    PresentedUnknown,
    /// The token cannot be used (any more); nothing was recorded.
    TokenRefused(TokenState),
}

/// Which certificates to list.
#[derive(Debug, Clone, Default)]
pub struct IssuanceFilter {
    /// Only those that hold at this time or later.
    pub alive_at: Option<SystemTime>,
    /// Only this identity's.
    pub spiffe_id: Option<SpiffeId>,
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Registered identities.
    pub entries: u64,
    /// Certificates on record that have not ended.
    pub certificates: u64,
}

/// Which trust state a workload said it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAck {
    /// Who.
    pub spiffe_id: SpiffeId,
    /// Where it says it can be reached; tells replicas of one identity apart.
    pub addresses: Vec<String>,
    /// The bundle sequence number it uses.
    pub sequence: u64,
    /// When it said so.
    pub seen_at: SystemTime,
}

/// How many replicas of one identity have their acknowledgement kept; the longest silent go first.
pub(crate) const ACKS_PER_IDENTITY: usize = 64;
