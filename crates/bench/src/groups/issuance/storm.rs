//! A renewal storm beside service calls: ten thousand workloads renew within a minute, on the cores of a service and its
//! caller.

use std::time::Duration;

use super::callers::milliseconds;
use super::workloads::{GRACE, MANY, Workloads};
use crate::bench::Bench;
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::roles::renew::{Command, StormWork};
use crate::roles::{call, serve};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

/// The time in which all workloads of a whole run renew.
const STORM: Duration = Duration::from_secs(60);

/// The rounds of a whole run, each a part of the storm.
const ROUNDS: u32 = 5;

/// The variant without a storm.
const ALONE: &str = "service calls alone";

/// The columns of the table.
const COLUMNS: &[Column] = &[
    column("calls", Unit::PerSecond),
    column("call p50", Unit::Microseconds),
    column("call p99", Unit::Microseconds),
    column("renewals", Unit::PerSecond),
    column("renewal p50", Unit::Milliseconds),
    column("renewal p99", Unit::Milliseconds),
    column("issuer CPU per renewal", Unit::Microseconds),
];

/// An avouch server and its caller, each on a core of its own, which calls as fast as it can.
struct Service {
    _server: Child,
    caller: Child,
}

impl Service {
    fn start(bench: &Bench) -> Result<Self, Error> {
        let (program, pki) = (bench.today()?.program("avouch-bench"), bench.pki.clone());
        let options = serve::Options::new(serve::Kind::Avouch, &pki);
        let launch = Launch::role(&program, serve::NAME, &options).named("storm server").core(0);
        let mut server = launch.start(&bench.dir)?;
        let serve::Ready { address, .. } = server.ready()?;
        let options = call::Options { kind: call::Kind::Avouch, pki, address, connections: 8, denied: false };
        let launch = Launch::role(&program, call::NAME, &options).named("storm caller").core(1);
        let mut caller = launch.start(&bench.dir)?;
        let call::Ready {} = caller.ready()?;
        Ok(Self { _server: server, caller })
    }

    /// Calls per second, and what half and 99 % of them took in microseconds.
    fn call(&mut self, time: Duration) -> Result<[f64; 3], Error> {
        let work = call::Work {
            milliseconds: milliseconds(time),
            in_flight: 8,
            payload: 128,
            messages: None,
            per_second: None,
        };
        let done: call::Done = self.caller.ask(&work, time + GRACE)?;
        if done.failed > 0 {
            let call::Done { failed, calls, .. } = done;
            return Err(Error::other(format!("service calls: {failed} failed, {calls} did not")));
        }
        let calls = f64::from(u32::try_from(done.calls).unwrap_or(u32::MAX));
        Ok([calls / done.seconds, done.p50, done.p99])
    }
}

/// How many workloads renew within a part of the storm.
fn due_within(time: Duration) -> usize {
    let due = u128::try_from(MANY).unwrap_or(u128::MAX).saturating_mul(time.as_millis()) / STORM.as_millis();
    usize::try_from(due).unwrap_or(MANY)
}

/// Measures service calls without and with a storm, in turns.
pub(super) fn measure(bench: &Bench, workloads: &mut [Workloads]) -> Result<Table, Error> {
    let part = bench.by_extent(STORM / 40, STORM / ROUNDS);
    let alone = bench.by_extent(part / 2, part / 3);
    let title = format!(
        "a renewal storm, {MANY} workloads in a minute, beside service calls, 8 connections × 8 in flight"
    );
    progress(&title);
    let mut table = Table::new(title, COLUMNS).baseline(ALONE);
    let service = std::cell::RefCell::new(Service::start(bench)?);
    let mut variants = vec![Variant::new(ALONE, || {
        let [calls, p50, p99] = service.borrow_mut().call(alone)?;
        Ok(vec![calls, p50, p99, f64::NAN, f64::NAN, f64::NAN, f64::NAN])
    })];
    for workloads in workloads {
        let (service, mut warm) = (&service, false);
        variants.push(Variant::new(format!("beside a renewal storm{}", workloads.suffix), move || {
            // The first turn, which is not counted, need not be long.
            let time = if warm { part } else { part / 4 };
            warm = true;
            let storm =
                Command::Storm(StormWork { workloads: due_within(time), milliseconds: milliseconds(time) });
            let (done, cpu, calls) = workloads.renew(storm, time, || service.borrow_mut().call(time))?;
            let [calls, p50, p99] = calls;
            Ok(vec![calls, p50, p99, done.count() / done.seconds, done.p50, done.p99, cpu])
        }));
    }
    interleave(&mut table, variants, bench.by_extent(3, usize::try_from(ROUNDS).unwrap_or(5)))?;
    table.note("the server of the calls is on one core and its caller on the other, and both do nothing but call; the issuer \
                and the workloads may use both cores");
    table.note("a renewal: a new connection with the certificate in use (mutual TLS), and a certificate that is on record. It \
                counts from the moment it was due. No renewal and no call failed, and certificates on record = replies: \
                anything else would have ended the run");
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_storm_have_their_share_of_the_workloads() {
        assert_eq!(due_within(STORM), MANY);
        assert_eq!(due_within(STORM / ROUNDS) * 5, MANY);
        assert_eq!(due_within(Duration::from_millis(1_500)), 250);
    }
}
