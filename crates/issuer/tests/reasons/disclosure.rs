//! What nobody may be told who is refused: searched for in every octet that came back, headers, trailers and what their
//! values decode to. That the search finds what is there is shown by callers who may know it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use avouch_attacker::certificates::{ATTACKS, Workshop};
use avouch_attacker::forge::Credentials;
use avouch_attacker::grpc::{Call, Outcome, attempt};
use avouch_attacker::tls::Approach;
use avouch_authz::{Methods, Policy};
use avouch_identity::{Identity, IdentityFilter, Snapshot, Svid, reason};
use avouch_spiffe::Reason;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::calls::{Answer, Deciding, POLICY, POLICY_NAME, RENEW, STATUS};
use crate::place::{DOMAIN, Place, Silent, bundles, id};

/// Every octet, once as it came and once as what base64 and percent-encoding hide.
fn octets(answer: &Answer) -> String {
    let mut all = String::new();
    for (name, value) in answer.headers.iter().chain(&answer.trailers) {
        all.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    all.push_str(&String::from_utf8_lossy(&answer.body));
    all + &decoded(&answer.status)
}

fn decoded(status: &Status) -> String {
    let metadata = format!("{:?}", status.metadata());
    format!("{}\n{}\n{metadata}", status.message(), String::from_utf8_lossy(status.details()))
}

fn found<'a>(text: &str, words: &[&'a str]) -> Vec<&'a str> {
    let text = text.to_lowercase();
    words.iter().copied().filter(|word| text.contains(&word.to_lowercase())).collect()
}

/// Where the policy says so, and what else it says.
fn of_the_policy() -> Vec<String> {
    let methods = Methods::new(&[&avouch_api::CONTRACT]).unwrap();
    let version = Policy::load(POLICY_NAME, POLICY, &methods).unwrap().version().to_owned();
    let others = [
        "the-policy",
        "/etc/",
        ".toml",
        "someone-else",
        "oncall",
        "quarantine",
        "policy_version",
        "any_identity",
        "local_admin",
    ];
    others.into_iter().map(str::to_owned).chain([version]).collect()
}

/// What a foreign trust domain gets none of.
fn of_the_reason() -> Vec<String> {
    let mut words: Vec<String> = Reason::ALL.iter().map(ToString::to_string).collect();
    words.extend(Reason::ALL.iter().map(|reason| reason.summary().to_owned()));
    let others =
        ["ErrorInfo", "Observe", "GetStatus", "Issuer", "Renew", "role", "debug", "operator", "spiffe:"];
    words.extend(others.map(str::to_owned));
    words
}

/// Nothing beside what gRPC and HTTP need, and the status.
fn only_usual_headers(answer: &Answer) {
    let usual =
        ["content-type", "date", "grpc-message", "grpc-status", "grpc-status-details-bin", "content-length"];
    for name in answer.headers.keys().chain(answer.trailers.keys()) {
        assert!(usual.contains(&name.as_str()), "{name}: {answer:?}");
    }
    assert!(answer.body.is_empty(), "{answer:?}");
}

fn nothing_of(answer: &Answer, words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = octets(answer);
    assert_eq!(found(&text, &words), Vec::<&str>::new(), "{text}");
    only_usual_headers(answer);
}

fn foreigner(ours: &Workshop, theirs: &Workshop) -> (avouch_identity::Publisher, Identity) {
    let Credentials { chain, key } = theirs.right().unwrap();
    Identity::publisher(Snapshot::new(Svid::new(chain, &key).unwrap(), bundles(ours)))
}

#[tokio::test]
async fn a_foreign_trust_domain_gets_the_code_and_a_decision_and_that_is_all_it_gets() {
    // It even holds the role that shows everything to those of the own domain.
    let theirs = Workshop::new("foreign.example", "/oncall").unwrap();
    let deciding = Deciding::trusting(Some(&theirs), Some(POLICY)).await;
    let (_publisher, client) = foreigner(&deciding.place.workshop, &theirs);
    for method in ["/avouch.admin.v1.Admin/GetStatus", "/nothing.v1.Nothing/Nothing"] {
        let answer = deciding.call_as(&client, method).await;
        assert_eq!(answer.status.code(), Code::PermissionDenied);
        assert_eq!(reason(&answer.status), None);
        let decision = answer.decision();
        assert!(answer.status.message().contains(&decision), "{answer:?}");
        nothing_of(&answer, &[of_the_reason(), of_the_policy(), vec!["nothing.".to_owned()]].concat());
        let denial = deciding.decisions.the_one(&decision);
        assert_eq!(denial.peer().unwrap().as_str(), "spiffe://foreign.example/oncall");
        assert_eq!(denial.path(), method, "the record has it all");
    }
}

#[tokio::test]
async fn an_unauthenticated_caller_gets_the_reason_and_nothing_of_the_policy() {
    let deciding = Deciding::under(Some(POLICY)).await;
    for method in [RENEW, STATUS, "/avouch.admin.v1.Admin/GetStatus"] {
        let answer = deciding.call("", method).await;
        assert!(
            matches!(reason(&answer.status), Some(Reason::NoPeerIdentity | Reason::NoAllowRule)),
            "{answer:?}"
        );
        nothing_of(&answer, &of_the_policy());
    }
}

