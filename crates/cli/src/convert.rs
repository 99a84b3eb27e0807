//! Certificates from one form into another.
//!
//! A private key leaves only where it is asked for, and only together with the certificate that is its own.

mod der;
mod pkcs12;

use crate::error::CliError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

pub(crate) use pkcs12::{Contents, write as write_pkcs12};

/// One PEM block (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(body.len() + body.len() / 32 + 80));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = next;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The key as PKCS#8, if it is the one of the first certificate.
pub(crate) fn matching_key(
    path: &Path,
    certificates: &[Vec<u8>],
    key: &PrivateKeyDer<'static>,
) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let unusable = |problem: String| CliError::Unusable {
        path: path.to_owned(),
        problem,
        help: "the key must be the one of the first certificate".to_owned(),
    };
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(key)
        .map_err(|error| unusable(format!("its private key cannot be used: {error}")))?;
    let chain = certificates.iter().map(|der| CertificateDer::from(der.clone())).collect();
    CertifiedKey::new(chain, signer)
        .keys_match()
        .map_err(|error| unusable(format!("its private key does not fit: {error}")))?;
    let leaf = certificates.first().map(Vec::as_slice).unwrap_or_default();
    pkcs8(leaf, key).ok_or_else(|| unusable("its private key cannot be written as PKCS#8".to_owned()))
}

/// A key of an older form, in PKCS#8 (RFC 5958 §2); the algorithm is that of the certificate, which is of this key.
fn pkcs8(leaf: &[u8], key: &PrivateKeyDer<'static>) -> Option<Zeroizing<Vec<u8>>> {
    let older = match key {
        PrivateKeyDer::Pkcs8(key) => return Some(Zeroizing::new(key.secret_pkcs8_der().to_vec())),
        PrivateKeyDer::Sec1(key) => key.secret_sec1_der(),
        PrivateKeyDer::Pkcs1(key) => key.secret_pkcs1_der(),
        _ => return None,
    };
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let algorithm = der::first_element(certificate.tbs_certificate.subject_pki.raw)?;
    Some(der::secret_sequence(&[&der::integer(0), algorithm, &der::octets(older)]))
}

#[cfg(test)]
mod tests {
    use super::pem;

    #[test]
    fn pem_lines_have_64_characters_at_most() {
        let text = pem("CERTIFICATE", &[7; 100]);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(text.lines().filter(|line| line.len() == 64).count(), 2);
        assert!(
            text.starts_with("-----BEGIN CERTIFICATE-----\n")
                && text.ends_with("-----END CERTIFICATE-----\n")
        );
    }
}
