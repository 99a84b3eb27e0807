//! The identity filter: which verified identities a listener admits, or a channel expects of its server.
//!
//! A filter works on whole SPIFFE IDs, trust domain included. There is no "anybody" filter: the widest one admits
//! the identities of the trust domains whose bundles are loaded.

use std::fmt;
use std::sync::Arc;

use avouch_spiffe::{SpiffeId, TrustDomain};

/// The identities that are admitted on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFilter(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    AnyTrusted,
    TrustDomain(TrustDomain),
    OneOf(Arc<[SpiffeId]>),
}

impl IdentityFilter {
    /// Every identity of every trust domain whose bundle is loaded; authorization must decide the rest.
    pub fn any_trusted() -> Self {
        Self(Kind::AnyTrusted)
    }

    /// Every identity of one trust domain.
    pub fn trust_domain(trust_domain: TrustDomain) -> Self {
        Self(Kind::TrustDomain(trust_domain))
    }

    /// Exactly these identities.
    pub fn one_of(ids: impl IntoIterator<Item = SpiffeId>) -> Self {
        Self(Kind::OneOf(ids.into_iter().collect()))
    }

    /// The one identity that is admitted, where it is only one.
    pub(crate) fn only(&self) -> Option<&SpiffeId> {
        match &self.0 {
            Kind::OneOf(ids) => ids.first().filter(|_| ids.len() == 1),
            _ => None,
        }
    }

    /// Whether the filter admits this identity.
    pub fn admits(&self, id: &SpiffeId) -> bool {
        match &self.0 {
            Kind::AnyTrusted => true,
            Kind::TrustDomain(trust_domain) => id.trust_domain() == trust_domain,
            Kind::OneOf(ids) => ids.contains(id),
        }
    }
}

impl From<SpiffeId> for IdentityFilter {
    fn from(id: SpiffeId) -> Self {
        Self::one_of([id])
    }
}

impl fmt::Display for IdentityFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::AnyTrusted => f.write_str("any identity of a trusted domain"),
            Kind::TrustDomain(trust_domain) => write!(f, "any identity of {trust_domain}"),
            Kind::OneOf(ids) => {
                for (at, id) in ids.iter().enumerate() {
                    let separator = if at == 0 { "" } else { " or " };
                    write!(f, "{separator}{id}")?;
                }
                Ok(())
            }
        }
    }
}
