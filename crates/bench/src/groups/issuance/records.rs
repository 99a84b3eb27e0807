//! What a durable record costs: rows of the issuer's inventory.

use std::time::Duration;

use super::callers::milliseconds;
use super::workloads::{GRACE, MANY};
use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::roles::load::Done;
use crate::roles::records::{self, Kind, STORE_THREAD, Work};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

/// The variant that the others are compared with.
const BARE: &str = "SQLite, 64 rows in a transaction";

/// The columns of the table.
const COLUMNS: &[Column] = &[
    column("rows", Unit::PerSecond),
    column("p50", Unit::Milliseconds),
    column("p99", Unit::Milliseconds),
    column("CPU per row, writing thread", Unit::Microseconds),
    column("CPU per row, process", Unit::Microseconds),
];

/// Measures the disk, SQLite and the issuer's store.
pub(super) fn measure(bench: &Bench) -> Result<Table, Error> {
    let title = "durable records of certificates";
    progress(title);
    let mut table = Table::new(title, COLUMNS).baseline(BARE).judged_by(3);
    let mut subjects = vec![
        Subject::start(bench, bench.today()?, "the disk, 4 KiB and a flush", Kind::Flush, 1)?,
        Subject::start(bench, bench.today()?, BARE, Kind::Sqlite, 1)?,
    ];
    for build in &bench.builds {
        for callers in bench.by_extent(vec![64], vec![1, 16, 64, 256]) {
            let name =
                format!("the issuer's store, {callers} {}", if callers == 1 { "caller" } else { "callers" });
            subjects.push(Subject::start(bench, build, &name, Kind::Store, callers)?);
        }
    }
    let time = Duration::from_millis(bench.by_extent(300, 700));
    let variants = subjects
        .iter_mut()
        .map(|subject| Variant::new(subject.name.clone(), move || subject.measure(time)))
        .collect();
    interleave(&mut table, variants, bench.by_extent(3, 5))?;
    table.note("a row is durable when it is counted: SQLite's write-ahead log is flushed at each commit (synchronous = FULL), \
                and rows stored = replies");
    table.note("the issuer's store: a renewal looks the entry up, notes that the certificate before it was seen, and adds a row; \
                callers that wait at the same time share a commit, and each has a savepoint. p50 and p99: of a caller, or of \
                a transaction. CPU of the process: with its callers");
    Ok(table)
}

/// A process that writes, for one variant.
struct Subject {
    name: String,
    kind: Kind,
    callers: usize,
    process: Child,
}

impl Subject {
    fn start(bench: &Bench, build: &Build, name: &str, kind: Kind, callers: usize) -> Result<Self, Error> {
        let name = build.variant(name);
        let dir = bench.dir.join("records").join(name.replace(['/', ' '], "-"));
        let workloads = if kind == Kind::Store { bench.by_extent(1_024, MANY) } else { 0 };
        let options = records::Options { dir, workloads };
        let launch = Launch::role(&build.program("avouch-bench"), records::NAME, &options);
        let mut process = launch.named(name.clone()).start(&bench.dir)?;
        let records::Ready {} = process.ready()?;
        Ok(Self { name, kind, callers, process })
    }

    fn measure(&mut self, time: Duration) -> Result<Vec<f64>, Error> {
        let cpu = |child: &Child| match self.kind {
            Kind::Store => [child.cpu_of_thread(STORE_THREAD), child.cpu()],
            // All that the process does is to write.
            Kind::Flush | Kind::Sqlite => [child.cpu(); 2],
        };
        let before = cpu(&self.process);
        let work = Work { kind: self.kind, callers: self.callers, milliseconds: milliseconds(time) };
        let done: Done = self.process.ask(&work, time + GRACE)?;
        done.check(&self.name)?;
        let after = cpu(&self.process);
        let each = |after: Duration, before| after.saturating_sub(before).as_secs_f64() * 1e6 / done.count();
        let ([thread, process], [thread_before, process_before]) = (after, before);
        let (thread, process) = (each(thread, thread_before), each(process, process_before));
        Ok(vec![done.count() / done.seconds, done.p50, done.p99, thread, process])
    }
}
