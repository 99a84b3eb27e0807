//! Lower-case hexadecimal, the form in which serials, key identifiers and fingerprints are written everywhere.

const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// Encodes bytes as lower-case hexadecimal, without separators.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).collect()
}

/// Decodes what [`encode`] wrote. `None`: the text is something else.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

fn nibble(digit: u8) -> Option<u8> {
    let nibble = DIGITS.iter().position(|known| *known == char::from(digit))?;
    u8::try_from(nibble).ok()
}

fn digit(nibble: u8) -> char {
    DIGITS.get(usize::from(nibble)).copied().unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn bytes_become_lower_case_pairs() {
        assert_eq!(encode(&[]), "");
        assert_eq!(encode(&[0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }

    #[test]
    fn pairs_become_bytes_and_nothing_else_does() {
        assert_eq!(decode("000fa0ff"), Some(vec![0x00, 0x0f, 0xa0, 0xff]));
        assert_eq!(decode(""), Some(Vec::new()));
        for other in ["0", "0g", "0F", "+1", " 1", "0x", "ä"] {
            assert_eq!(decode(other), None, "{other}");
        }
    }
}
