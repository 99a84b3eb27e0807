//! What a certificate says, and how it stands to the SPIFFE standard, item by item.
//!
//! The verdict is that of the parsers every verifier of ours uses (`Leaf`, `Authority`); the items say where it comes
//! from. An item that the list lacks shows up as the parser's own words, so nothing that fails can look fine.
//!
//! Not checked here: signatures, the path to a root, the trust domain. Those need a bundle.

mod checks;

use crate::{output, timespan};
use avouch_spiffe::x509::Facts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use checks::Check;
use serde_json::{Value, json};
use std::time::SystemTime;

/// One certificate, looked into.
pub(crate) struct Inspection {
    facts: Result<Facts, String>,
    kind: &'static str,
    checks: Vec<Check>,
}

/// The certificates in a file: all PEM blocks of it, or else the whole as DER.
pub(crate) fn certificates(content: &[u8]) -> Vec<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(content);
    if !text.contains(BEGIN) {
        let looks_like_der = content.first() == Some(&0x30);
        return if looks_like_der { vec![content.to_vec()] } else { Vec::new() };
    }
    text.split(BEGIN)
        .skip(1)
        .filter_map(|block| block.split_once(END))
        .map(|(body, _)| {
            let body: String = body.split_whitespace().collect();
            STANDARD.decode(body).unwrap_or_default() // what does not decode is shown as no certificate
        })
        .collect()
}

/// Looks into a DER certificate.
pub(crate) fn inspect(der: &[u8]) -> Inspection {
    match Facts::parse(der) {
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

    /// For people.
    pub(crate) fn to_text(&self, number: usize, of: usize, now: SystemTime) -> String {
        let facts = match &self.facts {
            Ok(facts) => facts,
            Err(error) => return format!("certificate {number} of {of}: not readable: {error}\n"),
        };
        let name = facts.uris.first().unwrap_or(&facts.subject);
        let mut text = format!("certificate {number} of {of}: {} {name}\n", self.kind);
        text.push_str(&output::fields(2, &rows(facts, now)));
        text.push_str("  checks\n");
        let clauses = self.checks.iter().map(|check| check.clause.len()).max().unwrap_or(0);
        for check in &self.checks {
            let (mark, words) = match &check.failure {
                None => ("ok  ", check.demand.to_owned()),
                Some(found) => ("FAIL", format!("{}: {found}", check.demand)),
            };
            text.push_str(&format!("    {mark}  {:clauses$}  {words}\n", check.clause));
        }
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self, now: SystemTime) -> Value {
        let checks: Vec<_> = self
            .checks
            .iter()
            .map(|check| {
                json!({
                    "id": check.id, "clause": check.clause, "demand": check.demand,
                    "ok": check.failure.is_none(), "found": check.failure,
                })
            })
            .collect();
        let mut value = json!({ "kind": self.kind, "ok": self.passes(), "checks": checks });
        let facts = match &self.facts {
            Ok(facts) => json!({
                "subject": facts.subject, "issuer": facts.issuer, "serial": facts.serial,
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
