//! Many clients with a connection each, which stay idle, or come back after all have lost their server at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::Status;

use super::client::{Client, Connector, Kind};
use super::{Commands, say};
use crate::error::Error;
use crate::pki::Pki;

/// The name of the role.
pub const NAME: &str = "clients";

/// Connections that are opened at the same time, where time is not what is measured.
const OPENING: usize = 16;

/// Characters of the message of a failed call that are told.
const MESSAGE: usize = 200;

/// What the clients are made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// What they are made of.
    pub kind: Kind,
    /// Their certificates, which all of them share.
    pub pki: Pki,
    /// Whom they call.
    pub address: SocketAddr,
}

/// What it says when it is there, without a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// A command.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// To have this many clients, each of which has made a call on its connection. Answered by [`Ready`].
    Open {
        /// Clients, with those that were there before.
        clients: usize,
    },
    /// To have every client call until it is answered, all of them at once. Answered by [`Back`].
    Return {
        /// The pause of a client whose call has failed, in milliseconds.
        pause: u64,
        /// The time after which the clients give up, in milliseconds.
        within: u64,
    },
}

/// How the clients came back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Back {
    /// Clients whose call was answered.
    pub back: usize,
    /// From the command until half of the clients were answered, in seconds.
    pub half: f64,
    /// From the command until the last client was answered or gave up, in seconds.
    pub all: f64,
    /// Calls that failed.
    pub failed: u64,
    /// Failed calls by their code, each with the message of one of them.
    pub failures: BTreeMap<String, (u64, String)>,
}

/// Does what it is told until the input ends.
///
/// # Errors
/// When a client cannot open its connection in peace, or a command is none.
pub async fn run(options: Options) -> Result<(), Error> {
    let connector = Arc::new(Connector::new(options.kind, &options.pki).await?);
    let mut clients = Vec::new();
    say(&Ready {})?;
    let mut commands = Commands::default();
    while let Some(work) = commands.next().await? {
        match work {
            Work::Open { clients: wanted } => {
                open(&connector, options.address, &mut clients, wanted).await?;
                say(&Ready {})?;
            }
            Work::Return { pause, within } => {
                let [pause, within] = [pause, within].map(Duration::from_millis);
                say(&come_back(&clients, pause, within).await?)?;
            }
        }
    }
    Ok(())
}

async fn open(
    connector: &Arc<Connector>,
    address: SocketAddr,
    clients: &mut Vec<Client>,
    wanted: usize,
) -> Result<(), Error> {
    let places = Arc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for _ in clients.len()..wanted {
        let (connector, places) = (connector.clone(), places.clone());
        opening.spawn(async move {
            let _place = places.acquire().await;
            let mut client = connector.open(address).await?;
            let called = client.call(Vec::new(), None).await;
            called.map_err(|status| Error::other(format!("the first call failed: {status}")))?;
            Ok::<_, Error>(client)
        });
    }
    while let Some(opened) = opening.join_next().await {
        clients.push(opened.map_err(|error| Error::other(format!("a client: {error}")))??);
    }
    Ok(())
}

async fn come_back(clients: &[Client], pause: Duration, within: Duration) -> Result<Back, Error> {
    let began = Instant::now();
    let mut returning = JoinSet::new();
    for client in clients {
        returning.spawn(until_answered(client.clone(), pause, began + within));
    }
    let (mut answered, mut back) = (Vec::new(), Back::default());
    while let Some(ended) = returning.join_next().await {
        let Return { at, failures } = ended.map_err(|error| Error::other(format!("a client: {error}")))?;
        answered.extend(at.map(|at| at.saturating_duration_since(began).as_secs_f64()));
        for status in failures {
            back.failed += 1;
            let code = format!("{:?}", status.code());
            let message = || avouch_text::shorten_to(status.message(), MESSAGE);
            back.failures.entry(code).or_insert_with(|| (0, message())).0 += 1;
        }
    }
    back.all = began.elapsed().as_secs_f64();
    answered.sort_by(f64::total_cmp);
    back.back = answered.len();
    back.half = answered.get(answered.len() / 2).copied().unwrap_or(f64::NAN);
    Ok(back)
}

/// How a client came back: when it was answered, unless it gave up.
struct Return {
    at: Option<Instant>,
    failures: Vec<Status>,
}

async fn until_answered(mut client: Client, pause: Duration, until: Instant) -> Return {
    let mut failures = Vec::new();
    loop {
        match client.call(Vec::new(), None).await {
            Ok(()) => return Return { at: Some(Instant::now()), failures },
            Err(status) => failures.push(status),
        }
        if Instant::now() >= until {
            return Return { at: None, failures };
        }
        tokio::time::sleep(pause).await;
    }
}
