//! The soak test of the market: orders are placed continuously while processes are killed with SIGKILL at random
//! moments and, with power cuts, lose what they had not synced. Then all orders are allowed to finish, and the result
//! is audited.
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
//! * After a jump of the wall clock (`soak::jumps`) everybody serves again within a bound, no connection lives on beyond
//!   its certificates, and nobody is taken for an attacker. Until then a caller may also be told that a certificate has
//!   ended, and calls again.
//! * Memory and descriptors of every life that was long enough stay flat (`soak::memory`).
//! * Everybody ends when asked to, and nobody has panicked.
//!
//! Kills, the pauses between them, the orders and what a power cut spares follow from the seed, which is printed. The
//! scheduler of the system does not, so the same seed gives the same plan, not the same interleaving.

mod books;
mod census;
pub mod clocks;
mod jumps;
mod kill_storm;
mod load;
mod logs;
mod memory;
mod ports;
pub mod powercut;
pub mod preload;
pub mod schedule;
mod serials;
mod verdict;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avouch_identity::Identity;
use clap::Args;
use tokio::task::JoinSet;

use self::census::Census;
use self::clocks::Clocks;
use self::jumps::Jumps;
use self::kill_storm::{KillStorm, Until};
use self::load::{AT_ONCE, Load};
use self::memory::Memory;
use self::ports::Ports;
use self::powercut::PowerCut;
use self::schedule::{Random, Schedule};
use avouch_demo::audit::channel;
use avouch_demo::checks::Checks;
use avouch_demo::console::{Console, Mark};
use avouch_demo::facts::{Check, Outcome};
use avouch_demo::paths::{Paths, SERVICES};
use avouch_demo::setup::{Market, Options, SetupError};
use avouch_demo::signals::interrupted;
use avouch_demo::stopwatch::Stopwatch;

/// How long orders flow if neither a time nor a number of kills is given.
const DEFAULT: Duration = Duration::from_secs(600);

/// The percentage of the given time in which processes are killed; the rest is calm.
const STORM: u32 = 60;

/// The longest pause between two kills if a number of them ends the run.
const IN_A_HURRY: Duration = Duration::from_millis(500);

/// The longest pause between two kills if a time ends the run.
const AT_LEISURE: Duration = Duration::from_secs(8);

/// The longest soak, in seconds: short enough that no addition to a time overflows.
const WEEK: u64 = 7 * 24 * 3600;

/// Jumps of the clock, if nobody says how many: each kind once, and more if there is time.
const JUMPS: u64 = 3;

/// The records of each kind that processes remember where the clock jumps: enough for all connections that are open, and
/// few, since everybody is asked for them again and again.
const RECORDS: &str = "128";

/// The name of this process among those whose file descriptors are sampled.
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
    /// The wall clock jumps so often between the kills (Linux, needs a C compiler). Default: 3, or one a minute of the
    /// kills; none with --kills
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    clock_jumps: Option<u64>,
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

    /// The number of jumps of the clock.
    fn jumps(&self) -> u64 {
        let minutes = self.until().time.map_or(0, |time| time.as_secs() / 60);
        self.clock_jumps.unwrap_or(if self.kills.is_some() { 0 } else { JUMPS.max(minutes) })
    }

    /// The longest pause between two kills.
    fn apart(&self) -> Duration {
        match (self.time(), self.kills) {
            (Some(time), None) => AT_LEISURE.min(time / 10),
            _ => IN_A_HURRY,
        }
    }
}

