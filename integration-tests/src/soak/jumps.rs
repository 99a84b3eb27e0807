//! Jumps of the wall clock between the kills: a machine that was asleep resumes, one process's clock is set, everybody's
//! goes back. After each, everybody has to serve again within a bound, and no connection may live on beyond its
//! certificates.
//!
//! Nobody is killed meanwhile: what is measured is what the clock did. Each kind comes up in turn; how far it goes and
//! whom it hits follow from the seed. Going back stays within what certificates are backdated by (30 s in `certs/svid.toml`),
//! with all that single clocks are apart: beyond that a fresh certificate is not valid yet, and refusing it is right.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::census::{Census, Moment};
use super::clocks::Clocks;
use super::load::Load;
use super::schedule::Random;
use avouch_demo::paths::SERVICES;
use avouch_demo::setup::SetupError;

/// Within what everybody has to serve again, on a machine that is busy: the jump is noticed within a second, and then
/// everybody asks one issuer for a certificate, which first renews its own.
const BACK: Duration = Duration::from_secs(10);

/// Within what a connection whose certificates have ended has to end: clocks are looked at once a second.
const ENDED: Duration = Duration::from_secs(5);

/// The timeout after which a condition is reported as never fulfilled.
const HOPELESS: Duration = Duration::from_secs(60);

/// How often everybody is asked.
const EVERY: Duration = Duration::from_millis(200);

/// A jump of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Jump {
    /// The machine that everybody runs on was asleep for longer than a certificate lives.
    Resume(Duration),
    /// The clock of one process is set, so many milliseconds from everybody's.
    Step(&'static str, i64),
    /// Everybody's clock is set back.
    Back(Duration),
}

impl Jump {
    /// The jump of a number, where certificates live for `life`.
    pub(super) fn of(number: u64, life: Duration, random: &mut Random) -> Self {
        let seconds = |random: &mut Random, from: u64, to: u64| from + random.below(to - from + 1);
        match number % 3 {
            // No certificate from before lives on, however fresh it is and however far its clock is ahead.
            0 => Self::Resume(life + Duration::from_secs(seconds(random, 15, 45))),
            1 => {
                let names: Vec<_> = ["issuer"].into_iter().chain(SERVICES).collect();
                let name = random.one_of(&names).copied().unwrap_or("issuer");
                let apart = i64::try_from(seconds(random, 2, 5)).unwrap_or(2) * 1_000;
                Self::Step(name, if random.below(2) == 0 { apart } else { -apart })
            }
            _ => Self::Back(Duration::from_secs(seconds(random, 5, 15))),
        }
    }

    fn make(self, clocks: &Clocks) -> std::io::Result<()> {
        let ms = |by: Duration| i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        match self {
            Self::Resume(by) => clocks.move_all(ms(by)),
            Self::Step(name, apart) => clocks.set_one(name, apart),
            Self::Back(by) => clocks.move_all(-ms(by)),
        }
    }
}

impl std::fmt::Display for Jump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Resume(by) => write!(f, "{} s forward for all", by.as_secs()),
            Self::Step(name, apart) => write!(f, "{:+} s for {name}", apart / 1_000),
            Self::Back(by) => write!(f, "{} s back for all", by.as_secs()),
        }
    }
}

/// A jump, and how long it took until what has to hold did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Landed {
    jump: Jump,
    /// Until everybody served again.
    served: Duration,
    /// Until no connection was left that should have ended; else those that were.
    ended: Result<Duration, Vec<String>>,
}

/// Jumps to come, and those that were.
#[derive(Debug)]
pub(super) struct Jumps {
    clocks: Clocks,
    census: Census,
    load: Arc<Load>,
    life: Duration,
    planned: u64,
    random: RefCell<Random>,
    landed: RefCell<Vec<Landed>>,
}

