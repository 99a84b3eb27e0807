//! What is wrong with certificates, or could be better: one finding a line.
//!
//! An error breaks a MUST of RFC 5280 or of the SPIFFE standards, or is refused by avouch's own verifier; a warning breaks
//! a SHOULD, or is likely to hurt; a notice is worth knowing. Judges certificates and how they stand to one another, never
//! whom they belong to, whom to trust, nor the moment: what has ended is a warning.

mod certificate;
mod chain;
mod finding;
mod verifier;

use std::time::SystemTime;

pub(crate) use finding::{CertificateRef, Finding, LintedFile, Severity};

/// Every finding, the worst first within a certificate.
pub(crate) fn lint(files: &[LintedFile], now: SystemTime) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files {
        let mut of_file = Vec::new();
        for (at, der) in file.certificates.iter().enumerate() {
            let certificate = CertificateRef { file: file.name.clone(), number: at + 1 };
            of_file.extend(certificate::lint(der, &certificate, now));
        }
        if !file.is_bundle {
            of_file.extend(chain::lint(file, now));
            // The verifier has the last word, unless it has been said already why it refuses.
            if !of_file.iter().any(verifier::explains) {
                of_file.extend(verifier::finding(file, now));
            }
        }
        found.extend(of_file);
    }
    found.extend(chain::shared(files));
    found.sort_by_key(|finding| {
        let file = files.iter().position(|file| file.name == finding.certificate.file);
        (file, finding.certificate.number, std::cmp::Reverse(finding.severity))
    });
    found
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
