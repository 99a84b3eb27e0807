//! The issuer's own certificate: issued to itself, on record like any other, published to its listener.
//!
//! Its chain ends with the root, which others leave out: a workload at its first contact has only the root's pin, and
//! needs the certificate to check it against. A signing certificate never serves as identity.

use crate::error::IssueError;
use crate::issuance::{Issuance, record};
use crate::store::{Commit, KeyHash, Origin};
use avouch_identity::{Svid, SvidLoadError};
use avouch_issuance::{KeyError, PrivateKey, Request};
use avouch_spiffe::SpiffeId;
use avouch_spiffe::x509::sha256;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A failure to issue the issuer's own certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfIssueError {
    /// The key could not be generated.
    #[error("the issuer's own key cannot be made")]
    Key(#[from] KeyError),
    /// Signing or recording failed.
    #[error("the issuer's own certificate cannot be issued")]
    Issue(#[from] IssueError),
    /// The issued certificate and its key do not make an SVID.
    #[error("the issuer's own certificate cannot be used")]
    Svid(#[from] SvidLoadError),
}

/// Issues a certificate to the issuer itself, with a key of its own that lives in memory only.
pub(crate) async fn issue(issuance: &Issuance, id: &SpiffeId) -> Result<Svid, SelfIssueError> {
    let key = PrivateKey::generate()?;
    let now = issuance.clock.now();
    let request = Request::for_own_key(&key, id.clone()).lifetime(issuance.svid_ttl);
    let issued = issuance.sign(request, now)?;
    let certificate = record(&issued, None, KeyHash(sha256(&key.spki_der())), Origin::SelfIssued, now);
    issuance.commit(Commit { certificate, token: None, presented: None }, &issued).await?;
    let mut chain = issued.into_chain();
    chain.push(CertificateDer::from(issuance.authorities.root().der().to_vec()));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8_der().to_vec()));
    Ok(Svid::new(chain, &key)?)
}
