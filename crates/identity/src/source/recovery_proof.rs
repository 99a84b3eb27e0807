//! The proof of a recovery: what a workload signs with the key of its expired SVID, and the issuer verifies (ADR 3).

/// Label under which both ends export keying material for the proof (RFC 8446 §7.5).
pub const RECOVERY_BINDING: &str = "EXPORTER-avouch-recovery";

const CONTEXT: &[u8] = b"avouch-recovery-v1\0";

/// The message that a recovering workload signs: bound to the connection, the nonce and the new request.
pub fn recovery_message(exporter: &[u8; 32], nonce: &[u8], csr: &[u8]) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, csr);
    [CONTEXT, exporter, nonce, digest.as_ref()].concat()
}
