//! What a certificate says, and how it stands to the SPIFFE standard, item by item.
//!
//! The verdict is that of the parsers every verifier of ours uses (`Leaf`, `Authority`); the items say where it comes
//! from. An item that the list lacks shows up as the parser's own words, so nothing that fails can look fine.
//!
//! Not checked of a single certificate: its signature, the path to a root, the trust domain. A chain is checked as one
//! (`chain`), and against a bundle if there is one.

mod bundle;
mod chain;
mod checks;
mod document;
mod request;
mod signature;

pub(crate) use bundle::{BundleInspection, inspect as inspect_bundle};
pub(crate) use chain::{against, checks as chain_checks, order_problem};
pub(crate) use checks::Check;
pub(crate) use document::{Document, Unreadable};
pub(crate) use request::{RequestInspection, inspect as inspect_request};

use crate::{output, timespan};
use avouch_spiffe::x509::Facts;
use avouch_text::{shorten, shorten_to};
use serde_json::{Value, json};
use std::time::SystemTime;

/// One certificate, looked into.
pub(crate) struct Inspection {
    facts: Result<Facts, String>,
    kind: &'static str,
    checks: Vec<Check>,
}

/// Looks into a DER certificate.
pub(crate) fn inspect(der: &[u8]) -> Inspection {
    match Facts::parse_any_version(der) {
        Ok(facts) if facts.version != 3 => Inspection {
            checks: checks::older(der),
            facts: Ok(facts),
            kind: "certificate without extensions",
        },
        Ok(facts) if facts.ca => {
            Inspection { checks: checks::authority(der), facts: Ok(facts), kind: "signing certificate" }
        }
        Ok(facts) => Inspection { checks: checks::leaf(der), facts: Ok(facts), kind: "X.509-SVID" },
        Err(error) => {
            Inspection { facts: Err(error.to_string()), kind: "no certificate", checks: Vec::new() }
        }
    }
}

impl Inspection {
    /// Whether every check holds.
    pub(crate) fn passes(&self) -> bool {
        self.facts.is_ok() && self.checks.iter().all(|check| check.failure.is_none())
    }

    /// One line for people.
    pub(crate) fn to_line(&self, now: SystemTime) -> String {
        match &self.facts {
            Ok(facts) => {
                let name = shorten(facts.uris.first().unwrap_or(&facts.subject));
                let (kind, serial, issuer) = (self.kind, &facts.serial, shorten(&facts.issuer));
                format!("{kind} {name}, serial {serial}, issued by {issuer}, {}", validity(facts, now))
            }
            Err(error) => format!("not readable: {error}"),
        }
    }

    /// The items.
    pub(crate) fn into_checks(self) -> Vec<Check> {
        self.checks
    }

    /// What the certificate says, if it says anything.
    pub(crate) fn into_facts(self) -> Option<Facts> {
        self.facts.ok()
    }

    /// The items that do not hold.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.failure.is_some())
    }

    /// What the certificate says, or why it says nothing.
    pub(crate) fn facts(&self) -> Result<&Facts, &str> {
        self.facts.as_ref().map_err(String::as_str)
    }

    /// Items, one line each.
    pub(crate) fn checks_to_text(checks: &[Check]) -> String {
        let mut text = "  checks\n".to_owned();
        let clauses = checks.iter().map(|check| check.clause.len()).max().unwrap_or(0);
        for check in checks {
            let (mark, words) = match &check.failure {
                None => ("ok  ", check.demand.to_owned()),
                Some(found) => {
                    ("FAIL", format!("{}: {}", check.demand, shorten_to(found, output::LONGEST_TEXT)))
                }
            };
            text.push_str(&format!("    {mark}  {:clauses$}  {words}\n", check.clause));
        }
        text
    }

    /// Items for programs.
    pub(crate) fn checks_to_json(checks: &[Check]) -> Value {
        let all = checks.iter().map(|check| {
            json!({
                "id": check.id, "clause": check.clause, "demand": check.demand,
                "ok": check.failure.is_none(), "found": check.failure,
            })
        });
        Value::from(all.collect::<Vec<_>>())
    }

    /// For people.
    pub(crate) fn to_text(&self, number: usize, of: usize, now: SystemTime) -> String {
        let facts = match &self.facts {
            Ok(facts) => facts,
            Err(error) => return format!("certificate {number} of {of}: not readable: {error}\n"),
        };
        let name = shorten(facts.uris.first().unwrap_or(&facts.subject));
        let mut text = format!("certificate {number} of {of}: {} {name}\n", self.kind);
        text.push_str(&output::fields(2, &rows(facts, now)));
        text.push_str(&Self::checks_to_text(&self.checks));
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self, now: SystemTime) -> Value {
        let checks = Self::checks_to_json(&self.checks);
        let mut value = json!({ "kind": self.kind, "ok": self.passes(), "checks": checks });
        let facts = match &self.facts {
            Ok(facts) => json!({
                "version": facts.version, "subject": facts.subject, "issuer": facts.issuer, "serial": facts.serial,
                "not_before": timespan::rfc3339(facts.not_before),
                "not_after": timespan::rfc3339(facts.not_after),
                "state": validity(facts, now),
                "uris": facts.uris, "dns_names": facts.dns, "ip_addresses": facts.ips, "ca": facts.ca,
                "key_usage": facts.key_usage, "extended_key_usage": facts.extended_key_usage,
                "key": key(facts), "sha256": facts.sha256,
                "subject_key_id": facts.subject_key_id, "authority_key_id": facts.authority_key_id,
            }),
            Err(error) => json!({ "error": error }),
        };
        if let (Some(value), Value::Object(facts)) = (value.as_object_mut(), facts) {
            value.extend(facts);
        }
        value
    }
}

fn rows(facts: &Facts, now: SystemTime) -> Vec<(&'static str, String)> {
    let dates = format!(
        "{} to {} ({})",
        timespan::rfc3339(facts.not_before),
        timespan::rfc3339(facts.not_after),
        validity(facts, now)
    );
    let or_none = |text: String| if text.is_empty() { "(none)".to_owned() } else { text };
    let mut rows = vec![
        ("version", facts.version.to_string()),
        ("subject", or_none(facts.subject.clone())),
        ("issuer", or_none(facts.issuer.clone())),
        ("serial", facts.serial.clone()),
        ("valid", dates),
        ("key", key(facts)),
        ("URI names", or_none(facts.uris.join(" "))),
    ];
    if !facts.dns.is_empty() {
        rows.push(("DNS names", facts.dns.join(" ")));
    }
    if !facts.ips.is_empty() {
        rows.push(("IP names", facts.ips.join(" ")));
    }
    rows.push(("key usage", or_none(facts.key_usage.join(", "))));
    if !facts.extended_key_usage.is_empty() {
        rows.push(("extended", facts.extended_key_usage.join(", ")));
    }
    rows.push(("sha256", facts.sha256.clone()));
    rows
}

fn key(facts: &Facts) -> String {
    match facts.key_bits {
        Some(bits) if !facts.key_algorithm.contains(&bits.to_string()) => {
            format!("{}, {bits} bits", facts.key_algorithm)
        }
        _ => facts.key_algorithm.clone(),
    }
}

fn validity(facts: &Facts, now: SystemTime) -> String {
    if now < facts.not_before {
        format!("not valid yet; starts {}", timespan::relative(facts.not_before, now))
    } else if now > facts.not_after {
        format!("expired {}", timespan::relative(facts.not_after, now))
    } else {
        format!("ends {}", timespan::relative(facts.not_after, now))
    }
}

#[cfg(test)]
mod tests;
