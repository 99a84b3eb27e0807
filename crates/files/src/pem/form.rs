//! What a file is that has no PEM block.

/// The form of a file without a PEM block, as far as its first octets tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// Nothing, or blanks.
    Empty,
    /// DER: the octets that PEM would hold as text.
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
            [0x30, ..] if sequence(content).is_some() => Self::Der,
            _ if rest.starts_with(b"{") => Self::Json,
            _ if rest.iter().all(|octet| is_base64(*octet)) && rest.len() > 40 => Self::Base64,
            _ if std::str::from_utf8(content).is_ok_and(|text| !text.contains('\0')) => Self::Text,
            _ => Self::Binary,
        }
    }
}

fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet.is_ascii_whitespace() || matches!(octet, b'+' | b'/' | b'=')
}

/// The content of a DER sequence that the octets are, give or take a line end.
fn sequence(content: &[u8]) -> Option<&[u8]> {
    let (&[_, first], rest) = content.split_first_chunk::<2>()?;
    let octets = usize::from(first & 0x7f);
    let (length, inner) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, inner) = rest.split_at_checked(octets)?;
            (length.iter().fold(0, |sum, octet| (sum << 8) | usize::from(*octet)), inner)
        }
        _ => return None,
    };
    (length <= inner.len() && inner.len() - length <= 2).then_some(inner)
}

/// `PFX ::= SEQUENCE { version INTEGER 3, … }`; a certificate and a key begin with another version or a sequence.
fn is_pkcs12(content: &[u8]) -> bool {
    sequence(content).is_some_and(|inner| inner.starts_with(&[2, 1, 3, 0x30]))
}

#[cfg(test)]
mod tests {
    use super::*;

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
