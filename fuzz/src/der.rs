//! A DER reader and writer of this crate's own (X.690), so that what the code under test reads is read a second time,
//! by somebody else. Takes only what the distinguished rules allow: definite, minimal lengths, one-octet tags.

/// `SEQUENCE`.
pub const SEQUENCE: u8 = 0x30;
/// `SET`.
pub const SET: u8 = 0x31;
/// `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub const OID: u8 = 0x06;
/// `BOOLEAN`.
pub const BOOLEAN: u8 = 0x01;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The tag's octet.
    pub tag: u8,
    /// Tag, length and value.
    pub raw: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// The first element and what follows it.
#[must_use]
pub fn first(input: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (tag, rest) = input.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(*short), rest),
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            let length = octets.iter().fold(0, |length, octet| (length << 8) | usize::from(*octet));
            let minimal = octets.first() != Some(&0) && length >= 0x80;
            (minimal.then_some(length)?, rest)
        }
        _ => return None,
    };
    let (value, after) = rest.split_at_checked(length)?;
    let raw = input.get(..input.len() - after.len())?;
    Some((Tlv { tag: *tag, raw, value }, after))
}

/// All elements, if the input is nothing but elements.
#[must_use]
pub fn all(mut input: &[u8]) -> Option<Vec<Tlv<'_>>> {
    let mut found = Vec::new();
    while !input.is_empty() {
        let (element, rest) = first(input)?;
        found.push(element);
        input = rest;
    }
    Some(found)
}

/// The one element that the input is, with this tag.
#[must_use]
pub fn only(input: &[u8], tag: u8) -> Option<Tlv<'_>> {
    match first(input)? {
        (element, []) if element.tag == tag => Some(element),
        _ => None,
    }
}

/// The elements inside the one element that the input is.
#[must_use]
pub fn inside(input: &[u8], tag: u8) -> Option<Vec<Tlv<'_>>> {
    all(only(input, tag)?.value)
}

/// Writes an element.
#[must_use]
pub fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(value.len()) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let octets: Vec<u8> =
                value.len().to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
            out.push(0x80 | u8::try_from(octets.len()).unwrap_or_default());
            out.extend(octets);
        }
    }
    out.extend_from_slice(value);
    out
}

/// Writes a sequence of elements.
#[must_use]
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let value = vec![7; length];
            let written = tlv(OCTET_STRING, &value);
            assert_eq!(only(&written, OCTET_STRING).unwrap().value, value);
        }
    }

    #[test]
    fn what_only_the_basic_rules_allow_is_refused() {
        for bad in
            [&[0x30, 0x80, 0, 0][..], &[4, 0x81, 1, 9], &[4, 0x82, 0, 1, 9], &[0x1f, 1, 0], &[4], &[4, 2, 0]]
        {
            assert_eq!(first(bad), None, "{bad:02x?}");
        }
    }
}
