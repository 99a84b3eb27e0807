//! What callers notice while others are cut off: the latency of their calls at half of what the server can do.

use std::time::{Duration, Instant};

use super::world::{Size, World};
use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::servers::CALLER_CORE;
use crate::roles::call::{self, Work};
use crate::roles::client::Kind;
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

const COLUMNS: &[Column] =
    &[column("p99", Unit::Microseconds), column("p50", Unit::Microseconds), column("calls", Unit::PerSecond)];

const WITHOUT: &str = "nobody is cut off";

const SIZE: Size = Size { identities: 20, each: 50 };

/// Connections of the callers, and calls under way on each.
const CONNECTIONS: usize = 8;
const IN_FLIGHT: usize = 4;

/// The time of a first run that shows what the server can do.
const FULL: Duration = Duration::from_millis(500);

/// The time from one cut to the next.
const EVERY: Duration = Duration::from_millis(500);

/// The longest time beyond that of the work until it is answered.
const ANSWER: Duration = Duration::from_secs(30);

/// Measures calls with and without cuts; a call that fails is an error.
pub(super) fn measure(bench: &Bench) -> Result<Table, Error> {
    progress("calls of others during cuts");
    let mut table =
        Table::new("calls of others at half load, while identities are cut off", COLUMNS).baseline(WITHOUT);
    let time = Duration::from_secs(bench.by_extent(2, 10));
    let mut pair = Pair::start(bench, bench.today()?)?;
    let pair = std::cell::RefCell::new(&mut pair);
    let variant = |name: &str, cuts: bool| {
        let pair = &pair;
        Variant::new(name, move || pair.borrow_mut().measure(time, cuts))
    };
    let variants = vec![variant(WITHOUT, false), variant("one of 20 identities every 500 ms", true)];
    interleave(&mut table, variants, bench.by_extent(3, 5))?;
    table.note(format!(
        "each cut ends 50 connections; {CONNECTIONS} connections of another identity call at half the rate that the \
         server reached without a pause; times from the start of a call; no call failed"
    ));
    Ok(table)
}

struct Pair {
    world: World,
    caller: Child,
    per_second: u32,
}

impl Pair {
    fn start(bench: &Bench, build: &Build) -> Result<Self, Error> {
        let world = World::start(bench, build, "others", SIZE)?;
        let (kind, pki, address) = (Kind::Avouch, bench.pki.clone(), world.address);
        let options = call::Options { kind, pki, address, connections: CONNECTIONS, denied: false };
        let launch = Launch::role(&build.program("avouch-bench"), call::NAME, &options);
        let mut caller = launch.named("others caller").core(CALLER_CORE).start(&bench.dir)?;
        let call::Ready {} = caller.ready()?;
        let done: call::Done = caller.ask(&work(FULL, None), FULL + ANSWER)?;
        let calls = f64::from(u32::try_from(done.calls).unwrap_or(u32::MAX));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of calls")]
        let per_second = (calls / done.seconds / 2.0) as u32;
        Ok(Self { world, caller, per_second: per_second.max(1) })
    }

    fn measure(&mut self, time: Duration, cuts: bool) -> Result<Vec<f64>, Error> {
        self.caller.tell(&work(time, Some(self.per_second)))?;
        let mut revoked = Vec::new();
        if cuts {
            let (began, names) = (Instant::now(), self.world.names());
            for (turn, name) in (1_u32..).zip(&names) {
                if EVERY * turn >= time {
                    break;
                }
                std::thread::sleep((EVERY * turn).saturating_sub(began.elapsed()));
                // Those before stay cut off, so that no handshake is part of what is measured.
                revoked.push(name.clone());
                self.world.revoke(&revoked)?;
            }
        }
        let done: call::Done = self.caller.answer(time + ANSWER)?;
        if cuts {
            self.world.closed(&revoked)?;
            self.world.revoke(&[])?;
            self.world.open(&revoked)?;
        }
        if done.failed > 0 {
            return Err(Error::other(format!(
                "{} calls of others failed, {} did not",
                done.failed, done.calls
            )));
        }
        let calls = f64::from(u32::try_from(done.calls).unwrap_or(u32::MAX));
        Ok(vec![done.p99, done.p50, calls / done.seconds])
    }
}

fn work(time: Duration, per_second: Option<u32>) -> Work {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Work { milliseconds, in_flight: IN_FLIGHT, payload: 128, messages: None, per_second }
}
