//! The tables and every statement on them. Each function runs inside one transaction of the store.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use avouch_sqlite::StoreError;
use avouch_sqlite::rusqlite::{Connection, Row};
use avouch_time::timestamp::unix_millis;
use market_api::money::{Currency, Money};

use crate::{CountedPosting, CurrencyTotal, CustomerTotal, ReportsError, Summary};

/// The migration scripts of the schema, in order. `progress` has exactly one row.
pub(crate) const MIGRATIONS: &[&str] = &["
    CREATE TABLE progress (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        cursor INTEGER NOT NULL CHECK (cursor >= 0),
        updated_at_ms INTEGER
    ) STRICT;
    INSERT INTO progress (id, cursor) VALUES (1, 0);
    CREATE TABLE sales (
        currency TEXT PRIMARY KEY,
        minor_units INTEGER NOT NULL,
        postings INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE customer (
        customer_id TEXT NOT NULL,
        currency TEXT NOT NULL,
        minor_units INTEGER NOT NULL,
        PRIMARY KEY (customer_id, currency)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX customer_top ON customer (minor_units DESC);
"];

pub(crate) fn cursor(c: &Connection) -> Result<u64, ReportsError> {
    let cursor: i64 = c.prepare_cached("SELECT cursor FROM progress")?.query_row([], |row| row.get(0))?;
    unsigned(cursor)
}

pub(crate) fn count(
    c: &Connection,
    postings: &[CountedPosting],
    now: SystemTime,
) -> Result<(), ReportsError> {
    let mut last = cursor(c)?;
    for posting in postings {
        let expected = last + 1;
        if posting.sequence != expected {
            return Err(ReportsError::OutOfSequence { expected, got: posting.sequence });
        }
        add(c, posting)?;
        last = expected;
    }
    c.prepare_cached("UPDATE progress SET cursor = ?1, updated_at_ms = ?2")?
        .execute((i64::try_from(last).ok(), unix_millis(now)))?;
    Ok(())
}

fn add(c: &Connection, posting: &CountedPosting) -> Result<(), ReportsError> {
    let mut sell = c.prepare_cached(
        "INSERT INTO sales (currency, minor_units, postings) VALUES (?1, ?2, 1) ON CONFLICT (currency)
         DO UPDATE SET minor_units = minor_units + excluded.minor_units, postings = postings + 1",
    )?;
    for sales in &posting.sales {
        sell.execute((sales.currency.as_str(), sales.minor_units))?;
    }
    let mut charge = c.prepare_cached(
        "INSERT INTO customer (customer_id, currency, minor_units) VALUES (?1, ?2, ?3)
         ON CONFLICT (customer_id, currency) DO UPDATE SET minor_units = minor_units + excluded.minor_units",
    )?;
    for sale in &posting.charges {
        charge.execute((sale.customer.as_str(), sale.amount.currency.as_str(), sale.amount.minor_units))?;
    }
    Ok(())
}

pub(crate) fn summary(c: &Connection, top: u32) -> Result<Summary, ReportsError> {
    let updated: Option<i64> =
        c.prepare_cached("SELECT updated_at_ms FROM progress")?.query_row([], |row| row.get(0))?;
    let updated_at = updated.map(unsigned).transpose()?.map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
    Ok(Summary { currencies: currencies(c)?, customers: customers(c, top)?, cursor: cursor(c)?, updated_at })
}

fn currencies(c: &Connection) -> Result<Vec<CurrencyTotal>, ReportsError> {
    let mut select =
        c.prepare_cached("SELECT currency, minor_units, postings FROM sales ORDER BY currency")?;
    let mut rows = select.query([])?;
    let mut currencies = Vec::new();
    while let Some(row) = rows.next()? {
        currencies.push(CurrencyTotal { sales: money(row, 0, 1)?, postings: unsigned(row.get(2)?)? });
    }
    Ok(currencies)
}

fn customers(c: &Connection, top: u32) -> Result<Vec<CustomerTotal>, ReportsError> {
    let mut select = c.prepare_cached(
        "SELECT customer_id, currency, minor_units FROM customer
         ORDER BY minor_units DESC, customer_id, currency LIMIT ?1",
    )?;
    let mut rows = select.query([top])?;
    let mut customers = Vec::new();
    while let Some(row) = rows.next()? {
        let customer: String = row.get(0)?;
        let customer = customer.parse().map_err(|_not_one| StoreError::Corrupt("customer ID"))?;
        customers.push(CustomerTotal { customer, spent: money(row, 1, 2)? });
    }
    Ok(customers)
}

fn money(row: &Row<'_>, currency: usize, minor_units: usize) -> Result<Money, ReportsError> {
    let currency: Currency =
        row.get::<_, String>(currency)?.parse().map_err(|_unknown| StoreError::Corrupt("currency"))?;
    Ok(Money { currency, minor_units: row.get(minor_units)? })
}

fn unsigned(number: i64) -> Result<u64, ReportsError> {
    u64::try_from(number).map_err(|_negative| StoreError::Corrupt("number").into())
}
