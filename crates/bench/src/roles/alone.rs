//! Both ends of a connection on one thread, so that its CPU time is what a call costs, and not how lucky the scheduler was.

use std::time::Duration;

use avouch_records::Recorder;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::client::{Client, Connector, Kind};
use super::{Commands, say, serve};
use crate::error::Error;

/// The name of the role, which runs on one thread.
pub const NAME: &str = "alone";

/// The options of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// The server.
    pub server: serve::Options,
    /// The client.
    pub client: Kind,
}

/// What it says when its connection has been used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {}

/// A command: to make calls one after the other.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// Their number.
    pub calls: u32,
    /// Bytes of each message, both ways.
    pub payload: usize,
}

/// What the calls cost.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// CPU time of the thread that has both ends, in microseconds.
    pub thread: f64,
    /// CPU time of the process until all records of the calls were collected and written, in microseconds.
    pub process: f64,
}

/// Makes calls as it is told until the input ends.
///
/// # Errors
/// When a call fails, a record of one is lost, or a command is none.
pub async fn run(options: Options) -> Result<(), Error> {
    let serve::Started { address, recorder } = serve::start(&options.server).await?;
    let mut client = Connector::new(options.client, &options.server.pki).await?.open(address).await?;
    make(&mut client, Work { calls: 1, payload: 0 }).await?;
    say(&Ready {})?;
    let mut commands = Commands::default();
    while let Some(work) = commands.next().await? {
        say(&measure(&mut client, recorder.as_ref(), work).await?)?;
    }
    Ok(())
}

async fn measure(client: &mut Client, recorder: Option<&Recorder>, work: Work) -> Result<Done, Error> {
    let times = || (time(ClockId::ThreadCPUTime), time(ClockId::ProcessCPUTime));
    let (thread, process) = times();
    make(client, work).await?;
    let thread_after = times().0;
    if let Some(recorder) = recorder {
        // The recorder's thread has its share of the cost of a call.
        let recorded = serve::recorded(recorder);
        if recorded != serve::Recorded::default() {
            return Err(Error::other(format!("records were lost: {recorded:?}")));
        }
    }
    let process_after = times().1;
    let took = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e6;
    Ok(Done { thread: took(thread, thread_after), process: took(process, process_after) })
}

async fn make(client: &mut Client, work: Work) -> Result<(), Error> {
    let payload = vec![7; work.payload];
    for _ in 0..work.calls {
        let answer = client.call(payload.clone(), None).await;
        answer.map_err(|status| Error::other(format!("a call failed: {status}")))?;
    }
    Ok(())
}

fn time(clock: ClockId) -> Duration {
    // Neither clock is ever negative.
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}
