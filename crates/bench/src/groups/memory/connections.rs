//! The memory of a server whose connections are idle: each has been used for one call.

use std::time::{Duration, Instant};

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::servers::{self, CALLER_CORE, Listening};
use crate::roles::client::Kind;
use crate::roles::clients::{self, Options, Ready, Work};
use crate::roles::serve;
use crate::rounds::{Variant, interleave_cold};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

const WHOLE: &[Column] = &[
    column("server RSS each at 10,000", Unit::Kibibytes),
    column("server RSS each at 5,000", Unit::Kibibytes),
    column("caller RSS each at 10,000", Unit::Kibibytes),
];

const QUICK: &[Column] = &[
    column("server RSS each at 1,000", Unit::Kibibytes),
    column("server RSS each at 500", Unit::Kibibytes),
    column("caller RSS each at 1,000", Unit::Kibibytes),
];

/// The longest time until a thousand connections are open.
const OPENED: Duration = Duration::from_secs(30);

/// How often the memory of a process is looked at until it no longer changes, and how long at the most.
const LOOK: Duration = Duration::from_millis(50);
const SETTLED: Duration = Duration::from_secs(5);

/// The limit on handshakes of one network in a second, which a fast machine would reach: 2,000 as shipped.
const LIMIT: &str = "service.limits.max_handshake_rate=1000000";

/// Measures all variants, each round with new processes.
pub(super) fn measure(bench: &Bench) -> Result<Table, Error> {
    let (half, all, columns) = bench.by_extent((500, 1_000, QUICK), (5_000, 10_000, WHOLE));
    let title = format!("server memory of {all} idle connections, each used for one call");
    progress(&title);
    let mut table = Table::new(title, columns).baseline("tonic one-way TLS");
    table.note(
        "resident memory beyond that of the same process before its first connection, for each connection",
    );
    table.note(format!("the program is set to {LIMIT}, beyond the 2,000 it ships with"));
    let today = bench.today()?;
    let mut variants = Vec::new();
    for (name, server, client) in [
        ("tonic h2c", serve::Kind::H2c, Kind::H2c),
        ("tonic one-way TLS", serve::Kind::OneWay, Kind::OneWay),
        ("tonic mTLS", serve::Kind::Tonic, Kind::Tonic),
    ] {
        variants.push(Variant::new(name, move || {
            let listening = servers::role(bench, today, name, server, None)?;
            idle(bench, today, name, listening, client, [half, all])
        }));
    }
    for build in &bench.builds {
        let name = build.variant("avouch");
        variants.push(Variant::new(name.clone(), move || {
            let listening = servers::role(bench, build, &name, serve::Kind::Avouch, None)?;
            idle(bench, build, &name, listening, Kind::Avouch, [half, all])
        }));
        let name = build.variant("avouch program");
        variants.push(Variant::new(name.clone(), move || {
            let listening = servers::program(bench, build, &name, &[LIMIT.to_owned()], None)?;
            idle(bench, build, &name, listening, Kind::Avouch, [half, all])
        }));
    }
    interleave_cold(&mut table, variants, bench.by_extent(1, 2))?;
    Ok(table)
}

/// Opens connections to a server: the figures of the columns.
fn idle(
    bench: &Bench,
    build: &Build,
    name: &str,
    (server, address): Listening,
    kind: Kind,
    [half, all]: [usize; 2],
) -> Result<Vec<f64>, Error> {
    let options = Options { kind, pki: bench.pki.clone(), address };
    let launch = Launch::role(&build.program("avouch-bench"), clients::NAME, &options);
    let mut caller = launch.named(format!("{name} caller")).core(CALLER_CORE).start(&bench.dir)?;
    let Ready {} = caller.ready()?;
    let (server_before, caller_before) = (settled(&server)?, settled(&caller)?);
    let each = |before: f64, child: &Child, connections: usize| {
        let connections = f64::from(u32::try_from(connections).unwrap_or(u32::MAX));
        settled(child).map(|now| (now - before) / connections)
    };
    let mut open = |clients: usize| {
        let thousands = u32::try_from(clients / 1_000 + 1).unwrap_or(u32::MAX);
        let Ready {} = caller.ask(&Work::Open { clients }, OPENED * thousands)?;
        each(server_before, &server, clients)
    };
    let (at_half, at_all) = (open(half)?, open(all)?);
    let figures = vec![at_all, at_half, each(caller_before, &caller, all)?];
    caller.end()?;
    server.end()?;
    Ok(figures)
}

/// The resident memory of a process in KiB, once it no longer changes.
fn settled(child: &Child) -> Result<f64, Error> {
    let began = Instant::now();
    let mut before = child.resident_kib(false);
    while began.elapsed() < SETTLED {
        std::thread::sleep(LOOK);
        let now = child.resident_kib(false);
        if now == before {
            return Ok(f64::from(u32::try_from(now).unwrap_or(u32::MAX)));
        }
        before = now;
    }
    Err(Error::other(format!("the memory of an idle process ({}) goes on changing", child.log().display())))
}
