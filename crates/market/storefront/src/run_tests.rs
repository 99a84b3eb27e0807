use std::collections::BTreeMap;
use std::path::PathBuf;

use avouch_service::telemetry::Tracing;
use tokio::io::{AsyncRead, BufReader, ReadBuf};

use super::*;
use crate::SubmitOptions;
use crate::totals::tests::{FakeOrders, request};

const OPTIONS: StreamOptions = StreamOptions { concurrency: 8 };

fn json(order_id: &str, sku: &str) -> String {
    format!(
        r#"{{"order_id":"{order_id}","customer_id":"c-1","currency":"EUR","lines":[{{"sku":"{sku}","quantity":2,"unit_price_minor":500}}]}}"#
    )
}

async fn run(text: &str, client: &FakeOrders, options: StreamOptions) -> StreamEnd {
    let submitter = Submitter::new(client.clone(), SubmitOptions::default(), Tracing::off());
    run_stream(OrderReader::new(text.as_bytes()), &submitter, options, &CancellationToken::new()).await
}

#[tokio::test]
async fn every_line_is_counted_once_and_a_malformed_one_stops_nothing() {
    let text = [
        json("o-1", "BOOK"),
        "{".to_owned(),
        json("o-2", "NONE"),
        json("o-3", "BOOK"),
        json("o-1", "BOOK"),
        json("o-3", "LAMP"),
    ]
    .join("\n");
    // One at a time: which of two orders with the same ID is the order depends on which is first.
    let end = run(&text, &FakeOrders::default(), StreamOptions { concurrency: 1 }).await;
    let totals = end.totals;
    assert_eq!((totals.lines, totals.completed, totals.malformed), (6, 2, 1));
    assert_eq!((totals.repeated, totals.conflict, totals.rejected["OUT_OF_STOCK"]), (1, 1, 1));
    assert_eq!((totals.revenue["EUR"], totals.pieces), (2000, 4));
    assert_eq!(end.templates.len(), 5);
    let mut problems: Vec<_> = totals.problems.iter().map(|it| (it.line, it.kind.as_str())).collect();
    problems.sort_unstable();
    assert_eq!(problems, [(2, "malformed"), (6, "conflict")]);
}

#[tokio::test]
async fn no_more_orders_are_under_way_than_asked_for() {
    let text: Vec<_> = (0..200).map(|n| json(&format!("o-{n}"), "BOOK")).collect();
    let client = FakeOrders::default();
    assert_eq!(run(&text.join("\n"), &client, OPTIONS).await.totals.completed, 200);
    assert_eq!(client.most_at_once(), 8);
}

#[tokio::test]
async fn a_stop_reads_no_further_and_waits_for_what_is_under_way() {
    let stop = CancellationToken::new();
    stop.cancel();
    let submitter = Submitter::new(FakeOrders::default(), SubmitOptions::default(), Tracing::off());
    let text = json("o-1", "BOOK");
    let end = run_stream(OrderReader::new(text.as_bytes()), &submitter, OPTIONS, &stop).await;
    assert_eq!(end.totals.lines, 0);
}

/// A pipe that breaks after its first bytes.
struct Broken(Option<Vec<u8>>);

