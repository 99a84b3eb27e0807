//! The X.509-SVID of a workload: every check on a leaf certificate that needs nothing but the certificate.
//!
//! *Specification*: X509-SVID §2, §3.1, §4.1–4.4 and §5.2. *Enforced here*: all of them, and beyond them what RFC 5280
//! demands of any certificate and path validators leave out: a positive serial number of at most 20 octets, a critical
//! SAN when the subject is empty, no critical extension that is not understood, no weak key. The extended key usage
//! must be present, hold serverAuth and clientAuth, and not hold anyExtendedKeyUsage (the standard says SHOULD be
//! present). *Not enforced here*: signature, path, validity at a given time, trust domain.

use std::time::SystemTime;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::key::{KeyAlgorithm, KeyRefused};
use super::read::{self, Extensions, MalformedCertificate};
use super::{name, read::serial_hex};
use crate::id::{SpiffeId, SpiffeIdError};
use crate::reason::Reason;

/// A certificate that passed every check on an X.509-SVID leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    spiffe_id: SpiffeId,
    serial: String,
    not_before: SystemTime,
    not_after: SystemTime,
    issuer: String,
    subject: String,
    subject_key_id: Option<String>,
    authority_key_id: Option<String>,
    dns_names: Vec<String>,
    spki_der: Vec<u8>,
    key_algorithm: KeyAlgorithm,
}

