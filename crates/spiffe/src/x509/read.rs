//! Reading DER into the parts that the checks need: one pass over the extensions, nothing judged but the encoding.
//!
//! Refuses trailing data, anything but version 3, an extension that is there twice, and an extension the checks rely
//! on that does not parse as exactly one value.

use std::time::{Duration, SystemTime};

use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, ParsedExtension, SubjectAlternativeName, X509Extension,
};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

use avouch_text::hex;

/// The error of bytes that are not a well-formed version 3 certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedCertificate {
    /// The bytes are not the DER of a certificate.
    #[error("the bytes are not the DER encoding of an X.509 certificate")]
    NotDer,
    /// The certificate is followed by more bytes.
    #[error("there is trailing data after the certificate")]
    TrailingData,
    /// The certificate is not of version 3, so it has no extensions.
    #[error(
        "the certificate is not of version 3, and so has no extensions: it can neither carry a SPIFFE ID nor be a CA; issue it \
         with extensions (`openssl x509 -req` takes them from the file of -extfile)"
    )]
    NotVersion3,
    /// The signature algorithm inside the signed part differs from the one outside.
    #[error("the certificate names two different signature algorithms")]
    SignatureAlgorithmMismatch,
    /// The same extension is there twice.
    #[error("the extension {oid} is there twice")]
    DuplicateExtension {
        /// The extension's object identifier.
        oid: String,
    },
    /// An extension that matters cannot be read.
    #[error("the extension {oid} cannot be read")]
    MalformedExtension {
        /// The extension's object identifier.
        oid: String,
    },
    /// A date outside what the platform can represent, or an end before the beginning.
    #[error("the validity period is invalid")]
    Validity,
}

/// A value together with its extension's criticality.
#[derive(Clone, Copy)]
pub(super) struct Flagged<T> {
    pub(super) critical: bool,
    pub(super) value: T,
}

/// The extensions the checks look at, each at most once.
#[derive(Default)]
pub(super) struct Extensions<'a> {
    pub(super) basic_constraints: Option<Flagged<&'a BasicConstraints>>,
    pub(super) key_usage: Option<Flagged<&'a KeyUsage>>,
    pub(super) extended_key_usage: Option<Flagged<&'a ExtendedKeyUsage<'a>>>,
    pub(super) subject_alt_name: Option<Flagged<&'a SubjectAlternativeName<'a>>>,
    pub(super) subject_key_id: Option<String>,
    pub(super) authority_key_id: Option<String>,
    /// The first critical extension that no check here understands.
    pub(super) unknown_critical: Option<String>,
    /// Critical extensions that no check here understands, all of them.
    pub(super) unknown_criticals: Vec<String>,
}

/// Parses exactly one certificate of version 3.
pub(super) fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, MalformedCertificate> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| MalformedCertificate::NotDer)?;
    if rest.is_empty() && certificate.tbs_certificate.version != X509Version::V3 {
        return Err(MalformedCertificate::NotVersion3);
    }
    one(rest, certificate)
}

/// Parses exactly one certificate of whatever version.
pub(super) fn certificate_of_any_version(der: &[u8]) -> Result<X509Certificate<'_>, MalformedCertificate> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| MalformedCertificate::NotDer)?;
    one(rest, certificate)
}

fn one<'a>(
    rest: &[u8],
    certificate: X509Certificate<'a>,
) -> Result<X509Certificate<'a>, MalformedCertificate> {
    if !rest.is_empty() {
        return Err(MalformedCertificate::TrailingData);
    }
    if certificate.tbs_certificate.signature != certificate.signature_algorithm {
        return Err(MalformedCertificate::SignatureAlgorithmMismatch);
    }
    Ok(certificate)
}

