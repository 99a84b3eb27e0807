use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use avouch_time::clock::ManualClock;
use market_api::orders::v1;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::*;
use crate::{Reason, Rejection, State, run_worker};

/// When, around a step's effect, a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    After,
}

/// Fakes of the services that an order needs. They outlive the orders process and every call is idempotent, as with the
/// real ones.
#[derive(Clone, Debug, Default)]
struct World(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<Facts>,
    died: Notify,
}

#[derive(Debug, Default)]
struct Facts {
    /// What is held, committed or released for an order.
    stock: BTreeMap<OrderId, &'static str>,
    /// What was charged for an order.
    charged: BTreeMap<OrderId, i64>,
    calls: BTreeMap<&'static str, u32>,
    /// The step at which the call never returns.
    dies_at: Option<(Step, When)>,
    /// Steps that fail, and how many times.
    away: BTreeMap<&'static str, u32>,
    /// Drivers at work on one order at the same time: one of each replica at most.
    at_work: BTreeMap<OrderId, u32>,
    /// Replicas beside the first.
    more_replicas: u32,
}

impl World {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn away(&self, step: &'static str, times: u32) {
        self.facts().away.insert(step, times);
    }

    async fn step(
        &self,
        step: Step,
        name: &'static str,
        order: &OrderId,
        effect: impl FnOnce(&mut Facts) -> Event + Send,
    ) -> Result<Event, TransientError> {
        self.maybe_die(step, When::Before).await;
        {
            let mut facts = self.facts();
            *facts.calls.entry(name).or_default() += 1;
            if let Some(times) = facts.away.get_mut(name).filter(|times| **times > 0) {
                *times -= 1;
                return Err(TransientError { step: name, status: Status::unavailable("away") });
            }
            let replicas = 1 + facts.more_replicas;
            let at_work = facts.at_work.entry(order.clone()).or_default();
            *at_work += 1;
            assert!(*at_work <= replicas, "{at_work} drivers of {replicas} replicas on {order}");
        }
        tokio::task::yield_now().await;
        let event = {
            let mut facts = self.facts();
            *facts.at_work.entry(order.clone()).or_default() -= 1;
            effect(&mut facts)
        };
        self.maybe_die(step, When::After).await;
        Ok(event)
    }

