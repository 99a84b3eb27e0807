//! What the books of three services say after a load: whatever happened on the way, each order was paid once and
//! delivered once, and nothing else was.

use serde_json::{Value, json};

use crate::harness::{Node, Outcome, ensure};
use crate::market::{LOAD_STOCK, Market, url};

/// Where the books are.
pub(crate) struct Books<'a> {
    pub(crate) ledger: &'a Node,
    pub(crate) inventory: &'a Node,
    pub(crate) payments: &'a Node,
}

impl Books<'_> {
    /// Fails unless every order of the load was completed, and the books hold these orders and no others.
    pub(crate) async fn agree_with(&self, market: &Market, load: &Value) -> Outcome {
        let completed = self.hold_the_completed(market, load).await?;
        ensure(load["ends"] == json!({ "completed": completed }), format!("an order is left over: {load}"))
    }

    /// Fails unless the books hold the orders that were completed, some at least, and no others; how many those are.
    pub(crate) async fn hold_the_completed(&self, market: &Market, load: &Value) -> Outcome<u64> {
        let completed = load["ends"]["completed"].as_u64().unwrap_or_default();
        let money = completed * load["price"].as_u64().unwrap_or_default();
        ensure(completed > 0, format!("no order was completed: {load}"))?;

        let totals = market.answer("totals", "auditor", &["totals", &url(self.ledger)]).await?;
        let currencies = json!([{ "currency": "EUR", "postings": completed, "debits": money }]);
        ensure(
            totals["currencies"] == currencies,
            format!("{completed} orders are completed, but the ledger says {totals}: {load}"),
        )?;
        let stock = market.answer("stock", "auditor", &["stock", &url(self.inventory), "LOAD-0001"]).await?;
        ensure(
            stock == json!({ "on_hand": LOAD_STOCK - completed, "held": 0 }),
            format!("{completed} orders are completed, but the stock is {stock}: {load}"),
        )?;
        let spent = market.answer("spent", "auditor", &["spent", &url(self.payments)]).await?;
        ensure(spent["spent"] == money, format!("payments should have charged {money}: {spent}"))?;
        Ok(completed)
    }
}
