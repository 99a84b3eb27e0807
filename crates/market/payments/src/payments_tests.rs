use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use market_api::ledger::v1::Posting;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::*;
use crate::{Settings, run_worker};

/// A fake ledger that can be unavailable, lose its responses, or never respond. It outlives the payments process, as
/// the real one does.
#[derive(Clone, Debug, Default)]
struct FakeLedger(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    postings: Mutex<BTreeMap<String, Posting>>,
    away: AtomicBool,
    loses_answers: AtomicBool,
    hangs: AtomicBool,
    calls: AtomicUsize,
}

impl FakeLedger {
    fn total(&self) -> i64 {
        let postings = self.0.postings.lock().unwrap_or_else(PoisonError::into_inner);
        postings.values().map(|posting| posting.entries[0].amount.as_ref().unwrap().minor_units).sum()
    }
}

impl LedgerClient for FakeLedger {
    async fn post(&self, posting: Posting) -> Result<(), Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        if self.0.away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("away"));
        }
        {
            let mut postings = self.0.postings.lock().unwrap_or_else(PoisonError::into_inner);
            let earlier = postings.insert(posting.posting_id.clone(), posting.clone());
            assert!(earlier.is_none_or(|earlier| earlier == posting), "other content under the same ID");
        }
        if self.0.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.0.loses_answers.load(Ordering::SeqCst) {
            return Err(Status::deadline_exceeded("lost"));
        }
        Ok(())
    }
}

struct Shop {
    folder: tempfile::TempDir,
    ledger: FakeLedger,
    payments: Payments<FakeLedger>,
}

const OPTIONS: PaymentsOptions = PaymentsOptions { timeout: Duration::from_secs(5) };

fn limits(limit: i64) -> Limits {
    let settings = Settings {
        database: "unused".into(),
        default_limits: [("EUR".to_owned(), limit.into())].into(),
        limits: BTreeMap::new(),
        timeout: None,
    };
    Limits::try_from(&settings).unwrap()
}

impl Shop {
    async fn open() -> Self {
        let (folder, ledger) = (tempfile::tempdir().unwrap(), FakeLedger::default());
        let payments = Self::at(&folder, &ledger, 1000).await;
        Self { folder, ledger, payments }
    }

    async fn at(folder: &tempfile::TempDir, ledger: &FakeLedger, limit: i64) -> Payments<FakeLedger> {
        Payments::open(&folder.path().join("payments.db"), ledger.clone(), limits(limit), OPTIONS)
            .await
            .unwrap()
    }

    /// Keeps the database file and the ledger but no other state, as a crash does.
    async fn reopen(&mut self, limit: i64) {
        self.payments = Self::at(&self.folder, &self.ledger, limit).await;
    }

    async fn charge(&self, key: &str, amount: i64) -> Result<Receipt, PaymentsError> {
        self.payments.charge(charge(key, "c-1", amount)).await
    }

    async fn used(&self) -> i64 {
        self.payments.credit("c-1".parse().unwrap(), Currency::Eur).await.unwrap().used.minor_units
    }

    async fn pending(&self) -> usize {
        self.payments.pending(0, 1000).await.unwrap().len()
    }

    async fn until_nothing_is_pending(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.pending().await > 0 {
            assert!(Instant::now() < deadline, "still pending");
            tokio::task::yield_now().await;
        }
    }
}

fn charge(key: &str, customer: &str, amount: i64) -> Charge {
    let amount = Money { currency: Currency::Eur, minor_units: amount };
    Charge::new(key.parse().unwrap(), customer.parse().unwrap(), amount).unwrap()
}

