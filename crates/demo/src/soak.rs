//! Wears the market down: orders flow without end while processes are killed with SIGKILL at random moments, and with
//! power cuts lose what they had not synced. Then everything is let finish, and audited.
//!
//! What has to hold:
//!
//! * Nothing acknowledged is lost or changed; every order reaches an end; orders, stock, ledger and report agree; each
//!   customer was charged for exactly the completed orders.
//! * Every certificate that any workload was ever seen with is in the issuer's store.
//! * **No call failed that its caller could not safely retry.** A caller can safely retry a call that failed with
//!   UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED or CANCELLED *and* that carries what makes the second
//!   attempt harmless: every call of the shoppers and between the services carries an order ID, a posting ID or a
//!   cursor, or only reads. What counts as not retryable is any other status (NOT_FOUND of an order that was
//!   acknowledged and ALREADY_EXISTS of one's own order included), and an order whose retries come to no end. Shoppers
//!   are counted by what they were answered, services by what their logs say they were.
//! * In the calm after the kills, with certificates renewing all the time, no call fails at all.
//! * Memory and descriptors of every life that was long enough stay flat (`soak::vitals`).
//! * Everybody ends when asked to, and nobody has panicked.
//!
//! Kills, the pauses between them, the orders and what a power cut spares follow from the seed, which is printed. The
//! scheduler of the system does not, so the same seed gives the same plan, not the same interleaving.

mod books;
mod load;
mod logs;
pub mod powercut;
pub mod schedule;
mod serials;
mod storm;
mod verdict;
mod vitals;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avouch_identity::Identity;
use clap::Args;
use tokio::task::JoinSet;

use self::load::{AT_ONCE, Load};
use self::powercut::PowerCut;
use self::schedule::{Random, Schedule};
use self::storm::{Storm, Until};
use self::vitals::Vitals;
use crate::audit::channel;
use crate::checks::Checks;
use crate::console::{Console, Mark};
use crate::facts::Outcome;
use crate::place::{Place, SERVICES};
use crate::run::interrupted;
use crate::setup::{Market, Options, SetupError};
use crate::stopwatch::Stopwatch;

/// How long orders flow if neither a time nor a number of kills is given.
const DEFAULT: Duration = Duration::from_secs(600);

/// Of the time that is given, this share in percent is the storm; the rest is calm.
const STORM: u32 = 60;

/// Between two kills at most, if a number of them is what ends the storm.
const IN_A_HURRY: Duration = Duration::from_millis(500);

/// Between two kills at most, if there is time.
const AT_LEISURE: Duration = Duration::from_secs(8);

/// Ports that the system gives to nobody who asks for just any: whoever is dead must find its port free again.
const PORTS: std::ops::Range<u64> = 20_000..32_000;

/// The longest soak, in seconds: what is added to a time stays a time.
const WEEK: u64 = 7 * 24 * 3600;

/// What this process is called among those whose descriptors are looked at.
const SHOPPERS: &str = "shoppers";

/// How a market is worn down.
#[derive(Debug, Clone, Args)]
// The recipes give some options; those of the user come after them.
#[command(args_override_self = true)]
pub struct SoakOptions {
    /// How long orders flow, in minutes: kills for the first 60 % of it, then calm. Default: 10, or until --kills
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(0..=WEEK / 60))]
    minutes: Option<u64>,
    /// The same in seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=WEEK))]
    seconds: Option<u64>,
    /// Stop killing after so many kills
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    kills: Option<u64>,
    /// Each kill also drops what the process had not synced to its disk (Linux, needs a C compiler)
    #[arg(long)]
    power_cuts: bool,
    /// The life of everybody's certificates in seconds. The shorter, the more are issued while the issuer is killed
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(10..=3600))]
    svid_life: u64,
    /// Makes the same plan of orders, kills and losses again. Default: another one each time
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Where everything is written. Emptied at the start
    #[arg(long, value_name = "DIR", default_value = "target/soak")]
    dir: PathBuf,
}

impl SoakOptions {
    /// How long orders flow; none: until the last kill.
    fn time(&self) -> Option<Duration> {
        let given = self.seconds.or(self.minutes.map(|minutes| minutes * 60)).map(Duration::from_secs);
        given.or(if self.kills.is_none() { Some(DEFAULT) } else { None })
    }

    fn until(&self) -> Until {
        Until { kills: self.kills, time: self.time().map(|time| time * STORM / 100) }
    }

    /// The longest pause between two kills.
    fn apart(&self) -> Duration {
        match (self.time(), self.kills) {
            (Some(time), None) => AT_LEISURE.min(time / 10),
            _ => IN_A_HURRY,
        }
    }
}

