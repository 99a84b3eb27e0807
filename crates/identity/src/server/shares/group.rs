//! A group of connections that are counted together, and one connection of it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::resource::Counters;
use crate::connection_shutdown::ConnectionShutdown;

/// The counts of the connections of one identity from one network.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) held: Counters,
}

/// One open connection in the table.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) shutdown: Arc<ConnectionShutdown>,
    /// Calls and streams under way: without any it is idle.
    pub(super) under_way: AtomicU64,
}