/// The error of a certificate that is not an X.509-SVID leaf: one variant per clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SvidError {
    /// The bytes are not a well-formed certificate.
    #[error(transparent)]
    Malformed(#[from] MalformedCertificate),
    /// The public key is of an algorithm or size that is not accepted.
    #[error(transparent)]
    Key(#[from] KeyRefused),
    /// The serial number is zero or negative.
    #[error("the serial number is not positive (RFC 5280 4.1.2.2)")]
    SerialNotPositive,
    /// The serial number has more than 20 octets.
    #[error("the serial number has more than 20 octets (RFC 5280 4.1.2.2)")]
    SerialTooLong,
    /// The certificate has a critical extension that is not understood here.
    #[error("the critical extension {oid} is not understood (RFC 5280 4.2)")]
    UnknownCriticalExtension {
        /// The extension's object identifier.
        oid: String,
    },
    /// The leaf is a CA.
    #[error("the leaf is a CA certificate (X509-SVID 4.1)")]
    IsCa,
    /// The certificate has no key usage.
    #[error("the leaf has no key usage (X509-SVID 4.3)")]
    KeyUsageMissing,
    /// The key usage is not critical.
    #[error("the key usage is not marked critical (X509-SVID 4.3)")]
    KeyUsageNotCritical,
    /// The key usage lacks digitalSignature.
    #[error("the key usage lacks digitalSignature (X509-SVID 4.3)")]
    DigitalSignatureMissing,
    /// The key usage has keyCertSign.
    #[error("the leaf may sign certificates (X509-SVID 4.3)")]
    KeyCertSign,
    /// The key usage has cRLSign.
    #[error("the leaf may sign revocation lists (X509-SVID 4.3)")]
    CrlSign,
    /// The certificate has no extended key usage.
    #[error("the leaf has no extended key usage (X509-SVID 4.4)")]
    ExtendedKeyUsageMissing,
    /// The extended key usage has anyExtendedKeyUsage.
    #[error("the extended key usage allows anything (X509-SVID 4.4)")]
    ExtendedKeyUsageAny,
    /// The extended key usage lacks serverAuth.
    #[error("the extended key usage lacks serverAuth (X509-SVID 4.4)")]
    ServerAuthMissing,
    /// The extended key usage lacks clientAuth.
    #[error("the extended key usage lacks clientAuth (X509-SVID 4.4)")]
    ClientAuthMissing,
    /// The certificate has no URI SAN.
    #[error("the leaf has no URI in its subject alternative name (X509-SVID 2)")]
    NoUri,
    /// The certificate has more than one URI SAN.
    #[error("the leaf has {count} URIs in its subject alternative name instead of one (X509-SVID 2)")]
    ManyUris {
        /// The number of URIs.
        count: usize,
    },
    /// A name in the SAN cannot be read.
    #[error("the subject alternative name cannot be read (RFC 5280 4.2.1.6)")]
    SanUnreadable,
    /// The SAN is not critical although the subject is empty.
    #[error("the subject is empty and the subject alternative name not critical (X509-SVID 3.1)")]
    SanNotCritical,
    /// The URI is not a SPIFFE ID.
    #[error("the URI is not a SPIFFE ID: {0} (SPIFFE-ID 2)")]
    SpiffeId(#[from] SpiffeIdError),
    /// The SPIFFE ID has no path, so it names a trust domain and no workload.
    #[error("the SPIFFE ID has no path (X509-SVID 5.2)")]
    NoPath,
}

impl SvidError {
    /// A stable, short name of the clause that is broken.
    pub fn clause(&self) -> &'static str {
        match self {
            Self::Malformed(MalformedCertificate::NotDer) => "not-der",
            Self::Malformed(MalformedCertificate::TrailingData) => "trailing-data",
            Self::Malformed(MalformedCertificate::NotVersion3) => "not-version-3",
            Self::Malformed(MalformedCertificate::SignatureAlgorithmMismatch) => {
                "signature-algorithm-mismatch"
            }
            Self::Malformed(MalformedCertificate::DuplicateExtension { .. }) => "duplicate-extension",
            Self::Malformed(MalformedCertificate::MalformedExtension { .. }) => "malformed-extension",
            Self::Malformed(MalformedCertificate::Validity) => "validity-period",
            Self::Key(_) => "key-algorithm",
            Self::SerialNotPositive => "serial-not-positive",
            Self::SerialTooLong => "serial-too-long",
            Self::UnknownCriticalExtension { .. } => "unknown-critical-extension",
            Self::IsCa => "leaf-is-ca",
            Self::KeyUsageMissing => "key-usage-missing",
            Self::KeyUsageNotCritical => "key-usage-not-critical",
            Self::DigitalSignatureMissing => "digital-signature-missing",
            Self::KeyCertSign => "leaf-key-cert-sign",
            Self::CrlSign => "leaf-crl-sign",
            Self::ExtendedKeyUsageMissing => "extended-key-usage-missing",
            Self::ExtendedKeyUsageAny => "extended-key-usage-any",
            Self::ServerAuthMissing => "server-auth-missing",
            Self::ClientAuthMissing => "client-auth-missing",
            Self::NoUri => "no-uri-san",
            Self::ManyUris { .. } => "many-uri-sans",
            Self::SanUnreadable => "san-unreadable",
            Self::SanNotCritical => "san-not-critical",
            Self::SpiffeId(_) => "spiffe-id",
            Self::NoPath => "spiffe-id-without-path",
        }
    }

    /// The reason of a leaf that is rejected for this error.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::CertMalformed,
            Self::Key(_) => Reason::CertAlgorithmRefused,
            Self::ExtendedKeyUsageMissing
            | Self::ExtendedKeyUsageAny
            | Self::ServerAuthMissing
            | Self::ClientAuthMissing => Reason::CertPurposeInvalid,
            _ => Reason::SvidInvalid,
        }
    }
}

