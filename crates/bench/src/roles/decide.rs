//! Decides about calls, on one thread and without any connection, under policies of growing size.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use avouch_authz::contract::{Contract, MethodRule, Rule};
use avouch_authz::{Caller, Certificate, Methods, Policy, PolicyHandle, decide};
use avouch_spiffe::SpiffeId;
use avouch_testkit::ca::id;
use serde::{Deserialize, Serialize};

use super::{Commands, say};
use crate::clock::thread_cpu;
use crate::error::Error;

/// The name of the role.
pub const NAME: &str = "decide";

/// Decisions between two looks at the clock, which costs about ten of them.
const BATCH: usize = 1_000;

/// The most callers that take turns, so that a look-up is not always of the same cache line.
const CALLERS: usize = 64;

/// What is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// By hand: a mask of roles in a hash table of callers, and one in a hash table of methods.
    Mask,
    /// A caller that the policy names by its SPIFFE ID.
    Exact,
    /// A caller that the policy names by a pattern.
    Pattern,
    /// A caller that holds its role on two conditions on its certificate.
    Conditions,
    /// A caller that the policy names by its SPIFFE ID, through the handle whose policy can be replaced at any time.
    Reloadable,
    /// A caller that does not have the role.
    Refused,
}

/// A command: to decide about a case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// Rules of the policy: 18 of 20 name a caller, one is a pattern, one denies.
    pub rules: usize,
    /// What is decided about.
    pub case: Case,
    /// For how long, in milliseconds of CPU time.
    pub milliseconds: u64,
}

/// What it took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// Nanoseconds of CPU time for a decision.
    pub nanoseconds: f64,
}

/// The role has no options.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Options {}

/// Decides as it is told until the input ends.
///
/// # Errors
/// When a policy cannot be loaded, a decision is not the one that is expected, or a command is none.
pub async fn run(_: Options) -> Result<(), Error> {
    let mut worlds = HashMap::new();
    let mut commands = Commands::default();
    while let Some(work) = commands.next::<Work>().await? {
        let with_conditions = work.case == Case::Conditions;
        let world = match worlds.entry((work.rules, with_conditions)) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(World::new(work.rules, with_conditions)?)
            }
        };
        say(&Done { nanoseconds: world.measure(work.case, Duration::from_millis(work.milliseconds))? })?;
    }
    Ok(())
}

const fn rpc(path: &'static str, rule: Rule) -> MethodRule {
    MethodRule { path, rule, client_streaming: false, server_streaming: false }
}

/// The API of a small system.
const CONTRACT: Contract = Contract {
    name: "market",
    methods: &[
        rpc("/market.orders.v1.Orders/PlaceOrder", Rule::Roles(&["order-placer"])),
        rpc("/market.orders.v1.Orders/GetOrder", Rule::Roles(&["order-placer", "auditor"])),
        rpc("/market.inventory.v1.Inventory/Reserve", Rule::Roles(&["stock-keeper"])),
        rpc("/market.inventory.v1.Inventory/Release", Rule::Roles(&["stock-keeper"])),
        rpc("/market.payments.v1.Payments/Charge", Rule::Roles(&["charger"])),
        rpc("/market.ledger.v1.Ledger/Post", Rule::Roles(&["ledger-writer"])),
        rpc("/market.ledger.v1.Ledger/Tail", Rule::Roles(&["ledger-reader"])),
        rpc("/market.reports.v1.Reports/Summary", Rule::Roles(&["auditor"])),
    ],
};

const POST: &str = "/market.ledger.v1.Ledger/Post";

/// What the policy's conditions ask of a key.
const PIN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn service(at: usize) -> String {
    format!("/ns/team-{}/service-{at}", at % 97)
}

fn zone(at: usize) -> String {
    format!("/region{}/zone-{at}", ["", "/eu", "/eu/west"].get(at % 3).copied().unwrap_or_default())
}

/// Which of `count` rules are those of the callers that take turns.
fn turns(count: usize) -> impl Iterator<Item = usize> {
    let callers = count.min(CALLERS);
    (0..callers).map(move |turn| turn * count / callers)
}

/// How many rules name a caller, are patterns, and deny.
fn kinds(rules: usize) -> (usize, usize, usize) {
    let (patterns, denies) = ((rules / 20).max(1), rules / 20);
    (rules.saturating_sub(patterns + denies), patterns, denies)
}

fn policy_text(rules: usize, with_conditions: bool) -> String {
    let (named, patterns, denies) = kinds(rules);
    // Only those who call: with conditions for everybody the file would be larger than a policy may be.
    let on_conditions: HashSet<_> = turns(named).filter(|_| with_conditions).collect();
    let mut text = String::from("[roles]\nledger-writer = [\n");
    for at in 0..named {
        let caller = id(&service(at));
        let _ = if on_conditions.contains(&at) {
            writeln!(
                text,
                "  {{ caller = \"{caller}\", max_certificate_age = \"1h\", spki_sha256 = \"{PIN}\" }},"
            )
        } else {
            writeln!(text, "  \"{caller}\",")
        };
    }
    for at in 0..patterns {
        let _ = writeln!(text, "  \"{}/*\",", id(&zone(at)));
    }
    text += "]\n";
    for at in 0..denies {
        let caller = id(&service(at * 97));
        let _ =
            write!(text, "[[deny]]\ncaller = \"{caller}\"\nmethods = [\"/market.ledger.v1.Ledger/Tail\"]\n");
    }
    text
}

