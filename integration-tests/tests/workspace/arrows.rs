//! Crates use one another as the architecture page says, and the examples use the versions that are tested.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{metadata, page, root};

/// Uses of other packages of this workspace: `name`, or `build: name`.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The arrows written in architecture.md.
fn written_arrows() -> Arrows {
    let page = page("architecture.md");
    let (_, block) = page.split_once("```arrows\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block
        .lines()
        .map(|line| {
            let (name, uses) = line.split_once('→').unwrap();
            let uses = uses.split(", ").map(str::trim).filter(|used| !used.is_empty()).map(str::to_owned);
            (name.trim().to_owned(), uses.collect())
        })
        .collect()
}

/// The arrows that cargo knows; those of tests and of the integration tests are free.
fn real_arrows() -> Arrows {
    let metadata = metadata();
    let uses = |package: &Value| {
        let ours = package["dependencies"].as_array().unwrap().iter().filter(|used| used["path"].is_string());
        ours.filter_map(|used| {
            let name = used["name"].as_str().unwrap();
            match used["kind"].as_str() {
                None => Some(name.to_owned()),
                Some("build") => Some(format!("build: {name}")),
                Some(_) => None,
            }
        })
        .collect::<BTreeSet<_>>()
    };
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| (package["name"].as_str().unwrap().to_owned(), uses(package)))
        .filter(|(name, _)| name != env!("CARGO_PKG_NAME"))
        .collect()
}

#[test]
fn crates_use_one_another_exactly_as_the_architecture_page_says() {
    let (written, real) = (written_arrows(), real_arrows());
    let mut wrong = Vec::new();
    let nothing = BTreeSet::new();
    for name in written.keys().chain(real.keys()).collect::<BTreeSet<_>>() {
        if written.contains_key(name) != real.contains_key(name) {
            wrong.push(format!("{name}: a package of the page or of the workspace, not of both"));
        }
        let (allowed, used) = (written.get(name).unwrap_or(&nothing), real.get(name).unwrap_or(&nothing));
        wrong.extend(used.difference(allowed).map(|new| format!("{name} → {new}: a new arrow")));
        wrong.extend(allowed.difference(used).map(|gone| format!("{name} → {gone}: is not there any more")));
    }
    assert!(wrong.is_empty(), "docs/architecture.md and the workspace differ:\n{}", wrong.join("\n"));
}

#[test]
fn no_workload_can_reach_signing_code() {
    let real = real_arrows();
    let signs = |name: &str| {
        matches!(name, "avouch-bench" | "avouch-issuer" | "avouch-issuance" | "avouch-fuzz" | "avouch-images")
    };
    for start in real.keys().filter(|name| !signs(name)) {
        let (mut reached, mut open) = (BTreeSet::new(), vec![start.clone()]);
        while let Some(name) = open.pop() {
            assert_ne!(name, "avouch-issuance", "{start} reaches it");
            let next = real.get(name.trim_start_matches("build: ")).into_iter().flatten().cloned();
            open.extend(next.filter(|used| reached.insert(used.clone())));
        }
    }
}

/// Name and version of every package of a lock file that comes from a registry.
fn locked(file: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let field = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")))?;
        Some(line.trim_matches('"').to_owned())
    };
    let packages = text.split("[[package]]").filter(|package| field(package, "source").is_some());
    packages
        .map(|package| format!("{} {}", field(package, "name").unwrap(), field(package, "version").unwrap()))
        .collect()
}

#[test]
fn the_standalone_example_locks_the_versions_that_the_workspace_is_tested_with() {
    let (own, tested) = (locked("examples/standalone/Cargo.lock"), locked("Cargo.lock"));
    assert!(own.len() > 100, "{own:?}");
    let other: Vec<_> = own.difference(&tested).collect();
    assert!(other.is_empty(), "not in the workspace's Cargo.lock: {other:?}");
}
