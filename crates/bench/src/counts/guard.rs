//! The guard of the gate: counts the guarded operations in this build, and compares with what was recorded.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::callgrind::Callgrind;
use super::operation::{Input, Operation};
use super::recorded::{COMMAND, Compiler, Count, FILE, Recorded, percent};
use crate::error::Error;
use crate::run::{self, warn};

/// Counts, and compares with what was recorded or records it. Says on standard output what was counted.
///
/// Without valgrind nothing is counted, and with another compiler nothing is compared: both are said on standard error,
/// and no failure.
///
/// # Errors
/// When a count has changed, or cannot be had.
pub fn run(record: bool) -> Result<(), Error> {
    if !cfg!(debug_assertions) {
        return Err(Error::other(
            "the recorded counts are those of the development build: run ./just counts",
        ));
    }
    let root = run::root()?;
    let dir = root.join("target/bench/counts");
    fs::create_dir_all(&dir).map_err(Error::system(format!("make {}", dir.display())))?;
    // `find` has said what is skipped, and why.
    let Ok(callgrind) = Callgrind::find(&root, &dir, "instruction counts") else {
        return if record { Err(Error::other("nothing was recorded")) } else { Ok(()) };
    };
    let counted = count(&callgrind)?;
    let path = root.join(FILE);
    if record {
        let recorded = Recorded { compiler: Compiler::own(), operations: counted };
        say(&recorded.operations, None)?;
        return fs::write(&path, recorded.to_toml()).map_err(Error::system(format!("write {FILE}")));
    }
    compare(&path, &Compiler::own(), &counted)
}

/// All operations at once: other work on the machine takes nothing away from a count.
fn count(callgrind: &Callgrind) -> Result<BTreeMap<Operation, Count>, Error> {
    let program = std::env::current_exe().map_err(Error::system("find this program"))?;
    let start =
        |operation: Operation| Ok((operation, callgrind.operate(&program, operation, &Input::default())?));
    let started: Vec<_> = Operation::GUARDED.into_iter().map(start).collect::<Result<_, Error>>()?;
    started.into_iter().map(|(operation, counting)| Ok((operation, counting.each()?.into()))).collect()
}

fn compare(path: &Path, own: &Compiler, counted: &BTreeMap<Operation, Count>) -> Result<(), Error> {
    let recorded = Recorded::read(path)?;
    say(counted, Some(&recorded))?;
    if recorded.compiler != *own {
        warn(&format!(
            "NOT COMPARED: the counts in {} are of {}, and this program was built by {own}. `{COMMAND}` records them anew.",
            path.display(),
            recorded.compiler
        ));
        return Ok(());
    }
    let changes = recorded.changes(counted);
    if changes.is_empty() {
        return Ok(());
    }
    Err(Error::other(format!(
        "{}: if that is meant, or a gain to be kept, `{COMMAND}` records it in {FILE}",
        changes.join("; ")
    )))
}

fn say(counted: &BTreeMap<Operation, Count>, recorded: Option<&Recorded>) -> Result<(), Error> {
    for (operation, count) in counted {
        let recorded = recorded.and_then(|recorded| recorded.operations.get(operation));
        let change = recorded.map(|then| percent(then.instructions, count.instructions));
        let change = change.map(|percent| format!(" ({percent:+.1} %)")).unwrap_or_default();
        run::print(&format!(
            "{:<17} {:>8} instructions{change}, {} allocations\n",
            operation.name(),
            count.instructions,
            count.allocations
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(instructions: u64) -> BTreeMap<Operation, Count> {
        BTreeMap::from([(Operation::DecideExact, Count { instructions, allocations: 0 })])
    }

    fn recorded(dir: &Path, rustc: &str) -> std::path::PathBuf {
        let compiler = Compiler { rustc: rustc.to_owned(), ..Compiler::own() };
        let path = dir.join("counts.toml");
        fs::write(&path, Recorded { compiler, operations: counted(1_000) }.to_toml()).unwrap();
        path
    }

    #[test]
    fn a_count_that_is_six_percent_more_fails_with_the_operation_both_counts_and_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let own = Compiler::own();
        let path = recorded(dir.path(), &own.rustc);
        compare(&path, &own, &counted(1_050)).unwrap();
        let failed = compare(&path, &own, &counted(1_060)).unwrap_err().to_string();
        for part in ["decide-exact", "1060", "1000", "+6.0 %", COMMAND] {
            assert!(failed.contains(part), "{failed}");
        }
        let gain = compare(&path, &own, &counted(900)).unwrap_err().to_string();
        assert!(gain.contains("-10.0 %"), "{gain}");
    }

    #[test]
    fn nothing_is_compared_with_counts_of_another_compiler() {
        let dir = tempfile::tempdir().unwrap();
        let path = recorded(dir.path(), "rustc 1.0.0");
        compare(&path, &Compiler::own(), &counted(2_000)).unwrap();
    }

    #[test]
    fn nothing_recorded_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let missing = compare(&dir.path().join("counts.toml"), &Compiler::own(), &counted(1)).unwrap_err();
        assert!(missing.to_string().contains(COMMAND), "{missing}");
    }
}
