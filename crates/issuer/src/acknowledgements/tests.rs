//! Who counts, and as what.

use super::*;
use crate::store::{EntryId, KeyHash};
use crate::trust::Subscriber;
use avouch_spiffe::{Bundle, Revocation, Revocations, TrustState};
use std::sync::Arc;
use std::time::Duration;

fn at(counter: u32) -> Generation {
    Generation { epoch: 7, counter }
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn id(path: &str) -> SpiffeId {
    format!("spiffe://market.example{path}").parse().unwrap()
}

fn certificate(serial: &str, path: &str, parent: Option<&str>) -> CertificateRecord {
    CertificateRecord {
        serial: serial.to_owned(),
        entry: Some(EntryId(1)),
        spiffe_id: id(path),
        key: KeyHash([1; 32]),
        not_before: time(0),
        not_after: time(100),
        issued_at: time(0),
        origin: Origin::Renew,
        last_seen: None,
        parent: parent.map(str::to_owned),
        requested_from: String::new(),
    }
}

fn connected(serial: &str, instance: u8, generation: Option<Generation>) -> Subscriber {
    let mut subscriber = crate::trust::subscriber_for_tests(generation);
    subscriber.serial = serial.to_owned();
    subscriber.instance = Some([instance; 16]);
    subscriber
}

fn ack(serial: &str, instance: Option<u8>, generation: Generation, seen_at: u64) -> TrustAck {
    TrustAck {
        spiffe_id: id("/orders"),
        addresses: Vec::new(),
        sequence: 1,
        seen_at: time(seen_at),
        instance: instance.map(|instance| [instance; 16]),
        serial: serial.to_owned(),
        generation,
    }
}

fn published(revoked: &[RevocationKey]) -> Published {
    let revocation =
        |key: &RevocationKey| Revocation { key: *key, since: at(5), ends_at: time(100), proof: [0; 16] };
    let state = TrustState {
        generation: at(5),
        revocations: Arc::new(Revocations::new(revoked.iter().map(revocation)).unwrap()),
        ..TrustState::default()
    };
    let bundle = Arc::new(Bundle::new("market.example".parse().unwrap(), Vec::new(), 1));
    Published::first(state, bundle, Generation::NONE, Vec::new())
}

/// What everybody is, by generation 5: `(acknowledged, waiting)`, each as serial number and contact.
fn told(
    certificates: Vec<CertificateRecord>,
    connected: &[Subscriber],
    mut acks: Vec<TrustAck>,
) -> (Vec<String>, Vec<String>) {
    acks.sort_by_key(|ack| std::cmp::Reverse(ack.seen_at));
    let found = judge(at(5), &published(&[]), connected, &Recorded { certificates, acks });
    let words = |processes: Vec<WorkloadProcess>| {
        processes.iter().map(|it| format!("{} {}", it.serial, it.contact.as_str())).collect()
    };
    (words(found.acknowledged), words(found.lagging))
}

#[test]
fn two_replicas_of_one_identity_without_addresses_are_two() {
    let certificates = vec![certificate("01", "/orders", None), certificate("02", "/orders", None)];
    let replicas = [connected("01", 1, Some(at(5))), connected("02", 2, Some(at(4)))];
    let (acknowledged, waiting) = told(certificates.clone(), &replicas, Vec::new());
    assert_eq!((acknowledged, waiting), (vec!["01 connected".into()], vec!["02 connected".into()]));
    // Nor when they are away.
    let acks = vec![ack("01", Some(1), at(5), 1), ack("02", Some(2), at(4), 2)];
    let (acknowledged, waiting) = told(certificates, &[], acks);
    assert_eq!((acknowledged, waiting), (vec!["01 away".into()], vec!["02 away".into()]));
}

#[test]
fn a_live_certificate_whose_process_has_said_nothing_is_waited_for_and_an_ended_one_is_not() {
    let (acknowledged, waiting) =
        told(vec![certificate("01", "/orders", None)], &[], vec![ack("ff", Some(9), at(1), 1)]);
    assert_eq!((acknowledged.len(), waiting), (0, vec!["01 away".to_owned()]));
}

#[test]
fn a_workload_that_knows_no_generations_is_too_old_with_or_without_a_stream() {
    let (_, waiting) = told(
        vec![certificate("01", "/orders", None), certificate("02", "/orders", None)],
        &[connected("01", 1, None)],
        vec![ack("02", None, Generation::NONE, 1)],
    );
    assert_eq!(waiting, ["01 too old", "02 too old"]);
}

#[test]
fn a_process_stays_one_while_it_renews() {
    let line = |serials: &[&str]| {
        let mut parent = None;
        let mut line = Vec::new();
        for serial in serials {
            line.push(certificate(serial, "/orders", parent));
            parent = Some(*serial);
        }
        line
    };
    // Its stream is still on the connection of the second of its four live certificates.
    let (acknowledged, waiting) =
        told(line(&["01", "02", "03", "04"]), &[connected("02", 1, Some(at(5)))], Vec::new());
    assert_eq!((acknowledged, waiting), (vec!["02 connected".to_owned()], Vec::new()));
    // It has started again since: what it said before is no other process's.
    let acks = vec![ack("01", Some(1), at(3), 1), ack("02", Some(2), at(5), 2)];
    let (acknowledged, waiting) = told(line(&["01", "02"]), &[], acks);
    assert_eq!((acknowledged, waiting), (vec!["02 away".to_owned()], Vec::new()));
}

#[test]
fn of_a_forked_certificate_each_child_counts_by_itself() {
    let certificates = vec![
        certificate("01", "/orders", None),
        certificate("02", "/orders", Some("01")),
        certificate("03", "/orders", Some("01")),
    ];
    let (_, waiting) = told(certificates.clone(), &[connected("01", 1, Some(at(5)))], Vec::new());
    assert_eq!(waiting, ["02 away", "03 away"]);
    let (acknowledged, waiting) = told(certificates, &[connected("02", 1, Some(at(5)))], Vec::new());
    assert_eq!((acknowledged, waiting), (vec!["02 connected".to_owned()], vec!["03 away".to_owned()]));
}

#[test]
fn a_process_with_two_streams_counts_once_by_what_it_said_last() {
    let streams = [connected("01", 1, Some(at(4))), connected("01", 1, Some(at(5)))];
    let (acknowledged, waiting) = told(vec![certificate("01", "/orders", None)], &streams, Vec::new());
    assert_eq!((acknowledged, waiting), (vec!["01 connected".to_owned()], Vec::new()));
}

#[test]
fn nobody_waits_for_what_is_cut_off_nor_for_the_issuer_itself() {
    let own = CertificateRecord { origin: Origin::SelfIssued, ..certificate("09", "/avouch/issuer", None) };
    let certificates = vec![certificate("01", "/orders", None), certificate("02", "/payments", None), own];
    let domain = "market.example".parse().unwrap();
    let revoked = [RevocationKey::serial(&domain, "01"), RevocationKey::identity(&id("/payments"))];
    let recorded = Recorded { certificates, acks: vec![ack("01", Some(1), at(1), 1)] };
    let streams = [connected("01", 1, Some(at(1)))];
    let found = judge(at(5), &published(&revoked), &streams, &recorded);
    assert_eq!(found, Acknowledgements::default());
}

#[test]
fn a_damaged_lineage_ends() {
    let certificates =
        vec![certificate("01", "/orders", Some("02")), certificate("02", "/orders", Some("01"))];
    let (acknowledged, waiting) = told(certificates, &[connected("01", 1, Some(at(5)))], Vec::new());
    assert_eq!((acknowledged.len(), waiting.len()), (1, 0));
}
