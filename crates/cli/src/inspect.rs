//! What a certificate says, and how it stands to the SPIFFE standard, item by item.
//!
//! The verdict is that of the parsers every verifier of ours uses (`Leaf`, `Authority`); the items say where it comes
//! from. What a parser refuses is a failed check even if no item of the list fails.
//!
//! Not checked of a single certificate: its signature, the path to a root, the trust domain. A chain is checked as one
//! (`chain`), and against a bundle if there is one.

mod bundle;
mod certificate;
mod chain;
mod checks;
mod document;
mod request;
mod signature;

pub(crate) use bundle::{BundleInspection, inspect as inspect_bundle};
pub(crate) use certificate::{Inspection, inspect};
pub(crate) use chain::{against, checks as chain_checks, order_problem};
pub(crate) use checks::{Check, to_json as checks_to_json, to_text as checks_to_text};
pub(crate) use document::{Document, Unreadable};
pub(crate) use request::{RequestInspection, inspect as inspect_request};

#[cfg(test)]
mod tests;
