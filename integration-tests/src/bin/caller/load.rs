//! Calls in a closed loop, with a pause only after a failure and without retries, so that every failure is counted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avouch_identity::{Channel, Identity};
use futures_util::StreamExt;
use market_api::ledger::v1::GetTotalsRequest;
use market_api::ledger::v1::ledger_client::LedgerClient;
use market_api::orders::v1::orders_client::OrdersClient;
use market_api::orders::v1::{GetOrderRequest, Line, Order, OrderState, PlaceOrderRequest};
use market_api::payments::v1::GetCreditRequest;
use market_api::payments::v1::payments_client::PaymentsClient;
use market_api::reports::v1::GetSummaryRequest;
use market_api::reports::v1::reports_client::ReportsClient;
use market_api::storefront::v1 as storefront;
use market_api::storefront::v1::storefront_client::StorefrontClient;
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::Error;

/// How long an order may take to its end once the load is over.
const SETTLED: Duration = Duration::from_secs(60);

/// The pause after a failed call, so that immediate refusals do not turn into a busy loop.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Orders whose state is polled at the same time, since the network may be slow.
const ASKED_AT_ONCE: usize = 16;

/// Customers that share the orders, so that no credit limit is reached.
const CUSTOMERS: u64 = 500;

/// The outcome of an order that is not found.
const NEVER_TAKEN: &str = "never taken";

/// The price of one order.
const PRICE: i64 = 100;

/// The load: the number of concurrent calls, and for how long.
pub(crate) struct Load {
    time: Duration,
    at_once: u32,
}

/// The results of the calls.
#[derive(Default)]
struct Seen {
    calls: u64,
    failed: BTreeMap<String, u64>,
    fastest: Option<Duration>,
    slowest: Duration,
    /// Orders, and whether their calls were answered.
    placed: Vec<(String, bool)>,
}

impl Seen {
    fn count<T>(&mut self, begun: Instant, answer: &Result<T, Status>) {
        self.calls += 1;
        let took = begun.elapsed();
        self.fastest = Some(self.fastest.map_or(took, |fastest| fastest.min(took)));
        self.slowest = self.slowest.max(took);
        if let Err(status) = answer {
            let reason = avouch_identity::reason(status).map(|reason| reason.as_str()).unwrap_or_default();
            let what = format!("{:?} {reason}: {}", status.code(), status.message());
            *self.failed.entry(what).or_default() += 1;
        }
    }

    fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    fn report(&self) -> Value {
        json!({
            "calls": self.calls,
            "failed": self.failed(),
            "failures": self.failed,
            "fastest_ms": self.fastest.unwrap_or_default().as_millis(),
            "slowest_ms": self.slowest.as_millis(),
        })
    }
}

impl Load {
    /// # Errors
    /// When either is no number.
    pub(crate) fn parse(seconds: &str, at_once: &str) -> Result<Self, Error> {
        Ok(Self { time: Duration::from_secs_f64(seconds.parse()?), at_once: at_once.parse()? })
    }

    /// Reads the book's totals.
    pub(crate) async fn reads(&self, ledger: Channel) -> Value {
        let client = LedgerClient::new(ledger);
        self.reading(async || client.clone().get_totals(GetTotalsRequest {}).await.map(drop)).await
    }

    /// Reads the reports' summary.
    pub(crate) async fn summaries(&self, reports: Channel) -> Value {
        let client = ReportsClient::new(reports);
        self.reading(async || client.clone().get_summary(GetSummaryRequest::default()).await.map(drop)).await
    }

    async fn reading(&self, read: impl AsyncFn() -> Result<(), Status>) -> Value {
        let seen = self.run(async |seen: &RefCell<Seen>, _, _| {
            let begun = Instant::now();
            let answer = read().await;
            seen.borrow_mut().count(begun, &answer);
        });
        seen.await.report()
    }

    /// Places orders of one piece each, then waits for the end of each: of those too whose call failed.
    pub(crate) async fn orders(&self, desk: impl Desk, run: &str, identity: &Identity) -> Value {
        let serials = watch(identity);
        let seen = self.run(async |seen: &RefCell<Seen>, worker, count| {
            let order = format!("{run}-{worker}-{count}");
            let begun = Instant::now();
            let answer = desk.place(request(&order, count)).await;
            let mut seen = seen.borrow_mut();
            seen.count(begun, &answer);
            seen.placed.push((order, answer.is_ok()));
        });
        let seen = seen.await;
        let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
        let mut lost = 0;
        let deadline = Instant::now() + SETTLED;
        let mut asked = futures_util::stream::iter(&seen.placed)
            .map(async |(order, answered)| (end(&desk, order, deadline).await, *answered))
            .buffer_unordered(ASKED_AT_ONCE);
        while let Some((end, answered)) = asked.next().await {
            *ends.entry(end).or_default() += 1;
            lost += u64::from(answered && end == NEVER_TAKEN);
        }
        drop(asked);
        let mut report = seen.report();
        if let Some(report) = report.as_object_mut() {
            report.insert("ends".to_owned(), json!(ends));
            report.insert("lost".to_owned(), json!(lost));
            report.insert("svids".to_owned(), json!(lock(&serials).len()));
            report.insert("price".to_owned(), json!(PRICE));
        }
        report
    }

