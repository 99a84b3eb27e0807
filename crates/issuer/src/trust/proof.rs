//! The proofs by which the issuer recognises revocations that it made itself.
//!
//! An issuer that was restored from a backup takes revocations back from the workloads that still hold them (ADR 5). A
//! workload must not be able to revoke anybody that way, so each revocation carries an HMAC of its content, under a key that
//! never leaves the data directory. The key means nothing to workloads: they can neither make nor check a proof.

use crate::random;
use avouch_files::{PrivateDir, PrivateDirError};
use avouch_spiffe::{Generation, Revocation, RevocationKey};
use aws_lc_rs::{constant_time, hmac};
use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// The file of the key, 0600.
pub(crate) const FILE: &str = "revocation.key";
/// The bytes of the key: as many as SHA-256 has, more would add nothing (RFC 2104 §3).
const KEY_BYTES: usize = 32;
/// The bytes of a proof: the left half of the HMAC, as many as a key of a revocation has (RFC 2104 §5).
const PROOF_BYTES: usize = 16;

/// A failure to load the key of the proofs, or to make it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofKeyError {
    /// The file cannot be read or written.
    #[error("the key of the revocations cannot be used")]
    File(#[from] PrivateDirError),
    /// The file holds something else.
    #[error(
        "{path} holds {bytes} bytes where a key has {KEY_BYTES}: put it back from a backup, or remove it to have another one \
         made (revocations that only workloads still know cannot be taken back from them then)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The bytes it holds.
        bytes: usize,
    },
    /// The system has no random bytes.
    #[error("the key of the revocations cannot be made: the system has no random bytes")]
    NoRandomness,
}

/// Makes and checks proofs.
pub(crate) struct Proofs {
    key: hmac::Key,
}

impl fmt::Debug for Proofs {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proofs").finish_non_exhaustive()
    }
}

impl Proofs {
    /// Loads the key, or makes it where there is none: at the first start, and at the first one of this version.
    pub(crate) fn open(dir: &PrivateDir) -> Result<Self, ProofKeyError> {
        dir.remove_unfinished(&[FILE])?;
        if let Some(key) = dir.read_secret(FILE)? {
            let path = dir.file(FILE);
            let key = <&[u8; KEY_BYTES]>::try_from(key.as_slice())
                .map_err(|_| ProofKeyError::Damaged { path, bytes: key.len() })?;
            return Ok(Self::new(key));
        }
        let key = random::bytes().map_err(|_| ProofKeyError::NoRandomness)?;
        let key = Zeroizing::new(key);
        dir.write_secret(FILE, key.as_slice())?;
        Ok(Self::new(&key))
    }

    /// Proofs by this key.
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The revocation with these parts and their proof.
    pub(crate) fn revocation(
        &self,
        key: RevocationKey,
        since: Generation,
        ends_at: SystemTime,
    ) -> Revocation {
        let mut revocation = Revocation { key, since, ends_at, proof: [0; PROOF_BYTES] };
        revocation.proof = self.proof(&revocation);
        revocation
    }

    /// Whether the issuer made this revocation, as it is.
    pub(crate) fn verifies(&self, revocation: &Revocation) -> bool {
        // In constant time, so that a proof cannot be guessed byte by byte.
        constant_time::verify_slices_are_equal(&self.proof(revocation), &revocation.proof).is_ok()
    }

    /// The proof over key, epoch, counter and end: what stands before the proof in the encoded revocation.
    fn proof(&self, revocation: &Revocation) -> [u8; PROOF_BYTES] {
        let encoded = revocation.encode();
        let content = encoded.get(..Revocation::BYTES - PROOF_BYTES).unwrap_or_default();
        let tag = hmac::sign(&self.key, content);
        let mut proof = [0; PROOF_BYTES];
        proof.iter_mut().zip(tag.as_ref()).for_each(|(kept, byte)| *kept = *byte);
        proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    fn made(proofs: &Proofs) -> Revocation {
        let since = Generation { epoch: 7, counter: 3 };
        proofs.revocation(RevocationKey([1; 16]), since, SystemTime::UNIX_EPOCH + Duration::from_secs(9))
    }

    #[test]
    fn what_the_issuer_made_verifies_and_nothing_that_differs() {
        let proofs = Proofs::new(&[5; KEY_BYTES]);
        let made = made(&proofs);
        assert!(proofs.verifies(&made));
        assert_eq!(Revocation::decode(&made.encode()), Some(made));
        let other_key = Revocation { key: RevocationKey([2; 16]), ..made };
        let other_epoch = Revocation { since: Generation { epoch: 8, ..made.since }, ..made };
        let other_counter = Revocation { since: Generation { counter: 4, ..made.since }, ..made };
        let longer = Revocation { ends_at: made.ends_at + Duration::from_secs(1), ..made };
        let mut other_proof = made;
        other_proof.proof[15] ^= 1;
        for forged in [other_key, other_epoch, other_counter, longer, other_proof] {
            assert!(!proofs.verifies(&forged), "{forged:?}");
        }
        assert!(!Proofs::new(&[6; KEY_BYTES]).verifies(&made));
    }

    #[test]
    fn the_key_is_made_once_for_its_owner_alone_and_never_shown() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&temp.path().join("d"), "lock").unwrap();
        let first = Proofs::open(&dir).unwrap();
        let again = Proofs::open(&dir).unwrap();
        assert!(again.verifies(&made(&first)));
        assert_eq!(std::fs::metadata(dir.file(FILE)).unwrap().permissions().mode() & 0o7777, 0o600);
        let key = std::fs::read(dir.file(FILE)).unwrap();
        assert_eq!(key.len(), KEY_BYTES);
        assert!(
            !format!("{first:?}").contains(&format!("{}", key[0])) || format!("{first:?}") == "Proofs { .. }"
        );
    }

    #[test]
    fn a_damaged_key_is_refused_with_what_to_do_and_never_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&temp.path().join("d"), "lock").unwrap();
        for damaged in [&b""[..], b"short", &[0; KEY_BYTES + 1]] {
            dir.write_secret(FILE, damaged).unwrap();
            let error = Proofs::open(&dir).unwrap_err().to_string();
            assert!(error.contains(&format!("{} bytes", damaged.len())), "{error}");
            assert!(error.contains("put it back from a backup"), "{error}");
            assert_eq!(std::fs::read(dir.file(FILE)).unwrap(), damaged);
        }
    }
}
