//! Follows the ledger: opens its tail after the cursor, counts what comes, and again when the stream ends.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use avouch_service::TracedChannel;
use avouch_spiffe::Reason;
use futures_util::{Stream, StreamExt as _};
use market_api::ledger::v1::ledger_client::LedgerClient;
use market_api::ledger::v1::{TailRequest, TailResponse};
use market_api::retry::Backoff;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::{Counted, ReportsError, Sums};

/// Between two streams after a failure. A stream that ends as announced is opened again at once.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(5) };
/// Postings counted in one transaction at most.
const BATCH: usize = 128;

/// The seam to the ledger. Its gRPC side is [`LedgerTail`].
pub trait Ledger: Send + Sync + 'static {
    /// Its postings.
    type Tail: Stream<Item = Result<TailResponse, Status>> + Send + Unpin;

    /// Opens the tail after a sequence number.
    fn tail(&self, after: u64) -> impl Future<Output = Result<Self::Tail, Status>> + Send;
}

/// The ledger service.
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

    async fn tail(&self, after: u64) -> Result<Self::Tail, Status> {
        let request = TailRequest { after_sequence: after, stop_at_end: false };
        Ok(self.client.clone().tail(request).await?.into_inner())
    }
}

/// How following goes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    following: AtomicBool,
    opened: AtomicU64,
}

impl Standing {
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
}

/// Why a stream is over.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The ledger or the connection ended it.
    #[error("{:?}: {}", .0.code(), .0.message())]
    Status(#[from] Status),
    /// What came cannot be counted, or not be kept.
    #[error(transparent)]
    Reports(#[from] ReportsError),
}

/// Keeps [`Sums`] up with a [`Ledger`].
#[derive(Debug)]
pub struct Follower<L> {
    ledger: L,
    sums: Sums,
    standing: Standing,
}

impl<L: Ledger> Follower<L> {
    /// Follows `ledger` into `sums`.
    pub fn new(ledger: L, sums: Sums) -> Self {
        Self { ledger, sums, standing: Standing::default() }
    }

    /// How following goes.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Follows until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.streams()).await;
    }

    async fn streams(&self) {
        let mut failures = 0;
        loop {
            let before = self.standing.opened();
            let end = self.one_stream().await;
            self.standing.0.following.store(false, Ordering::Relaxed);
            // A stream that was open has cured whatever failed before it.
            failures = if self.standing.opened() > before { 1 } else { failures + 1 };
            match end {
                End::Status(status)
                    if avouch_identity::reason(&status) == Some(Reason::ConnectionRetiring) =>
                {
                    tracing::info!(error = status.message(), "the ledger's stream retires: opening it again");
                    // One at a time and never in a tight circle, even if every stream retired at once.
                    tokio::time::sleep(BACKOFF.base / 10).await;
                    continue;
                }
                End::Status(status) if status.code() == Code::OutOfRange => {
                    tracing::error!(
                        error = status.message(),
                        "this is another ledger: the sums stay as they are"
                    );
                }
                End::Status(status) => {
                    tracing::warn!(code = ?status.code(), error = status.message(), "the ledger's stream ended");
                }
                End::Reports(error) => {
                    tracing::error!(%error, "what the ledger sent cannot be counted: the sums stay as they are");
                }
            }
            tokio::time::sleep(BACKOFF.delay(failures, "ledger")).await;
        }
    }

    /// Until the stream ends.
    async fn one_stream(&self) -> End {
        match self.follow().await {
            Ok(()) => End::Status(Status::unavailable("the stream ended without a reason")),
            Err(end) => end,
        }
    }

    async fn follow(&self) -> Result<(), End> {
        let cursor = self.sums.cursor().await?;
        let tail = self.ledger.tail(cursor).await?;
        self.standing.0.opened.fetch_add(1, Ordering::Relaxed);
        self.standing.0.following.store(true, Ordering::Relaxed);
        tracing::info!(cursor, "following the ledger");
        // What is there already is counted together; what comes live, one by one.
        let mut batches = tail.ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            let mut counted = Vec::with_capacity(batch.len());
            let mut end = Ok(());
            for item in batch {
                match item {
                    Ok(response) => counted.push(Counted::try_from(response)?),
                    Err(status) => end = Err(End::Status(status)),
                }
            }
            if !counted.is_empty() {
                self.sums.count(counted).await?;
            }
            end?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