    async fn maybe_die(&self, step: Step, when: When) {
        if self.facts().dies_at == Some((step, when)) {
            self.0.died.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

fn no(reason: Reason) -> Rejection {
    Rejection { reason, detail: "no".to_owned() }
}

impl Downstream for World {
    async fn reserve(&self, order: &Order) -> Result<Event, TransientError> {
        let out = order.lines().iter().any(|line| line.sku.as_str() == "NONE");
        self.step(Step::Reserve, "reserve", order.id(), |facts| {
            if out {
                return Event::Refused(no(Reason::OutOfStock));
            }
            let held = facts.stock.entry(order.id().clone()).or_insert("held");
            assert_ne!(*held, "released", "reserved after its release");
            Event::Held
        })
        .await
    }

    async fn charge(&self, order: &Order) -> Result<Event, TransientError> {
        let declined = order.customer().as_str() == "broke";
        self.step(Step::Charge, "charge", order.id(), |facts| {
            if declined {
                return Event::Declined(no(Reason::PaymentDeclined));
            }
            facts.charged.insert(order.id().clone(), order.total().minor_units);
            Event::Posted
        })
        .await
    }

    async fn commit(&self, order: &OrderId) -> Result<Event, TransientError> {
        self.step(Step::Commit, "commit", order, |facts| {
            let before = facts.stock.insert(order.clone(), "committed");
            assert!(matches!(before, Some("held" | "committed")), "committed what is {before:?}");
            Event::Committed
        })
        .await
    }

    async fn release(&self, order: &OrderId) -> Result<Event, TransientError> {
        self.step(Step::Release, "release", order, |facts| {
            let before = facts.stock.insert(order.clone(), "released");
            assert_ne!(before, Some("committed"), "released what is gone");
            Event::Released
        })
        .await
    }
}

struct Shop {
    folder: tempfile::TempDir,
    world: World,
    orders: Orders<World>,
}

impl Shop {
    fn open() -> Self {
        let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
        let orders = Self::at(&folder, &world, Duration::from_secs(20));
        Self { folder, world, orders }
    }

    fn at(folder: &tempfile::TempDir, world: &World, timeout: Duration) -> Orders<World> {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_234)).shared();
        Orders::open(&folder.path().join("orders.db"), world.clone(), clock, OrdersOptions { timeout })
            .unwrap()
    }

    /// Keeps the database file and the fakes but no other state, as a crash does.
    fn reopen(&mut self) {
        self.orders = Self::at(&self.folder, &self.world, Duration::from_secs(20));
    }

    async fn place(&self, order: Order) -> Result<State, OrdersError> {
        self.orders.place(order, &storefront()).await.map(|record| record.state)
    }

    /// Runs the worker until nothing is unfinished.
    async fn recover(&self) {
        let stop = CancellationToken::new();
        let worker = tokio::spawn(run_worker(self.orders.clone(), stop.clone()));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.orders.unfinished(0, 1).await.unwrap().is_empty() {
            assert!(Instant::now() < deadline, "still unfinished");
            tokio::task::yield_now().await;
        }
        stop.cancel();
        worker.await.unwrap();
    }

    /// The order's final state, after checking that the fakes agree with it.
    async fn ended(&self, id: &str) -> State {
        let record = self.orders.get(id.parse().unwrap()).await.unwrap();
        let facts = self.world.facts();
        let (stock, charged) = (facts.stock.get(record.order.id()), facts.charged.get(record.order.id()));
        match &record.state {
            State::Completed => {
                assert_eq!(stock, Some(&"committed"));
                assert_eq!(charged, Some(&record.order.total().minor_units));
            }
            State::Rejected(_) => {
                assert!(matches!(stock, None | Some(&"released")), "{stock:?}");
                assert_eq!(charged, None);
            }
            state => panic!("{state:?} is not an end"),
        }
        record.state
    }
}

fn storefront() -> SpiffeId {
    "spiffe://market.example/storefront".parse().unwrap()
}

fn order(id: &str, customer: &str, sku: &str) -> Order {
    Order::try_from(v1::PlaceOrderRequest {
        order_id: id.to_owned(),
        customer_id: customer.to_owned(),
        currency: "EUR".to_owned(),
        lines: vec![v1::Line { sku: sku.to_owned(), quantity: 2, unit_price_minor: 500 }],
    })
    .unwrap()
}

#[tokio::test]
async fn a_good_order_is_completed() {
    let shop = Shop::open();
    assert_eq!(shop.place(order("o-1", "c-1", "BOOK")).await.unwrap(), State::Completed);
    assert_eq!(shop.ended("o-1").await, State::Completed);
}

#[tokio::test]
async fn an_order_out_of_stock_is_rejected_without_a_charge() {
    let shop = Shop::open();
    let state = shop.place(order("o-1", "c-1", "NONE")).await.unwrap();
    assert_eq!(state, State::Rejected(no(Reason::OutOfStock)));
    assert_eq!(shop.ended("o-1").await, state);
    assert_eq!(shop.world.facts().calls.get("charge"), None);
}

#[tokio::test]
async fn a_declined_order_gives_its_stock_back() {
    let shop = Shop::open();
    let state = shop.place(order("o-1", "broke", "BOOK")).await.unwrap();
    assert_eq!(state, State::Rejected(no(Reason::PaymentDeclined)));
    assert_eq!(shop.world.facts().stock.values().collect::<Vec<_>>(), [&"released"]);
}

#[tokio::test]
async fn a_repeated_order_gets_the_same_answer_and_nothing_is_done_again() {
    let mut shop = Shop::open();
    for (id, customer) in [("o-1", "c-1"), ("o-2", "broke")] {
        let first = shop.orders.place(order(id, customer, "BOOK"), &storefront()).await.unwrap();
        let calls = shop.world.facts().calls.clone();
        for _ in 0..3 {
            shop.reopen();
            let again = shop.orders.place(order(id, customer, "BOOK"), &storefront()).await.unwrap();
            assert_eq!(again, first);
        }
        assert_eq!(shop.world.facts().calls, calls);
    }
}

#[tokio::test]
async fn the_same_id_with_other_content_is_refused() {
    let shop = Shop::open();
    shop.place(order("o-1", "c-1", "BOOK")).await.unwrap();
    for other in [order("o-1", "c-2", "BOOK"), order("o-1", "c-1", "LAMP")] {
        assert!(matches!(shop.place(other).await, Err(OrdersError::OtherContent)));
    }
}

#[tokio::test]
async fn an_order_that_was_never_taken_is_not_found() {
    let shop = Shop::open();
    assert!(matches!(shop.orders.get("o-1".parse().unwrap()).await, Err(OrdersError::NotFound)));
}

#[tokio::test]
async fn copies_at_once_have_one_driver_and_one_answer() {
    let shop = Shop::open();
    let copies: Vec<_> = (0..20)
        .map(|_| {
            let orders = shop.orders.clone();
            tokio::spawn(async move { orders.place(order("o-1", "c-1", "BOOK"), &storefront()).await })
        })
        .collect();
    for copy in copies {
        assert_eq!(copy.await.unwrap().unwrap().state, State::Completed);
    }
    let once: BTreeMap<&str, u32> = [("reserve", 1), ("charge", 1), ("commit", 1)].into();
    assert_eq!(shop.world.facts().calls, once);
}

#[tokio::test]
async fn an_order_is_taken_while_a_service_is_away_and_finished_when_it_is_back() {
    for step in ["reserve", "charge", "commit"] {
        let shop = Shop::open();
        shop.world.away(step, 3);
        let state = shop.place(order("o-1", "c-1", "BOOK")).await.unwrap();
        assert!(!state.is_final(), "{step}: {state:?}");
        shop.recover().await;
        assert_eq!(shop.ended("o-1").await, State::Completed, "{step}");
    }
}

#[tokio::test]
async fn a_release_that_failed_is_made_up_for() {
    let shop = Shop::open();
    shop.world.away("release", 3);
    let state = shop.place(order("o-1", "broke", "BOOK")).await.unwrap();
    assert_eq!(state, State::Releasing(no(Reason::PaymentDeclined)));
    shop.recover().await;
    assert_eq!(shop.ended("o-1").await, State::Rejected(no(Reason::PaymentDeclined)));
}

#[tokio::test]
async fn impatience_answers_with_the_state_so_far_and_the_order_goes_on() {
    let mut shop = Shop::open();
    shop.orders = Shop::at(&shop.folder, &shop.world, Duration::from_millis(50));
    shop.world.facts().dies_at = Some((Step::Charge, When::Before));
    assert_eq!(shop.place(order("o-1", "c-1", "BOOK")).await.unwrap(), State::Reserved);
    shop.world.facts().dies_at = None;
    shop.recover().await;
    assert_eq!(shop.ended("o-1").await, State::Completed);
}

#[tokio::test]
async fn a_crash_at_any_step_before_or_after_its_effect_is_recovered_from() {
    use Step::{Charge, Commit, Release, Reserve};
    let scenarios = [
        ("c-1", "BOOK", State::Completed, &[Reserve, Charge, Commit][..]),
        ("c-1", "NONE", State::Rejected(no(Reason::OutOfStock)), &[Reserve]),
        ("broke", "BOOK", State::Rejected(no(Reason::PaymentDeclined)), &[Reserve, Charge, Release]),
    ];
    for (customer, sku, end, steps) in scenarios {
        for (step, when) in steps.iter().flat_map(|step| [(*step, When::Before), (*step, When::After)]) {
            let mut shop = Shop::open();
            shop.world.facts().dies_at = Some((step, when));
            let orders = shop.orders.clone();
            let placing = order("o-1", customer, sku);
            let call = tokio::spawn(async move { orders.place(placing, &storefront()).await });
            shop.world.0.died.notified().await;
            call.abort();
            assert!(call.await.unwrap_err().is_cancelled());
            {
                let mut facts = shop.world.facts();
                facts.dies_at = None;
                facts.at_work.clear();
            }
            shop.reopen();
            assert!(!shop.orders.get("o-1".parse().unwrap()).await.unwrap().state.is_final());
            shop.recover().await;
            assert_eq!(shop.ended("o-1").await, end, "died {when:?} {step:?}");
        }
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_its_order_to_the_running_worker() {
    let shop = Shop::open();
    shop.world.facts().dies_at = Some((Step::Charge, When::After));
    let orders = shop.orders.clone();
    let call = tokio::spawn(async move { orders.place(order("o-1", "c-1", "BOOK"), &storefront()).await });
    shop.world.0.died.notified().await;
    shop.world.facts().dies_at = None;
    call.abort();
    shop.recover().await;
    assert_eq!(shop.ended("o-1").await, State::Completed);
}

#[tokio::test]
async fn many_orders_left_behind_are_all_brought_to_an_end() {
    let mut shop = Shop::open();
    shop.world.away("reserve", 300);
    for n in 0..300 {
        let customer = if n % 3 == 0 { "broke" } else { "c-1" };
        shop.place(order(&format!("o-{n}"), customer, "BOOK")).await.unwrap();
    }
    shop.reopen();
    shop.recover().await;
    let mut completed = 0;
    for n in 0..300 {
        completed += u32::from(shop.ended(&format!("o-{n}")).await == State::Completed);
    }
    assert_eq!(completed, 200);
}

#[tokio::test]
async fn a_state_is_never_written_over_one_it_does_not_follow_from() {
    let shop = Shop::open();
    shop.place(order("o-1", "c-1", "BOOK")).await.unwrap();
    let written: Result<bool, OrdersError> = shop
        .orders
        .store
        .call(|c| {
            let id = "o-1".parse().map_err(OrdersError::Id)?;
            store::advance(c, &id, &State::Received, &State::Reserved, SystemTime::UNIX_EPOCH)
        })
        .await;
    assert!(!written.unwrap());
    assert_eq!(shop.ended("o-1").await, State::Completed);
}

#[tokio::test]
async fn replicas_on_one_file_bring_the_same_orders_to_the_same_end() {
    let shop = Shop::open();
    let replica = Shop::at(&shop.folder, &shop.world, Duration::from_secs(20));
    shop.world.facts().more_replicas = 1;
    let placed = (0..40).map(async |n| {
        let order = order(&format!("o-{n}"), "c-1", "BOOK");
        let by = storefront();
        let (here, there) = tokio::join!(shop.place(order.clone()), replica.place(order, &by));
        assert_eq!(here.unwrap(), State::Completed);
        assert_eq!(there.unwrap().state, State::Completed);
    });
    futures_util::future::join_all(placed).await;
    for n in 0..40 {
        assert_eq!(shop.ended(&format!("o-{n}")).await, State::Completed);
    }
}
