//! The one vocabulary of refusals: the same word in gRPC errors, logs, spans, metrics, the CLI and the documentation.
//!
//! A refusal carries exactly one [`Reason`]. Dynamic parts never become part of the word; they travel beside it.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The `domain` of `google.rpc.ErrorInfo` in every status that carries a [`Reason`].
pub const ERROR_DOMAIN: &str = "avouch";

/// The gRPC status code that a reason maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// We do not know who the caller is.
    Unauthenticated,
    /// We know who the caller is, and the answer is no.
    PermissionDenied,
    /// Not now; try again.
    Unavailable,
    /// The request itself is wrong.
    InvalidArgument,
    /// Too much or too fast.
    ResourceExhausted,
}

impl Code {
    /// The number that gRPC puts on the wire.
    pub const fn number(self) -> i32 {
        match self {
            Self::InvalidArgument => 3,
            Self::PermissionDenied => 7,
            Self::ResourceExhausted => 8,
            Self::Unavailable => 14,
            Self::Unauthenticated => 16,
        }
    }
}

/// A text that is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reason that avouch knows")]
pub struct UnknownReason;

macro_rules! reasons {
    ($($variant:ident $word:literal $code:ident $retryable:literal $summary:literal;)*) => {
        /// Why something was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = concat!("`", $word, "`: ", $summary, ".")] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The word, in upper snake case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Whether the same request may succeed later, without anything being changed by its sender.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)* }
            }

            /// The status code that a call refused for this reason ends with.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// The reason in half a sentence, for people.
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)* }
            }
        }

        impl FromStr for Reason {
            type Err = UnknownReason;

            fn from_str(word: &str) -> Result<Self, UnknownReason> {
                match word { $($word => Ok(Self::$variant),)* _ => Err(UnknownReason) }
            }
        }
    };
}

