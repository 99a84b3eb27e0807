//! Shoppers that never stop: each places an order, sees it through to its end, and places the next.
//!
//! What a shopper was told is kept for the audit: an answer is an acknowledgement, and what it says must be true for
//! ever. A call that fails with a status that allows it is made again with the same order ID, which makes that safe;
//! any other failure is kept as a violation. Every order is a function of the seed and its number.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use avouch_identity::Channel;
use avouch_spiffe::Reason;
use market_api::orders::v1::OrderState;
use market_api::retry::{Backoff, is_retryable};
use market_api::storefront::v1::storefront_client::StorefrontClient;
use market_api::storefront::v1::{GetOrderRequest, PlaceOrderRequest};
use tokio::time::Instant;
use tonic::Status;

use super::schedule::Random;
use avouch_demo::orders::{Line, Order};

/// Orders under way at the same time.
pub(super) const AT_ONCE: u64 = 8;

/// Between a shopper's orders, at most.
const PAUSE: Duration = Duration::from_millis(300);

/// Orders of one customer: few enough for the credit that everybody has.
const PER_CUSTOMER: u64 = 20;

/// Between two tries.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(50), max: Duration::from_secs(1) };

/// How long an order may take to its end, kills and a busy machine included.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Violations that are kept in words; all are counted.
const SHOWN: usize = 5;

/// An order that was placed, and by whom.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) order: Order,
    pub(super) customer: String,
}

/// What the shoppers have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By order ID.
    pub(super) placed: BTreeMap<String, Placed>,
    /// The last state that a shopper was told.
    pub(super) told: BTreeMap<String, OrderState>,
    pub(super) calls: u64,
    /// Calls that failed and were safely made again, by status.
    pub(super) again: BTreeMap<String, u64>,
    /// Of these, while nothing was being killed.
    pub(super) in_calm: u64,
    /// Calls that failed since a certificate had ended when the clock jumped, and were made again.
    pub(super) at_jumps: u64,
    /// When the newest order began that is complete.
    pub(super) newest_completed: Option<Instant>,
    /// Violations of the guarantees, as text.
    pub(super) violations: Vec<String>,
    pub(super) violated: u64,
    /// The longest an order took.
    pub(super) slowest: Duration,
}

impl Seen {
    /// Notes the answer to a call for an order; whether that was the last one.
    fn answered(
        &mut self,
        id: &str,
        answer: Result<OrderState, Status>,
        told: &mut Option<OrderState>,
        during: During,
    ) -> bool {
        self.calls += 1;
        match answer {
            Ok(state) => {
                *told = Some(state);
                self.told.insert(id.to_owned(), state);
                is_end(state)
            }
            Err(status) if is_retryable(&status) => {
                *self.again.entry(format!("{:?}", status.code())).or_default() += 1;
                self.in_calm += u64::from(during.calm);
                false
            }
            Err(status) if during.jump && is_of_the_clock(&status) => {
                self.at_jumps += 1;
                false
            }
            Err(status) => {
                let after = told.map_or("", |_| ", after it was acknowledged");
                self.violation(format!("{id}: {:?} {}{after}", status.code(), status.message()));
                true
            }
        }
    }

    /// Notes that an order that began at this moment has ended.
    fn ended(&mut self, id: &str, began: Instant) {
        self.slowest = self.slowest.max(began.elapsed());
        if self.told.get(id) == Some(&OrderState::Completed) {
            self.newest_completed = self.newest_completed.max(Some(began));
        }
    }

    fn violation(&mut self, what: impl Display) {
        self.violated += 1;
        if self.violations.len() < SHOWN {
            self.violations.push(what.to_string());
        }
    }
}

/// The disturbance of the market while a call is made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct During {
    /// Nothing.
    calm: bool,
    /// The clock has jumped, and not everybody serves again.
    jump: bool,
}

/// Whether a call was refused only because a certificate is not valid at the time that a clock shows.
fn is_of_the_clock(status: &Status) -> bool {
    matches!(
        avouch_identity::reason(status),
        Some(Reason::CertExpired | Reason::CertNotYetValid | Reason::HandshakeRefused)
    )
}

/// The shoppers.
#[derive(Debug)]
pub(super) struct Load {
    channel: Channel,
    seed: u64,
    next: AtomicU64,
    closed: AtomicBool,
    calm: AtomicBool,
    jumping: AtomicBool,
    seen: Mutex<Seen>,
}

