//! Programs and tests share one build of all that they are made of.

use std::collections::BTreeSet;
use std::process::Command;

use crate::root;

/// The crates that these packages are built of, as `name version features`.
fn built_of(packages: &[&str], edges: &str) -> BTreeSet<String> {
    let mut tree = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tree.args(["tree", "--locked", "--offline", "--prefix=none", "--format={p} {f}", "--edges", edges]);
    // Whoever runs the tests may have cargo unify all features; then there is nothing to see.
    tree.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION").current_dir(root());
    let output = tree.args(packages).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(" (*)").replace(" (proc-macro)", "")).collect()
}

/// cargo chooses the features of a crate by the packages that it is told to build. Where they differ, everything that
/// stands on that crate is compiled once more, which takes minutes.
#[test]
fn the_demo_and_the_images_are_built_of_what_the_tests_are_built_of() {
    let tests = built_of(&["--workspace"], "normal,build,dev");
    let recipes = std::fs::read_to_string(root().join("justfile")).unwrap();
    let demo = recipes.lines().find_map(|line| line.strip_prefix("runs := ")).unwrap();
    for packages in [demo.trim_matches('"'), "-p avouch-images"] {
        let built = built_of(&packages.split(' ').collect::<Vec<_>>(), "normal,build");
        let others: Vec<_> = built.difference(&tests).collect();
        assert!(others.is_empty(), "{packages} differ from the tests in {others:#?}");
    }
}
