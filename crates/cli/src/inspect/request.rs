//! A certificate signing request, and how it stands to what the issuer demands, item by item.
//!
//! The issuer reads the key, the proof that its owner asked, and a URI if there is one: whatever else a request asks
//! for, it neither reads nor issues, and that is said here.

use super::checks::{self, Check, check, unless};
use crate::output;
use avouch_spiffe::SpiffeId;
use avouch_spiffe::x509::{CertificateRequest, KeyAlgorithm, MAX_CSR_BYTES, RequestedNames, RequestedOther};
use serde_json::{Value, json};

/// A request and the items that were looked at.
pub(crate) struct RequestInspection {
    content: Option<Content>,
    checks: Vec<Check>,
}

/// The content of a request, as it is shown.
struct Content {
    subject: String,
    key: String,
    signature: &'static str,
    uris: Vec<String>,
    ignored: Vec<String>,
}

/// Looks into a DER request.
pub(crate) fn inspect(der: &[u8]) -> RequestInspection {
    let size = unless(der.len() <= MAX_CSR_BYTES, &format!("{} bytes", der.len()));
    let mut checks = vec![check("AV-041", "avouch", "at most 16 KiB", size)];
    let Ok(request) = CertificateRequest::parse(der) else {
        let found = Some("it is none".to_owned());
        checks.push(check("AV-042", "RFC 2986 4", "the DER of a PKCS#10 request", found));
        return RequestInspection { content: None, checks };
    };
    let content = Content::of(&request);
    checks.extend(demands(&request, &content.key));
    RequestInspection { content: Some(content), checks }
}

/// The issuer's demands on a request that can be parsed.
fn demands(request: &CertificateRequest, key: &str) -> Vec<Check> {
    let issued = matches!(request.key_algorithm(), Ok(KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384));
    let uris = request.names().map(|names| names.uris.as_slice()).unwrap_or_default();
    let not_id = uris.iter().find_map(|uri| uri.parse::<SpiffeId>().err().map(|error| error.to_string()));
    vec![
        check(
            "AV-042",
            "RFC 2986 4",
            "the DER of a PKCS#10 request",
            unless(request.is_exact(), "there is more behind it"),
        ),
        check("AV-043", "RFC 2986 4", "version 1", unless(request.version() == 1, "another")),
        check("AV-044", "avouch", "a key of ECDSA P-256 or P-384", unless(issued, key)),
        check(
            "AV-045",
            "avouch",
            "signed by ECDSA with SHA-256, 384 or 512",
            unless(request.signature_name().is_some(), "another"),
        ),
        check(
            "AV-046",
            "RFC 2986 4.2",
            "proof of possession: signed by its own key",
            request.verify_possession().err().map(|error| error.to_string()),
        ),
        check(
            "AV-047",
            "RFC 5280 4.2.1.6",
            "the names it asks for are readable",
            request.names().err().map(|error| error.to_string()),
        ),
        check(
            "AV-048",
            "X509-SVID 2",
            "at most one URI",
            unless(uris.len() <= 1, &format!("{} of them", uris.len())),
        ),
        check("AV-049", "SPIFFE-ID 2", "the URI, if any, is a SPIFFE ID", not_id),
    ]
}

impl Content {
    fn of(request: &CertificateRequest) -> Self {
        let none = RequestedNames::default();
        let names = request.names().unwrap_or(&none);
        // A stranger chose them, and they may end up on a terminal.
        let shown = |text: &String| text.escape_debug().to_string();
        Self {
            subject: request.subject().to_owned(),
            key: request.key_algorithm().map_or_else(|refused| refused.algorithm, |key| key.to_string()),
            signature: request.signature_name().unwrap_or("another algorithm"),
            uris: names.uris.iter().map(shown).collect(),
            ignored: names.others.iter().map(ignored).collect(),
        }
    }
}

/// The words for something that the issuer neither reads nor issues.
fn ignored(asked: &RequestedOther) -> String {
    match asked {
        RequestedOther::DnsName(name) => format!("DNS name {}", name.escape_debug()),
        RequestedOther::Ca(ca) => format!("cA = {ca}"),
        RequestedOther::Extension(oid) => format!("extension {oid}"),
        _ => "a name of another kind".to_owned(),
    }
}

impl RequestInspection {
    /// Whether the issuer would read it.
    pub(crate) fn passes(&self) -> bool {
        self.checks.iter().all(|check| check.failure.is_none())
    }

    /// For people.
    pub(crate) fn to_text(&self, number: usize, of: usize) -> String {
        let mut text = format!("certificate signing request {number} of {of}\n");
        if let Some(content) = &self.content {
            let or_none = |text: String| if text.is_empty() { "(none)".to_owned() } else { text };
            let ignored = match content.ignored.is_empty() {
                true => String::new(),
                false => format!("{} (the issuer does not read them)", content.ignored.join(", ")),
            };
            text.push_str(&output::fields(
                2,
                &[
                    ("subject", or_none(content.subject.clone())),
                    ("key", content.key.clone()),
                    ("signed by", content.signature.to_owned()),
                    ("URI names", or_none(content.uris.join(" "))),
                    ("also asks", or_none(ignored)),
                ],
            ));
        }
        text.push_str(&checks::to_text(&self.checks));
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({
            "kind": "certificate signing request", "ok": self.passes(),
            "checks": checks::to_json(&self.checks),
        });
        if let (Some(value), Some(content)) = (value.as_object_mut(), &self.content) {
            value.insert("subject".to_owned(), content.subject.clone().into());
            value.insert("key".to_owned(), content.key.clone().into());
            value.insert("signature_algorithm".to_owned(), content.signature.into());
            value.insert("uris".to_owned(), content.uris.clone().into());
            value.insert("ignored".to_owned(), content.ignored.clone().into());
        }
        value
    }
}
