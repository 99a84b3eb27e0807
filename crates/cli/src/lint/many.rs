//! What is wrong with how certificates stand to one another.

use super::{Finding, Place, Severity, Sheet, verifier};
use crate::inspect;
use avouch_spiffe::x509::Facts;
use std::time::SystemTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The items of a chain that do not hold, said of its first certificate.
pub(super) fn chain(sheet: &Sheet, now: SystemTime) -> Vec<Finding> {
    let items = inspect::chain_checks(&sheet.certificates, now);
    let accepted = || verifier::verdict(&sheet.certificates, now).is_some_and(|verdict| verdict.is_ok());
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
        let place = Place { file: sheet.file.clone(), number: 1 };
        Some(Finding { severity, id: check.id, clause: check.clause, message, place })
    });
    failed.collect()
}

struct Known {
    place: Place,
    facts: Facts,
    spki: Vec<u8>,
}

/// What only shows with several certificates, of whatever files.
pub(super) fn all(sheets: &[Sheet]) -> Vec<Finding> {
    let mut known: Vec<Known> = Vec::new();
    let mut found = Vec::new();
    for sheet in sheets {
        for (at, der) in sheet.certificates.iter().enumerate() {
            let place = Place { file: sheet.file.clone(), number: at + 1 };
            let Some(this) = Known::of(der, place) else { continue };
            // The same certificate in two files is no second one.
            if known.iter().any(|other| other.facts.sha256 == this.facts.sha256) {
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
    fn of(der: &[u8], place: Place) -> Option<Self> {
        let facts = Facts::parse_any_version(der).ok()?;
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self { place, facts, spki: certificate.tbs_certificate.subject_pki.raw.to_vec() })
    }

    fn owner(&self) -> (&[u8], &[String]) {
        (&self.facts.subject_der, &self.facts.uris)
    }
}

fn same_key(this: &Known, other: &Known) -> Option<Finding> {
    if this.spki != other.spki {
        return None;
    }
    let (severity, message) = match (this.facts.ca, other.facts.ca) {
        (true, true) if this.facts.subject_der == other.facts.subject_der => return None, // a cross-signed CA
        (a, b) if a != b => {
            (Severity::Error, format!("a CA and a workload share one key, with {}", other.place))
        }
        _ if this.owner() == other.owner() => (
            Severity::Notice,
            format!("the key is the same as before, in {}; a renewal should change it", other.place),
        ),
        _ => (Severity::Error, format!("it shares its key with somebody else, {}", other.place)),
    };
    let (id, clause, place) = ("AV-071", "NIST SP 800-57 5.2", this.place.clone());
    Some(Finding { severity, id, clause, message, place })
}

fn same_serial(this: &Known, other: &Known) -> Option<Finding> {
    let same = this.facts.serial == other.facts.serial && this.facts.issuer_der == other.facts.issuer_der;
    same.then(|| Finding {
        severity: Severity::Error,
        id: "AV-072",
        clause: "RFC 5280 4.1.2.2",
        message: format!("its issuer used its serial before, for {}", other.place),
        place: this.place.clone(),
    })
}
