//! The kills: each hits one process at a moment of the schedule's, drops what it had not synced if power is cut, and
//! starts it again; some hit it once more while it recovers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::powercut::{Fate, PowerCut};
use super::schedule::{Blow, Random, Schedule};
use super::serials;
use crate::setup::{Market, SetupError};

/// Files in a process's directory that are not its own to lose: its log, what the demo hands it, what it tells the
/// demo about where it listens.
const SPARED: [&str; 4] = ["log.jsonl", "join-token", "address.json", "ingress"];

/// When the storm is over: whichever comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    pub(super) kills: Option<u64>,
    pub(super) time: Option<Duration>,
}

/// Kills and what they did.
#[derive(Debug)]
pub(super) struct Storm<'a> {
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

impl<'a> Storm<'a> {
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

    /// How many so far.
    pub(super) fn count(&self) -> u64 {
        self.kills.borrow().values().sum()
    }

    /// How many by process, and what they cost.
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

    /// The certificates that lay in the states of those that were killed.
    pub(super) fn held(&self) -> BTreeSet<String> {
        self.held.borrow().clone()
    }

    /// Kills until it is time to stop.
    pub(super) async fn rage(&self, mut schedule: Schedule, until: Until) -> Result<(), SetupError> {
        let began = tokio::time::Instant::now();
        while until.kills.is_none_or(|kills| self.count() < kills)
            && until.time.is_none_or(|time| began.elapsed() < time)
        {
            self.strike(&schedule.next_blow()).await?;
        }
        Ok(())
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

    /// SIGKILL, and the loss of what was not synced. Whoever has not even been started again yet stays dead.
    async fn kill(&self, name: &'static str) -> Result<(), SetupError> {
        let Some(mut process) = self.market.take(name) else { return Ok(()) };
        let failed = |action: &str| {
            let action = format!("{action} {name}");
            move |source| SetupError::System { action, source }
        };
        process.kill().await.map_err(failed("kill"))?;
        *self.kills.borrow_mut().entry(name).or_default() += 1;
        self.held.borrow_mut().extend(serials::in_state(&self.market.place.state(name)));
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