#[tokio::test]
async fn who_lacks_the_debug_role_gets_the_reason_and_nothing_of_the_policy_and_who_holds_it_gets_all() {
    let deciding = Deciding::under(Some(POLICY)).await;
    for (caller, method, reason_word) in [
        ("/payments", STATUS, Reason::RoleMissing),
        ("/quarantine/x", RENEW, Reason::DenyRuleMatched),
        ("/payments", "/nothing.v1.Nothing/Nothing", Reason::NoAllowRule),
    ] {
        let answer = deciding.call(caller, method).await;
        assert_eq!(reason(&answer.status), Some(reason_word), "{answer:?}");
        nothing_of(&answer, &of_the_policy());
        let info = answer.status.get_details_error_info().unwrap();
        assert!(!info.metadata.contains_key("rule") && !info.metadata.contains_key("policy"), "{info:?}");
    }
    let answer = deciding.call("/oncall", RENEW).await;
    assert_eq!(reason(&answer.status), Some(Reason::DenyRuleMatched), "{answer:?}");
    let words = of_the_policy();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = found(&octets(&answer), &words);
    for word in ["the-policy", "policy_version", "any_identity", *words.last().unwrap()] {
        assert!(told.contains(&word), "the search finds {word} where it is: {answer:?}");
    }
}

/// Of a refused request for a certificate: neither which entry was meant or came nearest, nor how the issuer works.
pub(crate) fn nothing_of_the_entries(status: &Status, situation: &str) {
    let words = [
        "spiffe:",
        "orders",
        "payments",
        "selector",
        "nearest",
        "entry for",
        "locked",
        "sqlite",
        "database",
        "/data",
        "serial",
        "registered",
        "inventory",
    ];
    let text = decoded(status);
    assert_eq!(found(&text, &words), Vec::<&str>::new(), "{situation}: {text}");
    let info = status.get_details_error_info().unwrap();
    assert!(info.metadata.is_empty(), "{situation}: {info:?}");
}

/// What an alert gives away, by reason. Whether somebody is unknown, not admitted or no workload at all, it does not.
fn alert(reason: &str) -> &'static str {
    match reason {
        "CERT_UNTRUSTED" | "CHAIN_INCOMPLETE" => "UnknownCA",
        "CERT_EXPIRED" | "CERT_NOT_YET_VALID" => "CertificateExpired",
        "CERT_PURPOSE_INVALID" => "UnsupportedCertificate or AccessDenied",
        "CERT_MALFORMED" => "BadCertificate",
        "CERT_SIGNATURE_INVALID" | "CERT_ALGORITHM_REFUSED" => "DecryptError",
        "CERT_CHAIN_TOO_DEEP" | "CERT_TOO_LARGE" => "CertificateUnknown",
        "SVID_INVALID" | "TRUST_DOMAIN_UNKNOWN" | "IDENTITY_NOT_ADMITTED" => "AccessDenied",
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_alert_gives_away_a_class_of_reasons_and_not_whom_the_server_admits() {
    let choosy = Place::with(IdentityFilter::one_of([id("/orders")]), |_| {}, |server| server, Silent).await;
    let place = Place::new(|_| {}).await;
    let mut classes = BTreeSet::new();
    let unadmitted = (&choosy, "IDENTITY_NOT_ADMITTED", choosy.workshop.right().unwrap());
    let listed =
        ATTACKS.iter().map(|attack| (&place, attack.reason, (attack.forge)(&place.workshop).unwrap()));
    for (place, expected, shown) in listed.chain([unadmitted]) {
        let call = Call { path: STATUS, ..Call::default() };
        let attempt = attempt(place.address, Approach::showing(Some(&shown)), &call).await.unwrap();
        let Outcome::Disconnected { alert: Some(seen), .. } = attempt.outcome else { panic!("{attempt:?}") };
        assert!(alert(expected).split(" or ").any(|alert| alert == seen), "{expected}: {seen}");
        let record = place.records.latest(attempt.local).await;
        assert_eq!(record.reason.map(Reason::as_str), Some(expected), "{record:?}");
        classes.insert(seen);
    }
    assert_eq!(classes.len(), 7, "{classes:?}");
}

/// Notes which authorities a server says it would take.
#[derive(Debug, Default)]
struct Curious(Mutex<Vec<Vec<u8>>>, Mutex<usize>);

impl ResolvesClientCert for Curious {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.1.lock().unwrap() += 1;
        self.0.lock().unwrap().extend(hints.iter().map(|hint| hint.to_vec()));
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_server_tells_nobody_which_authorities_it_trusts() {
    let place = Place::new(|_| {}).await;
    let curious = Arc::new(Curious::default());
    let mut config = (*avouch_attacker::tls::config(Approach::showing(None)).unwrap()).clone();
    config.client_auth_cert_resolver = curious.clone();
    let tcp = tokio::net::TcpStream::connect(place.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("server.invalid").unwrap();
    let connected = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    drop(connected);
    assert_eq!(*curious.1.lock().unwrap(), 1, "it asked for a certificate");
    assert_eq!(*curious.0.lock().unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(DOMAIN, place.workshop.trust_domain);
}
