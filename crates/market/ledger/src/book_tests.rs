use std::time::{Duration, UNIX_EPOCH};

use avouch_sqlite::rusqlite;
use avouch_time::clock::ManualClock;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::tail::{self, TailEnd};
use crate::{CurrencyTotal, Entry};

struct Office {
    folder: tempfile::TempDir,
    book: Book,
}

fn clock() -> SharedClock {
    ManualClock::new(UNIX_EPOCH + Duration::from_millis(1_234)).shared()
}

impl Office {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(&folder.path().join("ledger.db"), clock()).await.unwrap();
        Self { folder, book }
    }

    /// Keeps the database file and no other state, as a crash does.
    async fn reopen(&mut self) {
        self.book = Book::open(&self.folder.path().join("ledger.db"), clock()).await.unwrap();
    }

    /// A direct SQLite connection that bypasses the service, as anybody with access to the file can open.
    fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("ledger.db")).unwrap()
    }

    async fn sell(&self, id: &str, customer: &str, minor_units: i64) -> Result<Posted, LedgerError> {
        self.book.post(sale(id, customer, minor_units), &payments()).await
    }
}

fn payments() -> SpiffeId {
    "spiffe://market.example/payments".parse().unwrap()
}

fn sale(id: &str, customer: &str, minor_units: i64) -> Posting {
    let entry = |account: &str, minor_units| Entry {
        account: account.parse().unwrap(),
        amount: Money { currency: Currency::Eur, minor_units },
    };
    let entries = vec![entry(&format!("customers/{customer}"), minor_units), entry("sales", -minor_units)];
    Posting::new(id.parse().unwrap(), format!("sale {id}"), entries).unwrap()
}

async fn collect(mut tail: tail::Tail, count: usize) -> Vec<u64> {
    let mut sequences = Vec::new();
    for _ in 0..count {
        let item = tokio::time::timeout(Duration::from_secs(10), tail.recv()).await.unwrap();
        sequences.push(item.unwrap().unwrap().sequence);
    }
    sequences
}

