//! A certificate signing request, and how it stands to what the issuer demands, item by item.
//!
//! The issuer reads the key, the proof that its owner asked, and a URI if there is one: whatever else a request asks
//! for, it neither reads nor issues, and that is said here.

use super::Inspection;
use super::checks::{Check, check, unless};
use super::signature::Signed;
use crate::output;
use avouch_spiffe::SpiffeId;
use avouch_spiffe::x509::KeyAlgorithm;
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, UnparsedPublicKey};
use serde_json::{Value, json};
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::x509::X509Version;

/// The largest request that the issuer reads.
const MAX_BYTES: usize = 16 * 1024;

/// One request, looked into.
pub(crate) struct RequestInspection {
    facts: Option<Facts>,
    checks: Vec<Check>,
}

struct Facts {
    subject: String,
    key: String,
    signature: &'static str,
    uris: Vec<String>,
    ignored: Vec<String>,
}

/// Looks into a DER request.
pub(crate) fn inspect(der: &[u8]) -> RequestInspection {
    let mut checks =
        vec![check("AV-041", "avouch", "at most 16 KiB", unless(der.len() <= MAX_BYTES, &size(der)))];
    let Ok((rest, request)) = X509CertificationRequest::from_der(der) else {
        let found = Some("it is none".to_owned());
        checks.push(check("AV-042", "RFC 2986 4", "the DER of a PKCS#10 request", found));
        return RequestInspection { facts: None, checks };
    };
    let info = &request.certification_request_info;
    // Behind the attributes, or behind the signature, a parser would overlook it.
    let whole = rest.is_empty() && matches!(elements(info.raw), Some(3 | 4)) && elements(der) == Some(3);
    let key = KeyAlgorithm::of_spki(info.subject_pki.raw);
    let (signature, pair) = pair(&request, key.as_ref().ok().copied());
    let names = names(&request);
    let uris = names.as_ref().map(|names| names.uris.clone()).unwrap_or_default();
    let issued = matches!(key, Ok(KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384));
    let key = key.map_or_else(|refused| refused.algorithm, |key| key.to_string());
    let not_id = uris.iter().find_map(|uri| uri.parse::<SpiffeId>().err().map(|error| error.to_string()));
    checks.extend([
        check(
            "AV-042",
            "RFC 2986 4",
            "the DER of a PKCS#10 request",
            unless(whole, "there is more behind it"),
        ),
        check("AV-043", "RFC 2986 4", "version 1", unless(info.version == X509Version::V1, "another")),
        check("AV-044", "avouch", "a key of ECDSA P-256 or P-384", unless(issued, &key)),
        check(
            "AV-045",
            "avouch",
            "signed by ECDSA with SHA-256, 384 or 512",
            unless(signature != OTHER, "another"),
        ),
        check(
            "AV-046",
            "RFC 2986 4.2",
            "proof of possession: signed by its own key",
            proof(der, &request, pair),
        ),
        check(
            "AV-047",
            "RFC 5280 4.2.1.6",
            "the names it asks for are readable",
            names.as_ref().err().cloned(),
        ),
        check(
            "AV-048",
            "X509-SVID 2",
            "at most one URI",
            unless(uris.len() <= 1, &format!("{} of them", uris.len())),
        ),
        check("AV-049", "SPIFFE-ID 2", "the URI, if any, is a SPIFFE ID", not_id),
    ]);
    let ignored = names.map(|names| names.ignored).unwrap_or_default();
    // A stranger chose it, and it may end up on a terminal.
    let subject = info.subject.to_string().escape_debug().to_string();
    RequestInspection { facts: Some(Facts { subject, key, signature, uris, ignored }), checks }
}

fn size(der: &[u8]) -> String {
    format!("{} bytes", der.len())
}

const OTHER: &str = "another algorithm";

/// The signature's algorithm, and what verifies it with a key of this kind.
fn pair(
    request: &X509CertificationRequest<'_>,
    key: Option<KeyAlgorithm>,
) -> (&'static str, Option<&'static EcdsaVerificationAlgorithm>) {
    let (p256, p384) = (Some(KeyAlgorithm::EcdsaP256), Some(KeyAlgorithm::EcdsaP384));
    let choose = |for_p256, for_p384| match key {
        key if key == p256 => Some(for_p256),
        key if key == p384 => Some(for_p384),
        _ => None,
    };
    match request.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.10045.4.3.2" => (
            "ECDSA with SHA-256",
            choose(&signature::ECDSA_P256_SHA256_ASN1, &signature::ECDSA_P384_SHA256_ASN1),
        ),
        "1.2.840.10045.4.3.3" => (
            "ECDSA with SHA-384",
            choose(&signature::ECDSA_P256_SHA384_ASN1, &signature::ECDSA_P384_SHA384_ASN1),
        ),
        "1.2.840.10045.4.3.4" => (
            "ECDSA with SHA-512",
            choose(&signature::ECDSA_P256_SHA512_ASN1, &signature::ECDSA_P384_SHA512_ASN1),
        ),
        _ => (OTHER, None),
    }
}

