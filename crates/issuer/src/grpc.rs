//! The gRPC border: requests in, answers and statuses out. Decides nothing by itself.

mod admin;
mod convert;
mod issuer;
mod watch;

pub(crate) use admin::AdminService;
pub(crate) use issuer::IssuerService;
