//! The keys that sign: the root, which signs signing authorities, and the signing authority, which signs SVIDs.
//!
//! *Specification*: X509-SVID §3.1 and §4: `cA`, critical key usage with keyCertSign, a SPIFFE ID without path.
//! SPIFFE-ID §3.1: a signing authority bears an SVID of its trust domain. *Enforced here*: all of it, on making and on
//! loading; the root allows exactly one authority below it, the signing authority none; neither outlives its parent;
//! the private key fits the certificate. *Never*: name constraints, which peers built on rustls-webpki cannot read.

use std::fmt::{self, Debug};
use std::time::SystemTime;

use avouch_spiffe::x509::{self, Authority, AuthorityError, KeyAlgorithm};
use avouch_spiffe::{Bundle, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use rustls_pki_types::CertificateDer;

use crate::certificate;
use crate::entropy::{self, Entropy, EntropyError};
use crate::key::{PrivateKey, Signer};
use crate::profile::{CaProfile, RootProfile, SigningAuthorityProfile};
use crate::validity::{Validity, ValidityError};

/// The root's path length: one CA certificate may follow.
const ROOT_PATH_LEN: u8 = 1;
/// The signing authority's path length: only leaves follow.
const SIGNING_PATH_LEN: u8 = 0;

/// A failure to make or load an authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The random generator failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// No validity period can be computed.
    #[error(transparent)]
    Validity(#[from] ValidityError),
    /// The certificate cannot be an authority.
    #[error(transparent)]
    Certificate(#[from] AuthorityError),
    /// rcgen failed to encode or to sign the certificate.
    #[error("the certificate could not be signed")]
    Signing(#[source] rcgen::Error),
    /// The private key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The certificate bears the SPIFFE ID of another trust domain, or none.
    #[error("the certificate does not bear the SPIFFE ID of the trust domain {0}")]
    TrustDomain(TrustDomain),
    /// The path length does not fit the place in the hierarchy.
    #[error("the certificate's path length constraint does not fit")]
    PathLength,
    /// The root is not signed by itself.
    #[error("the root certificate is not signed by its own key")]
    NotSelfSigned,
    /// No authority of the bundle signed the certificate.
    #[error("no root of the bundle has signed the certificate of the signing authority")]
    NotOfThisRoot,
    /// The certificate outlives the one that signed it.
    #[error("the certificate outlives the authority that signed it")]
    OutlivesParent,
    /// The certificate that came out is not the one that was asked for.
    #[error("the signed certificate differs from what was asked for: {0}")]
    Recheck(&'static str),
}

/// A root and its private key. Needed only to sign authorities, so it may live offline.
pub struct Root {
    trust_domain: TrustDomain,
    authority: Authority,
    pub(crate) issuer: Issuer<'static, Signer>,
}

/// A signing authority and its private key. It signs SVIDs; its certificate is never used as an identity in TLS.
pub struct SigningAuthority {
    trust_domain: TrustDomain,
    authority: Authority,
    pub(crate) issuer: Issuer<'static, Signer>,
}

impl Root {
    /// Makes a root for `key`.
    ///
    /// # Errors
    ///
    /// [`CaError::Entropy`], [`CaError::Validity`], [`CaError::Signing`], or a failed re-check.
    pub fn create(
        trust_domain: &TrustDomain,
        profile: &RootProfile,
        key: PrivateKey,
        now: SystemTime,
        entropy: &dyn Entropy,
    ) -> Result<Self, CaError> {
        let profile = profile.ca();
        let signer = Signer(key);
        let validity = Validity::at(now, profile.lifetime, profile.backdate, None)?;
        let serial = entropy::serial(now, entropy)?;
        let params = ca_params(profile, trust_domain, &signer, ROOT_PATH_LEN, &serial, validity)?;
        let der = params.self_signed(&signer).map_err(CaError::Signing)?.der().clone();
        recheck(&der, &signer, validity)?;
        Self::assemble(trust_domain, &der, signer)
    }

    /// Loads a root from its DER certificate and key.
    ///
    /// # Errors
    ///
    /// The first check that fails; the checks are those that a newly made root passes.
    pub fn load(trust_domain: &TrustDomain, der: &[u8], key: PrivateKey) -> Result<Self, CaError> {
        Self::assemble(trust_domain, &CertificateDer::from(der), Signer(key))
    }

    fn assemble(
        trust_domain: &TrustDomain,
        der: &CertificateDer<'_>,
        signer: Signer,
    ) -> Result<Self, CaError> {
        let authority = Authority::parse(der)?;
        check_bearer(trust_domain, &authority, &signer)?;
        if authority.path_len().is_some_and(|length| length < u32::from(ROOT_PATH_LEN)) {
            return Err(CaError::PathLength);
        }
        if authority.issuer() != authority.subject() || !certificate::signed_by(der, &authority) {
            return Err(CaError::NotSelfSigned);
        }
        let issuer = Issuer::from_ca_cert_der(der, signer).map_err(CaError::Signing)?;
        Ok(Self { trust_domain: trust_domain.clone(), authority, issuer })
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The certificate, which goes into the bundle.
    pub fn certificate(&self) -> &Authority {
        &self.authority
    }
}

impl SigningAuthority {
    /// Makes a signing authority for `key`, signed by `root`.
    ///
    /// # Errors
    ///
    /// [`CaError::Entropy`], [`CaError::Validity`] (an expired root signs nothing), [`CaError::Signing`], or a
    /// failed re-check.
    pub fn create(
        root: &Root,
        profile: &SigningAuthorityProfile,
        key: PrivateKey,
        now: SystemTime,
        entropy: &dyn Entropy,
    ) -> Result<Self, CaError> {
        let profile = profile.ca();
        let signer = Signer(key);
        let validity = Validity::at(now, profile.lifetime, profile.backdate, Some(period(&root.authority)))?;
        let serial = entropy::serial(now, entropy)?;
        let mut params =
            ca_params(profile, &root.trust_domain, &signer, SIGNING_PATH_LEN, &serial, validity)?;
        params.use_authority_key_identifier_extension = true;
        let der = params.signed_by(&signer, &root.issuer).map_err(CaError::Signing)?.der().clone();
        recheck(&der, &signer, validity)?;
        Self::assemble(&root.trust_domain, std::slice::from_ref(&root.authority), &der, signer)
    }

    /// Loads a signing authority from its DER certificate and key. The root's key is not needed, its certificate is: it
    /// comes from the bundle, which also names the trust domain.
    ///
    /// # Errors
    ///
    /// The first check that fails; the checks are those that a newly made signing authority passes.
    pub fn load(bundle: &Bundle, der: &[u8], key: PrivateKey) -> Result<Self, CaError> {
        Self::assemble(bundle.trust_domain(), bundle.authorities(), &CertificateDer::from(der), Signer(key))
    }

    fn assemble(
        trust_domain: &TrustDomain,
        roots: &[Authority],
        der: &CertificateDer<'_>,
        signer: Signer,
    ) -> Result<Self, CaError> {
        let authority = Authority::parse(der)?;
        check_bearer(trust_domain, &authority, &signer)?;
        if authority.path_len() != Some(u32::from(SIGNING_PATH_LEN)) {
            return Err(CaError::PathLength);
        }
        let signed = |root: &&Authority| {
            root.subject() == authority.issuer()
                && (root.key_id().is_none() || root.key_id() == authority.authority_key_id())
                && certificate::signed_by(der, root)
        };
        let root = roots.iter().find(signed).ok_or(CaError::NotOfThisRoot)?;
        if authority.not_after() > root.not_after() {
            return Err(CaError::OutlivesParent);
        }
        let issuer = Issuer::from_ca_cert_der(der, signer).map_err(CaError::Signing)?;
        Ok(Self { trust_domain: trust_domain.clone(), authority, issuer })
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The certificate, which travels with every SVID.
    pub fn certificate(&self) -> &Authority {
        &self.authority
    }

    /// The last second of its validity; nothing it signs is valid longer.
    pub fn not_after(&self) -> SystemTime {
        self.authority.not_after()
    }

    pub(crate) fn validity(&self) -> Validity {
        period(&self.authority)
    }

    pub(crate) fn sign(
        &self,
        params: &CertificateParams,
        public_key: &rcgen::SubjectPublicKeyInfo,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        Ok(params.signed_by(public_key, &self.issuer)?.der().clone())
    }
}

impl Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("certificate", &self.authority).finish_non_exhaustive()
    }
}

impl Debug for SigningAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningAuthority").field("certificate", &self.authority).finish_non_exhaustive()
    }
}

fn period(authority: &Authority) -> Validity {
    Validity { not_before: authority.not_before(), not_after: authority.not_after() }
}

fn ca_params(
    profile: &CaProfile,
    trust_domain: &TrustDomain,
    signer: &Signer,
    path_len: u8,
    serial: &[u8],
    validity: Validity,
) -> Result<CertificateParams, CaError> {
    let mut params = certificate::params(serial, validity)?;
    let key_id = x509::sha256(&signer.subject_public_key_info());
    params.distinguished_name.push(DnType::CommonName, profile.common_name(trust_domain, &key_id));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let id = trust_domain.id();
    params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().map_err(CaError::Signing)?)];
    Ok(params)
}

/// Checks the requirements on every authority, whether it was made here or loaded.
fn check_bearer(trust_domain: &TrustDomain, authority: &Authority, signer: &Signer) -> Result<(), CaError> {
    if authority.key_algorithm() != KeyAlgorithm::EcdsaP256
        || authority.spki_der() != signer.subject_public_key_info()
    {
        return Err(CaError::KeyMismatch);
    }
    if authority.spiffe_id().is_none_or(|id| id.trust_domain() != trust_domain) {
        return Err(CaError::TrustDomain(trust_domain.clone()));
    }
    Ok(())
}

/// Compares what was signed with what was asked for; the rest is checked like any certificate that is loaded.
fn recheck(der: &[u8], signer: &Signer, validity: Validity) -> Result<(), CaError> {
    let authority = Authority::parse(der)?;
    if authority.spki_der() != signer.subject_public_key_info() {
        return Err(CaError::Recheck("public key"));
    }
    if authority.not_before() != validity.not_before || authority.not_after() != validity.not_after {
        return Err(CaError::Recheck("validity"));
    }
    Ok(())
}
