//! An issuer that changes its trust bundle on command.
//!
//! The shipped `avouch-issuer` cannot: its bundle holds the root that it started with. So this is the issuer's library,
//! with everything that stands between a change and the workloads: store, trust streams, gRPC, mutual TLS.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use avouch_identity::{IdentityFilter, Server, ServerOptions};
use avouch_issuance::{PrivateKey, Profiles, Root, SystemEntropy};
use avouch_issuer::Issuer;
use avouch_issuer::config::{IssuerConfig, RateLimitSettings};
use avouch_issuer::store::Page;
use avouch_spiffe::x509::Authority;
use avouch_spiffe::{Generation, Revocation, RevocationKey};
use avouch_testkit::ca::{domain, id};
use avouch_time::clock;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_layer::Layer as _;

use super::{Commands, say};
use crate::clock::monotonic;
use crate::error::Error;

/// The name of the role.
pub const NAME: &str = "trust";

/// The pause between two looks at the acknowledgements on disk.
const LOOK: Duration = Duration::from_millis(10);

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// The issuer's data directory.
    pub data: PathBuf,
    /// Trust streams that are going to be open.
    pub streams: usize,
    /// Revocations that are in force from the start.
    #[serde(default)]
    pub revocations: u32,
}

/// What it says when it is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
}

/// A command.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// To put another second root into the bundle.
    Publish,
    /// To revoke one more identity.
    Revoke,
    /// To wait until the acknowledgements of a change are on disk.
    Acknowledged {
        /// The bundle's sequence number, or the counter of the generation.
        sequence: u64,
        /// How many acknowledgements.
        count: usize,
        /// How long, in milliseconds.
        milliseconds: u64,
    },
}

/// What it did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// The time by [`monotonic`], in nanoseconds: when the change began, or when the last acknowledgement was found.
    pub at: u64,
    /// The sequence number of the bundle, or the counter of the generation.
    pub sequence: u64,
}

/// Serves until the input ends.
///
/// # Errors
/// When it cannot begin, or does not do what it is told.
pub async fn run(options: Options) -> Result<(), Error> {
    let config = IssuerConfig {
        trust_domain: domain(),
        admin_socket: options.data.with_extension("sock"),
        data_dir: options.data,
        profiles: None,
        svid_ttl: None,
        recovery_window: DAY,
        retention: DAY,
        rate_limits: RateLimitSettings::default(),
    };
    let issuer = Issuer::start(&config, clock::system()).await.map_err(|error| failed(&error))?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::system("listen"))?;
    let address = listener.local_addr().map_err(Error::system("listen"))?;
    if options.revocations > 0 {
        revoke(&issuer, 0..options.revocations).await?;
    }
    serve(&issuer, listener, options.streams);
    say(&Ready { address })?;
    let (mut commands, mut revoked) = (Commands::default(), options.revocations);
    while let Some(command) = commands.next().await? {
        say(&match command {
            Command::Publish => publish(&issuer).await?,
            Command::Revoke => {
                revoked += 1;
                revoke(&issuer, revoked - 1..revoked).await?
            }
            Command::Acknowledged { sequence, count, milliseconds } => {
                acknowledged(&issuer, sequence, count, Duration::from_millis(milliseconds)).await?
            }
        })?;
    }
    Ok(())
}

/// Serves workloads as the program does, with room for so many streams.
fn serve(issuer: &Issuer, listener: TcpListener, streams: usize) {
    let drain = CancellationToken::new();
    let service = issuer.authz(std::sync::Arc::new(())).layer(issuer.workload_routes(drain).prepare());
    let mut options = ServerOptions::default();
    options.max_streams = options.max_streams.max(streams.saturating_mul(2));
    let filter = IdentityFilter::trust_domain(domain());
    let server = Server::new(issuer.identity().clone(), filter).options(options);
    let server = issuer.configure(server).methods(avouch_api::CONTRACT.methods);
    tokio::spawn(server.serve(listener, service, std::future::pending()));
}

async fn publish(issuer: &Issuer) -> Result<Done, Error> {
    let current = issuer.trust().current();
    let own = current.authorities().first().cloned();
    let roots = own.into_iter().chain([another_root()?]).collect();
    let at = now();
    let bundle = issuer.trust().publish(roots).await.map_err(|error| failed(&error))?;
    Ok(Done { at, sequence: bundle.sequence() })
}

/// Revokes identities with these numbers, as one act: as if a workload had returned them after a restore.
async fn revoke(issuer: &Issuer, numbers: Range<u32>) -> Result<Done, Error> {
    let created_at = clock::system().now();
    let since = Generation { epoch: 1, counter: numbers.start };
    let revocation = |number| Revocation {
        key: RevocationKey::identity(&id(&format!("/revoked/{number}"))),
        since,
        ends_at: created_at + DAY,
        proof: [0; 16],
    };
    let revocations = numbers.map(revocation).collect();
    let at = now();
    let taken = issuer.store().return_revocations(&id("/bench"), revocations, created_at).await;
    taken.map_err(|error| failed(&error))?;
    issuer.trust().refresh().await.map_err(|error| failed(&error))?;
    Ok(Done { at, sequence: u64::from(issuer.trust().state().generation.counter) })
}

fn another_root() -> Result<Authority, Error> {
    let profiles = Profiles::embedded().map_err(|error| failed(&error))?;
    let key = PrivateKey::generate().map_err(|error| failed(&error))?;
    let root = Root::create(&domain(), &profiles.root, key, clock::system().now(), &SystemEntropy);
    Ok(root.map_err(|error| failed(&error))?.certificate().clone())
}

async fn acknowledged(issuer: &Issuer, sequence: u64, count: usize, within: Duration) -> Result<Done, Error> {
    let began = Instant::now();
    loop {
        let rows = issuer.store().acknowledgements(Page::all()).await.map_err(|error| failed(&error))?;
        let at = now();
        let there = rows
            .iter()
            .filter(|ack| match ack.instance {
                Some(_) => u64::from(ack.generation.counter) >= sequence,
                None => ack.sequence >= sequence,
            })
            .count();
        if there >= count {
            return Ok(Done { at, sequence });
        }
        if began.elapsed() > within {
            return Err(Error::other(format!("{there} of {count} acknowledgements after {within:?}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn now() -> u64 {
    u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX)
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::other(avouch_text::with_causes(error).to_string())
}
