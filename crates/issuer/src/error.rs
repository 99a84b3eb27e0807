//! What can go wrong while issuing, and the one place where it becomes a gRPC status.
//!
//! The caller gets the reason and a decision id; the particulars are in the issuer's log under that id.

use crate::recovery::{NonceError, RecoveryError};
use crate::store::{StandingRevocation, StoreError};
use avouch_authz::layer::DecisionId;
use avouch_issuance::{CsrError, IssuanceError};
use avouch_limits::RateLimited;
use avouch_spiffe::{ERROR_DOMAIN, Reason, SpiffeId};
use std::collections::HashMap;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

/// A failed issuance: why a workload gets no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The request for a certificate cannot be used.
    #[error("the certificate signing request is refused")]
    Csr(#[from] CsrError),
    /// The request shows no evidence that this issuer knows.
    #[error("the request carries no evidence")]
    NoEvidence,
    /// The join token is unknown.
    #[error("the join token is unknown")]
    TokenInvalid,
    /// The join token has expired.
    #[error("the join token has expired")]
    TokenExpired,
    /// The join token was used by another key.
    #[error("the join token for {spiffe_id} was used with another key")]
    TokenAlreadyUsed {
        /// The SPIFFE ID that the token was made for.
        spiffe_id: SpiffeId,
    },
    /// The identity or the certificate has been revoked.
    #[error(
        "{} is revoked by revocation {}, made by {}{}; who made it may take it back: `avouch revoke --undo {}`",
        revoked(spiffe_id, serial, standing), standing.id, standing.actor, words(standing), standing.id
    )]
    Revoked {
        /// The identity.
        spiffe_id: SpiffeId,
        /// The serial number of the presented certificate; empty: none was presented.
        serial: String,
        /// The revocation.
        standing: Box<StandingRevocation>,
    },
    /// The presented certificate was renewed or recovered with another key, and its entry says that this revokes it.
    #[error(
        "certificate {serial} of {spiffe_id} was renewed or recovered with two keys (RENEWAL_FORK), so it is revoked with all \
         that came from it (revocation {id}, on_fork = \"revoke\"); give the rightful workload a new join token"
    )]
    Forked {
        /// The identity.
        spiffe_id: SpiffeId,
        /// The serial number of the forked certificate.
        serial: String,
        /// The revocation.
        id: i64,
    },
    /// The identity is not registered (any more).
    #[error("there is no entry for {0}")]
    NoEntry(SpiffeId),
    /// The presented certificate belongs to an earlier registration of the identity, or is not in the inventory.
    #[error("the certificate {serial} of {spiffe_id} was not issued for its present entry")]
    OtherRegistration {
        /// The identity in the certificate.
        spiffe_id: SpiffeId,
        /// Its serial.
        serial: String,
    },
    /// The presented certificate has ended since its connection was opened.
    #[error(
        "the certificate {serial} of {spiffe_id} has ended by this issuer's clock: its holder has to recover"
    )]
    PresentedExpired {
        /// The identity in the certificate.
        spiffe_id: SpiffeId,
        /// Its serial.
        serial: String,
    },
    /// The presented certificate is not valid yet: the issuer's clock was put back since its connection was opened.
    #[error(
        "the certificate {serial} of {spiffe_id} is not valid yet by this issuer's clock, which was put back: its \
         holder has to recover"
    )]
    PresentedNotYetValid {
        /// The identity in the certificate.
        spiffe_id: SpiffeId,
        /// Its serial.
        serial: String,
    },
    /// The connection has no identity.
    #[error("the connection has no client certificate")]
    NoPeer,
    /// The recovery is refused.
    #[error("the recovery is refused")]
    Recovery(#[from] RecoveryError),
    /// No nonce could be issued.
    #[error("no nonce is handed out")]
    Nonce(#[from] NonceError),
    /// Too many requests.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The certificate cannot be signed.
    #[error("the certificate cannot be signed")]
    Issuance(#[from] IssuanceError),
    /// The store cannot commit.
    #[error("the certificate cannot be recorded, so it is not handed out")]
    Store(#[from] StoreError),
}

impl IssueError {
    /// The reason that the refusal carries.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Csr(error) => error.reason(),
            Self::NoEvidence | Self::NoEntry(_) | Self::OtherRegistration { .. } => Reason::NoMatchingEntry,
            Self::Revoked { standing, .. } if standing.of_identity => Reason::IdentityRevoked,
            Self::Revoked { .. } | Self::Forked { .. } => Reason::CertRevoked,
            Self::TokenInvalid => Reason::JoinTokenInvalid,
            Self::TokenExpired => Reason::JoinTokenExpired,
            Self::TokenAlreadyUsed { .. } => Reason::JoinTokenAlreadyUsed,
            Self::PresentedExpired { .. } => Reason::CertExpired,
            Self::PresentedNotYetValid { .. } => Reason::CertNotYetValid,
            Self::NoPeer => Reason::NoPeerIdentity,
            Self::Recovery(error) => error.reason(),
            Self::Nonce(NonceError::NoRandomness) => Reason::NotReady,
            Self::Nonce(_) | Self::RateLimited(_) => Reason::RateLimited,
            Self::Issuance(error) => error.reason(),
            Self::Store(_) => Reason::StoreUnavailable,
        }
    }

    /// The status for the caller: reason and decision id, and the retry delay if a rate limit was exceeded.
    pub fn to_status(&self, decision: DecisionId) -> Status {
        let reason = self.reason();
        let mut details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, HashMap::new());
        details.set_request_info(decision.to_string(), "");
        if let Self::RateLimited(limited) = self {
            details.set_retry_info(Some(limited.retry_after));
        }
        let summary = reason.summary();
        let message = format!("{reason}: {summary}; decision {decision}; `avouch explain {decision}`");
        Status::with_error_details(avouch_identity::code(reason), message, details)
    }
}

