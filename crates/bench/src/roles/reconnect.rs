//! A caller that opens a connection for each call: several workers, each opening, calling once and closing in turn.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::call::Done;
use super::client::{Connector, Kind};
use super::{Commands, say};
use crate::error::Error;
use crate::pki::Pki;

/// The name of the role.
pub const NAME: &str = "reconnect";

/// Bytes of the message of each call, both ways.
const PAYLOAD: usize = 128;

/// What the caller is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// What it is made of.
    pub kind: Kind,
    /// Its certificates.
    pub pki: Pki,
    /// Whom it calls.
    pub address: SocketAddr,
}

/// What it says when a first call has been answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// A command: to open connections. It is answered by [`Done`], whose times are those from the beginning of a connection to
/// the answer of its call.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// For how long new connections begin, in milliseconds.
    pub milliseconds: u64,
    /// Connections that are open at the same time.
    pub workers: usize,
}

/// Opens connections as it is told until the input ends.
///
/// # Errors
/// When a connection or a call fails, or a command is none.
pub async fn run(options: Options) -> Result<(), Error> {
    let connector = Arc::new(Connector::new(options.kind, &options.pki).await?);
    once(&connector, options.address).await?;
    say(&Ready {})?;
    let mut commands = Commands::default();
    while let Some(work) = commands.next().await? {
        say(&make(&connector, options.address, work).await?)?;
    }
    Ok(())
}

async fn make(connector: &Arc<Connector>, address: SocketAddr, work: Work) -> Result<Done, Error> {
    let began = Instant::now();
    let until = began + Duration::from_millis(work.milliseconds);
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..work.workers {
        let connector = connector.clone();
        workers.spawn(async move {
            let mut took = Vec::with_capacity(1_024);
            let mut began = Instant::now();
            while began < until {
                once(&connector, address).await?;
                let ended = Instant::now();
                took.push(u64::try_from((ended - began).as_nanos()).unwrap_or(u64::MAX));
                began = ended;
            }
            Ok::<_, Error>(took)
        });
    }
    let mut took = Vec::new();
    while let Some(ended) = workers.join_next().await {
        took.extend(ended.map_err(|error| Error::other(format!("a worker: {error}")))??);
    }
    Ok(Done::new(took, 0, began.elapsed()))
}

/// Opens a connection, makes a call on it, and closes it.
async fn once(connector: &Connector, address: SocketAddr) -> Result<(), Error> {
    let mut client = connector.open(address).await?;
    let called = client.call(vec![7; PAYLOAD], None).await;
    called.map_err(|status| Error::other(format!("the call on a new connection failed: {status}")))
}
