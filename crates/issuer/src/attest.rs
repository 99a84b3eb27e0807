//! Who a workload is at its first contact: from evidence to the entry it stands for.
//!
//! An attestor changes nothing; what its evidence uses up (a token) is consumed together with the issuance record, in
//! one commit of the store, so that evidence is never spent without a certificate nor a certificate issued on spent
//! evidence.

mod join_token;

pub use join_token::JoinTokenAttestor;
pub(crate) use join_token::{hash as hash_token, usable as usable_token};

use crate::error::IssueError;
use crate::store::{Entry, KeyHash, TokenHash};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// The answer of an [`Attestor`].
pub type AttestFuture<'a> = Pin<Box<dyn Future<Output = Result<Attested, IssueError>> + Send + 'a>>;

/// Identifies workloads by their evidence.
pub trait Attestor: Send + Sync + fmt::Debug + 'static {
    /// The entry that the evidence stands for, for this key. Changes nothing.
    fn attest<'a>(&'a self, evidence: &'a Evidence, key: &'a KeyHash, now: SystemTime) -> AttestFuture<'a>;
}

/// The evidence that a workload shows. Secrets inside never print.
#[derive(Clone)]
#[non_exhaustive]
pub enum Evidence {
    /// The secret part of a join token.
    JoinToken(Zeroizing<String>),
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JoinToken(_) => f.write_str("JoinToken([redacted])"),
        }
    }
}

/// The entry that evidence proved.
#[derive(Debug, Clone)]
pub struct Attested {
    /// The entry of the identity.
    pub entry: Entry,
    /// The token to consume with the issuance.
    pub token: Option<TokenHash>,
}
