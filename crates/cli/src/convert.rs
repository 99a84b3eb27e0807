//! Certificates from one form into another.
//!
//! A private key leaves only where it is asked for, and only together with the certificate that is its own.

mod der;
mod pkcs12;

use crate::error::CliError;
use rustls::pki_types::PrivateKeyDer;
use std::path::Path;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

pub(crate) use pkcs12::{ArchivedCertificate, Contents, MAX_NAME, write as write_pkcs12};

/// A file format of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Pem,
    Der,
    Pkcs12,
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
    let leaf = certificates.first().map(Vec::as_slice).unwrap_or_default();
    // Compared here and not by rustls, which reads certificates of version 3 only.
    let public =
        public_key(leaf).ok_or_else(|| unusable("there is no certificate to compare with".to_owned()))?;
    if signer.public_key().is_none_or(|own| own.as_ref() != public) {
        return Err(unusable("its private key does not fit: it is of another certificate".to_owned()));
    }
    pkcs8(public, key).ok_or_else(|| unusable("its private key cannot be written as PKCS#8".to_owned()))
}

/// The `SubjectPublicKeyInfo` of a certificate, as it stands there.
fn public_key(der: &[u8]) -> Option<&[u8]> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.tbs_certificate.subject_pki.raw)
}

/// A key of an older form, in PKCS#8 (RFC 5958 §2); the algorithm is that of its public key in the certificate.
fn pkcs8(public: &[u8], key: &PrivateKeyDer<'static>) -> Option<Zeroizing<Vec<u8>>> {
    let older = match key {
        PrivateKeyDer::Pkcs8(key) => return Some(Zeroizing::new(key.secret_pkcs8_der().to_vec())),
        PrivateKeyDer::Sec1(key) => key.secret_sec1_der(),
        PrivateKeyDer::Pkcs1(key) => key.secret_pkcs1_der(),
        _ => return None,
    };
    let algorithm = der::first_element(public)?;
    Some(der::secret_sequence(&[&der::integer(0), algorithm, &der::octets(older)]))
}