impl AsyncRead for Broken {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        match self.0.take() {
            Some(bytes) => buffer.put_slice(&bytes),
            None => return std::task::Poll::Ready(Err(io::Error::other("broken pipe"))),
        }
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn an_input_that_breaks_is_reported_with_what_was_read_before() {
    let first = format!("{}\n", json("o-1", "BOOK")).into_bytes();
    let lines = OrderReader::new(BufReader::new(Broken(Some(first))));
    let submitter = Submitter::new(FakeOrders::default(), SubmitOptions::default(), Tracing::off());
    let options = StreamOptions { concurrency: 1 };
    let end = run_stream(lines, &submitter, options, &CancellationToken::new()).await;
    assert_eq!(end.totals.completed, 1);
    assert!(end.error.unwrap().to_string().contains("broken pipe"));
}

#[tokio::test]
async fn a_trickle_goes_on_until_it_is_stopped() {
    let client = FakeOrders::default();
    let stop = CancellationToken::new();
    let template: OrderJson = serde_json::from_str(&json("o-1", "BOOK")).unwrap();
    let running = tokio::spawn({
        let (client, stop) = (client.clone(), stop.clone());
        async move {
            let submitter = Submitter::new(client, SubmitOptions::default(), Tracing::off());
            let trickle = Trickle::new(vec![template], 1).unwrap();
            run_trickle(trickle, Duration::from_millis(1), submitter, &stop).await;
        }
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.orders().len() < 5 {
        assert!(Instant::now() < deadline, "no trickle");
        tokio::task::yield_now().await;
    }
    stop.cancel();
    running.await.unwrap();
}

#[test]
fn a_request_is_the_order_of_its_line() {
    let order: OrderJson = serde_json::from_str(&json("o-1", "BOOK")).unwrap();
    assert_eq!(market_api::orders::v1::PlaceOrderRequest::from(order), request("o-1"));
}

fn demo(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../deploy")).join(file)
}

/// The rules of orders, inventory and payments, one order after the other.
struct Model {
    stock: BTreeMap<String, i64>,
    limits: BTreeMap<String, i64>,
    limits_of: BTreeMap<String, BTreeMap<String, i64>>,
    used: BTreeMap<(String, String), i64>,
    seen: BTreeMap<String, OrderJson>,
    totals: Totals,
}

impl Model {
    fn load() -> Self {
        let read = |file| toml::from_str(&std::fs::read_to_string(demo(file)).unwrap()).unwrap();
        let (stock, payments): (toml::Table, toml::Table) =
            (read("demo/stock.toml"), read("config/payments.toml"));
        let articles = stock["article"].as_array().unwrap().iter();
        let map = |value: &toml::Value| {
            let pairs = value.as_table().unwrap().iter();
            pairs.map(|(key, value)| (key.clone(), value.as_integer().unwrap())).collect()
        };
        let payments = &payments["payments"];
        let named = payments["limits"].as_table().unwrap().iter();
        Self {
            stock: articles
                .map(|it| (it["sku"].as_str().unwrap().to_owned(), it["on_hand"].as_integer().unwrap()))
                .collect(),
            limits: map(&payments["default_limits"]),
            limits_of: named.map(|(customer, limits)| (customer.clone(), map(limits))).collect(),
            used: BTreeMap::new(),
            seen: BTreeMap::new(),
            totals: Totals::default(),
        }
    }

    fn place(&mut self, order: OrderJson) {
        if let Some(earlier) = self.seen.get(&order.order_id) {
            let same = *earlier == order;
            *(if same { &mut self.totals.repeated } else { &mut self.totals.conflict }) += 1;
            return;
        }
        let in_range = order.lines.iter().all(|line| (1..=1000).contains(&line.quantity));
        if order.lines.is_empty()
            || !in_range
            || order.currency.parse::<market_api::money::Currency>().is_err()
        {
            self.totals.invalid += 1;
            return;
        }
        self.seen.insert(order.order_id.clone(), order.clone());
        if let Err(reason) = self.deliver(&order) {
            *self.totals.rejected.entry(reason.to_owned()).or_default() += 1;
        }
    }

    fn deliver(&mut self, order: &OrderJson) -> Result<(), &'static str> {
        let mut wanted = BTreeMap::<&str, i64>::new();
        for line in &order.lines {
            *wanted.entry(&line.sku).or_default() += i64::from(line.quantity);
        }
        for (sku, quantity) in &wanted {
            let left = self.stock.get(*sku).ok_or("UNKNOWN_SKU")?;
            if left < quantity {
                return Err("OUT_OF_STOCK");
            }
        }
        let total: i64 =
            order.lines.iter().map(|line| i64::from(line.quantity) * line.unit_price_minor).sum();
        let limits = self.limits_of.get(&order.customer_id).unwrap_or(&self.limits);
        let limit = limits.get(&order.currency).copied().unwrap_or(0);
        let used = self.used.entry((order.customer_id.clone(), order.currency.clone())).or_default();
        if *used + total > limit {
            return Err("PAYMENT_DECLINED");
        }
        *used += total;
        for (sku, quantity) in wanted {
            *self.stock.get_mut(sku).unwrap() -= quantity;
        }
        self.totals.completed += 1;
        *self.totals.revenue.entry(order.currency.clone()).or_default() += total;
        Ok(())
    }
}

/// What the demo expects is what the rules make of its files, in whichever order the orders arrive.
#[tokio::test]
async fn the_demos_expected_totals_are_those_of_its_orders_forwards_and_backwards() {
    let text = std::fs::read_to_string(demo("demo/orders.jsonl")).unwrap();
    let mut expected: Totals =
        serde_json::from_str(&std::fs::read_to_string(demo("demo/expected.json")).unwrap()).unwrap();
    let mut lines = OrderReader::new(text.as_bytes());
    let (mut orders, mut malformed) = (Vec::new(), 0);
    while let Some(line) = lines.next().await.unwrap() {
        match line.order {
            Ok(order) => orders.push(order),
            Err(_) => malformed += 1,
        }
    }
    let count = u64::try_from(orders.len()).unwrap() + malformed;
    for backwards in [false, true] {
        let mut model = Model::load();
        let mut orders = orders.clone();
        if backwards {
            // Which of two orders with the same ID is the order depends on which is first: those stay in place.
            let mut conflicting = orders.split_off(0);
            conflicting.sort_by(|a, b| a.order_id.cmp(&b.order_id));
            let mut by_id: Vec<Vec<OrderJson>> = Vec::new();
            for order in conflicting {
                match by_id.last_mut() {
                    Some(same) if same[0].order_id == order.order_id => same.push(order),
                    _ => by_id.push(vec![order]),
                }
            }
            orders = by_id.into_iter().rev().flatten().collect();
        }
        for order in orders {
            model.place(order);
        }
        (model.totals.lines, model.totals.malformed) = (count, malformed);
        expected.pieces = 0;
        assert_eq!(model.totals, expected, "backwards: {backwards}");
    }
}
