//! Finishes or rolls back the orders that were left unfinished by a crash, by an unavailable service, or by a caller
//! that gave up.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use market_api::retry::Backoff;
use tokio_util::sync::CancellationToken;

use crate::{Downstream, Orders, OrdersError};

/// The delay between rounds while something is unfinished.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(5) };
/// The longest time between two rounds, since a replica on the same database file does not wake this worker.
const ROUTINE: Duration = Duration::from_secs(30);
/// Orders read at a time.
const PAGE: u32 = 256;
/// Orders worked on at a time.
const AT_ONCE: usize = 16;

/// Works until `stop` is cancelled. The first round begins at once: that is the recovery after a crash.
pub async fn run<D: Downstream>(orders: Orders<D>, stop: CancellationToken) {
    stop.run_until_cancelled(rounds(&orders)).await;
}

async fn rounds<D: Downstream>(orders: &Orders<D>) {
    let mut failures = 0;
    loop {
        match round(orders).await {
            Ok(0) => {
                failures = 0;
                // The next round begins whether the worker was woken or the time is over.
                let _ = tokio::time::timeout(ROUTINE, orders.left()).await;
            }
            Ok(left) => {
                failures += 1;
                tracing::info!(left, "orders wait for a service behind this one");
                tokio::time::sleep(BACKOFF.delay(failures, "orders")).await;
            }
            Err(error) => {
                failures += 1;
                tracing::error!(%error, "cannot read the unfinished orders");
                tokio::time::sleep(BACKOFF.delay(failures, "store")).await;
            }
        }
    }
}

/// Tries every unfinished order once, and returns how many are left. One that fails does not stop the others.
async fn round<D: Downstream>(orders: &Orders<D>) -> Result<u32, OrdersError> {
    let left = AtomicU32::new(0);
    let mut after = 0;
    loop {
        let page = orders.unfinished(after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(left.load(Ordering::Relaxed)) };
        after = *last;
        futures_util::stream::iter(page)
            .for_each_concurrent(AT_ONCE, async |(_, order)| {
                if !orders.finish(&order).await {
                    left.fetch_add(1, Ordering::Relaxed);
                }
            })
            .await;
    }
}
