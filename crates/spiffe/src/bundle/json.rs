//! The SPIFFE bundle format: a JWK set (X509-SVID §6, SPIFFE Trust Domain and Bundle §4).
//!
//! Reading is lenient exactly where the standard says so: unknown parameters, key types and uses are ignored, only
//! the first `x5c` value counts. Writing sets `use`, `x5c` with one certificate, the key's own parameters, no `kid`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use x509_parser::asn1_rs::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Bundle, BundleError};
use crate::trust_domain::TrustDomain;
use crate::x509::{Authority, KeyAlgorithm};

/// The largest bundle read.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;

const X509_SVID: &str = "x509-svid";

#[derive(Deserialize)]
struct Read {
    keys: Option<Vec<Value>>,
    spiffe_sequence: Option<Value>,
    spiffe_refresh_hint: Option<Value>,
}

#[derive(Serialize)]
struct Written<'a> {
    keys: Vec<Jwk<'a>>,
    spiffe_sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_refresh_hint: Option<u64>,
}

#[derive(Serialize)]
struct Jwk<'a> {
    #[serde(rename = "use")]
    usage: &'static str,
    #[serde(flatten)]
    key: Parameters<'a>,
    x5c: [String; 1],
}

#[derive(Serialize)]
#[serde(tag = "kty")]
enum Parameters<'a> {
    #[serde(rename = "EC")]
    Ec { crv: &'a str, x: String, y: String },
    #[serde(rename = "OKP")]
    Okp { crv: &'a str, x: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

pub(super) fn read(trust_domain: TrustDomain, json: &[u8]) -> Result<Bundle, BundleError> {
    if json.len() > MAX_BYTES {
        return Err(BundleError::TooLarge);
    }
    let read: Read = serde_json::from_slice(json)
        .map_err(|error| BundleError::Json { line: error.line(), column: error.column() })?;
    let mut authorities = Vec::new();
    for (index, key) in read.keys.ok_or(BundleError::KeysMissing)?.iter().enumerate() {
        let Some(encoded) = certificate_of(key) else { continue };
        let der = STANDARD.decode(encoded).map_err(|_| BundleError::Encoding { index })?;
        authorities.push(Authority::parse(&der).map_err(|error| BundleError::Authority { index, error })?);
    }
    let sequence = match &read.spiffe_sequence {
        None => 0,
        Some(value) => value.as_u64().ok_or(BundleError::Sequence)?,
    };
    let mut bundle = Bundle::new(trust_domain, authorities, sequence);
    if let Some(value) = &read.spiffe_refresh_hint {
        bundle =
            bundle.with_refresh_hint(Duration::from_secs(value.as_u64().ok_or(BundleError::RefreshHint)?));
    }
    Ok(bundle)
}

/// The first `x5c` value of a key for X.509-SVIDs of a known type; `None` for a key that must be ignored.
fn certificate_of(key: &Value) -> Option<&str> {
    if key.get("use")?.as_str()? != X509_SVID {
        return None;
    }
    if !matches!(key.get("kty")?.as_str()?, "EC" | "RSA" | "OKP") {
        return None;
    }
    key.get("x5c")?.as_array()?.first()?.as_str()
}

pub(super) fn write(bundle: &Bundle) -> String {
    let keys = bundle.authorities.iter().filter_map(|authority| {
        let x5c = [STANDARD.encode(authority.der())];
        Some(Jwk { usage: X509_SVID, key: parameters(authority)?, x5c })
    });
    let written = Written {
        keys: keys.collect(),
        spiffe_sequence: bundle.sequence,
        spiffe_refresh_hint: bundle.refresh_hint.map(|hint| hint.as_secs()),
    };
    // Strings and numbers always serialize.
    serde_json::to_string_pretty(&written).unwrap_or_default()
}

/// The key's own parameters. Always there, since an [`Authority`] has a key whose encoding was checked.
fn parameters(authority: &Authority) -> Option<Parameters<'static>> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(authority.spki_der()).ok()?;
    let bits = spki.subject_public_key.as_ref();
    let point = |crv| {
        let coordinates = bits.get(1..)?;
        let (x, y) = coordinates.split_at_checked(coordinates.len() / 2)?;
        Some(Parameters::Ec { crv, x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) })
    };
    match authority.key_algorithm() {
        KeyAlgorithm::EcdsaP256 => point("P-256"),
        KeyAlgorithm::EcdsaP384 => point("P-384"),
        KeyAlgorithm::EcdsaP521 => point("P-521"),
        KeyAlgorithm::Ed25519 => Some(Parameters::Okp { crv: "Ed25519", x: URL_SAFE_NO_PAD.encode(bits) }),
        KeyAlgorithm::Rsa { .. } => {
            let PublicKey::RSA(key) = spki.parsed().ok()? else { return None };
            Some(Parameters::Rsa { n: unsigned(key.modulus), e: unsigned(key.exponent) })
        }
    }
}

/// An integer without leading zero octets (RFC 7518 §2, Base64urlUInt).
fn unsigned(octets: &[u8]) -> String {
    let start = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len());
    URL_SAFE_NO_PAD.encode(octets.get(start..).unwrap_or_default())
}
