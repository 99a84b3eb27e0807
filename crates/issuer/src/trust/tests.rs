//! Publishing, with a store that can be told to fail.

use super::*;
use crate::store::sqlite::SqliteStore;
use crate::store::{By, RevocationRecord, Revoke, RevokeOutcome, Subject};
use avouch_issuance::{PrivateKey, Profiles, Root, SystemEntropy};
use avouch_spiffe::RevocationKey;
use avouch_time::clock::{Clock, ManualClock, SystemClock};

/// The beginning of an epoch at this store.
pub(crate) async fn start(store: Arc<dyn Store>, roots: Vec<Authority>, clock: SharedClock) -> Trust {
    let (proofs, metrics) = (Proofs::new(&[5; 32]), TrustMetrics::new().unwrap());
    Trust::start(store, proofs, &market(), roots, clock, metrics).await.unwrap()
}

fn market() -> TrustDomain {
    "market.example".parse().unwrap()
}

fn root() -> Authority {
    let profile = Profiles::embedded().unwrap().root;
    let key = PrivateKey::generate().unwrap();
    let root = Root::create(&market(), &profile, key, SystemClock.now(), &SystemEntropy).unwrap();
    root.certificate().clone()
}

fn identity(number: u8) -> SpiffeId {
    format!("spiffe://market.example/{number}").parse().unwrap()
}

struct Bench {
    store: Arc<SqliteStore>,
    clock: ManualClock,
    trust: Trust,
}

async fn bench() -> Bench {
    let (store, clock) = (Arc::new(SqliteStore::temporary()), ManualClock::new(SystemClock.now()));
    let trust = start(store.clone(), vec![root()], clock.shared()).await;
    Bench { store, clock, trust }
}

impl Bench {
    /// Revokes an identity for so many seconds.
    async fn revoke(&self, number: u8, seconds: u64) -> RevocationRecord {
        let now = self.clock.shared().now();
        let revoke = Revoke {
            subject: Subject::Identity(identity(number)),
            by: By::new("uid 0", now),
            expires_at: Some(now + Duration::from_secs(seconds)),
            longest_life: Duration::from_secs(3_600),
            dry_run: false,
            force: false,
        };
        match self.store.revoke(revoke).await.unwrap() {
            RevokeOutcome::Made(record, _) => *record,
            other => panic!("{other:?}"),
        }
    }

    /// The identities that are revoked in the published state.
    fn in_force(&self) -> Vec<u8> {
        let state = self.trust.state();
        let is_in =
            |number: &u8| state.revocations.get(&RevocationKey::identity(&identity(*number))).is_some();
        (0..100).filter(is_in).collect()
    }
}

#[tokio::test]
async fn the_number_moves_with_the_content_and_only_then() {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::temporary());
    let (a, b, clock) = (root(), root(), ManualClock::new(SystemClock.now()));
    let trust = start(Arc::clone(&store), vec![a.clone()], clock.shared()).await;
    let mut watching = trust.subscribe();
    assert_eq!(trust.current().sequence(), 1);
    let first = trust.state().generation;

    trust.publish(vec![a.clone(), a.clone()]).await.unwrap();
    assert!(!watching.has_changed().unwrap());
    assert_eq!(trust.publish(vec![a.clone(), b.clone()]).await.unwrap().sequence(), 2);
    assert!(watching.has_changed().unwrap() && trust.state().generation > first);
    assert_eq!(watching.borrow_and_update().bundle.authorities().len(), 2);
    trust.publish(vec![b.clone(), a.clone()]).await.unwrap(); // order is no content
    assert!(!watching.has_changed().unwrap());
    assert_eq!(trust.publish(vec![b.clone()]).await.unwrap().sequence(), 3);

    // After a restart with the same roots, and with the ones before.
    let again = start(Arc::clone(&store), vec![b], clock.shared()).await;
    assert_eq!(again.current().sequence(), 3);
    assert_eq!(start(store, vec![a], clock.shared()).await.current().sequence(), 4);
}

#[tokio::test]
async fn without_a_store_nothing_is_published() {
    let bench = bench().await;
    bench.store.fail(true);
    assert!(bench.trust.publish(vec![root()]).await.is_err());
    assert!(bench.trust.refresh().await.is_err());
    assert_eq!(bench.trust.current().sequence(), 1);
    bench.store.fail(false);
    bench.trust.refresh().await.unwrap();
}

#[tokio::test]
async fn each_start_begins_a_later_epoch_though_the_clock_goes_back() {
    let bench = bench().await;
    let first = bench.trust.state().generation;
    let seconds = bench.clock.shared().now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(u64::from(first.epoch), seconds);
    bench.clock.set(bench.clock.shared().now() - Duration::from_secs(1_000));
    let again = start(bench.store.clone(), vec![root()], bench.clock.shared()).await;
    assert_eq!(again.state().generation.epoch, first.epoch + 1);
    assert_eq!(again.published().known, first);
}

#[tokio::test]
async fn a_revocation_is_published_with_its_generation_and_a_proof_that_never_changes() {
    let bench = bench().await;
    let outcome = bench.revoke(1, 60).await;
    bench.trust.refresh().await.unwrap();
    let state = bench.trust.state();
    assert_eq!(state.generation, outcome.since);
    let one = *state.revocations.iter().next().unwrap();
    assert!(one.since == outcome.since && bench.trust.proofs.verifies(&one));
    assert_eq!(Revocation::decode(&one.encode()), Some(one), "nothing of it is finer than the wire");

    bench.revoke(2, 60).await;
    bench.trust.refresh().await.unwrap();
    assert_eq!(bench.in_force(), [1, 2]);
    assert_eq!(bench.trust.state().revocations.get(&one.key), Some(&one));
    let undone = bench.store.undo_revocation(outcome.id, outcome.by.clone()).await.unwrap();
    bench.trust.refresh().await.unwrap();
    assert_eq!((bench.in_force(), undone.is_some()), (vec![2], true));
    assert_eq!(&*bench.trust.published().undone, [one.key]);
}

#[tokio::test]
async fn what_has_ended_leaves_the_state_under_a_generation_of_its_own() {
    let bench = bench().await;
    bench.revoke(1, 5).await;
    bench.revoke(2, 60).await;
    bench.trust.refresh().await.unwrap();
    let before = bench.trust.published();
    assert!(before.next_end.unwrap() <= bench.clock.shared().now() + Duration::from_secs(6));
    bench.clock.advance(Duration::from_secs(6));
    bench.trust.refresh().await.unwrap();
    assert_eq!(bench.in_force(), [2]);
    let generation = bench.trust.state().generation;
    assert_eq!(generation.counter, before.generation().counter + 1);
    assert!(matches!(bench.trust.published().update_from(before.generation()), Update::Delta(_)));
    bench.trust.refresh().await.unwrap();
    assert_eq!(bench.trust.state().generation, generation, "nothing has changed since");
}

#[tokio::test]
async fn a_burst_of_changes_is_published_at_most_twice() {
    let bench = bench().await;
    for number in 0..50 {
        bench.revoke(number, 60).await;
    }
    let trust = Arc::new(bench.trust);
    let refreshing = (0..50).map(|_| {
        tokio::spawn({
            let trust = Arc::clone(&trust);
            async move { trust.refresh().await }
        })
    });
    for refreshed in refreshing.collect::<Vec<_>>() {
        refreshed.await.unwrap().unwrap();
    }
    assert_eq!(trust.state().revocations.len(), 50);
    let Update::Delta(_) =
        trust.published().update_from(Generation { counter: 0, ..trust.state().generation })
    else {
        panic!("the first publication is not in the log")
    };
}
