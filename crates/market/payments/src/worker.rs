//! Posts what was left pending: by a crash, by a ledger that was away, by a caller that gave up.

use std::time::Duration;

use market_api::retry::Backoff;
use tokio_util::sync::CancellationToken;

use crate::{Book, PaymentsError, Till};

/// Between rounds while something is pending.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(10) };
/// A round without being asked for, should a wake-up ever be lost.
const ROUTINE: Duration = Duration::from_secs(30);
/// Charges read at a time.
const PAGE: u32 = 64;

/// Works until `stop` is cancelled. The first round begins at once: that is the recovery after a crash.
pub async fn run<B: Book>(till: Till<B>, stop: CancellationToken) {
    stop.run_until_cancelled(rounds(&till)).await;
}

async fn rounds<B: Book>(till: &Till<B>) {
    let mut failures = 0;
    loop {
        match round(till).await {
            Ok(0) => {
                failures = 0;
                // Either is a reason to look again.
                let _ = tokio::time::timeout(ROUTINE, till.left_pending()).await;
            }
            Ok(left) => {
                failures += 1;
                tracing::info!(left, "charges are waiting for the ledger");
                tokio::time::sleep(BACKOFF.delay(failures, "ledger")).await;
            }
            Err(error) => {
                failures += 1;
                tracing::error!(%error, "cannot read the pending charges");
                tokio::time::sleep(BACKOFF.delay(failures, "store")).await;
            }
        }
    }
}

/// Tries every pending charge once; how many are left. One that fails does not keep the others waiting.
async fn round<B: Book>(till: &Till<B>) -> Result<u32, PaymentsError> {
    let (mut after, mut left) = (0, 0);
    loop {
        let page = till.pending(after, PAGE).await?;
        if page.is_empty() {
            return Ok(left);
        }
        for (row, charge) in page {
            after = row;
            if !till.settle(&charge).await {
                left += 1;
            }
        }
    }
}
