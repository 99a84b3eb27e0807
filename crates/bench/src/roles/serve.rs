//! A server of the echo service: bare tonic, or avouch's library as a user's program would set it up by hand.
//!
//! A program on the service shell is `avouch-bench-service`: it is measured as such programs are shipped.

use std::net::SocketAddr;
use std::path::PathBuf;

use avouch_records::Recorder;
use serde::{Deserialize, Serialize};

use super::bare::Tls;
pub use super::library::policy;
use super::library::{self, Around};
use super::{Commands, bare, listen, say};
use crate::error::Error;
use crate::pki::Pki;

/// The name of the role.
pub const NAME: &str = "serve";

/// What the server is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// tonic without TLS.
    H2c,
    /// tonic over TLS by webpki, without client certificates.
    OneWay,
    /// tonic over mutual TLS by webpki, without identity and authorization.
    Tonic,
    /// The same, with tickets for session resumption.
    Resumed,
    /// avouch's server, with the caller's identity and the role check of every call.
    Avouch,
    /// The same, with metrics of every call.
    AvouchMetrics,
    /// The same, with metrics, and records in memory.
    AvouchRecords,
    /// The same, with metrics, and every decision in a file.
    AvouchRecordFile,
}

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// What it is made of.
    pub kind: Kind,
    /// Its certificates.
    pub pki: Pki,
    /// Where it listens; absent: on a port of loopback that is free.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// The directory of its records; absent: none are written to files.
    #[serde(default)]
    pub dir: Option<PathBuf>,
}

impl Options {
    /// A server on a port of loopback that is free, without files.
    #[must_use]
    pub fn new(kind: Kind, pki: &Pki) -> Self {
        Self { kind, pki: pki.clone(), listen: None, dir: None }
    }
}

/// What it says when it is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
}

/// A command: to tell what became of its records.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Query {}

/// What became of the records of all calls so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Those that were dropped.
    pub dropped: u64,
    /// Why the file could not be written; empty if it could.
    pub problem: String,
}

/// Serves until the input ends.
///
/// # Errors
/// When it cannot begin.
pub async fn run(options: Options) -> Result<(), Error> {
    let Started { address, recorder } = start(&options).await?;
    say(&Ready { address })?;
    let mut commands = Commands::default();
    while let Some(Query {}) = commands.next().await? {
        say(&recorder.as_ref().map(recorded).unwrap_or_default())?;
    }
    Ok(())
}

/// A server that serves for as long as the runtime lives.
#[derive(Debug)]
pub(crate) struct Started {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What records its calls, if anything does.
    pub(crate) recorder: Option<Recorder>,
}

/// Starts a server.
///
/// # Errors
/// When it cannot begin.
pub(crate) async fn start(options: &Options) -> Result<Started, Error> {
    let (listener, address) = listen(options.listen)?;
    let tls = match options.kind {
        Kind::OneWay => Some(Tls::OneWay),
        Kind::Tonic => Some(Tls::Mutual),
        Kind::Resumed => Some(Tls::Resumed),
        _ => None,
    };
    let provider = || avouch_identity::crypto_provider().clone();
    let tls = tls.map(|tls| bare::server_config(&options.pki, tls, provider())).transpose()?;
    let around = match options.kind {
        Kind::H2c | Kind::OneWay | Kind::Tonic | Kind::Resumed => {
            bare::serve(listener, tls);
            return Ok(Started { address, recorder: None });
        }
        Kind::Avouch => Around::Nothing,
        Kind::AvouchMetrics => Around::Metrics,
        Kind::AvouchRecords => Around::Records,
        Kind::AvouchRecordFile => {
            let dir = options.dir.as_deref();
            Around::RecordFile(dir.ok_or_else(|| Error::other("no directory for the records"))?)
        }
    };
    let recorder = library::serve(listener, &options.pki, around).await?;
    Ok(Started { address, recorder })
}

/// What became of a recorder's records, with those that still wait to be written.
pub(super) fn recorded(recorder: &Recorder) -> Recorded {
    recorder.finish();
    let state = recorder.state();
    Recorded { dropped: state.dropped, problem: state.problem }
}
