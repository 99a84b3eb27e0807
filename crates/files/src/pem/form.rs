//! The form of a file without a PEM block.

use super::kind::Kind;

/// The form of a file without a PEM block, as far as its first octets tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// Nothing, or blanks.
    Empty,
    /// DER: the octets that PEM would hold as text, of a kind that is recognized by the tags of its elements.
    DerOf(Kind),
    /// Other DER.
    Der,
    /// A PKCS#12 archive (RFC 7292 §4).
    Pkcs12,
    /// A Java key store.
    JavaKeyStore,
    /// Text in UTF-16, as some editors and shells of Windows write it.
    Utf16,
    /// JSON.
    Json,
    /// Base64 without the lines that begin and end a block.
    Base64,
    /// Other text.
    Text,
    /// Other octets.
    Binary,
}

impl Form {
    /// The form of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let rest = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii();
        match content {
            _ if rest.is_empty() => Self::Empty,
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Self::Utf16,
            [0xfe, 0xed, 0xfe, 0xed, ..] => Self::JavaKeyStore,
            [b'-', 0, b'-', 0, ..] | [0, b'-', 0, b'-', ..] => Self::Utf16, // without its mark
            [0x30, ..] if is_pkcs12(content) => Self::Pkcs12,
            [0x30, ..] if sequence(content).is_some() => kind(content).map_or(Self::Der, Self::DerOf),
            _ if rest.starts_with(b"{") => Self::Json,
            _ if rest.iter().all(|octet| is_base64(*octet)) && rest.len() > 40 => Self::Base64,
            _ if std::str::from_utf8(content).is_ok_and(|text| !text.contains('\0')) => Self::Text,
            _ => Self::Binary,
        }
    }

    /// The form in words: `it is …`.
    #[must_use]
    pub fn name(self) -> String {
        let fixed = match self {
            Self::DerOf(kind) => return format!("it is {} in DER, the binary form", kind.name()),
            Self::Empty => "the file is empty",
            Self::Der => "it is DER, the binary form",
            Self::Pkcs12 => "it is a PKCS#12 archive",
            Self::JavaKeyStore => "it is a Java key store",
            Self::Utf16 => "it is text in UTF-16",
            Self::Json => "it is JSON",
            Self::Base64 => "it is base64 without its BEGIN and END lines",
            Self::Text => "it is text without a BEGIN line",
            Self::Binary => "it is binary",
        };
        fixed.to_owned()
    }
}

fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet.is_ascii_whitespace() || matches!(octet, b'+' | b'/' | b'=')
}

