//! Calls one after the other with both ends on one thread: what a call costs in CPU time.

use std::time::Duration;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::servers::{SERVER_CORE, directory};
use crate::roles::{alone, call, serve};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

/// Bytes of each message.
const PAYLOAD: usize = 128;

/// The longest time for the calls of a turn.
const ANSWER: Duration = Duration::from_secs(60);

const COLUMNS: &[Column] = &[column("CPU per call", Unit::Microseconds)];

/// A process that calls itself.
struct Alone {
    name: String,
    child: Child,
}

/// Measures what TLS, identity and authorization cost, and what records cost.
pub(super) fn measure(bench: &Bench) -> Result<[Table; 2], Error> {
    let call = table(bench)?;
    Ok([call, records(bench)?])
}

fn table(bench: &Bench) -> Result<Table, Error> {
    let title = format!("unary calls one after the other, both ends on one thread, {PAYLOAD} B");
    let mut table = Table::new(title, COLUMNS).baseline("tonic mTLS");
    table.note("CPU time of the thread that has both ends of the connection");
    let today = bench.today()?;
    let mut processes = vec![
        start(bench, today, "tonic h2c", (serve::Kind::H2c, call::Kind::H2c))?,
        start(bench, today, "tonic mTLS", (serve::Kind::Tonic, call::Kind::Tonic))?,
    ];
    for build in &bench.builds {
        processes.push(start(bench, build, "avouch", (serve::Kind::Avouch, call::Kind::Avouch))?);
    }
    run(bench, table, processes, |done| done.thread)
}

fn records(bench: &Bench) -> Result<Table, Error> {
    const WITHOUT: &str = "avouch + metrics";
    let title = format!("records of unary calls one after the other, both ends on one thread, {PAYLOAD} B");
    let mut table = Table::new(title, COLUMNS).baseline(WITHOUT);
    table.note("CPU time of the process, with the thread that collects and writes records");
    let mut processes = Vec::new();
    for build in &bench.builds {
        for (name, kind) in [
            (WITHOUT, serve::Kind::AvouchMetrics),
            ("avouch + metrics, records in memory", serve::Kind::AvouchRecords),
            ("avouch + metrics, every decision in a file", serve::Kind::AvouchRecordFile),
        ] {
            processes.push(start(bench, build, name, (kind, call::Kind::Avouch))?);
        }
    }
    run(bench, table, processes, |done| done.process)
}

fn run(
    bench: &Bench,
    mut table: Table,
    mut processes: Vec<Alone>,
    cost: fn(alone::Done) -> f64,
) -> Result<Table, Error> {
    progress(&table.title);
    let work = alone::Work { calls: bench.by_extent(1_500, 3_000), payload: PAYLOAD };
    let turns = processes.iter_mut().map(|Alone { name, child }| {
        let measure = move || {
            let done: alone::Done = child.ask(&work, ANSWER)?;
            Ok(vec![cost(done) / f64::from(work.calls)])
        };
        Variant::new(name.clone(), measure)
    });
    interleave(&mut table, turns.collect(), bench.by_extent(5, 15))?;
    processes.into_iter().try_for_each(|process| process.child.end())?;
    Ok(table)
}

fn start(
    bench: &Bench,
    build: &Build,
    name: &str,
    (server, client): (serve::Kind, call::Kind),
) -> Result<Alone, Error> {
    let name = build.variant(name);
    let dir = Some(directory(bench, &format!("{name} alone"))?);
    let server = serve::Options { dir, ..serve::Options::new(server, &bench.pki) };
    let options = alone::Options { server, client };
    let launch = Launch::role(&build.program("avouch-bench"), alone::NAME, &options);
    let mut child = launch.named(format!("{name} alone")).core(SERVER_CORE).start(&bench.dir)?;
    let alone::Ready {} = child.ready()?;
    Ok(Alone { name, child })
}
