//! Rate limits per peer ([`RateLimiter`]), and which addresses count as one peer ([`Network`]).
//!
//! The time is passed in, memory is bounded, and nothing here waits: an event beyond a limit is refused at once.

mod network;
mod rate;

pub use network::Network;
pub use rate::{Rate, RateLimited, RateLimiter, log_lines};