impl Load {
    /// The shoppers, none of which has started.
    pub(super) fn new(channel: Channel, seed: u64) -> Arc<Self> {
        let off = || AtomicBool::new(false);
        let (next, closed, calm, jumping) = (AtomicU64::new(0), off(), off(), off());
        Arc::new(Self { channel, seed, next, closed, calm, jumping, seen: Mutex::default() })
    }

    /// Stops new orders: each shopper ends when its order is final.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// From now on nothing is killed.
    pub(super) fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Notes that the clock is about to jump, or that every process serves again.
    pub(super) fn set_jumping(&self, jumping: bool) {
        self.jumping.store(jumping, Ordering::Relaxed);
    }

    /// Whether the kills are over, and the shop was open after them.
    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// What has been seen so far.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One shopper, until the shop is closed.
    pub(super) async fn shop(self: Arc<Self>, shopper: u64) {
        let mut random = Random::new(self.seed ^ (shopper + 1).rotate_left(32));
        while !self.closed.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let placed = order(self.seed, number);
            self.seen().placed.insert(placed.order.order_id.clone(), placed.clone());
            let began = Instant::now();
            self.see_through(&placed).await;
            self.seen().ended(&placed.order.order_id, began);
            tokio::time::sleep(random.up_to(PAUSE)).await;
        }
    }

    async fn see_through(&self, placed: &Placed) {
        let id = &placed.order.order_id;
        let deadline = Instant::now() + GIVE_UP;
        let mut told = None;
        let mut tries = 0;
        loop {
            let jumping = || self.jumping.load(Ordering::Relaxed);
            let (calm, began_in_jump) = (self.is_calm(), jumping());
            let answer = if told.is_some() { self.ask(id).await } else { self.paths(placed).await };
            let during = During { calm, jump: began_in_jump || jumping() };
            if self.seen().answered(id, answer, &mut told, during) {
                return;
            }
            if Instant::now() > deadline {
                let heard = told.as_ref().map_or("nothing", OrderState::as_str_name);
                return self
                    .seen()
                    .violation(format!("{id}: not at its end after {GIVE_UP:?}; told {heard}"));
            }
            tries += 1;
            tokio::time::sleep(BACKOFF.delay(tries, id)).await;
        }
    }

    async fn paths(&self, placed: &Placed) -> Result<OrderState, Status> {
        let order = &placed.order;
        let request = PlaceOrderRequest {
            order_id: order.order_id.clone(),
            customer_id: placed.customer.clone(),
            currency: order.currency.clone(),
            lines: order.lines.iter().map(Into::into).collect(),
        };
        let answer = StorefrontClient::new(self.channel.clone()).place_order(request).await?;
        Ok(answer.into_inner().order.unwrap_or_default().state())
    }

    async fn ask(&self, order_id: &str) -> Result<OrderState, Status> {
        let request = GetOrderRequest { order_id: order_id.to_owned() };
        let answer = StorefrontClient::new(self.channel.clone()).get_order(request).await?;
        Ok(answer.into_inner().order.unwrap_or_default().state())
    }
}

/// Whether the state is final.
pub(super) fn is_end(state: OrderState) -> bool {
    matches!(state, OrderState::Completed | OrderState::Rejected)
}

