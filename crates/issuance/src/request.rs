//! Request → checked → issued: the only way to an SVID.
//!
//! *Specification*: X509-SVID §2, §3.1, §4; RFC 5280 §4. *Enforced here*: exactly one URI SAN, with a path, of the
//! signing authority's trust domain; an explicit `cA = false`; critical key usage digitalSignature; both extended key
//! usages; an empty subject and therefore a critical SAN; an authority key identifier; an end not after the
//! authority's. What was signed is parsed again and compared. *Not enforced here*: who may ask; that is the issuer's part.

use std::time::{Duration, SystemTime};

use avouch_spiffe::x509::{KeyAlgorithm, Leaf, SvidError};
use avouch_spiffe::{Reason, SpiffeId};
use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;

use crate::authority::SigningAuthority;
use crate::certificate;
use crate::csr::{Csr, CsrError};
use crate::dns::DnsName;
use crate::entropy::{self, Entropy, EntropyError};
use crate::key::PrivateKey;
use crate::profile::SvidProfile;
use crate::validity::{Validity, ValidityError};

/// What is asked for: an identity for a key.
#[derive(Clone, Debug)]
pub struct Request {
    spiffe_id: SpiffeId,
    spki_der: Vec<u8>,
    key_algorithm: KeyAlgorithm,
    lifetime: Option<Duration>,
    dns_names: Vec<DnsName>,
    own: bool,
}

/// A certificate as it will be signed, every value checked against profile and authority.
#[derive(Debug)]
pub struct Checked {
    spiffe_id: SpiffeId,
    spki_der: Vec<u8>,
    dns_names: Vec<DnsName>,
    serial: Vec<u8>,
    validity: Validity,
}

/// An SVID that was signed and checked again.
#[derive(Clone, Debug)]
pub struct Issued {
    chain: Vec<CertificateDer<'static>>,
    leaf: Leaf,
}

