//! The audit: whether the services' books agree, read through their own RPCs with the role of an auditor.
//!
//! What was sold is known four times over: the orders that were completed, the pieces that left the stock, the
//! postings of the ledger, and the report that follows the ledger. All four have to say the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use avouch_identity::{Channel, Identity};
use avouch_spiffe::SpiffeId;
use market_api::inventory::v1::{GetStockRequest, inventory_client::InventoryClient};
use market_api::ledger::v1::{GetTotalsRequest, ledger_client::LedgerClient};
use market_api::orders::v1::{GetOrderRequest, OrderState, RejectReason, orders_client::OrdersClient};
use market_api::reports::v1::{GetSummaryRequest, reports_client::ReportsClient};
use serde::Deserialize;
use tonic::Code;

use crate::orders::Order;
use crate::paths::id;
use crate::setup::Market;
use crate::wait;

/// How long the last postings may take to reach every service.
const SETTLE: Duration = Duration::from_secs(20);

/// The figures of the books, which all agreed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    /// Orders the orders service knows.
    pub orders: u64,
    /// Of these, completed.
    pub completed: u64,
    /// Of these, rejected, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Sales by currency, smallest unit.
    pub sales: BTreeMap<String, i64>,
    /// Postings in the ledger.
    pub postings: u64,
    /// Pieces that left the stock.
    pub pieces: u64,
    /// How each order that the orders service knows has ended.
    pub ends: BTreeMap<String, OrderState>,
    /// Of which article how many.
    sold: BTreeMap<String, u64>,
}

/// Channels of the auditor.
#[derive(Debug)]
pub struct Auditor {
    orders: Channel,
    inventory: Channel,
    ledger: Channel,
    reports: Channel,
}

/// The first stock of an article, and what is delivered at a time.
#[derive(Debug, Deserialize)]
struct Article {
    sku: String,
    on_hand: u64,
    reorder: Option<Reorder>,
}

#[derive(Debug, Deserialize)]
struct Reorder {
    quantity: u64,
}

#[derive(Debug, Deserialize)]
struct Stock {
    article: Vec<Article>,
}

impl Auditor {
    /// Channels to all services that are asked.
    ///
    /// # Errors
    /// When a service has no address.
    pub fn new(market: &Market, identity: &Identity) -> Result<Self, String> {
        let channel = |name: &str| channel(market, identity, name);
        Ok(Self {
            orders: channel("orders")?,
            inventory: channel("inventory")?,
            ledger: channel("ledger")?,
            reports: channel("reports")?,
        })
    }

    /// A call that has to be allowed: how many postings the ledger has.
    ///
    /// # Errors
    /// When it was not.
    pub async fn ledger_totals(&self) -> Result<u64, tonic::Status> {
        let answer = LedgerClient::new(self.ledger.clone()).get_totals(GetTotalsRequest {}).await?;
        Ok(answer.into_inner().last_sequence)
    }

    /// Compares the books.
    ///
    /// # Errors
    /// Where they do not agree.
    pub async fn compare(&self, placed: &BTreeMap<String, Order>, stock: &Path) -> Result<Books, String> {
        let settled = async || self.orders(placed).await;
        let mut books =
            wait::until("all orders are final", SETTLE, settled).await.map_err(|error| error.to_string())?;
        books.postings = self.ledger(&books).await?;
        let followed = async || self.reports(&books).await;
        wait::until("the report has read the whole ledger", SETTLE, followed)
            .await
            .map_err(|error| error.to_string())?;
        self.stock(&books, stock).await?;
        Ok(books)
    }

    async fn orders(&self, placed: &BTreeMap<String, Order>) -> Result<Books, String> {
        let mut client = OrdersClient::new(self.orders.clone());
        let mut books = Books::default();
        for (order_id, placed) in placed {
            let request = GetOrderRequest { order_id: order_id.clone() };
            let order = match client.get_order(request).await {
                Ok(answer) => answer.into_inner().order.unwrap_or_default(),
                // It broke a rule and was never taken; its own ID may break one too.
                Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => continue,
                Err(status) => return Err(format!("GetOrder {order_id}: {status}")),
            };
            books.orders += 1;
            books.ends.insert(order_id.clone(), order.state());
            match order.state() {
                OrderState::Completed => books.complete(placed, &order)?,
                OrderState::Rejected => {
                    *books.rejected.entry(reason(order.reject_reason())).or_default() += 1;
                }
                state => return Err(format!("{order_id} is {}", state.as_str_name())),
            }
        }
        Ok(books)
    }

    async fn ledger(&self, books: &Books) -> Result<u64, String> {
        let totals = LedgerClient::new(self.ledger.clone()).get_totals(GetTotalsRequest {}).await;
        let totals = totals.map_err(|status| format!("GetTotals: {status}"))?.into_inner();
        let mut postings = 0;
        let mut sums = BTreeMap::new();
        for row in &totals.currencies {
            if row.debits_minor != row.credits_minor {
                return Err(format!("the ledger does not balance in {}: {row:?}", row.currency));
            }
            postings += row.postings;
            sums.insert(row.currency.clone(), row.debits_minor);
        }
        agree("the ledger", &sums, "the completed orders", &books.sales)?;
        if postings != books.completed || totals.last_sequence != postings {
            return Err(format!(
                "the ledger has {postings} postings up to number {}, but {} orders were completed",
                totals.last_sequence, books.completed
            ));
        }
        Ok(postings)
    }