/// The order of a number. Most are good; some ask for what is not there, some customers have no credit.
fn order(seed: u64, number: u64) -> Placed {
    let mut random = Random::new(seed ^ number.rotate_left(20));
    let customer = match random.below(16) {
        0 => "cust-0900".to_owned(),
        _ => format!("soak-{}", number / PER_CUSTOMER),
    };
    let currency = random.one_of(&["EUR", "GBP", "USD"]).copied().unwrap_or("EUR");
    let lines = (0..=random.below(3)).map(|at| {
        let sku = match random.below(24) {
            0 => "RADIO-0001".to_owned(),
            _ => format!("BOOK-000{}", 1 + (number + at) % 7),
        };
        let quantity = u32::try_from(1 + random.below(3)).unwrap_or(1);
        let unit_price_minor = i64::try_from(100 + random.below(1_900)).unwrap_or(100);
        Line { sku, quantity, unit_price_minor }
    });
    let lines = lines.collect();
    Placed {
        order: Order { order_id: format!("soak-{number}"), currency: currency.to_owned(), lines },
        customer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_function_of_the_seed_and_its_number() {
        assert_eq!(order(7, 3).order, order(7, 3).order);
        assert_ne!(order(7, 3).order.lines, order(8, 3).order.lines);
        assert_ne!(order(7, 3).order.order_id, order(7, 4).order.order_id);
    }

    #[test]
    fn some_orders_must_be_refused_and_most_must_not() {
        let all: Vec<_> = (0..1000).map(|number| order(1, number)).collect();
        let broke = all.iter().filter(|placed| placed.customer == "cust-0900").count();
        let nothing = |placed: &&Placed| placed.order.lines.iter().any(|line| line.sku == "RADIO-0001");
        let nothing = all.iter().filter(nothing).count();
        assert!((20..150).contains(&broke) && (20..200).contains(&nothing), "{broke} {nothing}");
    }

    #[test]
    fn nobody_spends_more_than_everybody_may() {
        let mut spent = BTreeMap::<_, i64>::new();
        for placed in (0..5000).map(|number| order(3, number)) {
            let sum: i64 =
                placed.order.lines.iter().map(|l| l.unit_price_minor * i64::from(l.quantity)).sum();
            *spent.entry((placed.customer, placed.order.currency)).or_default() += sum;
        }
        let most =
            spent.iter().filter(|((customer, _), _)| customer != "cust-0900").map(|(_, sum)| *sum).max();
        assert!(most.unwrap() < 430_000, "{most:?}");
    }

    #[test]
    fn only_two_states_are_an_end() {
        assert!(is_end(OrderState::Completed) && is_end(OrderState::Rejected));
        for state in
            [OrderState::Unspecified, OrderState::Received, OrderState::Charged, OrderState::Releasing]
        {
            assert!(!is_end(state), "{state:?}");
        }
    }

    #[test]
    fn a_call_is_made_again_only_where_that_is_safe() {
        let (mut seen, mut told) = (Seen::default(), None);
        for status in [Status::unavailable(""), Status::deadline_exceeded(""), Status::aborted("")] {
            assert!(!seen.answered("a", Err(status), &mut told, During::default()));
        }
        assert!(!seen.answered("a", Ok(OrderState::Reserved), &mut told, During::default()));
        assert_eq!((seen.violated, seen.calls, seen.told["a"]), (0, 4, OrderState::Reserved));
        for status in
            [Status::not_found(""), Status::already_exists(""), Status::internal(""), Status::unknown("")]
        {
            assert!(seen.answered("a", Err(status), &mut told, During { jump: true, ..During::default() }));
        }
        assert_eq!(seen.violated, 4);
        assert!(seen.violations[0].ends_with("after it was acknowledged"), "{:?}", seen.violations);
    }

    #[test]
    fn a_failure_in_the_calm_is_told_apart() {
        let mut seen = Seen::default();
        for calm in [false, true, false] {
            let during = During { calm, jump: false };
            seen.answered("a", Err(Status::unavailable("")), &mut None, during);
        }
        assert_eq!((seen.in_calm, seen.again["Unavailable"]), (1, 3));
    }

    #[test]
    fn a_certificate_that_has_ended_is_an_excuse_only_while_the_clock_jumps() {
        let mut seen = Seen::default();
        let expired = || Err(avouch_identity::status(Reason::CertExpired, "it has ended", []));
        assert!(!seen.answered("a", expired(), &mut None, During { jump: true, calm: false }));
        assert_eq!((seen.at_jumps, seen.violated), (1, 0));
        assert!(seen.answered("a", expired(), &mut None, During::default()));
        let untrusted = avouch_identity::status(Reason::CertUntrusted, "who is it", []);
        assert!(seen.answered("a", Err(untrusted), &mut None, During { jump: true, calm: false }));
        assert_eq!((seen.at_jumps, seen.violated), (1, 2));
    }

    #[test]
    fn the_newest_complete_order_is_remembered_and_a_rejected_one_is_none() {
        let mut seen = Seen::default();
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_millis(1));
        for (id, state) in [("a", OrderState::Completed), ("b", OrderState::Rejected)] {
            seen.told.insert(id.to_owned(), state);
        }
        seen.ended("b", second);
        assert_eq!(seen.newest_completed, None);
        seen.ended("a", second);
        seen.ended("a", first);
        assert_eq!(seen.newest_completed, Some(second));
    }

    #[test]
    fn violations_are_all_counted_and_a_few_are_kept() {
        let mut seen = Seen::default();
        (0..20).for_each(|n| seen.violation(n));
        assert_eq!((seen.violated, seen.violations.len()), (20, SHOWN));
    }
}
