//! Decisions about calls: allowed and denied, over the size of the policy.

use std::time::Duration;

use crate::bench::{Bench, Build};
use crate::child::{Child, Launch};
use crate::error::Error;
use crate::roles::decide::{self, Case, Done, Work};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::table::{Table, Unit, column};

/// The core of the thread that decides.
const CORE: usize = 1;

/// The sizes of the policies, in rules.
pub(super) const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// The cases by the names of their variants.
pub(super) const CASES: [(&str, Case); 5] = [
    ("exact", Case::Exact),
    ("by pattern", Case::Pattern),
    ("with conditions", Case::Conditions),
    ("reloadable", Case::Reloadable),
    ("refused", Case::Refused),
];

/// The role check that a careful user writes by hand.
const BY_HAND: &str = "role mask by hand";

/// Measures all cases at all sizes.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Table>, Error> {
    progress("decisions");
    let columns = SIZES.map(|size| column(name(size), Unit::Nanoseconds));
    let mut table = Table::new("a decision, CPU time of one thread, by the rules of the policy", &columns)
        .baseline(BY_HAND);
    let mut deciders = vec![(BY_HAND.to_owned(), Case::Mask, start(bench, bench.today()?, "mask")?)];
    for build in &bench.builds {
        for (name, case) in CASES {
            deciders.push((build.variant(name), case, start(bench, build, &build.variant(name))?));
        }
    }
    let time = Duration::from_millis(bench.by_extent(10, 20));
    let variants = deciders.iter_mut().map(|(name, case, child)| {
        let case = *case;
        Variant::new(name.clone(), move || {
            SIZES.iter().map(|&rules| decide(child, rules, case, time)).collect()
        })
    });
    interleave(&mut table, variants.collect(), bench.by_extent(5, 11))?;
    table.note(
        "18 of 20 rules name a caller by its SPIFFE ID, one is a pattern, one denies; 64 callers take turns; \
         the comparison is by the first column",
    );
    table.note(
        "a hash table of callers and one of methods, with a mask of roles each, is the role mask by hand: \
                no patterns, conditions, deny rules or reasons",
    );
    Ok(vec![table])
}

/// Starts a process that decides.
pub(super) fn start(bench: &Bench, build: &Build, name: &str) -> Result<Child, Error> {
    let launch = Launch::role(&build.program("avouch-bench"), decide::NAME, &decide::Options {});
    launch.named(format!("decide {name}")).core(CORE).start(&bench.dir)
}

/// The nanoseconds of a decision.
pub(super) fn decide(child: &mut Child, rules: usize, case: Case, time: Duration) -> Result<f64, Error> {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let done: Done = child.ask(&Work { rules, case, milliseconds }, time + Duration::from_secs(30))?;
    Ok(done.nanoseconds)
}

fn name(size: usize) -> &'static str {
    match size {
        10 => "10 rules",
        100 => "100 rules",
        1_000 => "1,000 rules",
        _ => "10,000 rules",
    }
}