/// Wears a market down; whether everything held.
///
/// # Errors
/// What made it impossible to go on. Everything that was started has been ended by then.
pub async fn soak(place: Place, options: SoakOptions, console: &Console) -> Result<bool, SetupError> {
    let watch = Stopwatch::start();
    let seed = options.seed.unwrap_or_else(|| Random::new(watch.now_ns()).next_number());
    let place = place.clone().within(place.root.join(&options.dir));
    let plan = format!("avouch soak: seed {seed}, logs in {}/*/log.jsonl", place.dir.display());
    console.line(Mark::Bold, &plan);
    let checks = Checks::new(console);
    let outcome = tokio::select! {
        outcome = wear_down(place, &options, seed, (console, &checks, watch)) => outcome,
        stopped = interrupted() => Err(stopped),
    };
    let failed = checks.into_all().iter().any(|check| check.outcome == Outcome::Failed);
    if failed || outcome.is_err() {
        console.line(Mark::Failed, &format!("it did not hold; again with --seed {seed}. {plan}"));
    }
    outcome.map(|()| !failed)
}

/// A run under way.
struct Soak<'a> {
    market: &'a Market,
    console: &'a Console,
    checks: &'a Checks<'a>,
    watch: Stopwatch,
    storm: &'a Storm<'a>,
    load: Arc<Load>,
    auditor: Identity,
    vitals: RefCell<Vitals>,
    /// Certificates of the demo's own identities.
    own: Arc<Mutex<BTreeSet<String>>>,
}

