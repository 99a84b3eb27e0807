//! Drives one order to a final state: places it, retries what may be retried, and waits until it is final.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use avouch_service::telemetry::{Tracing, context_from_env};
use market_api::orders::v1::{Order, OrderState, PlaceOrderRequest};
use market_api::retry::{Backoff, is_retryable};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::OrdersClient;
use crate::order_json::is_final;

/// The options of placing an order.
#[derive(Clone, Copy, Debug)]
pub struct SubmitOptions {
    /// The delays between two attempts.
    pub backoff: Backoff,
    /// The time from the first attempt after which an order is given up.
    pub deadline: Duration,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        let backoff = Backoff { base: Duration::from_millis(50), max: Duration::from_secs(2) };
        Self { backoff, deadline: Duration::from_secs(120) }
    }
}

/// The outcome of an order.
#[derive(Clone, Debug)]
pub enum OrderOutcome {
    /// Accepted and delivered.
    Completed(Order),
    /// Accepted and rejected, for want of stock or credit.
    Rejected(Order),
    /// Not accepted: it breaks a rule.
    Invalid(Status),
    /// Not accepted: its ID was used for another order.
    Conflict(Status),
    /// A call failed in a way that a retry does not help.
    Failed(Status),
    /// Given up at the deadline, with the last answer.
    GaveUp(String),
}

/// An outcome, and the number of retries.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The outcome.
    pub outcome: OrderOutcome,
    /// The number of calls that were retried.
    pub retries: u32,
}

/// Places orders. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Submitter<D> {
    client: D,
    options: SubmitOptions,
    tracing: Tracing,
    /// Set until the first order, which belongs to the trace of the caller who started the process; each later one begins
    /// its own trace.
    first: Arc<AtomicBool>,
}

impl<D: OrdersClient> Submitter<D> {
    /// Places orders at `client`, each in a trace of its own.
    pub fn new(client: D, options: SubmitOptions, tracing: Tracing) -> Self {
        Self { client, options, tracing, first: Arc::new(AtomicBool::new(true)) }
    }

    /// Places an order and waits for its end. Every try carries the same order ID.
    pub async fn submit(&self, request: PlaceOrderRequest) -> Submitted {
        let first = self.first.swap(false, Ordering::Relaxed);
        let parent = if first { context_from_env() } else { None };
        self.tracing.scope("order", parent, self.see_through(request)).await
    }

    #[tracing::instrument(skip_all, fields(order_id = request.order_id, outcome))]
    async fn see_through(&self, request: PlaceOrderRequest) -> Submitted {
        let deadline = Instant::now() + self.options.deadline;
        let mut retries = 0;
        let mut taken = false;
        let outcome = loop {
            let answer = if taken {
                self.client.get(request.order_id.clone()).await
            } else {
                self.client.place(request.clone()).await
            };
            let heard = match answer {
                Ok(order) if is_final(&order) => break end(order),
                Ok(order) => {
                    taken = true;
                    order.state().as_str_name().to_owned()
                }
                Err(status) if is_retryable(&status) => format!("{:?}: {}", status.code(), status.message()),
                Err(status) => break refused(status),
            };
            retries += 1;
            let wake = Instant::now() + self.options.backoff.delay(retries, &request.order_id);
            if wake > deadline {
                break OrderOutcome::GaveUp(heard);
            }
            tokio::time::sleep_until(wake).await;
        };
        tracing::Span::current().record("outcome", outcome.name());
        Submitted { outcome, retries }
    }
}

fn end(order: Order) -> OrderOutcome {
    if order.state() == OrderState::Completed {
        OrderOutcome::Completed(order)
    } else {
        OrderOutcome::Rejected(order)
    }
}

fn refused(status: Status) -> OrderOutcome {
    match status.code() {
        Code::InvalidArgument => OrderOutcome::Invalid(status),
        Code::AlreadyExists => OrderOutcome::Conflict(status),
        _ => OrderOutcome::Failed(status),
    }
}

impl OrderOutcome {
    /// The outcome in one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::Rejected(_) => "rejected",
            Self::Invalid(_) => "invalid",
            Self::Conflict(_) => "conflict",
            Self::Failed(_) => "failed",
            Self::GaveUp(_) => "gave up",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::totals::tests::{FakeOrders, request};

    fn submitter(client: &FakeOrders, deadline: Duration) -> Submitter<FakeOrders> {
        let backoff = Backoff { base: Duration::from_millis(2), max: Duration::from_millis(4) };
        Submitter::new(client.clone(), SubmitOptions { backoff, deadline }, Tracing::off())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_may_be_tried_again_is_tried_again_under_the_same_id() {
        let client = FakeOrders::default();
        client.fail(
            "o-1",
            [Status::unavailable(""), Status::deadline_exceeded(""), Status::resource_exhausted("")],
        );
        let submitted = submitter(&client, LONG).submit(request("o-1")).await;
        assert!(matches!(submitted.outcome, OrderOutcome::Completed(_)));
        assert_eq!((submitted.retries, client.placed("o-1")), (3, 4));
    }

    #[tokio::test]
    async fn refusals_are_not_tried_again() {
        for code in [Code::PermissionDenied, Code::Unauthenticated, Code::Internal, Code::Unimplemented] {
            let client = FakeOrders::default();
            client.fail("o-1", [Status::new(code, "")]);
            let submitted = submitter(&client, LONG).submit(request("o-1")).await;
            assert!(matches!(submitted.outcome, OrderOutcome::Failed(_)), "{code:?}");
            assert_eq!(client.placed("o-1"), 1);
        }
    }

    #[tokio::test]
    async fn an_order_that_breaks_a_rule_and_one_whose_id_is_taken_are_told_apart() {
        let client = FakeOrders::default();
        client.fail("o-1", [Status::invalid_argument("")]);
        client.fail("o-2", [Status::already_exists("")]);
        let submitter = submitter(&client, LONG);
        assert!(matches!(submitter.submit(request("o-1")).await.outcome, OrderOutcome::Invalid(_)));
        assert!(matches!(submitter.submit(request("o-2")).await.outcome, OrderOutcome::Conflict(_)));
    }

    #[tokio::test]
    async fn an_order_that_is_not_final_is_asked_for_and_not_placed_again() {
        let client = FakeOrders::default();
        client.pending("o-1", 3);
        let submitted = submitter(&client, LONG).submit(request("o-1")).await;
        assert!(matches!(submitted.outcome, OrderOutcome::Completed(_)));
        assert_eq!((client.placed("o-1"), submitted.retries), (1, 3));
    }

    #[tokio::test]
    async fn an_order_that_never_ends_is_given_up_with_what_was_heard_last() {
        let client = FakeOrders::default();
        client.pending("o-1", u32::MAX);
        let submitted = submitter(&client, Duration::from_millis(40)).submit(request("o-1")).await;
        assert!(matches!(submitted.outcome, OrderOutcome::GaveUp(heard) if heard == "ORDER_STATE_RECEIVED"));
    }
}
