//! Lists of key-value pairs in a variable, as in `key1=value1,key2=value2`, and their percent-encoding.
//!
//! A fault is told by the position of the pair only: what stands there may be a credential.

/// One pair, and where it stands, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    pub(crate) position: usize,
    pub(crate) key: &'a str,
    /// Not yet decoded.
    pub(crate) value: &'a str,
}

/// The pairs of a list. Blanks around keys and values do not count, nor do empty members.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = Result<Pair<'_>, String>> {
    let members = (1..).zip(text.split(',').map(str::trim)).filter(|(_, member)| !member.is_empty());
    members.map(|(position, member)| match member.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok(Pair { position, key: key.trim(), value: value.trim() })
        }
        _ => Err(format!("is no list of KEY=VALUE (entry {position})")),
    })
}

/// Percent-decodes `text`; `None` when a `%` is not followed by two hexadecimal digits.
///
/// Specification: RFC 3986, 2.1.
pub(crate) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'%' => (digit(octets.next()?)? << 4) | digit(octets.next()?)?,
            octet => octet,
        });
    }
    Some(decoded)
}

/// One hexadecimal digit of either case.
const fn digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_is_read_pair_by_pair_and_a_value_may_hold_equals_signs() {
        let found: Result<Vec<_>, _> = pairs(" a = 1 ,b=x==,, c=").collect();
        let found: Vec<_> = found.unwrap().iter().map(|p| (p.position, p.key, p.value)).collect();
        assert_eq!(found, [(1, "a", "1"), (2, "b", "x=="), (4, "c", "")]);
    }

    #[test]
    fn a_member_without_key_or_equals_sign_is_named_by_its_position_and_never_quoted() {
        for bad in ["a=1,hunter2", "a=1,=hunter2", "a=1, =hunter2"] {
            let fault = pairs(bad).find_map(Result::err).expect(bad);
            assert!(fault.contains("entry 2") && !fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn percent_signs_need_two_hexadecimal_digits() {
        assert_eq!(percent_decoded("a%20b%2Cc%3d").as_deref(), Some(&b"a b,c="[..]));
        assert_eq!(percent_decoded("%C3%A4").as_deref(), Some("ä".as_bytes()));
        for bad in ["%", "100%", "%2", "%zz", "%+1", "%%20"] {
            assert_eq!(percent_decoded(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(octets in proptest::collection::vec(any::<u8>(), 0..50)) {
            let encoded: String = octets.iter().map(|octet| format!("%{octet:02x}")).collect();
            prop_assert_eq!(percent_decoded(&encoded), Some(octets));
        }

        #[test]
        fn no_text_makes_the_readers_fail(text: String) {
            let _ = percent_decoded(&text);
            let _ = pairs(&text).count();
        }
    }
}
