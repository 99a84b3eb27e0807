//! docs/checks.md, written from the catalogue. After a change run `UPDATE_GOLDEN=1 cargo test -p avouch-cli checks::page`.

use super::catalogue::catalogue;
use super::certificate;
use super::check::{Category, Check};
use std::path::Path;

const HEAD: &str = "\
# Checks

What `avouch check` looks at. `avouch explain AV-nnn` says the same offline. An id never changes its meaning. A failing
check that has its root cause in another one is not shown, but counted under that one. √ is good, ‼ is worth acting on
soon, × is bad. Exit status: 0 nothing is bad, 1 something is (also if it is hidden behind its cause), 2 wrong usage.

This page is written from the code, and a test compares them.
";

fn page() -> String {
    let mut text = HEAD.to_owned();
    let mut category = None;
    for check in catalogue() {
        if category.replace(check.category) != Some(check.category) {
            text.push_str(&format!("\n## {}\n", check.category.name()));
        }
        write_check(&mut text, check);
    }
    text.push_str(&format!("\n## {}\n\n", Category::Certificate.name()));
    text.push_str("The items of `avouch cert inspect` and `avouch cert lint`: what certificates, requests and bundles must or should be.\n\n| Id | Demand | Why |\n|---|---|---|\n");
    for item in certificate::ITEMS {
        text.push_str(&format!("| {} | {} | {} |\n", item.id, item.title, item.meaning));
    }
    text
}

fn write_check(text: &mut String, check: &Check) {
    let Check { id, title, meaning, remedy, causes, .. } = check;
    text.push_str(&format!("\n### {id}\n**{title}.** {meaning}\n\nWhat to do: {remedy}\n"));
    if !causes.is_empty() {
        let links: Vec<_> = causes.iter().map(|id| format!("[{id}](#{})", id.to_lowercase())).collect();
        text.push_str(&format!("\nMay be caused by: {}.\n", links.join(", ")));
    }
}

#[test]
fn the_page_says_what_the_catalogue_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/checks.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "docs/checks.md is not what the code says; see the head of this file");
}
