//! What one thread computes: decisions over the rules of a policy, chains over the roots of a bundle.

use std::time::Duration;

use super::super::decisions::{self, CASES, SIZES};
use super::{row, table};
use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::roles::decide::Case;
use crate::roles::verify::{self, Done, Names, Work};
use crate::rounds::Variant;
use crate::run::progress;
use crate::table::{Table, Unit};

/// The core of the thread that verifies.
const CORE: usize = 1;

/// The sizes of the bundles, in roots.
const ROOTS: &[usize] = &[1, 10, 100, 1_000];

/// The sizes of bundles whose roots have one name. webpki checks at most a hundred signatures for a chain, and each of these
/// roots can cost one.
const NAMESAKES: &[usize] = &[1, 7, 50];

/// The variants of the verifier.
const BUNDLES: [(&str, Names, &[usize]); 2] = [
    ("a chain over the roots of the bundle", Names::Different, ROOTS),
    ("a chain over roots of the same name", Names::Same, NAMESAKES),
];

/// The cases of [`CASES`] that can grow each for itself.
const OVER_RULES: [Case; 3] = [Case::Exact, Case::Pattern, Case::Refused];

/// Measures decisions and the verifier.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    progress("growth of decisions and of the verifier");
    let rounds = bench.by_extent(3, 7);
    let time = Duration::from_millis(bench.by_extent(5, 20));
    let mut deciders = Vec::new();
    let mut verifiers = Vec::new();
    for build in &bench.builds {
        for (name, case) in CASES.into_iter().filter(|(_, case)| OVER_RULES.contains(case)) {
            let name = build.variant(&format!("a decision over the rules: {name}"));
            deciders.push((name.clone(), case, decisions::start(bench, build, &name)?));
        }
        for (name, names, sizes) in BUNDLES {
            let name = build.variant(name);
            verifiers.push((name.clone(), names, sizes, start(bench, build, &name)?));
        }
    }
    let decided = deciders.iter_mut().map(|(name, case, child)| {
        Variant::new(name.clone(), move || {
            let at = |rules| Ok((rules, decisions::decide(child, rules, *case, time)?));
            SIZES.into_iter().map(at).collect::<Result<Vec<_>, Error>>().map(|points| row(&points))
        })
    });
    let decided =
        table("growth of a decision, CPU time of one thread", Unit::Nanoseconds, decided.collect(), rounds)?;
    let verified = verifiers.iter_mut().map(|(name, names, sizes, child)| {
        Variant::new(name.clone(), move || {
            let at = |&roots| Ok((roots, verify(child, roots, *names, time)?));
            sizes.iter().map(at).collect::<Result<Vec<_>, Error>>().map(|points| row(&points))
        })
    });
    let mut verified = table(
        "growth of the verification of a chain, CPU time of one thread",
        Unit::Microseconds,
        verified.collect(),
        rounds,
    )?;
    verified.note("leaf and signing authority, P-256; the chain's own root is the last of the bundle");
    Ok(vec![decided, verified])
}

fn start(bench: &Bench, build: &Build, name: &str) -> Result<Child, Error> {
    let launch = Launch::role(&build.program("avouch-bench"), verify::NAME, &verify::Options {});
    launch.named(format!("verify {name}")).core(CORE).start(&bench.dir)
}

/// The microseconds that a chain takes.
fn verify(child: &mut Child, roots: usize, names: Names, time: Duration) -> Result<f64, Error> {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let done: Done = child.ask(&Work { roots, names, milliseconds }, time + Duration::from_secs(30))?;
    Ok(done.microseconds)
}
