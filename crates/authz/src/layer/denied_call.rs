//! What follows a denied call: one record for the operator with everything in it, and one answer for the caller with as
//! much as the caller may know.

use std::collections::HashMap;

use avouch_spiffe::{Code, ERROR_DOMAIN, Reason, TrustDomain};
use http::Response;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use crate::denial::Denial;
use crate::layer::{DecisionId, DeniedCall};

/// How much a caller is told about the denial of its call (ADR 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosure {
    /// The decision's id alone: for callers of a foreign trust domain.
    Id,
    /// The reason, and the roles needed and held: for callers of the own trust domain, and those without an identity.
    Reason,
    /// Also where the policy says so: for holders of the debug role and the local administrator.
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

/// Whether a call that the policy does not allow was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Enforcement {
    Denied,
    Audited,
}

/// Writes the one line of the log about a denied call. `suppressed` is the number of lines like it that were left out
/// before it.
pub(super) fn record(
    call: &DeniedCall<'_>,
    enforcement: Enforcement,
    connection_id: Option<String>,
    suppressed: u64,
) {
    let denial = call.denial;
    let (verdict, message) = match enforcement {
        Enforcement::Denied => ("refused", "call refused"),
        Enforcement::Audited => ("audited", "call let through in audit mode"),
    };
    let detail = denial.detail();
    tracing::warn!(
        decision_id = %call.decision_id,
        connection_id,
        peer = denial.who(),
        method = denial.path(),
        verdict,
        reason = denial.reason().as_str(),
        need = denial.need().join(","),
        have = denial.have().join(","),
        detail = (!detail.is_empty()).then_some(detail),
        rule = denial.rule_text(),
        policy = denial.location().map(tracing::field::display),
        audit = denial.audit_location().map(tracing::field::display),
        policy_version = denial.policy_version(),
        help = format!("`avouch explain {}`; {}", call.decision_id, denial.help()),
        suppressed = (suppressed > 0).then_some(suppressed),
        "{message}"
    );
}

/// A trailers-only response: status and details in the headers, no body.
pub(super) fn response<R: Default>(call: &DeniedCall<'_>, trust_domain: &TrustDomain) -> Response<R> {
    let disclosure = Disclosure::of(call.denial, trust_domain);
    let mut response = answer(call, disclosure).into_http();
    response.extensions_mut().insert(call.decision_id);
    response
}

fn answer(call: &DeniedCall<'_>, disclosure: Disclosure) -> Status {
    let DeniedCall { decision_id, denial, .. } = call;
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
        if let Some(location) = denial.location() {
            metadata.insert("policy".to_owned(), location.to_string());
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

/// The gRPC code of a reason. A code that no decision has becomes PERMISSION_DENIED: fail closed.
fn code(reason: Reason) -> tonic::Code {
    match reason.code() {
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::PermissionDenied | Code::InvalidArgument | Code::ResourceExhausted => {
            tonic::Code::PermissionDenied
        }
    }
}
