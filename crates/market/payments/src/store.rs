//! The tables and every statement on them. Each function runs inside one transaction of the store.

use avouch_sqlite::StoreError;
use avouch_sqlite::rusqlite::{Connection, OptionalExtension as _, Row};
use market_api::ids::{CustomerId, OrderId};
use market_api::money::{Currency, Money};

use crate::{Charge, Limits, PaymentsError, Receipt};

/// The migration scripts of the schema, in order.
pub(crate) const MIGRATIONS: &[&str] = &["
    CREATE TABLE credit (
        customer_id TEXT NOT NULL,
        currency TEXT NOT NULL,
        limit_minor INTEGER NOT NULL,
        used_minor INTEGER NOT NULL DEFAULT 0 CHECK (used_minor BETWEEN 0 AND limit_minor),
        PRIMARY KEY (customer_id, currency)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE charge (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        customer_id TEXT NOT NULL,
        currency TEXT NOT NULL,
        minor_units INTEGER NOT NULL CHECK (minor_units > 0),
        state TEXT NOT NULL CHECK (state IN ('pending', 'posted', 'declined')),
        decline_detail TEXT
    ) STRICT;
    CREATE INDEX charge_pending ON charge (id) WHERE state = 'pending';
"];

/// Limits of known customers follow the configuration, but never fall below what is used.
pub(crate) fn update_limits(c: &Connection, limits: &Limits) -> Result<(), PaymentsError> {
    let mut select = c.prepare("SELECT customer_id, currency FROM credit")?;
    let mut rows = select.query([])?;
    let mut update = c.prepare(
        "UPDATE credit SET limit_minor = max(?3, used_minor) WHERE customer_id = ?1 AND currency = ?2",
    )?;
    while let Some(row) = rows.next()? {
        let customer: CustomerId = parse(row, 0, "customer ID")?;
        let currency: Currency = parse(row, 1, "currency")?;
        update.execute((customer.as_str(), currency.as_str(), limits.of(&customer, currency)))?;
    }
    Ok(())
}

/// Decides on a charge, once per key.
pub(crate) fn charge(c: &Connection, charge: &Charge, limits: &Limits) -> Result<Receipt, PaymentsError> {
    if let Some((earlier, receipt)) = find(c, charge.key())? {
        return if earlier == *charge { Ok(receipt) } else { Err(PaymentsError::OtherCharge) };
    }
    let Money { currency, minor_units } = charge.amount();
    let (limit, used) = credit(c, charge.customer(), currency, limits)?;
    let left = limit - used;
    let (receipt, state, detail) = if minor_units <= left {
        c.prepare_cached(
            "INSERT INTO credit (customer_id, currency, limit_minor, used_minor) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (customer_id, currency) DO UPDATE SET used_minor = used_minor + excluded.used_minor",
        )?
        .execute((charge.customer().as_str(), currency.as_str(), limit, minor_units))?;
        (Receipt::Pending, "pending", None)
    } else {
        let detail = format!("{left} {currency} of credit left, {minor_units} asked for");
        (Receipt::Declined(detail.clone()), "declined", Some(detail))
    };
    c.prepare_cached(
        "INSERT INTO charge (key, customer_id, currency, minor_units, state, decline_detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        charge.key().as_str(),
        charge.customer().as_str(),
        currency.as_str(),
        minor_units,
        state,
        detail,
    ))?;
    Ok(receipt)
}

/// Marks a charge as posted.
pub(crate) fn posted(c: &Connection, key: &OrderId) -> Result<(), PaymentsError> {
    c.prepare_cached("UPDATE charge SET state = 'posted' WHERE key = ?1 AND state = 'pending'")?
        .execute([key.as_str()])?;
    Ok(())
}

pub(crate) fn pending(c: &Connection, after: i64, limit: u32) -> Result<Vec<(i64, Charge)>, PaymentsError> {
    let mut select = c.prepare_cached(
        "SELECT key, customer_id, currency, minor_units, id FROM charge
         WHERE state = 'pending' AND id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut rows = select.query((after, limit))?;
    let mut charges = Vec::new();
    while let Some(row) = rows.next()? {
        charges.push((row.get(4)?, from_row(row)?));
    }
    Ok(charges)
}

/// Limit and use of a customer's credit.
pub(crate) fn credit(
    c: &Connection,
    customer: &CustomerId,
    currency: Currency,
    limits: &Limits,
) -> Result<(i64, i64), PaymentsError> {
    let row = c
        .prepare_cached(
            "SELECT limit_minor, used_minor FROM credit WHERE customer_id = ?1 AND currency = ?2",
        )?
        .query_row((customer.as_str(), currency.as_str()), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(row.unwrap_or_else(|| (limits.of(customer, currency), 0)))
}

fn find(c: &Connection, key: &OrderId) -> Result<Option<(Charge, Receipt)>, PaymentsError> {
    let mut select = c.prepare_cached(
        "SELECT key, customer_id, currency, minor_units, state, decline_detail FROM charge WHERE key = ?1",
    )?;
    let mut rows = select.query([key.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let receipt = match row.get::<_, String>(4)?.as_str() {
        "pending" => Receipt::Pending,
        "posted" => Receipt::Posted,
        "declined" => Receipt::Declined(row.get::<_, Option<String>>(5)?.unwrap_or_default()),
        _ => return Err(StoreError::Corrupt("charge state").into()),
    };
    Ok(Some((from_row(row)?, receipt)))
}

fn from_row(row: &Row<'_>) -> Result<Charge, PaymentsError> {
    let amount = Money { currency: parse(row, 2, "currency")?, minor_units: row.get(3)? };
    Charge::new(parse(row, 0, "charge key")?, parse(row, 1, "customer ID")?, amount)
}

fn parse<T: std::str::FromStr>(row: &Row<'_>, column: usize, what: &'static str) -> Result<T, PaymentsError> {
    row.get::<_, String>(column)?.parse().map_err(|_not_one| StoreError::Corrupt(what).into())
}
