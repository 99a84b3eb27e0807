//! What a file holds: certificates, requests, or a bundle, in PEM, DER or JSON. Guesses by content, never by name.
//!
//! Never shows a private key: that there is one is all that is said.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::X509Certificate;

/// The contents of a file, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    /// DER; one that does not decode is empty, and is shown as no certificate.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// DER of certificate signing requests.
    pub(crate) requests: Vec<Vec<u8>>,
    /// The SPIFFE bundle that the certificates are of.
    pub(crate) bundle: Option<Value>,
    /// There is a private key beside.
    pub(crate) has_key: bool,
}

/// What a file holds that cannot be looked into here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// None of the forms.
    Nothing,
    /// A PKCS#12 archive: encrypted.
    Pkcs12,
    /// Begins like JSON and is none, or has no `keys`.
    Json(String),
}

impl Document {
    /// Finds everything in `content`.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, Unreadable> {
        let text = String::from_utf8_lossy(content);
        let found = if text.trim_start().starts_with('{') {
            bundle(content)?
        } else if text.contains("-----BEGIN ") {
            pem(&text)
        } else {
            der(content)?
        };
        let empty = found.certificates.is_empty() && found.requests.is_empty() && found.bundle.is_none();
        if empty { Err(Unreadable::Nothing) } else { Ok(found) }
    }
}

fn pem(text: &str) -> Document {
    let mut found = Document::default();
    for block in text.split("-----BEGIN ").skip(1) {
        let Some((label, rest)) = block.split_once("-----") else { continue };
        let Some((body, _)) = rest.split_once(&format!("-----END {label}-----")) else { continue };
        let body: String = body.split_whitespace().collect();
        let der = || STANDARD.decode(&body).unwrap_or_default();
        match label {
            "CERTIFICATE" => found.certificates.push(der()),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => found.requests.push(der()),
            label if label.ends_with("PRIVATE KEY") => found.has_key = true,
            _ => {}
        }
    }
    found
}

fn der(content: &[u8]) -> Result<Document, Unreadable> {
    if content.first() != Some(&0x30) {
        return Err(Unreadable::Nothing);
    }
    if is_pkcs12(content) {
        return Err(Unreadable::Pkcs12);
    }
    let one = vec![content.to_vec()];
    let is_request =
        X509Certificate::from_der(content).is_err() && X509CertificationRequest::from_der(content).is_ok();
    Ok(match is_request {
        true => Document { requests: one, ..Document::default() },
        false => Document { certificates: one, ..Document::default() },
    })
}

/// `PFX ::= SEQUENCE { version INTEGER 3, … }` (RFC 7292 §4); a certificate begins with another sequence.
fn is_pkcs12(content: &[u8]) -> bool {
    let Ok((_, whole)) = Any::from_der(content) else { return false };
    whole.data.starts_with(&[2, 1, 3, 0x30])
}

fn bundle(content: &[u8]) -> Result<Document, Unreadable> {
    let value: Value =
        serde_json::from_slice(content).map_err(|error| Unreadable::Json(error.to_string()))?;
    let Some(keys) = value.get("keys").and_then(Value::as_array) else {
        return Err(Unreadable::Json("it has no \"keys\" (Trust Domain and Bundle 4.1.3)".to_owned()));
    };
    let certificates = keys.iter().filter(|key| is_x509(key)).filter_map(first_certificate).collect();
    Ok(Document { certificates, bundle: Some(value), ..Document::default() })
}

/// Whether a key of a bundle is for X.509-SVIDs; the others must be ignored.
pub(super) fn is_x509(key: &Value) -> bool {
    key.get("use").and_then(Value::as_str) == Some("x509-svid")
}

fn first_certificate(key: &Value) -> Option<Vec<u8>> {
    let encoded = key.get("x5c")?.as_array()?.first()?.as_str()?;
    Some(STANDARD.decode(encoded).unwrap_or_default())
}
