//! Fan-out: from a change of trust at the issuer until the last of its subscribers has it.

use std::time::Duration;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::roles::{subscribe, trust};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

/// The core of the issuer.
const ISSUER_CORE: usize = 0;

/// The core of the subscribers.
const SUBSCRIBER_CORE: usize = 1;

/// The most subscribers in one process: descriptors are counted by process.
const EACH: usize = 5_000;

/// The longest time until all streams are open.
const OPEN: Duration = Duration::from_secs(120);

/// The longest time until everybody has a bundle.
const LONGEST: Duration = Duration::from_secs(60);

const COLUMNS: &[Column] = &[
    column("p50", Unit::Milliseconds),
    column("p99", Unit::Milliseconds),
    column("last", Unit::Milliseconds),
    column("all acknowledgements on disk", Unit::Milliseconds),
    column("issuer CPU per subscriber", Unit::Microseconds),
];

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// The bundle, for subscribers that know no generations.
    Root,
    /// One revocation more than these, for subscribers that know generations.
    Revocation { beside: u32 },
}

/// Measures the fan-out to all numbers of subscribers.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    let counts = bench.by_extent(vec![200], vec![1_000, 10_000]);
    let roots = fan_out(bench, Change::Root, "a new root, from the issuer to its subscribers", counts)?;
    let title = "one more than 10,000 revocations, from the issuer to its subscribers";
    let counts = bench.by_extent(vec![200], vec![1_000]);
    let revocations = fan_out(bench, Change::Revocation { beside: 10_000 }, title, counts)?;
    Ok(vec![roots, revocations])
}

fn fan_out(bench: &Bench, change: Change, title: &str, counts: Vec<usize>) -> Result<Table, Error> {
    let mut table = Table::new(title, COLUMNS);
    let mut worlds = Vec::new();
    for count in counts {
        for build in &bench.builds {
            let name = build.variant(&format!("{count} subscribers"));
            progress(&format!("opening trust streams: {name}"));
            worlds.push(World::start(bench, build, name, count, change)?);
        }
    }
    progress("fan-out");
    let variants =
        worlds.iter_mut().map(|world| Variant::new(world.name.clone(), move || world.measure())).collect();
    interleave(&mut table, variants, bench.by_extent(5, 9))?;
    if change == Change::Root {
        table.note(
            "the issuer's library: the shipped issuer's bundle holds the root that it started with, so that only a restart \
             with other files changes it",
        );
    }
    table.note(format!(
        "each subscriber has an identity and a connection of its own, reads what it gets and acknowledges it; with \
         revocations the first one of a process applies the change and checks the digest as well; all share one core, the \
         issuer has another; beyond 8,192 of them service.limits.max_streams has to be raised, and one process follows for \
         at most {EACH}"
    ));
    Ok(table)
}

/// An issuer and those that follow it.
struct World {
    name: String,
    count: usize,
    change: Change,
    issuer: Child,
    subscribers: Vec<Child>,
}

impl World {
    fn start(
        bench: &Bench,
        build: &Build,
        name: String,
        count: usize,
        change: Change,
    ) -> Result<Self, Error> {
        let (revocations, kind) = match change {
            Change::Root => (0, "roots"),
            Change::Revocation { beside } => (beside, "revocations"),
        };
        let data = bench.dir.join("fan-out").join(format!("{}-{kind}", name.replace(['/', ' '], "-")));
        std::fs::create_dir_all(bench.dir.join("fan-out")).map_err(Error::system("make a directory"))?;
        let program = build.program("avouch-bench");
        let options = trust::Options { data: data.clone(), streams: count, revocations };
        let launch = Launch::role(&program, trust::NAME, &options).named(format!("issuer of {name}"));
        let mut issuer = launch.core(ISSUER_CORE).start(&bench.dir)?;
        let trust::Ready { address } = issuer.ready()?;
        let mut subscribers = Vec::new();
        for first in (0..count).step_by(EACH) {
            let count = EACH.min(count - first);
            let options = subscribe::Options {
                data: data.clone(),
                address,
                first,
                count,
                generations: change != Change::Root,
            };
            let launch = Launch::role(&program, subscribe::NAME, &options);
            let launch = launch.named(format!("{name} from {first}")).core(SUBSCRIBER_CORE);
            let mut child = launch.start(&bench.dir)?;
            // One after the other: the time limit is one process's.
            let subscribe::Ready {} = child.answer(OPEN)?;
            subscribers.push(child);
        }
        Ok(Self { name, count, change, issuer, subscribers })
    }

    fn measure(&mut self) -> Result<Vec<f64>, Error> {
        let milliseconds = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
        let (cpu, within) = (self.issuer.cpu(), LONGEST + Duration::from_secs(5));
        let published: trust::Done = self.issuer.ask(
            &match self.change {
                Change::Root => trust::Command::Publish,
                Change::Revocation { .. } => trust::Command::Revoke,
            },
            within,
        )?;
        let sequence = published.sequence;
        for child in &mut self.subscribers {
            child.tell(&subscribe::Wait { sequence, milliseconds })?;
        }
        let mut took = Vec::with_capacity(self.count);
        for child in &mut self.subscribers {
            let subscribe::Done { at } = child.answer(within)?;
            took.extend(at.into_iter().map(|at| at.saturating_sub(published.at)));
        }
        let command = trust::Command::Acknowledged { sequence, count: self.count, milliseconds };
        let acknowledged: trust::Done = self.issuer.ask(&command, within)?;
        let cpu = self.issuer.cpu().saturating_sub(cpu).as_secs_f64() * 1e6 / as_f64(self.count);
        took.sort_unstable();
        let milliseconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64() * 1e3;
        let at = |percent: usize| {
            let index = (took.len() * percent / 100).min(took.len().saturating_sub(1));
            took.get(index).copied().map_or(f64::NAN, milliseconds)
        };
        let acknowledged = milliseconds(acknowledged.at.saturating_sub(published.at));
        Ok(vec![at(50), at(99), at(100), acknowledged, cpu])
    }
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
