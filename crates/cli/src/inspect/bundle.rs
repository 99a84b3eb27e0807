//! A SPIFFE bundle, and how it stands to the standard, item by item.

use super::checks::{self, Check, check, unless};
use super::document::is_x509;
use avouch_spiffe::Bundle;
use serde_json::{Value, json};

/// A bundle and the items that were looked at.
pub(crate) struct BundleInspection {
    keys: usize,
    x509: usize,
    sequence: Option<u64>,
    refresh_hint: Option<u64>,
    checks: Vec<Check>,
}

/// Looks into a JSON bundle that has `keys`.
pub(crate) fn inspect(bundle: &Value) -> BundleInspection {
    let keys = bundle.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let x509: Vec<_> = keys.iter().enumerate().filter(|(_, key)| is_x509(key)).collect();
    let each = |wrong: fn(&Value) -> Option<&'static str>| {
        let found = x509.iter().filter_map(|(at, key)| wrong(key).map(|why| format!("key {at}: {why}")));
        found.reduce(|all, one| format!("{all}; {one}"))
    };
    let number = |name: &str| bundle.get(name).map(Value::as_u64);
    let (sequence, refresh_hint) = (number("spiffe_sequence"), number("spiffe_refresh_hint"));
    let mut checks = vec![
        check(
            "AV-025",
            "Bundle 4.1.1",
            "a sequence number, if any, of 64 bits",
            unless(sequence != Some(None), "it is none"),
        ),
        check(
            "AV-026",
            "Bundle 4.1.2",
            "a refresh hint, if any, in whole seconds",
            unless(refresh_hint != Some(None), "it is none"),
        ),
        check(
            "AV-027",
            "Bundle 4.2.1",
            "each key says its type",
            each(|key| key.get("kty").and_then(Value::as_str).is_none().then_some("no \"kty\"")),
        ),
        check(
            "AV-028",
            "X509-SVID 6.1",
            "no \"kid\" at an X.509 authority",
            each(|key| key.get("kid").is_some().then_some("it has one")),
        ),
        check(
            "AV-029",
            "X509-SVID 6.1",
            "one certificate per X.509 authority",
            each(|key| {
                let certificates = key.get("x5c").and_then(Value::as_array).map(Vec::len);
                (certificates != Some(1)).then_some("none, or several")
            }),
        ),
    ];
    // Which trust domain makes no difference to what is read.
    if let Ok(any) = "bundle.invalid".parse() {
        checks::verdict(&mut checks, Bundle::from_json(any, bundle.to_string().as_bytes()).err());
    }
    let (sequence, refresh_hint) = (sequence.flatten(), refresh_hint.flatten());
    BundleInspection { keys: keys.len(), x509: x509.len(), sequence, refresh_hint, checks }
}

impl BundleInspection {
    /// Whether every check holds.
    pub(crate) fn passes(&self) -> bool {
        self.checks.iter().all(|check| check.failure.is_none())
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let shown = |number: Option<u64>| number.map_or("(none)".to_owned(), |number| number.to_string());
        let mut text = "SPIFFE bundle\n".to_owned();
        let authorities = match (self.keys, self.x509) {
            (0, _) => "none: everything in the trust domain is revoked".to_owned(),
            (all, x509) if all > x509 => format!("{x509}, and {} keys of other uses", all - x509),
            (_, x509) => x509.to_string(),
        };
        text.push_str(&crate::output::fields(
            2,
            &[
                ("authorities", authorities),
                ("sequence", shown(self.sequence)),
                (
                    "refresh after",
                    self.refresh_hint.map_or("(none)".to_owned(), |seconds| format!("{seconds}s")),
                ),
            ],
        ));
        text.push_str(&checks::to_text(&self.checks));
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "kind": "SPIFFE bundle", "ok": self.passes(), "keys": self.keys, "authorities": self.x509,
            "sequence": self.sequence, "refresh_hint": self.refresh_hint,
            "checks": checks::to_json(&self.checks),
        })
    }
}
