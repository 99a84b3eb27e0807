//! The counts that were recorded, of which the gate sees changes: `counts.toml` beside the manifest of this package.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use serde::Deserialize;

use super::callgrind::Each;
use super::operation::Operation;
use crate::error::Error;

/// The file, from the root of the repository.
pub const FILE: &str = "crates/bench/counts.toml";

/// How the counts are recorded anew.
pub const COMMAND: &str = "./just counts --record";

/// By how many percent a count may differ.
const TOLERANCE: f64 = 5.0;

/// Larger than the file will ever be.
const LIMIT: u64 = 64 * 1024;

/// What one operation costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Instructions in Rust: not those of the cryptography and the C library, which depend on the processor.
    pub instructions: u64,
    /// Allocations, those included that are only made larger or smaller.
    pub allocations: u64,
}

impl From<Each> for Count {
    fn from(each: Each) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are neither negative nor beyond 2⁵³"
        )]
        let whole = |count: f64| count.round() as u64;
        Self { instructions: whole(each.own), allocations: whole(each.allocations + each.reallocations) }
    }
}

/// Where counts can be compared: another compiler makes other instructions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Compiler {
    /// What `rustc --version` said.
    pub rustc: String,
    /// The target.
    pub target: String,
}

impl Compiler {
    /// The one that built this program.
    #[must_use]
    pub fn own() -> Self {
        Self { rustc: env!("BENCH_RUSTC").to_owned(), target: env!("BENCH_TARGET").to_owned() }
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.rustc, self.target)
    }
}

/// The counts of the guarded operations in the development build.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// What they were counted with.
    pub compiler: Compiler,
    /// By operation, what one costs.
    pub operations: BTreeMap<Operation, Count>,
}

impl Recorded {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there, or is malformed; both with the command that writes it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let cannot = |why: &dyn fmt::Display| {
            Error::other(format!("{}: {why}; `{COMMAND}` writes it anew", path.display()))
        };
        let text = avouch_files::read(path, LIMIT).map_err(|error| cannot(&error))?;
        let text = std::str::from_utf8(&text).map_err(|error| cannot(&error))?;
        toml::from_str(text).map_err(|error| cannot(&error.to_string().trim_end()))
    }

    /// The file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "# What one operation costs in the development build: instructions in Rust, and allocations. `{COMMAND}` writes\n\
             # this file. The gate fails when a count is {TOLERANCE} % off, and compares nothing with another compiler.\n\n\
             [compiler]\nrustc = {:?}\ntarget = {:?}\n\n[operations]\n",
            self.compiler.rustc, self.compiler.target
        );
        for (operation, Count { instructions, allocations }) in &self.operations {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{operation} = {{ instructions = {instructions}, allocations = {allocations} }}"
            );
        }
        text
    }

    /// What has changed beyond the tolerance: a sentence for each count.
    #[must_use]
    pub fn changes(&self, counted: &BTreeMap<Operation, Count>) -> Vec<String> {
        let mut changes = Vec::new();
        for (operation, now) in counted {
            let Some(then) = self.operations.get(operation) else {
                changes.push(format!("{operation} is not recorded"));
                continue;
            };
            let counts = [
                ("instructions", then.instructions, now.instructions),
                ("allocations", then.allocations, now.allocations),
            ];
            for (what, then, now) in counts {
                let percent = percent(then, now);
                if percent.abs() > TOLERANCE {
                    changes.push(format!(
                        "{operation} takes {now} {what}, {then} are recorded ({percent:+.1} %, tolerance {TOLERANCE} %)"
                    ));
                }
            }
        }
        let gone = self.operations.keys().filter(|operation| !counted.contains_key(operation));
        changes.extend(gone.map(|operation| format!("{operation} is recorded, but not counted any more")));
        changes
    }
}

/// By how many percent `now` is more than `then`; infinite if there were none.
#[must_use]
pub fn percent(then: u64, now: u64) -> f64 {
    if then == now {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵³")]
    let (then, now) = (then as f64, now as f64);
    (now - then) * 100.0 / then
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(instructions: u64, allocations: u64) -> BTreeMap<Operation, Count> {
        BTreeMap::from([
            (Operation::DecideExact, Count { instructions: 4_000, allocations: 0 }),
            (Operation::Verify, Count { instructions, allocations }),
        ])
    }

    fn recorded() -> Recorded {
        Recorded { compiler: Compiler::own(), operations: counts(100_000, 60) }
    }

    #[test]
    fn six_percent_more_or_fewer_instructions_are_a_change_and_five_are_none() {
        let changes = |instructions| recorded().changes(&counts(instructions, 60));
        assert_eq!(
            changes(106_000),
            ["verify takes 106000 instructions, 100000 are recorded (+6.0 %, tolerance 5 %)"]
        );
        assert_eq!(
            changes(94_000),
            ["verify takes 94000 instructions, 100000 are recorded (-6.0 %, tolerance 5 %)"]
        );
        assert_eq!(changes(105_000), [""; 0]);
        assert_eq!(changes(95_000), [""; 0]);
    }

    #[test]
    fn the_first_allocation_of_an_operation_that_had_none_is_a_change() {
        let mut counted = counts(100_000, 60);
        counted.insert(Operation::DecideExact, Count { instructions: 4_000, allocations: 1 });
        assert_eq!(
            recorded().changes(&counted),
            ["decide-exact takes 1 allocations, 0 are recorded (+inf %, tolerance 5 %)"]
        );
    }

    #[test]
    fn operations_that_came_or_went_are_a_change() {
        let mut counted = counts(100_000, 60);
        counted.insert(Operation::Issue, Count { instructions: 1, allocations: 1 });
        counted.remove(&Operation::Verify);
        assert_eq!(
            recorded().changes(&counted),
            ["issue is not recorded", "verify is recorded, but not counted any more"]
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts.toml");
        std::fs::write(&path, recorded().to_toml()).unwrap();
        assert_eq!(Recorded::read(&path).unwrap(), recorded());
    }

    #[test]
    fn a_missing_or_malformed_file_is_named_with_the_command_that_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts.toml");
        let refused = || Recorded::read(&path).unwrap_err().to_string();
        let missing = refused();
        assert!(missing.contains("counts.toml"), "{missing}");
        assert!(missing.ends_with("`./just counts --record` writes it anew"), "{missing}");
        let good = recorded().to_toml();
        let malformed = [
            (good.replace("[compiler]", "[compiler"), "expected"),
            (good.replace("decide-exact", "decide-exactly"), "unknown variant `decide-exactly`"),
            (good.replace("instructions = 4000", "instructions = -4"), "-4"),
            (good.replace("allocations = 0", "blocks = 0"), "unknown field `blocks`"),
            (good.replace("rustc = ", "# "), "missing field `rustc`"),
        ];
        for (text, why) in malformed {
            std::fs::write(&path, text).unwrap();
            let said = refused();
            assert!(said.contains(why) && said.contains(COMMAND), "{said}");
        }
    }

    #[test]
    fn the_file_of_this_repository_can_be_read_and_has_every_guarded_operation() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.toml");
        let recorded = Recorded::read(&path).unwrap();
        let operations: Vec<_> = recorded.operations.into_keys().collect();
        assert_eq!(operations, Operation::GUARDED);
    }
}
