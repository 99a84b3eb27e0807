//! What becomes of a refusal: one record for the operator with everything in it, and one answer for the caller with
//! as much as the caller may know.

use std::collections::HashMap;

use avouch_spiffe::{Code, ERROR_DOMAIN, Reason, TrustDomain};
use http::Response;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use crate::denial::Denial;
use crate::layer::{DecisionId, Refusal};

/// How much a caller is told about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosure {
    /// A foreign trust domain: the decision's id alone.
    Id,
    /// The own trust domain, and callers without an identity: the reason, and the roles needed and held.
    Reason,
    /// Holders of the debug role and the local administrator: also where the policy says so.
    Rules,
}

impl Disclosure {
    /// What the caller that `denial` is about may know of a server in `trust_domain`.
    #[must_use]
    pub fn of(denial: &Denial, trust_domain: &TrustDomain) -> Self {
        match denial.peer() {
            Some(peer) if peer.trust_domain() != trust_domain => Self::Id,
            Some(_) if denial.holds_debug_role() => Self::Rules,
            Some(_) => Self::Reason,
            None if denial.is_local_admin() => Self::Rules,
            None => Self::Reason,
        }
    }
}

/// What became of a call that the policy does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verdict {
    Refused,
    Audited,
}

/// The one line in the log, and how many of the kind were not written since the last.
pub(super) fn record(
    refusal: &Refusal<'_>,
    verdict: Verdict,
    connection_id: Option<String>,
    suppressed: u64,
) {
    let denial = refusal.denial;
    let (verdict, message) = match verdict {
        Verdict::Refused => ("refused", "call refused"),
        Verdict::Audited => ("audited", "call let through in audit mode"),
    };
    let detail = denial.detail();
    tracing::warn!(
        decision_id = %refusal.decision_id,
        connection_id,
        peer = denial.who(),
        method = denial.path(),
        verdict,
        reason = denial.reason().as_str(),
        need = denial.need().join(","),
        have = denial.have().join(","),
        detail = (!detail.is_empty()).then_some(detail),
        rule = denial.rule_text(),
        policy = denial.place().map(tracing::field::display),
        audit = denial.audit_place().map(tracing::field::display),
        policy_version = denial.policy_version(),
        help = format!("`avouch explain {}`; {}", refusal.decision_id, denial.help()),
        suppressed = (suppressed > 0).then_some(suppressed),
        "{message}"
    );
}

/// A trailers-only response: status and details in the headers, no body.
pub(super) fn response<R: Default>(refusal: &Refusal<'_>, trust_domain: &TrustDomain) -> Response<R> {
    let disclosure = Disclosure::of(refusal.denial, trust_domain);
    let mut response = answer(refusal, disclosure).into_http();
    response.extensions_mut().insert(refusal.decision_id);
    response
}

fn answer(refusal: &Refusal<'_>, disclosure: Disclosure) -> Status {
    let Refusal { decision_id, denial, .. } = refusal;
    let reason = denial.reason();
    if disclosure == Disclosure::Id {
        let mut details = ErrorDetails::new();
        details.set_request_info(decision_id.to_string(), "");
        return Status::with_error_details(code(reason), format!("refused; decision {decision_id}"), details);
    }
    let mut message = format!("{reason}: {}", reason.summary());
    let mut metadata = HashMap::from([("method".to_owned(), denial.path().to_owned())]);
    if reason == Reason::RoleMissing {
        let (need, have) = (denial.need().join(", "), denial.have().join(", "));
        message += &format!(" (needs one of [{need}], has [{have}])");
        metadata.insert("need".to_owned(), denial.need().join(","));
        metadata.insert("have".to_owned(), denial.have().join(","));
    }
    // The command that shows the record, to be run by whoever may ask this process.
    message += &format!("; decision {decision_id}; `avouch explain {decision_id}`");
    if disclosure == Disclosure::Rules {
        metadata.insert("rule".to_owned(), denial.rule_text());
        if let Some(place) = denial.place() {
            metadata.insert("policy".to_owned(), place.to_string());
        }
        let detail = denial.detail();
        if !detail.is_empty() {
            metadata.insert("detail".to_owned(), detail);
        }
        if let Some(version) = denial.policy_version() {
            metadata.insert("policy_version".to_owned(), version.to_owned());
        }
    }
    status(reason, message, metadata, Some(*decision_id))
}

/// A status with its reason, and with its decision's id where there was a decision.
pub(super) fn status(
    reason: Reason,
    message: String,
    metadata: HashMap<String, String>,
    decision_id: Option<DecisionId>,
) -> Status {
    let mut details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, metadata);
    if let Some(id) = decision_id {
        details.set_request_info(id.to_string(), "");
    }
    Status::with_error_details(code(reason), message, details)
}

/// Fails closed on a code that is not of this crate's making.
fn code(reason: Reason) -> tonic::Code {
    match reason.code() {
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::PermissionDenied | Code::InvalidArgument | Code::ResourceExhausted => {
            tonic::Code::PermissionDenied
        }
    }
}
