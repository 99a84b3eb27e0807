//! The cryptography of every connection, and the names of its algorithms.

use std::sync::{Arc, OnceLock};

use rustls::SupportedCipherSuite;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms};

/// The cryptography everything here uses: aws-lc-rs with X25519MLKEM768 first.
pub fn crypto_provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// The signature algorithms by which certificates and handshakes are verified.
pub(crate) fn signature_algorithms() -> WebPkiSupportedAlgorithms {
    crypto_provider().signature_verification_algorithms
}

/// The IANA name of a negotiated cipher suite.
pub(crate) fn cipher_name(suite: Option<SupportedCipherSuite>) -> String {
    let name = suite.and_then(|suite| suite.suite().as_str().map(str::to_owned));
    name.unwrap_or_else(|| "unknown".to_owned())
}

/// The name of a negotiated key-exchange group.
pub(crate) fn group_name(group: Option<&'static dyn SupportedKxGroup>) -> String {
    group.map_or_else(|| "unknown".to_owned(), |group| format!("{:?}", group.name()))
}