impl Leaf {
    /// Parses a DER certificate and makes every check.
    ///
    /// # Errors
    ///
    /// The first clause that is broken.
    pub fn parse(der: &[u8]) -> Result<Self, SvidError> {
        let certificate = read::certificate(der)?;
        let extensions = read::extensions(&certificate)?;
        let (not_before, not_after) = read::validity(&certificate)?;
        let key_algorithm = KeyAlgorithm::of(&certificate.tbs_certificate.subject_pki)?;
        check_serial(certificate.tbs_certificate.raw_serial())?;
        if let Some(oid) = extensions.unknown_critical {
            return Err(SvidError::UnknownCriticalExtension { oid });
        }
        check_constraints(&extensions)?;
        check_purposes(&extensions)?;
        let (spiffe_id, dns_names) = names(&certificate, &extensions)?;
        let tbs = &certificate.tbs_certificate;
        Ok(Self {
            spiffe_id,
            serial: serial_hex(tbs.raw_serial()),
            not_before,
            not_after,
            issuer: name::text(tbs.issuer()),
            subject: name::text(tbs.subject()),
            subject_key_id: extensions.subject_key_id,
            authority_key_id: extensions.authority_key_id,
            dns_names,
            spki_der: tbs.subject_pki.raw.to_vec(),
            key_algorithm,
        })
    }

    /// The SPIFFE ID.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The serial number, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The first second of validity.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The last second of validity.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The issuer's distinguished name (RFC 4514).
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The subject's distinguished name (RFC 4514), often empty.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The subject key identifier, hexadecimal.
    pub fn subject_key_id(&self) -> Option<&str> {
        self.subject_key_id.as_deref()
    }

    /// The key identifier of the authority that signed, hexadecimal.
    pub fn authority_key_id(&self) -> Option<&str> {
        self.authority_key_id.as_deref()
    }

    /// DNS names beside the SPIFFE ID; they authorize nothing.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The DER `SubjectPublicKeyInfo`.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The public key's algorithm.
    pub fn key_algorithm(&self) -> KeyAlgorithm {
        self.key_algorithm
    }
}

fn check_serial(raw: &[u8]) -> Result<(), SvidError> {
    if !read::serial_is_positive(raw) {
        return Err(SvidError::SerialNotPositive);
    }
    if read::serial_is_too_long(raw) {
        return Err(SvidError::SerialTooLong);
    }
    Ok(())
}

fn check_constraints(extensions: &Extensions<'_>) -> Result<(), SvidError> {
    if extensions.basic_constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(SvidError::IsCa);
    }
    let usage = extensions.key_usage.ok_or(SvidError::KeyUsageMissing)?;
    if usage.value.key_cert_sign() {
        return Err(SvidError::KeyCertSign);
    }
    if usage.value.crl_sign() {
        return Err(SvidError::CrlSign);
    }
    if !usage.critical {
        return Err(SvidError::KeyUsageNotCritical);
    }
    if !usage.value.digital_signature() {
        return Err(SvidError::DigitalSignatureMissing);
    }
    Ok(())
}

fn check_purposes(extensions: &Extensions<'_>) -> Result<(), SvidError> {
    let usage = extensions.extended_key_usage.ok_or(SvidError::ExtendedKeyUsageMissing)?.value;
    if usage.any {
        return Err(SvidError::ExtendedKeyUsageAny);
    }
    if !usage.server_auth {
        return Err(SvidError::ServerAuthMissing);
    }
    if !usage.client_auth {
        return Err(SvidError::ClientAuthMissing);
    }
    Ok(())
}

fn names(
    certificate: &X509Certificate<'_>,
    extensions: &Extensions<'_>,
) -> Result<(SpiffeId, Vec<String>), SvidError> {
    let san = extensions.subject_alt_name.ok_or(SvidError::NoUri)?;
    let mut uris = Vec::new();
    let mut dns_names = Vec::new();
    for name in &san.value.general_names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
            GeneralName::Invalid(..) => return Err(SvidError::SanUnreadable),
            _ => {}
        }
    }
    let uri = match uris.as_slice() {
        [] => return Err(SvidError::NoUri),
        [uri] => *uri,
        many => return Err(SvidError::ManyUris { count: many.len() }),
    };
    let spiffe_id: SpiffeId = uri.parse()?;
    if spiffe_id.is_root() {
        return Err(SvidError::NoPath);
    }
    if !san.critical && certificate.tbs_certificate.subject().iter_rdn().next().is_none() {
        return Err(SvidError::SanNotCritical);
    }
    Ok((spiffe_id, dns_names))
}
