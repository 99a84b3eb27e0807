//! Certificates: from the two signature operations that each needs to the shipped issuer, which answers when the record is
//! on disk; a renewal storm beside service calls; and what the record itself costs.

mod bao;
mod callers;
mod records;
mod storm;
mod workloads;

use crate::bench::Bench;
use crate::error::Error;
use crate::run::progress;
use crate::table::Table;
use bao::Bao;
use workloads::Workloads;

/// Measures issuance, the storm and the records.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    let mut bao = Bao::start(bench)?;
    progress("issuance: workloads are enrolled");
    let enrolled = bench.builds.iter().map(|build| Workloads::enroll(bench, build));
    let mut workloads = enrolled.collect::<Result<Vec<_>, _>>()?;
    if let Ok(bao) = &mut bao {
        bao.ready()?;
    }
    let mut tables = callers::measure(bench, &mut workloads, &mut bao)?;
    drop(bao);
    tables.push(storm::measure(bench, &mut workloads)?);
    // The issuers have ended before the records are measured: those share the disk with nobody.
    for workloads in workloads {
        workloads.end()?;
    }
    tables.push(records::measure(bench)?);
    Ok(tables)
}
