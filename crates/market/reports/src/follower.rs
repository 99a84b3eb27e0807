//! Follows the ledger: counts its postings after the cursor, and opens the stream again as often as it ends.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use avouch_identity::{ResumableStream, ResumeEvent};
use avouch_service::TracedChannel;
use avouch_spiffe::Reason;
use futures_util::{Stream, StreamExt as _};
use market_api::ledger::v1::ledger_client::LedgerClient;
use market_api::ledger::v1::{TailRequest, TailResponse};
use market_api::retry::Backoff;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status};

use crate::{CountedPosting, ReportsError, Totals};

/// The delay after a failure that is not transient: the ledger denies the call, or postings cannot be counted.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(5) };
/// Postings counted in one transaction at most.
const BATCH: usize = 128;

/// The interface to the ledger. [`LedgerTail`] implements it over gRPC.
pub trait Ledger: Send + Sync + 'static {
    /// The stream of its postings.
    type Tail: Stream<Item = Result<TailResponse, Status>> + Send + Unpin + 'static;

    /// Opens the tail after a sequence number.
    fn tail(&self, after: u64) -> impl Future<Output = Result<Response<Self::Tail>, Status>> + Send;
}

/// The ledger service over gRPC.
#[derive(Clone, Debug)]
pub struct LedgerTail {
    client: LedgerClient<TracedChannel>,
}

impl LedgerTail {
    /// The ledger at the other end of `channel`.
    #[must_use]
    pub fn new(channel: TracedChannel) -> Self {
        Self { client: LedgerClient::new(channel) }
    }
}

impl Ledger for LedgerTail {
    type Tail = tonic::Streaming<TailResponse>;

    async fn tail(&self, after: u64) -> Result<Response<Self::Tail>, Status> {
        self.client.clone().tail(TailRequest { after_sequence: after, stop_at_end: false }).await
    }
}

/// The state of the follower. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FollowerStatus(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    following: AtomicBool,
    opened: AtomicU64,
}

impl FollowerStatus {
    /// Whether a stream is open.
    #[must_use]
    pub fn following(&self) -> bool {
        self.0.following.load(Ordering::Relaxed)
    }

    /// How many streams were opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed)
    }

    fn note(&self, event: ResumeEvent<'_>) {
        match event {
            ResumeEvent::Opened | ResumeEvent::Moved => {
                self.0.opened.fetch_add(1, Ordering::Relaxed);
                self.0.following.store(true, Ordering::Relaxed);
                tracing::info!(how = ?event, "following the ledger");
            }
            ResumeEvent::Ended(status) => {
                self.0.following.store(false, Ordering::Relaxed);
                let error = status.message();
                if avouch_identity::reason(status) == Some(Reason::ConnectionRetiring) {
                    tracing::info!(error, "the ledger's stream retires: opening it again");
                } else {
                    tracing::warn!(code = ?status.code(), error, "the ledger's stream ended");
                }
            }
            ResumeEvent::NotOpened(status) => {
                let error = status.message();
                tracing::warn!(code = ?status.code(), error, "the ledger's stream cannot be opened");
            }
            _ => {}
        }
    }
}

/// The reason why a stream is over.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The ledger or the connection ended it.
    #[error("{:?}: {}", .0.code(), .0.message())]
    Status(#[from] Status),
    /// A posting cannot be counted, or the totals not be stored.
    #[error(transparent)]
    Reports(#[from] ReportsError),
}

/// Keeps [`Totals`] up to date with a [`Ledger`].
#[derive(Debug)]
pub struct Follower<L> {
    ledger: Arc<L>,
    totals: Totals,
    status: FollowerStatus,
}

impl<L: Ledger> Follower<L> {
    /// Follows `ledger` into `totals`.
    pub fn new(ledger: L, totals: Totals) -> Self {
        Self { ledger: Arc::new(ledger), totals, status: FollowerStatus::default() }
    }

    /// The state of the follower.
    #[must_use]
    pub fn status(&self) -> FollowerStatus {
        self.status.clone()
    }

    /// Follows until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.for_ever()).await;
    }

    async fn for_ever(&self) {
        let mut failures = 0;
        loop {
            let before = self.status.opened();
            let end = self.follow().await;
            self.status.0.following.store(false, Ordering::Relaxed);
            // A stream that was opened resets the count of failures in a row.
            failures = if self.status.opened() > before { 1 } else { failures + 1 };
            match end {
                End::Status(status) if status.code() == Code::OutOfRange => {
                    let error = status.message();
                    tracing::error!(error, "this is another ledger: the totals stay as they are");
                }
                End::Status(status) => {
                    tracing::warn!(code = ?status.code(), error = status.message(), "the ledger is not followed");
                }
                End::Reports(error) => {
                    tracing::error!(%error, "what the ledger sent cannot be counted: the totals stay as they are");
                }
            }
            tokio::time::sleep(BACKOFF.delay(failures, "ledger")).await;
        }
    }

    /// Follows until a failure that is not transient.
    async fn follow(&self) -> End {
        match self.count().await {
            Ok(()) => End::Status(Status::unavailable("the stream ended without a reason")),
            Err(end) => end,
        }
    }

    async fn count(&self) -> Result<(), End> {
        let mut batches = self.postings(self.totals.cursor().await?).ready_chunks(BATCH);
        // Existing postings are counted in batches, one transaction each; live ones as they arrive.
        while let Some(batch) = batches.next().await {
            let mut counted = Vec::with_capacity(batch.len());
            let mut end = Ok(());
            for item in batch {
                match item {
                    Ok(response) => counted.push(CountedPosting::try_from(response)?),
                    Err(status) => end = Err(End::Status(status)),
                }
            }
            if !counted.is_empty() {
                self.totals.count(counted).await?;
            }
            end?;
        }
        Ok(())
    }

    /// The postings after `cursor`, each exactly once, however often the stream is opened again.
    fn postings(&self, cursor: u64) -> ResumableStream<u64, TailResponse, L::Tail> {
        let (ledger, status) = (self.ledger.clone(), self.status.clone());
        let open = move |after| {
            let ledger = ledger.clone();
            async move { ledger.tail(after).await }
        };
        let postings = ResumableStream::new(cursor, open, |posting: &TailResponse| posting.sequence);
        postings.observer(move |event| status.note(event))
    }
}

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
