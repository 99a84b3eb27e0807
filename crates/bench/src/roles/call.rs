//! A caller: keeps connections open, and on command makes as many calls on them as fit into a time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tonic::Code;

pub use super::client::Kind;
use super::client::{Client, Connector};
use super::{Commands, say};
use crate::error::Error;
use crate::pki::Pki;

/// The name of the role.
pub const NAME: &str = "call";

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// What it is made of.
    pub kind: Kind,
    /// Its certificates.
    pub pki: Pki,
    /// Whom it calls.
    pub address: SocketAddr,
    /// The connections it keeps.
    pub connections: usize,
    /// Whether it is somebody whom the server must turn away: it is ready when that was done.
    #[serde(default)]
    pub denied: bool,
}

/// What it says when all connections have been used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// A command: to make calls.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// For how long new calls begin, in milliseconds.
    pub milliseconds: u64,
    /// Calls under way at the same time on each connection.
    pub in_flight: usize,
    /// Bytes of each message, both ways.
    pub payload: usize,
    /// Messages of the answer of each call; absent: unary calls.
    pub messages: Option<u32>,
    /// Calls in a second, of all together; absent: each begins when the one before has been answered.
    #[serde(default)]
    pub per_second: Option<u32>,
}

/// What became of the calls.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// Calls that were answered.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// From the command to the last answer, in seconds.
    pub seconds: f64,
    /// Half of the calls took no longer, in microseconds.
    pub p50: f64,
    /// 99 % of the calls took no longer.
    pub p99: f64,
    /// 99.9 % of the calls took no longer.
    pub p999: f64,
}

impl Done {
    /// Sums up calls that took these numbers of nanoseconds, within `time` in all.
    pub(super) fn new(mut took: Vec<u64>, failed: u64, time: Duration) -> Self {
        took.sort_unstable();
        let calls = u64::try_from(took.len()).unwrap_or(u64::MAX);
        let at = |per_mille: usize| {
            let index = (took.len() * per_mille / 1_000).min(took.len().saturating_sub(1));
            let nanoseconds = took.get(index).copied();
            nanoseconds.map_or(f64::NAN, |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64() * 1e6)
        };
        let seconds = time.as_secs_f64();
        Self { calls, failed, seconds, p50: at(500), p99: at(990), p999: at(999) }
    }
}

/// Makes calls as it is told until the input ends.
///
/// # Errors
/// When a connection cannot be used, or a command is none.
pub async fn run(options: Options) -> Result<(), Error> {
    let clients = connect(&options).await?;
    for client in &clients {
        let first = client.clone().call(Vec::new(), None).await;
        match first {
            Ok(()) if options.denied => {
                return Err(Error::other("the first call was allowed, and had to be denied"));
            }
            Err(status) if options.denied && status.code() == Code::PermissionDenied => {}
            Err(status) => return Err(Error::other(format!("the first call failed: {status}"))),
            Ok(()) => {}
        }
    }
    say(&Ready {})?;
    let mut commands = Commands::default();
    while let Some(work) = commands.next().await? {
        say(&make(&clients, work).await)?;
    }
    Ok(())
}

async fn connect(options: &Options) -> Result<Vec<Client>, Error> {
    let connector = Connector::new(options.kind, &options.pki).await?;
    let mut clients = Vec::new();
    for _ in 0..options.connections {
        clients.push(connector.open(options.address).await?);
    }
    Ok(clients)
}

/// Calls one after the other, or one in every such time, until the time is over; how long each took in nanoseconds, and how many failed.
async fn make_in_turn(
    mut client: Client,
    work: Work,
    every: Option<Duration>,
    until: Instant,
) -> (Vec<u64>, u64) {
    let payload = vec![7; work.payload];
    let (mut took, mut failed) = (Vec::with_capacity(4_096), 0);
    let mut began = Instant::now();
    let mut due = began;
    while began < until {
        let answered = client.call(payload.clone(), work.messages).await.is_ok();
        let ended = Instant::now();
        if answered {
            took.push(u64::try_from((ended - began).as_nanos()).unwrap_or(u64::MAX));
        } else {
            failed += 1;
        }
        began = ended;
        if let Some(every) = every {
            due += every;
            tokio::time::sleep_until(due.into()).await;
            began = Instant::now();
        }
    }
    (took, failed)
}

async fn make(clients: &[Client], work: Work) -> Done {
    let began = Instant::now();
    let until = began + Duration::from_millis(work.milliseconds);
    let callers = u32::try_from(clients.len() * work.in_flight).unwrap_or(u32::MAX);
    let every = work.per_second.map(|per_second| Duration::from_secs(1) * callers / per_second.max(1));
    let mut workers = tokio::task::JoinSet::new();
    for client in clients {
        for _ in 0..work.in_flight {
            workers.spawn(make_in_turn(client.clone(), work, every, until));
        }
    }
    let (mut took, mut failed) = (Vec::new(), 0);
    while let Some(Ok((times, failures))) = workers.join_next().await {
        took.extend(times);
        failed += failures;
    }
    Done::new(took, failed, began.elapsed())
}
