//! Tails the book: every posting after a cursor, then each new posting as it is written.
//!
//! Postings written by this process are sent at once; those of a replica on the same file, at the next poll of the
//! file. The follower's own cursor is the only state, so a stream may end anywhere at any time and be opened again.

use std::time::Duration;

use avouch_spiffe::Reason;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{Book, LedgerError, Recorded};

/// Postings read at a time.
const PAGE: u32 = 128;
/// Postings that are buffered for a slow follower; when the buffer is full, reading pauses.
const BUFFER: usize = 128;

/// The interval at which the file is polled for postings of other processes.
const LOOK: Duration = Duration::from_millis(500);

/// The reason why a stream ended before its follower left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TailEnd {
    /// The service is going down.
    #[error("the ledger is draining: go on after {cursor}")]
    Draining {
        /// The last sequence number that was sent, or the one the stream began with.
        cursor: u64,
    },
    /// The cursor is past the end of this book.
    #[error("the cursor {cursor} is beyond the book's end, {last}")]
    BeyondEnd {
        /// The requested cursor.
        cursor: u64,
        /// The last sequence number of the book.
        last: u64,
    },
    /// Reading failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<TailEnd> for Status {
    fn from(end: TailEnd) -> Self {
        let message = end.to_string();
        match end {
            TailEnd::Draining { cursor } => {
                avouch_identity::status(Reason::ConnectionRetiring, message, [("cursor", cursor.to_string())])
            }
            TailEnd::BeyondEnd { .. } => Self::out_of_range(message),
            TailEnd::Ledger(error) => error.into(),
        }
    }
}

/// A follower's stream of postings; the last item is the reason why it ended, unless it is complete.
pub(crate) type Tail = mpsc::Receiver<Result<Recorded, TailEnd>>;

/// Starts to follow `book` after the sequence number `after`, until the receiver is dropped or `draining` is cancelled.
///
/// With `stop_at_end` the stream ends without a reason when everything was sent.
pub(crate) fn follow(book: Book, after: u64, stop_at_end: bool, draining: CancellationToken) -> Tail {
    let (sender, receiver) = mpsc::channel(BUFFER);
    tokio::spawn(async move {
        let mut cursor = after;
        tokio::select! {
            // Polled in this order: nothing is read for a follower that has disconnected, and with `stop_at_end` a
            // stream that has reached its end is reported as complete even while the process drains.
            biased;
            () = sender.closed() => {}
            end = send_all(&book, &mut cursor, stop_at_end, &sender) => {
                if let Err(end) = end {
                    drop(sender.send(Err(end)).await);
                }
            }
            () = draining.cancelled() => {
                // Waits for room in the buffer, so that a slow follower never sees its stream end as if it were
                // complete.
                drop(sender.send(Err(TailEnd::Draining { cursor })).await);
            }
        }
    });
    receiver
}

async fn send_all(
    book: &Book,
    cursor: &mut u64,
    stop_at_end: bool,
    sender: &mpsc::Sender<Result<Recorded, TailEnd>>,
) -> Result<(), TailEnd> {
    let mut head = book.head();
    let last = book.last().await?;
    if *cursor > last {
        return Err(TailEnd::BeyondEnd { cursor: *cursor, last });
    }
    loop {
        let page = book.read(*cursor, PAGE).await?;
        if page.is_empty() {
            if stop_at_end {
                return Ok(());
            }
            let seen = *cursor;
            // Read again whether notified or timed out. The receiver cannot fail: the sender lives in `book`.
            drop(tokio::time::timeout(LOOK, head.wait_for(|head| *head > seen)).await);
            continue;
        }
        for recorded in page {
            let sequence = recorded.sequence;
            if sender.send(Ok(recorded)).await.is_err() {
                return Ok(());
            }
            *cursor = sequence;
        }
    }
}
