//! A certificate that signs others: a root of a bundle, or an intermediate.
//!
//! *Specification*: X509-SVID §3.1 (a SPIFFE ID, if there is one, has no path), §4.1 (`cA`), §4.3 (critical key usage
//! with keyCertSign). *Enforced here*: these, a critical basic constraint (RFC 5280 §4.2.1.9), a positive serial number
//! of at most 20 octets (§4.1.2.2), no weak key, no critical extension that is not understood. *Not enforced here*:
//! that a root signs itself, validity at a given time, what the path below demands.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::SystemTime;

use x509_parser::extensions::GeneralName;

use super::key::{KeyAlgorithm, KeyRefused};
use super::read::{self, Extensions, MalformedCertificate};
use super::{name, sha256};
use crate::id;
use crate::id::{SpiffeId, SpiffeIdError};
use crate::reason::Reason;
use avouch_text::hex;

/// A CA certificate. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
}

struct Inner {
    der: Vec<u8>,
    sha256: [u8; 32],
    subject: String,
    subject_der: Vec<u8>,
    issuer: String,
    serial: String,
    not_before: SystemTime,
    not_after: SystemTime,
    key_id: Option<String>,
    authority_key_id: Option<String>,
    path_len: Option<u32>,
    spiffe_id: Option<SpiffeId>,
    spki_der: Vec<u8>,
    key_algorithm: KeyAlgorithm,
}

/// The error of a certificate that cannot be an authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The bytes are not a well-formed certificate.
    #[error(transparent)]
    Malformed(#[from] MalformedCertificate),
    /// The public key is of an algorithm or size that is not accepted.
    #[error(transparent)]
    Key(#[from] KeyRefused),
    /// The certificate has a critical extension that is not understood here.
    #[error("the critical extension {oid} is not understood (RFC 5280 4.2)")]
    UnknownCriticalExtension {
        /// The extension's object identifier.
        oid: String,
    },
    /// The serial number is zero or negative.
    #[error("the serial number is not positive (RFC 5280 4.1.2.2)")]
    SerialNotPositive,
    /// The serial number has more than 20 octets.
    #[error("the serial number has more than 20 octets (RFC 5280 4.1.2.2)")]
    SerialTooLong,
    /// The certificate is not a CA's.
    #[error("the certificate is not a CA certificate (X509-SVID 4.1)")]
    NotCa,
    /// Basic constraints are not critical.
    #[error("the basic constraints are not marked critical (RFC 5280 4.2.1.9)")]
    BasicConstraintsNotCritical,
    /// The certificate has no key usage.
    #[error("the CA certificate has no key usage (X509-SVID 4.3)")]
    KeyUsageMissing,
    /// The key usage is not critical.
    #[error("the key usage is not marked critical (X509-SVID 4.3)")]
    KeyUsageNotCritical,
    /// The key usage lacks keyCertSign.
    #[error("the key usage lacks keyCertSign (X509-SVID 4.3)")]
    KeyCertSignMissing,
    /// A name in the SAN cannot be read.
    #[error("the subject alternative name cannot be read (RFC 5280 4.2.1.6)")]
    SanUnreadable,
    /// A SPIFFE ID beside another URI.
    #[error("the CA certificate has a SPIFFE ID and {others} more URIs (X509-SVID 2)")]
    ManyUris {
        /// The number of URIs beside the first.
        others: usize,
    },
    /// A URI with the scheme `spiffe` that is not a SPIFFE ID.
    #[error("the URI is not a SPIFFE ID: {0} (SPIFFE-ID 2)")]
    SpiffeId(#[from] SpiffeIdError),
    /// The SPIFFE ID has a path, so it names a workload and no authority.
    #[error("the SPIFFE ID of a CA must not have a path (X509-SVID 3.1)")]
    SpiffeIdWithPath,
}

impl AuthorityError {
    /// The reason of a chain that is rejected for this error.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::CertMalformed,
            Self::Key(_) => Reason::CertAlgorithmRefused,
            _ => Reason::CertUntrusted,
        }
    }
}

