//! Join tokens: single use, short lived, bound to the key of their first use.
//!
//! Only the SHA-256 of a token's secret is kept, and the token is looked up by it: since the secret has 256 random
//! bits, neither guessing nor timing the lookup helps an attacker. The same token may be presented again with the same
//! key until it expires, because the answer to its first use may have been lost.

use super::{AttestFuture, Attested, Attestor, Evidence};
use crate::error::IssueError;
use crate::store::{Entry, KeyHash, Store, TokenHash, TokenState};
use std::sync::Arc;
use std::time::SystemTime;

/// The longest secret that is hashed: longer than any made here, and too short for a caller to have megabytes hashed.
const MAX_SECRET: usize = 256;

/// The hash under which a token is kept.
pub(crate) fn hash(secret: &str) -> TokenHash {
    TokenHash(avouch_spiffe::x509::sha256(secret.as_bytes()))
}

/// Recognises a workload by its join token.
#[derive(Debug)]
pub struct JoinTokenAttestor {
    store: Arc<dyn Store>,
}

impl JoinTokenAttestor {
    /// Looks tokens up in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    async fn look_up(&self, secret: &str, key: &KeyHash, now: SystemTime) -> Result<Attested, IssueError> {
        if secret.is_empty() || secret.len() > MAX_SECRET {
            return Err(IssueError::TokenInvalid);
        }
        let token = hash(secret);
        let state = self.store.token(&token, key, now).await?;
        let entry = match state {
            TokenState::Usable(entry) | TokenState::UsedByAnotherKey(entry) => {
                self.store.entry_by_id(entry).await?.ok_or(IssueError::TokenInvalid)?
            }
            TokenState::Unknown => return Err(IssueError::TokenInvalid),
            TokenState::Expired => return Err(IssueError::TokenExpired),
        };
        usable(state, &entry)?;
        Ok(Attested { entry, token: Some(token) })
    }
}

/// Whether a token for this entry can be used, or the refusal.
pub(crate) fn usable(state: TokenState, entry: &Entry) -> Result<(), IssueError> {
    match state {
        TokenState::Usable(of) if of == entry.id => Ok(()),
        // A token usable for another entry cannot occur here, and is refused all the same.
        TokenState::Usable(_) | TokenState::Unknown => Err(IssueError::TokenInvalid),
        TokenState::Expired => Err(IssueError::TokenExpired),
        TokenState::UsedByAnotherKey(_) => {
            Err(IssueError::TokenAlreadyUsed { spiffe_id: entry.entry.spiffe_id.clone() })
        }
    }
}

impl Attestor for JoinTokenAttestor {
    fn attest<'a>(&'a self, evidence: &'a Evidence, key: &'a KeyHash, now: SystemTime) -> AttestFuture<'a> {
        match evidence {
            Evidence::JoinToken(secret) => Box::pin(self.look_up(secret, key, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::SqliteStore;
    use zeroize::Zeroizing;

    #[tokio::test]
    async fn what_cannot_be_a_token_is_refused_without_a_lookup() {
        let attestor = JoinTokenAttestor::new(Arc::new(SqliteStore::temporary()));
        for secret in [String::new(), "x".repeat(257), "unknown".to_owned()] {
            let evidence = Evidence::JoinToken(Zeroizing::new(secret));
            let error =
                attestor.attest(&evidence, &KeyHash([0; 32]), SystemTime::UNIX_EPOCH).await.unwrap_err();
            assert!(matches!(error, IssueError::TokenInvalid), "{error}");
        }
    }

    #[test]
    fn evidence_never_prints_its_secret() {
        let evidence = Evidence::JoinToken(Zeroizing::new("hunter2".to_owned()));
        assert_eq!(format!("{evidence:?}"), "JoinToken([redacted])");
        assert!(!format!("{:?}", hash("hunter2")).contains("hunter2"));
    }
}
