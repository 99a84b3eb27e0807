//! Calls: what one costs, and how many there can be, beside tonic without avouch and beside proxies.

mod loads;
mod one_thread;
mod pair;
mod proxied;
mod spans;
mod variants;

use std::time::Duration;

use self::loads::Load;
use self::pair::Pair;
use crate::bench::Bench;
use crate::error::Error;
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::Table;

/// Measures calls between two processes under each load, and then calls whose ends share a thread.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    let mut tables = Vec::new();
    for load in loads::all(bench.extent) {
        tables.push(between_processes(bench, load)?);
    }
    tables.extend(one_thread::measure(bench)?);
    Ok(tables)
}

fn between_processes(bench: &Bench, load: Load) -> Result<Table, Error> {
    progress(&load.title());
    let mut table = Table::new(load.title(), load.columns()).baseline(variants::TONIC);
    table.note("every server has a core of its own, and its callers have another one");
    let mut pairs = variants::start(bench, load, &mut table)?;
    let time = Duration::from_millis(bench.by_extent(300, 600));
    let turns = pairs
        .iter_mut()
        .map(|pair| Variant::new(pair.name().to_owned(), move || pair.measure(load, time)))
        .collect();
    interleave(&mut table, turns, bench.by_extent(3, 7))?;
    for note in pairs.into_iter().map(Pair::end) {
        table.notes.extend(note?);
    }
    Ok(table)
}