/// Sorts the extensions.
pub(super) fn extensions<'a>(
    certificate: &'a X509Certificate<'_>,
) -> Result<Extensions<'a>, MalformedCertificate> {
    let list = certificate.tbs_certificate.extensions();
    let mut found = Extensions::default();
    for (index, extension) in list.iter().enumerate() {
        if list.iter().take(index).any(|earlier| earlier.oid == extension.oid) {
            return Err(MalformedCertificate::DuplicateExtension { oid: extension.oid.to_id_string() });
        }
        let critical = extension.critical;
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(value) => {
                is_der(extension, SEQUENCE, &[BOOLEAN, INTEGER])?;
                found.basic_constraints = Some(Flagged { critical, value });
            }
            ParsedExtension::KeyUsage(value) => {
                is_der(extension, BIT_STRING, &[])?;
                found.key_usage = Some(Flagged { critical, value });
            }
            ParsedExtension::ExtendedKeyUsage(value) => {
                is_der(extension, SEQUENCE, &[OID])?;
                found.extended_key_usage = Some(Flagged { critical, value });
            }
            ParsedExtension::SubjectAlternativeName(value) => {
                is_der(extension, SEQUENCE, &GENERAL_NAMES)?;
                found.subject_alt_name = Some(Flagged { critical, value });
            }
            // Must not be critical (RFC 5280 §4.2.1.1, §4.2.1.2), and the path validator refuses them if they are.
            ParsedExtension::SubjectKeyIdentifier(id) if !critical => {
                found.subject_key_id = Some(hex::encode(id.0));
            }
            ParsedExtension::AuthorityKeyIdentifier(id) if !critical => {
                found.authority_key_id = id.key_identifier.as_ref().map(|id| hex::encode(id.0));
            }
            // The path validator understands these two.
            ParsedExtension::NameConstraints(_) | ParsedExtension::CRLDistributionPoints(_) => {}
            ParsedExtension::ParseError { .. } if critical || matters(extension) => {
                return Err(MalformedCertificate::MalformedExtension { oid: extension.oid.to_id_string() });
            }
            _ if critical => found.unknown_criticals.push(extension.oid.to_id_string()),
            _ => {}
        }
    }
    found.unknown_critical = found.unknown_criticals.first().cloned();
    Ok(found)
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// RFC 5280 §4.2.1.6: e-mail, DNS, URI, IP address, registered ID; other, X.400, directory, EDI party.
const GENERAL_NAMES: [u8; 9] = [0x81, 0x82, 0x86, 0x87, 0x88, 0xa0, 0xa3, 0xa4, 0xa5];

/// Refuses what the parser tolerates: bytes after the extension's value, and tags other than DER gives to the value and
/// to what a sequence holds. Another reader of the same certificate would see something else in it.
fn is_der(extension: &X509Extension<'_>, tag: u8, inside: &[u8]) -> Result<(), MalformedCertificate> {
    let elements = |value: &[u8]| -> Option<()> {
        let mut rest = value;
        while let Some(tag) = rest.first() {
            inside.contains(tag).then_some(())?;
            (rest, _) = Any::from_der(rest).ok()?;
        }
        Some(())
    };
    let right = match Any::from_der(extension.value) {
        Ok(([], value)) if extension.value.first() == Some(&tag) => {
            tag != SEQUENCE || elements(value.data).is_some()
        }
        _ => false,
    };
    if right {
        Ok(())
    } else {
        Err(MalformedCertificate::MalformedExtension { oid: extension.oid.to_id_string() })
    }
}

/// Whether the checks depend on this extension: subject key id, key usage, subject alternative name, basic constraints,
/// authority key id, extended key usage.
fn matters(extension: &X509Extension<'_>) -> bool {
    matches!(extension.oid.as_bytes(), [0x55, 0x1d, 0x0e | 0x0f | 0x11 | 0x13 | 0x23 | 0x25])
}

/// The validity period, inclusive on both ends.
pub(super) fn validity(
    certificate: &X509Certificate<'_>,
) -> Result<(SystemTime, SystemTime), MalformedCertificate> {
    let validity = certificate.tbs_certificate.validity();
    let not_before = time(&validity.not_before).ok_or(MalformedCertificate::Validity)?;
    let not_after = time(&validity.not_after).ok_or(MalformedCertificate::Validity)?;
    if not_after < not_before {
        return Err(MalformedCertificate::Validity);
    }
    Ok((not_before, not_after))
}

fn time(time: &ASN1Time) -> Option<SystemTime> {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    }
}

/// The most octets of a serial number (RFC 5280 §4.1.2.2).
const MAX_SERIAL_OCTETS: usize = 20;

/// Whether a serial number is above zero.
pub(super) fn serial_is_positive(raw: &[u8]) -> bool {
    raw.first().is_some_and(|octet| octet & 0x80 == 0) && raw.iter().any(|octet| *octet != 0)
}

/// Whether a serial number has more octets than it may.
pub(super) fn serial_is_too_long(raw: &[u8]) -> bool {
    raw.len() > MAX_SERIAL_OCTETS
}

/// A serial number as people compare it: hexadecimal, without the sign octet.
pub(super) fn serial_hex(raw: &[u8]) -> String {
    match raw {
        [0, rest @ ..] if !rest.is_empty() => hex::encode(rest),
        all => hex::encode(all),
    }
}
