//! One certificate, item by item.

use super::checks::{self, Check};
use crate::output;
use avouch_spiffe::x509::CertificateInfo;
use avouch_text::shorten;
use avouch_time::{relative, rfc3339};
use serde_json::{Value, json};
use std::time::SystemTime;

/// A certificate and the items that were looked at.
pub(crate) struct Inspection {
    info: Result<CertificateInfo, String>,
    pub(super) kind: &'static str,
    pub(super) checks: Vec<Check>,
}

/// Looks into a DER certificate.
pub(crate) fn inspect(der: &[u8]) -> Inspection {
    match CertificateInfo::parse_any_version(der) {
        Ok(info) if info.version != 3 => {
            Inspection { checks: checks::older(der), info: Ok(info), kind: "certificate without extensions" }
        }
        Ok(info) if info.ca => {
            Inspection { checks: checks::authority(der), info: Ok(info), kind: "signing certificate" }
        }
        Ok(info) => Inspection { checks: checks::leaf(der), info: Ok(info), kind: "X.509-SVID" },
        Err(error) => Inspection { info: Err(error.to_string()), kind: "no certificate", checks: Vec::new() },
    }
}

impl Inspection {
    /// Whether every check holds.
    pub(crate) fn passes(&self) -> bool {
        self.info.is_ok() && self.checks.iter().all(|check| check.failure.is_none())
    }

    /// The certificate in a line for people.
    pub(crate) fn to_line(&self, now: SystemTime) -> String {
        match &self.info {
            Ok(info) => {
                let name = shorten(info.uris.first().unwrap_or(&info.subject));
                let (kind, serial, issuer) = (self.kind, &info.serial, shorten(&info.issuer));
                format!("{kind} {name}, serial {serial}, issued by {issuer}, {}", validity(info, now))
            }
            Err(error) => format!("not readable: {error}"),
        }
    }

    /// The items that were looked at.
    pub(crate) fn into_checks(self) -> Vec<Check> {
        self.checks
    }

    /// The certificate's content, if it can be read.
    pub(crate) fn into_info(self) -> Option<CertificateInfo> {
        self.info.ok()
    }

    /// The items that do not hold.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.failure.is_some())
    }

    /// The certificate's content, or why it cannot be read.
    pub(crate) fn info(&self) -> Result<&CertificateInfo, &str> {
        self.info.as_ref().map_err(String::as_str)
    }

    /// For people.
    pub(crate) fn to_text(&self, number: usize, of: usize, now: SystemTime) -> String {
        let info = match &self.info {
            Ok(info) => info,
            Err(error) => return format!("certificate {number} of {of}: not readable: {error}\n"),
        };
        let name = shorten(info.uris.first().unwrap_or(&info.subject));
        let mut text = format!("certificate {number} of {of}: {} {name}\n", self.kind);
        text.push_str(&output::fields(2, &rows(info, now)));
        text.push_str(&checks::to_text(&self.checks));
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self, now: SystemTime) -> Value {
        let checks = checks::to_json(&self.checks);
        let mut value = json!({ "kind": self.kind, "ok": self.passes(), "checks": checks });
        let info = match &self.info {
            Ok(info) => json!({
                "version": info.version, "subject": info.subject, "issuer": info.issuer, "serial": info.serial,
                "not_before": rfc3339(info.not_before),
                "not_after": rfc3339(info.not_after),
                "state": validity(info, now),
                "uris": info.uris, "dns_names": info.dns, "ip_addresses": info.ips, "ca": info.ca,
                "key_usage": info.key_usage, "extended_key_usage": info.extended_key_usage,
                "key": key(info), "sha256": info.sha256,
                "subject_key_id": info.subject_key_id, "authority_key_id": info.authority_key_id,
            }),
            Err(error) => json!({ "error": error }),
        };
        if let (Some(value), Value::Object(info)) = (value.as_object_mut(), info) {
            value.extend(info);
        }
        value
    }
}

fn rows(info: &CertificateInfo, now: SystemTime) -> Vec<(&'static str, String)> {
    let dates =
        format!("{} to {} ({})", rfc3339(info.not_before), rfc3339(info.not_after), validity(info, now));
    let or_none = |text: String| if text.is_empty() { "(none)".to_owned() } else { text };
    let mut rows = vec![
        ("version", info.version.to_string()),
        ("subject", or_none(info.subject.clone())),
        ("issuer", or_none(info.issuer.clone())),
        ("serial", info.serial.clone()),
        ("valid", dates),
        ("key", key(info)),
        ("URI names", or_none(info.uris.join(" "))),
    ];
    if !info.dns.is_empty() {
        rows.push(("DNS names", info.dns.join(" ")));
    }
    if !info.ips.is_empty() {
        rows.push(("IP names", info.ips.join(" ")));
    }
    rows.push(("key usage", or_none(info.key_usage.join(", "))));
    if !info.extended_key_usage.is_empty() {
        rows.push(("extended", info.extended_key_usage.join(", ")));
    }
    rows.push(("sha256", info.sha256.clone()));
    rows
}

fn key(info: &CertificateInfo) -> String {
    match info.key_bits {
        Some(bits) if !info.key_algorithm.contains(&bits.to_string()) => {
            format!("{}, {bits} bits", info.key_algorithm)
        }
        _ => info.key_algorithm.clone(),
    }
}

fn validity(info: &CertificateInfo, now: SystemTime) -> String {
    if now < info.not_before {
        format!("not valid yet; starts {}", relative(info.not_before, now))
    } else if now > info.not_after {
        format!("expired {}", relative(info.not_after, now))
    } else {
        format!("ends {}", relative(info.not_after, now))
    }
}
