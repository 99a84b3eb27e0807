//! The `[payments]` section of the configuration, and the credit limits made of it.
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

use avouch_service::{Bounds, ConfigFault, Renamed, Scalar};
use market_api::ids::{CustomerId, IdError};
use market_api::limits::ANSWER_TIMEOUT;
use market_api::money::{Currency, Money, MoneyError};
use serde::Deserialize;

/// The service's own section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The SQLite file; created if absent.
    pub database: PathBuf,
    /// Credit per currency, in its smallest unit, of customers who are not named.
    #[serde(default)]
    pub default_limits: BTreeMap<String, Scalar>,
    /// Credit per currency of single customers.
    #[serde(default)]
    pub limits: BTreeMap<String, BTreeMap<String, Scalar>>,
    /// How long a charge waits for the ledger before it is answered as pending.
    /// Default 2 s.
    pub timeout: Option<Scalar>,
}

impl Settings {
    /// The keys of `[payments]` that had another name.
    pub(crate) const RENAMED: &[Renamed] =
        &[Renamed::duration("payments.patience", "payments.timeout", Duration::from_secs(1))];

    const CREDIT: Bounds<i64> = Bounds::new(
        0,
        Money::MAX_MINOR_UNITS,
        "it is in the currency's smallest unit, nobody owes credit, and no amount is larger",
    );

    pub(crate) fn timeout(&self) -> Result<Duration, ConfigFault> {
        let given = self.timeout.as_ref();
        given.map_or(Ok(Duration::from_secs(2)), |given| given.within("payments.timeout", &ANSWER_TIMEOUT))
    }
}

/// The reason why limits are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// A customer's ID is invalid.
    #[error("payments.limits.{customer}: {source}")]
    Customer {
        /// The text in the file.
        customer: String,
        /// The cause.
        source: IdError,
    },
    /// A currency is unknown.
    #[error("credit limits, {currency}: {source}")]
    Limit {
        /// The text in the file.
        currency: String,
        /// The cause.
        source: MoneyError,
    },
    /// A limit is out of bounds.
    #[error(transparent)]
    OutOfBounds(#[from] ConfigFault),
}

/// The credit limits of customers.
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
            of.insert(id, per_currency(&format!("payments.limits.{customer}"), limits)?);
        }
        Ok(Self { default: per_currency("payments.default_limits", &settings.default_limits)?, of })
    }
}

fn per_currency(
    section: &str,
    limits: &BTreeMap<String, Scalar>,
) -> Result<BTreeMap<Currency, i64>, LimitsError> {
    let one = |(name, limit): (&String, &Scalar)| {
        let error = |source| LimitsError::Limit { currency: name.clone(), source };
        let currency: Currency = name.parse().map_err(error)?;
        Ok((currency, limit.within(&format!("{section}.{name}"), &Settings::CREDIT)?))
    };
    limits.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(default: &[(&str, i64)], of: &[(&str, &[(&str, i64)])]) -> Result<Limits, LimitsError> {
        let map =
            |pairs: &[(&str, i64)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), Scalar::from(*v))).collect();
        Limits::try_from(&Settings {
            database: "payments.db".into(),
            default_limits: map(default),
            limits: of.iter().map(|(k, v)| ((*k).to_owned(), map(v))).collect(),
            timeout: None,
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
        for limit in [i64::MAX, i64::MIN, -1, Money::MAX_MINOR_UNITS + 1] {
            let error = limits(&[], &[("cust-1", &[("EUR", limit)])]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("payments.limits.cust-1.EUR = {limit}: must be")), "{error}");
        }
        assert!(matches!(limits(&[], &[("Bad", &[])]), Err(LimitsError::Customer { .. })));
    }

    /// The keys of the section's type, taken from serde's error message for an unknown key.
    fn keys() -> Vec<String> {
        let said = toml::from_str::<Settings>("zzz = 1").unwrap_err().to_string();
        let (_, known) = said.split_once("unknown field `zzz`").unwrap();
        known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn no_number_of_the_section_is_without_bounds() {
        assert_eq!(keys().len(), 4);
        for key in keys() {
            for value in ["9223372036854775807", "-1", "nan", "1e300", "'9223372036854775807s'"] {
                let line = if key == "database" { String::new() } else { format!("{key} = {value}\n") };
                let outcome = toml::from_str::<Settings>(&format!("database = 'd'\n{line}"));
                let refused = outcome.map_or(true, |settings| settings.timeout().is_err());
                assert!(refused || key == "database", "{key} = {value}");
            }
        }
    }
}
