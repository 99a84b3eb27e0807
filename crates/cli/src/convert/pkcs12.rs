//! PKCS#12 archives (RFC 7292): a key with its chain, or certificates alone.
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

/// Rounds of each derivation: about half a second for whoever guesses a password.
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
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];

/// What goes into an archive.
pub(crate) struct Contents<'a> {
    /// DER; the first one is the key's, if there is a key.
    pub(crate) certificates: &'a [Vec<u8>],
    /// PKCS#8.
    pub(crate) key: Option<&'a [u8]>,
    /// Under which name key and certificate are found.
    pub(crate) name: &'a str,
}

/// Writes an archive. Fails only for want of randomness.
pub(crate) fn write(contents: &Contents<'_>, password: &str) -> Result<Vec<u8>, Unspecified> {
    let own = own_attributes(contents);
    let mut safes = vec![encrypted_certificates(contents, &own, password)?];
    if let Some(key) = contents.key {
        let (algorithm, ciphertext) = encrypt(key, password)?;
        let shrouded = der::sequence(&[&algorithm, &der::octets(&ciphertext)]);
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

/// What ties a key to its certificate; nothing where there is no key.
fn own_attributes(contents: &Contents<'_>) -> Vec<u8> {
    let Some(leaf) = contents.certificates.first().filter(|_| contents.key.is_some()) else {
        return Vec::new();
    };
    let id = digest::digest(&digest::SHA256, leaf);
    let name = der::sequence(&[&der::oid(FRIENDLY_NAME), &der::set(&[&der::bmp_string(contents.name)])]);
    let id = der::sequence(&[&der::oid(LOCAL_KEY_ID), &der::set(&[&der::octets(id.as_ref())])]);
    // A set is sorted by its encoding.
    let mut attributes = [name, id];
    attributes.sort();
    let [first, second] = &attributes;
    der::set(&[first, second])
}

fn encrypted_certificates(
    contents: &Contents<'_>,
    own: &[u8],
    password: &str,
) -> Result<Vec<u8>, Unspecified> {
    let bags: Vec<_> = contents
        .certificates
        .iter()
        .enumerate()
        .map(|(at, certificate)| {
            let value =
                der::sequence(&[&der::oid(X509_CERTIFICATE), &der::explicit(0, &der::octets(certificate))]);
            bag(CERTIFICATE_BAG, &value, if at == 0 { own } else { &[] })
        })
        .collect();
    let parts: Vec<&[u8]> = bags.iter().map(Vec::as_slice).collect();
    let (algorithm, ciphertext) = encrypt(&der::sequence(&parts), password)?;
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
