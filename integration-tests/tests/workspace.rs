//! Tests over the workspace as a whole, without containers: what the documentation says of it is so.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of any test function"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use avouch_spiffe::{Code, Reason};
use serde_json::Value;

/// Uses of other packages of this workspace: `name`, or `build: name`.
type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn page(name: &str) -> String {
    let file = root().join("docs").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

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
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
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
    let signs = |name: &str| matches!(name, "avouch-issuer" | "avouch-issuance" | "avouch-fuzz");
    for start in real.keys().filter(|name| !signs(name)) {
        let (mut reached, mut open) = (BTreeSet::new(), vec![start.clone()]);
        while let Some(name) = open.pop() {
            assert_ne!(name, "avouch-issuance", "{start} reaches it");
            let next = real.get(name.trim_start_matches("build: ")).into_iter().flatten().cloned();
            open.extend(next.filter(|used| reached.insert(used.clone())));
        }
    }
}

fn code(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::Unavailable => "UNAVAILABLE",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
    }
}

#[test]
fn every_reason_has_its_section_in_the_order_of_the_code_and_no_other_section_exists() {
    let page = page("status-codes.md");
    let mut sections = page.split("\n### ");
    sections.next();
    let written: Vec<&str> = sections.clone().filter_map(|section| section.lines().next()).collect();
    let real: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(written, real);

    for (section, reason) in sections.zip(Reason::ALL) {
        let retry = if reason.retryable() { "retry" } else { "final" };
        let expected = format!("`{}`, {retry}: {}.", code(reason.code()), reason.summary());
        assert_eq!(section.lines().nth(1), Some(expected.as_str()), "under {reason}");
        for part in ["\nSituation: ", "\nWhat to do: "] {
            assert_eq!(section.matches(part).count(), 1, "{reason} needs exactly one {part:?}");
        }
    }
}

#[test]
fn the_table_of_codes_gives_each_its_number_and_whether_to_retry() {
    let page = page("status-codes.md");
    for reason in Reason::ALL {
        let row = format!("| `{}` ({}) |", code(reason.code()), reason.code().number());
        let row = page.lines().find(|line| line.starts_with(&row));
        let retry = if reason.retryable() { "| later |" } else { "| no |" };
        assert!(row.is_some_and(|row| row.ends_with(retry)), "the row of {reason}: {row:?}");
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

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    let folders = ["docs", "examples", "certs"].map(|folder| root().join(folder));
    for file in folders.iter().flat_map(|folder| markdown(folder)) {
        let text = std::fs::read_to_string(&file).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            if !file.parent().unwrap().join(path).exists() {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "md"));
    files.chain(folders.iter().flat_map(|folder| markdown(folder))).collect()
}

/// What a page gives as `path/file.rs::test_name`, in backticks.
fn named_tests(text: &str) -> Vec<(&str, &str)> {
    text.split('`').filter_map(|piece| piece.split_once(".rs::")).collect()
}

#[test]
fn every_test_that_a_page_names_exists() {
    let (mut named, mut missing) = (0, Vec::new());
    for file in markdown(&root().join("docs")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for (path, name) in named_tests(&text) {
            named += 1;
            let source = std::fs::read_to_string(root().join(format!("{path}.rs"))).unwrap_or_default();
            if !source.contains(&format!("fn {name}(")) {
                missing.push(format!("{}: {path}.rs::{name}", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(named > 30, "only {named} tests are named");
}
