//! PEM text (RFC 7468): the one reader and the one writer.
//!
//! The reader is lenient where nothing can be lost by it: byte order marks, blanks around lines, every kind of line end,
//! text between blocks. It never skips a broken block in silence: without a dropped root some peers would be rejected, and
//! a damaged file would pass for a whole one. Each error comes with the command that repairs the file
//! ([`PemError::mend`]).
//!
//! Invariant: no error holds an octet of the text. The parser that decodes the blocks quotes invalid input in its
//! errors, so none of them leaves this module.

mod error;
mod form;
mod kind;
mod scan;
mod write;

use rustls_pki_types::pem::{PemObject as _, SectionKind};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use zeroize::Zeroizing;

pub use self::error::{PemError, Wanted};
pub use self::form::Form;
pub use self::kind::Kind;
pub use self::write::{certificates as write_certificates, encode, encode_secret};

/// One block of PEM text.
#[derive(Debug)]
pub struct Block {
    /// The block's kind, by its label.
    pub kind: Kind,
    /// The line of its BEGIN, from 1.
    pub line: usize,
    /// Its octets; empty for a kind that is not decoded here ([`Kind::is_decoded`]) or is encrypted.
    pub der: Zeroizing<Vec<u8>>,
    /// Whether a header says that the octets are encrypted (RFC 1421 §4.6.1.1), as older OpenSSL writes keys.
    pub encrypted: bool,
}

/// Every block of the text, in its order; none if there is no block.
///
/// # Errors
/// The first block that is broken.
pub fn blocks(text: &[u8]) -> Result<Vec<Block>, PemError> {
    scan::scan(text)?.into_iter().map(decode).collect()
}

/// As [`blocks`], but with an error in place of each block whose base64 is damaged: for showing the blocks, not for using
/// them.
///
/// # Errors
/// When it cannot be told where a block begins and ends.
pub fn each_block(text: &[u8]) -> Result<Vec<Result<Block, PemError>>, PemError> {
    Ok(scan::scan(text)?.into_iter().map(decode).collect())
}

/// Every certificate of the text, in its order; blocks of other kinds are left out.
///
/// # Errors
/// When a block is broken, when there is no certificate, or when some are in a form that only OpenSSL reads: leaving
/// them out would leave out roots.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let blocks = scan::scan(text)?;
    if let Some(block) =
        blocks.iter().find(|block| matches!(block.kind, Kind::TrustedCertificate | Kind::Pkcs7))
    {
        return Err(PemError::OpenSslOnly { kind: block.kind, line: block.line });
    }
    let found = blocks.iter().map(|block| block.kind).collect::<Vec<_>>();
    let certificates = blocks.into_iter().filter(|block| block.kind == Kind::Certificate);
    let mut ders = Vec::new();
    for block in certificates {
        ders.push(CertificateDer::from(std::mem::take(&mut *decode(block)?.der)));
    }
    if ders.is_empty() { Err(error::absent(Wanted::Certificates, &found, text)) } else { Ok(ders) }
}

/// The first private key of the text that is not encrypted: PKCS#8, SEC 1 or PKCS#1.
///
/// # Errors
/// When a block is broken, or there is no such key: then what there is in its place.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    let blocks = scan::scan(text)?;
    let mut found = Vec::new();
    for block in blocks {
        let kind = if block.encrypted { Kind::EncryptedKey } else { block.kind };
        found.push(kind);
        let der = |block| Ok(std::mem::take(&mut *decode(block)?.der));
        match kind {
            Kind::Pkcs8Key => return Ok(PrivatePkcs8KeyDer::from(der(block)?).into()),
            Kind::Sec1Key => return Ok(PrivateSec1KeyDer::from(der(block)?).into()),
            Kind::Pkcs1Key => return Ok(PrivatePkcs1KeyDer::from(der(block)?).into()),
            _ => {}
        }
    }
    Err(error::absent(Wanted::Key, &found, text))
}

/// Decodes a block with the library, whose base64 decoder for secrets runs in constant time. The block is passed in
/// canonical form, so that invalid base64 is the only error that it can find.
fn decode(found: scan::Found) -> Result<Block, PemError> {
    let scan::Found { kind, line, body, encrypted } = found;
    let mut der = Zeroizing::new(Vec::new());
    if let Some(label) = kind.canonical().filter(|_| !encrypted) {
        let mut text = Zeroizing::new(Vec::with_capacity(body.len() + 2 * label.len() + 64));
        for part in
            ["-----BEGIN ".as_bytes(), label.as_bytes(), b"-----\n", &body, b"\n-----END ", label.as_bytes()]
        {
            text.extend_from_slice(part);
        }
        text.extend_from_slice(b"-----\n");
        match <(SectionKind, Vec<u8>)>::from_pem_slice(&text) {
            Ok((_, octets)) if !octets.is_empty() => der = Zeroizing::new(octets),
            _ => return Err(PemError::Base64 { kind, line }),
        }
    }
    Ok(Block { kind, line, der, encrypted })
}

#[cfg(test)]
mod tests;
