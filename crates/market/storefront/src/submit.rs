//! Brings one order to its end: places it, tries again what may be tried again, waits until it is final.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use avouch_service::telemetry::{Tracing, context_from_env};
use market_api::orders::v1::{Order, OrderState, PlaceOrderRequest};
use market_api::retry::{Backoff, is_retryable};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::OrderDesk;
use crate::order_json::is_final;

/// How an order is placed.
#[derive(Clone, Copy, Debug)]
pub struct SubmitOptions {
    /// Between two tries.
    pub backoff: Backoff,
    /// From the first try to giving up.
    pub give_up_after: Duration,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        let backoff = Backoff { base: Duration::from_millis(50), max: Duration::from_secs(2) };
        Self { backoff, give_up_after: Duration::from_secs(120) }
    }
}

/// What became of an order.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Taken and delivered.
    Completed(Order),
    /// Taken and turned down: stock or credit.
    Rejected(Order),
    /// Never taken: it breaks a rule.
    Invalid(Status),
    /// Never taken: its ID stands for another order.
    Conflict(Status),
    /// A call failed in a way that trying again does not cure.
    Failed(Status),
    /// It is not final after all this time; the last thing that was heard of it.
    GaveUp(String),
}

/// An outcome, and how many calls it took beyond the first.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// What became of it.
    pub outcome: Outcome,
    /// Calls that were made again.
    pub retries: u32,
}

/// Places orders. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Submitter<D> {
    desk: D,
    options: SubmitOptions,
    tracing: Tracing,
    /// The first order belongs to the trace of whoever started the process, each later one begins its own.
    first: Arc<AtomicBool>,
}

impl<D: OrderDesk> Submitter<D> {
    /// Places orders at `desk`, each in a trace of its own.
    pub fn new(desk: D, options: SubmitOptions, tracing: Tracing) -> Self {
        Self { desk, options, tracing, first: Arc::new(AtomicBool::new(true)) }
    }

    /// Places an order and waits for its end. Every try carries the same order ID.
    pub async fn submit(&self, request: PlaceOrderRequest) -> Submitted {
        let first = self.first.swap(false, Ordering::Relaxed);
        let parent = if first { context_from_env() } else { None };
        self.tracing.scope("order", parent, self.see_through(request)).await
    }

    #[tracing::instrument(skip_all, fields(order_id = request.order_id, outcome))]
    async fn see_through(&self, request: PlaceOrderRequest) -> Submitted {
        let deadline = Instant::now() + self.options.give_up_after;
        let mut retries = 0;
        let mut taken = false;
        let outcome = loop {
            let answer = if taken {
                self.desk.get(request.order_id.clone()).await
            } else {
                self.desk.place(request.clone()).await
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
                break Outcome::GaveUp(heard);
            }
            tokio::time::sleep_until(wake).await;
        };
        tracing::Span::current().record("outcome", outcome.name());
        Submitted { outcome, retries }
    }
}

fn end(order: Order) -> Outcome {
    if order.state() == OrderState::Completed { Outcome::Completed(order) } else { Outcome::Rejected(order) }
}

fn refused(status: Status) -> Outcome {
    match status.code() {
        Code::InvalidArgument => Outcome::Invalid(status),
        Code::AlreadyExists => Outcome::Conflict(status),
        _ => Outcome::Failed(status),
    }
}

impl Outcome {
    /// One word for it.
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
    use crate::totals::tests::{FakeDesk, request};

    fn submitter(desk: &FakeDesk, give_up_after: Duration) -> Submitter<FakeDesk> {
        let backoff = Backoff { base: Duration::from_millis(2), max: Duration::from_millis(4) };
        Submitter::new(desk.clone(), SubmitOptions { backoff, give_up_after }, Tracing::off())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_may_be_tried_again_is_tried_again_under_the_same_id() {
        let desk = FakeDesk::default();
        desk.fail(
            "o-1",
            [Status::unavailable(""), Status::deadline_exceeded(""), Status::resource_exhausted("")],
        );
        let submitted = submitter(&desk, LONG).submit(request("o-1")).await;
        assert!(matches!(submitted.outcome, Outcome::Completed(_)));
        assert_eq!((submitted.retries, desk.placed("o-1")), (3, 4));
    }

    #[tokio::test]
    async fn refusals_are_not_tried_again() {
        for code in [Code::PermissionDenied, Code::Unauthenticated, Code::Internal, Code::Unimplemented] {
            let desk = FakeDesk::default();
            desk.fail("o-1", [Status::new(code, "")]);
            let submitted = submitter(&desk, LONG).submit(request("o-1")).await;
            assert!(matches!(submitted.outcome, Outcome::Failed(_)), "{code:?}");
            assert_eq!(desk.placed("o-1"), 1);
        }
    }

    #[tokio::test]
    async fn an_order_that_breaks_a_rule_and_one_whose_id_is_taken_are_told_apart() {
        let desk = FakeDesk::default();
        desk.fail("o-1", [Status::invalid_argument("")]);
        desk.fail("o-2", [Status::already_exists("")]);
        let submitter = submitter(&desk, LONG);
        assert!(matches!(submitter.submit(request("o-1")).await.outcome, Outcome::Invalid(_)));
        assert!(matches!(submitter.submit(request("o-2")).await.outcome, Outcome::Conflict(_)));
    }

    #[tokio::test]
    async fn an_order_that_is_not_final_is_asked_for_and_not_placed_again() {
        let desk = FakeDesk::default();
        desk.pending("o-1", 3);
        let submitted = submitter(&desk, LONG).submit(request("o-1")).await;
        assert!(matches!(submitted.outcome, Outcome::Completed(_)));
        assert_eq!((desk.placed("o-1"), submitted.retries), (1, 3));
    }

    #[tokio::test]
    async fn an_order_that_never_ends_is_given_up_with_what_was_heard_last() {
        let desk = FakeDesk::default();
        desk.pending("o-1", u32::MAX);
        let submitted = submitter(&desk, Duration::from_millis(40)).submit(request("o-1")).await;
        assert!(matches!(submitted.outcome, Outcome::GaveUp(heard) if heard == "ORDER_STATE_RECEIVED"));
    }
}