    /// Calls in so many tasks until the time is over.
    async fn run(&self, call: impl AsyncFn(&RefCell<Seen>, u32, u64)) -> Seen {
        // Tells the scenario that the load has begun.
        let _ = writeln!(std::io::stderr(), "{}", json!({ "message": "calling" }));
        let seen = RefCell::new(Seen::default());
        let deadline = Instant::now() + self.time;
        let workers = (0..self.at_once).map(async |worker| {
            let mut count = 0;
            while Instant::now() < deadline {
                let failed = seen.borrow().failed();
                call(&seen, worker, count).await;
                count += 1;
                if seen.borrow().failed() > failed {
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        });
        futures_util::future::join_all(workers).await;
        seen.into_inner()
    }
}

/// What all customers of any load have been charged.
pub(crate) async fn spent(payments: Channel) -> Result<Value, Status> {
    let mut client = PaymentsClient::new(payments);
    let mut spent = 0;
    for count in 0..CUSTOMERS {
        let request = GetCreditRequest { customer_id: customer(count), currency: "EUR".to_owned() };
        spent += client.get_credit(request).await?.into_inner().used.unwrap_or_default().minor_units;
    }
    Ok(json!({ "spent": spent }))
}

fn customer(count: u64) -> String {
    format!("cust-{:04}", 1_000 + count % CUSTOMERS)
}

fn request(order: &str, count: u64) -> PlaceOrderRequest {
    let line = Line { sku: "LOAD-0001".to_owned(), quantity: 1, unit_price_minor: PRICE };
    PlaceOrderRequest {
        order_id: order.to_owned(),
        customer_id: customer(count),
        currency: "EUR".to_owned(),
        lines: vec![line],
    }
}

/// Where orders are placed: at the orders service, or at the front door before it.
pub(crate) trait Desk {
    async fn place(&self, order: PlaceOrderRequest) -> Result<Order, Status>;
    async fn get(&self, order_id: String) -> Result<Order, Status>;
}

impl Desk for OrdersClient<Channel> {
    async fn place(&self, order: PlaceOrderRequest) -> Result<Order, Status> {
        Ok(self.clone().place_order(order).await?.into_inner().order.unwrap_or_default())
    }

    async fn get(&self, order_id: String) -> Result<Order, Status> {
        Ok(self.clone().get_order(GetOrderRequest { order_id }).await?.into_inner().order.unwrap_or_default())
    }
}

impl Desk for StorefrontClient<Channel> {
    async fn place(&self, order: PlaceOrderRequest) -> Result<Order, Status> {
        let PlaceOrderRequest { order_id, customer_id, currency, lines } = order;
        let order = storefront::PlaceOrderRequest { order_id, customer_id, currency, lines };
        Ok(self.clone().place_order(order).await?.into_inner().order.unwrap_or_default())
    }

    async fn get(&self, order_id: String) -> Result<Order, Status> {
        let request = storefront::GetOrderRequest { order_id };
        Ok(self.clone().get_order(request).await?.into_inner().order.unwrap_or_default())
    }
}

/// What became of an order, once that is final. One whose call failed may have been taken all the same.
async fn end(desk: &impl Desk, order: &str, deadline: Instant) -> &'static str {
    loop {
        let state = match desk.get(order.to_owned()).await {
            Ok(order) => order.state(),
            Err(status) if status.code() == Code::NotFound => return NEVER_TAKEN,
            Err(_) => OrderState::Unspecified,
        };
        match state {
            OrderState::Completed => return "completed",
            OrderState::Rejected => return "rejected",
            _ if Instant::now() > deadline => return "unfinished",
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

type Serials = Arc<Mutex<BTreeSet<String>>>;

fn lock(serials: &Serials) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
    serials.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every serial number this caller has, from now on.
fn watch(identity: &Identity) -> Serials {
    let serials = Serials::default();
    let (mut snapshots, seen) = (identity.subscribe(), Arc::clone(&serials));
    tokio::spawn(async move {
        loop {
            let serial = snapshots.borrow_and_update().svid.leaf().serial().to_owned();
            lock(&seen).insert(serial);
            if snapshots.changed().await.is_err() {
                return;
            }
        }
    });
    serials
}
