//! What a posting of the ledger means for the sums.

use market_api::ids::CustomerId;
use market_api::ledger::v1::TailResponse;
use market_api::money::Money;

use crate::ReportsError;

/// The ledger's account for what is sold; credits, so negative.
const SALES: &str = "sales";
/// Before a customer's ID in the name of its account.
const CUSTOMERS: &str = "customers/";

/// A posting, reduced to what is added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its place in the book.
    pub sequence: u64,
    /// What it sold; positive unless it is a correction.
    pub sales: Vec<Money>,
    /// What it charged to whom.
    pub charges: Vec<Sale>,
}

/// So much charged to a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Whom.
    pub customer: CustomerId,
    /// How much; negative in a correction.
    pub amount: Money,
}

impl TryFrom<TailResponse> for Counted {
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
