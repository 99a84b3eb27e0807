//! A client's order, validated.

use market_api::ids::{CustomerId, OrderId, Sku};
use market_api::limits::{MAX_LINES, MAX_QUANTITY};
use market_api::money::{Currency, Money};
use market_api::orders::v1;

use crate::OrdersError;

/// One article of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The article.
    pub sku: Sku,
    /// The number of pieces, 1 to 1000.
    pub quantity: u32,
    /// The price of one piece; positive.
    pub unit_price: Money,
}

/// A valid order: it has lines, all in one currency, and a total within the limit of an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    id: OrderId,
    customer: CustomerId,
    currency: Currency,
    lines: Vec<Line>,
    total: Money,
}

impl Order {
    /// The client's ID of the order.
    #[must_use]
    pub fn id(&self) -> &OrderId {
        &self.id
    }

    /// The customer who orders.
    #[must_use]
    pub fn customer(&self) -> &CustomerId {
        &self.customer
    }

    /// The lines, one or more.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The sum of the lines; positive.
    #[must_use]
    pub fn total(&self) -> Money {
        self.total
    }

    /// The lines as messages.
    #[must_use]
    pub fn line_messages(&self) -> Vec<v1::Line> {
        let message = |line: &Line| v1::Line {
            sku: line.sku.to_string(),
            quantity: line.quantity,
            unit_price_minor: line.unit_price.minor_units,
        };
        self.lines.iter().map(message).collect()
    }

    /// The request that creates this order. It is stored, and a repeated request is compared with it.
    #[must_use]
    pub fn to_request(&self) -> v1::PlaceOrderRequest {
        v1::PlaceOrderRequest {
            order_id: self.id.to_string(),
            customer_id: self.customer.to_string(),
            currency: self.currency.as_str().to_owned(),
            lines: self.line_messages(),
        }
    }
}

impl TryFrom<v1::PlaceOrderRequest> for Order {
    type Error = OrdersError;

    fn try_from(request: v1::PlaceOrderRequest) -> Result<Self, OrdersError> {
        let id = request.order_id.parse()?;
        let customer = request.customer_id.parse()?;
        let currency: Currency = request.currency.parse()?;
        if request.lines.is_empty() || request.lines.len() > MAX_LINES {
            return Err(OrdersError::LineCount);
        }
        let mut total = Money { currency, minor_units: 0 };
        let mut lines = Vec::with_capacity(request.lines.len());
        for (position, line) in (1..).zip(request.lines) {
            let line = parse_line(line, currency).map_err(|error| error.in_line(position))?;
            let price = line
                .unit_price
                .times(line.quantity)
                .map_err(|error| OrdersError::from(error).in_line(position))?;
            total = total.plus(price)?.bounded()?;
            lines.push(line);
        }
        Ok(Self { id, customer, currency, lines, total })
    }
}

fn parse_line(line: v1::Line, currency: Currency) -> Result<Line, OrdersError> {
    if !(1..=MAX_QUANTITY).contains(&line.quantity) {
        return Err(OrdersError::Quantity);
    }
    let unit_price = Money { currency, minor_units: line.unit_price_minor }.positive()?.bounded()?;
    Ok(Line { sku: line.sku.parse()?, quantity: line.quantity, unit_price })
}

#[cfg(test)]
mod tests {
    use market_api::ids::IdError;
    use market_api::money::MoneyError;

    use super::*;

    fn request(lines: &[(&str, u32, i64)]) -> v1::PlaceOrderRequest {
        let line = |(sku, quantity, unit_price_minor): &(&str, u32, i64)| v1::Line {
            sku: (*sku).to_owned(),
            quantity: *quantity,
            unit_price_minor: *unit_price_minor,
        };
        v1::PlaceOrderRequest {
            order_id: "ord-1".to_owned(),
            customer_id: "cust-1".to_owned(),
            currency: "EUR".to_owned(),
            lines: lines.iter().map(line).collect(),
        }
    }

    fn refused(request: v1::PlaceOrderRequest) -> OrdersError {
        Order::try_from(request).unwrap_err()
    }

    #[test]
    fn an_order_is_worth_the_sum_of_its_lines() {
        let order = Order::try_from(request(&[("A", 2, 1250), ("B", 1000, 1), ("A", 1, 5)])).unwrap();
        assert_eq!(order.total(), Money { currency: Currency::Eur, minor_units: 3505 });
        assert_eq!(order.lines().len(), 3);
    }

    #[test]
    fn an_order_makes_the_request_it_came_from() {
        let request = request(&[("A", 2, 1250), ("B", 1, 1)]);
        assert_eq!(Order::try_from(request.clone()).unwrap().to_request(), request);
    }

    #[test]
    fn no_lines_and_too_many_lines_are_refused() {
        assert!(matches!(refused(request(&[])), OrdersError::LineCount));
        assert!(matches!(refused(request(&[("A", 1, 1); 51])), OrdersError::LineCount));
        assert!(Order::try_from(request(&[("A", 1, 1); 50])).is_ok());
    }

    #[test]
    fn a_quantity_outside_its_range_is_refused_with_its_line() {
        for quantity in [0, 1001, u32::MAX] {
            let error = refused(request(&[("A", 1, 1), ("B", quantity, 1)]));
            assert_eq!(error.to_string(), "line 2: a line has 1 to 1000 pieces");
        }
    }

    #[test]
    fn a_price_of_nothing_or_less_is_refused() {
        for price in [0, -1, i64::MIN] {
            let error = refused(request(&[("A", 1, price)]));
            assert_eq!(error.to_string(), "line 1: the amount is not positive");
        }
    }

    #[test]
    fn a_sum_that_is_too_large_is_refused_and_never_wraps() {
        let large = |lines: &[(&str, u32, i64)]| {
            let error = refused(request(lines)).to_string();
            assert!(error.ends_with("the amount is too large"), "{error}");
        };
        large(&[("A", 1, i64::MAX)]);
        large(&[("A", 1000, Money::MAX_MINOR_UNITS)]);
        large(&[("A", 1, Money::MAX_MINOR_UNITS), ("B", 1, 1)]);
    }

    #[test]
    fn an_unknown_currency_is_refused() {
        for currency in ["", "eur", "CHF", "EUR "] {
            let error =
                refused(v1::PlaceOrderRequest { currency: currency.to_owned(), ..request(&[("A", 1, 1)]) });
            assert!(matches!(error, OrdersError::Money(MoneyError::UnknownCurrency)));
        }
    }

    #[test]
    fn ids_outside_their_grammar_are_refused() {
        let bad_order = v1::PlaceOrderRequest { order_id: "ORD 1".to_owned(), ..request(&[("A", 1, 1)]) };
        assert!(matches!(refused(bad_order), OrdersError::Id(IdError::BadCharacter { .. })));
        let bad_customer = v1::PlaceOrderRequest { customer_id: String::new(), ..request(&[("A", 1, 1)]) };
        assert!(matches!(refused(bad_customer), OrdersError::Id(IdError::Empty { .. })));
        assert!(refused(request(&[("a b", 1, 1)])).to_string().starts_with("line 1: the SKU"));
    }
}
