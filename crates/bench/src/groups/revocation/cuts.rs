//! From the publication of a trust state to the last closed connection.

use std::time::Duration;

use super::world::{Size, World};
use crate::bench::Bench;
use crate::error::Error;
use crate::rounds::{Variant, interleave_cold};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

const LAST: &[Column] = &[
    column("last closed, p50", Unit::Milliseconds),
    column("p99", Unit::Milliseconds),
    column("max", Unit::Milliseconds),
];

const MEASURED: &str = "from the publication in the server's process until the caller's process has seen the last \
                        connection end; the callers share one core, the server has another";

/// One of twenty identities, with 50 of 1,000 connections, again and again.
pub(super) fn one_identity(bench: &Bench) -> Result<Table, Error> {
    let size = Size { identities: 20, each: 50 };
    let cuts = bench.by_extent(10, 100);
    let mut table = Table::new("one of 20 identities cut off, 50 of 1,000 connections", LAST);
    table.note(MEASURED);
    table.note(format!(
        "{cuts} cuts, after each of which the identity comes back; nobody else loses a connection"
    ));
    measure(bench, &mut table, size, cuts, |names, turn| {
        names.get(turn % names.len().max(1)).into_iter().cloned().collect()
    })?;
    Ok(table)
}

/// All of a hundred identities at once, with 10,000 connections.
pub(super) fn many_identities(bench: &Bench) -> Result<Table, Error> {
    let size = Size { identities: 100, each: 100 };
    let mut table = Table::new("100 identities cut off at once, 10,000 connections", LAST);
    table.note(MEASURED);
    measure(bench, &mut table, size, 3, |names, _| names.to_vec())?;
    Ok(table)
}

fn measure(
    bench: &Bench,
    table: &mut Table,
    size: Size,
    cuts: usize,
    whom: impl Fn(&[String], usize) -> Vec<String> + Copy,
) -> Result<(), Error> {
    progress(&table.title.clone());
    let mut worlds = Vec::new();
    for build in &bench.builds {
        let name = build.variant("avouch");
        let world = World::start(bench, build, &format!("{name} {} identities", size.identities), size)?;
        worlds.push((name, world));
    }
    let variants = worlds.iter_mut().map(|(name, world)| {
        Variant::new(name.clone(), move || {
            let names = world.names();
            let took = (0..cuts).map(|turn| world.cut(&whom(&names, turn)));
            Ok(percentiles(took.collect::<Result<_, _>>()?))
        })
    });
    interleave_cold(table, variants.collect(), bench.by_extent(1, 3))
}

/// Half of these, 99 % of them, and the longest, in milliseconds.
fn percentiles(mut took: Vec<Duration>) -> Vec<f64> {
    took.sort_unstable();
    let last = took.len().saturating_sub(1);
    let at = |percent: usize| (took.len() * percent / 100).min(last);
    [50, 99, 100].map(|percent| took.get(at(percent)).map_or(f64::NAN, |it| it.as_secs_f64() * 1e3)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_cuts() {
        let took = (1..=100).rev().map(Duration::from_millis).collect();
        let found = percentiles(took);
        let near = |found: f64, wanted: f64| (found - wanted).abs() < 1e-9;
        assert!(near(found[0], 51.0) && near(found[1], 100.0) && near(found[2], 100.0), "{found:?}");
        assert!(percentiles(Vec::new()).iter().all(|it| it.is_nan()));
    }
}