async fn wear_down(
    place: Place,
    options: &SoakOptions,
    seed: u64,
    (console, checks, watch): (&Console, &Checks<'_>, Stopwatch),
) -> Result<(), SetupError> {
    console.progress("starting the market");
    let life = Duration::from_secs(options.svid_life);
    let mut set_up = Options { ingress_port: free_port()?, svid_life: Some(life), ..Options::default() };
    let cuts = if options.power_cuts { power_cuts(&place)? } else { BTreeMap::new() };
    for name in ["issuer"].iter().chain(&SERVICES) {
        let mut env = pinned()?;
        env.extend(cuts.get(*name).map(PowerCut::env).into_iter().flatten());
        set_up.each.insert((*name).to_owned(), env);
    }
    let market = Market::start(place, set_up).await?;
    for name in SERVICES {
        // It works off no orders of its own: the shoppers bring them.
        let none = ("AVOUCH_STOREFRONT__ORDERS_FILE".to_owned(), OsString::from("/dev/null"));
        let env = if name == "storefront" { BTreeMap::from([none]) } else { BTreeMap::new() };
        market.service(name, env).await?;
    }
    let dev = market.identity("dev", life).await?;
    let auditor = market.identity("auditor", life).await?;
    let storm = Storm::new(&market, &cuts, seed);
    let load = Load::new(channel(&market, &dev, "storefront").map_err(SetupError::Other)?, seed);
    let own = Arc::new(Mutex::new(BTreeSet::new()));
    let vitals = RefCell::default();
    let soak = Soak { market: &market, console, checks, watch, storm: &storm, load, auditor, vitals, own };
    let watched = soak.watch_over(dev);
    let lived = tokio::select! {
        lived = soak.live(Schedule::new(seed, options.apart()), options) => lived,
        ended = watched => Err(ended),
    };
    if let Err(error) = lived {
        console.progress("ending all processes");
        market.stop().await;
        return Err(error);
    }
    soak.conclude().await
}

impl Soak<'_> {
    /// Storm, calm, and the end of all orders.
    async fn live(&self, schedule: Schedule, options: &SoakOptions) -> Result<(), SetupError> {
        let began = tokio::time::Instant::now();
        let mut shoppers = JoinSet::new();
        for shopper in 0..AT_ONCE {
            shoppers.spawn(Arc::clone(&self.load).shop(shopper));
        }
        self.storm.rage(schedule, options.until()).await?;
        if let Some(left) = options.time().and_then(|time| time.checked_sub(began.elapsed())) {
            // What the last kill has broken is not the calm's.
            let aftermath = crate::restarts::AFTERMATH.min(left);
            tokio::time::sleep(aftermath).await;
            self.load.calm();
            tokio::time::sleep(left - aftermath).await;
        }
        self.load.close();
        while shoppers.join_next().await.is_some() {}
        Ok(())
    }

    /// Looks after everybody once a second: whether they live, what they take, what certificates they have.
    async fn watch_over(&self, dev: Identity) -> SetupError {
        let note = |serial: String| {
            self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(serial);
        };
        let looking = async {
            loop {
                if let Err(ended) = self.market.all_running() {
                    return ended;
                }
                self.look();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            ended = looking => ended,
            () = serials::watch(dev, note) => SetupError::Other("the shoppers' identity has ended".into()),
            () = serials::watch(self.auditor.clone(), note) => {
                SetupError::Other("the auditor's identity has ended".into())
            }
        }
    }

    fn look(&self) {
        let (ms, mut vitals) = (self.watch.ms(), self.vitals.borrow_mut());
        for name in ["issuer"].iter().chain(&SERVICES) {
            if let Ok(address) = self.market.address(name) {
                vitals.look(name, address.pid, ms);
            }
        }
        vitals.look_at_descriptors(SHOPPERS, ms);
        let (orders, kills) = (self.load.seen().told.len(), self.storm.count());
        self.console.progress(&format!("{orders} orders, {kills} kills"));
    }
}

/// A library that keeps what is synced, and for each process what it kept.
fn power_cuts(place: &Place) -> Result<BTreeMap<String, PowerCut>, SetupError> {
    let system = |source| SetupError::System { action: "prepare power cuts".into(), source };
    // Beside the directory, which is emptied at the start.
    let dir = place.dir.with_extension("powercut");
    std::fs::create_dir_all(&dir).map_err(system)?;
    let source = place.root.join("crates/demo/powercut/powercut.c");
    let library = powercut::build(&source, &dir).map_err(system)?;
    let cut = |name: &&str| {
        let cut = PowerCut::new(library.clone(), place.of_process(name), dir.join(name)).map_err(system)?;
        Ok(((*name).to_owned(), cut))
    };
    ["issuer"].iter().chain(&SERVICES).map(cut).collect()
}

/// Two addresses that will be free after each kill.
fn pinned() -> Result<BTreeMap<String, OsString>, SetupError> {
    let mut env = BTreeMap::new();
    for key in ["AVOUCH_SERVICE__LISTEN", "AVOUCH_HEALTH__LISTEN"] {
        env.insert(key.to_owned(), format!("127.0.0.1:{}", free_port()?).into());
    }
    Ok(env)
}

/// A port that nobody has at this moment, from those that nobody is given by chance.
fn free_port() -> Result<u16, SetupError> {
    let mut random = Random::new(Stopwatch::start().now_ns());
    let ports = std::iter::repeat_with(|| PORTS.start + random.below(PORTS.end - PORTS.start));
    let mut ports = ports.take(100).filter_map(|port| u16::try_from(port).ok());
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.ok_or_else(|| SetupError::Other(format!("no port of {PORTS:?} is free")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: SoakOptions,
    }

    fn options(line: &[&str]) -> Result<SoakOptions, clap::Error> {
        Line::try_parse_from(["soak"].iter().chain(line)).map(|line| line.options)
    }

    #[test]
    fn without_a_word_it_takes_ten_minutes_of_which_six_are_storm() {
        let options = options(&[]).unwrap();
        let until = options.until();
        assert_eq!((options.time(), until.time), (Some(DEFAULT), Some(DEFAULT * 6 / 10)));
        assert_eq!((until.kills, options.apart()), (None, AT_LEISURE));
    }

    #[test]
    fn a_number_of_kills_is_enough_to_end_and_the_last_one_counts() {
        for flag in ["--minutes", "--seconds", "--kills", "--svid-life"] {
            for value in ["18446744073709551615", "9223372036854775807", "-1", "nan"] {
                assert!(options(&[&format!("{flag}={value}")]).is_err(), "{flag} {value}");
            }
        }
        let options = options(&["--kills", "7", "--kills", "200"]).unwrap();
        assert_eq!((options.time(), options.until().kills), (None, Some(200)));
        assert_eq!(options.apart(), IN_A_HURRY);
    }

    #[test]
    fn a_time_is_given_once_and_in_numbers() {
        assert_eq!(options(&["--seconds", "40"]).unwrap().apart(), Duration::from_secs(4));
        assert!(options(&["--seconds", "40", "--minutes", "1"]).is_err());
        assert!(options(&["--minutes", "soon"]).is_err());
        assert!(options(&["--power-cut"]).is_err());
        assert!(options(&["--svid-life", "1"]).is_err());
    }

    #[test]
    fn a_free_port_is_not_one_that_anybody_may_be_given() {
        assert!(PORTS.contains(&u64::from(free_port().unwrap())));
    }
}