#[tokio::test]
async fn a_charge_within_the_credit_is_posted_once() {
    let mut shop = Shop::open().await;
    for _ in 0..3 {
        assert_eq!(shop.charge("o-1", 600).await.unwrap(), Receipt::Posted);
        shop.reopen(1000).await;
    }
    assert_eq!((shop.used().await, shop.ledger.total()), (600, 600));
    assert_eq!(shop.ledger.0.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_charge_beyond_the_credit_is_declined_and_stays_declined() {
    let mut shop = Shop::open().await;
    shop.charge("o-1", 600).await.unwrap();
    let Receipt::Declined(detail) = shop.charge("o-2", 401).await.unwrap() else { panic!("not declined") };
    assert_eq!(detail, "400 EUR of credit left, 401 asked for");
    // More credit later: the answer for this key stays.
    shop.reopen(100_000).await;
    assert_eq!(shop.charge("o-2", 401).await.unwrap(), Receipt::Declined(detail));
    assert_eq!(shop.charge("o-3", 401).await.unwrap(), Receipt::Posted);
    assert_eq!((shop.used().await, shop.ledger.total()), (1001, 1001));
}

#[tokio::test]
async fn exactly_the_credit_is_covered_and_no_unit_more() {
    let shop = Shop::open().await;
    assert!(matches!(shop.charge("o-1", 1001).await.unwrap(), Receipt::Declined(_)));
    assert_eq!(shop.charge("o-2", 1000).await.unwrap(), Receipt::Posted);
    assert!(matches!(shop.charge("o-3", 1).await.unwrap(), Receipt::Declined(_)));
}

#[tokio::test]
async fn a_currency_without_a_limit_has_no_credit() {
    let shop = Shop::open().await;
    let amount = Money { currency: Currency::Usd, minor_units: 1 };
    let charge = Charge::new("o-1".parse().unwrap(), "c-1".parse().unwrap(), amount).unwrap();
    assert!(matches!(shop.payments.charge(charge).await.unwrap(), Receipt::Declined(_)));
}

#[tokio::test]
async fn a_key_that_stands_for_another_charge_is_refused() {
    let shop = Shop::open().await;
    shop.charge("o-1", 600).await.unwrap();
    for other in [charge("o-1", "c-1", 601), charge("o-1", "c-2", 600)] {
        assert!(matches!(shop.payments.charge(other).await, Err(PaymentsError::OtherCharge)));
    }
    assert_eq!(shop.used().await, 600);
}

#[test]
fn nothing_and_less_than_nothing_cannot_be_charged() {
    for minor_units in [0, -1, i64::MIN, Money::MAX_MINOR_UNITS + 1] {
        let amount = Money { currency: Currency::Eur, minor_units };
        let refused = Charge::new("o-1".parse().unwrap(), "c-1".parse().unwrap(), amount);
        assert!(matches!(refused, Err(PaymentsError::Money(_))), "{minor_units}");
    }
}

#[tokio::test]
async fn a_charge_is_taken_while_the_ledger_is_away_and_posted_when_it_is_back() {
    let shop = Shop::open().await;
    shop.ledger.0.away.store(true, Ordering::SeqCst);
    assert_eq!(shop.charge("o-1", 600).await.unwrap(), Receipt::Pending);
    assert_eq!((shop.used().await, shop.ledger.total()), (600, 0));
    let stop = CancellationToken::new();
    let worker = tokio::spawn(run_worker(shop.payments.clone(), stop.clone()));
    shop.ledger.0.away.store(false, Ordering::SeqCst);
    shop.until_nothing_is_pending().await;
    assert_eq!(shop.ledger.total(), 600);
    assert_eq!(shop.charge("o-1", 600).await.unwrap(), Receipt::Posted);
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_was_lost_does_not_post_twice() {
    let mut shop = Shop::open().await;
    shop.ledger.0.loses_answers.store(true, Ordering::SeqCst);
    assert_eq!(shop.charge("o-1", 600).await.unwrap(), Receipt::Pending);
    shop.ledger.0.loses_answers.store(false, Ordering::SeqCst);
    shop.reopen(1000).await;
    let stop = CancellationToken::new();
    let worker = tokio::spawn(run_worker(shop.payments.clone(), stop.clone()));
    shop.until_nothing_is_pending().await;
    assert_eq!((shop.used().await, shop.ledger.total()), (600, 600));
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn a_crash_between_posting_and_writing_it_down_is_finished_by_the_worker() {
    let mut shop = Shop::open().await;
    shop.ledger.0.hangs.store(true, Ordering::SeqCst);
    let call = tokio::spawn({
        let payments = shop.payments.clone();
        async move { payments.charge(charge("o-1", "c-1", 600)).await }
    });
    while shop.ledger.total() == 0 {
        tokio::task::yield_now().await;
    }
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    shop.ledger.0.hangs.store(false, Ordering::SeqCst);
    shop.reopen(1000).await;
    assert_eq!(shop.pending().await, 1);
    let stop = CancellationToken::new();
    let worker = tokio::spawn(run_worker(shop.payments.clone(), stop.clone()));
    shop.until_nothing_is_pending().await;
    assert_eq!((shop.used().await, shop.ledger.total()), (600, 600));
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_its_charge_to_the_running_worker() {
    let shop = Shop::open().await;
    let stop = CancellationToken::new();
    let worker = tokio::spawn(run_worker(shop.payments.clone(), stop.clone()));
    shop.ledger.0.hangs.store(true, Ordering::SeqCst);
    let call = tokio::spawn({
        let payments = shop.payments.clone();
        async move { payments.charge(charge("o-1", "c-1", 600)).await }
    });
    while shop.ledger.total() == 0 {
        tokio::task::yield_now().await;
    }
    shop.ledger.0.hangs.store(false, Ordering::SeqCst);
    call.abort();
    shop.until_nothing_is_pending().await;
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn a_lower_limit_never_falls_below_what_is_used() {
    let mut shop = Shop::open().await;
    shop.charge("o-1", 600).await.unwrap();
    shop.reopen(100).await;
    let credit = shop.payments.credit("c-1".parse().unwrap(), Currency::Eur).await.unwrap();
    assert_eq!((credit.limit.minor_units, credit.used.minor_units), (600, 600));
    assert!(matches!(shop.charge("o-2", 1).await.unwrap(), Receipt::Declined(_)));
}

#[tokio::test]
async fn charges_at_once_never_use_more_than_the_credit() {
    let shop = Shop::open().await;
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let payments = shop.payments.clone();
            tokio::spawn(async move { payments.charge(charge(&format!("o-{n}"), "c-1", 100)).await.unwrap() })
        })
        .collect();
    let mut posted = 0;
    for call in calls {
        posted += i64::from(call.await.unwrap() == Receipt::Posted);
    }
    assert_eq!((posted, shop.used().await, shop.ledger.total()), (10, 1000, 1000));
}