/// A policy, and those who call under it.
struct World {
    handle: PolicyHandle,
    policy: Policy,
    named: Vec<SpiffeId>,
    patterns: Vec<SpiffeId>,
    strangers: Vec<SpiffeId>,
    masks: (HashMap<String, u64>, HashMap<&'static str, u64>),
}

impl World {
    fn new(rules: usize, with_conditions: bool) -> Result<Self, Error> {
        let other = |error: &dyn std::error::Error| Error::other(avouch_text::with_causes(error).to_string());
        let methods = Methods::new(&[&CONTRACT]).map_err(|error| other(&error))?;
        let text = policy_text(rules, with_conditions);
        let load = || Policy::load("policy.toml", &text, &methods).map_err(|error| other(&error));
        let (named, patterns, _) = kinds(rules);
        let spread = |count: usize, make: &dyn Fn(usize) -> String| -> Vec<SpiffeId> {
            turns(count).map(|at| id(&make(at))).collect()
        };
        let masks = (
            (0..named).map(|at| (id(&service(at)).to_string(), 1 << (at % 2))).collect(),
            CONTRACT.methods.iter().map(|method| (method.path, 3)).collect(),
        );
        Ok(Self {
            handle: PolicyHandle::fixed(load()?),
            policy: load()?,
            named: spread(named, &service),
            patterns: spread(patterns, &|at| format!("{}/job-1", zone(at))),
            strangers: spread(named, &|at| format!("{}-other", service(at))),
            masks,
        })
    }

    fn measure(&self, case: Case, time: Duration) -> Result<f64, Error> {
        let decided = match case {
            Case::Mask => time_each(time, &self.named, true, |caller| {
                let (callers, methods) = black_box(&self.masks);
                let held = callers.get(caller.as_str()).copied().unwrap_or_default();
                held & methods.get(black_box(POST)).copied().unwrap_or_default() != 0
            }),
            Case::Exact => self.decide(time, &self.named, true),
            Case::Pattern => self.decide(time, &self.patterns, true),
            Case::Refused => self.decide(time, &self.strangers, false),
            Case::Reloadable => time_each(time, &self.named, true, |caller| {
                black_box(&self.handle).decide(Caller::Peer(caller), black_box(POST)).is_ok()
            }),
            Case::Conditions => {
                let certificate = Certificate {
                    not_before: Some(SystemTime::UNIX_EPOCH),
                    now: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)),
                    spki_sha256: Some(PIN),
                    ..Certificate::default()
                };
                time_each(time, &self.named, true, |caller| {
                    let caller = Caller::Certified(caller, black_box(certificate));
                    decide(black_box(&self.policy), caller, black_box(POST)).is_ok()
                })
            }
        };
        decided.ok_or_else(|| {
            Error::other(format!("a decision about the case {case:?} is not the expected one"))
        })
    }

    fn decide(&self, time: Duration, callers: &[SpiffeId], allowed: bool) -> Option<f64> {
        time_each(time, callers, allowed, |caller| {
            decide(black_box(&self.policy), Caller::Peer(caller), black_box(POST)).is_ok()
        })
    }
}

/// The nanoseconds of CPU time of a decision, after each caller was decided about once; none if a decision is another
/// than `expected`.
fn time_each(
    time: Duration,
    callers: &[SpiffeId],
    expected: bool,
    decide: impl Fn(&SpiffeId) -> bool,
) -> Option<f64> {
    if callers.is_empty() || callers.iter().any(|caller| decide(caller) != expected) {
        return None;
    }
    let (began, mut decisions) = (thread_cpu(), 0_u32);
    let mut next = callers.iter().cycle();
    loop {
        let mut as_expected = true;
        for caller in next.by_ref().take(BATCH) {
            as_expected &= decide(caller) == expected;
        }
        if !as_expected {
            return None;
        }
        decisions = decisions.saturating_add(u32::try_from(BATCH).unwrap_or(u32::MAX));
        let spent = thread_cpu().saturating_sub(began);
        if spent >= time {
            return Some(spent.as_secs_f64() * 1e9 / f64::from(decisions));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_the_rules_that_it_is_asked_for() {
        for rules in [10, 100, 1_000] {
            let (named, patterns, denies) = kinds(rules);
            assert_eq!(named + patterns + denies, rules);
            let text = policy_text(rules, false);
            assert_eq!(text.matches("  \"spiffe://").count() + text.matches("[[deny]]").count(), rules);
        }
    }

    #[test]
    fn every_case_is_decided_as_expected() {
        for case in
            [Case::Mask, Case::Exact, Case::Pattern, Case::Conditions, Case::Reloadable, Case::Refused]
        {
            let world = World::new(100, case == Case::Conditions).unwrap();
            let took = world.measure(case, Duration::from_millis(1)).unwrap();
            assert!(took > 0.0, "{case:?}: {took}");
        }
    }
}
