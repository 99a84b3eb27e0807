//! Posts the charges that were left pending by a crash, by an unavailable ledger, or by a caller that gave up.

use std::time::Duration;

use market_api::retry::Backoff;
use tokio_util::sync::CancellationToken;

use crate::{LedgerClient, Payments, PaymentsError};

/// The delay between rounds while something is pending.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(10) };
/// The longest time between two rounds, since a replica on the same database file does not wake this worker.
const ROUTINE: Duration = Duration::from_secs(30);
/// Charges read at a time.
const PAGE: u32 = 64;

/// Works until `stop` is cancelled. The first round begins at once: that is the recovery after a crash.
pub async fn run<L: LedgerClient>(payments: Payments<L>, stop: CancellationToken) {
    stop.run_until_cancelled(rounds(&payments)).await;
}

async fn rounds<L: LedgerClient>(payments: &Payments<L>) {
    let mut failures = 0;
    loop {
        match round(payments).await {
            Ok(0) => {
                failures = 0;
                // The next round begins whether the worker was woken or the time is over.
                let _ = tokio::time::timeout(ROUTINE, payments.left_pending()).await;
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

/// Tries every pending charge once, and returns how many are left. One that fails does not stop the others.
async fn round<L: LedgerClient>(payments: &Payments<L>) -> Result<u32, PaymentsError> {
    let (mut after, mut left) = (0, 0);
    loop {
        let page = payments.pending(after, PAGE).await?;
        if page.is_empty() {
            return Ok(left);
        }
        for (row, charge) in page {
            after = row;
            if !payments.settle(&charge).await {
                left += 1;
            }
        }
    }
}