#[tokio::test]
async fn postings_are_numbered_without_gaps_and_read_back_as_they_were() {
    let mut office = Office::open().await;
    office.sell("p-1", "c-1", 500).await.unwrap();
    // A refused posting uses no sequence number.
    assert!(office.sell("p-1", "c-1", 501).await.is_err());
    office.sell("p-2", "c-2", 300).await.unwrap();
    office.reopen().await;
    let read = office.book.read(0, 10).await.unwrap();
    assert_eq!(read.iter().map(|recorded| recorded.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(read[1].posting, sale("p-2", "c-2", 300));
    assert_eq!(read[1].by, "spiffe://market.example/payments");
    assert_eq!(read[1].at, UNIX_EPOCH + Duration::from_millis(1_234));
}

#[tokio::test]
async fn a_repeated_posting_keeps_its_first_number() {
    let mut office = Office::open().await;
    assert_eq!(office.sell("p-1", "c-1", 500).await.unwrap(), Posted { sequence: 1, created: true });
    office.sell("p-2", "c-1", 500).await.unwrap();
    office.reopen().await;
    assert_eq!(office.sell("p-1", "c-1", 500).await.unwrap(), Posted { sequence: 1, created: false });
    assert_eq!(office.book.totals().await.unwrap().last_sequence, 2);
}

#[tokio::test]
async fn the_same_id_with_other_content_is_refused() {
    let office = Office::open().await;
    office.sell("p-1", "c-1", 500).await.unwrap();
    for other in [sale("p-1", "c-1", 501), sale("p-1", "c-2", 500)] {
        let refused = office.book.post(other, &payments()).await;
        assert!(matches!(refused, Err(LedgerError::OtherContent)));
    }
}

#[tokio::test]
async fn balances_and_totals_add_up() {
    let office = Office::open().await;
    office.sell("p-1", "c-1", 500).await.unwrap();
    office.sell("p-2", "c-1", 300).await.unwrap();
    office.sell("p-3", "c-2", 200).await.unwrap();
    let balance = async |account: &str, currency| {
        office.book.balance(account.parse().unwrap(), currency).await.unwrap().minor_units
    };
    assert_eq!(balance("customers/c-1", Currency::Eur).await, 800);
    assert_eq!(balance("sales", Currency::Eur).await, -1000);
    assert_eq!(balance("sales", Currency::Usd).await, 0);
    assert_eq!(balance("nobody", Currency::Eur).await, 0);
    let totals = office.book.totals().await.unwrap();
    let eur = CurrencyTotal { currency: Currency::Eur, postings: 3, debits_minor: 1000, credits_minor: 1000 };
    assert_eq!(totals, Totals { currencies: vec![eur], last_sequence: 3 });
}

#[tokio::test]
async fn nothing_that_is_written_can_be_changed_even_with_the_file_in_hand() {
    let office = Office::open().await;
    office.sell("p-1", "c-1", 500).await.unwrap();
    office.sell("p-2", "c-1", 500).await.unwrap();
    let raw = office.raw();
    for statement in [
        "UPDATE posting SET description = 'x'",
        "UPDATE entry SET minor_units = 1",
        "DELETE FROM posting WHERE sequence = 2",
        "DELETE FROM entry",
        "INSERT OR REPLACE INTO posting VALUES (1, 'p-9', '', 0, '')",
        "INSERT OR REPLACE INTO posting VALUES (9, 'p-1', '', 0, '')",
        "REPLACE INTO entry VALUES (2, 1, 'customers/c-1', 'EUR', 1)",
        "INSERT INTO entry VALUES (1, 9, 'customers/c-1', 'EUR', 1)",
        "INSERT INTO posting (posting_id, description, posted_at_ms, posted_by) VALUES ('p-1', '', 0, '')
         ON CONFLICT (posting_id) DO UPDATE SET description = 'x'",
    ] {
        let refused = raw.execute_batch(statement).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
    let read = office.book.read(0, 10).await.unwrap();
    assert_eq!(read[0].posting, sale("p-1", "c-1", 500));
    assert_eq!(read.len(), 2);
}

#[tokio::test]
async fn a_follower_gets_what_is_after_its_cursor_and_then_live() {
    let office = Office::open().await;
    for n in 1..=300 {
        office.sell(&format!("p-{n}"), "c-1", n).await.unwrap();
    }
    let tail = tail::follow(office.book.clone(), 100, false, CancellationToken::new());
    let following = tokio::spawn(collect(tail, 202));
    office.sell("p-301", "c-1", 1).await.unwrap();
    office.sell("p-302", "c-1", 1).await.unwrap();
    assert_eq!(following.await.unwrap(), (101..=302).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_stream_that_stops_at_the_end_ends_without_a_reason() {
    let office = Office::open().await;
    office.sell("p-1", "c-1", 1).await.unwrap();
    let mut tail = tail::follow(office.book.clone(), 0, true, CancellationToken::new());
    assert_eq!(tail.recv().await.unwrap().unwrap().sequence, 1);
    assert!(tail.recv().await.is_none());
}

#[tokio::test]
async fn a_drain_ends_streams_with_the_cursor_to_go_on_from() {
    let office = Office::open().await;
    office.sell("p-1", "c-1", 1).await.unwrap();
    let draining = CancellationToken::new();
    let mut tail = tail::follow(office.book.clone(), 0, false, draining.clone());
    tail.recv().await.unwrap().unwrap();
    draining.cancel();
    let end = tail.recv().await.unwrap().unwrap_err();
    assert!(matches!(end, TailEnd::Draining { cursor: 1 }), "{end}");
    assert!(tail.recv().await.is_none());
    let status = tonic::Status::from(end);
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(avouch_identity::reason(&status), Some(avouch_spiffe::Reason::ConnectionRetiring));
}

#[tokio::test]
async fn a_cursor_of_another_book_is_refused() {
    let office = Office::open().await;
    office.sell("p-1", "c-1", 1).await.unwrap();
    for cursor in [2, u64::MAX] {
        let mut tail = tail::follow(office.book.clone(), cursor, false, CancellationToken::new());
        let end = tail.recv().await.unwrap().unwrap_err();
        assert!(matches!(end, TailEnd::BeyondEnd { last: 1, .. }), "{end}");
    }
}

#[tokio::test]
async fn following_across_restarts_sees_each_posting_once() {
    let mut office = Office::open().await;
    let mut seen = Vec::new();
    for round in 0..5_u64 {
        for n in 0..3 {
            office.sell(&format!("p-{round}-{n}"), "c-1", 1).await.unwrap();
        }
        // Two of the three postings arrive before the stream and the service end.
        let cursor = seen.last().copied().unwrap_or(0);
        let tail = tail::follow(office.book.clone(), cursor, false, CancellationToken::new());
        seen.extend(collect(tail, 2).await);
        office.reopen().await;
    }
    let tail = tail::follow(office.book.clone(), 10, false, CancellationToken::new());
    seen.extend(collect(tail, 5).await);
    assert_eq!(seen, (1..=15).collect::<Vec<u64>>());
}

#[tokio::test]
async fn postings_at_once_all_reach_the_follower_in_order() {
    let office = Office::open().await;
    let tail = tail::follow(office.book.clone(), 0, false, CancellationToken::new());
    let following = tokio::spawn(collect(tail, 100));
    let posts: Vec<_> = (0..100)
        .map(|n| {
            let book = office.book.clone();
            tokio::spawn(async move {
                book.post(sale(&format!("p-{n}"), "c-1", 1), &payments()).await.unwrap();
            })
        })
        .collect();
    for post in posts {
        post.await.unwrap();
    }
    assert_eq!(following.await.unwrap(), (1..=100).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_posting_whose_caller_went_away_reaches_the_follower_and_its_cursor_is_of_the_book() {
    let office = Office::open().await;
    let tail = tail::follow(office.book.clone(), 0, false, CancellationToken::new());
    let following = tokio::spawn(collect(tail, 1));
    {
        // After one poll its job is in the store's queue; then the call is cancelled.
        let post = office.sell("p-1", "c-1", 1);
        let mut post = std::pin::pin!(post);
        let once = std::future::poll_fn(|context| std::task::Poll::Ready(post.as_mut().poll(context)));
        drop(once.await);
    }
    assert_eq!(following.await.unwrap(), [1]);
    let mut tail = tail::follow(office.book.clone(), 1, true, CancellationToken::new());
    assert!(tail.recv().await.is_none(), "the cursor is refused");
}

#[tokio::test]
async fn a_follower_gets_what_a_replica_on_the_same_file_posts_and_may_begin_beyond_what_was_posted_here() {
    let office = Office::open().await;
    let replica = Book::open(&office.folder.path().join("ledger.db"), clock()).await.unwrap();
    let tail = tail::follow(office.book.clone(), 0, false, CancellationToken::new());
    for id in ["a", "b"] {
        replica.post(sale(id, "c-1", 500), &payments()).await.unwrap();
    }
    assert_eq!(collect(tail, 2).await, [1, 2]);
    let tail = tail::follow(office.book.clone(), 2, false, CancellationToken::new());
    replica.post(sale("c", "c-1", 500), &payments()).await.unwrap();
    assert_eq!(collect(tail, 1).await, [3]);
}
