//! The inventory: the operations on the stock.

use std::path::Path;

use avouch_sqlite::{Store, StoreError};
use market_api::ids::{OrderId, Sku};

use crate::store;
use crate::{InventoryError, Lines, ReservationOutcome, Seed, StockLevel};

/// The stock, durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inventory {
    store: Store,
}

impl Inventory {
    /// Opens the database and adds the articles of `seed` that it does not have.
    ///
    /// # Errors
    /// An error of the store.
    pub async fn open(database: &Path, seed: Seed) -> Result<Self, StoreError> {
        let store = Store::open(database, store::MIGRATIONS)?;
        store.call(move |c| store::add_missing(c, &seed)).await?;
        Ok(Self { store })
    }

    /// Holds all lines for the order, or none of them.
    ///
    /// # Errors
    /// [`InventoryError::OtherLines`], [`InventoryError::Released`], or an error of the store.
    pub async fn reserve(&self, order: OrderId, lines: Lines) -> Result<ReservationOutcome, InventoryError> {
        self.store.call(move |c| store::reserve(c, &order, &lines)).await
    }

    /// Gives back what is held for the order; remembers an order that is not known as released.
    ///
    /// # Errors
    /// [`InventoryError::Committed`], or an error of the store.
    pub async fn release(&self, order: OrderId) -> Result<(), InventoryError> {
        self.store.call(move |c| store::release(c, &order)).await
    }

    /// Takes what is held for the order out of stock.
    ///
    /// # Errors
    /// [`InventoryError::Released`], [`InventoryError::NotHeld`], or an error of the store.
    pub async fn commit(&self, order: OrderId) -> Result<(), InventoryError> {
        self.store.call(move |c| store::commit(c, &order)).await
    }

    /// The stock of an article.
    ///
    /// # Errors
    /// [`InventoryError::UnknownSku`], or an error of the store.
    pub async fn level(&self, sku: Sku) -> Result<StockLevel, InventoryError> {
        self.store.call(move |c| store::level(c, &sku)).await
    }
}

#[cfg(test)]
#[path = "stock_tests.rs"]
mod tests;
