//! Finding the blocks: markers and what is between them.

use zeroize::Zeroizing;

use super::error::PemError;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a block is, by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A certificate (RFC 7468 §5), `X509 CERTIFICATE` and `CERTIFICATE` alike.
    Certificate,
    /// A certificate with OpenSSL's own trust settings behind it.
    TrustedCertificate,
    /// A certificate signing request (RFC 7468 §7), `NEW CERTIFICATE REQUEST` too.
    Request,
    /// A certificate revocation list (RFC 7468 §6).
    Crl,
    /// A set of certificates in a PKCS#7 or CMS structure (RFC 7468 §8, §9).
    Pkcs7,
    /// A private key in PKCS#8 (RFC 7468 §10).
    Pkcs8Key,
    /// A private key of an elliptic curve in SEC 1 (RFC 5915).
    Sec1Key,
    /// A private key of RSA in PKCS#1.
    Pkcs1Key,
    /// A private key that is encrypted (RFC 7468 §11).
    EncryptedKey,
    /// A private key in OpenSSH's form.
    OpenSshKey,
    /// A private key of another kind, such as DSA.
    OtherKey,
    /// A public key (RFC 7468 §13).
    PublicKey,
    /// Anything else: parameters of a curve, an OpenPGP message.
    Other,
}

impl Kind {
    fn of(label: &[u8]) -> Self {
        match label {
            b"CERTIFICATE" | b"X509 CERTIFICATE" => Self::Certificate,
            b"TRUSTED CERTIFICATE" => Self::TrustedCertificate,
            b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => Self::Request,
            b"X509 CRL" => Self::Crl,
            b"PKCS7" | b"CMS" | b"PKCS #7 SIGNED DATA" => Self::Pkcs7,
            b"PRIVATE KEY" => Self::Pkcs8Key,
            b"EC PRIVATE KEY" => Self::Sec1Key,
            b"RSA PRIVATE KEY" => Self::Pkcs1Key,
            b"ENCRYPTED PRIVATE KEY" => Self::EncryptedKey,
            b"OPENSSH PRIVATE KEY" => Self::OpenSshKey,
            b"PUBLIC KEY" | b"RSA PUBLIC KEY" => Self::PublicKey,
            _ if label.ends_with(b"PRIVATE KEY") => Self::OtherKey,
            _ => Self::Other,
        }
    }

    /// The label that the decoder knows the kind by; none: it is not decoded here.
    pub(super) fn canonical(self) -> Option<&'static str> {
        match self {
            Self::Certificate => Some("CERTIFICATE"),
            Self::Request => Some("CERTIFICATE REQUEST"),
            Self::Crl => Some("X509 CRL"),
            Self::Pkcs8Key => Some("PRIVATE KEY"),
            Self::Sec1Key => Some("EC PRIVATE KEY"),
            Self::Pkcs1Key => Some("RSA PRIVATE KEY"),
            _ => None,
        }
    }

    /// Whether a block of this kind is decoded.
    #[must_use]
    pub fn is_decoded(self) -> bool {
        self.canonical().is_some()
    }

    /// Whether it is a private key, in whatever form.
    #[must_use]
    pub fn is_private_key(self) -> bool {
        matches!(
            self,
            Self::Pkcs8Key
                | Self::Sec1Key
                | Self::Pkcs1Key
                | Self::EncryptedKey
                | Self::OpenSshKey
                | Self::OtherKey
        )
    }

    /// The kind in words, with its article.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "a certificate",
            Self::TrustedCertificate => "a TRUSTED CERTIFICATE",
            Self::Request => "a certificate signing request",
            Self::Crl => "a revocation list",
            Self::Pkcs7 => "a PKCS#7 structure",
            Self::Pkcs8Key | Self::Sec1Key | Self::Pkcs1Key => "a private key",
            Self::EncryptedKey => "an encrypted private key",
            Self::OpenSshKey => "a private key in OpenSSH's form",
            Self::OtherKey => "a private key of a kind that is not used here",
            Self::PublicKey => "a public key",
            Self::Other => "a block of another kind",
        }
    }
}

/// A block before it is decoded.
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) line: usize,
    /// Base64 without blanks and line ends.
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) encrypted: bool,
}

struct Open<'a> {
    label: &'a [u8],
    found: Found,
}

pub(super) fn scan(text: &[u8]) -> Result<Vec<Found>, PemError> {
    let mut found = Vec::new();
    let mut open: Option<Open<'_>> = None;
    // Old Mac files end their lines with a carriage return alone.
    let end_of_line = if text.contains(&b'\n') { b'\n' } else { b'\r' };
    for (number, line) in (1..).zip(text.split(|octet| *octet == end_of_line)) {
        let line = trimmed(line);
        if let Some(label) = marker(line, BEGIN, number, open.is_some())? {
            if let Some(open) = open {
                return Err(PemError::Cut { kind: open.found.kind, line: open.found.line });
            }
            let body = Zeroizing::new(Vec::with_capacity(text.len()));
            let block = Found { kind: Kind::of(label), line: number, body, encrypted: false };
            open = Some(Open { label, found: block });
        } else if let Some(label) = marker(line, END, number, open.is_some())? {
            match open.take() {
                Some(open) if open.label == label => found.push(open.found),
                Some(open) => return Err(PemError::Cut { kind: open.found.kind, line: open.found.line }),
                None => return Err(PemError::NoBegin { line: number }),
            }
        } else if let Some(Open { found, .. }) = &mut open {
            body_line(found, line);
        }
    }
    match open {
        Some(open) => Err(PemError::Cut { kind: open.found.kind, line: open.found.line }),
        None => Ok(found),
    }
}

/// A line of a block: a header of RFC 1421 where older OpenSSL wrote some, else base64.
fn body_line(found: &mut Found, line: &[u8]) {
    if line.contains(&b':') {
        found.encrypted |= line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
        return;
    }
    found.body.extend(line.iter().filter(|octet| !octet.is_ascii_whitespace()));
}

/// The line without blanks around it, and without the byte order mark that some editors begin a file with; of files put
/// one behind the other each may have one.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    line.strip_prefix(BYTE_ORDER_MARK).map_or(line, |line| trimmed(line))
}

/// The label of a line that is a marker of this kind and nothing else; none if it has no marker.
fn marker<'a>(
    line: &'a [u8],
    kind: &[u8],
    number: usize,
    is_open: bool,
) -> Result<Option<&'a [u8]>, PemError> {
    let Some(rest) = line.strip_prefix(kind) else {
        // In the text between blocks a marker may be quoted; one with more behind it is a block that lost its line breaks.
        return match find(line, kind).and_then(|at| line.get(at + kind.len()..)) {
            Some(_) if is_open || find(line, END) == Some(0) => Err(PemError::SharedLine { line: number }),
            Some(rest) if label(rest).is_some_and(|(_, more)| !more.is_empty()) => {
                Err(PemError::LineBreaksMissing { line: number })
            }
            _ => Ok(None),
        };
    };
    match label(rest) {
        Some((label, [])) => Ok(Some(label)),
        Some((_, more)) if more.iter().all(|octet| *octet == b'-') && more.len() < DASHES.len() => {
            Err(PemError::BadMarker { line: number })
        }
        Some((_, more)) if find(more, DASHES) == Some(0) => Err(PemError::SharedLine { line: number }),
        Some(_) => Err(PemError::LineBreaksMissing { line: number }),
        None => Err(PemError::BadMarker { line: number }),
    }
}

/// What is before the closing dashes of a marker, and what is behind them.
fn label(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = find(rest, DASHES)?;
    Some((rest.get(..at)?, rest.get(at + DASHES.len()..)?))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
