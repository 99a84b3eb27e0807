//! An endless supply of varied orders, made from those of a stream: new IDs, other quantities, changing customers.

use crate::OrderJson;

/// Orders of one customer before the next customer, so that no credit limit is reached.
const PER_CUSTOMER: u64 = 20;

/// An endless supply of orders.
#[derive(Clone, Debug)]
pub struct Trickle {
    templates: Vec<OrderJson>,
    run: u64,
    next: u64,
}

impl Trickle {
    /// The most orders that are worth keeping as templates.
    pub const MAX_TEMPLATES: usize = 1000;

    /// Makes orders from `templates`; `None` when there are none. `run`, the time of the start, makes the IDs new in
    /// each run.
    #[must_use]
    pub fn new(templates: Vec<OrderJson>, run: u64) -> Option<Self> {
        (!templates.is_empty()).then_some(Self { templates, run, next: 0 })
    }

    /// The next order.
    pub fn next_order(&mut self) -> Option<OrderJson> {
        let n = self.next;
        self.next += 1;
        let count = u64::try_from(self.templates.len()).ok()?;
        let mut order = self.templates.get(usize::try_from(n % count).ok()?)?.clone();
        order.order_id = format!("trk-{}-{n}", self.run);
        // One order in ten keeps its template's customer, so that some are declined.
        if n % 10 != 9 {
            order.customer_id = format!("trk-{}-{}", self.run, n / PER_CUSTOMER);
        }
        // Later rounds differ from the first; what was out of range stays so.
        let round = u32::try_from(n / count % 3).ok()?;
        for line in order.lines.iter_mut().filter(|line| (1..100).contains(&line.quantity)) {
            line.quantity += round;
        }
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::LineJson;

    fn template(id: &str, quantity: u32) -> OrderJson {
        OrderJson {
            order_id: id.to_owned(),
            customer_id: "cust-0900".to_owned(),
            currency: "EUR".to_owned(),
            lines: vec![LineJson { sku: "BOOK".to_owned(), quantity, unit_price_minor: 100 }],
        }
    }

    #[test]
    fn every_order_has_an_id_of_its_own_also_in_another_run() {
        let mut ids = BTreeSet::new();
        for run in [1, 2] {
            let mut trickle = Trickle::new(vec![template("a", 1), template("b", 2)], run).unwrap();
            ids.extend((0..500).map(|_| trickle.next_order().unwrap().order_id));
        }
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.parse::<market_api::ids::OrderId>().is_ok()));
    }

    #[test]
    fn customers_come_and_go_and_quantities_vary() {
        let mut trickle = Trickle::new(vec![template("a", 1)], 1).unwrap();
        let orders: Vec<_> = (0..100).map(|_| trickle.next_order().unwrap()).collect();
        let customers: BTreeSet<_> = orders.iter().map(|order| order.customer_id.as_str()).collect();
        let quantities: BTreeSet<_> = orders.iter().map(|order| order.lines[0].quantity).collect();
        assert_eq!(customers.len(), 6);
        assert_eq!(quantities, [1, 2, 3].into());
    }

    #[test]
    fn what_was_out_of_range_stays_so() {
        let mut trickle = Trickle::new(vec![template("a", 0)], 1).unwrap();
        assert!((0..10).all(|_| trickle.next_order().unwrap().lines[0].quantity == 0));
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert!(Trickle::new(Vec::new(), 1).is_none());
    }
}
