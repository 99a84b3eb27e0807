//! Whether a certificate is signed by the key of the one above.

use avouch_identity::crypto_provider;
use x509_parser::asn1_rs::{Any, FromDer};

/// The parts of a certificate.
struct Signed<'a> {
    /// The content that the signature is over, with its header.
    content: &'a [u8],
    /// The algorithm identifier without its header.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Takes `SEQUENCE { content, algorithm, signature }` apart.
    fn of(der: &'a [u8]) -> Option<Self> {
        let (_, whole) = Any::from_der(der).ok()?;
        let body = whole.data;
        let (rest, _) = Any::from_der(body).ok()?;
        let content = body.get(..body.len().checked_sub(rest.len())?)?;
        let (rest, algorithm) = Any::from_der(rest).ok()?;
        let (_, signature) = Any::from_der(rest).ok()?;
        let (unused, signature) = signature.data.split_first()?;
        (*unused == 0).then_some(Self { content, algorithm: algorithm.data, signature })
    }
}

/// Verifies with the DER `SubjectPublicKeyInfo` of the one above; an error says what is wrong.
pub(super) fn verify(der: &[u8], spki: &[u8]) -> Result<(), String> {
    let signed = Signed::of(der).ok_or("it has no readable signature")?;
    let (key_algorithm, key) = key_of(spki).ok_or("the key above it is not readable")?;
    let fitting = crypto_provider().signature_verification_algorithms.all.iter().filter(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == key_algorithm
            && algorithm.signature_alg_id().as_ref() == signed.algorithm
    });
    let mut tried = false;
    for algorithm in fitting {
        tried = true;
        if algorithm.verify_signature(key, signed.content, signed.signature).is_ok() {
            return Ok(());
        }
    }
    Err(match tried {
        true => "the signature is not by the key above it".to_owned(),
        false => "its signature's algorithm is not accepted, or is not for the key above it".to_owned(),
    })
}

/// The algorithm identifier without its header, and the key's bits.
fn key_of(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, whole) = Any::from_der(spki).ok()?;
    let (rest, algorithm) = Any::from_der(whole.data).ok()?;
    let (_, bits) = Any::from_der(rest).ok()?;
    let (unused, key) = bits.data.split_first()?;
    (*unused == 0).then_some((algorithm.data, key))
}
