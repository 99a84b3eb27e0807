//! Calls through proxies: in front of the service, and on both sides.

use super::loads::Load;
use super::pair::{Pair, caller};
use crate::bench::Bench;
use crate::error::Error;
use crate::groups::proxies::{self, Front, Ready};
use crate::roles::call;
use crate::table::Table;

/// Starts what is installed; the table is told of the rest.
pub(super) fn start(bench: &Bench, load: Load, table: &mut Table) -> Result<Vec<Pair>, Error> {
    let mut pairs = Vec::new();
    for proxy in proxies::installed(bench, "in front of the service, and on both sides", table) {
        pairs.push(in_front(bench, &proxy, load)?);
        pairs.push(on_both_sides(bench, &proxy, load)?);
    }
    Ok(pairs)
}

fn in_front(bench: &Bench, proxy: &Ready, load: Load) -> Result<Pair, Error> {
    let Front { name, service, proxy, address } = proxy.in_front(bench, "in front of the service")?;
    let caller = caller(bench, bench.today()?, &name, (call::Kind::Tonic, address), load)?;
    Ok(Pair::new(name, service, caller, load).in_front([proxy]))
}

fn on_both_sides(bench: &Bench, proxy: &Ready, load: Load) -> Result<Pair, Error> {
    let Front { name, service, proxy: front, address } = proxy.in_front(bench, "on both sides")?;
    let (beside, address) = proxy.beside_caller(bench, &name, address)?;
    let caller = caller(bench, bench.today()?, &name, (call::Kind::H2c, address), load)?;
    Ok(Pair::new(name, service, caller, load).in_front([front]).beside_caller([beside]))
}
