//! The parameters that a TLS handshake agreed on, of a client or a server.

use rustls::CommonState;

use crate::crypto;

/// The parameters that a TLS handshake agreed on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NegotiatedTls {
    /// The version, as in `TLSv1_3`.
    pub version: &'static str,
    /// The key-exchange group, as in `X25519MLKEM768`.
    pub group: String,
    /// The cipher suite, as in `TLS13_AES_256_GCM_SHA384`.
    pub suite: String,
    /// The application protocol (ALPN), if there is one.
    pub alpn: Option<Vec<u8>>,
}

impl NegotiatedTls {
    /// Reads them off a session whose handshake is over.
    pub(crate) fn of(session: &CommonState) -> Self {
        Self {
            version: session.protocol_version().and_then(|version| version.as_str()).unwrap_or("unknown"),
            group: crypto::group_name(session.negotiated_key_exchange_group()),
            suite: crypto::cipher_name(session.negotiated_cipher_suite()),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
        }
    }
}
