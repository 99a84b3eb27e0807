//! A charge, and its receipt.

use market_api::ids::{CustomerId, OrderId, PostingId};
use market_api::ledger::v1;
use market_api::money::Money;
use market_api::payments::v1::ChargeRequest;

use crate::PaymentsError;

/// One charge of a customer's credit, made once per key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    key: OrderId,
    customer: CustomerId,
    amount: Money,
}

impl Charge {
    /// A charge of a positive amount.
    ///
    /// # Errors
    /// [`PaymentsError::Money`] for an amount that is not positive or too large.
    pub fn new(key: OrderId, customer: CustomerId, amount: Money) -> Result<Self, PaymentsError> {
        Ok(Self { key, customer, amount: amount.positive()?.bounded()? })
    }

    /// The caller's idempotency key.
    #[must_use]
    pub fn key(&self) -> &OrderId {
        &self.key
    }

    /// The customer who pays.
    #[must_use]
    pub fn customer(&self) -> &CustomerId {
        &self.customer
    }

    /// The amount; positive.
    #[must_use]
    pub fn amount(&self) -> Money {
        self.amount
    }

    /// The charge's posting ID in the ledger, derived from the key so that every attempt posts under the same ID.
    ///
    /// # Errors
    /// Never for a valid key, which the types do not express.
    pub fn posting_id(&self) -> Result<PostingId, PaymentsError> {
        Ok(format!("charge-{}", self.key).parse()?)
    }

    /// The ledger posting of the charge: a debit of the customer's account and a credit of the sales account.
    ///
    /// # Errors
    /// As [`Self::posting_id`].
    pub fn posting(&self) -> Result<v1::Posting, PaymentsError> {
        let entry = |account: String, minor_units: i64| v1::Entry {
            account,
            amount: Some(Money { minor_units, ..self.amount }.into()),
        };
        Ok(v1::Posting {
            posting_id: self.posting_id()?.to_string(),
            description: format!("order {}", self.key),
            entries: vec![
                entry(format!("customers/{}", self.customer), self.amount.minor_units),
                entry("sales".to_owned(), -self.amount.minor_units),
            ],
        })
    }
}

impl TryFrom<ChargeRequest> for Charge {
    type Error = PaymentsError;

    fn try_from(request: ChargeRequest) -> Result<Self, PaymentsError> {
        let amount = Money::from_proto(request.amount.as_ref())?;
        Self::new(request.key.parse()?, request.customer_id.parse()?, amount)
    }
}

/// The state of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Durable; the ledger does not have it yet.
    Pending,
    /// Posted to the ledger.
    Posted,
    /// Declined, since the customer's credit does not cover it; with the reason as text.
    Declined(String),
}
