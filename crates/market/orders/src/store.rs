//! The table and every statement on it. Each function runs inside one transaction of the store.
//!
//! A state is only written over its predecessor, so that even a second process on the same file cannot apply a step
//! twice.

use std::time::SystemTime;

use avouch_sqlite::StoreError;
use avouch_sqlite::rusqlite::{Connection, Row};
use avouch_time::timestamp::{from_unix_millis, unix_millis};
use market_api::ids::OrderId;
use market_api::orders::v1::PlaceOrderRequest;
use prost::Message as _;

use crate::state::Reason;
use crate::{Order, OrdersError, Record, Rejection, State};

/// The migration scripts of the schema, in order. `request` is the whole order; the columns after it are for people who
/// query the file.
pub(crate) const MIGRATIONS: &[&str] = &["
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY,
        order_id TEXT NOT NULL UNIQUE,
        request BLOB NOT NULL,
        customer_id TEXT NOT NULL,
        currency TEXT NOT NULL,
        total_minor INTEGER NOT NULL,
        placed_by TEXT NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('received', 'reserved', 'charged', 'completed', 'releasing', 'rejected')),
        reject_reason TEXT,
        reject_detail TEXT,
        received_at_ms INTEGER NOT NULL,
        updated_at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX orders_unfinished ON orders (id) WHERE state NOT IN ('completed', 'rejected');
"];

const COLUMNS: &str = "request, state, reject_reason, reject_detail, received_at_ms, updated_at_ms";

/// Stores a new order, or finds the same one.
pub(crate) fn receive(
    c: &Connection,
    order: &Order,
    by: &str,
    now: SystemTime,
) -> Result<Record, OrdersError> {
    if let Some(record) = find(c, order.id())? {
        return if record.order == *order { Ok(record) } else { Err(OrdersError::OtherContent) };
    }
    let total = order.total();
    c.prepare_cached(
        "INSERT INTO orders (order_id, request, customer_id, currency, total_minor, placed_by, state,
                             received_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'received', ?7, ?7)",
    )?
    .execute((
        order.id().as_str(),
        order.to_request().encode_to_vec(),
        order.customer().as_str(),
        total.currency.as_str(),
        total.minor_units,
        by,
        unix_millis(now),
    ))?;
    find(c, order.id())?.ok_or_else(|| StoreError::Corrupt("order").into())
}

pub(crate) fn find(c: &Connection, order: &OrderId) -> Result<Option<Record>, OrdersError> {
    let mut select = c.prepare_cached(&format!("SELECT {COLUMNS} FROM orders WHERE order_id = ?1"))?;
    let mut rows = select.query([order.as_str()])?;
    rows.next()?.map(record).transpose()
}

/// Writes the state `to` over `from`; returns whether it was `from`, since another process may have been faster.
pub(crate) fn advance(
    c: &Connection,
    order: &OrderId,
    from: &State,
    to: &State,
    now: SystemTime,
) -> Result<bool, OrdersError> {
    let rejection = to.rejection();
    let changed = c
        .prepare_cached(
            "UPDATE orders SET state = ?3, reject_reason = ?4, reject_detail = ?5, updated_at_ms = ?6
             WHERE order_id = ?1 AND state = ?2",
        )?
        .execute((
            order.as_str(),
            from.name(),
            to.name(),
            rejection.map(|rejection| rejection.reason.as_str()),
            rejection.map(|rejection| rejection.detail.as_str()),
            unix_millis(now),
        ))?;
    Ok(changed == 1)
}

pub(crate) fn unfinished(c: &Connection, after: i64, limit: u32) -> Result<Vec<(i64, OrderId)>, OrdersError> {
    let mut select = c.prepare_cached(
        "SELECT id, order_id FROM orders
         WHERE state NOT IN ('completed', 'rejected') AND id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut rows = select.query((after, limit))?;
    let mut orders = Vec::new();
    while let Some(row) = rows.next()? {
        let order: String = row.get(1)?;
        orders.push((row.get(0)?, order.parse().map_err(|_not_one| StoreError::Corrupt("order ID"))?));
    }
    Ok(orders)
}

fn record(row: &Row<'_>) -> Result<Record, OrdersError> {
    let request: Vec<u8> = row.get(0)?;
    let request =
        PlaceOrderRequest::decode(request.as_slice()).map_err(|_malformed| StoreError::Corrupt("order"))?;
    let rejection = match row.get::<_, Option<String>>(2)? {
        None => None,
        Some(reason) => Some(Rejection {
            reason: Reason::from_name(&reason).ok_or(StoreError::Corrupt("reject reason"))?,
            detail: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
        }),
    };
    let state = State::from_parts(&row.get::<_, String>(1)?, rejection);
    Ok(Record {
        order: Order::try_from(request)?,
        state: state.ok_or(StoreError::Corrupt("order state"))?,
        received_at: from_unix_millis(row.get(4)?),
        updated_at: from_unix_millis(row.get(5)?),
    })
}
