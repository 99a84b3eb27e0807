//! Certificate revocation lists (RFC 5280 §5), read for verification and for inspection.
//!
//! Parsing judges the encoding alone. Lists that say less than a full list does (delta, indirect, partitioned) are told by
//! [`RevocationList::unsupported`]: what such a list does not name may be revoked all the same.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, EcdsaVerificationAlgorithm, UnparsedPublicKey,
};
use std::time::{Duration, SystemTime};
use x509_parser::asn1_rs::FromDer;
use x509_parser::extensions::{IssuingDistributionPoint, ParsedExtension};
use x509_parser::oid_registry::{OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, Oid};
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Authority, KeyAlgorithm, name, read};

/// A certificate revocation list as it was read.
#[derive(Clone, Debug)]
pub struct RevocationList {
    issuer: String,
    authority_key_id: Option<String>,
    number: Option<String>,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
    entries: Vec<RevokedSerial>,
    unsupported: Option<UnsupportedList>,
    signed: Signed,
}

/// What the signature is over, and by what.
#[derive(Clone, Debug)]
struct Signed {
    algorithm: Oid<'static>,
    issuer_der: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedSerial {
    /// The serial number, lower-case hex.
    pub serial: String,
    /// The time of the revocation.
    pub revoked_at: SystemTime,
    /// The reason in the words of RFC 5280 §5.3.1, where the list names one.
    pub reason: Option<&'static str>,
}

/// The bytes are not the DER encoding of a revocation list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not the DER encoding of a certificate revocation list")]
pub struct NotARevocationList;

/// The kind of a list that is not a full one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsupportedList {
    /// A list of changes to another one.
    #[error("it is a delta list, which names only what has changed (RFC 5280 5.2.4)")]
    Delta,
    /// A list with certificates of other issuers.
    #[error("it is an indirect list, which names certificates of other issuers (RFC 5280 5.2.5)")]
    Indirect,
    /// A list of some reasons only.
    #[error(
        "it is partitioned by reasons, so that certificates revoked for others are not on it (RFC 5280 5.2.5)"
    )]
    Reasons,
    /// A list of one kind of certificates only.
    #[error("it is for {0} certificates only (RFC 5280 5.2.5)")]
    Kind(&'static str),
    /// A critical extension that is not known.
    #[error("it has a critical extension that is not understood: {0} (RFC 5280 5.2)")]
    Critical(String),
}

impl RevocationList {
    /// Parses a DER revocation list.
    ///
    /// # Errors
    /// When the bytes are none, or there is more behind it.
    pub fn parse(der: &[u8]) -> Result<Self, NotARevocationList> {
        let Ok(([], list)) = CertificateRevocationList::from_der(der) else { return Err(NotARevocationList) };
        let tbs = &list.tbs_cert_list;
        let entries = tbs.revoked_certificates.iter().map(entry).collect::<Option<Vec<_>>>();
        let mut read = Self {
            issuer: name::text(&tbs.issuer),
            authority_key_id: None,
            number: list.crl_number().map(|number| number.to_string()),
            this_update: time(&tbs.this_update).ok_or(NotARevocationList)?,
            next_update: tbs.next_update.as_ref().and_then(time),
            entries: entries.ok_or(NotARevocationList)?,
            unsupported: None,
            signed: Signed {
                algorithm: list.signature_algorithm.algorithm.to_owned(),
                issuer_der: tbs.issuer.as_raw().to_vec(),
                message: tbs.as_ref().to_vec(),
                signature: list.signature_value.data.to_vec(),
            },
        };
        for extension in tbs.extensions() {
            let unsupported = match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(found) => {
                    read.authority_key_id =
                        found.key_identifier.as_ref().map(|id| avouch_text::hex::encode(id.0));
                    None
                }
                ParsedExtension::CRLNumber(_) => None,
                ParsedExtension::IssuingDistributionPoint(point) => partition(point),
                _ if extension.oid.to_id_string() == "2.5.29.27" => Some(UnsupportedList::Delta),
                _ if extension.critical => Some(UnsupportedList::Critical(extension.oid.to_id_string())),
                _ => None,
            };
            read.unsupported = read.unsupported.or(unsupported);
        }
        Ok(read)
    }

    /// Whether `authority` has issued it: by name, by key identifier if the list has one, and by its signature. ECDSA on
    /// P-256 with SHA-256 and on P-384 with SHA-384 only.
    pub fn is_signed_by(&self, authority: &Authority) -> bool {
        let named = self.signed.issuer_der == authority.subject_der()
            && (self.authority_key_id.is_none() || self.authority_key_id.as_deref() == authority.key_id());
        let algorithm: &'static EcdsaVerificationAlgorithm = match authority.key_algorithm() {
            KeyAlgorithm::EcdsaP256 if self.signed.algorithm == OID_SIG_ECDSA_WITH_SHA256 => {
                &ECDSA_P256_SHA256_ASN1
            }
            KeyAlgorithm::EcdsaP384 if self.signed.algorithm == OID_SIG_ECDSA_WITH_SHA384 => {
                &ECDSA_P384_SHA384_ASN1
            }
            _ => return false,
        };
        let Ok(([], spki)) = SubjectPublicKeyInfo::from_der(authority.spki_der()) else { return false };
        let key = UnparsedPublicKey::new(algorithm, spki.subject_public_key.as_ref());
        named && key.verify(&self.signed.message, &self.signed.signature).is_ok()
    }

    /// The distinguished name of its issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key identifier of its issuer, lower-case hex.
    pub fn authority_key_id(&self) -> Option<&str> {
        self.authority_key_id.as_deref()
    }

    /// The CRL number, decimal.
    pub fn number(&self) -> Option<&str> {
        self.number.as_deref()
    }

    /// The time of issue.
    pub fn this_update(&self) -> SystemTime {
        self.this_update
    }

    /// The time by which the next list is there; after it, this one is stale.
    pub fn next_update(&self) -> Option<SystemTime> {
        self.next_update
    }

    /// The revoked certificates, in the order of the list.
    pub fn entries(&self) -> &[RevokedSerial] {
        &self.entries
    }

    /// Why the list cannot be relied upon to name all that is revoked, if so.
    pub fn unsupported(&self) -> Option<&UnsupportedList> {
        self.unsupported.as_ref()
    }
}

fn partition(point: &IssuingDistributionPoint<'_>) -> Option<UnsupportedList> {
    if point.indirect_crl {
        return Some(UnsupportedList::Indirect);
    }
    if point.only_some_reasons.is_some() {
        return Some(UnsupportedList::Reasons);
    }
    let kinds = [
        (point.only_contains_user_certs, "user"),
        (point.only_contains_ca_certs, "CA"),
        (point.only_contains_attribute_certs, "attribute"),
    ];
    kinds.into_iter().find_map(|(only, kind)| only.then_some(UnsupportedList::Kind(kind)))
}

fn entry(revoked: &RevokedCertificate<'_>) -> Option<RevokedSerial> {
    Some(RevokedSerial {
        serial: read::serial_hex(revoked.raw_serial()),
        revoked_at: time(&revoked.revocation_date)?,
        reason: revoked.reason_code().map(|(_, code)| reason(code.0)),
    })
}

fn reason(code: u8) -> &'static str {
    match code {
        0 => "unspecified",
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        _ => "unknown",
    }
}

fn time(time: &ASN1Time) -> Option<SystemTime> {
    let seconds = u64::try_from(time.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
