//! PEM text of certificates and keys (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

/// PEM text that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not the PEM form of certificates")]
pub struct PemError;

/// Writes certificates one after the other, in the order given.
pub fn certificates<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> String {
    ders.into_iter().map(|der| encode("CERTIFICATE", der)).collect()
}

/// Reads every certificate block; other blocks are skipped.
///
/// # Errors
///
/// [`PemError`] when a block is broken or there is none.
pub fn read_certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| PemError)?;
    if found.is_empty() { Err(PemError) } else { Ok(found) }
}

pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    std::mem::take(&mut *encode_secret(label, der))
}

/// Encodes without leaving copies behind.
pub(crate) fn encode_secret(label: &str, der: &[u8]) -> Zeroizing<String> {
    let mut body = Zeroizing::new(String::with_capacity(der.len().div_ceil(3).saturating_mul(4)));
    STANDARD.encode_string(der, &mut body);
    let lines = body.len().div_ceil(64);
    let capacity =
        body.len().saturating_add(lines).saturating_add(label.len().saturating_mul(2)).saturating_add(64);
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    for part in ["-----BEGIN ", label, "-----\n"] {
        text.push_str(part);
    }
    let mut rest = body.as_str();
    while let Some((line, more)) = rest.split_at_checked(64) {
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    for part in ["-----END ", label, "-----\n"] {
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_survive_their_pem_form_in_order() {
        for length in [1, 47, 48, 49, 1000] {
            let ders = [vec![1; length], vec![2; length]];
            let text = certificates(ders.iter().map(Vec::as_slice));
            let read = read_certificates(&text).unwrap();
            assert_eq!(read.iter().map(|der| der.to_vec()).collect::<Vec<_>>(), ders);
        }
    }

    #[test]
    fn no_certificate_and_broken_blocks_are_errors() {
        for text in ["", "-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n", "garbage"] {
            assert_eq!(read_certificates(text), Err(PemError), "{text:?}");
        }
        assert_eq!(read_certificates(&encode("PRIVATE KEY", &[1])), Err(PemError));
    }
}
