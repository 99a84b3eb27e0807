//! The summary that the reports answer with.

use std::time::SystemTime;

use market_api::ids::CustomerId;
use market_api::money::Money;

/// The most customers that a summary names.
pub(crate) const MAX_TOP: u32 = 100;

/// The summary of the ledger's postings up to the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The total of each currency that has sales.
    pub currencies: Vec<CurrencyTotal>,
    /// The customers with the largest debts, largest first.
    pub customers: Vec<CustomerTotal>,
    /// The last posting counted; 0 before the first.
    pub cursor: u64,
    /// When that posting was counted, to the millisecond.
    pub updated_at: Option<SystemTime>,
}

/// The total of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrencyTotal {
    /// The sales.
    pub sales: Money,
    /// The number of postings with a sale.
    pub postings: u64,
}

/// The debt of one customer in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerTotal {
    /// The customer.
    pub customer: CustomerId,
    /// The amount spent.
    pub spent: Money,
}
