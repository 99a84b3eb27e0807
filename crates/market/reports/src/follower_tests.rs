use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use avouch_time::clock::ManualClock;
use futures_util::stream;
use market_api::ledger::v1::{Entry, Posting};
use market_api::money::{Currency, Money};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::CurrencyTotal;

/// How a stream of the fake ledger ends.
#[derive(Clone, Debug)]
enum Ends {
    With(Status),
    Silently,
    Never,
}

/// A fake ledger with given postings, each of whose streams ends after a number of postings in the way the script says.
#[derive(Clone, Debug)]
struct FakeLedger(Arc<Mutex<Script>>);

#[derive(Debug)]
struct Script {
    book: Vec<TailResponse>,
    streams: Vec<(usize, Ends)>,
    asked_after: Vec<u64>,
}

impl FakeLedger {
    fn new(book: Vec<TailResponse>, streams: impl IntoIterator<Item = (usize, Ends)>) -> Self {
        let mut streams: Vec<_> = streams.into_iter().collect();
        streams.reverse();
        Self(Arc::new(Mutex::new(Script { book, streams, asked_after: Vec::new() })))
    }

    fn asked_after(&self) -> Vec<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).asked_after.clone()
    }
}

impl Ledger for FakeLedger {
    type Tail = Pin<Box<dyn Stream<Item = Result<TailResponse, Status>> + Send>>;

    async fn tail(&self, after: u64) -> Result<Response<Self::Tail>, Status> {
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        script.asked_after.push(after);
        let (count, end) = script.streams.pop().unwrap_or((usize::MAX, Ends::Never));
        let postings: Vec<_> =
            script.book.iter().filter(|it| it.sequence > after).take(count).cloned().map(Ok).collect();
        let postings = stream::iter(postings);
        let tail: Self::Tail = match end {
            Ends::With(status) => Box::pin(postings.chain(stream::iter([Err(status)]))),
            Ends::Silently => Box::pin(postings),
            Ends::Never => Box::pin(postings.chain(stream::pending())),
        };
        Ok(Response::new(tail))
    }
}

fn posting(sequence: u64, customer: &str, minor_units: i64) -> TailResponse {
    let entry = |account: String, minor_units| Entry {
        account,
        amount: Some(Money { currency: Currency::Eur, minor_units }.into()),
    };
    let entries =
        vec![entry(format!("customers/{customer}"), minor_units), entry("sales".to_owned(), -minor_units)];
    TailResponse {
        sequence,
        posting: Some(Posting { posting_id: format!("p-{sequence}"), description: String::new(), entries }),
        ..TailResponse::default()
    }
}

fn book(length: u64) -> Vec<TailResponse> {
    (1..=length).map(|n| posting(n, if n % 2 == 0 { "even" } else { "odd" }, 100)).collect()
}

struct Office {
    folder: tempfile::TempDir,
    totals: Totals,
    status: FollowerStatus,
    _following: AbortOnDropHandle<()>,
}

fn open(folder: &tempfile::TempDir) -> Totals {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_234)).shared();
    Totals::open(&folder.path().join("reports.db"), clock).unwrap()
}

impl Office {
    fn follow(ledger: &FakeLedger, folder: tempfile::TempDir) -> Self {
        let totals = open(&folder);
        let follower = Follower::new(ledger.clone(), totals.clone());
        let status = follower.status();
        let following = AbortOnDropHandle::new(tokio::spawn(follower.run(CancellationToken::new())));
        Self { folder, totals, status, _following: following }
    }

    async fn until_cursor(&self, cursor: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.totals.cursor().await.unwrap() < cursor {
            assert!(Instant::now() < deadline, "the cursor stays at {:?}", self.totals.cursor().await);
            tokio::task::yield_now().await;
        }
    }

    async fn sales(&self) -> (i64, u64) {
        let summary = self.totals.summary(0).await.unwrap();
        summary.currencies.first().map_or((0, 0), |sum| (sum.sales.minor_units, sum.postings))
    }

    /// Keeps the database file and no other state, as a crash does.
    fn crash(self) -> tempfile::TempDir {
        self.folder
    }
}

fn retiring() -> Status {
    avouch_identity::status(Reason::ConnectionRetiring, "the connection retires", [])
}

