use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use market_api::money::v1::Money;
use market_api::orders::v1::{Line, OrderState, PlaceOrderRequest, RejectReason};
use tonic::Status;

use super::*;
use crate::OrdersClient;

/// An orders service that fails, or takes its time, as it is told to; otherwise it completes everything, except articles
/// called `NONE`.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeOrders(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    failures: BTreeMap<String, VecDeque<Status>>,
    pending: BTreeMap<String, u32>,
    placed: BTreeMap<String, (u32, PlaceOrderRequest)>,
    at_once: usize,
    most_at_once: usize,
}

impl FakeOrders {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fail(&self, order: &str, with: impl IntoIterator<Item = Status>) {
        self.script().failures.insert(order.to_owned(), with.into_iter().collect());
    }

    pub(crate) fn pending(&self, order: &str, answers: u32) {
        self.script().pending.insert(order.to_owned(), answers);
    }

    pub(crate) fn placed(&self, order: &str) -> u32 {
        self.script().placed.get(order).map_or(0, |(times, _)| *times)
    }

    pub(crate) fn orders(&self) -> Vec<PlaceOrderRequest> {
        self.script().placed.values().map(|(_, request)| request.clone()).collect()
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.script().most_at_once
    }

    fn answer(&self, request: &PlaceOrderRequest) -> Order {
        let total = request.lines.iter().map(|line| i64::from(line.quantity) * line.unit_price_minor).sum();
        let out = request.lines.iter().any(|line| line.sku == "NONE");
        let mut script = self.script();
        let pending = script.pending.get_mut(&request.order_id).filter(|left| **left > 0);
        let state = match pending {
            Some(left) => {
                *left -= 1;
                OrderState::Received
            }
            None if out => OrderState::Rejected,
            None => OrderState::Completed,
        };
        Order {
            order_id: request.order_id.clone(),
            lines: request.lines.clone(),
            total: Some(Money { currency: request.currency.clone(), minor_units: total }),
            state: state.into(),
            reject_reason: if out { RejectReason::OutOfStock.into() } else { 0 },
            ..Order::default()
        }
    }
}

impl OrdersClient for FakeOrders {
    async fn place(&self, request: PlaceOrderRequest) -> Result<Order, Status> {
        {
            let mut script = self.script();
            script.at_once += 1;
            script.most_at_once = script.most_at_once.max(script.at_once);
        }
        tokio::task::yield_now().await;
        let failure = {
            let mut script = self.script();
            script.at_once -= 1;
            let placed = script.placed.entry(request.order_id.clone()).or_insert((0, request.clone()));
            placed.0 += 1;
            if placed.1 != request {
                return Err(Status::already_exists("other content"));
            }
            script.failures.get_mut(&request.order_id).and_then(VecDeque::pop_front)
        };
        failure.map_or_else(|| Ok(self.answer(&request)), Err)
    }

    async fn get(&self, order_id: String) -> Result<Order, Status> {
        let request = self.script().placed.get(&order_id).map(|(_, request)| request.clone());
        request.map(|request| self.answer(&request)).ok_or_else(|| Status::not_found("no such order"))
    }
}

pub(crate) fn request(order_id: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        order_id: order_id.to_owned(),
        customer_id: "c-1".to_owned(),
        currency: "EUR".to_owned(),
        lines: vec![Line { sku: "BOOK".to_owned(), quantity: 2, unit_price_minor: 500 }],
    }
}

fn completed(order_id: &str) -> Submitted {
    let order = Order {
        order_id: order_id.to_owned(),
        total: Some(Money { currency: "EUR".to_owned(), minor_units: 1000 }),
        lines: request(order_id).lines,
        ..Order::default()
    };
    Submitted { outcome: OrderOutcome::Completed(order), retries: 1 }
}

#[test]
fn an_order_that_comes_twice_counts_once() {
    let mut totals = Totals::default();
    totals.add(1, completed("o-1"));
    totals.add(2, completed("o-2"));
    totals.add(3, completed("o-1"));
    assert_eq!((totals.lines, totals.completed, totals.repeated), (3, 2, 1));
    assert_eq!((totals.revenue["EUR"], totals.pieces, totals.retries), (2000, 4, 3));
}

#[test]
fn problems_are_listed_with_their_lines_and_the_list_is_bounded() {
    let mut totals = Totals::default();
    for line in 1..=250 {
        totals.add_malformed(line, "no order".to_owned());
    }
    assert_eq!((totals.malformed, totals.problems.len(), totals.problems[4].line), (250, 100, 5));
}

#[test]
fn sums_are_written_whole_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.json");
    let mut totals = Totals::default();
    totals.add_malformed(7, "no order".to_owned());
    totals.write(&path).unwrap();
    let read: Totals = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(read, totals);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
