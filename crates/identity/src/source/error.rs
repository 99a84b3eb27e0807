//! The error of an identity that could not be had, and whether trying again helps.

use avouch_files::{OpenToOthers, PrivateDirError};
use avouch_spiffe::{HostPortError, Reason, TrustDomain};
use tonic_types::StatusExt;

use crate::verify::Rejection;

/// The error of an identity that could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file could not be read.
    #[error("cannot {action} {path}")]
    File {
        /// The action that failed: `read` or `write`.
        action: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} does not hold {expected}: {detail}")]
    Content {
        /// The file.
        path: std::path::PathBuf,
        /// The expected content.
        expected: &'static str,
        /// The particulars of what is wrong.
        detail: String,
    },
    /// Others can reach the key.
    #[error(
        "the key in {path} can be read or written by others (mode {mode:04o}). `chmod {wanted:04o} {path}` shuts it, but does \
         not take back what was read: use a new key",
        mode = open.mode, wanted = open.wanted
    )]
    KeyOpen {
        /// The file.
        path: std::path::PathBuf,
        /// The mode of the file, and what it should be.
        open: OpenToOthers,
    },
    /// Certificate and key of the files do not make an SVID.
    #[error("{certificate} and the key in {key} are not a usable SVID")]
    Files {
        /// The certificates' file.
        certificate: std::path::PathBuf,
        /// The key's file.
        key: std::path::PathBuf,
        /// The particulars of what is wrong.
        source: crate::svid::SvidLoadError,
    },
    /// The certificate does not hold now.
    #[error("the certificate in {certificate} cannot be used now: {rejection}")]
    OutsideDates {
        /// The file.
        certificate: std::path::PathBuf,
        /// The reason and its particulars.
        rejection: Rejection,
    },
    /// Peers would reject the certificate: the own bundle does not vouch for it.
    #[error("the bundle in {bundle} does not vouch for the certificate in {certificate}: {rejection}")]
    NotVouchedFor {
        /// The certificate's file.
        certificate: std::path::PathBuf,
        /// The bundle's file.
        bundle: std::path::PathBuf,
        /// The rejection that peers would answer with.
        rejection: Rejection,
    },
    /// A new bundle does not vouch for the SVID in use, and there is none for which it does.
    #[error("the bundle in {bundle} does not vouch for the SVID in use (serial {serial}): {rejection}")]
    DoesNotVouch {
        /// The file.
        bundle: std::path::PathBuf,
        /// The serial number of the SVID.
        serial: String,
        /// The rejection that peers would answer with.
        rejection: Rejection,
    },
    /// The own trust domain is configured as one of the others.
    #[error("identity.federated names the own trust domain {0}: its roots are those of identity.bundle")]
    FederatedOwn(TrustDomain),
    /// Two bundles are configured for one trust domain.
    #[error("identity.federated names {0} twice: a trust domain has one bundle")]
    FederatedTwice(TrustDomain),
    /// The state directory, or a file in it, cannot be used.
    #[error(transparent)]
    State(#[from] PrivateDirError),
    /// Certificate and key do not make an SVID.
    #[error("the certificate and key are not a usable SVID")]
    Svid(#[from] crate::svid::SvidLoadError),
    /// There is no identity yet, and no join token to get one with.
    #[error(
        "there is no identity in {state} and no join token to get one with; create a token with `avouch token create SPIFFE-ID` and put it into the join_token_file"
    )]
    NoToken {
        /// The state directory, or that there is none.
        state: String,
    },
    /// The join token cannot be read.
    #[error("{path} holds no join token: {detail}")]
    Token {
        /// The file.
        path: std::path::PathBuf,
        /// The particulars of what is wrong.
        detail: String,
    },
    /// The issuer refused, or there was no way to ask it.
    #[error("could not {action} at the issuer: {}", message(status))]
    Refused {
        /// The request: `enroll`, `renew` or `recover`.
        action: &'static str,
        /// The issuer's answer, or the failure to connect.
        status: Box<tonic::Status>,
    },
    /// The issuer answered with something that is no usable identity.
    #[error("the issuer's answer is unusable: {0}")]
    Answer(String),
    /// The issuer's address is not `host:port`, or one that nobody could connect to.
    #[error("`{address}` is not an address of an issuer")]
    Address {
        /// The address as it was given.
        address: String,
        /// The clause of `HOST:PORT` that it breaks.
        source: HostPortError,
    },
    /// Key generation or signing failed.
    #[error("cryptography failed: {0}")]
    Crypto(String),
}