reasons! {
    ClientCertMissing "CLIENT_CERT_MISSING" Unauthenticated false "the client presented no certificate";
    CertUntrusted "CERT_UNTRUSTED" Unauthenticated false "no trust anchor of the bundle vouches for the certificate";
    ChainIncomplete "CHAIN_INCOMPLETE" Unauthenticated false "an intermediate certificate is missing from the chain";
    CertExpired "CERT_EXPIRED" Unauthenticated false "a certificate of the chain has expired";
    CertNotYetValid "CERT_NOT_YET_VALID" Unauthenticated false "a certificate of the chain is not valid yet";
    CertRevoked "CERT_REVOKED" Unauthenticated false "a certificate of the chain has been revoked";
    RevocationStateUnknown "REVOCATION_STATE_UNKNOWN" Unauthenticated false "the revocation list is stale or unreadable";
    CertPurposeInvalid "CERT_PURPOSE_INVALID" Unauthenticated false "the extended key usage does not fit the use";
    CertMalformed "CERT_MALFORMED" Unauthenticated false "a certificate is not well-formed DER";
    CertSignatureInvalid "CERT_SIGNATURE_INVALID" Unauthenticated false "a signature does not verify";
    CertAlgorithmRefused "CERT_ALGORITHM_REFUSED" Unauthenticated false "an algorithm or key size is not allowed";
    CertChainTooDeep "CERT_CHAIN_TOO_DEEP" Unauthenticated false "the certificate chain has too many certificates";
    CertTooLarge "CERT_TOO_LARGE" Unauthenticated false "the certificate chain has too many bytes";
    SvidInvalid "SVID_INVALID" Unauthenticated false "the certificate is not an X.509-SVID of a workload";
    TrustDomainUnknown "TRUST_DOMAIN_UNKNOWN" Unauthenticated false "there is no bundle for the peer's trust domain";
    IdentityNotAdmitted "IDENTITY_NOT_ADMITTED" PermissionDenied false "the identity filter does not admit the peer";
    IdentityRevoked "IDENTITY_REVOKED" PermissionDenied false "the peer's identity has been revoked";
    ServerIdentityMismatch "SERVER_IDENTITY_MISMATCH" Unauthenticated false "the server is somebody else than expected";
    ProtocolVersionUnsupported "PROTOCOL_VERSION_UNSUPPORTED" Unauthenticated false "the peers share no TLS version";
    CipherSuiteMismatch "CIPHER_SUITE_MISMATCH" Unauthenticated false "the peers share no cipher suite or group";
    NoApplicationProtocol "NO_APPLICATION_PROTOCOL" Unauthenticated false "the peers share no application protocol (ALPN)";
    HandshakeTimeout "HANDSHAKE_TIMEOUT" Unavailable true "the handshake took too long";
    PeerConnectionClosed "PEER_CONNECTION_CLOSED" Unavailable true "the peer closed the connection during the handshake";
    NotTls "NOT_TLS" Unauthenticated false "what arrived is not TLS";
    HandshakeLimit "HANDSHAKE_LIMIT" Unavailable true "too many handshakes at once";
    HandshakeRefused "HANDSHAKE_REFUSED" Unauthenticated false "the server refused the handshake; its connection record says why";
    ConnectionRetiring "CONNECTION_RETIRING" Unavailable true "a retiring connection ended the stream";
    RoleMissing "ROLE_MISSING" PermissionDenied false "the caller lacks the roles that the RPC asks for";
    NoAllowRule "NO_ALLOW_RULE" PermissionDenied false "nothing allows the call";
    DenyRuleMatched "DENY_RULE_MATCHED" PermissionDenied false "a deny rule of the policy matched";
    NoPeerIdentity "NO_PEER_IDENTITY" Unauthenticated false "the connection has no peer identity";
    NotReady "NOT_READY" Unavailable true "the policy or the bundle is not loaded yet";
    NoMatchingEntry "NO_MATCHING_ENTRY" PermissionDenied false "no entry matches the evidence";
    CsrInvalid "CSR_INVALID" InvalidArgument false "the certificate signing request is not acceptable";
    CsrIdentityMismatch "CSR_IDENTITY_MISMATCH" PermissionDenied false "the certificate signing request names somebody else";
    RateLimited "RATE_LIMITED" ResourceExhausted true "too many requests";
    StoreUnavailable "STORE_UNAVAILABLE" Unavailable true "the issuer's store cannot commit";
    RecoveryWindowOver "RECOVERY_WINDOW_OVER" Unauthenticated false "the time in which an expired SVID can be recovered is over";
    JoinTokenInvalid "JOIN_TOKEN_INVALID" Unauthenticated false "the join token is unknown";
    JoinTokenExpired "JOIN_TOKEN_EXPIRED" Unauthenticated false "the join token has expired";
    JoinTokenAlreadyUsed "JOIN_TOKEN_ALREADY_USED" Unauthenticated false "the join token was used with another key";
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_word_fits_google_rpc_error_info_and_is_used_once() {
        let mut words = BTreeSet::new();
        for reason in Reason::ALL {
            let word = reason.as_str();
            assert!(word.len() <= 63 && word.len() >= 3, "{word}");
            assert!(word.chars().all(|c| matches!(c, 'A'..='Z' | '0'..='9' | '_')), "{word}");
            assert!(word.starts_with(|c: char| c.is_ascii_uppercase()) && !word.ends_with('_'), "{word}");
            assert!(words.insert(word), "{word} is there twice");
            assert_eq!(word.parse(), Ok(*reason));
            assert_eq!(serde_json::from_str::<Reason>(&format!("{word:?}")).unwrap(), *reason);
        }
    }

    #[test]
    fn unavailable_and_exhausted_are_retryable_and_nothing_else_is() {
        for reason in Reason::ALL {
            let transient = matches!(reason.code(), Code::Unavailable | Code::ResourceExhausted);
            assert_eq!(reason.retryable(), transient, "{reason}");
        }
    }

    #[test]
    fn known_identities_are_denied_and_unknown_ones_unauthenticated() {
        for reason in [Reason::IdentityNotAdmitted, Reason::IdentityRevoked, Reason::RoleMissing] {
            assert_eq!(reason.code().number(), 7, "{reason}");
        }
        for reason in
            [Reason::CertExpired, Reason::SvidInvalid, Reason::HandshakeRefused, Reason::NoPeerIdentity]
        {
            assert_eq!(reason.code().number(), 16, "{reason}");
        }
    }

    #[test]
    fn an_unknown_word_is_no_reason() {
        for word in ["", "cert_expired", "CERT_EXPIRED ", "INTERNAL"] {
            assert_eq!(word.parse::<Reason>(), Err(UnknownReason), "{word:?}");
        }
    }
}
