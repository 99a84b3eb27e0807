//! Certificate issuance: profile → request → check → sign → re-check.
//!
//! The order is enforced by types: a [`Request`] becomes a [`Checked`] by [`Request::check`] only, a `Checked` is
//! consumed by [`Checked::sign`], and what comes out is an [`Issued`] whose certificate was parsed again and compared
//! with what was asked for. Of a certificate signing request only the public key is ever used, after its proof of
//! possession; identity, life and names come from the caller.
//!
//! Pure and synchronous: no files, no sockets, no clock, no store. Time and randomness are passed in. Nothing is
//! logged here; the issuer writes the audit line.
//!
//! Refused by construction: keys other than P-256 and P-384, SPIFFE IDs of another trust domain, reserved paths for anybody
//! but avouch itself, name constraints. A certificate ends no later than its signing authority: a later end is cut.

mod authority;
mod certificate;
mod crl;
mod csr;
mod dns;
mod entropy;
mod key;
pub mod profile;
mod request;
mod validity;

pub use authority::{CaError, Root, SigningAuthority};
pub use crl::{CrlContent, CrlEntry, CrlReason};
pub use csr::{Csr, CsrError};
pub use dns::{DnsName, DnsNameError};
pub use entropy::{Entropy, EntropyError, SystemEntropy, made_at};
pub use key::{KeyError, PrivateKey};
pub use profile::{ProfileError, Profiles, RootProfile, SigningAuthorityProfile, SvidProfile};
pub use request::{Checked, IssuanceError, Issued, Request};
pub use validity::ValidityError;
