//! The inventory itself: what callers can do to the stock.

use std::path::Path;

use market_api::ids::{OrderId, Sku};
use market_store::{Store, StoreError};

use crate::store;
use crate::{InventoryError, Lines, Seed};

/// The answer to a reservation, the same for every copy of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is held.
    Held,
    /// Nothing is held: too few pieces of this article.
    OutOfStock(Sku),
    /// Nothing is held: no such article.
    UnknownSku(Sku),
}

/// How much of an article there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// In the warehouse, held ones included.
    pub on_hand: u64,
    /// Held for orders.
    pub held: u64,
}

/// The stock, durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inventory {
    store: Store,
}

impl Inventory {
    /// Opens the database and adds the articles of `seed` that it does not have.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open(database: &Path, seed: Seed) -> Result<Self, StoreError> {
        let store = Store::open(database, store::MIGRATIONS)?;
        store.call(move |c| store::add_missing(c, &seed)).await?;
        Ok(Self { store })
    }

    /// Holds all lines for the order, or none.
    ///
    /// # Errors
    /// [`InventoryError::OtherLines`], [`InventoryError::Released`], or the store's.
    pub async fn reserve(&self, order: OrderId, lines: Lines) -> Result<Outcome, InventoryError> {
        self.store.call(move |c| store::reserve(c, &order, &lines)).await
    }

    /// Gives back what is held for the order; remembers an order that is not known as released.
    ///
    /// # Errors
    /// [`InventoryError::Committed`], or the store's.
    pub async fn release(&self, order: OrderId) -> Result<(), InventoryError> {
        self.store.call(move |c| store::release(c, &order)).await
    }

    /// Takes what is held for the order out of stock.
    ///
    /// # Errors
    /// [`InventoryError::Released`], [`InventoryError::NotHeld`], or the store's.
    pub async fn commit(&self, order: OrderId) -> Result<(), InventoryError> {
        self.store.call(move |c| store::commit(c, &order)).await
    }

    /// How much of an article there is.
    ///
    /// # Errors
    /// [`InventoryError::UnknownSku`], or the store's.
    pub async fn level(&self, sku: Sku) -> Result<Level, InventoryError> {
        self.store.call(move |c| store::level(c, &sku)).await
    }
}

#[cfg(test)]
#[path = "stock_tests.rs"]
mod tests;
