//! Checks that webpki leaves out, made on each path that it finds: every authority on it must be allowed to sign.
//!
//! - Specification: X509-SVID §3.1 (the ID of a signing certificate has no path), §4.3 (keyCertSign, critical, in every
//!   signing certificate); RFC 5280 §4.1.2.2 (serial numbers), §4.2.1.9 (path length), §6.1.
//! - Enforced here: the root's dates and path length, which webpki's anchors do not carry, and every check on an
//!   authority for each intermediate *of the path*. Other presented certificates are ignored.
//! - Not enforced: an extended key usage of the root, which is no input of path validation (RFC 5280 §6.1.1).

use std::time::SystemTime;

use avouch_spiffe::Reason;
use avouch_spiffe::x509::Authority;
use avouch_text::with_causes;
use rustls::pki_types::CertificateDer;
use webpki::VerifiedPath;

use super::rejection::{Rejection, position};
use crate::time_text::apart;
use crate::trust::Anchors;

/// The authorities of a verified path; identifiers are lower-case hexadecimal.
#[derive(Default)]
pub(super) struct PathAuthorities {
    /// The key identifier of the authority that signed the leaf.
    pub(super) issuer_key_id: Option<String>,
    /// Those of the intermediate authorities above it.
    pub(super) upper_key_ids: Vec<String>,
    /// SHA-256 of the root's certificate.
    pub(super) root_sha256: [u8; 32],
}

/// Checks a candidate path; after a rejection webpki tries the next one. Gives the authorities of the path.
pub(super) fn check(
    path: &VerifiedPath<'_>,
    anchors: &Anchors,
    presented: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<PathAuthorities, Rejection> {
    let root = anchors.root_of(path.anchor()).ok_or_else(|| {
        Rejection::new(Reason::CertUntrusted, "the path ends in a trust anchor of no known root")
    })?;
    check_dates(root, now)?;
    let mut below: u32 = 0;
    let mut authorities = PathAuthorities {
        issuer_key_id: root.key_id().map(str::to_owned),
        upper_key_ids: Vec::new(),
        root_sha256: root.sha256(),
    };
    for certificate in path.intermediate_certificates() {
        let der = certificate.der();
        let authority = Authority::parse(&der).map_err(|error| {
            let at = presented.iter().position(|presented| *presented == der).map_or(0, |at| at + 1);
            Rejection::new(error.reason(), format!("{}: {}", position(at), with_causes(&error)))
        })?;
        // The first of the path is the one that signed the leaf.
        if below == 0 {
            authorities.issuer_key_id = authority.key_id().map(str::to_owned);
        } else {
            authorities.upper_key_ids.extend(authority.key_id().map(str::to_owned));
        }
        below += 1;
    }
    match root.path_len() {
        Some(allowed) if below > allowed => Err(Rejection::new(
            Reason::CertUntrusted,
            format!(
                "trust anchor ({}) has the path length {allowed}, and {below} authorities are below it",
                root.subject()
            ),
        )),
        _ => Ok(authorities),
    }
}

fn check_dates(root: &Authority, now: SystemTime) -> Result<(), Rejection> {
    if now > root.not_after() {
        let ago = apart(root.not_after(), now);
        let detail = format!("trust anchor ({}) expired {ago} ago by this machine's clock", root.subject());
        return Err(Rejection::new(Reason::CertExpired, detail));
    }
    if now < root.not_before() {
        let wait = apart(now, root.not_before());
        let detail =
            format!("trust anchor ({}) becomes valid in {wait} by this machine's clock", root.subject());
        return Err(Rejection::new(Reason::CertNotYetValid, detail));
    }
    Ok(())
}
