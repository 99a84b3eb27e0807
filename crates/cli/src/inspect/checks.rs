//! The items: one demand of a standard each, with what was found instead.

use avouch_spiffe::SpiffeId;
use avouch_spiffe::x509::{Authority, CertificateInfo, Leaf};
use avouch_text::{LONGEST_TEXT, shorten_to};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A demand, and whether a certificate meets it.
#[derive(Debug)]
pub(crate) struct Check {
    /// The id: it never changes its meaning.
    pub(crate) id: &'static str,
    pub(crate) clause: &'static str,
    pub(crate) demand: &'static str,
    /// The finding that breaks the demand; `None`: it holds.
    pub(crate) failure: Option<String>,
}

pub(super) type Found = Option<String>;

/// The demands on an X.509-SVID of a workload.
pub(super) fn leaf(der: &[u8]) -> Vec<Check> {
    let Some(view) = View::of(der) else { return Vec::new() };
    let mut checks = vec![
        check("AV-001", "X509-SVID 2", "exactly one URI name", one_uri(&view)),
        check("AV-002", "SPIFFE-ID 2", "the URI is a SPIFFE ID", spiffe_id(&view)),
        check("AV-003", "X509-SVID 5.2", "the SPIFFE ID has a path", has_path(&view)),
        check("AV-004", "X509-SVID 3.1", "names are critical if the subject is empty", names_critical(&view)),
        check("AV-005", "X509-SVID 4.1", "not a CA", unless(!view.info.ca, "cA is set")),
        check("AV-006", "X509-SVID 4.3", "key usage is there and critical", usage_critical(&view)),
        check(
            "AV-007",
            "X509-SVID 4.3",
            "may sign handshakes (digitalSignature)",
            view.uses("digitalSignature"),
        ),
        check("AV-008", "X509-SVID 4.3", "may not sign certificates or CRLs", view.may_not_sign()),
        check("AV-009", "X509-SVID 4.4", "extended key usage is serverAuth and clientAuth", extended(&view)),
        check("AV-010", "RFC 5280 4.1.2.2", "a positive serial of 20 bytes at most", serial(&view)),
        check("AV-011", "NIST SP 800-57", "a key of a strong kind and size", key(&view)),
        check("AV-012", "RFC 5280 4.2", "no unknown critical extension", unknown_critical(&view)),
        version_3(&view),
    ];
    verdict(&mut checks, Leaf::parse(der).err());
    checks
}

/// The demands that a certificate of version 1 or 2 can meet: it has no names, and nothing says what its key may be used for.
pub(super) fn older(der: &[u8]) -> Vec<Check> {
    let Some(view) = View::of(der) else { return Vec::new() };
    vec![
        version_3(&view),
        check("AV-010", "RFC 5280 4.1.2.2", "a positive serial of 20 bytes at most", serial(&view)),
        check("AV-011", "NIST SP 800-57", "a key of a strong kind and size", key(&view)),
    ]
}

fn version_3(view: &View) -> Check {
    let found = (view.info.version != 3).then(|| {
        format!(
            "X.509 version {} has no extensions, so it cannot carry a SPIFFE ID; issue it with extensions: `openssl x509 \
             -req -extfile FILE …`, or let an issuer of avouch issue it",
            view.info.version
        )
    });
    check("AV-013", "RFC 5280 4.1.2.1", "version 3, which has extensions", found)
}

/// The demands on a signing certificate.
pub(super) fn authority(der: &[u8]) -> Vec<Check> {
    let Some(view) = View::of(der) else { return Vec::new() };
    let mut checks = vec![
        check("AV-021", "X509-SVID 4.1", "a CA, and says so critically", ca_critical(&view)),
        check("AV-022", "X509-SVID 4.3", "key usage is there and critical", usage_critical(&view)),
        check("AV-023", "X509-SVID 4.3", "may sign certificates (keyCertSign)", view.uses("keyCertSign")),
        check("AV-024", "X509-SVID 3.1", "its SPIFFE ID, if any, has no path", no_path(&view)),
        check("AV-010", "RFC 5280 4.1.2.2", "a positive serial of 20 bytes at most", serial(&view)),
        check("AV-011", "NIST SP 800-57", "a key of a strong kind and size", key(&view)),
        check("AV-012", "RFC 5280 4.2", "no unknown critical extension", unknown_critical(&view)),
        version_3(&view),
    ];
    verdict(&mut checks, Authority::parse(der).err());
    checks
}

/// Adds the parser's verdict: what it refuses is a failure even if no item above names it.
pub(super) fn verdict(checks: &mut Vec<Check>, refused: Option<impl std::fmt::Display>) {
    if let Some(error) = refused
        && checks.iter().all(|check| check.failure.is_none())
    {
        checks.push(check("AV-000", "avouch", "accepted by the verifier", Some(error.to_string())));
    }
}