/// Runs a soak test; returns whether every check held.
///
/// # Errors
/// What made it impossible to go on. Everything that was started has been ended by then.
pub async fn soak(paths: Paths, options: SoakOptions, console: &Console) -> Result<bool, SetupError> {
    let watch = Stopwatch::start();
    let seed = options.seed.unwrap_or_else(|| Random::new(watch.now_ns()).next_number());
    let paths = paths.clone().within(paths.root.join(&options.dir));
    let plan = format!("avouch soak: seed {seed}, logs in {}/*/log.jsonl", paths.dir.display());
    console.line(Mark::Bold, &plan);
    let checks = Checks::new(console);
    let outcome = tokio::select! {
        outcome = wear_down(paths, &options, seed, (console, &checks, watch)) => outcome,
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
    storm: &'a KillStorm<'a>,
    jumps: Option<&'a Jumps>,
    load: Arc<Load>,
    auditor: Identity,
    vitals: RefCell<Memory>,
    /// Certificates of the demo's own identities.
    own: Arc<Mutex<BTreeSet<String>>>,
}

async fn wear_down(
    paths: Paths,
    options: &SoakOptions,
    seed: u64,
    (console, checks, watch): (&Console, &Checks<'_>, Stopwatch),
) -> Result<(), SetupError> {
    console.progress("starting the market");
    let life = Duration::from_secs(options.svid_life);
    // Drawn afresh for every run, not from the seed: two runs with one seed may stand side by side.
    let mut ports = Ports::new(Random::new(watch.now_ns()));
    let mut set_up = Options { ingress_port: ports.choose()?, svid_life: Some(life), ..Options::default() };
    let cuts = if options.power_cuts { power_cuts(&paths)? } else { BTreeMap::new() };
    let clocks = clocks(&paths, options, checks)?;
    set_up.clock = clocks.as_ref().map(Clocks::everybody);
    for name in ["issuer"].iter().chain(&SERVICES) {
        let mut env = pinned(&mut ports)?;
        preload::add(&mut env, cuts.get(*name).map(PowerCut::env).into_iter().flatten());
        if let Some(clocks) = &clocks {
            preload::add(&mut env, clocks.env(name));
            env.insert("AVOUCH_RECORDS__KEEP".to_owned(), RECORDS.into());
        }
        set_up.each.insert((*name).to_owned(), env);
    }
    let market = Market::start(paths, set_up).await?;
    for name in SERVICES {
        // The storefront gets no orders of its own: the shoppers place them.
        let none = ("AVOUCH_STOREFRONT__ORDERS_FILE".to_owned(), OsString::from("/dev/null"));
        let env = if name == "storefront" { BTreeMap::from([none]) } else { BTreeMap::new() };
        market.service(name, env).await?;
    }
    let dev = market.identity("dev", life).await?;
    let auditor = market.identity("auditor", life).await?;
    let storm = KillStorm::new(&market, &cuts, seed);
    let load = Load::new(channel(&market, &dev, "storefront").map_err(SetupError::Other)?, seed);
    let jumps = match clocks {
        Some(clocks) => {
            let census = Census::new(&market, &market.operator().await?).map_err(SetupError::Other)?;
            Some(Jumps::new((clocks, census), load.clone(), (options.jumps(), seed), life))
        }
        None => None,
    };
    let jumps = jumps.as_ref();
    let own = Arc::new(Mutex::new(BTreeSet::new()));
    let vitals = RefCell::default();
    let soak =
        Soak { market: &market, console, checks, watch, storm: &storm, jumps, load, auditor, vitals, own };
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
    /// The kills, the calm after them, and the end of all orders.
    async fn live(&self, schedule: Schedule, options: &SoakOptions) -> Result<(), SetupError> {
        let began = tokio::time::Instant::now();
        let mut shoppers = JoinSet::new();
        for shopper in 0..AT_ONCE {
            shoppers.spawn(Arc::clone(&self.load).shop(shopper));
        }
        self.storm.rage(schedule, options.until(), self.jumps).await?;
        if let Some(left) = options.time().and_then(|time| time.checked_sub(began.elapsed())) {
            // Failures caused by the last kill are not counted as failures in the calm.
            let aftermath = avouch_demo::restarts::AFTERMATH.min(left);
            tokio::time::sleep(aftermath).await;
            self.load.calm();
            tokio::time::sleep(left - aftermath).await;
        }
        self.load.close();
        while shoppers.join_next().await.is_some() {}
        Ok(())
    }

    /// Samples every process once a second: whether it runs, its memory and descriptors, and its certificates.
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
        let jumps = self.jumps.map_or(0, Jumps::count);
        self.console.progress(&format!("{orders} orders, {kills} kills, {jumps} jumps of the clock"));
    }
}

/// Builds the preloaded library that copies what is synced, and prepares each process's copy.
fn power_cuts(paths: &Paths) -> Result<BTreeMap<String, PowerCut>, SetupError> {
    let system = |source| SetupError::System { action: "prepare power cuts".into(), source };
    let (library, dir) = library(paths, "powercut").map_err(system)?;
    let cut = |name: &&str| {
        let cut = PowerCut::new(library.clone(), paths.of_process(name), dir.join(name)).map_err(system)?;
        Ok(((*name).to_owned(), cut))
    };
    ["issuer"].iter().chain(&SERVICES).map(cut).collect()
}

/// The clocks that can jump, if jumps are wanted. Where nothing can be preloaded, jumps are left out and reported as
/// skipped, unless they were asked for explicitly.
fn clocks(paths: &Paths, options: &SoakOptions, checks: &Checks<'_>) -> Result<Option<Clocks>, SetupError> {
    if options.jumps() == 0 {
        return Ok(None);
    }
    let made = library(paths, "clockjump").and_then(|(library, dir)| {
        Clocks::new(library, dir.join("clocks"), ["issuer"].into_iter().chain(SERVICES))
    });
    match made {
        Ok(clocks) => Ok(Some(clocks)),
        Err(error) if options.clock_jumps.is_none() => {
            let claim = "everybody serves again after each jump of the clock".to_owned();
            let detail = format!("the clock cannot jump: {error}");
            checks.add(Check { claim, outcome: Outcome::Skipped, detail });
            Ok(None)
        }
        Err(source) => Err(SetupError::System { action: "prepare jumps of the clock".into(), source }),
    }
}

/// Builds `integration-tests/preload/NAME.c`; the library, and the directory it is in.
fn library(paths: &Paths, name: &str) -> std::io::Result<(PathBuf, PathBuf)> {
    // Beside the directory of the run, which is emptied at the start.
    let dir = paths.dir.with_extension(name);
    std::fs::create_dir_all(&dir)?;
    let source = paths.root.join("integration-tests/preload").join(name).with_extension("c");
    // Absolute: a process may have another working directory.
    Ok((preload::build(&source, &dir.canonicalize()?)?, dir.canonicalize()?))
}

/// Addresses for the two listeners of a process that stay its own over all kills.
fn pinned(ports: &mut Ports) -> Result<BTreeMap<String, OsString>, SetupError> {
    let mut env = BTreeMap::new();
    for key in ["AVOUCH_SERVICE__LISTEN", "AVOUCH_HEALTH__LISTEN"] {
        env.insert(key.to_owned(), format!("127.0.0.1:{}", ports.choose()?).into());
    }
    Ok(env)
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
    fn the_clock_jumps_unless_kills_are_counted_or_somebody_says_otherwise() {
        let jumps = |line: &[&str]| options(line).unwrap().jumps();
        assert_eq!([jumps(&[]), jumps(&["--minutes", "20"]), jumps(&["--seconds", "45"])], [6, 12, 3]);
        assert_eq!([jumps(&["--kills", "200"]), jumps(&["--kills", "9", "--clock-jumps", "2"])], [0, 2]);
        assert_eq!(jumps(&["--clock-jumps", "0"]), 0);
    }

    #[test]
    fn a_time_is_given_once_and_in_numbers() {
        assert_eq!(options(&["--seconds", "40"]).unwrap().apart(), Duration::from_secs(4));
        assert!(options(&["--seconds", "40", "--minutes", "1"]).is_err());
        assert!(options(&["--minutes", "soon"]).is_err());
        assert!(options(&["--power-cut"]).is_err());
        assert!(options(&["--svid-life", "1"]).is_err());
    }
}
