//! Following the book: everything after a cursor, then live.
//!
//! What this process writes is sent at once; what a replica on the same file writes, at the next look.
//! The follower's own cursor is the only state, so a stream may end anywhere at any time and be opened again.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Book, LedgerError, Recorded};

/// Postings read at a time.
const PAGE: u32 = 128;
/// Postings that wait for a slow follower; then reading pauses.
const BUFFER: usize = 128;

/// Between two looks at the file for postings of other processes.
const LOOK: Duration = Duration::from_millis(500);

/// Why a stream ended before its follower wanted it to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TailEnd {
    /// The service is going down.
    #[error("the ledger is draining: go on after {cursor}")]
    Draining {
        /// The last sequence number that was sent, or the one the stream began with.
        cursor: u64,
    },
    /// The cursor is not of this book.
    #[error("the cursor {cursor} is beyond the book's end, {last}")]
    BeyondEnd {
        /// What was asked for.
        cursor: u64,
        /// What there is.
        last: u64,
    },
    /// Reading failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What a follower gets: postings, at last perhaps a reason.
pub(crate) type Tail = mpsc::Receiver<Result<Recorded, TailEnd>>;

/// Starts to follow `book` after the sequence number `after`, until the receiver is dropped or `draining` is cancelled.
///
/// With `stop_at_end` the stream ends without a reason when everything was sent.
pub(crate) fn follow(book: Book, after: u64, stop_at_end: bool, draining: CancellationToken) -> Tail {
    let (sender, receiver) = mpsc::channel(BUFFER);
    tokio::spawn(async move {
        let mut cursor = after;
        tokio::select! {
            biased;
            () = sender.closed() => {}
            end = send_all(&book, &mut cursor, stop_at_end, &sender) => {
                if let Err(end) = end {
                    drop(sender.send(Err(end)).await);
                }
            }
            () = draining.cancelled() => {
                // Waits for a slow follower, so that the stream never ends as if it were complete.
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
            // Either is a reason to read again; the sender lives in `book`.
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
