//! One revocation, in the compact form in which it travels.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::generation::Generation;
use crate::id::SpiffeId;
use crate::reason::Reason;
use crate::trust_domain::TrustDomain;
use crate::x509::sha256;

/// The kinds of what can be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevokedKind {
    /// An identity: every certificate of a SPIFFE ID.
    Identity,
    /// One certificate, by its serial number.
    Serial,
    /// A signing authority, by its key identifier.
    Authority,
    /// A root, by the SHA-256 of its certificate.
    Root,
}

impl RevokedKind {
    /// The reason for which a peer is refused.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Identity => Reason::IdentityRevoked,
            Self::Serial | Self::Authority | Self::Root => Reason::CertRevoked,
        }
    }
}

/// The key by which a verifier finds a revocation: half of the SHA-256 of what was revoked, with its kind and trust domain.
///
/// A key tells nothing to whoever does not know the name already, and has the same size for every kind. Finding another
/// name for a key takes 2^128 attempts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevocationKey(pub [u8; 16]);

impl RevocationKey {
    /// The key of an identity.
    pub fn identity(spiffe_id: &SpiffeId) -> Self {
        Self::of(b"identity", spiffe_id.trust_domain(), spiffe_id.as_str())
    }

    /// The key of a serial number, in lower-case hexadecimal, of a trust domain's issuer.
    pub fn serial(trust_domain: &TrustDomain, serial: &str) -> Self {
        Self::of(b"serial", trust_domain, serial)
    }

    /// The key of a signing authority, by its key identifier in lower-case hexadecimal.
    pub fn authority(trust_domain: &TrustDomain, key_id: &str) -> Self {
        Self::of(b"authority", trust_domain, key_id)
    }

    /// The key of a root, by the SHA-256 of its certificate.
    pub fn root(trust_domain: &TrustDomain, sha256: &[u8; 32]) -> Self {
        Self::of(b"root", trust_domain, sha256)
    }

    fn of(kind: &[u8], trust_domain: &TrustDomain, name: impl AsRef<[u8]>) -> Self {
        // Neither of the first two contains a zero byte.
        let text = [kind, trust_domain.as_str().as_bytes(), name.as_ref()].join(&0);
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(sha256(&text)) {
            *to = from;
        }
        Self(key)
    }
}

impl fmt::Debug for RevocationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RevocationKey({self})")
    }
}

impl fmt::Display for RevocationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&avouch_text::hex::encode(&self.0))
    }
}

/// One revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What is revoked.
    pub key: RevocationKey,
    /// The generation that brought it.
    pub since: Generation,
    /// The time from which on it has no effect, because what it revokes has ended by itself. Whole seconds.
    pub ends_at: SystemTime,
    /// The issuer's proof, to itself, that it made this revocation: an issuer restored from a backup takes it back from
    /// workloads by it. It means nothing to anybody else.
    pub proof: [u8; 16],
}

impl Revocation {
    /// The number of bytes of one encoded revocation: key, epoch, counter, end (seconds since the Unix epoch), proof; numbers
    /// in network byte order.
    pub const BYTES: usize = 48;

    /// The encoded revocation.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let ends_at = self.ends_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let fields = self
            .key
            .0
            .into_iter()
            .chain(self.since.epoch.to_be_bytes())
            .chain(self.since.counter.to_be_bytes())
            .chain(ends_at.to_be_bytes())
            .chain(self.proof);
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        bytes
    }

    /// The revocation in these bytes. `None`: its end is no time that this system knows.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        let key = RevocationKey(take(&mut rest)?);
        let epoch = u32::from_be_bytes(take(&mut rest)?);
        let counter = u32::from_be_bytes(take(&mut rest)?);
        let ends_at = Duration::from_secs(u64::from_be_bytes(take(&mut rest)?));
        let ends_at = SystemTime::UNIX_EPOCH.checked_add(ends_at)?;
        Some(Self { key, since: Generation { epoch, counter }, ends_at, proof: take(&mut rest)? })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk::<N>()?;
    *rest = others;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_kind_trust_domain_and_name() {
        let (here, there): (TrustDomain, TrustDomain) =
            ("market.example".parse().unwrap(), "other.example".parse().unwrap());
        let keys = [
            RevocationKey::serial(&here, "0a"),
            RevocationKey::serial(&there, "0a"),
            RevocationKey::serial(&here, "0b"),
            RevocationKey::authority(&here, "0a"),
            RevocationKey::root(&here, &[0x0a; 32]),
            RevocationKey::identity(&"spiffe://market.example/0a".parse().unwrap()),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.into_iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn a_revocation_survives_its_encoding() {
        let revocation = Revocation {
            key: RevocationKey([1; 16]),
            since: Generation { epoch: 2, counter: 3 },
            ends_at: SystemTime::UNIX_EPOCH + Duration::from_secs(4),
            proof: [5; 16],
        };
        assert_eq!(Revocation::decode(&revocation.encode()), Some(revocation));
        assert_eq!(Revocation::decode(&[0xff; Revocation::BYTES]), None);
    }
}
