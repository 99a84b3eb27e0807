//! Handshakes of mutual TLS with both ends in one thread, over memory or over a socket of loopback: the CPU time of the
//! pair, without processes, runtimes and HTTP/2.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch_identity::IdentityFilter;
use avouch_identity::spiffe::SpiffeId;
use avouch_testkit::ca::id;
use rustls::crypto::CryptoProvider;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, NamedGroup, ServerConfig,
    ServerConnection, SideData,
};
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};

use super::bare::{self, Tls};
use super::primitives::Primitives;
use super::published::Published;
use super::{Commands, say};
use crate::clock::thread_cpu;
use crate::error::Error;
use crate::pki::{CALLER, DNS_NAME, Pki, SERVER};

/// The name of the role.
pub const NAME: &str = "handshake";

/// What shakes hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// rustls with its own verifiers of webpki.
    Stock,
    /// The same, with tickets: all handshakes but the first resume a session.
    Resumed,
    /// avouch's settings and verifiers at both ends.
    Avouch,
    /// No handshake: its key exchange and its signatures alone.
    Primitives,
}

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// What shakes hands.
    pub kind: Kind,
    /// The certificates of both ends.
    pub pki: Pki,
    /// Whether X25519 is the only group; otherwise X25519MLKEM768 is preferred. avouch always prefers that.
    pub x25519_only: bool,
    /// Whether each connection is one of TCP on loopback; otherwise the ends exchange their records in memory.
    pub sockets: bool,
    /// Revocations in the trust state of both of avouch's ends, of certificates that nobody has.
    #[serde(default)]
    pub revocations: u32,
}

/// What it says when the first handshake has succeeded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// The key-exchange group that was agreed on.
    pub group: String,
}

/// A command: to shake hands for a time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// For how long new handshakes begin, in milliseconds.
    pub milliseconds: u64,
}

/// What it took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// Handshakes that succeeded. One that fails ends the role.
    pub handshakes: u64,
    /// The CPU time of the thread for both ends of all of them, in microseconds.
    pub cpu: f64,
}

/// Shakes hands as it is told until the input ends.
///
/// # Errors
/// When a handshake fails, or a command is none.
pub async fn run(options: Options) -> Result<(), Error> {
    let pair = Pair::new(&options)?;
    let group = tokio::task::block_in_place(|| pair.once())?;
    if options.kind == Kind::Resumed {
        // The first one brought the tickets.
        tokio::task::block_in_place(|| pair.once())?;
    }
    say(&Ready { group })?;
    let mut commands = Commands::default();
    while let Some(work) = commands.next::<Work>().await? {
        say(&tokio::task::block_in_place(|| make(&pair, work))?)?;
    }
    Ok(())
}

fn make(pair: &Pair, work: Work) -> Result<Done, Error> {
    let until = Instant::now() + Duration::from_millis(work.milliseconds);
    let began = thread_cpu();
    let mut handshakes = 0;
    while Instant::now() < until {
        pair.once()?;
        handshakes += 1;
    }
    Ok(Done { handshakes, cpu: (thread_cpu() - began).as_secs_f64() * 1e6 })
}

/// Both ends, and what is between them.
struct Pair {
    ends: Ends,
    name: ServerName<'static>,
    listener: Option<TcpListener>,
    /// What became of each handshake, and has to.
    outcome: Option<HandshakeKind>,
}

enum Ends {
    /// Settings for all connections.
    Stock(Arc<ClientConfig>, Arc<ServerConfig>),
    /// Settings are made for each connection.
    Avouch {
        client: Published,
        server: Published,
        ids: [SpiffeId; 2],
    },
    Primitives(Primitives),
}

impl Pair {
    fn new(options: &Options) -> Result<Self, Error> {
        let mut provider = CryptoProvider::clone(avouch_identity::crypto_provider());
        if options.x25519_only {
            provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
        }
        let stock = |tls| {
            let provider = Arc::new(provider.clone());
            let client = bare::client_config(&options.pki, tls, provider.clone())?;
            let server = bare::server_config(&options.pki, tls, provider)?;
            Ok::<_, Error>(Ends::Stock(Arc::new(client), Arc::new(server)))
        };
        let ends = match options.kind {
            Kind::Stock => stock(Tls::Mutual)?,
            Kind::Resumed => stock(Tls::Resumed)?,
            Kind::Avouch => Ends::Avouch {
                client: Published::new(&options.pki, CALLER, options.revocations)?,
                server: Published::new(&options.pki, SERVER, options.revocations)?,
                ids: [CALLER, SERVER].map(|name| id(&format!("/{name}"))),
            },
            Kind::Primitives => Ends::Primitives(Primitives::new(&options.pki, &provider)?),
        };
        let listen = || TcpListener::bind("127.0.0.1:0").map_err(Error::system("listen"));
        Ok(Self {
            ends,
            name: ServerName::try_from(DNS_NAME).map_err(|error| Error::other(error.to_string()))?,
            listener: options.sockets.then(listen).transpose()?,
            outcome: (options.kind != Kind::Resumed).then_some(HandshakeKind::Full),
        })
    }

