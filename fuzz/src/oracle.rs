//! What a certificate must be to be an X.509-SVID or an authority, read by [`crate::der`] and written down from the
//! standards a second time. Nothing of the code under test is used, so that an acceptance can be judged.

use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, EcdsaVerificationAlgorithm, UnparsedPublicKey,
};

use crate::der::{self, Tlv};

/// `ecdsa-with-SHA256`.
pub const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// `subjectAltName`.
pub const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// Critical ones that a path validator may be relied on to understand: name constraints, distribution points.
const UNDERSTOOD: [&[u8]; 2] = [&[0x55, 0x1d, 0x1e], &[0x55, 0x1d, 0x1f]];
/// The context tag of a URI among general names.
const URI: u8 = 0x86;

/// A certificate, read.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    /// The part that is signed.
    pub tbs: &'a [u8],
    /// The `SubjectPublicKeyInfo`.
    pub spki: &'a [u8],
    /// The signature algorithm outside of the signed part.
    pub algorithm: &'a [u8],
    signature: &'a [u8],
    inner_algorithm: &'a [u8],
    serial: &'a [u8],
    /// The issuer's name, encoded.
    pub issuer: &'a [u8],
    /// The subject's name, encoded.
    pub subject: &'a [u8],
    not_before: SystemTime,
    not_after: SystemTime,
    extensions: Vec<Extension<'a>>,
}

#[derive(Clone, Debug)]
struct Extension<'a> {
    oid: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

/// The elements of a `TBSCertificate`: version, serial, algorithm, issuer, validity, subject, key, extensions.
#[must_use]
pub fn tbs_elements(tbs: &[u8]) -> Option<[Tlv<'_>; 8]> {
    der::inside(tbs, der::SEQUENCE)?.try_into().ok()
}

