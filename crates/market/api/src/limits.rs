//! Limits that several of the market's services enforce alike.

use std::time::Duration;

use avouch_spiffe::Bounds;

/// The most lines of an order.
pub const MAX_LINES: usize = 50;

/// The most pieces of one line.
pub const MAX_QUANTITY: u32 = 1000;

/// How long a service may wait for the services behind it before it answers that it is not finished.
pub const ANSWER_TIMEOUT: Bounds<Duration> = Bounds::new(
    Duration::ZERO,
    Duration::from_secs(3600),
    "with none the answer comes at once, and nobody waits longer for it",
);
