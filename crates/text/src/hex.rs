//! Lower-case hexadecimal, the form in which serials, key identifiers and fingerprints are written everywhere.

const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// Encodes bytes as lower-case hexadecimal, without separators.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).collect()
}

fn digit(nibble: u8) -> char {
    DIGITS.get(usize::from(nibble)).copied().unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn bytes_become_lower_case_pairs() {
        assert_eq!(encode(&[]), "");
        assert_eq!(encode(&[0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }
}
