//! Memory: what processes hold while nothing happens.

mod connections;
pub(super) mod issuers;
mod programs;

use crate::bench::Bench;
use crate::error::Error;
use crate::table::Table;

/// Measures all of it.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    Ok(vec![connections::measure(bench)?, programs::measure(bench)?, issuers::measure(bench)?])
}
