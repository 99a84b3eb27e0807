//! The server refuses a certificate. Shown by one of our own channels wherever that would load it; else, and told only
//! by an alert, by a client that shows anything.

use avouch_attacker::certificates::Workshop;
use avouch_attacker::forge::{Credentials, Extension, purpose};
use avouch_attacker::grpc::{Call, Outcome, attempt};
use avouch_attacker::tls::Approach;
use avouch_identity::{ConnectionRecord, IdentityFilter, Verdict, reason};
use avouch_spiffe::Reason;

use crate::place::{DOMAIN, Place, Silent, TIMES, forged, id, identity};

/// What the caller can know.
#[derive(Clone, Copy, Debug)]
enum Caller {
    /// Our channel, which knows the reason itself, and its message has these words.
    Knows(&'static str),
    /// Our channel, which knows the alert.
    Refused(&'static str),
    /// Somebody else, who sees the alert.
    Sees(&'static str),
}
use Caller::{Knows, Refused, Sees};

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) reason: Reason,
    shown: Shown,
    record: &'static [&'static str],
    caller: Caller,
}

#[derive(Clone, Copy, Debug)]
enum Shown {
    /// From the attacker's list.
    Listed(&'static str),
    Made(fn(&Workshop) -> Credentials),
    /// Nothing at all.
    Nothing,
}
use Shown::{Listed, Made, Nothing};

const fn row(reason: Reason, shown: Shown, record: &'static [&'static str], caller: Caller) -> Row {
    Row { reason, shown, record, caller }
}

/// Below an authority that is for servers only.
fn for_servers_only(it: &Workshop) -> Credentials {
    let authority =
        it.root.below("for servers", it.now, |ca| ca.set(Extension::purposes(&[purpose::SERVER_AUTH])));
    let authority = authority.unwrap();
    it.leaf_below(&authority, &[&authority], |_| ()).unwrap()
}

/// Somebody changed a good certificate: the last octet of its signature.
fn tampered(it: &Workshop) -> Credentials {
    let mut shown = it.right().unwrap();
    let mut leaf = shown.chain[0].to_vec();
    *leaf.last_mut().unwrap() ^= 1;
    shown.chain[0] = leaf.into();
    shown
}

fn right(it: &Workshop) -> Credentials {
    it.right().unwrap()
}

pub(crate) const ROWS: &[Row] = &[
    row(Reason::ClientCertMissing, Nothing, &["required"], Sees("CertificateRequired")),
    row(
        Reason::CertUntrusted,
        Listed("another CA"),
        &["intermediate certificate 1 (CN=somebody else's root)", "signed itself", "not a trust anchor"],
        Refused("UnknownCA"),
    ),
    row(
        Reason::CertUntrusted,
        Listed("another CA with the same names"),
        &["intermediate certificate 1", "was not signed by the trusted CN=a root of the attacker's tests"],
        Refused("UnknownCA"),
    ),
    row(
        Reason::ChainIncomplete,
        Listed("missing intermediate"),
        &[
            "leaf certificate (spiffe://market.example/payments)",
            "CN=an authority of the attacker's tests",
            "not presented",
        ],
        Refused("UnknownCA"),
    ),
    row(
        Reason::CertExpired,
        Listed("expired"),
        &[
            "leaf certificate (spiffe://market.example/payments)",
            "expired ",
            " s ago by this machine's clock",
        ],
        Knows("our SVID, which has expired"),
    ),
    row(
        Reason::CertExpired,
        Listed("expired intermediate"),
        &["intermediate certificate 1 (CN=an intermediate)", "expired"],
        Refused("CertificateExpired"),
    ),
    row(
        Reason::CertNotYetValid,
        Listed("not yet valid"),
        &["leaf certificate (spiffe://market.example/payments)", "becomes valid in 29 min"],
        Knows("not valid yet by our own clock"),
    ),
    row(
        Reason::CertPurposeInvalid,
        Made(for_servers_only),
        &["intermediate certificate 1", "lacks clientAuth"],
        Refused("UnsupportedCertificate"),
    ),
    row(Reason::CertMalformed, Listed("cut off"), &["leaf certificate"], Sees("BadCertificate")),
    row(
        Reason::CertSignatureInvalid,
        Made(tampered),
        &["leaf certificate was not signed by the key of intermediate certificate 1"],
        Refused("DecryptError"),
    ),
    row(
        Reason::CertSignatureInvalid,
        Listed("stolen, without its key"),
        &["spiffe://market.example/payments", "did not prove to hold its key"],
        Sees("DecryptError"),
    ),
    row(
        Reason::CertAlgorithmRefused,
        Listed("a weak RSA authority"),
        &["intermediate certificate 1", "RSA 1024"],
        Refused("DecryptError"),
    ),
    row(
        Reason::CertChainTooDeep,
        Listed("chain too deep"),
        &["6 certificates presented, 5 allowed"],
        Refused("CertificateUnknown"),
    ),
    row(
        Reason::CertTooLarge,
        Listed("certificate too large"),
        &["leaf certificate: ", "bytes presented, 16384 allowed"],
        Refused("CertificateUnknown"),
    ),
    row(Reason::SvidInvalid, Listed("two URI SANs"), &["X509-SVID", "2 URIs"], Sees("AccessDenied")),
    row(
        Reason::TrustDomainUnknown,
        Listed("foreign trust domain"),
        &["trust domain evil.example", "there are those of [market.example]"],
        Refused("AccessDenied"),
    ),
    row(
        Reason::IdentityNotAdmitted,
        Made(right),
        &["spiffe://market.example/payments is not admitted", "spiffe://market.example/orders"],
        Refused("AccessDenied"),
    ),
];

