//! One conversion from a reason to a gRPC status, and back.
//!
//! Every refusal carries `google.rpc.ErrorInfo` with the reason's word in the domain `avouch`; the dynamic parts
//! are in its metadata.

use std::collections::HashMap;

use avouch_spiffe::{Code, ERROR_DOMAIN, Reason};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

/// A status that carries `reason`, with `metadata` for its particulars.
pub fn status<const N: usize>(
    reason: Reason,
    message: impl Into<String>,
    metadata: [(&str, String); N],
) -> Status {
    with_metadata(reason, message, metadata)
}

/// A status as of [`status`], with any number of metadata.
pub(crate) fn with_metadata<'a>(
    reason: Reason,
    message: impl Into<String>,
    metadata: impl IntoIterator<Item = (&'a str, String)>,
) -> Status {
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, metadata);
    Status::with_error_details(code(reason), message, details)
}

/// The reason a status carries, if it is one of ours.
pub fn reason(status: &Status) -> Option<Reason> {
    let info = status.get_details_error_info()?;
    if info.domain != ERROR_DOMAIN {
        return None;
    }
    info.reason.parse().ok()
}

/// The gRPC code of a reason.
pub fn code(reason: Reason) -> tonic::Code {
    match reason.code() {
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        _ => tonic::Code::Unavailable,
    }
}
