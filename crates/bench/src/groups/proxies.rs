//! Proxies that verify and authorize for a service without TLS: in front of it, and also beside a caller without TLS.
//!
//! In front of the service, a proxy asks for a client certificate below the root, allows the caller to call and nobody
//! else, and passes calls on without TLS on the same core. Beside the caller, it takes calls without TLS, and passes
//! them on with the caller's certificate to the one in front of the service.

mod envoy;
mod hop;
mod nginx;

use std::net::SocketAddr;
use std::path::Path;

use self::hop::{Hop, Side};
use super::servers::{self, CALLER_CORE, Listening, directory, free_address};
use crate::bench::Bench;
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::peers::{self, Installed, Peer};
use crate::pki::{CALLER, Pki};
use crate::roles::{call, serve};
use crate::table::Table;

/// The path of somebody who has a certificate and no role.
const STRANGER: &str = "stranger";

/// A proxy.
#[derive(Debug, Clone, Copy)]
struct Proxy {
    peer: Peer,
    /// What it does beyond or short of what avouch does.
    about: &'static str,
    /// Its command, with its configuration written to a directory.
    launch: fn(&Installed, &Hop<'_>, &Path) -> Result<Launch, Error>,
}

static PROXIES: [Proxy; 2] = [
    Proxy {
        peer: peers::NGINX,
        about: "verifies the client certificate and knows the caller by its serial number, since it reads no SPIFFE ID; one process, keep-alive to the service",
        launch: nginx::launch,
    },
    Proxy {
        peer: peers::ENVOY,
        about: "verifies the client certificate, and its RBAC filter allows the caller's SPIFFE ID to call both methods; one worker",
        launch: envoy::launch,
    },
];

/// A proxy that is on this machine.
#[derive(Debug)]
pub(super) struct Ready {
    proxy: &'static Proxy,
    installed: Installed,
}

/// A proxy in front of a service without TLS.
pub(super) struct Front {
    /// The name of the variant.
    pub(super) name: String,
    /// The service.
    pub(super) service: Child,
    /// The proxy.
    pub(super) proxy: Child,
    /// Where the proxy listens.
    pub(super) address: SocketAddr,
}

/// The proxies that are installed; the table is told of them, and of the rest, that it has no figures of them `places`.
pub(super) fn installed(bench: &Bench, places: &str, table: &mut Table) -> Vec<Ready> {
    let mut ready = Vec::new();
    for proxy in &PROXIES {
        let name = proxy.peer.name;
        match proxy.peer.find(&bench.root, &format!("{name} {places}")) {
            Err(skipped) => table.note(skipped),
            Ok(installed) => {
                table.note(format!("{name} {} {}", installed.version, proxy.about));
                ready.push(Ready { proxy, installed });
            }
        }
    }
    ready
}

impl Ready {
    /// Starts the proxy in front of a service of its own, for a variant named by the place of the proxies.
    pub(super) fn in_front(&self, bench: &Bench, place: &str) -> Result<Front, Error> {
        let name = format!("{} {place}", self.proxy.peer.name);
        let (service, upstream) = servers::role(bench, bench.today()?, &name, serve::Kind::H2c, None)?;
        let (proxy, address) = self.start(bench, &format!("{name} server proxy"), Side::Service, upstream)?;
        turns_strangers_away(bench, &name, address)?;
        Ok(Front { name, service, proxy, address })
    }

    /// Starts the proxy beside a caller of what is at `upstream`.
    pub(super) fn beside_caller(
        &self,
        bench: &Bench,
        name: &str,
        upstream: SocketAddr,
    ) -> Result<Listening, Error> {
        self.start(bench, &format!("{name} caller proxy"), Side::Caller, upstream)
    }

    /// Starts the proxy, and waits until it listens.
    fn start(&self, bench: &Bench, name: &str, side: Side, upstream: SocketAddr) -> Result<Listening, Error> {
        let listen = free_address()?;
        let hop = Hop { side, pki: &bench.pki, listen, upstream };
        let launch = (self.proxy.launch)(&self.installed, &hop, &directory(bench, name)?)?;
        let mut child = launch.named(name).core(side.core()).start(&bench.dir)?;
        child.listens(listen.port())?;
        Ok((child, listen))
    }
}

/// Checks that a proxy authorizes: one that lets everybody through would do less than is compared with.
fn turns_strangers_away(bench: &Bench, name: &str, address: SocketAddr) -> Result<(), Error> {
    let pki = strangers(bench)?;
    let options = call::Options { kind: call::Kind::Tonic, pki, address, connections: 1, denied: true };
    let launch = Launch::role(&bench.today()?.program("avouch-bench"), call::NAME, &options);
    let mut stranger = launch.named(format!("{name} stranger")).core(CALLER_CORE).start(&bench.dir)?;
    let call::Ready {} = stranger.ready()?;
    stranger.end()
}

/// Certificates below the same root in which the caller is somebody else.
fn strangers(bench: &Bench) -> Result<Pki, Error> {
    let pki = Pki::create(&bench.dir.join("strangers"), &bench.ca)?;
    pki.add(&bench.ca, STRANGER);
    let files = [(pki.chain(STRANGER), pki.chain(CALLER)), (pki.key(STRANGER), pki.key(CALLER))];
    for (from, to) in files {
        std::fs::rename(from, to).map_err(Error::system("make a stranger's certificate"))?;
    }
    Ok(pki)
}
