//! A caller that waits for a server to come up: it tries again and again until a call is answered, and says when that was.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use avouch_identity::{Identity, IdentityConfig, IssuerConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::client::{Connector, Kind};
use super::{Commands, say};
use crate::clock::monotonic;
use crate::error::Error;
use crate::pki::Pki;

/// The name of the role.
pub const NAME: &str = "first";

/// The pause between two attempts to connect: what the figure is exact to.
const PAUSE: Duration = Duration::from_micros(200);

/// The time limit of an attempt to reach the issuer.
const ISSUER_TIMEOUT: Duration = Duration::from_secs(5);

/// The caller's identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// From files, for a channel of this kind.
    Files(Kind, Pki),
    /// From an issuer.
    Issuer {
        /// Its address.
        address: SocketAddr,
        /// The file with the caller's join token.
        token: PathBuf,
    },
}

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// The caller's identity.
    pub source: Source,
}

/// What it says when it has its identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// A command: to call a server that is about to start.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// Where it is going to listen.
    pub address: SocketAddr,
    /// For how long to try, in milliseconds.
    pub milliseconds: u64,
}

/// When the first call was answered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// The time by [`monotonic`], in nanoseconds.
    pub at: u64,
    /// Calls that failed before it, on connections that were accepted.
    pub failed: u32,
}

/// Calls as it is told until the input ends.
///
/// # Errors
/// When it gets no identity, no call is answered in time, or a command is none.
pub async fn run(options: Options) -> Result<(), Error> {
    let connector = match options.source {
        Source::Files(kind, pki) => Connector::new(kind, &pki).await?,
        Source::Issuer { address, token } => Connector::avouch(
            Identity::start(from_issuer(address, token))
                .await
                .map_err(|error| Error::other(avouch_text::with_causes(&error).to_string()))?,
        ),
    };
    say(&Ready {})?;
    let mut commands = Commands::default();
    while let Some(work) = commands.next().await? {
        say(&first(&connector, work).await?)?;
    }
    Ok(())
}

/// The configuration of an identity that an issuer gives for a join token, kept in memory alone.
#[must_use]
pub fn from_issuer(address: SocketAddr, token: PathBuf) -> IdentityConfig {
    IdentityConfig::Issuer(IssuerConfig {
        address: address.to_string(),
        join_token_file: Some(token),
        state_dir: None,
        addresses: Vec::new(),
        timeout: ISSUER_TIMEOUT,
    })
}

async fn first(connector: &Connector, work: Work) -> Result<Done, Error> {
    let (began, mut failed) = (Instant::now(), 0);
    let mut last = "nobody listens".to_owned();
    while began.elapsed() < Duration::from_millis(work.milliseconds) {
        // A channel's own attempts would come after pauses that grow. Nothing else is to be done on this thread.
        if TcpStream::connect(work.address).is_err() {
            std::thread::sleep(PAUSE);
            continue;
        }
        let called =
            async { connector.open(work.address).await?.call(Vec::new(), None).await.map_err(status) };
        match called.await {
            Ok(()) => {
                let at = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
                return Ok(Done { at, failed });
            }
            Err(error) => {
                failed += 1;
                last = error.to_string();
            }
        }
    }
    Err(Error::other(format!("no call was answered within {} ms: {last}", work.milliseconds)))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn status(status: tonic::Status) -> Error {
    Error::other(format!("{:?}: {}", status.code(), status.message()))
}
