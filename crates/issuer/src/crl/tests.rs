//! What is on the lists, how they are numbered, and that making them keeps nobody waiting.

use super::*;
use crate::issuance::tests::{Bench, bench};
use crate::store::{By, RevocationRecord, RevokedKey, Store};
use avouch_spiffe::x509::RevocationList;
use std::sync::atomic::{AtomicU32, Ordering};

const HOUR: Duration = Duration::from_secs(3600);

/// Revokes these serial numbers, whose certificates end in an hour.
async fn revoke(bench: &Bench, serials: Vec<String>) -> RevocationRecord {
    let (now, domain) = (bench.clock.shared().now(), "market.example".parse().unwrap());
    let key = |serial: String| RevokedKey {
        key: RevocationKey::serial(&domain, &serial),
        serial: Some(serial),
        ends_at: now + HOUR,
    };
    bench.store.insert_revocation(serials.into_iter().map(key).collect(), None).await
}

/// Makes the lists, and reads them.
async fn published(crls: &Crls, issuance: &Arc<Issuance>) -> Vec<RevocationList> {
    let state = issuance.trust.state();
    publish(crls, issuance, state.generation, state.revocations).await.unwrap();
    let lists = crls.get(state.generation).await;
    lists.iter().map(|list| RevocationList::parse(&list.der).unwrap()).collect()
}

fn serials(list: &RevocationList) -> Vec<&str> {
    list.entries().iter().map(|entry| entry.serial.as_str()).collect()
}

#[test]
fn numbers_grow_with_every_list_every_change_and_every_start() {
    let at = |epoch, counter| Generation { epoch, counter };
    let numbers = [
        number(at(7, 3), 1),
        number(at(7, 3), 2),
        number(at(7, 4), 3),
        number(at(8, 0), 1),
        number(at(9, 0), 1),
    ];
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[tokio::test]
async fn each_authority_signs_a_list_and_the_root_one_though_it_is_empty() {
    let bench = bench().await;
    revoke(&bench, vec!["0a1b".to_owned()]).await;
    let (crls, issuance) = (Crls::new(), Arc::new(bench.issuance));
    let lists = published(&crls, &issuance).await;
    assert_eq!(lists.iter().map(serials).collect::<Vec<_>>(), [vec!["0a1b"], vec![]]);
    let (signing, root) = (issuance.authorities.signing(), issuance.authorities.root());
    assert!(lists[0].is_signed_by(signing.certificate()) && lists[1].is_signed_by(root));
    assert!(!lists[0].is_signed_by(root) && lists.iter().all(|list| list.unsupported().is_none()));
    let again = published(&crls, &issuance).await;
    assert_ne!(lists[0].number(), again[0].number());
    assert_eq!(lists[1].number(), again[1].number(), "the root's list is signed when it has to be");
}

#[tokio::test]
async fn what_is_undone_leaves_the_list_and_what_has_ended_stays_on_it_for_a_day() {
    let bench = bench().await;
    let undone = revoke(&bench, vec!["0a".to_owned()]).await;
    revoke(&bench, vec!["0b".to_owned()]).await;
    let (store, clock, issuance) = (bench.store, bench.clock, Arc::new(bench.issuance));
    let crls = Crls::new();
    assert_eq!(serials(&published(&crls, &issuance).await[0]), ["0a", "0b"]);
    store.undo_revocation(undone.id, By::new("uid 0", issuance.clock.now())).await.unwrap();
    assert_eq!(serials(&published(&crls, &issuance).await[0]), ["0b"]);
    clock.set(issuance.clock.now() + HOUR + VALIDITY - BACKDATE);
    assert_eq!(serials(&published(&crls, &issuance).await[0]), ["0b"]);
    clock.set(issuance.clock.now() + 2 * BACKDATE);
    assert_eq!(serials(&published(&crls, &issuance).await[0]), Vec::<&str>::new());
}

#[tokio::test]
async fn a_renewed_authority_signs_on_also_after_a_restart_and_lists_are_due_in_time() {
    let bench = bench().await;
    let (clock, issuance, crls) = (bench.clock, Arc::new(bench.issuance), Crls::new());
    let old = issuance.authorities.signing();
    assert!(crls.is_due(&old, issuance.clock.now()));
    published(&crls, &issuance).await;
    assert!(!crls.is_due(&old, issuance.clock.now()));
    let new = issuance.authorities.renew_signing(issuance.clock.now()).unwrap();
    assert!(crls.is_due(&new, issuance.clock.now()));
    let lists = published(&crls, &issuance).await;
    let signers = [new.certificate(), old.certificate(), issuance.authorities.root()];
    assert_eq!(lists.len(), 3);
    assert!(lists.iter().zip(signers).all(|(list, signer)| list.is_signed_by(signer)));
    let now = issuance.clock.now();
    clock.set(now + VALIDITY / 2);
    assert!(crls.is_due(&new, issuance.clock.now()));
    clock.set(now - HOUR);
    assert!(crls.is_due(&new, issuance.clock.now()), "it is not yet valid");
}

#[tokio::test]
async fn a_hundred_thousand_entries_are_signed_while_the_runtime_goes_on() {
    let bench = bench().await;
    let many = (1..=100_000_u64).map(|number| format!("{number:016x}")).collect();
    revoke(&bench, many).await;
    let (crls, issuance) = (Crls::new(), Arc::new(bench.issuance));
    let state = issuance.trust.state();
    let revoked = issuance.store.revoked_certificates(issuance.clock.now(), issuance.clock.now()).await;
    assert_eq!(revoked.unwrap().len(), 100_000);
    let turns = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&turns);
    let ticker = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });
    // A runtime of one thread: signing on it would let no other task run meanwhile.
    publish(&crls, &issuance, state.generation, state.revocations).await.unwrap();
    ticker.abort();
    assert!(turns.load(Ordering::SeqCst) >= 10, "{turns:?}");
    let lists = crls.get(Generation::NONE).await;
    assert_eq!(RevocationList::parse(&lists[0].der).unwrap().entries().len(), 100_000);
}
