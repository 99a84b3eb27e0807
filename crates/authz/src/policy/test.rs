//! A policy's own tests, as data: who calls what, and what the author expects of the decision.

use std::fmt;
use std::time::Duration;

use avouch_spiffe::{Reason, SpiffeId};

use super::SourceLocation;

pub(crate) const ANONYMOUS: &str = "anonymous";
pub(crate) const LOCAL_ADMIN: &str = "local-admin";

/// One `[[test]]` of a policy file.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) location: SourceLocation,
    pub(crate) caller: TestCaller,
    pub(crate) method: &'static str,
    pub(crate) expected: Expected,
}

/// The decision that a test expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Allow,
    Deny,
    /// Denied for this reason and no other.
    DenyWith(Reason),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Deny => f.write_str("deny"),
            Self::DenyWith(reason) => write!(f, "deny with {reason}"),
        }
    }
}

/// The caller of a test.
#[derive(Debug)]
pub(crate) enum TestCaller {
    Peer(SpiffeId, TestCertificate),
    Anonymous,
    LocalAdmin,
}

impl fmt::Display for TestCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(id, _) => write!(f, "{id}"),
            Self::Anonymous => f.write_str(ANONYMOUS),
            Self::LocalAdmin => f.write_str(LOCAL_ADMIN),
        }
    }
}

/// What a test says of its caller's certificate; what it does not say is not known.
#[derive(Debug, Default)]
pub(crate) struct TestCertificate {
    pub(crate) age: Option<Duration>,
    pub(crate) spki_sha256: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) issuer_key_id: Option<String>,
    pub(crate) serial: Option<String>,
}
