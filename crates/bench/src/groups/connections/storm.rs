//! A reconnect storm: many clients lose their server at once, and another one is started in its place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::servers::{self, CALLER_CORE, Listening};
use crate::roles::client::Kind;
use crate::roles::clients::{self, Back, Options, Ready, Work};
use crate::roles::serve;
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Column, Table, Unit, column};

const COLUMNS: &[Column] = &[
    column("all back after the start", Unit::Seconds),
    column("half back after the start", Unit::Seconds),
    column("start of the server", Unit::Seconds),
    column("server CPU", Unit::Seconds),
    column("caller CPU", Unit::Seconds),
    column("failed calls", Unit::Count),
];

/// The pause of a client whose call has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// The time after which a client gives up.
const WITHIN: Duration = Duration::from_secs(60);

/// The longest time until all clients have connected in peace.
const OPENED: Duration = Duration::from_secs(60);

/// Measures all variants.
pub(super) fn measure(bench: &Bench) -> Result<Table, Error> {
    let count = bench.by_extent(300, 2_000);
    let title = format!("reconnect storm: the server of {count} clients is killed, and another one started");
    progress(&title);
    let mut table = Table::new(title, COLUMNS).baseline("tonic mTLS");
    let pause = PAUSE.as_millis();
    table.note(format!(
        "from the kill on each client calls until it is answered, with a pause of {pause} ms after a call that failed; \
         the CPU of the server is that of its whole life, start included"
    ));
    table.note(
        "the program has the limits it is shipped with: 1,024 handshakes at once, and 2,000 in a second from a network, \
         which all clients here are; `avouch` is the library without the second limit",
    );
    let mut storms = variants(bench, count)?;
    let turns = storms
        .iter_mut()
        .map(|storm| Variant::new(storm.name.clone(), move || storm.measure(count)))
        .collect();
    interleave(&mut table, turns, bench.by_extent(3, 5))?;
    for storm in storms {
        for (code, message) in storm.failures {
            table.note(format!("{}: failed calls with the code {code}, such as: {message}", storm.name));
        }
    }
    Ok(table)
}

/// Starts a server at an address, or at one of the system's choice.
type Start<'a> = Box<dyn Fn(Option<SocketAddr>) -> Result<Listening, Error> + 'a>;

fn variants(bench: &Bench, count: usize) -> Result<Vec<Storm<'_>>, Error> {
    let today = bench.today()?;
    let start: Start<'_> =
        Box::new(|listen| servers::role(bench, today, "tonic mTLS", serve::Kind::Tonic, listen));
    let mut storms = vec![Storm::begin(bench, today, "tonic mTLS".to_owned(), Kind::Tonic, start, count)?];
    for build in &bench.builds {
        let name = build.variant("avouch");
        let own = name.clone();
        let start: Start<'_> =
            Box::new(move |listen| servers::role(bench, build, &own, serve::Kind::Avouch, listen));
        storms.push(Storm::begin(bench, build, name, Kind::Avouch, start, count)?);
        let name = build.variant("avouch program");
        let own = name.clone();
        let start: Start<'_> = Box::new(move |listen| servers::program(bench, build, &own, &[], listen));
        storms.push(Storm::begin(bench, build, name, Kind::Avouch, start, count)?);
    }
    Ok(storms)
}

struct Storm<'a> {
    name: String,
    start: Start<'a>,
    server: Option<Child>,
    address: SocketAddr,
    clients: Child,
    /// Codes of failed calls, each with the message of one.
    failures: BTreeMap<String, String>,
}

impl<'a> Storm<'a> {
    fn begin(
        bench: &Bench,
        build: &Build,
        name: String,
        kind: Kind,
        start: Start<'a>,
        count: usize,
    ) -> Result<Self, Error> {
        let (server, address) = start(None)?;
        let options = Options { kind, pki: bench.pki.clone(), address };
        let launch = Launch::role(&build.program("avouch-bench"), clients::NAME, &options);
        let mut clients = launch.named(format!("{name} clients")).core(CALLER_CORE).start(&bench.dir)?;
        let Ready {} = clients.ready()?;
        let Ready {} = clients.ask(&Work::Open { clients: count }, OPENED)?;
        Ok(Self { name, start, server: Some(server), address, clients, failures: BTreeMap::new() })
    }

    /// Kills the server and starts another one.
    fn measure(&mut self, count: usize) -> Result<Vec<f64>, Error> {
        let caller = self.clients.cpu();
        // Killed here, which the kernel has finished when this returns.
        drop(self.server.take());
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.clients.tell(&Work::Return { pause: milliseconds(PAUSE), within: milliseconds(WITHIN) })?;
        let told = Instant::now();
        let (server, _) = (self.start)(Some(self.address))?;
        let start = told.elapsed().as_secs_f64();
        let back: Back = self.clients.answer(WITHIN + OPENED)?;
        if back.back < count {
            let messages: Vec<_> = back.failures.values().map(|(_, message)| message.as_str()).collect();
            return Err(Error::other(format!(
                "{}: {} of {count} clients did not come back: {}",
                self.name,
                count - back.back,
                messages.join("; ")
            )));
        }
        let caller = self.clients.cpu().saturating_sub(caller).as_secs_f64();
        let failed = f64::from(u32::try_from(back.failed).unwrap_or(u32::MAX));
        let figures =
            vec![back.all - start, back.half - start, start, server.cpu().as_secs_f64(), caller, failed];
        self.server = Some(server);
        self.failures.extend(back.failures.into_iter().map(|(code, (_, message))| (code, message)));
        Ok(figures)
    }
}
