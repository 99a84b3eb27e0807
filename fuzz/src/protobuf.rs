//! A reader and a writer of protobuf messages that share no code with the ones under test: varints, and what has a length.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// Octets: a string, bytes, or a message.
    Octets(&'a [u8]),
}

/// The fields of a message in their order. `None`: it holds something else, or ends early.
#[must_use]
pub fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (octets, rest) = message.split_at_checked(length)?;
                message = rest;
                Value::Octets(octets)
            }
            _ => return None,
        };
        fields.push((tag >> 3, value));
    }
    Some(fields)
}

/// A message of fields with octets.
#[must_use]
pub fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, octets) in fields {
        put(&mut out, number << 3 | 2);
        put(&mut out, u64::try_from(octets.len()).unwrap_or(u64::MAX));
        out.extend_from_slice(octets);
    }
    out
}

/// A field that holds a number.
#[must_use]
pub fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, field << 3);
    put(&mut out, value);
    out
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let (octet, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(octet & 0x7f).checked_shl(7 * at)?;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
