//! The tables and every statement on them. Each function runs inside one transaction of the store.

use std::collections::BTreeMap;

use avouch_sqlite::StoreError;
use avouch_sqlite::rusqlite::{Connection, OptionalExtension as _};
use market_api::ids::{OrderId, Sku};

use crate::{InventoryError, Lines, ReservationOutcome, Seed, StockLevel};

/// The migration scripts of the schema, in order.
pub(crate) const MIGRATIONS: &[&str] = &["
    CREATE TABLE stock (
        sku TEXT PRIMARY KEY,
        on_hand INTEGER NOT NULL CHECK (on_hand >= 0),
        held INTEGER NOT NULL DEFAULT 0 CHECK (held BETWEEN 0 AND on_hand),
        reorder_below INTEGER NOT NULL DEFAULT 0,
        reorder_quantity INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE reservation (
        order_id TEXT PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('held', 'released', 'committed', 'out-of-stock', 'unknown-sku')),
        short_sku TEXT
    ) STRICT;
    CREATE TABLE reservation_line (
        order_id TEXT NOT NULL REFERENCES reservation,
        sku TEXT NOT NULL,
        quantity INTEGER NOT NULL CHECK (quantity > 0),
        PRIMARY KEY (order_id, sku)
    ) STRICT, WITHOUT ROWID;
"];

/// The reservation of an order.
struct Reservation {
    state: String,
    short_sku: Option<String>,
}

pub(crate) fn add_missing(c: &Connection, seed: &Seed) -> Result<(), StoreError> {
    let mut insert = c.prepare_cached(
        "INSERT INTO stock (sku, on_hand, reorder_below, reorder_quantity) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (sku) DO NOTHING",
    )?;
    for article in &seed.articles {
        let (below, quantity) = article.reorder.map_or((0, 0), |reorder| (reorder.below, reorder.quantity));
        insert.execute((article.sku.as_str(), article.on_hand, below, quantity))?;
    }
    Ok(())
}

pub(crate) fn reserve(
    c: &Connection,
    order: &OrderId,
    lines: &Lines,
) -> Result<ReservationOutcome, InventoryError> {
    if let Some(earlier) = find(c, order)? {
        return repeat(c, order, lines, &earlier);
    }
    let outcome = first_shortage(c, lines)?.unwrap_or(ReservationOutcome::Held);
    let (state, short_sku) = match &outcome {
        ReservationOutcome::Held => ("held", None),
        ReservationOutcome::OutOfStock(sku) => ("out-of-stock", Some(sku.as_str())),
        ReservationOutcome::UnknownSku(sku) => ("unknown-sku", Some(sku.as_str())),
    };
    c.prepare_cached("INSERT INTO reservation (order_id, state, short_sku) VALUES (?1, ?2, ?3)")?
        .execute((order.as_str(), state, short_sku))?;
    let mut insert =
        c.prepare_cached("INSERT INTO reservation_line (order_id, sku, quantity) VALUES (?1, ?2, ?3)")?;
    for (sku, quantity) in lines.iter() {
        insert.execute((order.as_str(), sku.as_str(), quantity))?;
    }
    if outcome == ReservationOutcome::Held {
        let mut hold = c.prepare_cached("UPDATE stock SET held = held + ?2 WHERE sku = ?1")?;
        for (sku, quantity) in lines.iter() {
            hold.execute((sku.as_str(), quantity))?;
        }
    }
    Ok(outcome)
}

/// The answer to a copy of an earlier request.
fn repeat(
    c: &Connection,
    order: &OrderId,
    lines: &Lines,
    earlier: &Reservation,
) -> Result<ReservationOutcome, InventoryError> {
    if earlier.state == "released" {
        return Err(InventoryError::Released);
    }
    if lines_of(c, order)? != *lines {
        return Err(InventoryError::OtherLines);
    }
    let short =
        || -> Result<Sku, InventoryError> { parse_sku(earlier.short_sku.as_deref().unwrap_or_default()) };
    match earlier.state.as_str() {
        // Committed: a late duplicate of a request whose pieces were held and have left the stock since.
        "held" | "committed" => Ok(ReservationOutcome::Held),
        "out-of-stock" => Ok(ReservationOutcome::OutOfStock(short()?)),
        "unknown-sku" => Ok(ReservationOutcome::UnknownSku(short()?)),
        _ => Err(StoreError::Corrupt("reservation state").into()),
    }
}

pub(crate) fn release(c: &Connection, order: &OrderId) -> Result<(), InventoryError> {
    match find(c, order)?.as_ref().map(|reservation| reservation.state.as_str()) {
        None => {
            c.prepare_cached("INSERT INTO reservation (order_id, state) VALUES (?1, 'released')")?
                .execute([order.as_str()])?;
        }
        Some("held") => {
            let mut free = c.prepare_cached("UPDATE stock SET held = held - ?2 WHERE sku = ?1")?;
            for (sku, quantity) in lines_of(c, order)?.iter() {
                free.execute((sku.as_str(), quantity))?;
            }
            set_state(c, order, "released")?;
        }
        Some("committed") => return Err(InventoryError::Committed),
        // Released before, or never held: nothing to give back.
        Some(_) => {}
    }
    Ok(())
}

pub(crate) fn commit(c: &Connection, order: &OrderId) -> Result<(), InventoryError> {
    match find(c, order)?.as_ref().map(|reservation| reservation.state.as_str()) {
        Some("committed") => return Ok(()),
        Some("held") => {}
        Some("released") => return Err(InventoryError::Released),
        _ => return Err(InventoryError::NotHeld),
    }
    let mut take =
        c.prepare_cached("UPDATE stock SET on_hand = on_hand - ?2, held = held - ?2 WHERE sku = ?1")?;
    let mut deliver = c.prepare_cached(
        "UPDATE stock SET on_hand = on_hand + reorder_quantity WHERE sku = ?1 AND on_hand < reorder_below",
    )?;
    for (sku, quantity) in lines_of(c, order)?.iter() {
        take.execute((sku.as_str(), quantity))?;
        deliver.execute([sku.as_str()])?;
    }
    set_state(c, order, "committed")
}

pub(crate) fn level(c: &Connection, sku: &Sku) -> Result<StockLevel, InventoryError> {
    find_level(c, sku)?.ok_or(InventoryError::UnknownSku)
}

fn first_shortage(c: &Connection, lines: &Lines) -> Result<Option<ReservationOutcome>, InventoryError> {
    for (sku, quantity) in lines.iter() {
        match find_level(c, sku)? {
            None => return Ok(Some(ReservationOutcome::UnknownSku(sku.clone()))),
            Some(level) if level.on_hand.saturating_sub(level.held) < u64::from(quantity) => {
                return Ok(Some(ReservationOutcome::OutOfStock(sku.clone())));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

fn find_level(c: &Connection, sku: &Sku) -> Result<Option<StockLevel>, InventoryError> {
    let row = c
        .prepare_cached("SELECT on_hand, held FROM stock WHERE sku = ?1")?
        .query_row([sku.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let unsigned = |n: i64| u64::try_from(n).map_err(|_negative| StoreError::Corrupt("stock level"));
    row.map(|(on_hand, held)| Ok(StockLevel { on_hand: unsigned(on_hand)?, held: unsigned(held)? }))
        .transpose()
}

fn find(c: &Connection, order: &OrderId) -> Result<Option<Reservation>, InventoryError> {
    Ok(c.prepare_cached("SELECT state, short_sku FROM reservation WHERE order_id = ?1")?
        .query_row([order.as_str()], |row| Ok(Reservation { state: row.get(0)?, short_sku: row.get(1)? }))
        .optional()?)
}

fn lines_of(c: &Connection, order: &OrderId) -> Result<Lines, InventoryError> {
    let mut select = c.prepare_cached("SELECT sku, quantity FROM reservation_line WHERE order_id = ?1")?;
    let mut rows = select.query([order.as_str()])?;
    let mut lines = BTreeMap::new();
    while let Some(row) = rows.next()? {
        lines.insert(parse_sku(&row.get::<_, String>(0)?)?, row.get(1)?);
    }
    Ok(Lines::from_rows(lines))
}

fn parse_sku(text: &str) -> Result<Sku, InventoryError> {
    text.parse().map_err(|_not_one| StoreError::Corrupt("SKU").into())
}

fn set_state(c: &Connection, order: &OrderId, state: &str) -> Result<(), InventoryError> {
    c.prepare_cached("UPDATE reservation SET state = ?2 WHERE order_id = ?1")?
        .execute((order.as_str(), state))?;
    Ok(())
}