impl Jumps {
    pub(super) fn new(
        (clocks, census): (Clocks, Census),
        load: Arc<Load>,
        (planned, seed): (u64, u64),
        life: Duration,
    ) -> Self {
        // Not the sequence of the kills.
        let random = RefCell::new(Random::new(seed.rotate_left(16)));
        Self { clocks, census, load, life, planned, random, landed: RefCell::default() }
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.landed.borrow().len()).unwrap_or(u64::MAX)
    }

    /// Whether all were made.
    pub(super) fn all_made(&self) -> bool {
        self.count() >= self.planned
    }

    /// Whether it is time for the next, when so many thousandths of the storm are over.
    pub(super) fn is_due(&self, thousandths: u64) -> bool {
        is_due(self.count(), self.planned, thousandths)
    }

    /// Makes the jump, and waits until every process serves again.
    pub(super) async fn jump(&self) -> Result<(), SetupError> {
        let jump = Jump::of(self.count(), self.life, &mut self.random.borrow_mut());
        // From now on a caller may be told that a certificate has ended.
        self.load.set_jumping(true);
        let before = matches!(jump, Jump::Resume(_)).then(|| Moment::now(&self.clocks));
        let made = jump.make(&self.clocks);
        made.map_err(|source| SetupError::System { action: "move the clocks".to_owned(), source })?;
        let landed = self.watch(jump, before).await?;
        self.load.set_jumping(false);
        self.landed.borrow_mut().push(landed);
        Ok(())
    }

    /// Polls until every process serves again and no connection is open that should have ended.
    async fn watch(&self, jump: Jump, before: Option<Moment>) -> Result<Landed, SetupError> {
        let began = Instant::now();
        let (mut served, mut ended) = (None, None);
        loop {
            let serves = match served {
                Some(_) => Ok(()),
                None => self.all_serve(began).await,
            };
            if serves.is_ok() {
                served.get_or_insert(began.elapsed());
            }
            if ended.is_none() {
                ended = match self.census.overdue(&self.clocks, before.as_ref()).await {
                    Ok(overdue) if overdue.is_empty() => Some(Ok(began.elapsed())),
                    Ok(overdue) if began.elapsed() > ENDED => Some(Err(overdue)),
                    // A process that does not answer yet is asked again.
                    Ok(_) | Err(_) => None,
                };
            }
            match (served, ended.take()) {
                (Some(served), Some(ended)) => return Ok(Landed { jump, served, ended }),
                (_, still) => ended = still,
            }
            if began.elapsed() > HOPELESS {
                let last = serves.err().unwrap_or_else(|| "nobody says who is connected".to_owned());
                return Err(SetupError::Other(format!("{HOPELESS:?} after a jump of {jump}: {last}")));
            }
            sleep(EVERY).await;
        }
    }

    /// Whether all processes do, and so does their work for each other: an order that began after the jump is complete.
    async fn all_serve(&self, since: Instant) -> Result<(), String> {
        self.census.all_serve(&self.clocks).await?;
        let newest = self.load.seen().newest_completed;
        match newest {
            Some(began) if began > since => Ok(()),
            _ => Err("no order that began after it is complete".to_owned()),
        }
    }

    /// Whether everybody served again in time, each time.
    pub(super) fn served(&self) -> Result<String, String> {
        let landed = self.landed.borrow();
        let late = landed.iter().filter(|it| it.served > BACK);
        let late: Vec<_> =
            late.map(|it| format!("{}: after {:.1} s", it.jump, it.served.as_secs_f64())).collect();
        let slowest = landed.iter().map(|it| it.served).max().unwrap_or_default();
        let jumps: Vec<_> = landed.iter().map(|it| it.jump.to_string()).collect();
        let said = format!("within {:.1} s; {}", slowest.as_secs_f64(), jumps.join(", "));
        if late.is_empty() { Ok(said) } else { Err(late.join("; ")) }
    }

    /// Whether every connection ended in time, each time.
    pub(super) fn ended(&self) -> Result<String, String> {
        let landed = self.landed.borrow();
        let left = landed.iter().filter_map(|it| Some((it.jump, it.ended.as_ref().err()?)));
        let left: Vec<_> = left
            .map(|(jump, left)| {
                let some: Vec<_> = left.iter().take(3).cloned().collect();
                format!("{jump}: {} live on {ENDED:?} later: {}", left.len(), some.join("; "))
            })
            .collect();
        let slowest =
            landed.iter().filter_map(|it| it.ended.as_ref().ok()).max().copied().unwrap_or_default();
        if left.is_empty() {
            Ok(format!("none {:.1} s after any, or earlier", slowest.as_secs_f64()))
        } else {
            Err(left.join(". "))
        }
    }
}

/// The jumps divide the storm into parts of one length; none comes at its beginning.
fn is_due(made: u64, planned: u64, thousandths: u64) -> bool {
    made < planned && thousandths.saturating_mul(planned + 1) >= (made + 1) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(20);

    fn jumps(seed: u64, count: u64) -> Vec<Jump> {
        let mut random = Random::new(seed);
        (0..count).map(|number| Jump::of(number, LIFE, &mut random)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_jumps_and_every_kind_comes_up() {
        assert_eq!(jumps(7, 30), jumps(7, 30));
        assert_ne!(jumps(7, 30), jumps(8, 30));
        assert!(matches!(jumps(7, 3)[..], [Jump::Resume(_), Jump::Step(..), Jump::Back(_)]));
    }

    #[test]
    fn a_resumed_machine_has_no_certificate_left_and_a_clock_that_goes_back_makes_none_invalid() {
        const BACKDATED: u64 = 30;
        let (mut back, mut apart) = (0, 0);
        for jump in jumps(3, 3_000) {
            match jump {
                // The issuer's clock may have been ahead by so much when it issued the last one.
                Jump::Resume(by) => assert!(by >= LIFE + Duration::from_secs(15)),
                Jump::Step(_, by) => apart = apart.max(by.unsigned_abs() / 1_000),
                Jump::Back(by) => back = back.max(by.as_secs()),
            }
        }
        assert_eq!((apart, back), (5, 15));
        assert!(back + 2 * apart < BACKDATED);
    }

    #[test]
    fn jumps_are_spread_over_the_storm() {
        let due = |thousandths| (0..4).take_while(|made| is_due(*made, 3, thousandths)).count();
        assert_eq!([0, 249, 250, 500, 750, 1_000].map(due), [0, 0, 1, 2, 3, 3]);
        assert!(!is_due(0, 0, 1_000));
    }
}
