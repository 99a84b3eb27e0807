//! The guard of the gate, as its program. That there is a test of the program also has the tests' build make it, so that
//! the gate compiles nothing more for it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn guard(path: &Path, arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_avouch-bench"));
    command.arg("guard").args(arguments).current_dir(root).env("PATH", path).output().unwrap()
}

#[test]
fn without_valgrind_it_is_skipped_for_all_to_see() {
    let nothing = tempfile::tempdir().unwrap();
    let skipped = guard(nothing.path(), &[]);
    let said = String::from_utf8_lossy(&skipped.stderr);
    assert!(skipped.status.success(), "{said}");
    assert!(said.contains("SKIPPED: instruction counts: valgrind is not installed"), "{said}");
    assert!(said.contains("the Debian package valgrind"), "{said}");
}

#[test]
fn without_valgrind_nothing_is_recorded_and_that_is_a_failure() {
    let nothing = tempfile::tempdir().unwrap();
    let refused = guard(nothing.path(), &["--record"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("nothing was recorded"), "{said}");
}
