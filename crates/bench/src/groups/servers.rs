//! Servers of the echo service, each on the servers' core.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::program::{self, Addresses};
use crate::roles::serve;

/// The core of servers, and of what stands in front of them.
pub(super) const SERVER_CORE: usize = 0;

/// The core of callers, and of what stands beside them.
pub(super) const CALLER_CORE: usize = 1;

/// A server, and where it listens.
pub(super) type Listening = (Child, SocketAddr);

/// A server that is a role, at `listen` or at a port of the system's choice.
pub(super) fn role(
    bench: &Bench,
    build: &Build,
    name: &str,
    kind: serve::Kind,
    listen: Option<SocketAddr>,
) -> Result<Listening, Error> {
    let dir = Some(directory(bench, name)?);
    let options = serve::Options { listen, dir, ..serve::Options::new(kind, &bench.pki) };
    let launch = Launch::role(&build.program("avouch-bench"), serve::NAME, &options);
    let mut server = launch.named(format!("{name} server")).core(SERVER_CORE).start(&bench.dir)?;
    let ready: serve::Ready = server.ready()?;
    Ok((server, ready.address))
}

/// A program on the service shell, with its identity from files, `settings`, and everything else as it is shipped.
pub(super) fn program(
    bench: &Bench,
    build: &Build,
    name: &str,
    settings: &[String],
    listen: Option<SocketAddr>,
) -> Result<Listening, Error> {
    let dir = directory(bench, name)?;
    let mut all = program::identity_and_policy(&bench.pki, &dir)?;
    all.extend(settings.iter().cloned());
    all.extend(listen.map(|address| format!("service.listen={address}")));
    let launch = Launch::new(format!("{name} server"), build.program("avouch-bench-service"));
    let (server, addresses) = program::start(launch.core(SERVER_CORE), &dir, &all, &bench.dir)?;
    let Addresses { grpc, .. } = addresses;
    Ok((server, grpc))
}

/// A directory for the files of a variant.
pub(super) fn directory(bench: &Bench, name: &str) -> Result<PathBuf, Error> {
    let dir = bench.dir.join(name.replace(['/', ' '], "-"));
    fs::create_dir_all(&dir).map_err(Error::system(format!("make {}", dir.display())))?;
    Ok(dir)
}

/// An address of loopback that is free now, for programs that have to be told one.
pub(super) fn free_address() -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::system("listen"))?;
    listener.local_addr().map_err(Error::system("listen"))
}