impl<'a> Certificate<'a> {
    /// Reads a version 3 certificate of the form that an SVID or an authority can have.
    #[must_use]
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let [tbs, algorithm, signature] = der::inside(der, der::SEQUENCE)?.try_into().ok()?;
        let [version, serial, inner, issuer, validity, subject, spki, extensions] = tbs_elements(tbs.raw)?;
        let [0, signature @ ..] = der::only(signature.raw, der::BIT_STRING)?.value else { return None };
        if version.raw != [0xa0, 3, 2, 1, 2] || serial.tag != der::INTEGER || extensions.tag != 0xa3 {
            return None;
        }
        let [not_before, not_after] = der::inside(validity.raw, der::SEQUENCE)?.try_into().ok()?;
        let extensions = der::inside(extensions.value, der::SEQUENCE)?;
        Some(Self {
            tbs: tbs.raw,
            spki: spki.raw,
            algorithm: algorithm.raw,
            signature,
            inner_algorithm: inner.raw,
            serial: serial.value,
            issuer: issuer.raw,
            subject: subject.raw,
            not_before: time(&not_before)?,
            not_after: time(&not_after)?,
            extensions: extensions.iter().map(Extension::read).collect::<Option<_>>()?,
        })
    }

    fn extension(&self, oid: &[u8]) -> Option<&Extension<'a>> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }

    /// The first rule of every certificate that this one breaks.
    fn broken_by_any(&self, now: SystemTime) -> Option<&'static str> {
        let [first, ..] = self.serial else { return Some("no serial number") };
        let oids = self.extensions.iter().map(|extension| extension.oid);
        let twice = oids.clone().enumerate().any(|(at, oid)| oids.clone().take(at).any(|other| other == oid));
        let known = [BASIC_CONSTRAINTS, KEY_USAGE, SUBJECT_ALT_NAME, EXTENDED_KEY_USAGE];
        let unknown = self.extensions.iter().any(|extension| {
            extension.critical && !known.contains(&extension.oid) && !UNDERSTOOD.contains(&extension.oid)
        });
        [
            (first & 0x80 != 0 || self.serial.iter().all(|octet| *octet == 0), "serial number not positive"),
            (self.serial.len() > 20, "serial number too long"),
            (self.inner_algorithm != self.algorithm, "two signature algorithms"),
            (now < self.not_before || now > self.not_after, "outside its validity"),
            (twice, "an extension twice"),
            (unknown, "an unknown critical extension"),
        ]
        .into_iter()
        .find_map(|(broken, rule)| broken.then_some(rule))
    }

    /// Whether basic constraints say `cA`, and the path length. `None`: they cannot be read.
    fn constraints(&self) -> Option<(bool, Option<u64>)> {
        let Some(extension) = self.extension(BASIC_CONSTRAINTS) else { return Some((false, None)) };
        let parts = der::inside(extension.value, der::SEQUENCE)?;
        let (ca, rest) = match parts.as_slice() {
            [ca, rest @ ..] if ca.tag == der::BOOLEAN => (ca.value == [0xff], rest),
            rest => (false, rest),
        };
        match rest {
            [] => Some((ca, None)),
            [length] if length.tag == der::INTEGER => {
                Some((ca, Some(length.value.iter().fold(0, |all, octet| (all << 8) | u64::from(*octet)))))
            }
            _ => None,
        }
    }

    /// The key usage bits, most significant bit first as in RFC 5280; `None`: there are none, or unreadable ones.
    fn usage(&self) -> Option<u8> {
        let value = der::only(self.extension(KEY_USAGE)?.value, der::BIT_STRING)?.value;
        value.get(1).copied()
    }

    /// The URIs of the subject alternative name.
    #[must_use]
    pub fn uris(&self) -> Vec<&'a [u8]> {
        self.extension(SUBJECT_ALT_NAME).and_then(|san| uris(san.value)).unwrap_or_default()
    }

    /// What keeps this certificate from being the SVID of `spiffe_id` (X509-SVID 2 to 5, RFC 5280 4.1 and 4.2).
    #[must_use]
    pub fn no_svid_of(&self, spiffe_id: &str, now: SystemTime) -> Option<&'static str> {
        if let Some(rule) = self.broken_by_any(now) {
            return Some(rule);
        }
        let Some((ca, _)) = self.constraints() else { return Some("basic constraints unreadable") };
        let Some(usage) = self.usage() else { return Some("no key usage") };
        let purposes: Vec<_> = self
            .extension(EXTENDED_KEY_USAGE)
            .and_then(|extension| der::inside(extension.value, der::SEQUENCE))
            .unwrap_or_default()
            .iter()
            .map(|purpose| purpose.value)
            .collect();
        let critical = |oid: &[u8]| self.extension(oid).is_some_and(|extension| extension.critical);
        [
            (ca, "a CA"),
            (!critical(KEY_USAGE), "key usage not critical"),
            (usage & 0x80 == 0, "no digitalSignature"),
            (usage & 0x04 != 0, "keyCertSign"),
            (usage & 0x02 != 0, "cRLSign"),
            (!purposes.contains(&SERVER_AUTH), "no serverAuth"),
            (!purposes.contains(&CLIENT_AUTH), "no clientAuth"),
            (purposes.contains(&ANY_PURPOSE), "any extended key usage"),
            (self.uris() != [spiffe_id.as_bytes()], "not exactly this one URI"),
            (!is_workload_id(spiffe_id), "no SPIFFE ID of a workload"),
            (self.subject == [0x30, 0] && !critical(SUBJECT_ALT_NAME), "SAN not critical under no subject"),
            (!strong(self.spki), "a weak or unknown key"),
        ]
        .into_iter()
        .find_map(|(broken, rule)| broken.then_some(rule))
    }

    /// What keeps this certificate from signing others, with `below` authorities between it and the leaf
    /// (RFC 5280 6.1.4, X509-SVID 4.1 and 4.3).
    #[must_use]
    pub fn no_authority(&self, below: u64, now: SystemTime) -> Option<&'static str> {
        if let Some(rule) = self.broken_by_any(now) {
            return Some(rule);
        }
        let Some((ca, length)) = self.constraints() else { return Some("basic constraints unreadable") };
        let critical = |oid: &[u8]| self.extension(oid).is_some_and(|extension| extension.critical);
        [
            (!ca, "no CA"),
            (!critical(BASIC_CONSTRAINTS), "basic constraints not critical"),
            (length.is_some_and(|length| below > length), "path length exceeded"),
            (self.usage().is_none_or(|usage| usage & 0x04 == 0), "no keyCertSign"),
            (!critical(KEY_USAGE), "key usage not critical"),
            (!strong(self.spki), "a weak or unknown key"),
        ]
        .into_iter()
        .find_map(|(broken, rule)| broken.then_some(rule))
    }

    /// Whether `spki` signed this certificate: ECDSA on P-256 or P-384 with the hash of its size.
    #[must_use]
    pub fn is_signed_by(&self, spki: &[u8]) -> bool {
        verifies(spki, self.algorithm, self.tbs, self.signature)
    }
}

impl<'a> Extension<'a> {
    fn read(element: &Tlv<'a>) -> Option<Self> {
        let (critical, oid, value) = match der::inside(element.raw, der::SEQUENCE)?.as_slice() {
            [oid, value] => (false, *oid, *value),
            [oid, critical, value] if critical.tag == der::BOOLEAN => (critical.value != [0], *oid, *value),
            _ => return None,
        };
        let shape = oid.tag == der::OID && value.tag == der::OCTET_STRING;
        shape.then_some(Self { oid: oid.value, critical, value: value.value })
    }
}

/// The URIs among encoded general names, if all of those have tags of RFC 5280.
#[must_use]
pub fn uris(names: &[u8]) -> Option<Vec<&[u8]>> {
    let names = der::inside(names, der::SEQUENCE)?;
    let known = |name: &Tlv<'_>| [0x81, 0x82, URI, 0x87, 0x88, 0xa0, 0xa3, 0xa4, 0xa5].contains(&name.tag);
    names.iter().all(known).then_some(())?;
    Some(names.into_iter().filter(|name| name.tag == URI).map(|name| name.value).collect())
}