    /// Shakes hands; says with which group.
    fn once(&self) -> Result<String, Error> {
        let (client, server) = match &self.ends {
            Ends::Stock(client, server) => (client.clone(), server.clone()),
            Ends::Avouch { client, server, ids: [caller, called] } => (
                client.identity.client_tls(IdentityFilter::from(called.clone())).map_err(failed)?,
                server.identity.server_tls(IdentityFilter::from(caller.clone())).map_err(failed)?,
            ),
            Ends::Primitives(primitives) => return primitives.once(),
        };
        let mut client = ClientConnection::new(client, self.name.clone()).map_err(failed)?;
        let mut server = ServerConnection::new(server).map_err(failed)?;
        let mut wire = match &self.listener {
            None => Wire::Memory(Vec::with_capacity(8 * 1024)),
            Some(listener) => Wire::connect(listener).map_err(Error::system("connect on loopback"))?,
        };
        while client.is_handshaking() || server.is_handshaking() {
            wire.pass(&mut client, &mut server, true)?;
            wire.pass(&mut server, &mut client, false)?;
        }
        if self.outcome.is_some_and(|outcome| client.handshake_kind() != Some(outcome)) {
            return Err(Error::other("a handshake was resumed that should be full"));
        }
        let group = client.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
        group.ok_or_else(|| Error::other("no key-exchange group was agreed on"))
    }
}

fn failed(error: rustls::Error) -> Error {
    Error::other(format!("the handshake failed: {error}"))
}

/// What is between the ends.
enum Wire {
    Memory(Vec<u8>),
    Sockets { client: TcpStream, server: TcpStream },
}

impl Wire {
    fn connect(listener: &TcpListener) -> std::io::Result<Self> {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
        }
        Ok(Self::Sockets { client, server })
    }

    /// Passes on what one end has to send.
    fn pass<A: SideData, B: SideData>(
        &mut self,
        from: &mut ConnectionCommon<A>,
        to: &mut ConnectionCommon<B>,
        from_client: bool,
    ) -> Result<(), Error> {
        let cannot = |error| Error::system("pass a record on")(error);
        let mut left = 0;
        while from.wants_write() {
            left += match self {
                Self::Memory(bytes) => from.write_tls(bytes),
                Self::Sockets { client, .. } if from_client => from.write_tls(client),
                Self::Sockets { server, .. } => from.write_tls(server),
            }
            .map_err(cannot)?;
        }
        let mut at = 0;
        while at < left {
            at += match self {
                Self::Memory(bytes) => to.read_tls(&mut bytes.get(at..).unwrap_or_default()),
                Self::Sockets { server, .. } if from_client => to.read_tls(server),
                Self::Sockets { client, .. } => to.read_tls(client),
            }
            .map_err(cannot)?;
            to.process_new_packets().map_err(failed)?;
        }
        if let Self::Memory(bytes) = self {
            bytes.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use avouch_testkit::ca::Ca;

    use super::*;

    #[tokio::test]
    async fn every_kind_agrees_on_its_group_over_memory_and_sockets() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::create(dir.path(), &Ca::new()).unwrap();
        for kind in [Kind::Stock, Kind::Resumed, Kind::Avouch, Kind::Primitives] {
            for x25519_only in [false, true].into_iter().filter(|only| !only || kind != Kind::Avouch) {
                for sockets in [false, true] {
                    let options = Options { kind, pki: pki.clone(), x25519_only, sockets, revocations: 0 };
                    let pair = Pair::new(&options).unwrap();
                    let wanted = if x25519_only { "X25519" } else { "X25519MLKEM768" };
                    assert_eq!(pair.once().unwrap(), wanted, "{kind:?}");
                    assert_eq!(pair.once().unwrap(), wanted, "{kind:?}");
                }
            }
        }
    }
}
