//! What the `[payments]` section of the configuration holds, and the credit limits made of it.
//!
//! ```toml
//! [payments]
//! database = "payments.db"
//! [payments.default_limits]       # of a customer who is not named below; a currency that is missing: nothing
//! EUR = 500000
//! [payments.limits.cust-0042]     # replaces all of the defaults
//! EUR = 0
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use avouch_service::Period;
use market_api::ids::{CustomerId, IdError};
use market_api::money::{Currency, Money, MoneyError};
use serde::Deserialize;

/// The service's own section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The SQLite file; made if absent.
    pub database: PathBuf,
    /// Credit per currency, in its smallest unit, of customers who are not named.
    #[serde(default)]
    pub default_limits: BTreeMap<String, i64>,
    /// Credit per currency of single customers.
    #[serde(default)]
    pub limits: BTreeMap<String, BTreeMap<String, i64>>,
    /// How long a charge waits for the ledger before the answer says that it is pending.
    #[serde(default = "default_patience")]
    pub patience: Period,
}

const fn default_patience() -> Period {
    Period(Duration::from_secs(2))
}

/// Why limits are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// A customer's ID is none.
    #[error("payments.limits.{customer}: {source}")]
    Customer {
        /// As the file has it.
        customer: String,
        /// What is wrong with it.
        source: IdError,
    },
    /// A currency or a limit is none.
    #[error("credit limits, {currency}: {source}")]
    Limit {
        /// As the file has it.
        currency: String,
        /// What is wrong with it.
        source: MoneyError,
    },
    /// Credit below zero.
    #[error("credit limits, {0}: a limit is not negative")]
    Negative(Currency),
}

/// What customers may spend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    default: BTreeMap<Currency, i64>,
    of: BTreeMap<CustomerId, BTreeMap<Currency, i64>>,
}

impl Limits {
    /// The limit of a customer in a currency, in its smallest unit; 0 when there is none.
    #[must_use]
    pub fn of(&self, customer: &CustomerId, currency: Currency) -> i64 {
        self.of.get(customer).unwrap_or(&self.default).get(&currency).copied().unwrap_or(0)
    }
}

impl TryFrom<&Settings> for Limits {
    type Error = LimitsError;

    fn try_from(settings: &Settings) -> Result<Self, LimitsError> {
        let mut of = BTreeMap::new();
        for (customer, limits) in &settings.limits {
            let id = customer
                .parse()
                .map_err(|source| LimitsError::Customer { customer: customer.clone(), source })?;
            of.insert(id, per_currency(limits)?);
        }
        Ok(Self { default: per_currency(&settings.default_limits)?, of })
    }
}

fn per_currency(limits: &BTreeMap<String, i64>) -> Result<BTreeMap<Currency, i64>, LimitsError> {
    let one = |(name, limit): (&String, &i64)| {
        let error = |source| LimitsError::Limit { currency: name.clone(), source };
        let currency: Currency = name.parse().map_err(error)?;
        let limit = Money { currency, minor_units: *limit }.bounded().map_err(error)?.minor_units;
        if limit < 0 { Err(LimitsError::Negative(currency)) } else { Ok((currency, limit)) }
    };
    limits.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(default: &[(&str, i64)], of: &[(&str, &[(&str, i64)])]) -> Result<Limits, LimitsError> {
        let map = |pairs: &[(&str, i64)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        Limits::try_from(&Settings {
            database: "payments.db".into(),
            default_limits: map(default),
            limits: of.iter().map(|(k, v)| ((*k).to_owned(), map(v))).collect(),
            patience: default_patience(),
        })
    }

    #[test]
    fn a_named_customer_has_its_own_limits_and_none_of_the_defaults() {
        let limits = limits(&[("EUR", 500), ("USD", 300)], &[("cust-1", &[("EUR", 0)])]).unwrap();
        let of = |customer: &str, currency| limits.of(&customer.parse().unwrap(), currency);
        assert_eq!(of("cust-1", Currency::Eur), 0);
        assert_eq!(of("cust-1", Currency::Usd), 0);
        assert_eq!(of("cust-2", Currency::Usd), 300);
        assert_eq!(of("cust-2", Currency::Jpy), 0);
    }

    #[test]
    fn unknown_currencies_odd_customers_and_negative_limits_are_refused() {
        assert!(matches!(limits(&[("CHF", 1)], &[]), Err(LimitsError::Limit { .. })));
        assert!(matches!(limits(&[("EUR", i64::MAX)], &[]), Err(LimitsError::Limit { .. })));
        assert!(matches!(limits(&[("EUR", -1)], &[]), Err(LimitsError::Negative(Currency::Eur))));
        assert!(matches!(limits(&[], &[("Bad", &[])]), Err(LimitsError::Customer { .. })));
    }
}