/// The error of an SVID that cannot be issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuanceError {
    /// The SPIFFE ID is of another trust domain than the authority.
    #[error("{0} is not of the signing authority's trust domain")]
    ForeignTrustDomain(SpiffeId),
    /// The SPIFFE ID has no path.
    #[error("{0} names a trust domain, not a workload")]
    NoPath(SpiffeId),
    /// The path is reserved for avouch's own processes.
    #[error("{0} is reserved for avouch itself")]
    Reserved(SpiffeId),
    /// The profile does not issue for keys of this algorithm.
    #[error("the profile issues nothing for keys of {0}")]
    KeyAlgorithm(KeyAlgorithm),
    /// The life is outside the profile's bounds.
    #[error("the life of {asked:?} is outside the profile's bounds of {min:?} to {max:?}")]
    Lifetime {
        /// What was asked for.
        asked: Duration,
        /// The profile's lower bound.
        min: Duration,
        /// The profile's upper bound.
        max: Duration,
    },
    /// More DNS names than the profile allows.
    #[error("{count} DNS names are more than the {max} of the profile")]
    TooManyDnsNames {
        /// How many were asked for.
        count: usize,
        /// The profile's bound.
        max: usize,
    },
    /// No validity period can be computed, mostly because the authority has expired.
    #[error(transparent)]
    Validity(#[from] ValidityError),
    /// The random generator failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// rcgen failed to encode or to sign the certificate.
    #[error("the certificate could not be signed")]
    Signing(#[from] rcgen::Error),
    /// What was signed is not an X.509-SVID.
    #[error("the signed certificate is not an X.509-SVID")]
    Svid(#[from] SvidError),
    /// What was signed differs from what was checked.
    #[error("the signed certificate differs from what was checked: {0}")]
    Recheck(&'static str),
}

impl IssuanceError {
    /// The reason that a refusal for this error carries: the requester's key where it is at fault, else "not ready",
    /// since everything else is for the operator to mend.
    pub fn reason(&self) -> Reason {
        match self {
            Self::KeyAlgorithm(_) => Reason::CsrInvalid,
            _ => Reason::NotReady,
        }
    }
}

impl Request {
    /// Asks for the identity `entitled`, for the key of a certificate signing request.
    ///
    /// # Errors
    ///
    /// [`CsrError::IdentityMismatch`] when the request names another SPIFFE ID.
    pub fn for_csr(csr: &Csr, entitled: SpiffeId) -> Result<Self, CsrError> {
        csr.check_identity(&entitled)?;
        Ok(Self {
            spiffe_id: entitled,
            spki_der: csr.spki_der().to_vec(),
            key_algorithm: csr.key_algorithm(),
            lifetime: None,
            dns_names: Vec::new(),
            own: false,
        })
    }

    /// Asks for an identity of avouch itself, for a key it holds. Only this way are reserved paths issued.
    pub fn for_own_key(key: &PrivateKey, spiffe_id: SpiffeId) -> Self {
        Self {
            spiffe_id,
            spki_der: key.spki_der(),
            key_algorithm: KeyAlgorithm::EcdsaP256,
            lifetime: None,
            dns_names: Vec::new(),
            own: true,
        }
    }

    /// Asks for this life instead of the profile's default.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Asks for DNS names beside the SPIFFE ID; duplicates are dropped.
    #[must_use]
    pub fn dns_names(mut self, names: impl IntoIterator<Item = DnsName>) -> Self {
        for name in names {
            if !self.dns_names.contains(&name) {
                self.dns_names.push(name);
            }
        }
        self
    }

    /// Checks everything and fixes serial number and validity. The life is cut at the authority's end.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub fn check(
        self,
        profile: &SvidProfile,
        authority: &SigningAuthority,
        now: SystemTime,
        entropy: &dyn Entropy,
    ) -> Result<Checked, IssuanceError> {
        if self.spiffe_id.trust_domain() != authority.trust_domain() {
            return Err(IssuanceError::ForeignTrustDomain(self.spiffe_id));
        }
        if self.spiffe_id.is_root() {
            return Err(IssuanceError::NoPath(self.spiffe_id));
        }
        if self.spiffe_id.is_reserved() && !self.own {
            return Err(IssuanceError::Reserved(self.spiffe_id));
        }
        if !profile.accepts(self.key_algorithm) {
            return Err(IssuanceError::KeyAlgorithm(self.key_algorithm));
        }
        if self.dns_names.len() > profile.max_dns_names() {
            let (count, max) = (self.dns_names.len(), profile.max_dns_names());
            return Err(IssuanceError::TooManyDnsNames { count, max });
        }
        let asked = self.lifetime.unwrap_or(profile.default_lifetime());
        let (min, max) = (profile.min_lifetime(), profile.max_lifetime());
        if asked < min || asked > max {
            return Err(IssuanceError::Lifetime { asked, min, max });
        }
        let validity = Validity::at(now, asked, profile.backdate(), Some(authority.validity()))?;
        let serial = entropy::serial(now, entropy)?;
        Ok(Checked {
            spiffe_id: self.spiffe_id,
            spki_der: self.spki_der,
            dns_names: self.dns_names,
            serial,
            validity,
        })
    }
}

impl Checked {
    /// The identity that will be certified.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// Signs, and checks what was signed.
    ///
    /// # Errors
    ///
    /// [`IssuanceError::Signing`], or what the check after signing found.
    pub fn sign(self, authority: &SigningAuthority) -> Result<Issued, IssuanceError> {
        let mut params = certificate::params(&self.serial, self.validity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names.push(SanType::URI(self.spiffe_id.as_str().try_into()?));
        for name in &self.dns_names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        let public_key = rcgen::SubjectPublicKeyInfo::from_der(&self.spki_der)?;
        let der = authority.sign(&params, &public_key)?;
        let leaf = self.recheck(&der, authority)?;
        Ok(Issued { chain: vec![der, authority.certificate().der().to_vec().into()], leaf })
    }

    fn recheck(&self, der: &[u8], authority: &SigningAuthority) -> Result<Leaf, IssuanceError> {
        let leaf = Leaf::parse(der)?;
        let signer = authority.certificate();
        let asked_dns = self.dns_names.iter().map(DnsName::as_str);
        let comparisons = [
            (leaf.spiffe_id() == &self.spiffe_id, "SPIFFE ID"),
            (leaf.spiffe_id().trust_domain() == authority.trust_domain(), "trust domain"),
            (leaf.spki_der() == self.spki_der, "public key"),
            (leaf.not_before() == self.validity.not_before, "beginning"),
            (leaf.not_after() == self.validity.not_after, "end"),
            (leaf.not_after() <= signer.not_after(), "end after the signing authority's"),
            (leaf.dns_names().iter().map(String::as_str).eq(asked_dns), "DNS names"),
            (leaf.subject().is_empty(), "subject"),
            (leaf.issuer() == signer.subject(), "issuer"),
            (leaf.authority_key_id().is_some(), "authority key identifier"),
            (leaf.authority_key_id() == signer.key_id(), "authority key identifier"),
        ];
        match comparisons.into_iter().find(|(same, _)| !same) {
            None => Ok(leaf),
            Some((_, what)) => Err(IssuanceError::Recheck(what)),
        }
    }
}

impl Issued {
    /// The certificates, leaf first, then the signing authority's; the root is in the bundle.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The certificates, by value.
    pub fn into_chain(self) -> Vec<CertificateDer<'static>> {
        self.chain
    }

    /// The leaf, parsed.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The serial number, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        self.leaf.serial()
    }

    /// The first second of validity.
    pub fn not_before(&self) -> SystemTime {
        self.leaf.not_before()
    }

    /// The last second of validity.
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after()
    }

    /// The identity.
    pub fn spiffe_id(&self) -> &SpiffeId {
        self.leaf.spiffe_id()
    }
}
