//! What is wrong with how certificates stand to one another.

use super::finding::{CertificateRef, Finding, LintedFile, Severity};
use super::verifier;
use crate::inspect;
use avouch_spiffe::x509::CertificateInfo;
use std::time::SystemTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The items of a chain that do not hold, said of its first certificate.
pub(super) fn lint(file: &LintedFile, now: SystemTime) -> Vec<Finding> {
    let items = inspect::chain_checks(&file.certificates, now);
    let accepted = || verifier::verdict(&file.certificates, now).is_some_and(|verdict| verdict.is_ok());
    let failed = items.into_iter().filter_map(|check| {
        let found = check.failure?;
        let severity = match check.id {
            "AV-034" => return None, // said of the certificate itself
            "AV-032" | "AV-036" => Severity::Warning,
            // Each is in the chain, in an order that the verifier mends (RFC 8446 4.4.2: a SHOULD).
            "AV-031" | "AV-033" if accepted() => Severity::Warning,
            _ => Severity::Error,
        };
        let message = format!("in the chain, not so: {}: {found}", check.demand);
        let certificate = CertificateRef { file: file.name.clone(), number: 1 };
        Some(Finding { severity, id: check.id, clause: check.clause, message, certificate })
    });
    failed.collect()
}

/// A certificate that has been looked at.
struct Known {
    at: CertificateRef,
    info: CertificateInfo,
    spki: Vec<u8>,
}

/// Keys and serials that several certificates share, in whatever files they are.
pub(super) fn shared(files: &[LintedFile]) -> Vec<Finding> {
    let mut known: Vec<Known> = Vec::new();
    let mut found = Vec::new();
    for file in files {
        for (at, der) in file.certificates.iter().enumerate() {
            let at = CertificateRef { file: file.name.clone(), number: at + 1 };
            let Some(this) = Known::of(der, at) else { continue };
            // The same certificate in two files is no second one.
            if known.iter().any(|other| other.info.sha256 == this.info.sha256) {
                continue;
            }
            for other in &known {
                found.extend(same_key(&this, other));
                found.extend(same_serial(&this, other));
            }
            known.push(this);
        }
    }
    found
}

impl Known {
    fn of(der: &[u8], at: CertificateRef) -> Option<Self> {
        let info = CertificateInfo::parse_any_version(der).ok()?;
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self { at, info, spki: certificate.tbs_certificate.subject_pki.raw.to_vec() })
    }

    fn owner(&self) -> (&[u8], &[String]) {
        (&self.info.subject_der, &self.info.uris)
    }
}

fn same_key(this: &Known, other: &Known) -> Option<Finding> {
    if this.spki != other.spki {
        return None;
    }
    let (severity, message) = match (this.info.ca, other.info.ca) {
        (true, true) if this.info.subject_der == other.info.subject_der => return None, // a cross-signed CA
        (a, b) if a != b => {
            (Severity::Error, format!("a CA and a workload share one key, with {}", other.at))
        }
        _ if this.owner() == other.owner() => (
            Severity::Notice,
            format!("the key is the same as before, in {}; a renewal should change it", other.at),
        ),
        _ => (Severity::Error, format!("it shares its key with somebody else, {}", other.at)),
    };
    let (id, clause) = ("AV-071", "NIST SP 800-57 5.2");
    Some(Finding { severity, id, clause, message, certificate: this.at.clone() })
}

fn same_serial(this: &Known, other: &Known) -> Option<Finding> {
    let same = this.info.serial == other.info.serial && this.info.issuer_der == other.info.issuer_der;
    same.then(|| Finding {
        severity: Severity::Error,
        id: "AV-072",
        clause: "RFC 5280 4.1.2.2",
        message: format!("its issuer used its serial before, for {}", other.at),
        certificate: this.at.clone(),
    })
}