fn revoked(spiffe_id: &SpiffeId, serial: &str, standing: &StandingRevocation) -> String {
    if standing.of_identity { spiffe_id.to_string() } else { format!("certificate {serial} of {spiffe_id}") }
}

/// The words of whoever made a revocation, if there are any.
fn words(standing: &StandingRevocation) -> String {
    if standing.reason.is_empty() { String::new() } else { format!(": {}", standing.reason) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_authz::layer::DecisionIds;
    use std::time::Duration;
    use tonic::Code;

    #[test]
    fn the_caller_gets_reason_and_decision_and_nothing_else() {
        let id: SpiffeId = "spiffe://market.example/orders".parse().unwrap();
        let decision = DecisionIds::seeded(1).next();
        for (error, reason, code) in [
            (IssueError::NoEntry(id.clone()), Reason::NoMatchingEntry, Code::PermissionDenied),
            (IssueError::TokenInvalid, Reason::JoinTokenInvalid, Code::Unauthenticated),
            (IssueError::TokenExpired, Reason::JoinTokenExpired, Code::Unauthenticated),
            (
                IssueError::TokenAlreadyUsed { spiffe_id: id.clone() },
                Reason::JoinTokenAlreadyUsed,
                Code::Unauthenticated,
            ),
            (
                IssueError::PresentedExpired { spiffe_id: id.clone(), serial: "0f".to_owned() },
                Reason::CertExpired,
                Code::Unauthenticated,
            ),
            (
                IssueError::PresentedNotYetValid { spiffe_id: id.clone(), serial: "0f".to_owned() },
                Reason::CertNotYetValid,
                Code::Unauthenticated,
            ),
            (IssueError::Csr(CsrError::NotDer), Reason::CsrInvalid, Code::InvalidArgument),
            (IssueError::Store(StoreError::Stopped), Reason::StoreUnavailable, Code::Unavailable),
            (IssueError::Recovery(RecoveryError::Proof), Reason::CertSignatureInvalid, Code::Unauthenticated),
        ] {
            let status = error.to_status(decision);
            assert_eq!((avouch_identity::reason(&status), status.code()), (Some(reason), code), "{error}");
            assert_eq!(status.get_details_request_info().unwrap().request_id, decision.to_string());
            assert!(!status.message().contains("orders"), "{}", status.message());
            let command = format!("`avouch explain {decision}`");
            assert!(status.message().ends_with(&command), "{}", status.message());
        }
    }

    #[test]
    fn who_was_too_fast_hears_when_to_come_back() {
        let limited = RateLimited { retry_after: Duration::from_millis(250) };
        let status = IssueError::from(limited).to_status(DecisionIds::seeded(1).next());
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(limited.retry_after));
    }
}
