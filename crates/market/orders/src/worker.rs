//! Finishes, or undoes, what was left behind: by a crash, by a service that was away, by a caller that gave up.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use market_api::retry::Backoff;
use tokio_util::sync::CancellationToken;

use crate::{Desk, Downstream, OrdersError};

/// Between rounds while something is unfinished.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(5) };
/// A round without being asked for, should a wake-up ever be lost.
const ROUTINE: Duration = Duration::from_secs(30);
/// Orders read at a time.
const PAGE: u32 = 256;
/// Orders worked on at a time.
const AT_ONCE: usize = 16;

/// Works until `stop` is cancelled. The first round begins at once: that is the recovery after a crash.
pub async fn run<D: Downstream>(desk: Desk<D>, stop: CancellationToken) {
    stop.run_until_cancelled(rounds(&desk)).await;
}

async fn rounds<D: Downstream>(desk: &Desk<D>) {
    let mut failures = 0;
    loop {
        match round(desk).await {
            Ok(0) => {
                failures = 0;
                // Either is a reason to look again.
                let _ = tokio::time::timeout(ROUTINE, desk.left()).await;
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

/// Tries every unfinished order once; how many are left. One that fails does not keep the others waiting.
async fn round<D: Downstream>(desk: &Desk<D>) -> Result<u32, OrdersError> {
    let left = AtomicU32::new(0);
    let mut after = 0;
    loop {
        let page = desk.unfinished(after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(left.load(Ordering::Relaxed)) };
        after = *last;
        futures_util::stream::iter(page)
            .for_each_concurrent(AT_ONCE, async |(_, order)| {
                if !desk.finish(&order).await {
                    left.fetch_add(1, Ordering::Relaxed);
                }
            })
            .await;
    }
}
