//! The variants: who answers calls, and who makes them.

use super::loads::{Load, Variants};
use super::pair::{Pair, caller};
use super::proxied;
use super::spans::Spans;
use crate::bench::{Bench, Build};
use crate::error::Error;
use crate::groups::servers;
use crate::roles::{call, serve};
use crate::table::Table;

/// What the others are compared with.
pub(super) const TONIC: &str = "tonic mTLS";

/// Shares of calls that are traced.
const RATIOS: [f64; 3] = [0.0, 0.01, 1.0];

/// Starts everybody who is measured under a load; the table is told what is special about them.
pub(super) fn start(bench: &Bench, load: Load, table: &mut Table) -> Result<Vec<Pair>, Error> {
    let mut pairs = vec![
        bare(bench, "tonic h2c", (serve::Kind::H2c, call::Kind::H2c), load)?,
        bare(bench, TONIC, (serve::Kind::Tonic, call::Kind::Tonic), load)?,
    ];
    for build in &bench.builds {
        pairs.push(library(bench, build, ("avouch", serve::Kind::Avouch), load)?);
        pairs.push(program(bench, build, "avouch program", load, None)?);
    }
    if load.variants == Variants::Basic {
        return Ok(pairs);
    }
    table.note("a program has metrics of every call and records in memory, as it is shipped; it exports no traces without an endpoint");
    table.note("records include the metrics of every call that they are taken from");
    table.note("the collector of traces shares the callers' core; the export of the spans counts as the server's CPU time");
    for build in &bench.builds {
        for (name, kind) in [
            ("avouch + records in memory", serve::Kind::AvouchRecords),
            ("avouch + every decision in a file", serve::Kind::AvouchRecordFile),
        ] {
            pairs.push(library(bench, build, (name, kind), load)?.recording());
        }
        for ratio in RATIOS {
            let name = format!("avouch program, traces of {} %", ratio * 100.0);
            pairs.push(program(bench, build, &name, load, Some(ratio))?);
        }
    }
    pairs.extend(proxied::start(bench, load, table)?);
    Ok(pairs)
}

fn bare(bench: &Bench, name: &str, kinds: (serve::Kind, call::Kind), load: Load) -> Result<Pair, Error> {
    let build = bench.today()?;
    let (server, address) = servers::role(bench, build, name, kinds.0, None)?;
    let caller = caller(bench, build, name, (kinds.1, address), load)?;
    Ok(Pair::new(name.to_owned(), server, caller, load))
}

fn library(
    bench: &Bench,
    build: &Build,
    (name, kind): (&str, serve::Kind),
    load: Load,
) -> Result<Pair, Error> {
    let name = build.variant(name);
    let (server, address) = servers::role(bench, build, &name, kind, None)?;
    let caller = caller(bench, build, &name, (call::Kind::Avouch, address), load)?;
    Ok(Pair::new(name, server, caller, load))
}

/// A program on the service shell, with its identity from files and everything else as it is shipped; with an endpoint
/// for traces if there is a share of calls that are traced.
fn program(bench: &Bench, build: &Build, name: &str, load: Load, traced: Option<f64>) -> Result<Pair, Error> {
    let name = build.variant(name);
    let spans = traced.map(|ratio| Spans::start(bench, &name, ratio)).transpose()?;
    let settings: Vec<_> = spans.iter().flat_map(Spans::settings).collect();
    let (server, address) = servers::program(bench, build, &name, &settings, None)?;
    let caller = caller(bench, build, &name, (call::Kind::Avouch, address), load)?;
    let pair = Pair::new(name, server, caller, load);
    Ok(match spans {
        Some(spans) => pair.exporting(spans),
        None => pair,
    })
}
