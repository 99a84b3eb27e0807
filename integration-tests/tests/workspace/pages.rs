//! What the pages say of reasons, other pages and tests is so.

use std::path::{Path, PathBuf};

use avouch_spiffe::{Code, Reason};

use crate::{page, root};

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

/// Whether code like `Reason::CertExpired` stands in `source` where a value does: not in a pattern, nor beside `==`.
fn produces(source: &str, reason: &str) -> bool {
    let whole = |rest: &str| !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    source.match_indices(reason).any(|(at, _)| {
        let (before, after) = (source[..at].trim_end(), &source[at + reason.len()..]);
        let is_pattern = before.ends_with('|')
            || ["|", "=>", "if "].iter().any(|next| after.trim_start().starts_with(next));
        whole(after) && !is_pattern && !before.ends_with("==") && !before.ends_with("!=")
    })
}

#[test]
fn a_value_is_told_from_a_pattern() {
    for (source, is_value) in [
        ("Self::Over => Reason::A,", true),
        ("Rejection::new(Reason::A, detail)", true),
        ("Reason::A => 1,", false),
        ("Reason::B\n    | Reason::A => 1,", false),
        ("Reason::A | Reason::B => 1,", false),
        ("if reason == Reason::A {", false),
        ("Reason::Also", false),
    ] {
        assert_eq!(produces(source, "Reason::A"), is_value, "{source}");
    }
}

#[test]
fn the_reasons_that_nothing_produces_are_called_reserved() {
    let page = page("status-codes.md");
    let reserved = |reason: &Reason| {
        let section = page.split("\n### ").find(|section| section.lines().next() == Some(reason.as_str()));
        section.is_some_and(|section| section.contains("*reserved*"))
    };
    let is_source = |file: &PathBuf| {
        let path = file.to_string_lossy();
        let is_test =
            path.contains("/tests") || path.ends_with("_tests.rs") || path.ends_with("spiffe/src/reason.rs");
        path.contains("/src/") && !is_test
    };
    let sources: String = files(&root().join("crates"), "rs")
        .into_iter()
        .filter(is_source)
        .map(|file| std::fs::read_to_string(file).unwrap())
        .map(|text| text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned())
        .collect();
    for reason in Reason::ALL {
        let produced = produces(&sources, &format!("Reason::{reason:?}"));
        assert_eq!(reserved(reason), !produced, "{reason} is produced: {produced}");
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

/// The folders of the tree whose files pages name.
const NAMED: &[&str] =
    &["certs", "crates", "deploy", "docs", "examples", "fuzz", "integration-tests", "just", "proto"];

/// The paths of files and folders that a page gives in backticks, without what follows a `::`.
fn named_paths(text: &str) -> impl Iterator<Item = &str> {
    let pieces = text.split('`').skip(1).step_by(2);
    let paths = pieces.map(|piece| piece.split("::").next().unwrap_or_default());
    paths.filter(|path| {
        let folder = path.split_once('/').map(|(folder, _)| folder);
        folder.is_some_and(|folder| NAMED.contains(&folder)) && !path.contains([' ', '*', '{', '<', '…'])
    })
}

#[test]
fn every_path_that_a_page_names_exists() {
    let (mut named, mut missing) = (0, Vec::new());
    let pages = markdown(&root().join("docs"));
    for file in pages.into_iter().chain(["CONTRIBUTING.md", "README.md"].map(|page| root().join(page))) {
        let text = std::fs::read_to_string(&file).unwrap();
        // Blocks of code are no prose: what they name may be a user's.
        let prose: String = text.split("```").step_by(2).collect();
        for path in named_paths(&prose) {
            named += 1;
            if !root().join(path).exists() {
                missing.push(format!("{}: {path}", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(named > 200, "only {named} paths are named");
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    files(folder, "md")
}

/// The files below a folder whose names end so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, found): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let found = found.into_iter().filter(|file| file.extension().is_some_and(|found| found == ending));
    found.chain(folders.iter().flat_map(|folder| files(folder, ending))).collect()
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