impl Authority {
    /// Parses a DER certificate and makes every check.
    ///
    /// # Errors
    ///
    /// The first clause that is broken.
    pub fn parse(der: &[u8]) -> Result<Self, AuthorityError> {
        let certificate = read::certificate(der)?;
        let extensions = read::extensions(&certificate)?;
        let (not_before, not_after) = read::validity(&certificate)?;
        let tbs = &certificate.tbs_certificate;
        let key_algorithm = KeyAlgorithm::of(&tbs.subject_pki)?;
        if let Some(oid) = extensions.unknown_critical {
            return Err(AuthorityError::UnknownCriticalExtension { oid });
        }
        if !read::serial_is_positive(tbs.raw_serial()) {
            return Err(AuthorityError::SerialNotPositive);
        }
        if read::serial_is_too_long(tbs.raw_serial()) {
            return Err(AuthorityError::SerialTooLong);
        }
        let path_len = check_constraints(&extensions)?;
        let spiffe_id = spiffe_id(&extensions)?;
        Ok(Self {
            inner: Arc::new(Inner {
                der: der.to_vec(),
                sha256: sha256(der),
                subject: name::text(tbs.subject()),
                subject_der: tbs.subject().as_raw().to_vec(),
                issuer: name::text(tbs.issuer()),
                serial: read::serial_hex(tbs.raw_serial()),
                not_before,
                not_after,
                key_id: extensions.subject_key_id,
                authority_key_id: extensions.authority_key_id,
                path_len,
                spiffe_id,
                spki_der: tbs.subject_pki.raw.to_vec(),
                key_algorithm,
            }),
        })
    }

    /// The certificate's DER.
    pub fn der(&self) -> &[u8] {
        &self.inner.der
    }

    /// SHA-256 of the DER: what a join token pins.
    pub fn sha256(&self) -> [u8; 32] {
        self.inner.sha256
    }

    /// SHA-256 of the DER, lower-case hexadecimal.
    pub fn fingerprint(&self) -> String {
        hex::encode(&self.inner.sha256)
    }

    /// The subject's distinguished name (RFC 4514).
    pub fn subject(&self) -> &str {
        &self.inner.subject
    }

    /// The subject's DER: two names are the same when their octets are, whatever they look like.
    pub fn subject_der(&self) -> &[u8] {
        &self.inner.subject_der
    }

    /// The issuer's distinguished name (RFC 4514); equal to the subject for a root.
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// The serial number, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.inner.serial
    }

    /// The first second of validity.
    pub fn not_before(&self) -> SystemTime {
        self.inner.not_before
    }

    /// The last second of validity.
    pub fn not_after(&self) -> SystemTime {
        self.inner.not_after
    }

    /// The subject key identifier, hexadecimal.
    pub fn key_id(&self) -> Option<&str> {
        self.inner.key_id.as_deref()
    }

    /// The key identifier of the authority that signed this one, hexadecimal.
    pub fn authority_key_id(&self) -> Option<&str> {
        self.inner.authority_key_id.as_deref()
    }

    /// The path length: how many more CA certificates may follow below this one.
    pub fn path_len(&self) -> Option<u32> {
        self.inner.path_len
    }

    /// The SPIFFE ID, if the certificate bears one; it has no path.
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.inner.spiffe_id.as_ref()
    }

    /// The DER `SubjectPublicKeyInfo`.
    pub fn spki_der(&self) -> &[u8] {
        &self.inner.spki_der
    }

    /// The public key's algorithm.
    pub fn key_algorithm(&self) -> KeyAlgorithm {
        self.inner.key_algorithm
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.inner.der == other.inner.der
    }
}

impl Eq for Authority {}

impl Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("subject", &self.inner.subject)
            .field("serial", &self.inner.serial)
            .field("sha256", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

fn check_constraints(extensions: &Extensions<'_>) -> Result<Option<u32>, AuthorityError> {
    let constraints = extensions.basic_constraints.ok_or(AuthorityError::NotCa)?;
    if !constraints.value.ca {
        return Err(AuthorityError::NotCa);
    }
    if !constraints.critical {
        return Err(AuthorityError::BasicConstraintsNotCritical);
    }
    let usage = extensions.key_usage.ok_or(AuthorityError::KeyUsageMissing)?;
    if !usage.critical {
        return Err(AuthorityError::KeyUsageNotCritical);
    }
    if !usage.value.key_cert_sign() {
        return Err(AuthorityError::KeyCertSignMissing);
    }
    Ok(constraints.value.path_len_constraint)
}

fn spiffe_id(extensions: &Extensions<'_>) -> Result<Option<SpiffeId>, AuthorityError> {
    let Some(san) = extensions.subject_alt_name else { return Ok(None) };
    let mut uris = Vec::new();
    for name in &san.value.general_names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::Invalid(..) => return Err(AuthorityError::SanUnreadable),
            _ => {}
        }
    }
    let Some(uri) = uris.iter().find(|uri| id::claims_scheme(uri)) else { return Ok(None) };
    if uris.len() > 1 {
        return Err(AuthorityError::ManyUris { others: uris.len().saturating_sub(1) });
    }
    let id: SpiffeId = uri.parse()?;
    if !id.is_root() {
        return Err(AuthorityError::SpiffeIdWithPath);
    }
    Ok(Some(id))
}