async fn place(row: &Row) -> Place {
    let filter = match row.reason {
        Reason::IdentityNotAdmitted => IdentityFilter::one_of([id("/orders")]),
        _ => IdentityFilter::trust_domain(DOMAIN.parse().unwrap()),
    };
    Place::with(filter, |_| {}, |server| server, Silent).await
}

fn check_record(row: &Row, record: &ConnectionRecord) {
    let detail = record.detail.as_deref().unwrap_or_default();
    assert_eq!((record.verdict, record.reason), (Verdict::Refused, Some(row.reason)), "{row:?}: {record:?}");
    for part in row.record {
        assert!(detail.contains(part), "{row:?}: {part:?} not in {detail:?}");
    }
}

async fn produce(row: &Row) {
    let place = place(row).await;
    let shown = match row.shown {
        Listed(name) => Some(forged(&place.workshop, name)),
        Made(make) => Some(make(&place.workshop)),
        Nothing => None,
    };
    if let Sees(alert) = row.caller {
        for _ in 0..TIMES {
            let call = Call { path: "/x.X/X", ..Call::default() };
            let attempt = attempt(place.address, Approach::showing(shown.as_ref()), &call).await.unwrap();
            let Outcome::Disconnected { alert: Some(seen), .. } = &attempt.outcome else {
                panic!("{row:?}: {attempt:?}");
            };
            assert_eq!(seen, alert, "{row:?}");
            check_record(row, &place.records.latest(attempt.local).await);
        }
        return;
    }
    let (_publisher, client) = identity(&place.workshop, shown.expect("our channels show something"));
    for _ in 0..TIMES {
        let told = place.attempt(&client, "/server").await;
        check_record(row, &told.record(&place.records).await);
        check_caller(row, &told, &client);
    }
}

fn check_caller(row: &Row, told: &crate::place::Told, client: &avouch_identity::Identity) {
    let (expected, word) = match row.caller {
        Knows(words) => (row.reason, words),
        Refused(alert) | Sees(alert) => (Reason::HandshakeRefused, alert),
    };
    let message = told.status.message();
    assert_eq!(reason(&told.status), Some(expected), "{row:?}: {message}");
    assert_eq!(told.status.code(), tonic::Code::Unauthenticated, "{row:?}: {message}");
    assert!(message.starts_with(expected.as_str()) && message.contains(word), "{row:?}: {message}");
    // What it knows itself: who it is, until when, and by which bundle it judges.
    let svid = client.snapshot().svid.clone();
    let not_after = svid.not_after().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    assert_eq!(told.metadata("own_spiffe_id"), svid.spiffe_id().as_str());
    assert_eq!(told.metadata("own_serial"), svid.leaf().serial());
    assert_eq!(told.metadata("own_not_after"), not_after);
    assert!(
        message.contains(svid.spiffe_id().as_str()) && message.contains(svid.leaf().serial()),
        "{message}"
    );
    // Its bundle is that of another trust domain's, where it is of another one.
    let own_bundle = if svid.spiffe_id().trust_domain().as_str() == DOMAIN { "7" } else { "" };
    assert_eq!(told.metadata("own_bundle_sequence"), own_bundle);
    assert_eq!(told.metadata("own_clock_ahead_millis"), "", "no issuer has told the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refused_certificate_is_on_record_and_thirty_callers_of_thirty_find_it() {
    let rows: tokio::task::JoinSet<()> = ROWS.iter().map(produce).collect();
    rows.join_all().await;
}
