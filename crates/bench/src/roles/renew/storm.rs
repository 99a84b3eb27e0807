//! Many workloads that renew within a given time, one after the other.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::Pool;
use crate::error::Error;
use crate::roles::load::{Caller as _, Done, Tally};

/// A command: a storm.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// Workloads that renew once each.
    pub workloads: usize,
    /// Within this time, at equal distances.
    pub milliseconds: u64,
}

/// Lets workloads renew, from the one with the number `first` on. Each opens a connection, as a workload does that has come
/// to the end of the one before, and renews. Its time counts from the moment it was due, so that a renewal that begins
/// late because others wait is slow and not left out.
pub(super) async fn run(pool: &Pool, work: Work, first: usize) -> Result<Done, Error> {
    let began = Instant::now();
    let count = u32::try_from(work.workloads).unwrap_or(u32::MAX).max(1);
    let distance = Duration::from_millis(work.milliseconds) / count;
    let mut renewals = JoinSet::new();
    let mut tally = Tally::default();
    for number in 0..count {
        let due = began + distance * number;
        tokio::time::sleep_until(due.into()).await;
        let mut caller = pool.caller(first + usize::try_from(number).unwrap_or_default())?;
        renewals.spawn(async move {
            let outcome = caller.call().await;
            (due.elapsed(), outcome)
        });
        while let Some(ended) = renewals.try_join_next() {
            add(&mut tally, ended)?;
        }
    }
    while let Some(ended) = renewals.join_next().await {
        add(&mut tally, ended)?;
    }
    Ok(tally.done(began.elapsed()))
}

type Ended = Result<(Duration, Result<(), String>), tokio::task::JoinError>;

fn add(tally: &mut Tally, ended: Ended) -> Result<(), Error> {
    let (took, outcome) = ended.map_err(|error| Error::other(format!("a renewal: {error}")))?;
    tally.add(took, outcome);
    Ok(())
}
