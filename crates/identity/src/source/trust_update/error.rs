//! The error of an update that is not taken.

use avouch_spiffe::trust_state::RevocationError;
use avouch_spiffe::{BundleError, Generation, SpiffeIdError, TrustDomain};

/// What is wrong with an update of the trust state. The state in use stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustUpdateError {
    /// The bytes are no `TrustUpdate`.
    #[error("the bytes are no encoded TrustUpdate")]
    Encoding(#[from] prost::DecodeError),
    /// The update has no generation.
    #[error("the update names no generation")]
    NoGeneration,
    /// The update is older than what is held.
    #[error(
        "generation {offered} is older than {held}, which is in use: is the issuer's clock behind, or was it restored with a \
         wrong clock?"
    )]
    RolledBack {
        /// The generation in use.
        held: Generation,
        /// The generation of the update.
        offered: Generation,
    },
    /// The update changes another state than the one that is held.
    #[error("the update changes generation {base}, and {held} is in use")]
    WrongBase {
        /// The generation in use.
        held: Generation,
        /// The generation that the update changes.
        base: Generation,
    },
    /// The first bundle of a whole update is not the own trust domain's.
    #[error("the first bundle is of {found}, not of the own trust domain {own}")]
    OtherDomain {
        /// The own trust domain.
        own: TrustDomain,
        /// The bundle's.
        found: TrustDomain,
    },
    /// A trust domain has two bundles, as where one calls itself federated and is of the own name.
    #[error("there are two bundles of {0}")]
    BundleTwice(TrustDomain),
    /// A bundle cannot be used.
    #[error("the bundle of {domain} cannot be used")]
    Bundle {
        /// The bundle's trust domain.
        domain: TrustDomain,
        /// The error of the bundle.
        source: BundleError,
    },
    /// A name is not that of a trust domain.
    #[error("a bundle names no trust domain")]
    TrustDomain(#[source] SpiffeIdError),
    /// The own trust domain would be without a bundle.
    #[error("the own trust domain {0} would have no bundle")]
    NoOwnBundle(TrustDomain),
    /// There is no bundle at all.
    #[error("there is no bundle")]
    NoBundle,
    /// A bundle that is to go is not held.
    #[error("the bundle of {0} is to go, and there is none")]
    UnknownDomain(TrustDomain),
    /// The revocations cannot be read, or are too many.
    #[error("the revocations cannot be used")]
    Revocations(#[from] RevocationError),
    /// The revocations are not those that the issuer means.
    #[error("the revocations are not those of the update's digest")]
    Digest,
}

impl TrustUpdateError {
    /// Whether a whole state can help. Not where the issuer's state is older: its whole state is too.
    pub(in crate::source) fn asks_for_all(&self) -> bool {
        !matches!(self, Self::RolledBack { .. })
    }
}
