//! The gRPC services: they decode requests and encode answers and statuses. The decisions are made by the modules they
//! call.

mod admin;
mod convert;
mod issuer;
mod pages;

pub(crate) use admin::AdminService;
pub(crate) use issuer::IssuerService;
