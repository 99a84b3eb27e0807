//! What the verifier of every connection refuses, where no other finding says so.
//!
//! A single certificate is judged by what the verifier asks of it alone, a chain by the verifier itself, which takes the
//! authority at the chain's top for trusted and chooses a moment at which all of the chain is valid: whom to trust and
//! when is not the chain's to say.

use super::finding::{CertificateRef, Finding, Lint, LintedFile, Severity};
use avouch_identity::{ChainLimits, IdentityFilter, TrustStore, crypto_provider};
use avouch_spiffe::x509::{CertificateInfo, Leaf};
use avouch_spiffe::{Bundle, BundleSet, TrustDomain};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use std::time::SystemTime;
use x509_parser::asn1_rs::Any;
use x509_parser::extensions::{GeneralName, GeneralSubtree};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The longest path length that the path validator reads.
const MAX_PATH_LENGTH: u32 = 255;

impl Lint<'_> {
    /// The demands of the verifier on any certificate of a chain, beyond what makes it a leaf or an authority.
    pub(super) fn verifier(&mut self, der: &[u8], info: &CertificateInfo) {
        let limit = ChainLimits::default().max_certificate_bytes;
        if der.len() > limit {
            let message = format!("it has {} bytes, and a listener takes {limit}", der.len());
            self.error("AV-073", "avouch", message);
        }
        if let Some(length) = info.path_len.filter(|length| *length > MAX_PATH_LENGTH) {
            let message = format!("the path length {length} cannot be read; leave it out, it limits nothing");
            self.error("AV-074", "avouch", message);
        }
        if !has_weak_signature(info) && !is_signed_acceptably(der) {
            let message = format!("it is signed with {}, which is not accepted", info.signature_algorithm);
            self.error("AV-069", "avouch", message);
        }
        if info.ca {
            self.constraints(der);
        }
        // The path validator has a parser of its own, which is stricter here and there.
        let certificate = CertificateDer::from_slice(der);
        if let Err(error) = ParsedCertificate::try_from(&certificate)
            && !self.has_error()
        {
            self.error("AV-000", "RFC 5280 4.1", format!("the path validator cannot read it: {error}"));
        }
    }

    /// Constraints that refuse every SVID below.
    fn constraints(&mut self, der: &[u8]) {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return };
        let Ok(Some(constraints)) = certificate.name_constraints() else { return };
        let subtrees = [&constraints.value.permitted_subtrees, &constraints.value.excluded_subtrees];
        let bases = || subtrees.into_iter().flatten().flatten().map(|GeneralSubtree { base }| base);
        let mut refuse = |kind: &str| {
            let message = format!("it constrains {kind}, so that no SVID below it is accepted");
            self.error("AV-070", "RFC 5280 4.2.1.10", message);
        };
        if bases().any(|base| matches!(base, GeneralName::URI(_))) {
            refuse("URIs");
        }
        if bases().any(|base| matches!(base, GeneralName::DirectoryName(_))) {
            refuse("directory names");
        }
    }
}

/// Whether it is signed with MD5 or SHA-1, of which [AV-065](super::certificate) tells.
pub(super) fn has_weak_signature(info: &CertificateInfo) -> bool {
    weak_digest(&info.signature_algorithm).is_some()
}

/// The digest of a signature that can be forged.
pub(super) fn weak_digest(signature_algorithm: &str) -> Option<&'static str> {
    match signature_algorithm {
        "1.2.840.113549.1.1.4" => Some("MD5"),
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => Some("SHA-1"),
        _ => None,
    }
}

fn is_signed_acceptably(der: &[u8]) -> bool {
    let algorithm = || {
        let (_, whole) = Any::from_der(der).ok()?;
        let (rest, _) = Any::from_der(whole.data).ok()?;
        Some(Any::from_der(rest).ok()?.1.data)
    };
    let accepted = crypto_provider().signature_verification_algorithms.all;
    algorithm().is_none_or(|found| accepted.iter().any(|it| it.signature_alg_id().as_ref() == found))
}

/// The verifier's verdict on a chain, leaf first; `None` where it cannot be asked: a chain of one, or one without an
/// SVID, an authority or a moment at which all of it is valid.
pub(super) fn verdict(certificates: &[Vec<u8>], now: SystemTime) -> Option<Result<(), String>> {
    let (leaf, above) = certificates.split_first().filter(|(_, above)| !above.is_empty())?;
    let domain = Leaf::parse(leaf).ok()?.spiffe_id().trust_domain().clone();
    let info: Vec<_> =
        certificates.iter().map(|der| CertificateInfo::parse(der).ok()).collect::<Option<_>>()?;
    let top = top(&info)?;
    let trust = trust(domain, above.get(top.checked_sub(1)?)?)?;
    let at = moment(&info, now)?;
    let presented = certificates.iter().enumerate().filter(|(place, _)| *place != top);
    let chain: Vec<_> = presented.map(|(_, der)| CertificateDer::from_slice(der)).collect();
    let as_client = trust.verify(&chain, None, at);
    let as_server = || trust.verify_server(&chain, &IdentityFilter::any_trusted(), at);
    Some(as_client.and_then(|_| as_server()).map(|_| ()).map_err(|rejection| rejection.to_string()))
}

/// Violations of RFC 5280 and related standards that the verifier does not check.
const OVERLOOKED: [&str; 9] =
    ["AV-051", "AV-052", "AV-053", "AV-056", "AV-057", "AV-059", "AV-060", "AV-064", "AV-068"];

/// Whether a finding says why the verifier refuses a chain.
pub(super) fn explains(finding: &Finding) -> bool {
    finding.severity == Severity::Error && !OVERLOOKED.contains(&finding.id)
}

/// The finding for a chain that only the verifier has something against.
pub(super) fn finding(file: &LintedFile, now: SystemTime) -> Option<Finding> {
    let refusal = verdict(&file.certificates, now)?.err()?;
    Some(Finding {
        severity: Severity::Error,
        id: "AV-000",
        clause: "X509-SVID 5.1",
        message: format!("in the chain, not so: accepted by the verifier: {refusal}"),
        certificate: CertificateRef { file: file.name.clone(), number: 1 },
    })
}

/// The place of the authority that nobody else in the chain signed: the last one that is its own issuer, or whose issuer
/// is not there.
fn top(info: &[CertificateInfo]) -> Option<usize> {
    let is_there = |name: &[u8]| info.iter().any(|it| it.subject_der == name);
    info.iter()
        .rposition(|it| it.ca && (it.issuer_der == it.subject_der || !is_there(&it.issuer_der)))
        .filter(|top| *top > 0)
}

fn trust(domain: TrustDomain, root: &[u8]) -> Option<TrustStore> {
    let bundle = Bundle::from_ders(domain, &[root], 1).ok()?;
    Some(TrustStore::new(BundleSet::from_iter([bundle])))
}

/// The moment to judge at: now, if all are valid now; else the first moment at which all are.
fn moment(info: &[CertificateInfo], now: SystemTime) -> Option<SystemTime> {
    let begin = info.iter().map(|it| it.not_before).max()?;
    let end = info.iter().map(|it| it.not_after).min()?;
    (begin <= end).then(|| now.clamp(begin, end))
}
