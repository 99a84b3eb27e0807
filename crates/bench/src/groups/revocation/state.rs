//! What a state with many revocations costs: a handshake, a call, memory.

use std::time::Duration;

use super::world;
use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::servers::CALLER_CORE;
use crate::roles::client::Kind;
use crate::roles::{call, handshake};
use crate::rounds::{Variant, interleave, interleave_cold};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

/// Revocations of a large state.
const MANY: u32 = 10_000;

const NONE: &str = "nothing is revoked";

const HANDSHAKE: &[Column] = &[column("CPU of both ends", Unit::Microseconds)];

const CALL: &[Column] = &[
    column("calls", Unit::PerSecond),
    column("p50", Unit::Microseconds),
    column("server CPU per call", Unit::Microseconds),
];

const MEMORY: &[Column] = &[column("server RSS, fresh", Unit::Kibibytes)];

/// The longest time beyond that of the work until it is answered.
const ANSWER: Duration = Duration::from_secs(30);

/// Measures all of it, with and without revocations.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    progress("the cost of 10,000 revocations");
    Ok(vec![handshakes(bench)?, calls(bench)?, memory(bench)?])
}

fn rows() -> [(String, u32); 2] {
    [(NONE.to_owned(), 0), ("10,000 revocations".to_owned(), MANY)]
}

fn handshakes(bench: &Bench) -> Result<Table, Error> {
    let build = bench.today()?;
    let mut table = Table::new("handshake with revocations at both ends", HANDSHAKE).baseline(NONE);
    table.note("both ends in one thread, their records passed on in memory");
    let mut pairs = Vec::new();
    for (name, revocations) in rows() {
        let (kind, pki) = (handshake::Kind::Avouch, bench.pki.clone());
        let options = handshake::Options { kind, pki, x25519_only: false, sockets: false, revocations };
        let launch = Launch::role(&build.program("avouch-bench"), handshake::NAME, &options);
        let mut child = launch.named(format!("handshake {name}")).core(CALLER_CORE).start(&bench.dir)?;
        let handshake::Ready { .. } = child.ready()?;
        pairs.push((name, child));
    }
    let time = Duration::from_millis(bench.by_extent(200, 500));
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let variants = pairs.iter_mut().map(|(name, child)| {
        Variant::new(name.clone(), move || {
            let done: handshake::Done = child.ask(&handshake::Work { milliseconds }, time + ANSWER)?;
            Ok(vec![done.cpu / f64::from(u32::try_from(done.handshakes).unwrap_or(u32::MAX))])
        })
    });
    interleave(&mut table, variants.collect(), bench.by_extent(5, 9))?;
    Ok(table)
}

fn calls(bench: &Bench) -> Result<Table, Error> {
    let mut table = Table::new("secured calls with revocations at the server", CALL).baseline(NONE);
    table.note("unary, 128 B, 16 in flight on 4 connections; a core each");
    let mut pairs = Vec::new();
    for (name, revocations) in rows() {
        let (server, caller) = pair(bench, bench.today()?, &name, revocations)?;
        pairs.push((name, server, caller));
    }
    let time = Duration::from_millis(bench.by_extent(300, 800));
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let work = call::Work { milliseconds, in_flight: 4, payload: 128, messages: None, per_second: None };
    let variants = pairs.iter_mut().map(|(name, server, caller)| {
        Variant::new(name.clone(), move || {
            let before = server.cpu();
            let done: call::Done = caller.ask(&work, time + ANSWER)?;
            let cpu = server.cpu().saturating_sub(before).as_secs_f64() * 1e6;
            let calls = f64::from(u32::try_from(done.calls).unwrap_or(u32::MAX));
            if done.failed > 0 {
                return Err(Error::other(format!("{} of {} calls failed", done.failed, done.calls)));
            }
            Ok(vec![calls / done.seconds, done.p50, cpu / calls])
        })
    });
    interleave(&mut table, variants.collect(), bench.by_extent(5, 9))?;
    Ok(table)
}

fn pair(bench: &Bench, build: &Build, name: &str, revocations: u32) -> Result<(Child, Child), Error> {
    let (server, address) = world::server(bench, build, &format!("calls {name}"), revocations)?;
    let (kind, pki) = (Kind::Avouch, bench.pki.clone());
    let options = call::Options { kind, pki, address, connections: 4, denied: false };
    let launch = Launch::role(&build.program("avouch-bench"), call::NAME, &options);
    let mut caller = launch.named(format!("calls {name} caller")).core(CALLER_CORE).start(&bench.dir)?;
    let call::Ready {} = caller.ready()?;
    Ok((server, caller))
}

fn memory(bench: &Bench) -> Result<Table, Error> {
    let build = bench.today()?;
    let mut table = Table::new("memory of a server with revocations", MEMORY).baseline(NONE);
    table.note("a process of its own each time, before its first connection");
    let variants = rows().map(|(name, revocations)| {
        Variant::new(name.clone(), move || {
            let (server, _) = world::server(bench, build, &format!("memory {name}"), revocations)?;
            let resident = f64::from(u32::try_from(server.resident_kib(false)).unwrap_or(u32::MAX));
            server.end()?;
            Ok(vec![resident])
        })
    });
    interleave_cold(&mut table, variants.into(), bench.by_extent(3, 7))?;
    Ok(table)
}