    async fn reports(&self, books: &Books) -> Result<(), String> {
        let request = GetSummaryRequest { top_customers: 0 };
        let summary = ReportsClient::new(self.reports.clone()).get_summary(request).await;
        let summary = summary.map_err(|status| format!("GetSummary: {status}"))?.into_inner();
        let sums = summary
            .currencies
            .iter()
            .filter_map(|row| row.sales.as_ref())
            .map(|sales| (sales.currency.clone(), sales.minor_units))
            .collect();
        agree("the report", &sums, "the ledger", &books.sales)
    }

    async fn stock(&self, books: &Books, file: &Path) -> Result<(), String> {
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        let first: Stock = toml::from_str(&text).map_err(|error| error.to_string())?;
        let mut client = InventoryClient::new(self.inventory.clone());
        for article in &first.article {
            let request = GetStockRequest { sku: article.sku.clone() };
            let level =
                client.get_stock(request).await.map_err(|s| format!("GetStock {}: {s}", article.sku))?;
            let level = level.into_inner();
            if level.held != 0 {
                return Err(format!("{} of {} are held for nobody", level.held, article.sku));
            }
            let sold = books.sold.get(&article.sku).copied().unwrap_or(0);
            fits(article, sold, level.on_hand)?;
        }
        Ok(())
    }
}

/// A channel of `identity` to a service of the market.
///
/// # Errors
/// When the service has no address.
pub fn channel(market: &Market, identity: &Identity, name: &str) -> Result<Channel, String> {
    let address = market.address(name).map_err(|error| error.to_string())?;
    let server: SpiffeId = id(name).parse().map_err(|error| format!("{error}"))?;
    identity.channel(&format!("https://{}", address.grpc), server).build().map_err(|error| error.to_string())
}

impl Books {
    fn complete(&mut self, placed: &Order, taken: &market_api::orders::v1::Order) -> Result<(), String> {
        self.completed += 1;
        let mut sum: i64 = 0;
        for line in &placed.lines {
            sum += line.unit_price_minor * i64::from(line.quantity);
            self.pieces += u64::from(line.quantity);
            *self.sold.entry(line.sku.clone()).or_default() += u64::from(line.quantity);
        }
        let total = taken.total.clone().unwrap_or_default();
        if (total.minor_units, &total.currency) != (sum, &placed.currency) {
            return Err(format!(
                "{} was ordered for {sum} {} and taken as {total:?}",
                placed.order_id, placed.currency
            ));
        }
        *self.sales.entry(placed.currency.clone()).or_default() += sum;
        Ok(())
    }
}

/// What is there, what was sold, and what was there at first have to fit, deliveries of whole lots included.
fn fits(article: &Article, sold: u64, on_hand: u64) -> Result<(), String> {
    let lot = article.reorder.as_ref().map_or(0, |reorder| reorder.quantity);
    let delivered = (on_hand + sold).checked_sub(article.on_hand);
    match (delivered, lot) {
        (Some(0), _) => Ok(()),
        (Some(delivered), lot) if lot > 0 && delivered.is_multiple_of(lot) => Ok(()),
        _ => Err(format!(
            "{}: {} at first, {sold} sold, {on_hand} there, which does not fit deliveries of {lot}",
            article.sku, article.on_hand
        )),
    }
}

fn agree(
    one: &str,
    sums: &BTreeMap<String, i64>,
    other: &str,
    sales: &BTreeMap<String, i64>,
) -> Result<(), String> {
    let nonzero = |sums: &BTreeMap<String, i64>| {
        sums.iter().filter(|(_, sum)| **sum != 0).map(|(c, s)| (c.clone(), *s)).collect::<BTreeMap<_, _>>()
    };
    if nonzero(sums) == nonzero(sales) {
        Ok(())
    } else {
        Err(format!("{one} says {sums:?}, {other} say {sales:?}"))
    }
}

/// The word for a reason.
fn reason(reason: RejectReason) -> String {
    reason.as_str_name().trim_start_matches("REJECT_REASON_").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn article(on_hand: u64, lot: Option<u64>) -> Article {
        Article { sku: "A".into(), on_hand, reorder: lot.map(|quantity| Reorder { quantity }) }
    }

    #[test]
    fn stock_fits_with_and_without_deliveries_of_whole_lots() {
        assert!(fits(&article(5, None), 3, 2).is_ok());
        assert!(fits(&article(5, Some(10)), 8, 7).is_ok());
    }

    #[test]
    fn lost_and_found_pieces_are_noticed() {
        for (first, lot, sold, there) in
            [(5, None, 3, 1), (5, None, 3, 3), (5, Some(10), 8, 6), (5, None, 0, 15)]
        {
            assert!(fits(&article(first, lot), sold, there).is_err(), "{first} {lot:?} {sold} {there}");
        }
    }

    #[test]
    fn a_currency_without_sales_is_no_disagreement() {
        let some = BTreeMap::from([("EUR".to_owned(), 5), ("USD".to_owned(), 0)]);
        assert!(agree("a", &some, "b", &BTreeMap::from([("EUR".to_owned(), 5)])).is_ok());
        assert!(agree("a", &some, "b", &BTreeMap::from([("EUR".to_owned(), 6)])).is_err());
    }
}
