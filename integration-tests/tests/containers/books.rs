//! What the books of three services say after a load: whatever happened on the way, each order was paid once and
//! delivered once, and nothing else was.

use serde_json::{Value, json};

use crate::harness::{Node, Outcome, ensure};
use crate::killed_mid_order::books_agree;
use crate::market::{Market, url};

/// Where the books are.
pub(crate) struct Books<'a> {
    pub(crate) ledger: &'a Node,
    pub(crate) inventory: &'a Node,
    pub(crate) payments: &'a Node,
}

impl Books<'_> {
    /// Fails unless every order of the load was completed, and the books hold these orders and no others.
    pub(crate) async fn agree_with(&self, market: &Market, load: &Value) -> Outcome {
        let completed = books_agree(market, self.ledger, self.inventory, load).await?;
        ensure(completed > 0, format!("nothing was ordered: {load}"))?;
        ensure(load["ends"] == json!({ "completed": completed }), format!("an order is left over: {load}"))?;
        let money = completed * load["price"].as_u64().unwrap_or_default();
        let spent = market.answer("spent", "auditor", &["spent", &url(self.payments)]).await?;
        ensure(spent["spent"] == money, format!("payments should have charged {money}: {spent}"))
    }
}
