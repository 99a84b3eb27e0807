//! Do the books agree with what shoppers were told? On top of the audit of every run: nothing acknowledged is lost or
//! changed, and no customer was charged for anything but completed orders.

use std::collections::BTreeMap;
use std::path::Path;

use avouch_identity::Channel;
use market_api::orders::v1::OrderState;
use market_api::payments::v1::GetCreditRequest;
use market_api::payments::v1::payments_client::PaymentsClient;

use super::load::{Placed, Seen, is_end};
use avouch_demo::audit::{Auditor, Books};
use avouch_demo::orders::Order;

/// The key of a balance: customer and currency.
type Account = (String, String);

/// The orders, as the audit of every run wants them.
pub(super) fn placed(seen: &Seen) -> BTreeMap<String, Order> {
    seen.placed.iter().map(|(id, placed)| (id.clone(), placed.order.clone())).collect()
}

/// Compares all books with each other.
///
/// # Errors
/// Where they do not agree.
pub(super) async fn compare(
    auditor: &Auditor,
    placed: &BTreeMap<String, Order>,
    stock: &Path,
) -> Result<(Books, String), String> {
    let books = auditor.compare(placed, stock).await?;
    let rejected: u64 = books.rejected.values().sum();
    let said = format!(
        "{} completed, {rejected} rejected, {} postings, {} pieces",
        books.completed, books.postings, books.pieces
    );
    Ok((books, said))
}

/// Whether what shoppers were told is true: an order that was acknowledged is there, and its end is the one they heard.
pub(super) fn kept(
    told: &BTreeMap<String, OrderState>,
    ends: &BTreeMap<String, OrderState>,
) -> Result<(), String> {
    for (order, told) in told {
        match ends.get(order) {
            None => return Err(format!("{order} was acknowledged as {} and is lost", told.as_str_name())),
            Some(end) if is_end(*told) && end != told => {
                return Err(format!("{order} was {} and is {}", told.as_str_name(), end.as_str_name()));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// What each customer has to have been charged: the sum of the completed orders.
pub(super) fn owed(
    placed: &BTreeMap<String, Placed>,
    ends: &BTreeMap<String, OrderState>,
) -> BTreeMap<Account, i64> {
    let mut owed = BTreeMap::new();
    for (id, placed) in placed {
        let sum = placed.order.lines.iter().map(|line| line.unit_price_minor * i64::from(line.quantity));
        let completed = ends.get(id) == Some(&OrderState::Completed);
        let sum: i64 = if completed { sum.sum() } else { 0 };
        *owed.entry((placed.customer.clone(), placed.order.currency.clone())).or_default() += sum;
    }
    owed
}

/// Whether payments has charged exactly what is owed.
///
/// # Errors
/// The first customer for whom it has not, or who can't be asked for.
pub(super) async fn charged(payments: Channel, owed: &BTreeMap<Account, i64>) -> Result<String, String> {
    let mut client = PaymentsClient::new(payments);
    for ((customer, currency), owed) in owed {
        let request = GetCreditRequest { customer_id: customer.clone(), currency: currency.clone() };
        let credit = client.get_credit(request).await.map_err(|s| format!("GetCredit {customer}: {s}"))?;
        let used = credit.into_inner().used.unwrap_or_default().minor_units;
        if used != *owed {
            return Err(format!("{customer} owes {owed} {currency} and was charged {used}"));
        }
    }
    Ok(format!("{} accounts", owed.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_demo::orders::Line;

    fn states(pairs: &[(&str, OrderState)]) -> BTreeMap<String, OrderState> {
        pairs.iter().map(|(id, state)| ((*id).to_owned(), *state)).collect()
    }

    #[test]
    fn an_order_may_go_on_from_what_was_told_until_it_has_ended() {
        let told = states(&[("a", OrderState::Received), ("b", OrderState::Completed)]);
        let ends = states(&[("a", OrderState::Rejected), ("b", OrderState::Completed)]);
        assert_eq!(kept(&told, &ends), Ok(()));
    }

    #[test]
    fn an_order_that_was_acknowledged_and_is_gone_is_lost() {
        let error = kept(&states(&[("a", OrderState::Received)]), &BTreeMap::new()).unwrap_err();
        assert!(error.contains("a was acknowledged as ORDER_STATE_RECEIVED and is lost"), "{error}");
    }

    #[test]
    fn an_end_that_changes_is_noticed() {
        let (told, ends) = (states(&[("a", OrderState::Completed)]), states(&[("a", OrderState::Rejected)]));
        assert!(kept(&told, &ends).is_err());
        assert!(kept(&ends, &told).is_err());
    }

    #[test]
    fn only_completed_orders_are_owed_for() {
        let order = |id: &str, price| Placed {
            order: Order {
                order_id: id.to_owned(),
                currency: "EUR".to_owned(),
                lines: vec![Line { sku: "A".to_owned(), quantity: 2, unit_price_minor: price }],
            },
            customer: "c".to_owned(),
        };
        let placed = [order("a", 5), order("b", 7), order("d", 1000)];
        let placed = placed.map(|placed| (placed.order.order_id.clone(), placed)).into();
        let ends = states(&[
            ("a", OrderState::Completed),
            ("b", OrderState::Completed),
            ("d", OrderState::Rejected),
        ]);
        assert_eq!(owed(&placed, &ends), BTreeMap::from([(("c".to_owned(), "EUR".to_owned()), 24)]));
        assert_eq!(owed(&placed, &BTreeMap::new()).values().sum::<i64>(), 0);
    }
}
