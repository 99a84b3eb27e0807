//! Names that `operations/upgrade.md` calls stable still exist.

use std::collections::BTreeSet;
use std::path::Path;

use avouch_spiffe::Reason;

use crate::{page, root};

/// The names of one list of the page.
fn stable(list: &str) -> BTreeSet<String> {
    let page = page("operations/upgrade.md");
    let (_, names) = page.split_once(&format!("```stable {list}\n")).unwrap();
    let (names, _) = names.split_once("```").unwrap();
    names.split_whitespace().map(str::to_owned).collect()
}

/// The stable names that are not among those there are.
fn gone(list: &str, there: &BTreeSet<String>) -> Vec<String> {
    let stable = stable(list);
    assert!(stable.len() > 10, "{list}: {stable:?}");
    stable.difference(there).cloned().collect()
}

fn sources(dir: &Path, out: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, out);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            out.push_str(&std::fs::read_to_string(&entry).unwrap());
        }
    }
}

#[test]
fn no_stable_reason_is_gone() {
    let there = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    assert_eq!(gone("reasons", &there), [""; 0]);
}

#[test]
fn no_stable_check_is_gone() {
    // The page is what the catalogue of the code says, by a test of its own.
    let there =
        page("checks.md").lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    assert_eq!(gone("checks", &there), [""; 0]);
}

#[test]
fn no_stable_metric_is_gone() {
    // Those who record metrics; others may still ask for a name that nobody records.
    let mut code = String::new();
    for name in ["authz", "identity", "issuer", "records", "service", "telemetry"] {
        sources(&root().join("crates").join(name).join("src"), &mut code);
    }
    let there = code.split('"').map(str::to_owned).collect();
    assert_eq!(gone("metrics", &there), [""; 0]);
}
