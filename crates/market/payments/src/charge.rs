//! What is asked for, and what comes back.

use market_api::ids::{CustomerId, OrderId, PostingId};
use market_api::ledger::v1;
use market_api::money::Money;
use market_api::payments::v1::ChargeRequest;

use crate::PaymentsError;

/// One charge: so much of a customer's credit, once per key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    key: OrderId,
    customer: CustomerId,
    amount: Money,
}

impl Charge {
    /// A charge of more than nothing.
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

    /// Who pays.
    #[must_use]
    pub fn customer(&self) -> &CustomerId {
        &self.customer
    }

    /// How much; positive.
    #[must_use]
    pub fn amount(&self) -> Money {
        self.amount
    }

    /// The ledger's ID for it: derived, so that every attempt posts under the same one.
    ///
    /// # Errors
    /// Never for a key of the grammar; the types cannot say so.
    pub fn posting_id(&self) -> Result<PostingId, PaymentsError> {
        Ok(format!("charge-{}", self.key).parse()?)
    }

    /// The posting: the customer owes (debit), the shop has sold (credit).
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

/// How far a charge has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Durable; the ledger does not have it yet.
    Pending,
    /// In the ledger.
    Posted,
    /// Not covered by the customer's credit; in words.
    Declined(String),
}
