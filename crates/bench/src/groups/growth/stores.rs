//! What an issuer does, over the entries of its store: issuance, the administrator's lists, start and memory.

use std::path::PathBuf;
use std::time::Duration;

use avouch_testkit::ca::id;

use super::super::memory::issuers;
use super::{columns, row, table};
use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::issuer::{Issuer, Start, WITHOUT_RATE_LIMITS};
use crate::roles::{load, renew};
use crate::rounds::Variant;
use crate::run::progress;
use crate::series::Series;
use crate::store::{Size, copy, data_directory};
use crate::table::{Row, Table, Unit};

/// Workloads that renew at the same time.
const CALLERS: usize = 16;

/// The longest time until the workloads are enrolled or have renewed.
const LONGEST: Duration = Duration::from_secs(60);

/// The rows of [`lists`] by the columns of [`issuers::COLUMNS`], in their order.
const ROWS: [&str; 7] = [
    "start (ms)",
    "RSS, fresh (KiB)",
    "first page of entries (ms)",
    "page in the middle (ms)",
    "page of certificates (ms)",
    "status (ms)",
    "RSS after that (KiB)",
];

/// Measures the issuer's lists, start and memory, and then issuance.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    // No store has less than a page.
    let entries = bench.by_extent(vec![1_000, 10_000], vec![1_000, 10_000, 100_000]);
    let stores = entries.into_iter().map(Size::of_entries);
    let stores: Result<Vec<_>, Error> = stores.map(|size| Ok((size, data_directory(bench, size)?))).collect();
    let stores = stores?;
    Ok(vec![lists(bench, &stores)?, issuance(bench, &stores)?])
}

/// The exponents of the figures of an issuer. Each round starts every issuer once, and gives a figure for every row.
fn lists(bench: &Bench, stores: &[(Size, PathBuf)]) -> Result<Table, Error> {
    progress("growth of an issuer's start, memory and lists");
    let title = "growth of an issuer over its entries, with ten records each";
    let mut table = Table::new(title, &columns(Unit::Number));
    for build in &bench.builds {
        table.rows.extend(ROWS.map(|name| Row {
            variant: build.variant(name),
            figures: vec![Series::default(); table.columns.len()],
        }));
    }
    // The first is not counted.
    for round in 0..=bench.by_extent(1, 3) {
        for (build, rows) in bench.builds.iter().zip(table.rows.chunks_mut(ROWS.len())) {
            for (points, row) in sizes(bench, build, stores)?.iter().zip(rows).filter(|_| round > 0) {
                row.figures
                    .iter_mut()
                    .zip(super::row(points))
                    .filter(|(_, value)| !value.is_nan())
                    .for_each(|(series, value)| series.push(value));
            }
        }
    }
    table.note("the figures of the columns there and here have the units of their rows");
    Ok(table)
}

/// The figures of an issuer by its columns, each at every size.
fn sizes(bench: &Bench, build: &Build, stores: &[(Size, PathBuf)]) -> Result<Vec<Vec<(usize, f64)>>, Error> {
    let mut columns = vec![Vec::new(); issuers::COLUMNS.len()];
    for (size, data) in stores {
        let name = build.variant(&format!("{} entries", size.entries));
        let figures = issuers::examine(bench, build, &name, *size, data)?;
        columns
            .iter_mut()
            .zip(figures)
            .filter(|(_, figure)| !figure.is_nan())
            .for_each(|(points, figure)| points.push((size.entries, figure)));
    }
    Ok(columns)
}

/// The issuer's CPU time for a certificate.
fn issuance(bench: &Bench, stores: &[(Size, PathBuf)]) -> Result<Table, Error> {
    progress("growth of issuance");
    let mut worlds = Vec::new();
    for build in &bench.builds {
        let start = |(size, data): &(Size, PathBuf)| {
            // Two issuers that run at the same time do not share a data directory.
            let data = if build.suffix.is_empty() { data.clone() } else { copy(data, &build.suffix)? };
            World::start(bench, build, *size, &data)
        };
        let of_build: Result<Vec<_>, Error> = stores.iter().map(start).collect();
        worlds.push((build.variant("a renewal over the entries of the store"), of_build?));
    }
    let time = Duration::from_millis(bench.by_extent(200, 500));
    let variants = worlds.iter_mut().map(|(name, worlds)| {
        Variant::new(name.clone(), move || {
            let points: Result<Vec<_>, Error> =
                worlds.iter_mut().map(|world| Ok((world.entries, world.renew(time)?))).collect();
            points.map(|points| row(&points))
        })
    });
    let title = "growth of a renewal, CPU time of the issuer";
    let mut table = table(title, Unit::Microseconds, variants.collect(), bench.by_extent(3, 5))?;
    table.note(format!("{CALLERS} callers over mutual TLS, ten records to an entry"));
    Ok(table)
}

/// An issuer with a full store, and workloads that renew.
struct World {
    entries: usize,
    issuer: Issuer,
    workloads: Child,
}

impl World {
    fn start(bench: &Bench, build: &Build, size: Size, data: &std::path::Path) -> Result<Self, Error> {
        let name = build.variant(&format!("growth {} entries", size.entries));
        let start = Start { name: &name, data, settings: &WITHOUT_RATE_LIMITS, core: None };
        let issuer = Issuer::start(bench, build, &start)?;
        let ids = || (0..CALLERS).map(|number| id(&format!("/renewing/{number}")));
        issuer.admin().register(ids())?;
        let tokens = bench.dir.join(format!("{name} tokens").replace(['/', ' '], "-"));
        let lines = issuer.admin().tokens(ids())?.join("\n");
        std::fs::write(&tokens, lines).map_err(Error::system(format!("write {}", tokens.display())))?;
        let options = renew::Options { address: issuer.address, tokens };
        let launch = Launch::role(&bench.today()?.program("avouch-bench"), renew::NAME, &options);
        let mut workloads = launch.named(format!("{name} workloads")).start(&bench.dir)?;
        let renew::Ready {} = workloads.answer(LONGEST)?;
        Ok(Self { entries: size.entries, issuer, workloads })
    }

    /// The microseconds of the issuer's CPU time for each certificate.
    fn renew(&mut self, time: Duration) -> Result<f64, Error> {
        let cpu = self.issuer.child.cpu();
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let work = load::Work { callers: CALLERS, milliseconds };
        let done: load::Done = self.workloads.ask(&renew::Command::Callers(work), time + LONGEST)?;
        if let Some(failure) = done.failure {
            return Err(Error::other(format!("{} renewals failed: {failure}", done.failed)));
        }
        Ok(self.issuer.child.cpu().saturating_sub(cpu).as_secs_f64() * 1e6 / done.count())
    }
}
