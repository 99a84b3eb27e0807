//! The kills: each hits one process at a moment of the schedule's, drops what it had not synced if power is cut, and
//! starts it again; some hit it once more while it recovers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::jumps::Jumps;
use super::powercut::{Fate, PowerCut};
use super::schedule::{Blow, Random, Schedule};
use super::serials;
use avouch_demo::setup::{Market, SetupError};

/// Files in a process's directory that a power cut does not affect: its log, the files that the demo gives it, and the
/// addresses that it reports to the demo.
const SPARED: [&str; 4] = ["log.jsonl", "join-token", "address.json", "ingress"];

/// The end of the kills: a number of them or a time, whichever comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    pub(super) kills: Option<u64>,
    pub(super) time: Option<Duration>,
}

impl Until {
    /// The part of the kills that is over, in thousandths: all of it from 1,000 on.
    fn thousandths(self, kills: u64, time: Duration) -> u64 {
        let share = |done: u128, all: u128| (done * 1_000).checked_div(all).unwrap_or(1_000);
        let kills = self.kills.map_or(0, |all| share(kills.into(), all.into()));
        let time = self.time.map_or(0, |all| share(time.as_micros(), all.as_micros()));
        u64::try_from(kills.max(time)).unwrap_or(u64::MAX)
    }
}

/// The kills of a run, and their effects.
#[derive(Debug)]
pub(super) struct KillStorm<'a> {
    market: &'a Market,
    /// By process; empty when nothing is dropped.
    cuts: &'a BTreeMap<String, PowerCut>,
    random: RefCell<Random>,
    kills: RefCell<BTreeMap<&'static str, u64>>,
    lost: Cell<u64>,
    biting: Cell<u64>,
    slowest: Cell<Duration>,
    held: RefCell<BTreeSet<String>>,
}

impl<'a> KillStorm<'a> {
    pub(super) fn new(market: &'a Market, cuts: &'a BTreeMap<String, PowerCut>, seed: u64) -> Self {
        Self {
            market,
            cuts,
            random: RefCell::new(Random::new(seed)),
            kills: RefCell::default(),
            lost: Cell::new(0),
            biting: Cell::new(0),
            slowest: Cell::default(),
            held: RefCell::default(),
        }
    }

    /// The number of kills so far.
    pub(super) fn count(&self) -> u64 {
        self.kills.borrow().values().sum()
    }

    /// The kills of each process, the longest time until one was back, and what power cuts lost.
    pub(super) fn summary(&self) -> String {
        let kills: Vec<_> =
            self.kills.borrow().iter().map(|(name, count)| format!("{name} {count}")).collect();
        let mut text = format!("{}; back within {} ms", kills.join(", "), self.slowest.get().as_millis());
        if !self.cuts.is_empty() {
            text.push_str(&format!(
                "; {} cuts lost something, {} files in all",
                self.biting.get(),
                self.lost.get()
            ));
        }
        text
    }

    /// The certificates that were in the state directories of the killed processes.
    pub(super) fn held(&self) -> BTreeSet<String> {
        self.held.borrow().clone()
    }

    /// Kills until it is time to stop, with the jumps of the clock between the kills.
    pub(super) async fn rage(
        &self,
        mut schedule: Schedule,
        until: Until,
        jumps: Option<&Jumps>,
    ) -> Result<(), SetupError> {
        let began = tokio::time::Instant::now();
        loop {
            let over = until.thousandths(self.count(), began.elapsed());
            match jumps {
                // Jumps for which there was no time between the kills are made after them.
                Some(jumps) if jumps.is_due(over) || (over >= 1_000 && !jumps.all_made()) => {
                    jumps.jump().await?
                }
                _ if over >= 1_000 => return Ok(()),
                _ => self.strike(&schedule.next_blow()).await?,
            }
        }
    }

    async fn strike(&self, blow: &Blow) -> Result<(), SetupError> {
        tokio::time::sleep(blow.after).await;
        self.kill(blow.victim).await?;
        let began = tokio::time::Instant::now();
        if let Some(again) = blow.again {
            tokio::select! {
                back = self.market.again(blow.victim) => back?,
                () = tokio::time::sleep(again) => {}
            }
            self.kill(blow.victim).await?;
        }
        self.market.again(blow.victim).await?;
        if blow.victim == "issuer" {
            self.market.admin_answers().await?;
        }
        self.slowest.set(self.slowest.get().max(began.elapsed()));
        Ok(())
    }

    /// Sends SIGKILL and drops what was not synced. A process that has not been started again yet is left as it is.
    async fn kill(&self, name: &'static str) -> Result<(), SetupError> {
        let Some(mut process) = self.market.take(name) else { return Ok(()) };
        let failed = |action: &str| {
            let action = format!("{action} {name}");
            move |source| SetupError::System { action, source }
        };
        process.kill().await.map_err(failed("kill"))?;
        *self.kills.borrow_mut().entry(name).or_default() += 1;
        self.held.borrow_mut().extend(serials::in_state(&self.market.paths.state(name)));
        if let Some(cut) = self.cuts.get(name) {
            let lost = self.cut(cut).map_err(failed("cut the power of"))?;
            self.lost.set(self.lost.get() + lost);
            self.biting.set(self.biting.get() + u64::from(lost > 0));
        }
        Ok(())
    }

    /// Half of the cuts lose all they can; in the others each thing that was not synced has a chance of its own.
    fn cut(&self, cut: &PowerCut) -> std::io::Result<u64> {
        let mut random = self.random.borrow_mut();
        let all = random.below(2) == 0;
        let fate = || if all || random.below(2) == 0 { Fate::Lost } else { Fate::Kept };
        cut.pull(&SPARED, fate).map(|lost| u64::try_from(lost).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_over_when_its_time_or_its_kills_are() {
        let (kills, time) = (Some(200), Some(Duration::from_secs(30)));
        let over = |kills, time, count, seconds| {
            Until { kills, time }.thousandths(count, Duration::from_secs(seconds))
        };
        assert_eq!([over(kills, None, 50, 9_999), over(kills, None, 200, 0)], [250, 1_000]);
        assert_eq!([over(None, time, 9_999, 15), over(None, time, 0, 31)], [500, 1_033]);
        assert_eq!(over(kills, time, 100, 6), 500);
        assert_eq!([over(Some(0), None, 0, 0), over(None, Some(Duration::ZERO), 0, 0)], [1_000, 1_000]);
    }
}
