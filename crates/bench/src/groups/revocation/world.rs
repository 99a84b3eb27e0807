//! A server whose trust state changes on command, and those who hold connections to it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::groups::servers::{CALLER_CORE, SERVER_CORE};
use crate::roles::{hold, revocable};

/// The most connections of one process that holds them: descriptors are counted by process.
const EACH: usize = 5_000;

/// The longest time until connections are closed.
const CLOSED: Duration = Duration::from_secs(30);

/// The longest time until connections are open.
const OPEN: Duration = Duration::from_secs(240);

/// The server and the holders.
pub(super) struct World {
    /// The server.
    pub(super) server: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
    holders: Vec<(Child, Vec<String>)>,
}

/// The connections of a world.
#[derive(Clone, Copy)]
pub(super) struct Size {
    /// Identities.
    pub(super) identities: usize,
    /// Connections of each.
    pub(super) each: usize,
}

impl World {
    /// Starts both, and opens all connections.
    pub(super) fn start(bench: &Bench, build: &Build, name: &str, size: Size) -> Result<Self, Error> {
        let (server, address) = server(bench, build, name, 0)?;
        let names: Vec<_> = (0..size.identities).map(|number| format!("holder-{number}")).collect();
        for holder in names.iter().filter(|holder| !bench.pki.chain(holder).exists()) {
            bench.pki.add(&bench.ca, holder);
        }
        let mut holders = Vec::new();
        for names in names.chunks((EACH / size.each).max(1)) {
            let options = hold::Options { pki: bench.pki.clone(), address, each: size.each };
            let launch = Launch::role(&build.program("avouch-bench"), hold::NAME, &options);
            let launch = launch.named(format!("{name} holders {}", holders.len())).core(CALLER_CORE);
            let mut child = launch.start(&bench.dir)?;
            let hold::Ready {} = child.ready()?;
            holders.push((child, names.to_vec()));
        }
        let mut world = Self { server, address, holders };
        world.open(&world.names())?;
        Ok(world)
    }

    /// The names of all identities that hold connections.
    pub(super) fn names(&self) -> Vec<String> {
        self.holders.iter().flat_map(|(_, names)| names.iter().cloned()).collect()
    }

    /// Opens the connections of these identities.
    pub(super) fn open(&mut self, names: &[String]) -> Result<(), Error> {
        for (child, own) in &mut self.holders {
            let names = own.iter().filter(|name| names.contains(name)).cloned().collect();
            let hold::Ready {} = child.ask(&hold::Work::Open { names }, OPEN)?;
        }
        Ok(())
    }

    /// Has these identities revoked and no others; the time of the publication.
    pub(super) fn revoke(&mut self, names: &[String]) -> Result<u64, Error> {
        let command = revocable::Revoke { names: names.to_vec() };
        let revocable::Done { at } = self.server.ask(&command, CLOSED)?;
        Ok(at)
    }

    /// Waits until the connections of these identities are closed, and those of nobody else but `revoked`; the times.
    pub(super) fn closed(&mut self, names: &[String]) -> Result<Vec<u64>, Error> {
        let milliseconds = u64::try_from(CLOSED.as_millis()).unwrap_or(u64::MAX);
        let mut all = Vec::new();
        for (child, own) in &mut self.holders {
            let names = own.iter().filter(|name| names.contains(name)).cloned().collect();
            let command = hold::Work::Closed { names, milliseconds };
            let hold::Closed { at, others } = child.ask(&command, CLOSED + Duration::from_secs(5))?;
            if others > 0 {
                return Err(Error::other(format!("{others} connections of others were closed too")));
            }
            all.extend(at);
        }
        Ok(all)
    }

    /// Cuts these identities off, and lets them come back; from the publication to the last closed connection.
    pub(super) fn cut(&mut self, names: &[String]) -> Result<Duration, Error> {
        let began = self.revoke(names)?;
        let last = self.closed(names)?.into_iter().max().unwrap_or(began);
        self.revoke(&[])?;
        self.open(names)?;
        Ok(Duration::from_nanos(last.saturating_sub(began)))
    }
}

/// A server with so many revocations of certificates that nobody has.
pub(super) fn server(
    bench: &Bench,
    build: &Build,
    name: &str,
    revocations: u32,
) -> Result<(Child, SocketAddr), Error> {
    let options = revocable::Options { pki: bench.pki.clone(), revocations };
    let launch = Launch::role(&build.program("avouch-bench"), revocable::NAME, &options);
    let mut server = launch.named(format!("{name} server")).core(SERVER_CORE).start(&bench.dir)?;
    let revocable::Ready { address } = server.ready()?;
    Ok((server, address))
}
