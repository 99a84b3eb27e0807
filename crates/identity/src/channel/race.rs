//! A race between the addresses of a name: the first good one is used, and the other attempts are dropped.
//!
//! An address may belong to a machine that has just gone, to a load balancer with nothing behind it, or to somebody
//! else. So the next address is tried as soon as one has failed, or has not advanced for a moment (RFC 8305 §5). The
//! whole attempt is raced, up to the first frame of a server that has proven its identity: an open TCP connection alone
//! does not show that the server is usable.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::addresses::{BadAddresses, no_address};
use super::attempt::{ConnectAttempt, OurSide};
use super::failure::ConnectFailure;

/// The time without progress after which the next address is tried as well ("Connection Attempt Delay", RFC 8305 §5).
const DELAY: Duration = Duration::from_millis(250);
/// The least delay (RFC 8305 §5), where there is little time for many addresses.
const LEAST_DELAY: Duration = Duration::from_millis(10);
/// The most addresses that one connection is tried at. The others have their turn the next time, since these are
/// remembered: a name with a thousand addresses must not cost a thousand handshakes at once.
pub(super) const MOST_TRIED: usize = 16;
/// The divisor of the time limit: once a server has proven its identity and rejected us, the other addresses still have
/// a quarter of the whole time.
const AFTER_A_VERDICT: u32 = 4;

/// An attempt at one address, under way.
pub(super) struct RunningAttempt<'a, T> {
    attempt: Arc<ConnectAttempt>,
    work: Pin<Box<dyn Future<Output = Result<T, ConnectFailure>> + Send + 'a>>,
}

impl<'a, T> RunningAttempt<'a, T> {
    pub(super) fn new(
        attempt: Arc<ConnectAttempt>,
        work: impl Future<Output = Result<T, ConnectFailure>> + Send + 'a,
    ) -> Self {
        Self { attempt, work: Box::pin(work) }
    }
}

/// The time limit of a race.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    pub(super) timeout: Duration,
    pub(super) until: Instant,
}

/// Runs the race. `begin` makes the attempt at an address.
///
/// # Errors
/// When no address is good: the weightiest failure, with the others beside it.
pub(super) async fn race<'a, T>(
    ours: &Arc<OurSide>,
    addresses: Vec<SocketAddr>,
    limit: Limit,
    bad: &BadAddresses,
    begin: impl Fn(SocketAddr) -> RunningAttempt<'a, T>,
) -> Result<T, ConnectFailure> {
    let mut untried = bad.order(addresses);
    let left_out = untried.len().saturating_sub(MOST_TRIED);
    untried.truncate(MOST_TRIED);
    let turns = u32::try_from(untried.len() + 1).unwrap_or(u32::MAX);
    let delay = (limit.timeout / turns).clamp(LEAST_DELAY, DELAY);
    let race = Race { until: limit.until, limit, delay, bad, begin, running: Vec::new(), failed: Vec::new() };
    race.run(untried, left_out).await.map_err(|failure| failure.unwrap_or_else(|| no_address(ours)))
}

struct Race<'a, 'b, T, F> {
    limit: Limit,
    /// The time at which the race ends: the limit, or sooner after a verdict.
    until: Instant,
    delay: Duration,
    bad: &'b BadAddresses,
    begin: F,
    running: Vec<RunningAttempt<'a, T>>,
    failed: Vec<ConnectFailure>,
}

impl<'a, T, F: Fn(SocketAddr) -> RunningAttempt<'a, T>> Race<'a, '_, T, F> {
    /// The error is `None` if there was no address at all.
    async fn run(mut self, untried: Vec<SocketAddr>, left_out: usize) -> Result<T, Option<ConnectFailure>> {
        let mut untried = untried.into_iter();
        self.running.extend(untried.next().map(&self.begin));
        while !self.running.is_empty() {
            let (until, due) = (self.until, self.next_due());
            tokio::select! {
                // A finished attempt first: its outcome counts even if the time is over at the same moment.
                biased;
                (attempt, outcome) = next(&mut self.running) => match outcome {
                    Ok(value) => {
                        self.won(&attempt);
                        return Ok(value);
                    }
                    Err(failure) => {
                        self.lost(failure);
                        self.running.extend(untried.next().map(&self.begin));
                    }
                },
                () = tokio::time::sleep_until(until) => break,
                // An attempt may have advanced meanwhile: then the next address waits for another delay.
                () = tokio::time::sleep_until(due), if untried.len() > 0 => if self.next_due() <= Instant::now() {
                    self.running.extend(untried.next().map(&self.begin));
                }
            }
        }
        let allowed = match self.until == self.limit.until {
            true => self.limit.timeout,
            false => self.limit.timeout.saturating_sub(self.limit.until - self.until),
        };
        for running in std::mem::take(&mut self.running) {
            self.lost(running.attempt.late(allowed));
        }
        Err(ConnectFailure::of_all(self.failed, left_out + untried.len()))
    }

    /// The time at which the next address is tried: once no attempt has advanced for the delay.
    fn next_due(&self) -> Instant {
        let latest = self.running.iter().map(|running| running.attempt.progress.latest()).max();
        latest.unwrap_or_else(Instant::now) + self.delay
    }

    fn lost(&mut self, failure: ConnectFailure) {
        self.bad.remember(&failure);
        if failure.is_verdict() {
            self.until = self.until.min(Instant::now() + self.limit.timeout / AFTER_A_VERDICT);
        }
        self.failed.push(failure);
    }

    fn won(&mut self, winner: &ConnectAttempt) {
        if let Some(address) = winner.tried {
            self.bad.good(address);
        }
        let now = Instant::now();
        for running in &self.running {
            let attempt = &running.attempt;
            // An attempt that advanced within the delay is inconclusive, and its address is not marked as failed.
            if attempt.progress.latest() + self.delay <= now
                && let Some(address) = attempt.tried
            {
                let (_, awaited) = attempt.progress.awaited();
                let said = format!("{address}: {awaited}, while another address was good");
                self.bad.failed(address, said);
            }
        }
        // The caller has a connection and gets no error, so this warning is the only trace of it.
        for failure in self.failed.iter().filter(|failure| failure.is_impostor()) {
            if let Some(address) = failure.attempt.tried.filter(|address| self.bad.warns(*address)) {
                tracing::warn!(
                    target = failure.attempt.ours.target,
                    %address,
                    reason = %failure.reason,
                    detail = failure.detail,
                    "one address of a server leads to somebody else, or to nobody who could prove who it is; another \
                     address is used"
                );
            }
        }
    }
}

/// Waits for the first of the running attempts to finish, removes it, and returns its outcome.
async fn next<T>(
    running: &mut Vec<RunningAttempt<'_, T>>,
) -> (Arc<ConnectAttempt>, Result<T, ConnectFailure>) {
    std::future::poll_fn(|cx| {
        for at in 0..running.len() {
            let Some(next) = running.get_mut(at) else { break };
            if let Poll::Ready(outcome) = next.work.as_mut().poll(cx) {
                return Poll::Ready((running.remove(at).attempt, outcome));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
pub(super) mod tests;
