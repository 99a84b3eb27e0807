//! A posting: entries that add up to zero in every currency.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use market_api::ids::PostingId;
use market_api::ledger::v1;
use market_api::money::Money;

use crate::LedgerError;
use crate::limits::{MAX_ACCOUNT, MAX_DESCRIPTION, MAX_ENTRIES};

/// The name of an account: `customers/cust-0042`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(Box<str>);

impl Account {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Account {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let segment = |segment: &str| {
            !segment.is_empty()
                && segment.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if text.len() <= MAX_ACCOUNT && text.split('/').all(segment) {
            Ok(Self(text.into()))
        } else {
            Err(LedgerError::Account)
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One side of a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The account.
    pub account: Account,
    /// The amount: positive for a debit, negative for a credit, never zero.
    pub amount: Money,
}

/// A balanced set of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    id: PostingId,
    description: String,
    entries: Vec<Entry>,
}

impl Posting {
    /// A posting, if it balances.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn new(id: PostingId, description: String, entries: Vec<Entry>) -> Result<Self, LedgerError> {
        if description.chars().count() > MAX_DESCRIPTION || description.chars().any(char::is_control) {
            return Err(LedgerError::Description);
        }
        if !(2..=MAX_ENTRIES).contains(&entries.len()) {
            return Err(LedgerError::EntryCount);
        }
        let mut sums = BTreeMap::new();
        for entry in &entries {
            if entry.amount.minor_units == 0 {
                return Err(LedgerError::ZeroEntry);
            }
            // 16 entries within the limit of Money: 128 bits hold any sum of them.
            *sums.entry(entry.amount.currency).or_insert(0_i128) += i128::from(entry.amount.minor_units);
        }
        match sums.into_iter().find(|(_, sum)| *sum != 0) {
            Some((currency, _)) => Err(LedgerError::Unbalanced(currency)),
            None => Ok(Self { id, description, entries }),
        }
    }

    /// The posting's ID, which is the idempotency key of the request.
    #[must_use]
    pub fn id(&self) -> &PostingId {
        &self.id
    }

    /// The description.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The entries: two or more, which add up to zero.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl TryFrom<v1::Posting> for Posting {
    type Error = LedgerError;

    fn try_from(posting: v1::Posting) -> Result<Self, LedgerError> {
        let entries = posting.entries.iter().map(|entry| {
            Ok(Entry { account: entry.account.parse()?, amount: Money::from_proto(entry.amount.as_ref())? })
        });
        let entries = entries.collect::<Result<_, LedgerError>>()?;
        Self::new(posting.posting_id.parse()?, posting.description, entries)
    }
}

impl From<Posting> for v1::Posting {
    fn from(posting: Posting) -> Self {
        let entry = |entry: Entry| v1::Entry {
            account: entry.account.as_str().to_owned(),
            amount: Some(entry.amount.into()),
        };
        Self {
            posting_id: posting.id.to_string(),
            description: posting.description,
            entries: posting.entries.into_iter().map(entry).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use market_api::money::Currency;

    use super::*;

    fn entry(account: &str, currency: Currency, minor_units: i64) -> Entry {
        Entry { account: account.parse().unwrap(), amount: Money { currency, minor_units } }
    }

    fn posting(entries: Vec<Entry>) -> Result<Posting, LedgerError> {
        Posting::new("p-1".parse().unwrap(), "a sale".to_owned(), entries)
    }

    use Currency::{Eur, Usd};

    #[test]
    fn entries_that_add_up_to_zero_are_a_posting() {
        posting(vec![entry("customers/c-1", Eur, 5), entry("sales", Eur, -5)]).unwrap();
        posting(vec![
            entry("a", Eur, 5),
            entry("b", Eur, -2),
            entry("c", Eur, -3),
            entry("d", Usd, 1),
            entry("e", Usd, -1),
        ])
        .unwrap();
    }

    #[test]
    fn a_posting_that_does_not_balance_is_refused() {
        let refused = posting(vec![entry("a", Eur, 5), entry("b", Eur, -4)]);
        assert!(matches!(refused, Err(LedgerError::Unbalanced(Eur))));
    }

    #[test]
    fn currencies_do_not_balance_each_other() {
        let refused = posting(vec![entry("a", Eur, 5), entry("b", Usd, -5)]);
        assert!(matches!(refused, Err(LedgerError::Unbalanced(_))));
    }

    #[test]
    fn one_entry_no_entry_too_many_and_zero_entries_are_refused() {
        assert!(matches!(posting(vec![]), Err(LedgerError::EntryCount)));
        assert!(matches!(posting(vec![entry("a", Eur, 1)]), Err(LedgerError::EntryCount)));
        let many = (0..17).map(|n| entry("a", Eur, if n % 2 == 0 { 1 } else { -1 })).collect();
        assert!(matches!(posting(many), Err(LedgerError::EntryCount)));
        let zero = vec![entry("a", Eur, 0), entry("b", Eur, 0)];
        assert!(matches!(posting(zero), Err(LedgerError::ZeroEntry)));
    }

    #[test]
    fn sums_beyond_64_bits_do_not_wrap_into_balance() {
        let entries = vec![entry("a", Eur, i64::MAX), entry("b", Eur, i64::MAX), entry("c", Eur, 2)];
        assert!(matches!(posting(entries), Err(LedgerError::Unbalanced(Eur))));
    }

    #[test]
    fn accounts_are_segments_of_lower_case() {
        for good in ["sales", "customers/cust-0042", "a/b/c", "0"] {
            good.parse::<Account>().unwrap();
        }
        for bad in ["", "/", "a/", "/a", "a//b", "A", "a b", "a.b", "../etc", &"a".repeat(101)] {
            assert!(matches!(bad.parse::<Account>(), Err(LedgerError::Account)), "{bad:?}");
        }
    }

    #[test]
    fn a_long_description_or_one_with_line_breaks_is_refused() {
        let entries = || vec![entry("a", Eur, 5), entry("b", Eur, -5)];
        for description in ["x".repeat(201), "two\nlines".to_owned(), "\u{1b}[31m".to_owned()] {
            let refused = Posting::new("p-1".parse().unwrap(), description, entries());
            assert!(matches!(refused, Err(LedgerError::Description)));
        }
    }
}
