//! A connection for each call: opened, used once, and closed.

use std::time::Duration;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::proxies::{self, Front};
use crate::groups::servers::{self, CALLER_CORE, Listening};
use crate::roles::client::Kind;
use crate::roles::reconnect::{self, Options, Ready, Work};
use crate::roles::{call, serve};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

const COLUMNS: &[Column] = &[
    column("CPU of both ends", Unit::Microseconds),
    column("server CPU", Unit::Microseconds),
    column("caller CPU", Unit::Microseconds),
    column("connections", Unit::PerSecond),
    column("p50", Unit::Microseconds),
    column("p99", Unit::Microseconds),
];

/// Connections that are open at the same time.
const WORKERS: usize = 8;

/// The longest time beyond that of the work until it is answered.
const ANSWER: Duration = Duration::from_secs(30);

/// The limit on handshakes of one network in a second, which a fast machine would reach: 2,000 as shipped.
const LIMIT: &str = "service.limits.max_handshake_rate=1000000";

/// Measures all variants.
pub(super) fn measure(bench: &Bench) -> Result<Table, Error> {
    let title = format!("new connection, one call, close; {WORKERS} at a time");
    progress(&title);
    let mut table = Table::new(title, COLUMNS).baseline("tonic mTLS");
    table.note(
        "the server has a core of its own, and the caller another one; certificates of leaf and intermediate",
    );
    table.note(format!("the program is set to {LIMIT}, beyond the 2,000 it ships with"));
    let mut pairs = variants(bench, &mut table)?;
    let time = Duration::from_millis(bench.by_extent(300, 800));
    let variants =
        pairs.iter_mut().map(|pair| Variant::new(pair.name.clone(), move || pair.measure(time))).collect();
    interleave(&mut table, variants, bench.by_extent(3, 7))?;
    Ok(table)
}

fn variants(bench: &Bench, table: &mut Table) -> Result<Vec<Pair>, Error> {
    let bare = |name: &str, kinds: (serve::Kind, Kind)| {
        let build = bench.today()?;
        let (server, address) = servers::role(bench, build, name, kinds.0, None)?;
        Pair::start(bench, build, name.to_owned(), (server, address), kinds.1)
    };
    let mut pairs = vec![
        bare("tonic h2c", (serve::Kind::H2c, Kind::H2c))?,
        bare("tonic mTLS", (serve::Kind::Tonic, Kind::Tonic))?,
        bare("tonic mTLS, resumed by ticket", (serve::Kind::Resumed, Kind::Resumed))?,
    ];
    for build in &bench.builds {
        let name = build.variant("avouch");
        let server = servers::role(bench, build, &name, serve::Kind::Avouch, None)?;
        pairs.push(Pair::start(bench, build, name, server, Kind::Avouch)?);
        let name = build.variant("avouch program");
        let server = servers::program(bench, build, &name, &[LIMIT.to_owned()], None)?;
        pairs.push(Pair::start(bench, build, name, server, Kind::Avouch)?);
    }
    for proxy in proxies::installed(bench, "in front of the service", table) {
        let Front { name, service, proxy, address } = proxy.in_front(bench, "in front of the service")?;
        let mut pair = Pair::start(bench, bench.today()?, name, (proxy, address), Kind::Tonic)?;
        pair.servers.push(service);
        pairs.push(pair);
    }
    Ok(pairs)
}

/// A caller, and what serves it.
struct Pair {
    name: String,
    servers: Vec<Child>,
    caller: Child,
}

impl Pair {
    fn start(
        bench: &Bench,
        build: &Build,
        name: String,
        (server, address): Listening,
        kind: Kind,
    ) -> Result<Self, Error> {
        let options = Options { kind, pki: bench.pki.clone(), address };
        let launch = Launch::role(&build.program("avouch-bench"), reconnect::NAME, &options);
        let mut caller = launch.named(format!("{name} caller")).core(CALLER_CORE).start(&bench.dir)?;
        let Ready {} = caller.ready()?;
        Ok(Self { name, servers: vec![server], caller })
    }

    fn measure(&mut self, time: Duration) -> Result<Vec<f64>, Error> {
        let (server, caller) = (self.server_cpu(), self.caller.cpu());
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let done: call::Done = self.caller.ask(&Work { milliseconds, workers: WORKERS }, time + ANSWER)?;
        let connections = f64::from(u32::try_from(done.calls).unwrap_or(u32::MAX));
        let each = |before: Duration, after: Duration| {
            after.saturating_sub(before).as_secs_f64() * 1e6 / connections
        };
        let (server, caller) = (each(server, self.server_cpu()), each(caller, self.caller.cpu()));
        Ok(vec![server + caller, server, caller, connections / done.seconds, done.p50, done.p99])
    }

    fn server_cpu(&self) -> Duration {
        self.servers.iter().map(Child::cpu).sum()
    }
}