pub(super) fn check(id: &'static str, clause: &'static str, demand: &'static str, failure: Found) -> Check {
    Check { id, clause, demand, failure }
}

/// The items for people, one line each.
pub(crate) fn to_text(checks: &[Check]) -> String {
    let mut text = "  checks\n".to_owned();
    let clauses = checks.iter().map(|check| check.clause.len()).max().unwrap_or(0);
    for check in checks {
        let (mark, words) = match &check.failure {
            None => ("ok  ", check.demand.to_owned()),
            Some(found) => ("FAIL", format!("{}: {}", check.demand, shorten_to(found, LONGEST_TEXT))),
        };
        text.push_str(&format!("    {mark}  {:clauses$}  {words}\n", check.clause));
    }
    text
}

/// The items for programs.
pub(crate) fn to_json(checks: &[Check]) -> Value {
    let all = checks.iter().map(|check| {
        json!({
            "id": check.id, "clause": check.clause, "demand": check.demand,
            "ok": check.failure.is_none(), "found": check.failure,
        })
    });
    Value::from(all.collect::<Vec<_>>())
}

pub(super) fn unless(holds: bool, found: &str) -> Found {
    (!holds).then(|| found.to_owned())
}

/// A certificate, with the few things that [`CertificateInfo`] leaves out.
struct View {
    info: CertificateInfo,
    subject_is_empty: bool,
    names_critical: Option<bool>,
    usage_critical: Option<bool>,
    constraints_critical: bool,
    serial: Vec<u8>,
}

impl View {
    fn of(der: &[u8]) -> Option<Self> {
        let info = CertificateInfo::parse_any_version(der).ok()?;
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let tbs = &certificate.tbs_certificate;
        Some(Self {
            subject_is_empty: tbs.subject().iter_rdn().next().is_none(),
            names_critical: tbs.subject_alternative_name().ok().flatten().map(|names| names.critical),
            usage_critical: tbs.key_usage().ok().flatten().map(|usage| usage.critical),
            constraints_critical: tbs.basic_constraints().ok().flatten().is_some_and(|found| found.critical),
            serial: tbs.raw_serial().to_vec(),
            info,
        })
    }

    fn uses(&self, usage: &'static str) -> Found {
        unless(self.info.key_usage.contains(&usage), "the bit is not set")
    }

    fn may_not_sign(&self) -> Found {
        let found: Vec<_> = self
            .info
            .key_usage
            .iter()
            .copied()
            .filter(|usage| matches!(*usage, "keyCertSign" | "cRLSign"))
            .collect();
        unless(found.is_empty(), &found.join(", "))
    }
}

fn one_uri(view: &View) -> Found {
    unless(view.info.uris.len() == 1, &format!("{} of them", view.info.uris.len()))
}

fn spiffe_id(view: &View) -> Found {
    match view.info.uris.first() {
        None => Some("there is no URI".to_owned()),
        Some(uri) => uri.parse::<SpiffeId>().err().map(|error| error.to_string()),
    }
}

fn has_path(view: &View) -> Found {
    let id = view.info.uris.first().and_then(|uri| uri.parse::<SpiffeId>().ok());
    unless(id.is_some_and(|id| !id.path().is_empty()), "no path")
}

fn no_path(view: &View) -> Found {
    let with_path =
        view.info.uris.iter().find(|uri| uri.parse::<SpiffeId>().is_ok_and(|id| !id.path().is_empty()));
    with_path.cloned()
}

fn names_critical(view: &View) -> Found {
    match view.names_critical {
        None => unless(!view.subject_is_empty, "there are no names, and the subject is empty"),
        Some(critical) => unless(critical || !view.subject_is_empty, "not critical"),
    }
}

fn usage_critical(view: &View) -> Found {
    match view.usage_critical {
        None => Some("there is none".to_owned()),
        Some(critical) => unless(critical, "not critical"),
    }
}

fn ca_critical(view: &View) -> Found {
    unless(view.info.ca && view.constraints_critical, "not critical")
}

fn extended(view: &View) -> Found {
    let usages = &view.info.extended_key_usage;
    let has = |name: &str| usages.iter().any(|usage| usage == name);
    if usages.is_empty() {
        return Some("there is none".to_owned());
    }
    unless(has("serverAuth") && has("clientAuth") && !has("anyExtendedKeyUsage"), &usages.join(", "))
}

fn serial(view: &View) -> Found {
    let negative = view.serial.first().is_none_or(|byte| byte & 0x80 != 0);
    if negative || view.serial.iter().all(|byte| *byte == 0) {
        return Some("zero or negative".to_owned());
    }
    unless(view.serial.len() <= 20, &format!("{} bytes", view.serial.len()))
}

fn key(view: &View) -> Found {
    unless(view.info.key_accepted, &view.info.key_algorithm)
}

fn unknown_critical(view: &View) -> Found {
    unless(view.info.unknown_critical.is_empty(), &view.info.unknown_critical.join(", "))
}
