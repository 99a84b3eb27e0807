//! An order, and the answer to it, as JSON: one shape for the stream and the ingress.
//!
//! ```json
//! {"order_id":"ord-1","customer_id":"cust-1","currency":"EUR",
//!  "lines":[{"sku":"BOOK-0001","quantity":2,"unit_price_minor":1250}]}
//! ```
//!
//! Only the shape is checked here; the rules are those of the orders service.

use market_api::orders::v1;
use market_api::orders::v1::{OrderState, RejectReason};
use serde::{Deserialize, Serialize};

/// An order as a shopper writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderJson {
    /// The shopper's ID of the order, which is the idempotency key of the request.
    pub order_id: String,
    /// The customer who orders.
    pub customer_id: String,
    /// The currency, by its ISO 4217 code.
    pub currency: String,
    /// The lines of the order.
    pub lines: Vec<LineJson>,
}

/// One article of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineJson {
    /// The article's ID.
    pub sku: String,
    /// The number of pieces.
    pub quantity: u32,
    /// The price of one piece, in the currency's smallest unit.
    pub unit_price_minor: i64,
}

impl From<OrderJson> for v1::PlaceOrderRequest {
    fn from(order: OrderJson) -> Self {
        let line = |line: LineJson| v1::Line {
            sku: line.sku,
            quantity: line.quantity,
            unit_price_minor: line.unit_price_minor,
        };
        Self {
            order_id: order.order_id,
            customer_id: order.customer_id,
            currency: order.currency,
            lines: order.lines.into_iter().map(line).collect(),
        }
    }
}

/// The state of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerJson {
    /// The order's ID.
    pub order_id: String,
    /// `RECEIVED`, `RESERVED`, `CHARGED`, `COMPLETED`, `RELEASING` or `REJECTED`.
    pub state: &'static str,
    /// The rejection, if the order was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<RejectionJson>,
    /// The sum of its lines, in the currency's smallest unit.
    pub total_minor: i64,
    /// The currency, by its ISO 4217 code.
    pub currency: String,
}

/// The rejection of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectionJson {
    /// `OUT_OF_STOCK`, `UNKNOWN_SKU`, `PAYMENT_DECLINED` or `CONFLICT`.
    pub reason: &'static str,
    /// The details, as text.
    pub detail: String,
}

/// The name of a state without its protobuf enum prefix.
pub(crate) fn state_name(state: OrderState) -> &'static str {
    state.as_str_name().trim_start_matches("ORDER_STATE_")
}

/// The name of a reason without its protobuf enum prefix.
pub(crate) fn reason_name(reason: RejectReason) -> &'static str {
    reason.as_str_name().trim_start_matches("REJECT_REASON_")
}

/// Whether the order's state is final.
pub(crate) fn is_final(order: &v1::Order) -> bool {
    matches!(order.state(), OrderState::Completed | OrderState::Rejected)
}

impl From<v1::Order> for AnswerJson {
    fn from(order: v1::Order) -> Self {
        let (state, reason) = (order.state(), order.reject_reason());
        let rejection = (reason != RejectReason::Unspecified)
            .then(|| RejectionJson { reason: reason_name(reason), detail: order.reject_detail });
        let total = order.total.unwrap_or_default();
        Self {
            order_id: order.order_id,
            state: state_name(state),
            rejection,
            total_minor: total.minor_units,
            currency: total.currency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_single_order_is_one() {
        let text = include_str!("../../../../deploy/demo/order.json");
        let order: OrderJson = serde_json::from_str(text).unwrap();
        assert!(!order.lines.is_empty());
    }

    #[test]
    fn fields_that_are_missing_unknown_or_of_another_type_are_refused() {
        let good = r#"{"order_id":"o","customer_id":"c","currency":"EUR","lines":[{"sku":"A","quantity":1,"unit_price_minor":5}]}"#;
        assert!(serde_json::from_str::<OrderJson>(good).is_ok());
        for (from, to) in [
            (r#""order_id":"o","#, ""),
            (r#""currency":"EUR""#, r#""currency":"EUR","note":"x""#),
            (r#""quantity":1"#, r#""quantity":"1""#),
            (r#""quantity":1"#, r#""quantity":-1"#),
            (r#""quantity":1"#, r#""quantity":1.5"#),
            (r#""unit_price_minor":5"#, r#""unit_price_minor":12.50"#),
            (r#""unit_price_minor":5"#, r#""unit_price_minor":9223372036854775808"#),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert!(serde_json::from_str::<OrderJson>(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_says_why_an_order_was_rejected() {
        let order = v1::Order {
            order_id: "o".to_owned(),
            state: OrderState::Rejected.into(),
            reject_reason: RejectReason::OutOfStock.into(),
            reject_detail: "LAMP".to_owned(),
            ..v1::Order::default()
        };
        let answer = serde_json::to_string(&AnswerJson::from(order)).unwrap();
        assert_eq!(
            answer,
            r#"{"order_id":"o","state":"REJECTED","rejection":{"reason":"OUT_OF_STOCK","detail":"LAMP"},"total_minor":0,"currency":""}"#
        );
    }
}
