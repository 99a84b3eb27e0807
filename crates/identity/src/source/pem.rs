//! PEM and bundle files, in and out.

use std::path::Path;

use avouch_spiffe::{Bundle, TrustDomain};
use avouch_text::with_causes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::IdentityError;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

pub(super) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(content(path, "PEM certificates", "it has none".to_owned())),
        Err(error) => Err(content(path, "PEM certificates", error.to_string())),
    }
}

pub(super) fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| content(path, "a PEM private key", error.to_string()))
}

/// Reads roots as PEM certificates or as a SPIFFE bundle.
pub(super) fn bundle(path: &Path, bytes: &[u8], trust_domain: &TrustDomain) -> Result<Bundle, IdentityError> {
    let is_json = bytes.trim_ascii_start().first() == Some(&b'{');
    if is_json {
        return Bundle::from_json(trust_domain.clone(), bytes)
            .map_err(|error| content(path, "a SPIFFE bundle", with_causes(&error).to_string()));
    }
    let ders: Vec<Vec<u8>> = certificates(path, bytes)?.iter().map(|der| der.to_vec()).collect();
    Bundle::from_ders(trust_domain.clone(), &ders, 0)
        .map_err(|error| content(path, "root certificates", with_causes(&error).to_string()))
}

pub(super) fn content(path: &Path, expected: &'static str, detail: String) -> IdentityError {
    IdentityError::Content { path: path.to_owned(), expected, detail }
}

/// Certificates as PEM text.
pub(super) fn encode_certificate(der: &[u8]) -> String {
    encode("CERTIFICATE", der)
}

/// One PEM block (RFC 7468).
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = next;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
