//! Places a stream of orders, several at a time, and runs the trickle.

use std::io;
use std::time::Duration;

use tokio::io::AsyncBufRead;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    Line, OrderJson, OrderOutcome, OrderReader, OrdersClient, Submitted, Submitter, Totals, Trickle,
};

/// The most orders of the trickle under way; beyond that orders are skipped, so that they do not pile up while the orders
/// service is away.
const TRICKLE_AT_ONCE: usize = 64;

/// The options of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    /// The most orders under way at the same time.
    pub concurrency: usize,
}

/// The result of a stream.
#[derive(Debug)]
pub struct StreamEnd {
    /// The totals of its orders.
    pub totals: Totals,
    /// Its orders, for a trickle; at most [`Trickle::MAX_TEMPLATES`].
    pub templates: Vec<OrderJson>,
    /// The error that stopped reading before the end, if one did; the orders read by then are in the totals.
    pub error: Option<io::Error>,
}

/// Places all orders of `lines`. When `stop` is cancelled no more are read, and those under way are waited for.
pub async fn run_stream<D, R>(
    mut lines: OrderReader<R>,
    submitter: &Submitter<D>,
    options: StreamOptions,
    stop: &CancellationToken,
) -> StreamEnd
where
    D: OrdersClient,
    R: AsyncBufRead + Unpin,
{
    let began = Instant::now();
    let mut end = StreamEnd { totals: Totals::default(), templates: Vec::new(), error: None };
    let mut under_way = JoinSet::new();
    while let Some(line) = stop.run_until_cancelled(lines.next()).await {
        let Line { number, order } = match line {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => {
                end.error = Some(error);
                break;
            }
        };
        match order {
            Err(reason) => end.totals.add_malformed(number, reason),
            Ok(order) => {
                if end.templates.len() < Trickle::MAX_TEMPLATES {
                    end.templates.push(order.clone());
                }
                let submitter = submitter.clone();
                under_way.spawn(async move { (number, submitter.submit(order.into()).await) });
            }
        }
        while let Some(done) = under_way.try_join_next() {
            count(&mut end.totals, done);
        }
        if under_way.len() >= options.concurrency
            && let Some(done) = under_way.join_next().await
        {
            count(&mut end.totals, done);
        }
    }
    while let Some(done) = under_way.join_next().await {
        count(&mut end.totals, done);
    }
    end.totals.elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    end
}

fn count(totals: &mut Totals, done: Result<(u64, Submitted), JoinError>) {
    match done {
        Ok((line, submitted)) => totals.add(line, submitted),
        Err(error) => {
            let outcome = OrderOutcome::Failed(Status::internal(error.to_string()));
            totals.add(0, Submitted { outcome, retries: 0 });
        }
    }
}

/// Places an order every `interval` until `stop` is cancelled, then waits for those under way.
pub async fn run_trickle<D: OrdersClient>(
    mut trickle: Trickle,
    interval: Duration,
    submitter: Submitter<D>,
    stop: &CancellationToken,
) {
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= TRICKLE_AT_ONCE {
            continue;
        }
        let Some(order) = trickle.next_order() else { break };
        let submitter = submitter.clone();
        under_way.spawn(async move {
            let order_id = order.order_id.clone();
            let submitted = submitter.submit(order.into()).await;
            tracing::info!(order_id, outcome = submitted.outcome.name(), "trickle");
        });
    }
    while under_way.join_next().await.is_some() {}
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