/// The first element of DER: its tag, its content, and the rest. Only tags of one octet, as all kinds here have.
fn element(content: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = content.split_first_chunk::<2>()?;
    let octets = usize::from(first & 0x7f);
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(octets)?;
            (length.iter().fold(0, |sum, octet| (sum << 8) | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (inner, rest) = rest.split_at_checked(length)?;
    Some((tag, inner, rest))
}

/// The content of the DER sequence that the octets are; a line end (CR LF) may follow it.
fn sequence(content: &[u8]) -> Option<&[u8]> {
    element(content).filter(|(tag, _, rest)| *tag == 0x30 && rest.len() <= 2).map(|(_, inner, _)| inner)
}

/// The tags of the first elements of a sequence's content: nine tell all kinds apart, since an RSA key has nine.
fn tags(mut content: &[u8]) -> Vec<u8> {
    let mut tags = Vec::new();
    while let Some((tag, _, rest)) = element(content).filter(|_| tags.len() < 9) {
        tags.push(tag);
        content = rest;
    }
    tags
}

/// The kind of a DER sequence, by the tags of its elements: no two kinds have the same.
fn kind(content: &[u8]) -> Option<Kind> {
    const INTEGER: u8 = 0x02;
    const BITS: u8 = 0x03;
    const OCTETS: u8 = 0x04;
    const OID: u8 = 0x06;
    const TIMES: [u8; 2] = [0x17, 0x18];
    const SEQUENCE: u8 = 0x30;
    const TAGGED: u8 = 0xa0;
    /// 1.2.840.113549.1.7.2 (RFC 2315 §14).
    const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    let inner = sequence(content)?;
    match tags(inner).as_slice() {
        [SEQUENCE, SEQUENCE, BITS] => match tags(element(inner)?.1).as_slice() {
            [TAGGED, ..] | [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, ..] => Some(Kind::Certificate),
            [INTEGER, SEQUENCE, SEQUENCE] | [INTEGER, SEQUENCE, SEQUENCE, TAGGED, ..] => Some(Kind::Request),
            [SEQUENCE, SEQUENCE, time, ..] | [INTEGER, SEQUENCE, SEQUENCE, time, ..]
                if TIMES.contains(time) =>
            {
                Some(Kind::Crl)
            }
            _ => None,
        },
        [SEQUENCE, OCTETS] => Some(Kind::EncryptedKey),
        [SEQUENCE, BITS] | [INTEGER, INTEGER] => Some(Kind::PublicKey),
        [INTEGER, SEQUENCE, OCTETS, ..] => Some(Kind::Pkcs8Key),
        [INTEGER, OCTETS, ..] => Some(Kind::Sec1Key),
        [INTEGER, INTEGER, INTEGER, INTEGER, ..] => Some(Kind::Pkcs1Key),
        [OID, TAGGED] if inner.starts_with(SIGNED_DATA) => Some(Kind::Pkcs7),
        _ => None,
    }
}

/// `PFX ::= SEQUENCE { version INTEGER 3, … }`; a certificate and a key begin with another version or a sequence.
fn is_pkcs12(content: &[u8]) -> bool {
    sequence(content).is_some_and(|inner| inner.starts_with(&[2, 1, 3, 0x30]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sequence of these.
    fn der(parts: &[&[u8]]) -> Vec<u8> {
        let inner = parts.concat();
        [&[0x30, u8::try_from(inner.len()).unwrap()], inner.as_slice()].concat()
    }

    #[test]
    fn the_outline_tells_what_der_is() {
        let (integer, octets, bits): (&[u8], &[u8], &[u8]) = (&[2, 1, 0], &[4, 1, 7], &[3, 2, 0, 7]);
        let (names, time, tagged): (&[u8], &[u8], &[u8]) = (&[0x30, 0], &[0x17, 1, 0x30], &[0xa0, 0]);
        let signed = |inside: &[&[u8]]| der(&[&der(inside), names, bits]);
        for (content, expected) in [
            (signed(&[tagged, integer, names, names, names, names, names]), Some(Kind::Certificate)),
            (signed(&[integer, names, names, names, names, names]), Some(Kind::Certificate)),
            (signed(&[integer, names, names, tagged]), Some(Kind::Request)),
            (signed(&[integer, names, names, time]), Some(Kind::Crl)),
            (signed(&[names, names, time]), Some(Kind::Crl)),
            (der(&[integer, names, octets]), Some(Kind::Pkcs8Key)),
            (der(&[integer, octets, tagged]), Some(Kind::Sec1Key)),
            (der(&[integer; 9]), Some(Kind::Pkcs1Key)),
            (der(&[names, octets]), Some(Kind::EncryptedKey)),
            (der(&[names, bits]), Some(Kind::PublicKey)),
            (der(&[integer; 2]), Some(Kind::PublicKey)),
            (der(&[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", tagged]), Some(Kind::Pkcs7)),
            (der(&[integer]), None),
            (der(&[names, names, bits]), None),
        ] {
            assert_eq!(kind(&content), expected, "{content:02x?}");
            let form = Form::of(&[&content[..], b"\n"].concat());
            assert_eq!(form, expected.map_or(Form::Der, Form::DerOf), "{content:02x?}");
            for cut in 0..content.len() {
                let _ = Form::of(&content[..cut]);
            }
        }
    }

    #[test]
    fn the_first_octets_tell_the_form() {
        for (content, form) in [
            (&b""[..], Form::Empty),
            (b" \r\n", Form::Empty),
            (b"\xef\xbb\xbf\n", Form::Empty),
            (b"\x30\x03\x02\x01\x00", Form::Der),
            (b"\x30\x81\x03\x02\x01\x00\n", Form::Der),
            (b"\x30\x82\xff\xff\x02\x01\x00", Form::Binary),
            (b"\x30\x05\x02\x01\x03\x30\x00", Form::Pkcs12),
            (b"\xfe\xed\xfe\xed\0\0\0\x02", Form::JavaKeyStore),
            (b"\xff\xfe-\0-\0", Form::Utf16),
            (b"-\0-\0-\0", Form::Utf16),
            (b"\xef\xbb\xbf {\"keys\":[]}", Form::Json),
            (b"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\nAA==\n", Form::Base64),
            (b"no key yet", Form::Text),
            (b"\x80\x81\x82", Form::Binary),
            (b"a\0b", Form::Binary),
            (b"\x30", Form::Text),
        ] {
            assert_eq!(Form::of(content), form, "{content:?}");
        }
    }
}
