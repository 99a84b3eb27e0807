//! Writes PEM blocks (RFC 7468 §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Certificates one after the other, in the order given.
pub fn certificates<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> String {
    ders.into_iter().map(|der| encode("CERTIFICATE", der)).collect()
}

/// One block.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    std::mem::take(&mut *encode_secret(label, der))
}

/// One block that holds a secret: no copies are left behind, and the text is cleared when dropped.
#[must_use]
pub fn encode_secret(label: &str, der: &[u8]) -> Zeroizing<String> {
    // All of it is allocated at once: growing would leave copies of the secret behind.
    let mut body = Zeroizing::new(String::with_capacity(der.len().div_ceil(3).saturating_mul(4)));
    STANDARD.encode_string(der, &mut body);
    let lines = body.len().div_ceil(64);
    let room =
        body.len().saturating_add(lines).saturating_add(label.len().saturating_mul(2)).saturating_add(64);
    let mut text = Zeroizing::new(String::with_capacity(room));
    for part in ["-----BEGIN ", label, "-----\n"] {
        text.push_str(part);
    }
    let mut rest = body.as_str();
    while let Some((line, more)) = rest.split_at_checked(64) {
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    for part in ["-----END ", label, "-----\n"] {
        text.push_str(part);
    }
    text
}
