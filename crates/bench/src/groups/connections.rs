//! Connections: what a handshake costs, what a connection costs that is opened for one call, and how many clients come
//! back after all have lost their server at once.

mod handshakes;
mod openings;
mod openssl;
mod storm;

use crate::bench::Bench;
use crate::error::Error;
use crate::table::Table;

/// Measures all of it.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    let mut tables = handshakes::measure(bench)?;
    tables.push(openings::measure(bench)?);
    tables.push(storm::measure(bench)?);
    Ok(tables)
}
