//! Lower-case hexadecimal, for fingerprints in records and messages.

use std::fmt::Write;

/// Encodes bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
