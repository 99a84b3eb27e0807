//! Callers that each make their next call when the last one was answered, and what became of the calls.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::error::Error;

/// A command: to make calls.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// Callers, each with one call under way.
    pub callers: usize,
    /// For how long new calls begin, in milliseconds.
    pub milliseconds: u64,
}

/// What became of the calls.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// Calls that were answered.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// What the first of them failed with.
    pub failure: Option<String>,
    /// From the command to the last answer, in seconds.
    pub seconds: f64,
    /// Half of the calls took no longer, in milliseconds; 0 if none was answered.
    pub p50: f64,
    /// 99 % of the calls took no longer.
    pub p99: f64,
    /// What the one who answered has on record of these calls.
    #[serde(default)]
    pub recorded: u64,
}

impl Done {
    /// The calls as a number to divide by.
    #[must_use]
    pub fn count(&self) -> f64 {
        f64::from(u32::try_from(self.calls).unwrap_or(u32::MAX))
    }

    /// Refuses figures of calls that failed, or of which something else is on record than was answered.
    ///
    /// # Errors
    /// When that is so; `name` says whose calls they are.
    pub fn check(&self, name: &str) -> Result<(), Error> {
        let Self { calls, failed, recorded, .. } = self;
        if let Some(failure) = &self.failure {
            return Err(Error::other(format!("{name}: {failed} calls failed, {calls} did not: {failure}")));
        }
        if calls != recorded || *calls == 0 {
            return Err(Error::other(format!(
                "{name}: {calls} calls were answered, {recorded} are on record"
            )));
        }
        Ok(())
    }
}

/// How long calls took, and how they failed.
#[derive(Debug, Default)]
pub struct Tally {
    nanoseconds: Vec<u64>,
    failed: u64,
    failure: Option<String>,
}

impl Tally {
    /// Adds a call that took so long.
    pub fn add(&mut self, took: Duration, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.nanoseconds.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)),
            Err(why) => {
                self.failed += 1;
                self.failure.get_or_insert(why);
            }
        }
    }

    /// Adds the calls of another.
    pub fn merge(&mut self, other: Self) {
        self.nanoseconds.extend(other.nanoseconds);
        self.failed += other.failed;
        self.failure = self.failure.take().or(other.failure);
    }

    /// The sum, after so long.
    #[must_use]
    pub fn done(mut self, elapsed: Duration) -> Done {
        self.nanoseconds.sort_unstable();
        let calls = u64::try_from(self.nanoseconds.len()).unwrap_or(u64::MAX);
        let (p50, p99) = (self.milliseconds(500), self.milliseconds(990));
        let Self { failed, failure, .. } = self;
        Done { calls, failed, failure, seconds: elapsed.as_secs_f64(), p50, p99, recorded: 0 }
    }

    fn milliseconds(&self, per_mille: usize) -> f64 {
        let last = self.nanoseconds.len().saturating_sub(1);
        let at = (self.nanoseconds.len() * per_mille / 1_000).min(last);
        let found = self.nanoseconds.get(at);
        Duration::from_nanos(found.copied().unwrap_or_default()).as_secs_f64() * 1e3
    }
}

/// Somebody who makes one call after the other.
pub trait Caller: Send + 'static {
    /// Makes a call; why it failed, if it did.
    fn call(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Lets the first `work.callers` of `callers` make calls; there have to be as many.
///
/// # Errors
/// When one of them panicked.
pub async fn closed_loops<C: Caller>(callers: &mut Vec<C>, work: Work) -> Result<Done, Error> {
    let began = Instant::now();
    let until = began + Duration::from_millis(work.milliseconds);
    let mut loops = JoinSet::new();
    for mut caller in callers.drain(..work.callers.min(callers.len())) {
        loops.spawn(async move {
            let tally = in_turn(&mut caller, until).await;
            (caller, tally)
        });
    }
    let mut all = Tally::default();
    let mut back = Vec::new();
    while let Some(ended) = loops.join_next().await {
        let (caller, tally) = ended.map_err(|error| Error::other(format!("a caller: {error}")))?;
        all.merge(tally);
        back.push(caller);
    }
    callers.splice(..0, back);
    Ok(all.done(began.elapsed()))
}

async fn in_turn(caller: &mut impl Caller, until: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut began = Instant::now();
    while began < until {
        let outcome = caller.call().await;
        let ended = Instant::now();
        tally.add(ended - began, outcome);
        began = ended;
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_calls_that_were_answered() {
        let mut tally = Tally::default();
        for milliseconds in (1..=200).rev() {
            tally.add(Duration::from_millis(milliseconds), Ok(()));
        }
        tally.add(Duration::from_secs(9), Err("no".to_owned()));
        let done = tally.done(Duration::from_secs(2));
        assert_eq!((done.calls, done.failed, done.failure.as_deref()), (200, 1, Some("no")));
        assert!((done.p50 - 101.0).abs() < 1e-9 && (done.p99 - 199.0).abs() < 1e-9, "{done:?}");
    }

    #[test]
    fn figures_of_failed_or_unrecorded_calls_are_refused() {
        let done = |outcome, recorded| {
            let mut tally = Tally::default();
            tally.add(Duration::ZERO, Ok(()));
            tally.add(Duration::ZERO, outcome);
            Done { recorded, ..tally.done(Duration::ZERO) }.check("it").err().map(|error| error.to_string())
        };
        assert_eq!(done(Ok(()), 2), None);
        assert_eq!(done(Ok(()), 1).as_deref(), Some("it: 2 calls were answered, 1 are on record"));
        let failed = done(Err("why".to_owned()), 1);
        assert_eq!(failed.as_deref(), Some("it: 1 calls failed, 1 did not: why"));
    }

    struct Counter(u32);

    impl Caller for Counter {
        async fn call(&mut self) -> Result<(), String> {
            self.0 += 1;
            tokio::task::yield_now().await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn only_as_many_callers_as_asked_for_make_calls_and_all_are_kept() {
        let mut callers = vec![Counter(0), Counter(0), Counter(0)];
        let done = closed_loops(&mut callers, Work { callers: 2, milliseconds: 5 }).await.unwrap();
        let made: Vec<_> = callers.iter().map(|caller| u64::from(caller.0)).collect();
        assert!(made[0] > 0 && made[1] > 0 && made[2] == 0, "{made:?}");
        assert_eq!(done.calls, made.iter().sum::<u64>());
    }
}
