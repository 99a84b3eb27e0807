//! X.509 certificates as SPIFFE sees them: [`Leaf`] (an X.509-SVID that a workload presents), [`Authority`] (a
//! certificate that signs), [`CertificateInfo`] (any certificate, for messages to people), and [`CertificateRequest`]
//! (a PKCS#10 request for a certificate).
//!
//! Nothing here verifies the signature of a certificate, a path or the time: that is the TLS verifier's part (RFC 5280
//! path validation against the bundle of the peer's trust domain). These checks come in addition and never stand in for
//! it.

mod authority;
mod certificate_info;
mod constraint;
mod crl;
mod key;
mod leaf;
mod name;
mod order;
mod read;
mod request;

pub use authority::{Authority, AuthorityError};
pub use certificate_info::CertificateInfo;
pub use constraint::NameViolation;
pub use crl::{NotARevocationList, RevocationList, RevokedSerial, UnsupportedList};
pub use key::{KeyAlgorithm, KeyRefused, MAX_RSA_BITS, MIN_RSA_BITS};
pub use leaf::{Leaf, SvidError};
pub use order::leaf_first;
pub use read::MalformedCertificate;
pub use request::{
    CertificateRequest, MAX_CSR_BYTES, NoPossession, NotARequest, RequestedNames, RequestedOther,
    UnreadableNames,
};

/// SHA-256 of some bytes, such as a certificate's DER.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}
