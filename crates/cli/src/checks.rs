//! The checks of a fleet. Each has an id that never changes its meaning.
//!
//! A check judges what a `Fleet` says and asks nobody: the same dump always gets the same verdict. What a process did
//! not say is not judged, so silence never counts as good; [`AV-501`](transport) reports it.

mod catalogue;
mod certificate;
mod check;
mod clock;
mod finding;
mod identity;
mod issuer;
#[cfg(test)]
mod page;
mod policy;
mod records;
mod report;
mod revocation;
mod selection;
mod shares;
mod storage;
mod transport;
mod trust;
mod view;

#[cfg(test)]
mod tests;

pub(crate) use catalogue::{ids, page};
pub(crate) use report::Report;
pub(crate) use selection::Selection;
