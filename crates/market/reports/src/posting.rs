//! A posting of the ledger, as the totals count it.

use market_api::ids::CustomerId;
use market_api::ledger::v1::TailResponse;
use market_api::money::Money;

use crate::ReportsError;

/// The ledger's sales account. Sales are credits, so its entries are negative.
const SALES: &str = "sales";
/// The prefix of the name of a customer's account, before the customer's ID.
const CUSTOMERS: &str = "customers/";

/// A posting, reduced to the amounts that are added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedPosting {
    /// The posting's sequence number in the ledger.
    pub sequence: u64,
    /// The sales; positive unless it is a correction.
    pub sales: Vec<Money>,
    /// The charges to customers.
    pub charges: Vec<Sale>,
}

/// An amount charged to a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// The customer.
    pub customer: CustomerId,
    /// The amount; negative in a correction.
    pub amount: Money,
}

impl TryFrom<TailResponse> for CountedPosting {
    type Error = ReportsError;

    fn try_from(response: TailResponse) -> Result<Self, ReportsError> {
        let sequence = response.sequence;
        let posting = response.posting.ok_or(ReportsError::EmptyPosting(sequence))?;
        let mut counted = Self { sequence, sales: Vec::new(), charges: Vec::new() };
        for entry in posting.entries {
            let amount = Money::from_proto(entry.amount.as_ref())
                .map_err(|source| ReportsError::Money { sequence, source })?;
            if entry.account == SALES {
                // Within the bounds of Money, which has room for its negative.
                counted.sales.push(Money { minor_units: -amount.minor_units, ..amount });
            } else if let Some(customer) = entry.account.strip_prefix(CUSTOMERS) {
                let customer =
                    customer.parse().map_err(|source| ReportsError::Customer { sequence, source })?;
                counted.charges.push(Sale { customer, amount });
            }
            // Other accounts are not reported on.
        }
        Ok(counted)
    }
}