/// The issuer names its reason and the command that shows its record by itself, and so does a failure to connect.
fn message(status: &tonic::Status) -> String {
    match crate::status::reason(status) {
        Some(reason) if !status.message().starts_with(reason.as_str()) => {
            format!("{reason}: {}", status.message())
        }
        Some(_) => status.message().to_owned(),
        None => format!("{:?}: {}; `avouch check` says how the issuer is", status.code(), status.message()),
    }
}

impl IdentityError {
    /// Whether trying again, unchanged, can help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { action, status } => match crate::status::reason(status) {
                // Only a renewal presents a certificate of ours; else it is the issuer's that is outside its dates,
                // until it renews itself or somebody sets a clock.
                Some(Reason::CertExpired | Reason::CertNotYetValid) => *action != "renew",
                Some(reason) => reason.retryable(),
                None => matches!(
                    status.code(),
                    tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled
                ),
            },
            // The disk may have room again.
            Self::State(PrivateDirError::Io { action: "write", .. }) => true,
            _ => false,
        }
    }

    /// Whether the issuer, by its clock, takes our SVID for one that has ended or is not valid yet: it says so in the
    /// handshake by an alert, or over a connection that has outlived the SVID by its answer. What we found wrong with the
    /// issuer's own certificate is neither, though it has the same reasons.
    pub(crate) fn finds_svid_outside_dates(&self) -> bool {
        let Self::Refused { status, .. } = self else { return false };
        let Some(info) = status.get_details_error_info() else { return false };
        match info.metadata.get("alert") {
            Some(alert) => *alert == format!("{:?}", rustls::AlertDescription::CertificateExpired),
            // Only a failure to connect says where to.
            None if info.metadata.contains_key("target") => false,
            None => {
                matches!(crate::status::reason(status), Some(Reason::CertExpired | Reason::CertNotYetValid))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<const N: usize>(reason: Reason, metadata: [(&str, &str); N]) -> IdentityError {
        let metadata = metadata.map(|(key, value)| (key, value.to_owned()));
        let status = Box::new(crate::status::status(reason, "no", metadata));
        IdentityError::Refused { action: "renew", status }
    }

    #[test]
    fn only_the_issuers_word_on_our_svid_sends_us_to_recovery() {
        let target = ("target", "issuer.market.example:7443");
        for (reason, alert, answered, expected) in [
            (Reason::CertExpired, None, true, true),
            (Reason::CertNotYetValid, None, true, true),
            (Reason::NoMatchingEntry, None, true, false),
            (Reason::RateLimited, None, true, false),
            // Our own verdict on the issuer's certificate.
            (Reason::CertExpired, None, false, false),
            (Reason::CertNotYetValid, None, false, false),
            (Reason::PeerConnectionClosed, None, false, false),
            // Its verdict on ours, which by our clock is good, or is not.
            (Reason::HandshakeRefused, Some("CertificateExpired"), false, true),
            (Reason::CertExpired, Some("CertificateExpired"), false, true),
            (Reason::HandshakeRefused, Some("UnknownCA"), false, false),
            (Reason::CertRevoked, Some("CertificateRevoked"), false, false),
        ] {
            let error = match (answered, alert) {
                (true, _) => refused(reason, []),
                (false, None) => refused(reason, [target]),
                (false, Some(alert)) => refused(reason, [target, ("alert", alert)]),
            };
            assert_eq!(error.finds_svid_outside_dates(), expected, "{reason} {alert:?} {answered}");
        }
        assert!(!IdentityError::Answer("x".to_owned()).finds_svid_outside_dates());
        let plain = Box::new(tonic::Status::unavailable("gone"));
        assert!(!IdentityError::Refused { action: "renew", status: plain }.finds_svid_outside_dates());
    }
}
