//! PKCS#12 archives (RFC 7292): a key with its chain, or certificates alone.
//!
//! Java shows certificates without a key only where an attribute of its own says for what they are trusted, and keeps one
//! of those that have the same name, whatever its case. So roots get that attribute and names of their own.
//!
//! Written, never read. Encrypted by PBES2 (PBKDF2 with HMAC-SHA-256, AES-256-CBC) under a MAC with SHA-256, as OpenSSL 3
//! writes by default, with many more rounds. All cryptography is aws-lc-rs's, as everywhere here; what is here is the
//! encoding, and the derivation of the MAC's key, which no library has for itself (RFC 7292 appendix B).

use super::der;
use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// Rounds of each derivation: about half a second for each guess of a password.
const ROUNDS: NonZeroU32 = match NonZeroU32::new(600_000) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};
const SALT: usize = 16;

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHROUDED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02];
const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
/// 2.16.840.1.113894.746875.1.1, Oracle's trustedKeyUsage.
const TRUSTED_KEY_USAGE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];
/// 2.5.29.37.0
const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];

/// The longest friendly name, in code units of UTF-16 (RFC 2985 appendix B, pkcs-9-ub-friendlyName).
pub(crate) const MAX_NAME: usize = 255;

/// The content of an archive.
pub(crate) struct Contents<'a> {
    /// The first one is the key's, if there is a key.
    pub(crate) certificates: &'a [ArchivedCertificate<'a>],
    /// The private key in PKCS#8.
    pub(crate) key: Option<&'a [u8]>,
}

/// A certificate and what an archive says of it.
pub(crate) struct ArchivedCertificate<'a> {
    /// The certificate.
    pub(crate) der: &'a [u8],
    /// The friendly name, if it has one.
    pub(crate) name: Option<String>,
    /// Whether it is a root that whoever opens the archive is to trust.
    pub(crate) trusted: bool,
}

/// Writes an archive. Fails only for want of randomness.
pub(crate) fn write(contents: &Contents<'_>, password: &str) -> Result<Vec<u8>, Unspecified> {
    let mut safes = vec![encrypted_certificates(contents, password)?];
    if let Some(key) = contents.key {
        let (algorithm, ciphertext) = encrypt(key, password)?;
        let shrouded = der::sequence(&[&algorithm, &der::octets(&ciphertext)]);
        let own = contents.certificates.first().map(|leaf| attributes(leaf, true)).unwrap_or_default();
        let bag = bag(SHROUDED_KEY_BAG, &shrouded, &own);
        let safe = der::sequence(&[&bag]);
        safes.push(content(DATA, &der::octets(&safe)));
    }
    let parts: Vec<&[u8]> = safes.iter().map(Vec::as_slice).collect();
    let authenticated = der::sequence(&parts);
    let mac = mac(&authenticated, password)?;
    Ok(der::sequence(&[&der::integer(3), &content(DATA, &der::octets(&authenticated)), &mac]))
}

/// `ContentInfo`.
fn content(kind: &[u8], content: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(kind), &der::explicit(0, content)])
}

/// `SafeBag`.
fn bag(kind: &[u8], value: &[u8], attributes: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(kind), &der::explicit(0, value), attributes])
}

/// The attributes of a certificate's bag, and of the bag of the key that is the certificate's own.
fn attributes(entry: &ArchivedCertificate<'_>, has_key: bool) -> Vec<u8> {
    let attribute = |kind: &[u8], value: &[u8]| der::sequence(&[&der::oid(kind), &der::set(&[value])]);
    let mut attributes = Vec::new();
    if let Some(name) = &entry.name {
        attributes.push(attribute(FRIENDLY_NAME, &der::bmp_string(name)));
    }
    if has_key {
        let id = digest::digest(&digest::SHA256, entry.der);
        attributes.push(attribute(LOCAL_KEY_ID, &der::octets(id.as_ref())));
    }
    if entry.trusted {
        attributes.push(attribute(TRUSTED_KEY_USAGE, &der::oid(ANY_EXTENDED_KEY_USAGE)));
    }
    if attributes.is_empty() {
        return Vec::new();
    }
    // A set is sorted by its encoding.
    attributes.sort();
    let parts: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
    der::set(&parts)
}

/// `SafeContents` with a bag for each certificate.
fn certificate_bags(contents: &Contents<'_>) -> Vec<u8> {
    let bags: Vec<_> = contents
        .certificates
        .iter()
        .enumerate()
        .map(|(at, entry)| {
            let value =
                der::sequence(&[&der::oid(X509_CERTIFICATE), &der::explicit(0, &der::octets(entry.der))]);
            bag(CERTIFICATE_BAG, &value, &attributes(entry, at == 0 && contents.key.is_some()))
        })
        .collect();
    let parts: Vec<&[u8]> = bags.iter().map(Vec::as_slice).collect();
    der::sequence(&parts)
}

fn encrypted_certificates(contents: &Contents<'_>, password: &str) -> Result<Vec<u8>, Unspecified> {
    let (algorithm, ciphertext) = encrypt(&certificate_bags(contents), password)?;
    let encrypted = der::sequence(&[&der::oid(DATA), &algorithm, &der::implicit_octets(0, &ciphertext)]);
    Ok(content(ENCRYPTED_DATA, &der::sequence(&[&der::integer(0), &encrypted])))
}