/// Whether the signature is that of the key, algorithm and key fitting each other.
#[must_use]
pub fn verifies(spki: &[u8], algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Some((curve, point)) = curve_and_point(spki) else { return false };
    let named = der::inside(algorithm, der::SEQUENCE).unwrap_or_default();
    let [oid] = named.as_slice() else { return false };
    let algorithm: &'static EcdsaVerificationAlgorithm = match (curve, oid.value) {
        (P256, ECDSA_SHA256) => &ECDSA_P256_SHA256_ASN1,
        (P384, ECDSA_SHA384) => &ECDSA_P384_SHA384_ASN1,
        _ => return false,
    };
    UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
}

/// The curve's identifier and the public point of an elliptic curve key.
#[must_use]
pub fn curve_and_point(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let [algorithm, key] = der::inside(spki, der::SEQUENCE)?.try_into().ok()?;
    let [kind, curve] = der::inside(algorithm.raw, der::SEQUENCE)?.try_into().ok()?;
    let [0, point @ ..] = der::only(key.raw, der::BIT_STRING)?.value else { return None };
    (kind.value == EC_PUBLIC_KEY).then_some((curve.value, point))
}

/// Elliptic curve keys of 256 bits and more, Ed25519, and RSA of 2048 bits and more.
fn strong(spki: &[u8]) -> bool {
    const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
    if let Some((curve, _)) = curve_and_point(spki) {
        return [P256, P384, P521].contains(&curve);
    }
    let Some([algorithm, key]) =
        der::inside(spki, der::SEQUENCE).and_then(|parts| <[Tlv<'_>; 2]>::try_from(parts).ok())
    else {
        return false;
    };
    let kind = der::inside(algorithm.raw, der::SEQUENCE).unwrap_or_default();
    match kind.first().map(|oid| oid.value) {
        Some([0x2b, 0x65, 0x70]) => key.value.len() == 33,
        Some([0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]) => {
            let numbers = key.value.get(1..).and_then(|key| der::inside(key, der::SEQUENCE));
            let modulus = numbers.as_deref().and_then(<[_]>::first).map(|modulus| modulus.value);
            let digits = modulus.unwrap_or_default().iter().skip_while(|octet| **octet == 0).count();
            (256..=1024).contains(&digits)
        }
        _ => false,
    }
}

/// Seconds since 1970 of a `UTCTime` or `GeneralizedTime` in the form that RFC 5280 demands.
fn time(element: &Tlv<'_>) -> Option<SystemTime> {
    let text = std::str::from_utf8(element.value).ok()?.strip_suffix('Z')?;
    let (year, rest) = match element.tag {
        0x17 if text.len() == 12 => {
            let year = number(text.get(..2)?)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        0x18 if text.len() == 14 => (number(text.get(..4)?)?, text.get(4..)?),
        _ => return None,
    };
    let field = |at: usize| number(rest.get(at..at + 2)?);
    let (month, day) = (field(0)?, field(2)?);
    let seconds = field(4)? * 3600 + field(6)? * 60 + field(8)?;
    // Days since 1970 in the proleptic Gregorian calendar, with years that begin in March.
    let (shifted, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * months + 2) / 5 + day;
    let since = (days - 719_469) * 86_400 + seconds;
    let distance = Duration::from_secs(since.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    if since < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) }
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The grammar of SPIFFE-ID 2, octet by octet.
#[must_use]
pub fn is_spiffe_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("spiffe://") else { return false };
    let domain: Vec<u8> = rest.bytes().take_while(|octet| *octet != b'/').collect();
    let path = rest.as_bytes().get(domain.len()..).unwrap_or_default();
    text.len() <= 2048 && is_trust_domain(&domain) && (path.is_empty() || is_path(path))
}

/// A SPIFFE ID that has a path.
#[must_use]
pub fn is_workload_id(text: &str) -> bool {
    is_spiffe_id(text) && text.bytes().filter(|octet| *octet == b'/').count() > 2
}

/// The grammar of a trust domain's name.
#[must_use]
pub fn is_trust_domain(name: &[u8]) -> bool {
    let allowed = |octet: &u8| b"abcdefghijklmnopqrstuvwxyz0123456789.-_".contains(octet);
    (1..=255).contains(&name.len()) && name.iter().all(allowed)
}

fn is_path(path: &[u8]) -> bool {
    let segments = path.split(|octet| *octet == b'/').skip(1);
    path.first() == Some(&b'/')
        && segments.into_iter().all(|segment| {
            let name = segment.iter().all(|octet| octet.is_ascii_alphanumeric() || b".-_".contains(octet));
            name && !matches!(segment, b"" | b"." | b"..")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (tag, text, seconds) in [
            (0x17, "700101000000Z", 0),
            (0x17, "270115080000Z", 1_800_000_000),
            (0x17, "240229235959Z", 1_709_251_199),
            (0x18, "20500101000000Z", 2_524_608_000),
        ] {
            let written = der::tlv(tag, text.as_bytes());
            let (element, _) = der::first(&written).unwrap();
            assert_eq!(time(&element), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), "{text}");
        }
    }
}
