//! As much of DER (X.690) as PKCS#8 and PKCS#12 take.

use x509_parser::asn1_rs::{Any, FromDer};
use zeroize::Zeroizing;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// A tag, the length, the parts.
fn element(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Exactly sized: growing would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(length + 10));
    out.push(tag);
    let bytes = length.to_be_bytes();
    let significant = bytes.iter().skip_while(|byte| **byte == 0).count();
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(significant).unwrap_or(0x7f));
            out.extend(bytes.iter().skip(bytes.len() - significant));
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

pub(super) fn secret_sequence(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    element(SEQUENCE, parts)
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts).to_vec()
}

pub(super) fn set(parts: &[&[u8]]) -> Vec<u8> {
    element(SET, parts).to_vec()
}

pub(super) fn octets(content: &[u8]) -> Zeroizing<Vec<u8>> {
    element(OCTET_STRING, &[content])
}

/// An explicit context tag.
pub(super) fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    element(0xa0 | number, &[content]).to_vec()
}

/// An octet string under an implicit context tag.
pub(super) fn implicit_octets(number: u8, content: &[u8]) -> Vec<u8> {
    element(0x80 | number, &[content]).to_vec()
}

pub(super) fn integer(value: u32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let mut content: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if content.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.insert(0, 0); // of zero the one byte, else the sign
    }
    element(INTEGER, &[&content]).to_vec()
}

/// An object identifier by its encoded arcs.
pub(super) fn oid(arcs: &[u8]) -> Vec<u8> {
    element(OID, &[arcs]).to_vec()
}

pub(super) fn null() -> Vec<u8> {
    vec![0x05, 0x00]
}

pub(super) fn bmp_string(text: &str) -> Vec<u8> {
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    element(BMP_STRING, &[&bytes]).to_vec()
}

/// The first element of a sequence, header and all.
pub(super) fn first_element(sequence: &[u8]) -> Option<&[u8]> {
    let (_, whole) = Any::from_der(sequence).ok()?;
    let (rest, _) = Any::from_der(whole.data).ok()?;
    whole.data.get(..whole.data.len().checked_sub(rest.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_integers_are_as_short_as_they_can_be() {
        assert_eq!(integer(0), [2, 1, 0]);
        assert_eq!(integer(127), [2, 1, 127]);
        assert_eq!(integer(128), [2, 2, 0, 128]);
        assert_eq!(integer(600_000), [2, 3, 9, 0x27, 0xc0]);
        assert_eq!(octets(&[7; 127]).get(..2).unwrap(), [4, 127]);
        assert_eq!(octets(&[7; 128]).get(..3).unwrap(), [4, 0x81, 128]);
        assert_eq!(octets(&[7; 256]).get(..4).unwrap(), [4, 0x82, 1, 0]);
        assert_eq!(bmp_string("aä"), [0x1e, 4, 0, 97, 0, 0xe4]);
    }

    #[test]
    fn the_first_element_is_taken_with_its_header() {
        let whole = sequence(&[&integer(5), &null()]);
        assert_eq!(first_element(&whole), Some(&[2, 1, 5][..]));
        assert_eq!(first_element(&[0x30, 0x00]), None);
        assert_eq!(first_element(b"junk"), None);
    }
}
