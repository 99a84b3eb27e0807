//! The issuer's own certificate: issued to itself, on record like any other, published to its listener.
//!
//! Its chain ends with the root, which others leave out: a workload at its first contact has only the root's pin, and
//! needs the certificate to check it against. A signing certificate never serves as identity.

use crate::error::IssueError;
use crate::issuing::{Issuing, record};
use crate::store::{Commit, KeyHash, Origin};
use avouch_identity::{Svid, SvidLoadError};
use avouch_issuance::{KeyError, PrivateKey, Request};
use avouch_spiffe::x509::sha256;
use avouch_spiffe::{SpiffeId, SpiffeIdError, TrustDomain};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Path of every issuer's identity.
const PATH: &str = "/avouch/issuer";

/// Why the issuer has no certificate for itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnError {
    /// The trust domain's name leaves no room for the path.
    #[error("the issuer's SPIFFE ID cannot be formed")]
    Id(#[from] SpiffeIdError),
    /// No key.
    #[error("the issuer's own key cannot be made")]
    Key(#[from] KeyError),
    /// Signing or recording failed.
    #[error("the issuer's own certificate cannot be issued")]
    Issue(#[from] IssueError),
    /// The result is unusable.
    #[error("the issuer's own certificate cannot be used")]
    Svid(#[from] SvidLoadError),
}

/// The identity of the issuer of a trust domain.
pub fn issuer_id(trust_domain: &TrustDomain) -> Result<SpiffeId, SpiffeIdError> {
    SpiffeId::new(trust_domain, PATH)
}

/// Issues a certificate to the issuer itself, with a key of its own that lives in memory only.
pub(crate) async fn issue(issuing: &Issuing, id: &SpiffeId) -> Result<Svid, OwnError> {
    let key = PrivateKey::generate()?;
    let now = issuing.clock.now();
    let request = Request::for_own_key(&key, id.clone()).lifetime(issuing.svid_ttl);
    let issued = issuing.sign(request, now)?;
    let issuance = record(&issued, None, KeyHash(sha256(&key.spki_der())), Origin::SelfIssued, now);
    issuing.commit(Commit { issuance, token: None, presented: None }, &issued).await?;
    let mut chain = issued.into_chain();
    chain.push(CertificateDer::from(issuing.authorities.root().der().to_vec()));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8_der().to_vec()));
    Ok(Svid::new(chain, &key)?)
}