#[tokio::test]
async fn every_posting_counts_once_however_often_the_stream_ends() {
    let ends = [
        (3, Ends::With(retiring())),
        (0, Ends::With(retiring())),
        (4, Ends::Silently),
        (1, Ends::With(Status::unavailable("gone"))),
        (2, Ends::With(Status::cancelled("cut"))),
    ];
    let ledger = FakeLedger::new(book(40), ends);
    let office = Office::follow(&ledger, tempfile::tempdir().unwrap());
    office.until_cursor(40).await;
    assert_eq!(office.sales().await, (4000, 40));
    assert_eq!(ledger.asked_after(), [0, 3, 3, 7, 8, 10]);
    assert_eq!((office.status.following(), office.status.opened()), (true, 6));
}

#[tokio::test]
async fn a_restart_goes_on_after_the_last_posting_that_was_counted() {
    let mut folder = tempfile::tempdir().unwrap();
    for length in [5, 5, 12, 300] {
        let ledger = FakeLedger::new(book(length), []);
        let office = Office::follow(&ledger, folder);
        office.until_cursor(length).await;
        assert_eq!(office.sales().await, (i64::try_from(length).unwrap() * 100, length));
        folder = office.crash();
    }
}

#[tokio::test]
async fn a_gap_or_a_repetition_stops_the_sums_where_they_are() {
    for wrong in [posting(4, "odd", 100), posting(2, "even", 100)] {
        let mut postings = book(2);
        postings.push(wrong);
        let folder = tempfile::tempdir().unwrap();
        let totals = open(&folder);
        let counted: Result<Vec<_>, _> = postings.into_iter().map(CountedPosting::try_from).collect();
        let refused = totals.count(counted.unwrap()).await;
        assert!(matches!(refused, Err(ReportsError::OutOfSequence { expected: 3, .. })));
        // The batch is one transaction: its two valid postings are not counted either.
        assert_eq!(totals.cursor().await.unwrap(), 0);
        assert_eq!(totals.summary(10).await.unwrap().currencies, []);
    }
}

#[tokio::test]
async fn another_ledger_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let office = Office::follow(&FakeLedger::new(book(5), []), folder);
    office.until_cursor(5).await;
    let ledger = FakeLedger::new(Vec::new(), [(0, Ends::With(Status::out_of_range("beyond")))]);
    let office = Office::follow(&ledger, office.crash());
    let deadline = Instant::now() + Duration::from_secs(20);
    while ledger.asked_after().len() < 2 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert_eq!(office.sales().await, (500, 5));
}

#[tokio::test]
async fn a_summary_names_the_best_customers_and_the_sums_by_currency() {
    let folder = tempfile::tempdir().unwrap();
    let totals = open(&folder);
    assert_eq!(totals.summary(10).await.unwrap().updated_at, None);
    let postings = [posting(1, "small", 100), posting(2, "big", 900), posting(3, "big", -200)];
    let counted = postings.into_iter().map(|it| CountedPosting::try_from(it).unwrap()).collect();
    totals.count(counted).await.unwrap();
    let summary = totals.summary(10).await.unwrap();
    let sales = Money { currency: Currency::Eur, minor_units: 800 };
    assert_eq!(summary.currencies, [CurrencyTotal { sales, postings: 3 }]);
    let customers: Vec<_> =
        summary.customers.iter().map(|it| (it.customer.as_str(), it.spent.minor_units)).collect();
    assert_eq!(customers, [("big", 700), ("small", 100)]);
    assert_eq!(totals.summary(1).await.unwrap().customers.len(), 1);
    assert_eq!(summary.updated_at, Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_234)));
}

#[test]
fn postings_that_make_no_sense_are_refused() {
    let mut empty = posting(1, "c", 1);
    empty.posting = None;
    assert!(matches!(CountedPosting::try_from(empty), Err(ReportsError::EmptyPosting(1))));
    let customer = posting(1, "Not An ID", 1);
    assert!(matches!(CountedPosting::try_from(customer), Err(ReportsError::Customer { sequence: 1, .. })));
    let mut money = posting(1, "c", 1);
    money.posting.as_mut().unwrap().entries[0].amount = None;
    assert!(matches!(CountedPosting::try_from(money), Err(ReportsError::Money { sequence: 1, .. })));
}
