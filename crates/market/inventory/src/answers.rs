//! The answers of the inventory.

use market_api::ids::Sku;

/// The outcome of a reservation, the same for every copy of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReservationOutcome {
    /// Everything is held.
    Held,
    /// Nothing is held: too few pieces of this article.
    OutOfStock(Sku),
    /// Nothing is held: no such article.
    UnknownSku(Sku),
}

/// The stock of an article.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockLevel {
    /// Pieces in the warehouse, held ones included.
    pub on_hand: u64,
    /// Pieces held for orders.
    pub held: u64,
}