/// PBES2 (RFC 8018 §6.2): the algorithm with its parameters, and the ciphertext.
fn encrypt(plain: &[u8], password: &str) -> Result<(Vec<u8>, Vec<u8>), Unspecified> {
    let (mut salt, mut iv, mut key) = ([0; SALT], [0; 16], Zeroizing::new([0; 32]));
    rand::fill(&mut salt)?;
    rand::fill(&mut iv)?;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, password.as_bytes(), key.as_mut_slice());
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, key.as_slice())?)?;
    // Room for the padding, so that the plain text is not left behind by growing.
    let mut buffer = Vec::with_capacity(plain.len() + 16);
    buffer.extend_from_slice(plain);
    cipher.less_safe_encrypt(&mut buffer, EncryptionContext::Iv128(FixedLength::from(&iv)))?;
    let prf = der::sequence(&[&der::oid(HMAC_SHA256), &der::null()]);
    let derivation = der::sequence(&[&der::octets(&salt), &der::integer(ROUNDS.get()), &prf]);
    let derivation = der::sequence(&[&der::oid(PBKDF2), &derivation]);
    let scheme = der::sequence(&[&der::oid(AES_256_CBC), &der::octets(&iv)]);
    let algorithm = der::sequence(&[&der::oid(PBES2), &der::sequence(&[&derivation, &scheme])]);
    Ok((algorithm, buffer))
}

/// `MacData`.
fn mac(authenticated: &[u8], password: &str) -> Result<Vec<u8>, Unspecified> {
    let mut salt = [0; SALT];
    rand::fill(&mut salt)?;
    let key = mac_key(password, &salt, ROUNDS.get());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()), authenticated);
    let algorithm = der::sequence(&[&der::oid(SHA256), &der::null()]);
    let info = der::sequence(&[&algorithm, &der::octets(tag.as_ref())]);
    Ok(der::sequence(&[&info, &der::octets(&salt), &der::integer(ROUNDS.get())]))
}

/// The key of the MAC (RFC 7292 appendix B.2, with purpose 3): as long as one digest, so that one block is enough.
fn mac_key(password: &str, salt: &[u8], rounds: u32) -> Zeroizing<[u8; 32]> {
    const BLOCK: usize = 64;
    let units = password.encode_utf16().chain([0]);
    let password: Zeroizing<Vec<u8>> = Zeroizing::new(units.flat_map(u16::to_be_bytes).collect());
    let fill = |text: &[u8]| -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.iter().copied().cycle().take(text.len().div_ceil(BLOCK) * BLOCK).collect())
    };
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&[3; BLOCK]);
    hash.update(&fill(salt));
    hash.update(&fill(&password));
    let mut value = hash.finish();
    for _ in 1..rounds {
        value = digest::digest(&digest::SHA256, value.as_ref());
    }
    let mut key = Zeroizing::new([0; 32]);
    key.iter_mut().zip(value.as_ref()).for_each(|(to, from)| *to = *from);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::asn1_rs::{Any, FromDer};

    /// The elements within an element.
    fn parts(content: &[u8]) -> Vec<Any<'_>> {
        let (mut rest, mut parts) = (content, Vec::new());
        while !rest.is_empty() {
            let (next, part) = Any::from_der(rest).unwrap();
            parts.push(part);
            rest = next;
        }
        parts
    }

    /// Of each bag: its attributes as the text of the identifier and the octets of the only value.
    fn bag_attributes(contents: &Contents<'_>) -> Vec<Vec<(String, Vec<u8>)>> {
        let safe = certificate_bags(contents);
        let bags = parts(Any::from_der(&safe).unwrap().1.data);
        let of = |attribute: &Any<'_>| {
            let fields = parts(attribute.data);
            let values = parts(fields[1].data);
            assert_eq!(values.len(), 1);
            (fields[0].clone().oid().unwrap().to_id_string(), values[0].data.to_vec())
        };
        let all = bags.iter().map(|bag| match &parts(bag.data)[..] {
            [_, _] => Vec::new(),
            [_, _, attributes] => parts(attributes.data).iter().map(of).collect(),
            other => panic!("a bag of {} parts", other.len()),
        });
        all.collect()
    }

    fn entry(der: &[u8], name: Option<&str>, trusted: bool) -> ArchivedCertificate<'static> {
        ArchivedCertificate {
            der: Box::leak(der.to_vec().into_boxed_slice()),
            name: name.map(str::to_owned),
            trusted,
        }
    }

    #[test]
    fn the_bag_of_a_trusted_root_says_that_java_may_trust_it_for_anything() {
        let roots = [entry(b"one", Some("a"), true), entry(b"two", Some("b"), true)];
        let found = bag_attributes(&Contents { certificates: &roots, key: None });
        assert_eq!(found.len(), 2);
        for (bag, name) in found.iter().zip([b"\0a", b"\0b"]) {
            let value = |oid: &str| bag.iter().find(|(id, _)| id == oid).map(|(_, value)| value.clone());
            assert_eq!(value("2.16.840.1.113894.746875.1.1").as_deref(), Some(&[0x55, 0x1d, 0x25, 0][..]));
            assert_eq!(value("1.2.840.113549.1.9.20").as_deref(), Some(&name[..]));
            assert_eq!(bag.len(), 2, "{bag:?}");
        }
    }

    #[test]
    fn a_certificate_that_is_no_root_is_not_said_to_be_trusted() {
        let chain = [entry(b"leaf", Some("a"), false), entry(b"root", None, false)];
        let ids = |found: &[Vec<(String, Vec<u8>)>]| -> Vec<Vec<String>> {
            found.iter().map(|bag| bag.iter().map(|(id, _)| id.clone()).collect()).collect()
        };
        let with_key = bag_attributes(&Contents { certificates: &chain, key: Some(b"key") });
        assert_eq!(ids(&with_key), [vec!["1.2.840.113549.1.9.20", "1.2.840.113549.1.9.21"], vec![]]);
        let without = bag_attributes(&Contents { certificates: &chain, key: None });
        assert_eq!(ids(&without), [vec!["1.2.840.113549.1.9.20"], vec![]]);
    }
}
