//! Instructions and allocations of single operations, and allocations of a call on each side. They are counted, so there
//! are no rounds.

use std::net::SocketAddr;
use std::path::Path;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::counts::callgrind::{Callgrind, Output};
use crate::counts::operation::{Input, Operation};
use crate::error::Error;
use crate::program;
use crate::roles::serve;
use crate::run::progress;
use crate::series::Series;
use crate::table::{Column, Row, Table, Unit, column};

/// The columns of the table of operations.
const OPERATIONS: &[Column] = &[
    column("instructions in Rust", Unit::Count),
    column("of the cryptography", Unit::Count),
    column("of the C library", Unit::Count),
    column("allocations", Unit::Count),
    column("reallocations", Unit::Count),
];

/// The columns of the table of both sides.
const SIDES: &[Column] = &[
    column("server allocations", Unit::Count),
    column("server reallocations", Unit::Count),
    column("caller allocations", Unit::Count),
    column("caller reallocations", Unit::Count),
];

/// Counts everything.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    let mut operations = Table::new("single operations, by callgrind", OPERATIONS);
    let mut sides = Table::new("allocations per unary call, 128 B, each side", SIDES);
    let dir = bench.dir.join("counts");
    std::fs::create_dir_all(&dir).map_err(Error::system("make a directory"))?;
    match Callgrind::find(&bench.root, &dir, "instructions and allocations") {
        Err(skipped) => operations.note(skipped),
        Ok(callgrind) => {
            count_operations(bench, &callgrind, &mut operations)?;
            count_sides(bench, &callgrind, &dir, &mut sides)?;
        }
    }
    operations.note(
        "a call is both ends on one thread, 128 B; a verification is without the handshake's signature",
    );
    sides.note("the caller's include the 128 B that it sends, and the futures of the test itself");
    sides.note("the program keeps records in memory and traces nothing, as it is shipped");
    Ok(vec![operations, sides])
}

fn count_operations(bench: &Bench, callgrind: &Callgrind, table: &mut Table) -> Result<(), Error> {
    progress(&table.title);
    let input = Input { pki: Some(bench.pki.clone()), address: None };
    let whole = Operation::ALL.as_slice();
    let operations = bench.by_extent(whole.strip_suffix(&Operation::CALLS).unwrap_or(whole), whole);
    for build in &bench.builds {
        let program = build.program("avouch-bench");
        // Two at a time: calls have their deadlines, and valgrind is slow.
        for some in operations.chunks(2) {
            let start = |operation: &Operation| callgrind.operate(&program, *operation, &input);
            let started: Vec<_> = some.iter().map(start).collect::<Result<_, _>>()?;
            for (operation, counting) in some.iter().zip(started) {
                let it = counting.each()?;
                let figures = [it.own, it.cryptography, it.libraries, it.allocations, it.reallocations];
                let variant = build.variant(operation.name());
                table.rows.push(Row { variant, figures: figures.map(one).into() });
            }
        }
    }
    Ok(())
}

/// A series of the one number that there is.
fn one(number: f64) -> Series {
    [number].into_iter().filter(|number| !number.is_nan()).collect()
}

/// What a server is made of.
#[derive(Clone, Copy)]
enum Server {
    Role(serve::Kind),
    Program,
}

/// A server under callgrind, and how it is called.
struct Side<'a> {
    variant: String,
    build: &'a Build,
    caller: Operation,
    server: Child,
    output: Output,
    address: SocketAddr,
}

/// Each server and each caller is a process of its own, and all of them are counted at the same time.
fn count_sides(bench: &Bench, callgrind: &Callgrind, dir: &Path, table: &mut Table) -> Result<(), Error> {
    progress(&table.title);
    let today = bench.today()?;
    let tonic = ("tonic mTLS", Server::Role(serve::Kind::Tonic), Operation::CallTonic);
    let library = ("avouch", Server::Role(serve::Kind::Avouch), Operation::CallAvouch);
    let program = ("avouch program", Server::Program, Operation::CallAvouch);
    let ours = bench.by_extent(vec![program], vec![library, program]);
    let ours = bench.builds.iter().flat_map(|build| ours.iter().map(move |it| (build, *it)));
    let start = |(build, it)| start(bench, callgrind, dir, build, it);
    let sides: Vec<_> = [(today, tonic)].into_iter().chain(ours).map(start).collect::<Result<_, _>>()?;
    let mut called = Vec::new();
    for side in sides {
        let input = Input { pki: Some(bench.pki.clone()), address: Some(side.address) };
        let program = side.build.program("avouch-bench");
        let name = format!("{} caller", side.variant);
        called.push((callgrind.operate_named(&name, &program, side.caller, &input)?, side));
    }
    for (caller, side) in called {
        let caller = caller.each()?;
        side.server.end()?;
        // The server's marks are within calls: it answers one more between them than the caller makes between its own.
        let server = side.output.each(side.caller.times() + 1)?;
        let figures =
            [server.allocations, server.reallocations, caller.allocations, caller.reallocations].map(one);
        table.rows.push(Row { variant: side.variant, figures: figures.into() });
    }
    Ok(())
}

fn start<'a>(
    bench: &Bench,
    callgrind: &Callgrind,
    dir: &Path,
    build: &'a Build,
    (name, server, caller): (&str, Server, Operation),
) -> Result<Side<'a>, Error> {
    let variant = build.variant(name);
    let wrap = |launch: Launch| callgrind.wrap(launch.named(format!("{variant} server")));
    let pki = &bench.pki;
    let (server, output, address) = match server {
        Server::Role(kind) => {
            let options = serve::Options::new(kind, pki);
            let (launch, output) = wrap(Launch::role(&build.program("avouch-bench"), serve::NAME, &options));
            let mut server = launch.start(dir)?;
            let ready: serve::Ready = server.ready()?;
            (server, output, ready.address)
        }
        Server::Program => {
            let (launch, output) = wrap(Launch::new("", build.program("avouch-bench-service")));
            let own = dir.join(variant.replace(['/', ' '], "-"));
            let mut settings = program::identity_and_policy(pki, &own)?;
            settings.push("identity.poll_interval=1h".to_owned());
            let (server, addresses) = program::start(launch, &own, &settings, dir)?;
            (server, output, addresses.grpc)
        }
    };
    Ok(Side { variant, build, caller, server, output, address })
}
