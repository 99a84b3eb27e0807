//! Amounts of money, as integers of the currency's smallest unit. No floating point is used, and all arithmetic is
//! checked for overflow.

use std::fmt;
use std::str::FromStr;

/// Version 1 of the message.
#[allow(missing_docs, clippy::allow_attributes_without_reason, reason = "generated from the proto")]
pub mod v1 {
    tonic::include_proto!("market.money.v1");
}

/// The currencies the market trades in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Currency {
    /// Euro, in cents.
    Eur,
    /// Pound sterling, in pence.
    Gbp,
    /// Yen, which has no smaller unit.
    Jpy,
    /// US dollar, in cents.
    Usd,
}

impl Currency {
    /// All currencies.
    pub const ALL: [Self; 4] = [Self::Eur, Self::Gbp, Self::Jpy, Self::Usd];

    /// The ISO 4217 code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eur => "EUR",
            Self::Gbp => "GBP",
            Self::Jpy => "JPY",
            Self::Usd => "USD",
        }
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        Self::ALL.into_iter().find(|currency| currency.as_str() == text).ok_or(MoneyError::UnknownCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason why something is not a valid amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// The currency is not one of [`Currency::ALL`].
    #[error("the currency is not one of EUR, GBP, JPY, USD")]
    UnknownCurrency,
    /// The field is not set.
    #[error("the amount is missing")]
    Missing,
    /// The amount is zero or negative where a price or a charge must be positive.
    #[error("the amount is not positive")]
    NotPositive,
    /// The amount is beyond [`Money::MAX_MINOR_UNITS`], or does not fit 64 bits.
    #[error("the amount is too large")]
    TooLarge,
    /// The two amounts to be added are of different currencies.
    #[error("the amounts are of different currencies")]
    MixedCurrencies,
}

/// An amount of one currency; may be negative, as an entry of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// The currency.
    pub currency: Currency,
    /// The amount in the currency's smallest unit.
    pub minor_units: i64,
}

impl Money {
    /// The most that one price, charge or entry may be, so that sums over millions of them fit 64 bits.
    pub const MAX_MINOR_UNITS: i64 = 1_000_000_000_000;

    /// The amount in a message's field.
    ///
    /// # Errors
    /// [`MoneyError::Missing`], [`MoneyError::UnknownCurrency`], [`MoneyError::TooLarge`].
    pub fn from_proto(message: Option<&v1::Money>) -> Result<Self, MoneyError> {
        let message = message.ok_or(MoneyError::Missing)?;
        Self { currency: message.currency.parse()?, minor_units: message.minor_units }.bounded()
    }

    /// This amount, if it is within [`Self::MAX_MINOR_UNITS`] either way.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn bounded(self) -> Result<Self, MoneyError> {
        let fits = self.minor_units.unsigned_abs() <= Self::MAX_MINOR_UNITS.unsigned_abs();
        if fits { Ok(self) } else { Err(MoneyError::TooLarge) }
    }

    /// This amount, if it is positive.
    ///
    /// # Errors
    /// [`MoneyError::NotPositive`].
    pub fn positive(self) -> Result<Self, MoneyError> {
        if self.minor_units > 0 { Ok(self) } else { Err(MoneyError::NotPositive) }
    }

    /// The sum of two amounts.
    ///
    /// # Errors
    /// [`MoneyError::MixedCurrencies`], [`MoneyError::TooLarge`].
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::MixedCurrencies);
        }
        let sum = self.minor_units.checked_add(other.minor_units).ok_or(MoneyError::TooLarge)?;
        Ok(Self { minor_units: sum, ..self })
    }

    /// This amount multiplied by `count`.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn times(self, count: u32) -> Result<Self, MoneyError> {
        let product = self.minor_units.checked_mul(i64::from(count)).ok_or(MoneyError::TooLarge)?;
        Ok(Self { minor_units: product, ..self })
    }
}

impl From<Money> for v1::Money {
    fn from(money: Money) -> Self {
        Self { currency: money.currency.as_str().to_owned(), minor_units: money.minor_units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(minor_units: i64) -> Money {
        Money { currency: Currency::Eur, minor_units }
    }

    #[test]
    fn currencies_are_upper_case_iso_codes_of_the_list() {
        assert_eq!("JPY".parse(), Ok(Currency::Jpy));
        for text in ["", "eur", "EURO", "CHF", " EUR"] {
            assert_eq!(text.parse::<Currency>(), Err(MoneyError::UnknownCurrency), "{text:?}");
        }
    }

    #[test]
    fn sums_and_products_never_wrap() {
        assert_eq!(eur(i64::MAX).plus(eur(1)), Err(MoneyError::TooLarge));
        assert_eq!(eur(i64::MIN).plus(eur(-1)), Err(MoneyError::TooLarge));
        assert_eq!(eur(i64::MAX / 2).times(3), Err(MoneyError::TooLarge));
        assert_eq!(eur(250).times(4).and_then(|price| price.plus(eur(1))), Ok(eur(1001)));
    }

    #[test]
    fn different_currencies_do_not_add_up() {
        let usd = Money { currency: Currency::Usd, minor_units: 1 };
        assert_eq!(eur(1).plus(usd), Err(MoneyError::MixedCurrencies));
    }

    #[test]
    fn an_amount_beyond_the_limit_is_refused_either_way() {
        let message = |minor_units| v1::Money { currency: "EUR".to_owned(), minor_units };
        for minor_units in [Money::MAX_MINOR_UNITS + 1, -Money::MAX_MINOR_UNITS - 1, i64::MAX, i64::MIN] {
            assert_eq!(Money::from_proto(Some(&message(minor_units))), Err(MoneyError::TooLarge));
        }
        assert!(Money::from_proto(Some(&message(-Money::MAX_MINOR_UNITS))).is_ok());
    }

    #[test]
    fn an_absent_amount_is_not_zero() {
        assert_eq!(Money::from_proto(None), Err(MoneyError::Missing));
        assert_eq!(eur(0).positive(), Err(MoneyError::NotPositive));
        assert_eq!(eur(-1).positive(), Err(MoneyError::NotPositive));
    }
}
