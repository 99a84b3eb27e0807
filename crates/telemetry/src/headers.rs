//! The headers sent with every batch of spans: `OTEL_EXPORTER_OTLP_HEADERS`.
//!
//! Specification: OTLP exporter, "Specifying headers via environment variables", in the format of W3C Baggage without
//! properties; values are percent-decoded. Values are credentials as a rule: they are marked sensitive, and no fault
//! repeats any part of the variable.

use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, BinaryMetadataKey, MetadataMap, MetadataValue};

use crate::list::{Pair, pairs, percent_decoded};

/// Headers that are reserved by HTTP/2 or gRPC. Those that begin with `grpc-` are as well.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The most headers, far more than a collector needs. A header map panics when it is full, at 24576 of them.
const MOST: usize = 64;

/// Reads the list. Keys are lower-cased; the value of a `-bin` key may be any octets. The error is a predicate of the
/// setting it came from.
pub(crate) fn parse(text: &str) -> Result<MetadataMap, String> {
    let mut metadata = MetadataMap::new();
    for pair in pairs(text) {
        if metadata.len() == MOST {
            return Err(format!("has more than {MOST} entries"));
        }
        add(&mut metadata, &pair?)?;
    }
    Ok(metadata)
}

fn add(metadata: &mut MetadataMap, pair: &Pair<'_>) -> Result<(), String> {
    let position = pair.position;
    let key = pair.key.to_ascii_lowercase();
    if RESERVED.contains(&key.as_str()) || key.starts_with("grpc-") {
        return Err(format!("sets a header that HTTP/2 or gRPC sets itself (entry {position})"));
    }
    let no_key = |_| format!("has a key that is no header name (entry {position})");
    let value = percent_decoded(pair.value)
        .ok_or_else(|| format!("has a value where `%` begins no percent-encoding (entry {position})"))?;
    if key.ends_with("-bin") {
        let key = BinaryMetadataKey::from_bytes(key.as_bytes()).map_err(no_key)?;
        let mut value = MetadataValue::from_bytes(&value);
        value.set_sensitive(true);
        metadata.append_bin(key, value);
        return Ok(());
    }
    let key = AsciiMetadataKey::from_bytes(key.as_bytes()).map_err(no_key)?;
    let printable = value.iter().all(|octet| matches!(octet, b' '..=b'~'));
    let mut value = AsciiMetadataValue::try_from(value)
        .ok()
        .filter(|_| printable)
        .ok_or_else(|| format!("has a value with characters that no header carries (entry {position})"))?;
    value.set_sensitive(true);
    metadata.append(key, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_percent_decoded_and_keys_lower_cased() {
        let metadata = parse("Authorization=Bearer%20a%2Cb, x-Tenant = blue=green,x-tenant=two,").unwrap();
        assert_eq!(metadata.get("authorization").unwrap(), "Bearer a,b");
        let tenants: Vec<_> = metadata.get_all("x-tenant").iter().collect();
        assert_eq!(tenants, ["blue=green", "two"]);
        assert_eq!(metadata.len(), 3);
    }

    #[test]
    fn a_binary_key_carries_any_octets() {
        let metadata = parse("token-BIN=%00%ff").unwrap();
        assert_eq!(metadata.get_bin("token-bin").unwrap().to_bytes().unwrap(), &b"\0\xff"[..]);
    }

    #[test]
    fn no_header_value_is_shown_by_debug() {
        let metadata = parse("authorization=hunter2,token-bin=hunter2").unwrap();
        assert!(!format!("{metadata:?}").contains("hunter2"), "{metadata:?}");
    }

    #[test]
    fn a_malformed_list_is_refused_and_no_part_of_it_repeated() {
        for (bad, why) in [
            ("hunter2", "KEY=VALUE"),
            ("a=1,hunter2", "entry 2"),
            ("=hunter2", "KEY=VALUE"),
            ("a=hunter2%", "percent-encoding"),
            ("a=hunter2%zz", "percent-encoding"),
            ("a=hunter2%0d%0ax:y", "no header carries"),
            ("a=hunter2%00", "no header carries"),
            ("a=hunter2%c3%a4", "no header carries"),
            ("a=hunter2ä", "no header carries"),
            ("hunter2 a=b", "no header name"),
            ("hunter2:=b", "no header name"),
            ("hunter2 -bin=b", "no header name"),
            ("Grpc-Timeout=hunter2", "itself"),
            ("TE=hunter2", "itself"),
            ("content-type=hunter2", "itself"),
        ] {
            let fault = parse(bad).expect_err(bad);
            assert!(fault.contains(why), "{bad}: {fault}");
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn more_headers_than_a_map_takes_are_refused_before_it_is_full() {
        let list = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(parse(&list(MOST)).unwrap().len(), MOST);
        for many in [MOST + 1, 40_000] {
            assert!(parse(&list(many)).unwrap_err().contains("more than 64 entries"));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_fail(text: String) {
            let _ = parse(&text);
        }
    }
}