fn proof(
    der: &[u8],
    request: &X509CertificationRequest<'_>,
    pair: Option<&'static EcdsaVerificationAlgorithm>,
) -> Option<String> {
    let Some(algorithm) = pair else {
        return Some("not verifiable with such a key and algorithm".to_owned());
    };
    let Some(signed) = Signed::of(der) else { return Some("there is no readable signature".to_owned()) };
    let key = request.certification_request_info.subject_pki.subject_public_key.as_ref();
    let holds = UnparsedPublicKey::new(algorithm, key).verify(signed.content, signed.signature).is_ok();
    unless(holds, "the signature is not by the key in the request")
}

struct Names {
    uris: Vec<String>,
    ignored: Vec<String>,
}

/// The URIs asked for, and the names of what else is.
fn names(request: &X509CertificationRequest<'_>) -> Result<Names, String> {
    let mut found = Names { uris: Vec::new(), ignored: Vec::new() };
    for attribute in request.certification_request_info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() else { continue };
        if !is_one_value(attribute.value) {
            return Err("the request for extensions has more than one value".to_owned());
        }
        for extension in &asked.extensions {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => {
                    if !is_one_value(extension.value) {
                        return Err("the subject alternative name has more than one value".to_owned());
                    }
                    for name in &names.general_names {
                        match name {
                            GeneralName::URI(uri) => found.uris.push(uri.escape_debug().to_string()),
                            GeneralName::Invalid(..) => return Err("a name cannot be read".to_owned()),
                            GeneralName::DNSName(name) => {
                                found.ignored.push(format!("DNS name {}", name.escape_debug()));
                            }
                            _ => found.ignored.push("a name of another kind".to_owned()),
                        }
                    }
                }
                _ if extension.oid.to_id_string() == "2.5.29.17" => {
                    return Err("the subject alternative name cannot be read".to_owned());
                }
                ParsedExtension::BasicConstraints(asked) => {
                    found.ignored.push(format!("cA = {}", asked.ca));
                }
                _ => found.ignored.push(format!("extension {}", extension.oid.to_id_string())),
            }
        }
    }
    Ok(found)
}

fn is_one_value(der: &[u8]) -> bool {
    matches!(Any::from_der(der), Ok(([], _)))
}

/// How many elements a sequence has.
fn elements(der: &[u8]) -> Option<usize> {
    let (mut count, mut rest) = (0, Any::from_der(der).ok()?.1.data);
    while !rest.is_empty() {
        (rest, _) = Any::from_der(rest).ok()?;
        count += 1;
    }
    Some(count)
}

impl RequestInspection {
    /// Whether the issuer would read it.
    pub(crate) fn passes(&self) -> bool {
        self.checks.iter().all(|check| check.failure.is_none())
    }

    /// For people.
    pub(crate) fn to_text(&self, number: usize, of: usize) -> String {
        let mut text = format!("certificate signing request {number} of {of}\n");
        if let Some(facts) = &self.facts {
            let or_none = |text: String| if text.is_empty() { "(none)".to_owned() } else { text };
            let ignored = match facts.ignored.is_empty() {
                true => String::new(),
                false => format!("{} (the issuer does not read them)", facts.ignored.join(", ")),
            };
            text.push_str(&output::fields(
                2,
                &[
                    ("subject", or_none(facts.subject.clone())),
                    ("key", facts.key.clone()),
                    ("signed by", facts.signature.to_owned()),
                    ("URI names", or_none(facts.uris.join(" "))),
                    ("also asks", or_none(ignored)),
                ],
            ));
        }
        text.push_str(&Inspection::checks_to_text(&self.checks));
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({
            "kind": "certificate signing request", "ok": self.passes(),
            "checks": Inspection::checks_to_json(&self.checks),
        });
        if let (Some(value), Some(facts)) = (value.as_object_mut(), &self.facts) {
            value.insert("subject".to_owned(), facts.subject.clone().into());
            value.insert("key".to_owned(), facts.key.clone().into());
            value.insert("signature_algorithm".to_owned(), facts.signature.into());
            value.insert("uris".to_owned(), facts.uris.clone().into());
            value.insert("ignored".to_owned(), facts.ignored.clone().into());
        }
        value
    }
}
