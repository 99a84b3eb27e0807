//! What a file holds: certificates, requests, or a bundle, in PEM, DER or JSON. Guesses by content, never by name.
//!
//! Never shows a key: what kind of key there is, and how it is turned into one that is read, is all that is said.

use avouch_files::pem::{self, Form, Kind, PemError, Wanted};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::X509Certificate;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The contents of a file, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    /// The certificates in DER; one of a bundle that does not decode is empty, and is shown as no certificate.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// The certificate signing requests in DER.
    pub(crate) requests: Vec<Vec<u8>>,
    /// The SPIFFE bundle that the certificates are of.
    pub(crate) bundle: Option<Value>,
    /// There is a private key beside.
    pub(crate) has_key: bool,
    /// Blocks that cannot be read.
    pub(crate) damaged: Vec<PemError>,
}

/// The reason why a file cannot be looked into.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Why it cannot be read, or what there is instead of a certificate.
    Pem(PemError),
    /// A key alone: what it is, and as a key what is wrong with it, if anything.
    Key(Kind, Option<PemError>),
    /// Begins like JSON and is none, or has no `keys`.
    Json(String),
}

impl Document {
    /// Finds everything in `content`. Of a PEM file some blocks may be damaged; the others are there.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, Unreadable> {
        let text = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
        if text.trim_ascii_start().starts_with(b"{") {
            return bundle(text);
        }
        let blocks = pem::each_block(content).map_err(Unreadable::Pem)?;
        if blocks.is_empty() { der(content) } else { of_blocks(content, blocks) }
    }

    /// The document, unless a block of it is damaged: part of a chain or bundle is not what was meant.
    pub(crate) fn whole(self) -> Result<Self, Unreadable> {
        match self.damaged.first() {
            Some(error) => Err(Unreadable::Pem(*error)),
            None => Ok(self),
        }
    }
}

fn of_blocks(content: &[u8], blocks: Vec<Result<pem::Block, PemError>>) -> Result<Document, Unreadable> {
    let mut found = Document::default();
    let mut other = None;
    for block in blocks {
        let pem::Block { kind, line, mut der, encrypted } = match block {
            Ok(block) => block,
            Err(error) => {
                found.damaged.push(error);
                continue;
            }
        };
        match kind {
            Kind::Certificate => found.certificates.push(std::mem::take(&mut *der)),
            Kind::Request => found.requests.push(std::mem::take(&mut *der)),
            Kind::TrustedCertificate | Kind::Pkcs7 => {
                found.damaged.push(PemError::OpenSslOnly { kind, line })
            }
            _ => {
                found.has_key |= kind.is_private_key();
                let kind = if encrypted { Kind::EncryptedKey } else { kind };
                if other.is_none_or(|other: Kind| other == Kind::Other) {
                    other = Some(kind);
                }
            }
        }
    }
    let empty = found.certificates.is_empty() && found.requests.is_empty();
    match other {
        _ if empty && !found.damaged.is_empty() => found.whole(),
        Some(kind) if empty => Err(instead(kind, content)),
        _ => Ok(found),
    }
}

/// Why there is no certificate: there is this.
fn instead(kind: Kind, content: &[u8]) -> Unreadable {
    if kind.is_private_key() || kind == Kind::PublicKey {
        return Unreadable::Key(kind, pem::private_key(content).err());
    }
    Unreadable::Pem(PemError::Absent { wanted: Wanted::Certificates, found: kind })
}

fn der(content: &[u8]) -> Result<Document, Unreadable> {
    let form = Form::of(content);
    let one = || vec![content.to_vec()];
    match form {
        Form::DerOf(kind @ (Kind::Certificate | Kind::Request)) => {
            let is_request = kind == Kind::Request
                || X509Certificate::from_der(content).is_err()
                    && X509CertificationRequest::from_der(content).is_ok();
            Ok(match is_request {
                true => Document { requests: one(), ..Document::default() },
                false => Document { certificates: one(), ..Document::default() },
            })
        }
        Form::DerOf(kind) if kind.is_private_key() || kind == Kind::PublicKey => Err(instead(kind, content)),
        // It begins as a certificate does, and is shown as none.
        Form::Der | Form::Binary if content.first() == Some(&0x30) => {
            Ok(Document { certificates: one(), ..Document::default() })
        }
        form => Err(Unreadable::Pem(PemError::NotPem { wanted: Wanted::Certificates, form })),
    }
}

fn bundle(content: &[u8]) -> Result<Document, Unreadable> {
    // Syntax alone can be wrong, and of that the error quotes nothing.
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
