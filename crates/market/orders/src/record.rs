//! An order as it is stored.

use std::time::SystemTime;

use crate::{Order, State};

/// An order as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The order.
    pub order: Order,
    /// The state that it has reached.
    pub state: State,
    /// When it became durable, to the millisecond.
    pub received_at: SystemTime,
    /// When its state last changed.
    pub updated_at: SystemTime,
}
