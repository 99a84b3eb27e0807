//! The whole policy of the demo is one reviewed table, role × RPC: `deploy/demo/matrix.txt`.
//!
//! It fails on a rule that is missing there and on one that is there and no longer true. After a change was reviewed:
//! `UPDATE_GOLDEN=1 cargo test -p market-api --test matrix`.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its files has failed")]

use std::path::PathBuf;

use avouch_authz::{Methods, Policy, matrix};

fn demo(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../deploy/demo")).join(file)
}

fn policy() -> Policy {
    let methods = Methods::new(&[&market_api::CONTRACT, avouch_records::contract()]).unwrap();
    let text = std::fs::read_to_string(demo("policy.toml")).unwrap();
    Policy::load("policy.toml", &text, &methods).unwrap()
}

fn table() -> String {
    let matrix = matrix(&policy());
    let mut table =
        String::from("# Who may call what; written and checked by crates/market/api/tests/matrix.rs.\n\n");
    for row in matrix.rows.iter().filter(|row| !row.callers.is_empty()) {
        table.push_str(&format!("{:14} {}\n", row.subject.to_string(), row.callers.join(" ")));
    }
    table.push_str(&format!("\n{matrix}"));
    table
}

#[test]
fn the_reviewed_table_is_the_policy() {
    let (path, actual) = (demo("matrix.txt"), table());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &actual).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    let missing: Vec<_> = actual.lines().filter(|line| !reviewed.lines().any(|it| it == *line)).collect();
    let stale: Vec<_> = reviewed.lines().filter(|line| !actual.lines().any(|it| it == *line)).collect();
    assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:#?}\nstale: {stale:#?}");
    assert_eq!(reviewed, actual, "the order has changed");
}

#[test]
fn every_rpc_of_the_market_asks_for_a_role_and_somebody_holds_it() {
    let matrix = matrix(&policy());
    for method in market_api::CONTRACT.methods {
        let column = matrix.methods.iter().position(|path| *path == method.path).unwrap();
        let allowed: Vec<_> = matrix.rows.iter().filter(|row| row.allowed[column]).collect();
        assert!(!allowed.is_empty(), "{} is open to nobody", method.path);
        assert!(allowed.iter().all(|row| !row.callers.is_empty()), "{} is open without a role", method.path);
    }
}
