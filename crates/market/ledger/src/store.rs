//! The tables, the triggers that keep them append-only, and every statement on them.

use std::time::{Duration, UNIX_EPOCH};

use avouch_sqlite::StoreError;
use avouch_sqlite::rusqlite::{Connection, Row};
use market_api::money::{Currency, Money};

use crate::{Account, CurrencyTotal, Entry, LedgerError, Posted, Posting, Recorded, Totals};

/// The migration scripts of the schema, in order.
///
/// The triggers on INSERT close the two ways around the others: INSERT OR REPLACE, which deletes without firing DELETE
/// triggers, and entries that are slipped into a posting which is not the newest.
pub(crate) const MIGRATIONS: &[&str] = &["
    CREATE TABLE posting (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        posting_id TEXT NOT NULL UNIQUE,
        description TEXT NOT NULL,
        posted_at_ms INTEGER NOT NULL,
        posted_by TEXT NOT NULL
    ) STRICT;
    CREATE TABLE entry (
        sequence INTEGER NOT NULL REFERENCES posting,
        position INTEGER NOT NULL,
        account TEXT NOT NULL,
        currency TEXT NOT NULL,
        minor_units INTEGER NOT NULL CHECK (minor_units <> 0),
        PRIMARY KEY (sequence, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entry_account ON entry (account, currency, minor_units);

    CREATE TRIGGER posting_update BEFORE UPDATE ON posting
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
    CREATE TRIGGER posting_delete BEFORE DELETE ON posting
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
    CREATE TRIGGER posting_replace BEFORE INSERT ON posting
    WHEN EXISTS (SELECT 1 FROM posting WHERE sequence = NEW.sequence OR posting_id = NEW.posting_id)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
    CREATE TRIGGER entry_update BEFORE UPDATE ON entry
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
    CREATE TRIGGER entry_delete BEFORE DELETE ON entry
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
    CREATE TRIGGER entry_replace BEFORE INSERT ON entry
    WHEN NEW.sequence <> (SELECT max(sequence) FROM posting)
        OR EXISTS (SELECT 1 FROM entry WHERE sequence = NEW.sequence AND position = NEW.position)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"];

pub(crate) fn last_sequence(c: &Connection) -> Result<u64, StoreError> {
    let last: i64 = c.query_row("SELECT coalesce(max(sequence), 0) FROM posting", [], |row| row.get(0))?;
    unsigned(last)
}

pub(crate) fn post(c: &Connection, posting: &Posting, at_ms: i64, by: &str) -> Result<Posted, LedgerError> {
    if let Some(recorded) = find(c, posting)? {
        return if recorded.posting == *posting {
            Ok(Posted { sequence: recorded.sequence, created: false })
        } else {
            Err(LedgerError::OtherContent)
        };
    }
    c.prepare_cached(
        "INSERT INTO posting (posting_id, description, posted_at_ms, posted_by) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((posting.id().as_str(), posting.description(), at_ms, by))?;
    let sequence = c.last_insert_rowid();
    let mut insert = c.prepare_cached(
        "INSERT INTO entry (sequence, position, account, currency, minor_units) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (position, entry) in (1_i64..).zip(posting.entries()) {
        let Money { currency, minor_units } = entry.amount;
        insert.execute((sequence, position, entry.account.as_str(), currency.as_str(), minor_units))?;
    }
    Ok(Posted { sequence: unsigned(sequence)?, created: true })
}

pub(crate) fn balance(c: &Connection, account: &Account, currency: Currency) -> Result<i64, LedgerError> {
    Ok(c.prepare_cached(
        "SELECT coalesce(sum(minor_units), 0) FROM entry WHERE account = ?1 AND currency = ?2",
    )?
    .query_row((account.as_str(), currency.as_str()), |row| row.get(0))?)
}

pub(crate) fn totals(c: &Connection) -> Result<Totals, LedgerError> {
    let mut select = c.prepare_cached(
        "SELECT currency, count(DISTINCT sequence),
                coalesce(sum(minor_units) FILTER (WHERE minor_units > 0), 0),
                coalesce(-sum(minor_units) FILTER (WHERE minor_units < 0), 0)
         FROM entry GROUP BY currency ORDER BY currency",
    )?;
    let mut rows = select.query([])?;
    let mut currencies = Vec::new();
    while let Some(row) = rows.next()? {
        currencies.push(CurrencyTotal {
            currency: currency(row, 0)?,
            postings: unsigned(row.get(1)?)?,
            debits_minor: row.get(2)?,
            credits_minor: row.get(3)?,
        });
    }
    Ok(Totals { currencies, last_sequence: last_sequence(c)? })
}

pub(crate) fn read(c: &Connection, after: u64, limit: u32) -> Result<Vec<Recorded>, LedgerError> {
    // A cursor of more than 63 bits is past the end of any book.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut select = c.prepare_cached(
        "SELECT sequence, posting_id, description, posted_at_ms, posted_by
         FROM posting WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let mut rows = select.query((after, limit))?;
    let mut page = Vec::new();
    while let Some(row) = rows.next()? {
        page.push(recorded(c, row)?);
    }
    Ok(page)
}

fn find(c: &Connection, posting: &Posting) -> Result<Option<Recorded>, LedgerError> {
    let mut select = c.prepare_cached(
        "SELECT sequence, posting_id, description, posted_at_ms, posted_by FROM posting WHERE posting_id = ?1",
    )?;
    let mut rows = select.query([posting.id().as_str()])?;
    rows.next()?.map(|row| recorded(c, row)).transpose()
}

fn recorded(c: &Connection, row: &Row<'_>) -> Result<Recorded, LedgerError> {
    let sequence: i64 = row.get(0)?;
    let id: String = row.get(1)?;
    let at_ms: i64 = row.get(3)?;
    let id = id.parse().map_err(|_not_one| StoreError::Corrupt("posting ID"))?;
    Ok(Recorded {
        sequence: unsigned(sequence)?,
        posting: Posting::new(id, row.get(2)?, entries(c, sequence)?)?,
        at: UNIX_EPOCH + Duration::from_millis(unsigned(at_ms)?),
        by: row.get(4)?,
    })
}

fn entries(c: &Connection, sequence: i64) -> Result<Vec<Entry>, LedgerError> {
    let mut select = c.prepare_cached(
        "SELECT account, currency, minor_units FROM entry WHERE sequence = ?1 ORDER BY position",
    )?;
    let mut rows = select.query([sequence])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let account: String = row.get(0)?;
        let amount = Money { currency: currency(row, 1)?, minor_units: row.get(2)? };
        entries.push(Entry { account: account.parse()?, amount });
    }
    Ok(entries)
}

fn currency(row: &Row<'_>, column: usize) -> Result<Currency, LedgerError> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_unknown| StoreError::Corrupt("currency").into())
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_negative| StoreError::Corrupt("number"))
}
