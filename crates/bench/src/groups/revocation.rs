//! Revocations: from the publication to the last closed connection, what others notice of it, and what many revocations
//! cost.

mod cuts;
mod others;
mod state;
mod world;

use crate::bench::Bench;
use crate::error::Error;
use crate::table::Table;

/// Measures all of it.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    let mut tables = vec![cuts::one_identity(bench)?];
    if bench.by_extent(false, true) {
        tables.push(cuts::many_identities(bench)?);
    }
    tables.push(others::measure(bench)?);
    tables.extend(state::measure(bench)?);
    Ok(tables)
}
