//! Trust bundles: the authorities that vouch for one trust domain, and the set of bundles a process holds.
//!
//! A bundle belongs to one trust domain and is never merged with another (SPIFFE Trust Domain and Bundle §3,
//! Federation §4.2): a peer is judged by the bundle of *its* trust domain. A bundle without authorities is valid and
//! means that everything in the trust domain has been revoked (§4.1.3).

mod json;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::trust_domain::TrustDomain;
use crate::x509::{Authority, AuthorityError};

/// The authorities of one trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    authorities: Vec<Authority>,
    sequence: u64,
    refresh_hint: Option<Duration>,
}

/// The error of something that is not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The bundle is larger than the limit.
    #[error("the bundle is larger than {} bytes", json::MAX_BYTES)]
    TooLarge,
    /// The text is not a JSON object of the SPIFFE bundle format.
    #[error("the bundle is not a JSON object of the SPIFFE bundle format (line {line}, column {column})")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// `keys` is not there.
    #[error("the bundle has no \"keys\" (Trust Domain and Bundle 4.1.3)")]
    KeysMissing,
    /// `spiffe_sequence` is not an unsigned 64 bit integer.
    #[error("\"spiffe_sequence\" is not an unsigned 64 bit integer (Trust Domain and Bundle 4.1.1)")]
    Sequence,
    /// `spiffe_refresh_hint` is not a number of seconds.
    #[error("\"spiffe_refresh_hint\" is not an integer number of seconds (Trust Domain and Bundle 4.1.2)")]
    RefreshHint,
    /// A key's first `x5c` value is not base64.
    #[error("the certificate of key {index} is not base64 (X509-SVID 6.1)")]
    Encoding {
        /// The key's place in the list, from 0.
        index: usize,
    },
    /// A certificate cannot be an authority.
    #[error("the certificate of key {index} cannot be an authority: {error}")]
    Authority {
        /// The certificate's place in the list, from 0.
        index: usize,
        /// The clause that it breaks.
        error: AuthorityError,
    },
}

impl Bundle {
    /// Makes a bundle of authorities; duplicates are dropped.
    pub fn new(trust_domain: TrustDomain, authorities: Vec<Authority>, sequence: u64) -> Self {
        let mut unique: Vec<Authority> = Vec::with_capacity(authorities.len());
        for authority in authorities {
            if !unique.contains(&authority) {
                unique.push(authority);
            }
        }
        Self { trust_domain, authorities: unique, sequence, refresh_hint: None }
    }

    /// Makes a bundle of DER certificates.
    ///
    /// # Errors
    ///
    /// [`BundleError::Authority`] for the first certificate that cannot be an authority.
    pub fn from_ders<D: AsRef<[u8]>>(
        trust_domain: TrustDomain,
        ders: &[D],
        sequence: u64,
    ) -> Result<Self, BundleError> {
        let mut authorities = Vec::with_capacity(ders.len());
        for (index, der) in ders.iter().enumerate() {
            let authority = Authority::parse(der.as_ref());
            authorities.push(authority.map_err(|error| BundleError::Authority { index, error })?);
        }
        Ok(Self::new(trust_domain, authorities, sequence))
    }

    /// Reads the SPIFFE bundle format. Keys of other uses, unknown parameters and keys without a certificate are
    /// ignored, as the standard demands; an X.509 authority that cannot be read is an error.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn from_json(trust_domain: TrustDomain, json: &[u8]) -> Result<Self, BundleError> {
        json::read(trust_domain, json)
    }

    /// Writes the SPIFFE bundle format.
    pub fn to_json(&self) -> String {
        json::write(self)
    }

    /// The same bundle with a refresh hint, which is written in whole seconds.
    #[must_use]
    pub fn with_refresh_hint(mut self, hint: Duration) -> Self {
        self.refresh_hint = Some(hint);
        self
    }

    /// The trust domain that the authorities vouch for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authorities. None means that everything in the trust domain has been revoked.
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// The sequence number, which grows with every change of content; 0 when its source gave none.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The interval at which the source wants to be asked again.
    pub fn refresh_hint(&self) -> Option<Duration> {
        self.refresh_hint
    }
}

/// The bundles that a process trusts, by trust domain. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleSet {
    bundles: BTreeMap<TrustDomain, Arc<Bundle>>,
}

impl BundleSet {
    /// An empty set: nobody is trusted.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bundle of exactly this trust domain.
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&Arc<Bundle>> {
        self.bundles.get(trust_domain)
    }

    /// Puts a bundle in, in place of an earlier one of its trust domain, which is returned.
    pub fn insert(&mut self, bundle: impl Into<Arc<Bundle>>) -> Option<Arc<Bundle>> {
        let bundle = bundle.into();
        self.bundles.insert(bundle.trust_domain().clone(), bundle)
    }

    /// The bundles, in the order of their trust domains' names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.bundles.values()
    }

    /// The number of trust domains.
    pub fn len(&self) -> usize {
        self.bundles.len()
    }

    /// Whether there is no bundle.
    pub fn is_empty(&self) -> bool {
        self.bundles.is_empty()
    }
}

impl<B: Into<Arc<Bundle>>> FromIterator<B> for BundleSet {
    fn from_iter<I: IntoIterator<Item = B>>(bundles: I) -> Self {
        let mut set = Self::new();
        for bundle in bundles {
            set.insert(bundle);
        }
        set
    }
}
