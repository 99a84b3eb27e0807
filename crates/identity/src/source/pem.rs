//! The contents of an identity's files: PEM, and bundles in either form.

use std::path::Path;

use avouch_files::pem;
use avouch_spiffe::x509::Authority;
use avouch_spiffe::{Bundle, TrustDomain};
use avouch_text::with_causes;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::IdentityError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    pem::certificates(text).map_err(|error| content(path, "PEM certificates", error.describe(path)))
}

pub(super) fn private_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    pem::private_key(text).map_err(|error| content(path, "a PEM private key", error.describe(path)))
}

/// Reads roots as PEM certificates or as a SPIFFE bundle.
pub(super) fn bundle(path: &Path, text: &[u8], trust_domain: &TrustDomain) -> Result<Bundle, IdentityError> {
    let unmarked = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if unmarked.trim_ascii_start().first() == Some(&b'{') {
        return Bundle::from_json(trust_domain.clone(), unmarked)
            .map_err(|error| content(path, "a SPIFFE bundle", with_causes(&error).to_string()));
    }
    let mut roots = Vec::new();
    for (at, der) in (1..).zip(certificates(path, text)?) {
        let root = Authority::parse(&der).map_err(|error| {
            let detail = format!("certificate {at} of the file cannot be a root: {}", with_causes(&error));
            content(path, "root certificates", detail)
        })?;
        roots.push(root);
    }
    Ok(Bundle::new(trust_domain.clone(), roots, 0))
}

pub(super) fn content(path: &Path, expected: &'static str, detail: String) -> IdentityError {
    IdentityError::Content { path: path.to_owned(), expected, detail }
}
